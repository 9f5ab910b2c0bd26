"""Value and gradient of every float op, run: in each float dtype, memory layout, without axes and without elements.

The reference is the op's exact meaning and its jets, at the very numbers that the dtype holds. How far a result may
lie from it follows from the accuracies that the records state: they are accumulated through the derivative graph
(`tests.enclosures`), so there is no tolerance to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pytest

from graphc.backends.exact.fields import apply_each, as_array
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.reals import reals
from graphc.compiler import Compiled
from graphc.errors import AxisError, DTypeError, ShapeError
from graphc.ir import Builder, Graph, TensorType
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate
from graphc.ops.record import Op, Partials
from graphc.ops.world import GraphWorld, Value
from graphc.passes import pipeline
from graphc.passes.derive import jvp_graph, vjp_graph
from graphc.verification.cases import Case, cases, exactly, rounded
from graphc.verification.rules import installed
from graphc.verification.trials import coefficient, jet_apply
from tests.matrices import LINEAR

flint = pytest.importorskip("flint", reason='python-flint is not installed: pip install -e ".[verify]"')

Array = Any
DTYPES: Final = tuple(map(np.dtype, (np.float16, np.float32, np.float64)))


def has_gradient(op: Op) -> bool:
    return op.rule is not None and any(case.floats and case.result.differentiable for case in cases(op))


NAMES: Final = [name for name, op in TABLE.items() if has_gradient(op)]


@dataclass(frozen=True, slots=True)
class Trial:
    """One op on arrays of one float dtype, with its compiled derivatives."""

    case: Case
    arrays: tuple[Array, ...]
    weights: Array  # a cotangent of the result
    directions: tuple[Array, ...]  # a tangent for each float operand
    graphs: tuple[Graph, Graph]  # value and cotangents; value and tangent
    compiled: tuple[Compiled, Compiled]

    @property
    def given(self) -> tuple[list[Array], list[Array]]:
        """The arguments of the two graphs."""
        return [*self.arrays, self.weights], [*self.arrays, *self.directions]

    def run(self, layout: Callable[[Array], Array] = lambda a: a) -> list[Any]:
        """Value and cotangents, value and tangent, on arguments laid out in memory as `layout` does."""
        return [
            result
            for f, given in zip(self.compiled, self.given, strict=True)
            for result in f(*[layout(a) for a in given])
        ]


def retyped(case: Case, dtype: np.dtype[Any]) -> Case | None:
    """The case with its float operands in another dtype, rounded to it; None if the op does not take that."""
    types, operands = list(case.types), list(case.operands)
    for k in case.floats:
        types[k] = TensorType(types[k].shape, dtype)
        operands[k] = exactly(rounded(operands[k], dtype))
    found = replace(case, operands=tuple(operands), types=tuple(types))
    try:
        return found if found.result.differentiable else None
    except DTypeError:
        return None


def trial_of(case: Case, seed: int) -> Trial:
    """The case, compiled, with random weights and directions."""
    builder = Builder(case.op.name)
    w = GraphWorld(builder)
    operands = [Value(w, builder.input(f"x{k}", t)) for k, t in enumerate(case.types)]
    y = w.emit(case.op, operands, tuple(sorted(case.attrs.items())))
    graph = pipeline.run(builder.finish([y.id]), pipeline.FORWARD)[-1].graph
    graphs = tuple(derive(graph, case.floats, with_value=True) for derive in (vjp_graph, jvp_graph))
    rng = np.random.default_rng(seed)

    def drawn(t: TensorType) -> Array:
        return np.asarray(rng.integers(1, 8, t.shape) / 4 * rng.choice((-1, 1), t.shape), t.dtype)

    return Trial(
        case,
        tuple(rounded(v, t.dtype) for v, t in zip(case.operands, case.types, strict=True)),
        drawn(case.result),
        tuple(drawn(case.types[k]) for k in case.floats),
        graphs,
        tuple(Compiled(g, None, None) for g in graphs),
    )


def references(trial: Trial) -> list[tuple[Array, Array]]:
    """What `Trial.run` should give, exactly: from jets of the exact meaning along every coordinate.

    With each result comes the size at which roundings count. It is that of the terms which the result is the sum of,
    and of what a relative change of the operands by 1 would do to it: where terms cancel, and beside a zero, no
    floating-point arithmetic has the last places of what is left.
    """
    case, field = trial.case, JetField(reals(), 2)
    with field.working():
        still: list[Array | None] = [None] * len(case.operands)
        weights = _numbers(field, trial.weights)
        value = coefficient(jet_apply(case, field, still), 0)
        tangent, moved, size = (as_array(value * 0) for _ in range(3))
        size = as_array(size + abs(value))
        cotangents = []
        for k, direction in zip(case.floats, trial.directions, strict=True):
            ct, terms = (np.empty(case.types[k].shape, object) for _ in range(2))
            for i in np.ndindex(ct.shape):
                unit = exactly(np.zeros(ct.shape))
                unit[i] = exactly(np.ones(()))[()]
                along = jet_apply(case, field, [*still[:k], unit, *still[k + 1 :]])
                slope, curve = coefficient(along, 1), coefficient(along, 2)
                x = abs(field.numbers.number(case.operands[k][i]))
                size = as_array(size + abs(slope) * x)
                reach = as_array(abs(slope) + 2 * abs(curve) * x)
                ct[i] = _total(field, weights * slope)
                terms[i] = _total(field, abs(weights) * reach)
                tangent = as_array(tangent + slope * _numbers(field, direction[i]))
                moved = as_array(moved + reach * abs(_numbers(field, direction[i])))
            cotangents.append((ct, terms))
        return [(value, size), *cotangents, (value, size), (tangent, moved)]


def _total(field: JetField, terms: Any) -> Any:
    return sum(as_array(terms).ravel(), field.numbers.number(0))


def _numbers(field: JetField, values: Any) -> Array:
    """Floats as exact numbers."""
    return apply_each(lambda v: v.c[0], field.array(np.asarray(values)))


# --- the laws ------------------------------------------------------------------------------------------------


def problems(trial: Trial, found: Sequence[Any], wanted: Sequence[tuple[Array, Array]]) -> Iterator[str]:
    """What is wrong with results: their dtype, their shape, a 0-d array where NumPy gives a scalar, or a value."""
    ulps = MOST * max(trial.case.op.ulps, 0.5)
    types = [t for g in trial.graphs for t in g.output_types]
    for k, (x, (exact, size), t) in enumerate(zip(found, wanted, types, strict=True)):
        if x.dtype != t.dtype or x.shape != exact.shape:
            yield f"{trial.case}: result {k} is {x.dtype}{list(x.shape)}, not {t}"
        elif not isinstance(x, np.ndarray if x.shape else np.generic):
            yield f"{trial.case}: result {k} is a {type(x).__name__} without axes, not a scalar"
        for i in np.ndindex(x.shape):
            if not isinstance(exact[i], int) and not exact[i].is_finite():
                continue  # the logarithm of an empty sum
            scale = _float(size[i])
            if scale > float(np.finfo(t.dtype).max):
                continue  # an intermediate result overflows
            place = float(np.spacing(t.dtype.type(scale)))
            if not np.isfinite(x[i]) or abs(_float(exact[i] - _exactly(x[i]))) > ulps * place:
                yield f"{trial.case}: result {k} is {x[i]!r} at {i}, exactly {exact[i]}"
                return


MOST: Final = 3  # a derivative is some two or three operations


def _float(x: Any) -> float:
    return float(x) if isinstance(x, int) else float(x.abs_upper())


def _exactly(x: Any) -> Any:
    return flint.arb(float(x))


def trials(name: str, dtype: np.dtype[Any]) -> Iterator[Trial]:
    for number, base in enumerate(cases(TABLE[name])):
        case = retyped(base, dtype) if base.floats else None
        if case is not None:
            yield trial_of(case, number)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_in_each_dtype(name: str, dtype: np.dtype[Any]) -> None:
    found = list(trials(name, dtype))
    assert bool(found) != (name in LINEAR and dtype == np.float16)  # of which LAPACK knows nothing
    for trial in found:
        assert list(problems(trial, trial.run(), references(trial))) == []
        for k, x in zip(trial.case.floats, trial.run()[1:], strict=False):
            assert x.dtype == trial.case.types[k].dtype == dtype


# --- memory layouts ------------------------------------------------------------------------------------------


def every_second(a: Array) -> Array:
    wide = np.zeros([2 * d for d in a.shape], a.dtype)
    part = wide[(..., *(slice(1, None, 2),) * a.ndim)]
    part[...] = a
    return part


def turned(a: Array) -> Array:
    every = (..., *(slice(None, None, -1),) * a.ndim)
    return a[every].copy()[every]


def misaligned(a: Array) -> Array:
    room = np.zeros(a.nbytes + 1, np.uint8)[1:]
    found = room.view(a.dtype).reshape(a.shape)
    found[...] = a
    return found


def read_only(a: Array) -> Array:
    found = a.copy()
    found.flags.writeable = False
    return found


def other_byte_order(a: Array) -> Array:
    return a.astype(a.dtype.newbyteorder())


LAYOUTS: Final[dict[str, Callable[[Array], Array]]] = {
    "F": lambda a: a.copy(order="F"),
    "negative strides": turned,
    "not contiguous": every_second,
    "misaligned": misaligned,
    "read-only": read_only,
    "other byte order": other_byte_order,
}


def repeated(a: Array) -> Array:
    """The first element in every place, by strides of 0."""
    return np.broadcast_to(a[(..., *(slice(0, 1),) * a.ndim)], a.shape)


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_in_each_layout(name: str, dtype: np.dtype[Any]) -> None:
    """Every bit where the op is correctly rounded; NumPy's own loops for other functions depend on strides."""
    exactly_rounded = TABLE[name].ulps <= 0.5
    for trial in trials(name, dtype):
        plain, wanted = trial.run(), references(trial)
        for layout in LAYOUTS.values():
            found = trial.run(layout)
            assert list(problems(trial, found, wanted)) == []
            assert not exactly_rounded or all(map(same, plain, found))
        try:
            alike = [trial.run(layout) for layout in (repeated, lambda a: repeated(a).copy())]
        except np.linalg.LinAlgError:
            assert name in LINEAR  # equal rows
            continue
        assert not exactly_rounded or all(map(same, *alike))
        for a, b in zip(*alike, strict=True):
            np.testing.assert_allclose(a, b, rtol=64 * np.finfo(a.dtype).eps)


