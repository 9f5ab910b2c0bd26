"""Random programs over the whole op table: optimised, differentiated, written down and read back.

Nothing here has a tolerance of its own. What the unoptimised program gives is NumPy's answer, bit for bit; what the
optimised one gives must lie where ops of the stated accuracy can lead (`tests.enclosures`), or at most four times as
far from the exact value as NumPy's own answer.
"""

from __future__ import annotations

import math
import os
import pickle
import statistics
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

import networkx as nx
import numpy as np
import pytest
import scipy.special
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import graphc
from graphc import ops, text
from graphc.backends.exact.fields import Undecided
from graphc.backends.exact.world import bind, bind_sizes
from graphc.backends.numpy.llvm import code, effort
from graphc.compiler import Compiled, Options, check, parse
from graphc.dims import Dim, symbol
from graphc.ir import Graph
from graphc.kernels import Fold, fold_identity
from graphc.ops import lookup
from graphc.ops.meaning import evaluate
from graphc.passes import pipeline
from graphc.passes.batch import batched_graph
from graphc.passes.derive import jvp_graph, vjp_graph
from graphc.verification.declarations import MOST_ULPS
from graphc.verification.rules import installed
from tests.enclosures import FIELD, enclose, magnitude
from tests.random_programs import DIVISION, Disagreement, Program, draw, shrink

flint = pytest.importorskip("flint", reason='python-flint is not installed: pip install -e ".[verify]"')

BATCH: Final = 50
SAMPLE: Final = 7  # batches in `make test`
ALL: Final = 44  # batches in `make test-all`
UNOPTIMISED: Final = Options(exact_order=True, passes=())
EXACT: Final = Options(exact_order=True)

Check = Callable[[Program], Iterator[str]]


@pytest.fixture(autouse=True)
def division() -> Iterator[None]:
    """The programs' own op with two results stands in the table while they run."""
    with installed(DIVISION), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's means of empty slices
        yield


# --- comparing -----------------------------------------------------------------------------------------------


def same(a: Any, b: Any) -> bool:
    """Equal in dtype, shape and every bit, NaN payloads aside."""
    x, y = np.asarray(a), np.asarray(b)
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    if x.dtype.kind != "f":
        return bool((x == y).all())
    return bool((((x == y) & (np.signbit(x) == np.signbit(y))) | (np.isnan(x) & np.isnan(y))).all())


def differing(found: Sequence[Any], wanted: Sequence[Any]) -> str | None:
    for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if not same(a, b):
            return f"output {k}: {_shown(a)}, wanted {_shown(b)}"
    return None


def _shown(value: Any) -> str:
    array = np.asarray(value)
    return f"{array.tolist()} {array.dtype}{list(array.shape)}"


def op_by_op(graph: Graph, inputs: Sequence[Any], rewritten: bool = False) -> dict[int, Any]:
    """Every node's value by the NumPy meaning of its op; dtypes and shapes must be those the graph says.

    In a `rewritten` graph maxima of nothing are what kernels start from: ops of empty arrays are written out by them.
    """
    arrays = [np.asarray(x, t.dtype) for x, t in zip(inputs, graph.input_types, strict=True)]
    sizes = bind_sizes(graph, [np.shape(x) for x in arrays])
    values: dict[int, Any] = dict(zip(graph.inputs, arrays, strict=True))
    with np.errstate(all="ignore"):
        for i, data in graph._node.items():
            if i in values:
                continue
            attrs = {name: bind(value, sizes) for name, value in data["attrs"]}
            operands = [values[a] for a in data["args"]]
            if rewritten and data["op"] in EXTREMA and operands[0].size == 0:
                start = fold_identity(EXTREMA[data["op"]], operands[0].dtype)
                value = np.full(bind(data["type"].shape, sizes), start, operands[0].dtype)
            else:
                value = evaluate(lookup(data["op"]), operands, attrs)
            values[i] = value
            for part, type in zip(
                value if isinstance(value, tuple) else (value,),
                getattr(data["type"], "items", (data["type"],)),
                strict=True,
            ):
                if np.asarray(part).dtype != type.dtype or np.shape(part) != bind(type.shape, sizes):
                    raise TypeError(f"%{i} = {data['op']} is {_shown(part)}, not {data['type']}")
    return values


