"""Exact fields and the exact world: they agree with each other and with SymPy, and let no float in."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
import sympy as sp

import graphc
from graphc.backends.exact.cells import CellField
from graphc.backends.exact.elementary import DERIVATIVES, FAMILIES
from graphc.backends.exact.expressions import Expressions, sympy_function
from graphc.backends.exact.fields import ExactError, Field, Undecided, as_array
from graphc.backends.exact.finite import P, Residue, Residues
from graphc.backends.exact.jets import JetField, Numbers
from graphc.backends.exact.reals import Balls, Digits
from graphc.backends.exact.world import ExactWorld, bind_sizes, evaluate
from graphc.errors import ShapeError
from graphc.ir import TensorType

F64 = np.dtype("f8")
NUMBERS = (Balls, Digits, lambda: Residues(7))
X = sp.Symbol("x", real=True)
AT = Fraction(3, 8)


def cells() -> CellField:
    return CellField({X: AT})


FIELDS: tuple[Any, ...] = (Expressions, cells, *(lambda n=n: JetField(n()) for n in NUMBERS))


@pytest.mark.parametrize("name", [name for name in DERIVATIVES if name == "tanh" or hasattr(flint.arb_series, name)])
def test_jets_of_elementary_functions_are_flints_power_series(name: str) -> None:
    field = JetField(Balls(), 2)
    with field.working():
        n = field.numbers.number
        mine = getattr(field, name)(field.jet(n(AT), n(2), n(-3)))
        series = flint.arb_series([flint.arb(flint.fmpq(3, 8)), 2, -3], 3)
        theirs = (
            (series.exp() - 1 / series.exp()) / (series.exp() + 1 / series.exp())
            if name == "tanh"
            else getattr(series, name)()
        )
        for k in range(3):
            difference = mine.c[k] - theirs[k]
            assert difference.contains(0)
            assert difference.rad() < 1e-60


@pytest.mark.parametrize(
    ("name", "order"), [(n, k) for n in DERIVATIVES for k in ((0, 1, 2, 3) if n in FAMILIES else (None,))]
)
@pytest.mark.parametrize("numbers", [Balls, Digits])
def test_jets_are_sympys_derivatives(name: str, order: int | None, numbers: type[Numbers]) -> None:
    field = JetField(numbers(), 2)
    given = () if order is None else (order,)
    at = AT + 1 if name == "acosh" else AT
    function = sp.expand_func(sp.jn(order, X)) if name == "spherical_jn" else sympy_function(name, X, *given)
    with field.working():
        jet = getattr(field, name)(field.jet(field.numbers.number(at), field.numbers.number(1)), *given)
        for k in range(3):
            exact = sp.diff(function, X, k).subs(X, sp.Rational(at.numerator, at.denominator)) / sp.factorial(k)
            assert field.numbers.centre(jet.c[k]) == pytest.approx(float(sp.re(exact.evalf(30))), rel=1e-14)


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("at", [Fraction(-21, 8), Fraction(5, 8), Fraction(11, 8)])
def test_balls_hold_the_digits(name: str, at: Fraction) -> None:
    """Arb and mpmath agree on every function, also left of 0, and on where it has no value."""
    balls, digits = Balls(), Digits()
    for order in (0, 1, 3) if name in FAMILIES else (None,):
        given = () if order is None else (order,)
        with balls.working():
            ball, number = balls.call(name, balls.number(at), *given), digits.call(name, digits.number(at), *given)
            assert ball.is_finite() == bool(np.isfinite(float(number.value)))
            if ball.is_finite():
                assert balls.centre(ball) == pytest.approx(float(number.value), rel=1e-15)
                assert ball.rad() < 1e-60


def test_roundings_of_halves_and_angles() -> None:
    halves = (Fraction(1, 2), Fraction(3, 2), Fraction(5, 2), Fraction(-1, 2), Fraction(-9, 4), Fraction(3))
    for make in FIELDS:
        field: Field = make()
        with field.working():
            for x in halves:
                assert field.equal(field.rint(field.number(x)), field.number(round(x))) in (True, sp.true)
                assert field.equal(field.trunc(field.number(x)), field.number(int(x))) in (True, sp.true)
    field = JetField(Balls(), 1)
    with field.working():
        n = field.numbers.number
        for y, x in ((1, 2), (-1, 2), (1, -2), (-1, -2), (3, 0), (0, 2)):
            angle = field.atan2(field.jet(n(y), n(1)), field.jet(n(x), n(-1)))
            assert field.numbers.centre(angle.c[0]) == pytest.approx(np.arctan2(y, x), rel=1e-15)
            assert field.numbers.centre(angle.c[1]) == pytest.approx((x + y) / (x * x + y * y), rel=1e-15)
        with pytest.raises(Undecided):
            field.atan2(field.jet(n(0), n(1)), field.number(-1))


def test_kernels_of_a_family_keep_its_recurrence() -> None:
    n = Residues(5)
    with n.working():
        x = n.variable("x", Fraction(3, 8))
        low, mid, high = (n.call("spherical_jn", x, k) for k in (0, 1, 2))
        assert (low + high - 3 * mid / x).v == 0
        assert (low * x - n.call("sin", x)).v == 0
        assert (n.call("erf", x) + n.call("erfc", x) - 1).v == 0
        assert n.call("polygamma", x, 0).v != n.call("polygamma", x, 1).v


def is_zero(numbers: Any, value: Any) -> bool:
    return value.v == 0 if isinstance(value, Residue) else numbers.close(value, 0.0)


@pytest.mark.parametrize("numbers", NUMBERS)
def test_arithmetic_of_jets_is_that_of_polynomials(numbers: Any) -> None:
    field = JetField(numbers(), 2)
    with field.working():
        n = field.numbers.number
        a, b = field.jet(n(3), n(1), n(2)), field.jet(n(5), n(-2))
        assert all(is_zero(field.numbers, c) for c in (a / b * b - a).c)
        product = (a * b - (field.number(15) + field.jet(n(0), n(-1), n(8)))).c
        assert [field.numbers.sign(c) for c in product] == [0, 0, 0]
        assert all(is_zero(field.numbers, c) for c in (1 / b * b - 1).c)


@pytest.mark.parametrize("make", FIELDS)
def test_a_float_is_its_exact_binary_value(make: Any) -> None:
    field: Field = make()
    with field.working():
        (tenth,) = field.array(np.array([0.1]))
        difference = tenth - field.number(Fraction(0.1))
        assert field.equal(difference, field.number(0)) in (True, sp.true)
        assert field.equal(tenth, field.number(Fraction(1, 10))) in (False, sp.false)


@pytest.mark.parametrize("make", FIELDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(make: Any, bad: float) -> None:
    with pytest.raises(ExactError, match="no exact meaning"):
        make().array(np.array([1.0, bad]))


@pytest.mark.parametrize("make", FIELDS)
def test_no_python_number_stays_in_an_array(make: Any) -> None:
    field: Field = make()
    w = ExactWorld(field)
    with field.working():
        ones = w.constant([1, 3], F64)
        # the zeros that NumPy writes here are Python ints
        padded = w.unslice(ones, index=((0, 2, 1),), shape=(4,)).array
        assert not any(isinstance(v, (int, float)) for v in padded)
        thirds = w.div(w.constant(1, F64), w.constant(3, F64)) * 3 - 1
        assert not isinstance(thirds.array[()], (int, float))


def test_a_float_that_arises_is_refused() -> None:
    with pytest.raises(ExactError, match="a float arose"):
        Expressions().admit(0.5)
    with pytest.raises(ExactError):
        Expressions().admit(sp.Float(0.5))


@pytest.mark.parametrize("make", FIELDS)
def test_booleans_stay_booleans(make: Any) -> None:
    w = ExactWorld(make())
    with w.field.working():
        a = w.constant([True, True, False], np.dtype(bool))
        b = w.constant([True, False, False], np.dtype(bool))
        assert w.add(a, b).array.tolist() == [True, True, False]
        assert w.mul(a, b).array.tolist() == [True, False, False]
        assert w.logical_not(a).array.tolist() == [False, False, True]


def test_sympy_keeps_open_comparisons_as_conditions() -> None:
    field = Expressions()
    assert field.less(field.number(1), field.number(2)) == sp.true
    assert field.where(field.less(X, field.number(0)), -X, X) == sp.Piecewise((-X, X < 0), (X, True))
    assert field.maximum(X, field.number(0)) == sp.Max(0, X)
    assert field.cast(sp.Rational(-7, 2), np.dtype("i8")) == -3
    with pytest.raises(Undecided):
        field.integers(as_array(X))


def test_a_cell_takes_the_branch_of_its_point() -> None:
    field = cells()
    with field.working():
        x = field.jet(field.numbers.symbol(X))
        half = field.number(Fraction(1, 2))
        assert field.expression(field.maximum(x, half)) == sp.Rational(1, 2)
        assert field.expression(field.abs(x - half)) == sp.Rational(1, 2) - X
        assert field.expression(field.sqrt(x * x)) == X
        with pytest.raises(Undecided):
            field.abs(x - field.number(AT))


def test_a_stopped_gradient_is_a_constant_of_diff_and_of_jets() -> None:
    field = cells()
    with field.working():
        x = field.jet(field.numbers.symbol(X))
        assert field.derivative(x * field.stop_gradient(x), X) == X
    jets = JetField(Balls(), 2)
    with jets.working():
        x = jets.jet(jets.numbers.number(3), jets.numbers.number(1))
        assert [int(c.unique_fmpz()) for c in (x * jets.stop_gradient(x)).c] == [9, 3]


def test_kernels_in_the_finite_field_are_consistent() -> None:
    n = Residues(3)
    with n.working():
        x = n.variable("x", Fraction(3, 8))
        e, inverse = n.call("exp", x), n.call("exp", -x)
        assert (e * inverse).v == 1
        twice = n.call("exp", 2 * x)
        assert n.call("tanh", x).v == ((twice - 1) / (twice + 1)).v
        sine, cosine = n.call("sin", x), n.call("cos", x)
        assert (sine * sine + cosine * cosine).v == 1
        assert n.call("sin", -x).v == (-sine).v
        assert n.call("erf", -x).v == (-n.call("erf", x)).v
        root = n.call("sqrt", x * x)
        assert (root * root - x * x).v == 0
        assert n.call("log", n.number(1)).v == 0
        assert n.call("exp", x).v == e.v != Residues(4).call("exp", x).v
        assert (x / (x - x)).v is None
        assert 0 <= (x + x).v < P


def test_the_branch_not_taken_may_be_anything() -> None:
    graph = graphc.trace(lambda x: np.where(x > 0, np.log(x), 1 / (x - x)), "f64[1]")
    for make in NUMBERS:
        field = JetField(make())
        with field.working():
            (value,) = evaluate(graph, [field.array(np.array([2.0]))], field)
            expected = field.log(field.number(2))
            assert is_zero(field.numbers, (value[0] - expected).c[0])


def test_ties_of_what_varies_are_undecided() -> None:
    field = JetField(Balls(), 1)
    with field.working():
        zero = field.jet(field.numbers.number(0), field.numbers.number(1))
        with pytest.raises(Undecided):
            field.abs(zero)
        assert field.maximum(zero, zero) is zero
        assert field.sign_of(field.number(0)) == 0


def test_sizes_come_from_the_inputs() -> None:
    graph = graphc.trace(lambda x, y: np.mean(x, axis=0) + np.mean(y), "f64[n,2]", "f64[m]")
    assert bind_sizes(graph, [(3, 2), (5,)]) == {"n": 3, "m": 5}
    field = Expressions()
    (mean,) = evaluate(graph, [field.array(np.arange(6.0).reshape(3, 2)), field.array(np.arange(5.0))], field)
    assert mean.tolist() == [4, 5]
    with pytest.raises(ShapeError, match="another size"):
        bind_sizes(graph, [(3, 3), (5,)])
    with pytest.raises(ShapeError, match="another rank"):
        bind_sizes(graph, [(3,), (5,)])


def test_a_value_must_have_its_types_shape() -> None:
    w = ExactWorld(Expressions())
    with pytest.raises(ShapeError):
        w.value(as_array(sp.Integer(1)), TensorType((2,), F64))


def test_sympy_mode_runs_compiled_graphs() -> None:
    f = graphc.compile(lambda x: np.log(1 + np.exp(x)), "f64[2]", backend="sympy")
    one, open_ = f(np.array([1, X], dtype=object))
    assert one == sp.log(1 + sp.E)
    assert open_ == sp.log(1 + sp.exp(X))


INTEGER_DTYPES = [np.dtype(kind + size) for kind in "iu" for size in "1248"]
WRAPPING: tuple[tuple[int, Any], ...] = (
    (2, np.add),
    (2, np.subtract),
    (2, np.multiply),
    (2, np.left_shift),
    (2, np.right_shift),
    (2, np.floor_divide),
    (2, np.remainder),
    (2, np.bitwise_xor),
    (1, np.invert),
    (1, np.negative),
    (1, np.abs),
    (1, lambda x: x**3),
    (1, lambda x: np.cumsum(x, dtype=x.dtype)),
    (1, lambda x: np.cumprod(x, dtype=x.dtype)),
    (2, lambda x, y: x @ y),
    *((1, lambda x, d=d: x.astype(d)) for d in INTEGER_DTYPES),
)


@pytest.mark.parametrize("dtype", INTEGER_DTYPES, ids=str)
def test_integers_wrap_as_numpys(dtype: np.dtype[Any]) -> None:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(limits.bits)
    edges = [limits.min, limits.max, 0, 1, limits.bits - 1, limits.bits]
    x = np.concatenate([np.array(edges, dtype), rng.integers(limits.min, limits.max, 6, dtype, endpoint=True)])
    y = rng.permutation(np.concatenate([x[:9], rng.integers(0, limits.bits + 2, 3, dtype)]))
    for field in (JetField(Balls()), JetField(Digits()), JetField(Residues(3)), Expressions()):
        for arity, function in WRAPPING:
            operands = (x, np.where(y == 0, dtype.type(3), y))[:arity]
            graph = graphc.trace(function, *operands)
            (found,) = evaluate(graph, [field.array(v) for v in operands], field)
            with np.errstate(all="ignore"):
                wanted = function(*operands)
            with field.working():
                assert [field.integer(v) for v in found.ravel()] == wanted.ravel().tolist(), (str(field), function)


def test_an_unknown_integer_is_not_wrapped() -> None:
    n = sp.Symbol("n", integer=True)
    f = graphc.compile(lambda x: x + 1, "u8[]", backend="sympy")
    assert f(np.array(n, dtype=object)) == n + 1
    assert f(255) == 0