# --- without elements ----------------------------------------------------------------------------------------


def emptied(value: Any, size: int) -> Any:
    """A shape, or an attribute that holds one, with 0 in place of a size."""
    if isinstance(value, tuple):
        return tuple(emptied(v, size) for v in value)
    return 0 if value == size and type(value) is int else value


def empty_cases(op: Op) -> Iterator[Case]:
    """The op's cases with a size made 0 wherever it occurs, if they hold together then."""
    for case in cases(op):
        for size in {d for t in case.types for d in t.shape}:
            types = tuple(TensorType(emptied(t.shape, size), t.dtype) for t in case.types)
            attrs = {k: emptied(v, size) if k in ("shape", "index") else v for k, v in case.attrs.items()}
            operands = [x[(..., *map(slice, t.shape))] for x, t in zip(case.operands, types, strict=True)]
            yield Case(op, tuple(operands), types, attrs)


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_without_elements(name: str) -> None:
    """As many zeros as there are elements, in the right dtypes; or a refusal where NumPy refuses too."""
    ran = 0
    for case in empty_cases(TABLE[name]):
        arrays = [rounded(v, t.dtype) for v, t in zip(case.operands, case.types, strict=True)]
        try:
            for dtype in DTYPES:
                one = retyped(case, dtype)
                trial = None if one is None else trial_of(one, 0)
                if trial is not None:
                    assert list(problems(trial, trial.run(), references(trial))) == []
                    ran += 1
        except (ShapeError, AxisError, IndexError):
            if not case.attrs.keys() & {"shape", "index"}:  # not refused for its attributes
                with pytest.raises((ValueError, IndexError), match=r"identity|shape|empty|out of bounds"):
                    evaluate(TABLE[name], arrays, case.attrs)
    assert ran


def test_a_slightly_wrong_rule_is_seen() -> None:
    """The tolerance is tight: a derivative off by six last places fails in each dtype."""
    for dtype in DTYPES:
        off = 1 + 6 * float(np.finfo(dtype).eps)
        wrong = replace(TABLE["sqrt"], rule=Partials(lambda w, y, x, off=off: 0.5 * off / y))
        with installed(wrong):
            assert any(list(problems(t, t.run(), references(t))) for t in trials("sqrt", dtype))