EXTREMA: Final[dict[str, Fold]] = {"reduce_max": "max", "reduce_min": "min"}


@dataclass(slots=True)
class Told:
    """How much the enclosures told: elements compared, and elements about which nothing could be said."""

    compared: int = 0
    silent: int = 0


TOLD: Final = Told()


# Where stabilised formulas pay for not overflowing: exp(x) / exp(y) as exp(x - y) rounds the difference, |x - y|
# last places of a small quotient.
LOOSE: Final = frozenset({"softmax", "log_softmax", "logsumexp", "exp"})


def accurate(
    plain: Graph, rewritten: Graph, inputs: Sequence[Any], found: Sequence[Any], law_at_nan: bool
) -> Iterator[str]:
    """Hold the results of a rewritten graph against NumPy's answer to the plain one and the exact value.

    `law_at_nan`: also on inputs that are not finite, where no exact value decides, finite results stay finite.
    """
    inputs = [np.asarray(x, t.dtype) for x, t in zip(inputs, plain.input_types, strict=True)]
    odd = {i for i, x in zip(plain.inputs, inputs, strict=True) if law_at_nan and not np.isfinite(x).all()}
    loose = any(d["op"] in LOOSE for d in rewritten._node.values())
    numpy_values, own_values = op_by_op(plain, inputs), op_by_op(rewritten, inputs, rewritten=True)
    if any(d["op"] in EXTREMA and own_values[d["args"][0]].size == 0 for d in rewritten._node.values()):
        rewritten, own_values = plain, numpy_values  # exactly, nothing has no maximum
    try:
        exact, stated = enclose(plain, inputs), enclose(plain, inputs, numpy_values, widen=True)
        exact_after, stated_after = enclose(rewritten, inputs), enclose(rewritten, inputs, own_values, widen=True)
    except Undecided:
        return  # a position computed from floats
    with FIELD.working():
        for k, o in enumerate(plain.outputs):
            rows = zip(
                np.ndenumerate(np.asarray(found[k])), np.asarray(numpy_values[o]).ravel(), exact[k].ravel(),
                stated[k].ravel(), exact_after[k].ravel(), stated_after[k].ravel(), strict=True,
            )  # fmt: skip
            tame = odd.isdisjoint(nx.ancestors(plain, o) | {o})
            for (i, x), numpy, e, s, e_after, s_after in rows:
                problem = _element(x, numpy, e, s, e_after, s_after, tame, loose)
                if problem:
                    yield f"output {k} at {i}: {problem}"
                    return


def _element(
    x: Any, numpy: Any, exact: Any, stated: Any, exact_after: Any, stated_after: Any, tame: bool, loose: bool
) -> str | None:
    """What is wrong with one element.

    It must be finite where NumPy is; only where the exact value is a pole, NumPy may be finite by its own error. It
    must lie where the stated accuracies of the plain graph's ops lead, or those of the ops that ran, if these lead
    at most four times as far or as far as any record may state.
    """
    if isinstance(stated, bool):
        TOLD.compared += 1
        return None if bool(x) == stated else f"{x}, but {stated} is exact"
    known = [ball for ball in (stated, stated_after) if not isinstance(ball, bool) and ball.is_finite()]
    if np.isfinite(numpy) and not np.isfinite(x) and ((exact.is_finite() and known) or not tame):
        return f"{x} where NumPy is finite: {numpy}"
    if not np.isfinite(x) or not known:
        TOLD.silent += 1
        return None
    TOLD.compared += 1
    value = _number(x)
    apart = exact.is_finite() and exact_after.is_finite() and not exact.overlaps(exact_after)
    # folding rounds a constant, which the accuracy of the folded op allows
    if apart and len(known) == 2 and not stated.overlaps(stated_after):
        return f"the rewritten graph means {exact_after}, the plain one {exact}"
    if known[0].contains(value):
        return None
    if len(known) == 2 and stated_after.contains(value):
        places = MOST_ULPS * float(np.spacing(np.abs(x)))
        if loose or stated_after.rad() <= 4 * stated.rad() or stated_after.rad() <= places:
            return None
    if exact.is_finite() and np.isfinite(numpy):
        allowed = 4 * magnitude(_number(numpy) - exact)
        if magnitude(value - exact) <= allowed:
            return None
    return f"{x!r}, exactly {exact}; NumPy gives {numpy!r}; the stated accuracies allow {known[0]}"


