"""Programs are compiled in a hurry first, and with care when they have run for long enough: no bit depends on when."""

from __future__ import annotations

import gc
import math
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import erf

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")

import graphc
from graphc.backends.numpy.llvm import code, effort, entry, machine, renewal
from graphc.backends.numpy.llvm.code import Part
from graphc.backends.numpy.llvm.renewal import Renewal
from graphc.kernels import Kernel
from graphc.plan import COMPILER
from tests.made_kernels import kernels_of, parts_of

if not entry.SUPPORTED:
    pytest.skip("compiled functions are not built in here", allow_module_level=True)

Program = Callable[..., Any]
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def fan(functions: int = 12) -> Program:
    """Functions that do not wait for each other: with care they are written out, in a hurry they are called."""

    def f(x: Any) -> Any:
        return sum(np.exp(-x * k) * np.cos(x + k) for k in range(functions))

    return f


def chain(gates: int) -> Program:
    """Functions each of which waits for the one before: called in any case, in narrower vectors in a hurry."""

    def f(x: Any) -> Any:
        start = x
        for _ in range(gates):
            x = np.tanh(x) * x + start
        return x

    return f


def price(spot: Any, strike: Any, years: Any) -> Any:
    """A call option after Black and Scholes (1973)."""
    deviation = 0.3 * np.sqrt(years)
    d = np.log(spot / strike) / deviation + deviation / 2

    def below(x: Any) -> Any:
        return 0.5 + 0.5 * erf(x / math.sqrt(2))

    return spot * below(d) - strike * below(d - deviation)


def rows(x: Any) -> Any:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True), np.tanh(x).mean(axis=0), np.log1p(x * x).sum()


def attend(table: Any, positions: Any, w: Any) -> Any:
    h = table[positions]
    return np.tanh(h @ w) + np.sin(h).sum(axis=1, keepdims=True)


def step(w: Any, x: Any, y: Any) -> Any:
    def loss(w: Any) -> Any:
        return np.mean((1 / (1 + np.exp(-(x @ w))) - y) ** 2) + np.sum(np.log1p(np.exp(w)))

    return w - 0.1 * graphc.grad(loss)(w)


