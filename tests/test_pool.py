"""The pool of threads: every piece runs once, and nothing upsets it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")

import graphc
from graphc.backends.numpy.llvm import code, machine, pool, systems, workers
from graphc.backends.numpy.llvm.machine import Machine, assemble, assembly, host
from tests.threaded import bits, fresh, values

COUNTS = (1, 2, 3, 7)


TALLY = """
; one more for each number from first to last, and for the words after them
define i32 @tally(ptr %counts, ptr %unused, i64 %first, i64 %last) {
entry:
  br label %head
head:
  %i = phi i64 [ %first, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %last
  br i1 %more, label %body, label %end
body:
  %at = getelementptr i64, ptr %counts, i64 %i
  %old = atomicrmw add ptr %at, i64 1 monotonic
  %next = add i64 %i, 1
  br label %head
end:
  ret i32 0
}
"""


def tally() -> Any:
    """A function of an array, a count, some work and a step, which has the pool count up the array."""
    library = code.library((code.Part(TALLY),), host(), ("tally",))

    def run(counts: Any, count: int, work: float, step: int) -> None:
        pool.pool().run(library.addresses["tally"], counts.ctypes.data, None, count, work, step)

    return run


@pytest.mark.parametrize("step", [1, 3, 64, 1000])
def test_every_piece_runs_once(step: int, counted: pool.Pool) -> None:
    run = tally()
    for threads_ in (1, 2, 5, 16):
        counted.threads = threads_
        for count in (0, 1, 2, 7, step - 1, step, step + 1, 999, 5000):
            counts = np.zeros(max(count, 0) + 8, np.int64)
            run(counts, count, 1e9, step)
            assert np.all(counts[:count] == 1)
            assert not np.any(counts[count:])


def test_no_worker_is_forgotten_while_it_falls_asleep(counted: pool.Pool) -> None:
    """Pauses around the time after which workers sleep."""
    run = tally()
    counted.threads = 4
    counts = np.zeros(64, np.int64)
    pause = threading.Event()
    for k in range(3000):
        run(counts, 64, 1e9, 1)
        for _ in range(k % 97):
            pass
        if k % 100 == 0:
            pause.wait(0.002)
    assert np.all(counts == 3000)


SLOW = """
declare i64 @pthread_self()
declare i32 @usleep(i32)
@caller = internal global i64 0

; the caller's pieces take 0.2 milliseconds, and those of others, which are counted, 50
define i32 @slow(ptr %count, ptr %unused, i64 %first, i64 %last) {
entry:
  %before = load i64, ptr @caller
  %self = call i64 @pthread_self()
  %own = icmp eq i64 %before, %self
  br i1 %own, label %short, label %long
short:
  %a = call i32 @usleep(i32 200)
  ret i32 0
long:
  %more = atomicrmw add ptr %count, i64 1 seq_cst
  %b = call i32 @usleep(i32 50000)
  ret i32 0
}
define void @begin() {
  %self = call i64 @pthread_self()
  store i64 %self, ptr @caller
  ret void
}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no usleep")
def test_after_a_call_that_lost_time_others_run_alone_for_a_while(counted: pool.Pool) -> None:
    library = code.library((code.Part(SLOW),), host(), ("slow", "begin"))
    ctypes.CFUNCTYPE(None)(library.addresses["begin"])()
    helped = np.zeros(1, np.int64)
    counted.threads = 2
    counted.wary = True

    def helps() -> bool:
        before = helped[0]
        counted.run(library.addresses["slow"], helped.ctypes.data, None, 16, 1e9, 1)
        return bool(helped[0] > before)

    def comes() -> bool:
        """A worker may be late."""
        return any(helps() for _ in range(100))

    assert comes()
    # 16 times as long as the loss, of more than 40 milliseconds: many more calls than these, also of a busy machine
    assert not any(helps() for _ in range(5))
    threading.Event().wait(workers.LONGEST / 1e9)
    assert comes()
    threading.Event().wait(workers.LONGEST / 1e9)  # whoever uses the pool next finds it ready


def test_who_finds_the_pool_busy_runs_alone(counted: pool.Pool) -> None:
    run = tally()
    counted.threads = 3
    arrays = [np.zeros(100, np.int64) for _ in range(8)]

    def work(counts: Any) -> None:
        for _ in range(1000):
            run(counts, 100, 1e9, 1)

    callers = [threading.Thread(target=work, args=(a,)) for a in arrays]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all(np.all(a == 1000) for a in arrays)


def test_many_python_threads_get_the_same_bits(counted: pool.Pool) -> None:
    f = graphc.compile(lambda x: (np.exp(x), np.sum(np.exp(x), axis=1)), "f64[n,m]", kernels="llvm")
    counted.threads = 3
    inputs = [values(150, 300, seed=k) for k in range(4)]
    expected = [bits(f(x)) for x in inputs]
    wrong: list[Any] = []

    def work(number: int) -> None:
        for k in range(1000):
            which = (number + k) % 4
            results = f(inputs[which])
            if k % 50 == 0 and bits(results) != expected[which]:
                wrong.append((number, k))

    callers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


ROUNDING = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define void @get(ptr %at) {
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  ret void
}
define void @set(ptr %at) {
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret void
}
"""


@pytest.mark.skipif("x86_64" not in host().triple, reason="sets a register of x86 processors")
def test_workers_take_subnormal_numbers_as_the_caller_does(counted: pool.Pool) -> None:
    library = code.library((code.Part(ROUNDING),), host(), ("get", "set"))
    get, put = (ctypes.CFUNCTYPE(None, ctypes.c_void_p)(library.addresses[name]) for name in ("get", "set"))
    f = graphc.compile(lambda x, y: x * 0.5 + 0 * np.exp(np.sin(y)), "f64[n]", "f64[n]", kernels="llvm")
    x, y = np.full(400_003, 2.0**-1022), np.ones(400_003)
    counted.threads = 3
    kept, flushed = f(x, y), ctypes.c_uint32()
    assert np.all(kept == 2.0**-1023)
    get(ctypes.addressof(flushed))
    usual = ctypes.c_uint32(flushed.value)
    flushed.value |= 0x8040  # subnormal operands and results count as zero
    found = []
    try:
        for count in COUNTS:
            counted.threads = count
            put(ctypes.addressof(flushed))
            found.append(f(x, y))
            put(ctypes.addressof(usual))
    finally:
        put(ctypes.addressof(usual))
    for result in found:
        assert result.tobytes() == bytes(result.nbytes)
    assert np.array_equal(f(x, y), kept)


FOREIGN = {
    "linux, x86": ("linux", Machine("x86_64-unknown-linux-gnu", "x86-64", "", 16)),
    "linux, arm": ("linux", machine.ARM_NEON),
    "macos, x86": ("darwin", Machine("x86_64-apple-darwin", "x86-64", "", 16)),
    "macos, arm": ("darwin", Machine("arm64-apple-darwin", "apple-m1", "", 16)),
    "windows, x86": ("win32", Machine("x86_64-pc-windows-msvc", "x86-64", "", 16)),
    "windows, arm": ("win32", Machine("aarch64-pc-windows-msvc", "generic", "", 16)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_the_pool_compiles_for_other_systems(name: str) -> None:
    platform, other = FOREIGN[name]
    text = workers.source(platform, other)
    assert assemble(text, other)
    listing = assembly(text, other)
    assert ("CreateThread" if platform == "win32" else "pthread_create") in listing
    assert ("pause" if "x86" in name else "isb") in listing


PLACES = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; the CPU before, and the one after stepping aside from a job that runs on it, or that runs nowhere
define void @places(ptr %where, i1 %crowded) {
entry:
  br i1 %crowded, label %first, label %aside
first:
  call void @occupy_first()
  br label %aside
aside:
  %before = call i32 @sched_getcpu()
  store i32 %before, ptr %where
  call void @step_aside()
  %after = call i32 @sched_getcpu()
  %after_at = getelementptr i32, ptr %where, i64 1
  store i32 %after, ptr %after_at
  ret void
}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads are not moved")
def test_a_thread_on_the_cpu_of_another_one_of_its_job_is_moved() -> None:
    """From then on it keeps off that CPU, wherever the main thread may run; it stays where there is nowhere else."""
    library = code.library((code.Part(systems.LINUX_PLACES + PLACES),), host(), ("places",))
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_bool)(library.addresses["places"])
    allowed = os.sched_getaffinity(0)
    found: list[tuple[tuple[int, ...], set[int]]] = []

    def worker(cpu: int, crowded: bool) -> None:
        where = (ctypes.c_int32 * 2)()
        os.sched_setaffinity(0, {cpu})  # of this thread alone
        run(where, crowded)
        found.append((tuple(where), os.sched_getaffinity(0)))

    def started(cpu: int, crowded: bool) -> tuple[tuple[int, ...], set[int]]:
        thread = threading.Thread(target=worker, args=(cpu, crowded))
        thread.start()
        thread.join()
        return found.pop()

    try:
        for cpu in sorted(allowed)[:4]:
            assert started(cpu, False) == ((cpu, cpu), {cpu})
            (before, after), mask = started(cpu, True)
            assert before == cpu
            assert mask == (allowed - {cpu} or {cpu})
            assert after in mask
            os.sched_setaffinity(0, {cpu})
            assert started(cpu, True) == ((cpu, cpu), {cpu})
            os.sched_setaffinity(0, allowed)
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_system_that_is_not_known_runs_on_one_thread() -> None:
    assert "thread" not in workers.source("emscripten", host()).replace("graphc_threads", "")
    assert assemble(workers.source("emscripten", host()), host())
    assert assemble(workers.source("linux", Machine("riscv64-unknown-linux-gnu", "generic-rv64", "", 16)), host())


def test_threads_are_made_when_work_needs_them() -> None:
    script = """
import numpy as np, graphc
f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
from graphc.backends.numpy.llvm.pool import pool
f(np.ones(10)); print(pool().started)
f(np.ones(1_000_000)); print(pool().started, pool().threads)
"""
    assert fresh(script, GRAPHC_NUM_THREADS="3") == "0\n2 3\n"
    assert fresh(script, GRAPHC_NUM_THREADS="1") == "0\n0 1\n"
    assert fresh(script, GRAPHC_NUM_THREADS="", OMP_NUM_THREADS="2,1") == "0\n1 2\n"


# --- processes, signals, the end -------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_forked_process_makes_its_own_threads(busy: bool, counted: pool.Pool) -> None:
    f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
    x = values(300_000)
    counted.threads = 3
    expected = bits(f(x))
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            f(x)

    caller = threading.Thread(target=work)
    if busy:
        caller.start()
    for _ in range(5 if busy else 1):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                before = counted.started
                same = all(bits(f(x)) == expected for _ in range(3))
                os.write(writer, f"{before} {same} {counted.started}".encode())
            finally:
                os._exit(0)
        os.close(writer)
        said = os.read(reader, 100).decode()
        os.close(reader)
        os.waitpid(child, 0)
        assert said == "0 True 2"
    stop.set()
    if busy:
        caller.join()
    assert bits(f(x)) == expected


def test_a_spawned_process_runs_on_threads(counted: pool.Pool) -> None:
    f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
    x = values(300_000)
    counted.threads = 3
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        assert bits(workers.apply(f, (x,))) == bits(f(x))


@pytest.mark.parametrize("when", ["asleep", "running"])
def test_a_process_ends_while_its_threads_sleep_or_run(when: str) -> None:
    script = f"""
import threading, time, numpy as np, graphc
f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
x = np.ones(2_000_000)
f(x)
def work():
    while True: f(x)
if {when == "running"}:
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
print("end")
"""
    assert fresh(script, GRAPHC_NUM_THREADS="3") == "end\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_signals_are_left_to_the_threads_of_python() -> None:
    script = """
import os, signal, time, numpy as np, graphc
f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
before = set(os.listdir("/proc/self/task"))
f(np.ones(1_000_000))
end = time.monotonic() + 20
for task in set(os.listdir("/proc/self/task")) - before:
    mask = -1
    # a thread that has not begun to run, on a busy machine, still has all signals blocked
    while mask >> (signal.SIGSEGV - 1) & 1 and time.monotonic() < end:
        status = open(f"/proc/self/task/{task}/status").read()
        mask = int(next(l for l in status.splitlines() if l.startswith("SigBlk")).split()[1], 16)
    print(mask)
"""
    masks = [int(line) for line in fresh(script, GRAPHC_NUM_THREADS="2", OPENBLAS_NUM_THREADS="1").splitlines()]
    assert len(masks) == 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD):
        assert masks[0] >> (number - 1) & 1
    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL):
        assert not masks[0] >> (number - 1) & 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_ctrl_c_leaves_the_pool_whole() -> None:
    script = """
import os, signal, threading, numpy as np, graphc
f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
x = np.ones(1_000_000)
expected = f(x)
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where tests run in the background
for _ in range(3):
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        while True:
            f(x)
    except KeyboardInterrupt:
        print(np.array_equal(f(x), expected))
"""
    assert fresh(script, GRAPHC_NUM_THREADS="3") == "True\n" * 3


def test_errors_leave_the_pool_whole(counted: pool.Pool) -> None:
    counted.threads = 3
    f = graphc.compile(lambda x, i: np.exp(np.sin(x))[i], "f64[n]", "i64[k]", kernels="llvm")
    g = graphc.compile(lambda x, y: np.exp(x) + y, "f64[n]", "f64[n]", kernels="llvm")
    x, right, wrong = values(400_000), np.array([0, 399_999]), np.array([0, 400_000])
    expected = bits(f(x, right))
    for _ in range(3):
        with pytest.raises(IndexError):
            f(x, wrong)
        with pytest.raises(graphc.errors.ShapeError):
            g(x, x[1:])
        assert bits(f(x, right)) == expected