def _number(x: Any) -> Any:
    """The exact value of a NumPy scalar: unsigned integers of 64 bits are no floats."""
    return flint.arb(float(x) if x.dtype.kind == "f" else int(x))


# --- the checks ----------------------------------------------------------------------------------------------


def traced_as_numpy(program: Program) -> Iterator[str]:
    """The trace records what NumPy does: op by op, the graph gives NumPy's own results."""
    graph = program.trace()
    with np.errstate(all="ignore"):
        wanted = program(*program.values)
    values = op_by_op(graph, program.values)
    found = [values[o] for o in graph.outputs]
    if program.exact:
        problem = differing(found, [np.asarray(w, np.asarray(f).dtype) for f, w in zip(found, wanted, strict=True)])
        if problem:
            yield problem
        return
    inputs = [np.asarray(x, t.dtype) for x, t in zip(program.values, graph.input_types, strict=True)]
    try:
        balls = enclose(graph, inputs, values, widen=True)
    except Undecided:
        return
    for k, (ball, w) in enumerate(zip(balls, wanted, strict=True)):
        for b, x in zip(ball.ravel(), np.asarray(w).ravel(), strict=True):
            if not isinstance(b, bool) and b.is_finite() and np.isfinite(x) and not b.contains(_number(x)):
                yield f"output {k}: NumPy's {x!r} lies outside {b}"
                return


def unoptimised(program: Program) -> Iterator[str]:
    """Without passes, and in exact order, the executor gives every bit of NumPy op by op."""
    graph = program.trace()
    values = op_by_op(graph, program.values)
    wanted = [values[o] for o in graph.outputs]
    for options, name in ((UNOPTIMISED, "without passes"), (EXACT, "in exact order")):
        problem = differing(Compiled(graph, None, None, options)(*program.values), wanted)
        if problem:
            yield f"{name}: {problem}"


# A result written over an operand has its layout, which decides the order in which these add up.
LAYOUT: Final = frozenset({"reduce_sum", "reduce_prod", "reduce_norm", "matmul", "softmax", "log_softmax", "logsumexp"})


def optimised(program: Program) -> Iterator[str]:
    """The whole pipeline: NumPy runs the rewritten graph to the bit, and every kernel generator accurately."""
    graph = program.trace()
    yield from _optimised(graph, graph, program.values)


def _optimised(plain: Graph, graph: Graph, inputs: Sequence[Any], law_at_nan: bool = True) -> Iterator[str]:
    compiled = Compiled(graph, None, None, Options(kernels="none"))
    rewritten = compiled.plan.graph
    own = op_by_op(rewritten, inputs, rewritten=True)
    problem = differing(compiled(*inputs), [own[o] for o in rewritten.outputs])
    if problem and not any(d["op"] in LAYOUT for d in rewritten._node.values()):
        yield f"executor: {problem}"
    for kernels in ("none", "ufunc", "llvm"):
        # machine code is made with care, and in a hurry, which gives the same bits
        with mock.patch.object(effort, "budget", return_value=None):
            compiled = Compiled(graph, None, None, Options(kernels=kernels))
        results = compiled(*inputs)
        for problem in accurate(plain, compiled.plan.graph, inputs, results, law_at_nan):
            yield f"kernels {kernels}: {problem}"
    hurried = mock.patch.multiple(effort, may_gain=lambda *_: True, budget=lambda *_: math.inf)
    with hurried, mock.patch.object(code, "are_kept", return_value=False):
        problem = differing(Compiled(graph, None, None, Options(kernels="llvm"))(*inputs), results)
    if problem:
        yield f"compiled in a hurry: {problem}"