def draw(*shape: int, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(3).uniform(0.1, 2.0, shape).astype(dtype)


def both(kernels: Sequence[Kernel]) -> list[Part]:
    """Their module in a hurry, and with care."""
    return [parts_of(kernels, machine.X86_AVX2, hurried=hurried)[0] for hurried in (True, False)]


PROGRAMS: dict[str, tuple[Program, tuple[Any, ...]]] = {
    "fan": (fan(), (draw(37),)),
    "chain": (chain(12), (draw(37),)),
    "chain of singles": (chain(12), (draw(3, 70, dtype=np.float32),)),
    "chain of sums": (lambda x: np.sum(chain(12)(x), axis=1), (draw(5, 37),)),
    "fan of singles": (fan(), (draw(37, dtype=np.float32),)),
    "numbers": (fan(), (np.float64(0.7),)),
    "columns": (fan(), (draw(50, 3).T,)),
    "price": (price, (draw(101), draw(101), draw(101))),
    "rows": (rows, (draw(9, 33),)),
    "rows of singles": (rows, (draw(9, 33, dtype=np.float32),)),
    "halves": (fan(4), (draw(40, dtype=np.float16),)),
    "positions": (attend, (draw(7, 5), np.array([1, 6, 1, 0]), draw(5, 5))),
    "step": (step, (draw(5), draw(20, 5), draw(20))),
    "gradient": (graphc.grad(lambda x: np.sum(fan()(x))), (draw(23),)),
}


def bits(results: Any) -> list[bytes]:
    return [np.asarray(r).tobytes() for r in (results if isinstance(results, tuple) else (results,))]


def renewal_of(compiled: Any) -> Renewal | None:
    return compiled._run.__self__.native.renewal


@pytest.fixture(autouse=True)
def _adaptive(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("GRAPHC_EFFORT", raising=False)
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")  # where earlier tests would have left better code
    yield
    renewal.wait()


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Start every program in a hurry, with this budget."""

    def start(budget: float) -> None:
        monkeypatch.setattr(effort, "may_gain", lambda *_: True)
        monkeypatch.setattr(effort, "budget", lambda *_: budget)

    return start


@pytest.mark.parametrize("name", PROGRAMS)
def test_both_codes_give_the_same_bits(
    name: str, hurry: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    f, args = PROGRAMS[name]
    hurry(math.inf)
    compiled = graphc.compile(f, *args, kernels="llvm")
    call, waiting = compiled.__call__, renewal_of(compiled)
    assert waiting is not None
    first = bits(compiled(*args))
    waiting()
    renewal.wait()
    assert waiting.library is not None
    assert compiled._run.__self__.definition.function == waiting.library.addresses["program"]
    assert compiled.__call__ is call
    assert bits(compiled(*args)) == first
    monkeypatch.setenv("GRAPHC_EFFORT", "full")
    full = graphc.compile(f, *args, kernels="llvm")
    assert renewal_of(full) is None
    assert bits(full(*args)) == first


def test_better_code_from_an_earlier_process_is_there_at_once(
    hurry: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    hurry(math.inf)
    x = draw(10)

    def again() -> Any:
        code._linked.cache_clear()
        return graphc.compile(fan(), x, kernels="llvm")

    first = again()
    wanted = bits(first(x))
    assert renewal_of(again()) is not None  # in a hurry again, as that is all there is
    waiting = renewal_of(first)
    assert waiting is not None
    waiting()
    renewal.wait()
    assembled: list[str] = []
    assemble = code.assemble
    monkeypatch.setattr(code, "assemble", lambda text, *rest: assembled.append(text) or assemble(text, *rest))
    better = again()
    assert renewal_of(better) is None
    assert bits(better(x)) == wanted
    assert not assembled


def test_a_program_is_renewed_when_its_budget_is_spent(hurry: Callable[[float], None]) -> None:
    hurry(40_000.0)
    x = draw(10)
    compiled = graphc.compile(fan(), x, kernels="llvm")
    waiting = renewal_of(compiled)
    assert waiting is not None
    calls = 0
    while not waiting.asked:
        compiled(x)
        calls += 1
    assert 3 < calls < 20  # each costs some thousands
    renewal.wait()
    assert waiting.library is not None


def test_named_sizes_are_counted_as_they_are(hurry: Callable[[float], None]) -> None:
    hurry(1e6)
    compiled = graphc.compile(fan(), "f64[n]", kernels="llvm")
    waiting = renewal_of(compiled)
    assert waiting is not None
    for _ in range(10):
        compiled(draw(10))
    assert not waiting.asked
    compiled(draw(10_000))
    assert waiting.asked


def test_care_is_taken_at_once_where_it_pays() -> None:
    """A small call starts in a hurry, a large one does not, nor what hardly gains."""
    small, large = (graphc.compile(fan(), f"f64[{n}]", kernels="llvm") for n in (1000, 10**6))
    assert renewal_of(small) is not None
    assert renewal_of(large) is None
    assert renewal_of(graphc.compile(lambda x: x * 2 + 1, "f64[1000]", kernels="llvm")) is None
    assert renewal_of(graphc.compile(fan(), "f64[1000]", kernels="llvm", fast_math=True)) is None


def test_a_long_chain_starts_with_narrow_vectors() -> None:
    """LLVM splits each wider one in two, which takes twice as long."""
    short, long = (graphc.compile(chain(gates), "f64[100]", kernels="llvm") for gates in (10, 200))
    assert renewal_of(short) is None
    assert renewal_of(long) is not None
    kernels = [s.kernel for s in long.plan.steps if s.kernel is not None]
    hurried, careful = both(kernels)
    assert "<4 x double>" in hurried.text
    assert "<8 x double>" not in hurried.text
    assert "<8 x double>" in careful.text


def test_what_is_compiled_in_a_hurry_writes_out_no_function() -> None:
    """That is what makes it quick."""
    hurried, careful = both(kernels_of(fan(), "f64[1000]"))
    assert 4 * len(hurried.text) < len(careful.text)
    assert hurried.level == machine.BRIEF < careful.level


def test_every_structure_of_arguments_is_renewed(hurry: Callable[[float], None]) -> None:
    hurry(1.0)
    x = draw(10)
    wanted = fan()(x)
    nested = graphc.jit(lambda tree: {"sum": fan()(tree["x"])}, kernels="llvm")
    for _ in range(3):
        np.testing.assert_allclose(nested({"x": x})["sum"], wanted, rtol=1e-13)
        np.testing.assert_allclose(nested({"x": x[::-1][::-1]})["sum"], wanted, rtol=1e-13)
        renewal.wait()


def test_threads_see_the_same_bits_while_it_happens(hurry: Callable[[float], None]) -> None:
    hurry(200_000.0)
    x = draw(100)
    compiled = graphc.compile(fan(), x, kernels="llvm")
    wanted = bits(compiled(x))
    wrong: list[bool] = []

    def run() -> None:
        wrong.append(any(bits(compiled(x)) != wanted for _ in range(1000)))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    renewal.wait()
    assert wrong == [False] * 8
    waiting = renewal_of(compiled)
    assert waiting is not None
    assert waiting.library is not None


def test_a_donated_argument_is_written_by_both(hurry: Callable[[float], None]) -> None:
    hurry(1.0)
    compiled = graphc.compile(step, draw(5), draw(20, 5), draw(20), donate_argnums=0, kernels="llvm")
    x, y = draw(20, 5), draw(20)
    w = draw(5)
    once = step(w, x, y)
    for _ in range(2):
        given = w.copy()
        result = compiled(given, x, y)
        assert result is given
        np.testing.assert_allclose(result, once, rtol=1e-12)
        renewal.wait()


def test_what_nobody_has_any_more_is_not_compiled(hurry: Callable[[float], None]) -> None:
    hurry(math.inf)
    x = draw(10)
    compiled = graphc.compile(fan(), x, kernels="llvm")
    waiting, state = renewal_of(compiled), weakref.ref(compiled._run.__self__)
    assert waiting is not None
    del compiled
    gc.collect()
    assert state() is None
    waiting()
    renewal.wait()
    assert waiting.library is None
    assert not waiting.asked


def test_a_function_that_is_gone_is_not_led_anywhere(hurry: Callable[[float], None]) -> None:
    hurry(math.inf)
    x = draw(10)
    compiled = graphc.compile(fan(), x, kernels="llvm")
    waiting = renewal_of(compiled)
    assert waiting is not None
    native = compiled._run.__self__.native
    another = native.bind(compiled._run.__self__.slow)
    state = weakref.ref(another.__self__)
    del another
    gc.collect()
    assert state() is None
    waiting()
    renewal.wait()
    assert waiting.library is not None
    assert compiled._run.__self__.definition.function == waiting.library.addresses["program"]


def test_a_thread_that_started_as_ctrl_c_came_leaves_the_work_to_another(
    hurry: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not known to be at work, so that a fork would not wait for it."""
    start, at_work = threading.Thread.start, threading.Event()

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    hurry(1.0)
    x = draw(10)
    first, second = (graphc.compile(fan(k), x, kernels="llvm") for k in (5, 6))
    waiting = renewal_of(first)
    assert waiting is not None
    compile, threads = waiting._compile, []

    def noted() -> Any:
        threads.append(threading.current_thread())
        at_work.set()
        return compile()

    monkeypatch.setattr(waiting, "_compile", noted)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first(x)
    monkeypatch.setattr(threading.Thread, "start", start)
    assert at_work.wait(60)
    assert renewal._compiler.thread in (None, threads[0])
    second(x)
    renewal.wait()
    assert all(renewal_of(f).library is not None for f in (first, second))  # type: ignore[union-attr]


def test_a_function_held_alone_is_renewed_too(hurry: Callable[[float], None]) -> None:
    hurry(1.0)
    x = draw(10)
    call = graphc.compile(fan(), x, kernels="llvm").__call__
    first = bits(call(x))
    renewal.wait()
    gc.collect()
    assert bits(call(x)) == first


def test_without_threads_all_goes_on(hurry: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    hurry(1.0)
    x = draw(10)
    compiled = graphc.compile(fan(), x, kernels="llvm")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    first = bits(compiled(x))
    assert bits(compiled(x)) == first
    assert renewal._compiler.thread is None


def test_pickled_functions_start_again(hurry: Callable[[float], None]) -> None:
    hurry(1.0)
    x = draw(10)
    compiled = graphc.compile(fan(), x, kernels="llvm")
    first = bits(compiled(x))
    copy = pickle.loads(pickle.dumps(compiled))
    assert bits(copy(x)) == first
    assert renewal_of(copy) is not renewal_of(compiled)


@forking
def test_a_fork_waits_for_the_compiler(hurry: Callable[[float], None]) -> None:
    """LLVM's lock would stay locked in the child."""
    hurry(1.0)
    x = draw(10)
    compiled = graphc.compile(fan(), x, kernels="llvm")
    first = bits(compiled(x))
    child = os.fork()
    if child == 0:
        same = bits(compiled(x)) == first and bits(graphc.compile(fan(13), x, kernels="llvm")(x)) != first
        renewal.wait()
        os._exit(0 if same and renewal_of(compiled).library is not None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


INTERRUPTED = """
import os, signal, threading
import numpy as np
import graphc
from graphc.backends.numpy.llvm import effort
effort.budget = lambda *_: 1.0
f = graphc.compile(lambda x: sum(np.exp(-x * j) * np.cos(x + j) for j in range(20)), np.ones(10), kernels="llvm")
f._run.__self__.native.renewal._compile = lambda: at_work.set() or forked.wait(60)
at_work, forked = threading.Event(), threading.Event()
f(np.ones(10))
at_work.wait()
def interrupt(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.5)
child = os.fork()
if child == 0:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(20)
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0)
    os.waitpid(grandchild, 0)
    os._exit(0)
forked.set()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""


@forking
def test_a_fork_that_was_not_waited_for_leaves_a_child_that_can_fork() -> None:
    """Ctrl-C ends the waiting, not the fork: the child does not wait for a thread that it lacks."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], env=environment, capture_output=True, text=True, timeout=120
    )
    assert "KeyboardInterrupt" in done.stderr
    assert done.stdout.strip() == "0"


def test_many_programs_have_one_thread(hurry: Callable[[float], None]) -> None:
    hurry(1.0)
    x = draw(10)
    before = threading.active_count()
    functions = [graphc.compile(lambda x, k=k: fan(4)(x * k), x, kernels="llvm") for k in range(8)]
    for f in functions:
        f(x)
        assert threading.active_count() <= before + 1
    renewal.wait()
    assert all(waiting is not None and waiting.library is not None for waiting in map(renewal_of, functions))
    assert threading.active_count() == before


@pytest.mark.parametrize("forks", [False, pytest.param(True, marks=forking)])
def test_an_error_keeps_nobody_waiting(forks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown as those of threads are; other programs get their better code, and forks come back."""
    errors: list[Any] = []
    led: list[Any] = []
    better: Any = object()

    def fail() -> Any:
        raise MemoryError

    def lead(owner: Any, library: Any) -> None:
        led.append(library)

    monkeypatch.setattr(threading, "excepthook", lambda found: errors.append(found.exc_type))
    owner = fan()
    for compile in (fail, lambda: better):
        waiting = Renewal(1.0, compile, lead)
        waiting.watch(owner)
        waiting()
    if forks:
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    renewal.wait()
    # a thread that failed has handed on its work before it says so
    for thread in threading.enumerate():
        if thread.name == COMPILER:
            thread.join()
    assert errors == [MemoryError]
    assert led == [better]


ENDS = """
import numpy as np
import graphc
from graphc.backends.numpy.llvm import effort
effort.budget = lambda *_: 1.0
functions = [graphc.jit(lambda x, k=k: sum(np.exp(-x * j * k) * np.cos(x) for j in range(20))) for k in range(1, 9)]
for f in functions:
    f(np.ones(10))
"""


def test_an_interpreter_that_ends_does_not_crash(tmp_path: Any) -> None:
    """Nor does it compile what nobody will run."""
    environment = {**os.environ, "GRAPHC_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", ENDS], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