def differentiated(program: Program) -> Iterator[str]:
    """Reverse agrees with forward exactly, and the derivative of the optimised graph with the plain one's."""
    graph = program.trace()
    wrt = [k for k, t in enumerate(graph.input_types) if t.differentiable]
    if not wrt:
        return
    rng = np.random.default_rng(program.seed)
    values = op_by_op(graph, program.values)
    inputs = [np.asarray(x, t.dtype) for x, t in zip(program.values, graph.input_types, strict=True)]
    seeds = [
        _direction(rng, values[o]) for o, t in zip(graph.outputs, graph.output_types, strict=True) if t.differentiable
    ]
    along = [_direction(rng, inputs[k]) for k in wrt]
    reverse, forward = vjp_graph(graph, wrt), jvp_graph(graph, wrt)
    for derived in (reverse, forward):
        check(derived)
    try:
        cotangents, tangents = enclose(reverse, [*inputs, *seeds]), enclose(forward, [*inputs, *along])
    except Undecided:
        return
    with FIELD.working():
        left, right = _dot(cotangents, along), _dot(tangents, seeds)
        if left.is_finite() and right.is_finite():
            TOLD.compared += 1
            if not left.overlaps(right):
                yield f"reverse gives {left}, forward {right}"
        else:
            TOLD.silent += 1
    (stable, *_) = pipeline.run(graph, pipeline.FORWARD)
    for problem in _optimised(reverse, vjp_graph(stable.graph, wrt), [*inputs, *seeds], law_at_nan=False):
        yield f"gradient: {problem}"


def _direction(rng: np.random.Generator, like: Any) -> Any:
    return np.asarray(rng.integers(-8, 9, np.shape(like)) / 4, np.asarray(like).dtype)


def _dot(balls: Sequence[Any], weights: Sequence[Any]) -> Any:
    total = FIELD.number(0)
    for ball, weight in zip(balls, weights, strict=True):
        for b, w in zip(ball.ravel(), np.asarray(weight).ravel(), strict=True):
            total = total + FIELD.lift(b) * flint.arb(float(w))
    return total


def batched(program: Program) -> Iterator[str]:
    """On rows at once the graph gives every bit of what it gives row by row, whichever arguments have rows."""
    graph = program.trace()
    inputs = [np.asarray(x, t.dtype) for x, t in zip(program.values, graph.input_types, strict=True)]
    rng = np.random.default_rng(program.seed)
    has_rows = rng.random(len(inputs)) < 0.7
    # the same values at other places: positions stay positions
    rows = [[np.roll(x, turn) if one else x for x, one in zip(inputs, has_rows, strict=True)] for turn in range(3)]
    each = [op_by_op(graph, row) for row in rows]
    for size in (len(rows), symbol("rows")):
        whole, carried = batched_graph(graph, has_rows.tolist(), size)
        check(whole)
        columns = zip(*rows, strict=True)
        values = op_by_op(whole, [np.stack(c) if one else c[0] for c, one in zip(columns, has_rows, strict=True)])
        wanted = [
            np.stack([np.asarray(row[o]) for row in each]) if one else each[0][o]
            for o, one in zip(graph.outputs, carried, strict=True)
        ]
        problem = differing([values[o] for o in whole.outputs], wanted)
        if problem and not any(d["op"] in LAYOUT for d in graph._node.values()):
            yield f"{size} rows: {problem}"


def written_down(program: Program) -> Iterator[str]:
    """Text round trip, plain and optimised, and the verifier after every pass."""
    graph = program.trace()
    for one in (graph, *(step.graph for step in pipeline.run(graph, pipeline.PIPELINE, check))):
        if parse(text.dump(one), text.constants_of(one)) != one:
            yield "the text reads back as another graph:\n" + text.dump(one)
            return


CHECKS: Final[tuple[Check, ...]] = (traced_as_numpy, unoptimised, optimised, differentiated, batched, written_down)


def problems(program: Program, checks: Sequence[Check] = CHECKS) -> list[tuple[Check, str]]:
    found = []
    for one in checks:
        try:
            found.extend((one, problem) for problem in one(program))
        except Exception as error:  # any exception of a program that traced is a failure
            found.append((one, f"{type(error).__name__}: {error}"))
    return found


def reduced(program: Program, one: Check, problem: str) -> str:
    """The failure, made small, as text."""
    kind = problem.split(":")[0]

    def fails(candidate: Program) -> bool:
        return any(p.split(":")[0] == kind for _, p in problems(candidate, (one,)))

    small = shrink(program, fails)
    said = [p for _, p in problems(small, (one,))] or [problem]
    return f"{one.__name__}: {said[0]}\n{small}\n{small.trace()}"


# --- running many --------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What a batch covered."""

    ops: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    empty: int = 0
    symbolic: int = 0
    not_finite: int = 0
    rejected: int = 0

    def add(self, program: Program, graph: Graph) -> None:
        names = [d["op"] for d in graph._node.values() if d["op"] != "input"]
        self.ops.update(names)
        self.lengths.append(sum(name != "const" for name in names))
        types = [d["type"] for d in graph._node.values()]
        self.empty += any(0 in np.shape(v) for v in program.values)
        self.symbolic += any(isinstance(d, Dim) for t in types for d in getattr(t, "shape", ()))
        self.not_finite += any(not np.isfinite(v).all() for v in program.values)

    def counts(self) -> dict[str, int]:
        """What the terminal summary adds up over all batches."""
        return {
            "programs": len(self.lengths),
            "with a size of 0": self.empty,
            "with a symbolic size": self.symbolic,
            "with NaN or inf given": self.not_finite,
            "seeds rejected": self.rejected,
            **{f"op {name}": self.ops[name] for name in ops.TABLE},
        }


def drawn(seeds: Sequence[int], tally: Tally) -> Iterator[Program | Disagreement]:
    for seed in seeds:
        one = draw(seed)
        if one is None:
            tally.rejected += 1
            continue
        if isinstance(one, Program):
            tally.add(one, one.trace())
        yield one


def run_batch(seeds: Sequence[int], tally: Tally, folder: Path) -> None:
    failures: list[str] = []
    pickled = []
    for one in drawn(seeds, tally):
        if isinstance(one, Disagreement):
            failures.append(f"{one.what}\n{one.program}")
            continue
        found = problems(one)
        failures.extend(reduced(one, *f) for f in found[:1])
        if not found:
            compiled = Compiled(one.trace(), None, None)
            pickled.append((pickle.dumps(compiled), one.values, compiled(*one.values), str(one)))
    failures.extend(elsewhere(pickled, folder))
    if failures:
        pytest.fail(f"{len(failures)} programs fail\n\n" + "\n\n".join(failures), pytrace=False)


FRESH: Final = """
import pickle, sys
from graphc.verification.rules import installed
from tests.random_programs import DIVISION
from tests.test_random_programs import differing
with installed(DIVISION), open(sys.argv[1], "rb") as file:
    for data, values, wanted, source in pickle.load(file):
        problem = differing(pickle.loads(data)(*values), wanted)
        if problem:
            print(f"unpickled elsewhere: {problem}", source, "", sep="\\n")
"""


def elsewhere(pickled: Sequence[Any], folder: Path) -> list[str]:
    """What compiled functions do otherwise after a pickle is read in a fresh process."""
    path = folder / "pickled"
    path.write_bytes(pickle.dumps(pickled))
    root = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    said = done.stdout if done.returncode == 0 else done.stdout + done.stderr
    return [said] if said else []


def seeds_of(batch: int) -> range:
    return range(BATCH * batch, BATCH * (batch + 1))


@pytest.mark.parametrize("batch", [k if k < SAMPLE else pytest.param(k, marks=pytest.mark.slow) for k in range(ALL)])
def test_a_batch_of_programs(batch: int, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    tally = Tally()
    try:
        run_batch(seeds_of(batch), tally, tmp_path)
    finally:
        record_property("counts: random programs", tally.counts())


@given(seed=st.integers(0, 2**62))
@settings(
    max_examples=settings().max_examples if os.environ.get("GRAPHC_FUZZ") == "1" else 10,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a smaller seed is no smaller program
)
def test_a_program_of_any_seed(seed: int) -> None:
    with installed(DIVISION):
        one = draw(seed)
        if isinstance(one, Disagreement):
            pytest.fail(f"{one.what}\n{one.program}", pytrace=False)
        if one is not None:
            found = problems(one)
            if found:
                pytest.fail(reduced(one, *found[0]), pytrace=False)


@pytest.mark.parametrize(
    ("batches", "least", "programs"), [(SAMPLE, 2, 300), pytest.param(ALL, 10, 2_000, marks=pytest.mark.slow)]
)
def test_the_programs_cover_the_table(batches: int, least: int, programs: int) -> None:
    tally = Tally()
    for _ in drawn(range(BATCH * batches), tally):
        pass
    rare = {name: tally.ops[name] for name, op in ops.TABLE.items() if tally.ops[name] < least and not op.opaque}
    assert not rare
    assert len(tally.lengths) >= programs
    assert statistics.median(tally.lengths) >= 8
    assert 10 * tally.empty >= len(tally.lengths)


# What these programs found, as they were after shrinking: arguments, and the function.
FOUND: Final[dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    "x[i] of an index computed as a scalar was a view, and x was overwritten": (
        lambda x, i: np.abs(x[i % 3]) * 2,
        (-np.ones((3, 2)), np.array(1)),
    ),
    "abs(-x) of unsigned integers wraps round": (lambda x: np.abs(-x), (np.array([5, 3], np.uint8),)),
    "a sum over an operand's layout": (
        lambda x, y: np.sum(x * np.exp(y.T), axis=1),
        tuple(np.random.default_rng(8).normal(size=(2, 8, 8))),
    ),
    "sums of narrow integers": (lambda x: np.sum(x) + np.cumsum(x)[-1], (np.array([100, 100], np.int8),)),
    "clip beyond the range": (lambda x: np.clip(x, -1, 300), (np.array([5, 3], np.uint8),)),
    "exclusive or": (lambda x: (x > 0) ^ (x < 2), (np.array([1.0, 3.0]),)),
    "a product of a broadcast array": (
        lambda x, c: np.where(c, x, x) @ np.where(c, x, x),
        (np.float64(22.749432846256926), np.zeros(3, bool)),
    ),
    "a special function of half precision": (lambda x: scipy.special.expit(x), (np.array([1.0], np.float16),)),
}


@pytest.mark.parametrize("found", FOUND)
def test_what_was_found_stays_mended(found: str) -> None:
    function, arguments = FOUND[found]
    given = [np.copy(a) for a in arguments]
    compiled = graphc.compile(function, *arguments, exact_order=True)(*given)
    assert same(compiled, function(*arguments))
    assert all(same(a, b) for a, b in zip(given, arguments, strict=True))


def test_softmax_of_an_infinity_stays_finite_beside_it() -> None:
    f = graphc.compile(lambda x: np.exp(x) / np.sum(np.exp(x)), "f64[2]")
    assert same(f(np.array([2.0, np.inf])), np.array([0.0, np.nan]))


def test_masks_pass_through_positions() -> None:
    x = np.array([0.0, 1.0, -1.0])
    gradient = graphc.grad(lambda x: np.where(x > 0.5, np.log(x)[np.array([0, 1, 2])], 0).sum())(x)
    assert same(gradient, np.array([0.0, 1.0, 0.0]))


def test_a_guard_on_a_difference_is_known() -> None:
    lines = ("guard 1 == n-1", "%2: f64[] = reshape[shape=()](%x)", "return %2", "}")
    graph = parse("\n".join(["graph f(%x: f64[n-1], %y: f64[n]) -> f64[] {", *lines]))
    assert graph.output_types[0].shape == ()


def test_a_failure_is_made_small() -> None:
    """A check that dislikes one op leaves little more than that op."""
    with installed(DIVISION):
        program = next(
            p for s in range(1000) if isinstance(p := draw(s), Program) and len(p.lines) > 8 and "cumsum" in str(p)
        )
        small = shrink(program, lambda p: any(d["op"] == "cumsum" for d in p.trace()._node.values()))
    assert len(small.lines) == 1
    assert "cumsum" in str(small)
