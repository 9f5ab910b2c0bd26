"""The remaining ufuncs, NaN-skipping reductions, sorting and special functions against NumPy, SciPy and mpmath."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

import graphc
from graphc.errors import GraphcError, UnsupportedError
from graphc.ops.meaning import evaluate
from graphc.scipy import special
from tests.test_numpy import DTYPES, FLOATS, agrees, others, outcome, same, samples

Function = Callable[..., Any]
INF, NAN = np.inf, np.nan
mp = mpmath.mp

# --- ufuncs -------------------------------------------------------------------------------------------------

UNARY = [
    "exp2",
    "log2",
    "log10",
    "cbrt",
    "arcsin",
    "asin",
    "arccos",
    "acos",
    "arctan",
    "atan",
    "sinh",
    "cosh",
    "arcsinh",
    "asinh",
    "arccosh",
    "acosh",
    "arctanh",
    "atanh",
    "deg2rad",
    "radians",
    "rad2deg",
    "degrees",
    "rint",
    "floor",
    "ceil",
    "trunc",
    "fix",
    "round",
    "around",
    "signbit",
    "bitwise_count",
    "conjugate",
    "conj",
    "real",
    "imag",
    "isreal",
    "iscomplex",
    "isposinf",
    "isneginf",
    "modf",
    "frexp",
    "i0",
]
BINARY = [
    "logaddexp2",
    "arctan2",
    "atan2",
    "fmax",
    "fmin",
    "fmod",
    "copysign",
    "heaviside",
    "float_power",
    "left_shift",
    "bitwise_left_shift",
    "right_shift",
    "bitwise_right_shift",
    "gcd",
    "lcm",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "divmod",
    "isclose",
]
ROUNDED = {"i0": 8}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary_functions(name: str, dtype: str) -> None:
    f = getattr(np, name)
    if name == "i0" and dtype in ("uint8", "int64", "int32", "int8"):
        return  # overflows are inf in one and NaN in the other
    for x in (samples(dtype), samples(dtype)[:0], samples(dtype)[1], samples(dtype)[:3] * others(dtype)[:3]):
        agrees(lambda v: f(v), x, ulps=ROUNDED.get(name, 0))


@pytest.mark.parametrize("second", DTYPES)
@pytest.mark.parametrize("first", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary_functions(name: str, first: str, second: str) -> None:
    f = getattr(np, name)
    agrees(lambda a, b: f(a, b), samples(first), others(second))
    agrees(lambda a, b: f(a, b), samples(first)[0], others(second)[:0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_ldexp_takes_integer_exponents(dtype: str) -> None:
    agrees(lambda x, n: np.ldexp(x, n), samples("float32"), others(dtype))
    agrees(lambda x, n: np.ldexp(x, n), others(dtype), np.array([1, -2, 3, 0, 2, 1], np.int8))
    agrees(lambda x: np.ldexp(x, 3), others(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decimals", [0, 1, 2, -1, -2])
def test_round_to_decimals(dtype: str, decimals: int) -> None:
    x = np.array([0, 1, 5, 15, 25, 127]).astype(dtype) * (1 if np.dtype(dtype).kind != "f" else np.array(0.11, dtype))
    agrees(lambda v: np.round(v, decimals), x)
    agrees(lambda v: v.round(decimals), x)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint8"])
def test_operators_on_bits(dtype: str) -> None:
    x, y = samples(dtype), others(dtype)
    for f in (
        lambda a, b: a & b,
        lambda a, b: a | b,
        lambda a, b: a ^ b,
        lambda a, b: a << (b & 3),
        lambda a, b: a >> (b & 3),
        lambda a, b: (~a, ~b),
        lambda a, b: (a & 1, 3 | a, a ^ 2, a << 1, a >> 1, 1 << (b & 3), 64 >> (b & 3)),
        lambda a, b: divmod(7, b + 1),
        lambda a, b: a & 300,
    ):
        agrees(f, x, y)
    agrees(lambda a: a & 1.5, x)


def test_literals_keep_the_dtype() -> None:
    x = np.array([0.5, 2.0], np.float32)
    for f in (
        lambda v: np.arctan2(v, 1),
        lambda v: np.copysign(1.0, v),
        lambda v: np.fmod(v, 0.3),
        lambda v: np.heaviside(v, 0.5),
        lambda v: np.fmax(v, 1),
        lambda v: np.float_power(v, 2),
        lambda v: np.logaddexp2(0, v),
    ):
        agrees(f, x)


def test_comparisons_within_a_tolerance() -> None:
    x = np.array([1.0, NAN, INF, -INF, 1e-9, 0.0])
    y = np.array([1.0 + 1e-6, NAN, INF, INF, 0.0, 2e-8])
    for options in ({}, {"equal_nan": True}, {"rtol": 0.0}, {"atol": 1.0}):
        agrees(lambda a, b, o=options: np.isclose(a, b, **o), x, y)
    for f in (np.allclose, np.array_equal):
        for a, b in ((x, y), (x, x), (x[2:], x[2:]), (x[2:], x[3:])):
            expected = outcome(f, a, b)
            actual = outcome(
                lambda f=f, a=a, b=b: graphc.compile(
                    lambda u, v: np.asarray(f(u, v)) if np.isscalar(f(u, v)) else f(u, v), a, b
                )(a, b)
            )
            assert isinstance(expected, Exception) == isinstance(actual, Exception)
            assert isinstance(actual, Exception) or bool(actual) == expected
    assert graphc.compile(lambda u: np.array_equal(u, u, equal_nan=True), x)(x)


def test_ufunc_methods() -> None:
    x = np.arange(6.0).reshape(2, 3) + 0.5
    for f in (
        lambda v: np.add.outer(v[0], v),
        lambda v: np.multiply.outer(v, v[1]),
        lambda v: np.arctan2.outer(v[0], np.array([1.0, -1.0])),
        lambda v: np.add.accumulate(v),
        lambda v: np.multiply.accumulate(v, axis=1),
        lambda v: np.fmax.reduce(v, axis=1),
        lambda v: np.fmin.reduce(v),
    ):
        agrees(f, x)
    agrees(lambda v: np.add.accumulate(v), np.array([100, 100], np.int8))


def test_functions_of_type() -> None:
    x = np.ones(2)
    assert graphc.compile(lambda v: v * np.isrealobj(v) + np.iscomplexobj(v), x)(x).tolist() == [1, 1]
    agrees(lambda v: (v.imag, v.real, v.conj(), v.conjugate()), np.array([1.5, -0.0, NAN]))


@pytest.mark.parametrize("dtype", FLOATS)
def test_sinc(dtype: str) -> None:
    x = np.array([0.0, 0.5, -2.25, 1e-4, 3.125, NAN], dtype)
    found = graphc.compile(np.sinc, x)(x)
    assert found.dtype == np.sinc(x).dtype == dtype
    np.testing.assert_allclose(found, np.sinc(x.astype(float)), rtol=4 * np.finfo(dtype).eps)
    whole = np.array([1.0, -2.0, 100.0], dtype)
    assert (graphc.compile(np.sinc, whole)(whole) == 0).all()
    assert graphc.compile(np.sinc, np.array([0, 1]))(np.array([0, 1])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("name", ["nextafter", "spacing"])
def test_functions_of_the_representation_are_refused(name: str) -> None:
    f = getattr(np, name)
    with pytest.raises(UnsupportedError, match=name):
        graphc.trace(lambda x: f(*[x] * f.nin), "f64[2]")


# --- reductions and order -----------------------------------------------------------------------------------

ROWS = np.array([[3.0, NAN, 1.0, -2.0], [NAN, NAN, NAN, NAN], [0.5, 2.0, 2.0, INF]])
SKIPPING = ["nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd", "nancumsum", "nancumprod"]


def close(f: Function, x: Any, ulps: int = 16) -> None:
    __tracebackhide__ = True
    agrees(f, x, ulps=ulps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SKIPPING)
def test_reductions_that_skip_nan(name: str, dtype: str) -> None:
    f = getattr(np, name)
    x = (ROWS if np.dtype(dtype).kind == "f" else np.array([[3, 0, 1, 2], [0, 0, 0, 1], [1, 2, 2, 5]])).astype(dtype)
    for axis in (None, 0, 1, -1):
        close(lambda v, a=axis: f(v, axis=a), x)
        if "cum" not in name:
            close(lambda v, a=axis: f(v, axis=a, keepdims=True), x)
    close(lambda v: f(v, axis=(0, 1)) if "cum" not in name else f(v), x)
    if name not in ("nanmax", "nanmin"):
        close(lambda v: f(v, axis=0), x[:0])


def test_options_of_reductions_that_skip_nan() -> None:
    close(lambda v: np.nanvar(v, axis=1, ddof=1), ROWS)
    close(lambda v: np.nanstd(v, axis=0, correction=2), ROWS)
    close(lambda v: np.nansum(v, dtype=np.float32, initial=3.0), ROWS)
    close(lambda v: np.nanmean(v, dtype=np.float32), ROWS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", ["ptp", "count_nonzero", "cumprod", "average", "median", "sort", "argsort", "argmax", "argmin"]
)
def test_order_and_counts(name: str, dtype: str) -> None:
    f = getattr(np, name)
    for x in (others(dtype).reshape(2, 3), samples(dtype).reshape(3, 2), others(dtype).reshape(3, 2)[:, :1]):
        for axis in (None, 0, 1, -1):
            agrees(lambda v, a=axis: f(v, axis=a) if name != "median" else 0.0 + f(v, axis=a), x, ulps=1)
    if name in ("ptp", "count_nonzero", "average", "median", "argmax", "argmin"):
        agrees(lambda v: f(v, axis=0, keepdims=True), others(dtype).reshape(2, 3), ulps=1)
        agrees(lambda v: f(v, axis=None, keepdims=True), others(dtype).reshape(2, 3), ulps=1)
    if name in ("cumprod", "argsort", "argmax", "argmin"):
        agrees(lambda v: getattr(v, name)(axis=0), others(dtype))
    if name not in ("median", "sort", "ptp"):
        agrees(lambda v: f(v), others(dtype)[0], ulps=1)


def test_sorting_options() -> None:
    x = np.array([[2.0, 1.0, 2.0, 1.0], [0.0, -0.0, NAN, -1.0]])
    agrees(lambda v: np.argsort(v, axis=1, kind="stable"), x)
    agrees(lambda v: np.argsort(v, axis=1, stable=True), x)
    agrees(lambda v: np.sort(v, axis=None, kind="mergesort"), x)
    agrees(lambda v: np.argsort(v, kind="stable", stable=True), x)
    agrees(lambda v: np.sort(v, axis=2), x)


@pytest.mark.parametrize("shape", ["f64[n]", "f64[2,n]", "f64[n,n]"])
def test_order_along_symbolic_sizes(shape: str) -> None:
    x = np.random.default_rng(1).normal(size={"f64[n]": (5,), "f64[2,n]": (2, 4), "f64[n,n]": (3, 3)}[shape])
    for f in (
        lambda v: np.sort(v),
        lambda v: np.median(v, axis=-1),
        lambda v: np.argmax(v, axis=0),
        lambda v: np.cumprod(v, axis=-1),
        lambda v: np.ptp(v),
    ):
        same(graphc.compile(f, shape)(x), f(x))
    weights = np.arange(1.0, x.size + 1).reshape(x.shape)
    for f in (np.sort, np.cumprod):
        loss = lambda v, f=f: np.sum(weights * f(v, axis=-1) ** 2)  # noqa: E731
        static = graphc.compile(graphc.grad(loss), x)(x)
        np.testing.assert_allclose(graphc.compile(graphc.grad(loss), "f64[n]")(x), static) if x.ndim == 1 else None
        np.testing.assert_allclose(static, differences(loss, x), rtol=1e-5, atol=1e-7)


def differences(f: Function, x: Any, step: float = 1e-6) -> Any:
    """The gradient by central differences."""
    x = np.asarray(x, float)
    result = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        one = np.zeros(x.shape)
        one[i] = step
        result[i] = (f(x + one) - f(x - one)) / (2 * step)
    return result


EDGES = np.array([-1.0, 0.5, 0.5, 2.0])


def test_searches() -> None:
    values = np.array([[-2.0, 0.5], [0.7, 3.0], [NAN, 2.0]])
    for side in ("left", "right"):
        agrees(lambda a, v, s=side: np.searchsorted(a, v, side=s), EDGES, values)
        agrees(lambda v, s=side: np.searchsorted(EDGES, v, s), values)
        agrees(lambda v, s=side: v[0].searchsorted(0.6, s), np.sort(values.T, axis=1))
    agrees(lambda a, v: np.searchsorted(a, v), np.array([1, 2, 300]), np.array([1.5, 2.0]))
    agrees(lambda a, v: np.searchsorted(a, v, side="middle"), EDGES, values)
    agrees(lambda a, v: np.searchsorted(a, v), values, values)
    for right in (False, True):
        agrees(lambda v, r=right: np.digitize(v, EDGES, right=r), values)
        agrees(lambda v, r=right: np.digitize(v, EDGES[::-1], right=r), values)
    agrees(lambda v: np.digitize(v, np.array([1.0, 0.0, 2.0])), values)


@pytest.mark.parametrize("dtype", FLOATS)
def test_quantiles(dtype: str) -> None:
    x = np.array([[3.0, 1.0, 2.0, 7.0, 5.0], [0.0, 4.0, NAN, 1.0, 2.0]], dtype)
    for q in (0.0, 0.25, 0.4, 1.0, [0.1, 0.5], [[0.3], [0.9]]):
        for axis in (None, 0, 1, (0, 1)):
            for keepdims in (False, True):
                f = lambda v, q=q, a=axis, k=keepdims: np.quantile(v, q, axis=a, keepdims=k)  # noqa: E731
                expected = np.asarray(f(x.astype(float)))
                actual = graphc.compile(f, x)(x)
                assert np.shape(actual) == expected.shape
                np.testing.assert_allclose(actual, expected, rtol=4 * np.finfo(dtype).eps)
    agrees(lambda v: np.percentile(v, [10, 50], axis=1), x[:1].astype(float), ulps=2)
    agrees(lambda v: np.quantile(v, 1.5), x)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_quantiles_of_nothing(axis: Any, dtype: str) -> None:
    """Medians of no elements are NaN, quantiles an IndexError: as NumPy has it, also where a size becomes 0 later."""
    for f in (
        lambda v: np.median(v, axis=axis),
        lambda v: np.nanmedian(v, axis=axis, keepdims=True),
        lambda v: np.quantile(v, 0.3, axis=axis),
        lambda v: np.percentile(v, [30, 40], axis=axis),
        lambda v: np.nanquantile(v, [0.3, 0.4], axis=axis),
        lambda v: np.nanpercentile(v, 30, axis=axis, keepdims=True),
    ):
        jitted = graphc.jit(f)
        for rows in (3, 4, 0, 5):
            x = np.ones((rows, 2), dtype)
            expected = outcome(f, x)
            if isinstance(expected, Exception):
                with pytest.raises(type(expected)):
                    jitted(x)
                continue
            actual = jitted(x)
            assert (np.shape(actual), actual.dtype) == (np.shape(expected), expected.dtype)
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda v: np.quantile(v, 0.3), np.array([True, False])),
        (lambda v: np.nanpercentile(v, 30), np.array([True, False])),
        (lambda v: np.round(v, 1), np.array([True, False])),
        (lambda v: np.round(v), np.array([True, False])),
        (lambda v: np.gradient(v), np.array([True, False])),
        (lambda v: np.repeat(v, 2, axis=0), np.array(2.0)),
        (lambda v: np.repeat(v, 2, axis=1), np.array(2.0)),
        (lambda v: np.average(v, weights=[1, -1]), np.ones(2)),
        (lambda v: np.average(v, weights=[[1, -1], [1, 1]], axis=1), np.ones((2, 2))),
        (lambda v: np.average(v, weights=[0.0, 0.0], axis=1), np.ones((3, 2))),
    ],
)  # fmt: skip
def test_odd_operands_are_treated_as_numpy_treats_them(f: Any, x: Any) -> None:
    agrees(f, x)


@pytest.mark.parametrize(
    "f",
    [
        lambda v: np.convolve(v, [1.0, 2.0]),
        lambda v: np.correlate([1.0, 2.0], v, "same"),
        lambda v: np.gradient(v),
        lambda v: np.cov(v),
        lambda v: np.cov(np.stack([v, v])),
    ],
)
def test_too_few_elements_also_where_a_size_shrinks(f: Any) -> None:
    jitted = graphc.jit(f)
    for size in (6, 5, 3, 1, 0):
        x = np.arange(float(size)) ** 2
        expected = outcome(f, x)
        if isinstance(expected, Exception):
            with pytest.raises(type(expected)):
                jitted(x)
        else:
            np.testing.assert_allclose(jitted(x), expected, rtol=1e-12)


def test_averages() -> None:
    x = np.arange(6.0).reshape(2, 3)
    for f in (
        lambda v: np.average(v),
        lambda v: np.average(v, axis=1),
        lambda v: np.average(v, axis=0, weights=np.array([1.0, 3.0])),
        lambda v: np.average(v, weights=v + 1),
        lambda v: np.average(v, axis=1, weights=[1, 2, 4], keepdims=True),
        lambda v: np.average(v, axis=1, weights=np.array([1.0, 2.0, 4.0]), returned=True),
        lambda v: np.average(v, axis=1, returned=True),
        lambda v: np.average(v, weights=np.array([1.0, 2.0])),
        lambda v: np.average(v, axis=0, weights=np.array([1.0, 2.0, 3.0])),
    ):
        agrees(f, x, ulps=1)
    agrees(lambda v: np.average(v, axis=1, weights=v), np.arange(1, 7).reshape(2, 3), ulps=1)


def test_running_sums_and_products_by_their_newer_names() -> None:
    if not hasattr(np, "cumulative_sum"):
        pytest.skip("this NumPy lacks cumulative_sum")
    x = np.arange(6.0).reshape(2, 3)
    agrees(lambda v: (np.cumulative_sum(v, axis=1), np.cumulative_prod(v, axis=0)), x)
    agrees(lambda v: np.cumulative_sum(v), x)


# --- SciPy's special functions ------------------------------------------------------------------------------

SPECIAL: dict[str, tuple[float, ...]] = {
    "erf": (-3.0, -0.5, 0.0, 2.0),
    "erfc": (-3.0, 0.0, 2.0, 20.0),
    "erfcx": (-3.0, 0.0, 2.0, 30.0),
    "erfinv": (-0.9, 0.0, 0.25),
    "erfcinv": (0.25, 1.0, 1.75),
    "ndtr": (-30.0, -3.0, 0.0, 2.0),
    "log_ndtr": (-40.0, -3.0, 0.0, 2.0, 10.0),
    "ndtri": (0.01, 0.5, 0.75),
    "expit": (-3.0, 0.0, 2.0),
    "log_expit": (-3.0, 0.0, 2.0),
    "logit": (0.1, 0.5, 0.75),
    "gamma": (0.25, 1.0, 4.5, -0.5, -2.25),
    "gammaln": (0.25, 1.0, 2.0, 4.5, 100.0, -0.5),
    "psi": (0.25, 1.0, 4.5, -0.5),
    "entr": (0.0, 0.25, 2.0),
    "i0": (-2.0, 0.0, 3.0),
    "i1": (-2.0, 0.0, 3.0),
    "i0e": (-2.0, 0.5, 30.0),
    "i1e": (-2.0, 0.5, 30.0),
    "j0": (-2.0, 0.0, 3.0),
    "j1": (-2.0, 0.0, 3.0),
    "exp2": (-2.0, 3.5),
    "expm1": (-2.0, 1e-9),
    "log1p": (-0.5, 1e-9),
    "cbrt": (-2.0, 3.5),
}
SPECIAL_BINARY: dict[str, tuple[tuple[float, float], ...]] = {
    "xlogy": ((0.5, 2.0), (-1.0, 0.25), (0.0, 0.0), (0.0, NAN), (0.0, 2.0)),
    "xlog1py": ((0.5, 2.0), (-1.0, -0.25), (0.0, -1.0), (0.0, 2.0)),
    "rel_entr": ((0.5, 2.0), (0.0, 0.0), (0.0, 2.0), (-1.0, 2.0), (1.0, 0.0), (1.0, NAN)),
    "kl_div": ((0.5, 2.0), (0.0, 0.0), (0.0, 2.0), (-1.0, 2.0), (1.0, 0.0), (1.0, NAN)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions(name: str, dtype: str) -> None:
    x = np.array(SPECIAL[name], np.float64).astype(dtype)
    scipys, ours = getattr(scipy.special, name), getattr(special, name)
    expected = scipys(x)
    eps = np.finfo(expected.dtype).eps
    for f in (lambda v: scipys(v), lambda v: ours(v)):
        actual = graphc.compile(f, x, exact_order=True)(x)
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=2000 * eps if name == "ndtr" else 40 * eps, atol=4 * eps)
    np.testing.assert_array_equal(ours(x), expected)


@pytest.mark.parametrize("name", SPECIAL_BINARY)
def test_special_functions_of_two_operands(name: str) -> None:
    a, b = np.array(SPECIAL_BINARY[name]).T
    f = getattr(scipy.special, name)
    agrees(lambda x, y: f(x, y), a, b, ulps=4)
    agrees(lambda x: f(x, 0.5), np.float32([0.5, 0.25]), ulps=4)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_families_of_special_functions(order: int) -> None:
    x = np.array([0.25, 1.5, 4.0, 9.0])
    for f, g in (
        (lambda v: special.polygamma(order, v), scipy.special.polygamma),
        (lambda v: special.spherical_jn(order, v), scipy.special.spherical_jn),
        (lambda v: scipy.special.iv(order, v), scipy.special.iv),
        (lambda v: scipy.special.ive(order, v), scipy.special.ive),
        (lambda v: scipy.special.jv(order, v), scipy.special.jv),
    ):
        np.testing.assert_allclose(graphc.compile(f, x)(x), g(order, x), rtol=1e-13)
    slope = graphc.compile(lambda v: special.spherical_jn(order, v, derivative=True), x)(x)
    np.testing.assert_allclose(slope, scipy.special.spherical_jn(order, x, derivative=True), rtol=1e-12, atol=1e-15)
    for wrong in (-1, 1.5, [1, 2]):
        with pytest.raises(UnsupportedError, match="order"):
            graphc.trace(lambda v, n=wrong: special.polygamma(n, v), "f64[2]")


def test_softmax_and_its_kin() -> None:
    x = np.array([[1000.0, 0.0, 1.0], [-1.0, 2.0, -INF]])
    for axis in (None, 0, 1, -1, (0, 1)):
        for name in ("softmax", "log_softmax", "logsumexp"):
            f, g = getattr(special, name), getattr(scipy.special, name)
            found = graphc.compile(lambda v, f=f, a=axis: f(v, axis=a), x)(x)
            np.testing.assert_allclose(found, g(x, axis=axis), rtol=1e-14)
            np.testing.assert_array_equal(f(x, axis=axis), g(x, axis=axis))
    weights = np.array([[1.0, 0.0, 2.0]])
    found = graphc.compile(lambda v: special.logsumexp(v, axis=1, b=weights, keepdims=True), x)(x)
    np.testing.assert_allclose(found, scipy.special.logsumexp(x, axis=1, b=weights, keepdims=True), rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_logsumexp_with_traced_weights(dtype: Any) -> None:
    rng = np.random.default_rng(3)
    for a, b, axis in (
        (rng.normal(size=(3, 4)), rng.random(4), None),
        (rng.normal(size=(3, 4)) * 300, rng.random((3, 1)), 0),
        (np.array([1000.0, 0.0, -5.0]), np.array([0.0, 1.0, 2.0]), None),
        (np.array([-INF, 0.0]), np.array([1.0, 1.0]), 0),
        (np.array([1.0, 0.0]), np.array([1.0, -3.0]), 0),
        (np.zeros(2), np.zeros(2), None),
        (np.array([INF, 0.0]), np.array([1.0, 1.0]), None),
    ):
        given = a.astype(dtype), b.astype(dtype)
        for keep in (False, True):
            with np.errstate(all="ignore"):
                wanted = np.asarray(scipy.special.logsumexp(given[0], b=given[1], axis=axis, keepdims=keep))
            f = lambda v, w, k=keep, x=axis: special.logsumexp(v, b=w, axis=x, keepdims=k)  # noqa: E731
            found = graphc.compile(f, *given)(*given)
            assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
            np.testing.assert_allclose(found, wanted, rtol=20 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps)
    # an element of weight 0 that is larger by far
    by_weight = graphc.grad(lambda w: special.logsumexp(np.array([800.0, 0.0]), b=w))(np.array([0.0, 1.0]))
    assert by_weight[0] > 1e307
    assert by_weight[1] == 1


def test_other_special_functions_are_refused_by_name() -> None:
    for name in ("gammainc", "ellipk", "struve", "airy"):
        with pytest.raises(UnsupportedError, match=name):
            getattr(special, name)
        ufunc = getattr(scipy.special, name)
        with pytest.raises(UnsupportedError, match=name):
            graphc.trace(lambda x, f=ufunc: f(*[x] * f.nin), "f64[2]")
    with pytest.raises(AttributeError):
        special.nothing  # noqa: B018
    with pytest.raises(GraphcError, match="plain NumPy array"):
        graphc.trace(lambda x: scipy.special.softmax(x), "f64[2]")


def test_the_special_functions_keep_digits_that_scipys_lose() -> None:
    """Near zeros and in the tails, against 40 digits."""
    table = (
        ("gammaln", lambda v: mp.log(abs(mp.gamma(v))), np.array([1 + 1e-9, 2 - 1e-7, 1.001, 0.75, 2.25])),
        ("ndtr", mp.ncdf, np.array([-37.3, -25.1, -20.7, -3.3, -1.1])),
        ("log_ndtr", lambda v: mp.log1p(-mp.ncdf(-v)), np.array([8.1, 20.3, 37.2])),
        ("erfc", mp.erfc, np.array([0.3, 1.1, 7.7, 19.063172528935084, 26.3])),
    )
    with mp.workdps(60):
        for name, exact, points in table:
            found = graphc.compile(lambda v, name=name: getattr(scipy.special, name)(v), points)(points)
            expected = np.array([float(exact(mp.mpf(float(p)))) for p in points])
            np.testing.assert_allclose(found, expected, rtol=16 * np.finfo(float).eps)


def test_gammaln_of_single_precision_is_rounded_once() -> None:
    """Also beside its zeros 1 and 2, and between them, where sums of single precision would cancel."""
    x = np.concatenate([np.linspace(0.5, 2.5, 400), [1 + 1e-6, 2 - 1e-6]]).astype(np.float32)
    found = graphc.compile(lambda v: scipy.special.gammaln(v), x)(x)
    assert found.dtype == np.float32
    exact = np.array([float(mp.loggamma(mp.mpf(float(v)))) for v in x])
    np.testing.assert_array_less(np.abs(found - exact), 0.501 * np.spacing(np.abs(exact).astype(np.float32)))


# --- derivatives --------------------------------------------------------------------------------------------

# name, function, exact function, points
SMOOTH: tuple[tuple[str, Function, Function, tuple[float, ...]], ...] = (
    ("tan", np.tan, mp.tan, (-1.5, 0.0, 0.3, 1.5)),
    ("arcsin", np.arcsin, mp.asin, (-0.999999, 0.0, 0.5, 0.999999)),
    ("arccos", np.arccos, mp.acos, (-0.999999, 0.0, 0.5, 0.999999)),
    ("arctan", np.arctan, mp.atan, (-1e9, -1.0, 0.0, 1e9)),
    ("arctan2 of the first", lambda x: np.arctan2(x, -2.0), lambda x: mp.atan2(x, -2), (-1.0, 3.0)),
    ("arctan2 of the second", lambda x: np.arctan2(-2.0, x), lambda x: mp.atan2(-2, x), (-1.0, 0.0, 3.0)),
    ("sinh", np.sinh, mp.sinh, (-3.0, 0.0, 1e-9, 2.0)),
    ("cosh", np.cosh, mp.cosh, (-3.0, 0.0, 2.0)),
    ("arcsinh", np.arcsinh, mp.asinh, (-1e9, 0.0, 2.0)),
    ("arccosh", np.arccosh, mp.acosh, (1.000001, 2.0, 1e9)),
    ("arctanh", np.arctanh, mp.atanh, (-0.999999, 0.0, 0.5)),
    ("exp2", np.exp2, lambda x: mp.mpf(2) ** x, (-3.0, 0.0, 2.0)),
    ("log2", np.log2, lambda x: mp.log(x, 2), (1e-9, 1.0, 5.0)),
    ("log10", np.log10, mp.log10, (1e-9, 1.0, 5.0)),
    ("logaddexp2", lambda x: np.logaddexp2(x, 1.5), lambda x: mp.log(2**x + mp.mpf(2) ** 1.5, 2), (-50.0, 1.5, 90.0)),
    ("cbrt", np.cbrt, lambda x: mp.sign(x) * mp.cbrt(abs(x)), (-8.0, 1e-6, 5.0)),
    ("deg2rad", np.deg2rad, mp.radians, (-3.0, 90.0)),
    ("rad2deg", np.rad2deg, mp.degrees, (-3.0, 90.0)),
    ("sinc", np.sinc, mp.sincpi, (0.0, 1e-12, 1e-3, 0.5, 2.0)),
    ("float_power", lambda x: np.float_power(x, 2.5), lambda x: x**2.5, (0.5, 3.0)),
    ("fmod", lambda x: np.fmod(x, 0.75), lambda x: x, (2.0, -2.0)),
    ("erfc", scipy.special.erfc, mp.erfc, (-2.0, 0.0, 5.0, 20.0)),
    ("erfcx", scipy.special.erfcx, lambda x: mp.exp(x * x) * mp.erfc(x), (-2.0, 0.0, 3.0)),
    ("erfinv", scipy.special.erfinv, mp.erfinv, (-0.99, 0.0, 0.5)),
    ("erfcinv", scipy.special.erfcinv, lambda x: mp.erfinv(1 - x), (0.01, 1.0, 1.5)),
    ("ndtr", scipy.special.ndtr, mp.ncdf, (-10.0, 0.0, 3.0)),
    ("log_ndtr", scipy.special.log_ndtr, lambda x: mp.log(mp.ncdf(x)), (-30.0, -1.0, 0.0, 3.0)),
    ("ndtri", scipy.special.ndtri, lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1), (0.01, 0.5, 0.9)),
    ("logit", scipy.special.logit, lambda p: mp.log(p / (1 - p)), (1e-6, 0.5, 0.9)),
    ("log_expit", scipy.special.log_expit, lambda x: -mp.log1p(mp.exp(-x)), (-300.0, 0.0, 30.0)),
    ("gamma", scipy.special.gamma, mp.gamma, (0.25, 2.0, -0.5, -2.25)),
    ("gammaln", scipy.special.gammaln, lambda x: mp.log(abs(mp.gamma(x))), (0.25, 1.0, 1e6, -0.5)),
    ("digamma", scipy.special.psi, mp.digamma, (0.25, 1.0, 1e3, -0.5)),
    ("polygamma", lambda x: special.polygamma(2, x), lambda x: mp.psi(2, x), (0.25, 1.0, 30.0)),
    ("i0", np.i0, lambda x: mp.besseli(0, x), (-2.0, 0.0, 5.0)),
    ("i1e", scipy.special.i1e, lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), (-2.0, 5.0, 300.0)),
    ("j0", scipy.special.j0, lambda x: mp.besselj(0, x), (-2.0, 0.0, 5.0)),
    ("spherical_jn", lambda x: special.spherical_jn(1, x), lambda x: mp.sin(x) / x**2 - mp.cos(x) / x, (0.7, 5.0)),
    ("xlogy of the first", lambda x: scipy.special.xlogy(x, 3.0), lambda x: x * mp.log(3), (-1.0, 0.0, 2.0)),
    ("xlogy of the second", lambda x: scipy.special.xlogy(3.0, x), lambda x: 3 * mp.log(x), (1e-6, 2.0)),
    ("xlog1py", lambda x: scipy.special.xlog1py(3.0, x), lambda x: 3 * mp.log1p(x), (-0.5, 1e-9, 2.0)),
    ("entr", scipy.special.entr, lambda x: -x * mp.log(x), (1e-6, 2.0)),
    ("kl_div", lambda x: scipy.special.kl_div(x, 2.0), lambda x: x * mp.log(x / 2) - x + 2, (1e-3, 5.0)),
    ("log of cosh", lambda x: np.log(np.cosh(x)), lambda x: mp.log(mp.cosh(x)), (-1000.0, 0.5, 1000.0)),
    ("log of gamma", lambda x: np.log(scipy.special.gamma(x)), lambda x: mp.log(mp.gamma(x)), (0.5, 300.0)),
    ("log of ndtr", lambda x: np.log(scipy.special.ndtr(x)), lambda x: mp.log(mp.ncdf(x)), (-50.0, 0.0, 3.0)),
    ("sinh over cosh", lambda x: np.sinh(x) / np.cosh(x), mp.tanh, (-1000.0, 0.5, 1000.0)),
    ("log of (1 + x) / (1 - x)", lambda x: np.log((1 + x) / (1 - x)), lambda x: 2 * mp.atanh(x), (-0.5, 1e-9)),
    ("log of x + sqrt", lambda x: np.log(x + np.sqrt(x * x + 1)), mp.asinh, (-1e9, -1e-9, 1e9)),
    ("log of expm1", lambda x: np.log(np.expm1(x)), lambda x: mp.log(mp.expm1(x)), (1e-9, 1.0, 1000.0)),
    ("log of x / (1 - x)", lambda x: np.log(x / (1 - x)), lambda x: mp.log(x / (1 - x)), (1e-6, 0.4)),
    ("log of erfc", lambda x: np.log(scipy.special.erfc(x)), lambda x: mp.log(mp.erfc(x)), (-1.0, 25.0)),
    ("1 - ndtr", lambda x: 1 - scipy.special.ndtr(x), lambda x: mp.ncdf(-x), (0.5, 20.0)),
    (
        "exp of a square times erfc",
        lambda x: np.exp(x * x) * scipy.special.erfc(x),
        lambda x: mp.exp(x * x) * mp.erfc(x),
        (-1.0, 3.0, 40.0),
    ),
    ("1 - erf", lambda x: 1 - scipy.special.erf(x), mp.erfc, (-1.0, 0.0, 10.0, 20.0)),
)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize(("name", "f", "exact", "points"), SMOOTH, ids=[row[0] for row in SMOOTH])
def test_derivatives_against_many_digits(name: str, f: Function, exact: Function, points: Any, order: int) -> None:
    for _ in range(order):
        f = graphc.grad(f)
    with mp.workdps(400 if "log of" in name else 60):
        for x in points:
            expected = float(mp.diff(exact, mp.mpf(x), order) if order else exact(mp.mpf(x)))
            if name == "fmod" and order == 0:
                expected = float(np.fmod(x, 0.75))
            actual = float(graphc.jit(f)(x))
            assert actual == pytest.approx(
                expected, rel=1e-9 if order == 2 or x in (-50.0, -30.0) else 1e-12, abs=1e-12
            )


# name, function, point, derivative, second derivative (None: not stated)
SPECIAL_POINTS: tuple[tuple[str, Function, float, float, float | None], ...] = (
    ("floor", np.floor, 1.0, 0.0, 0.0),
    ("ceil", np.ceil, 1.5, 0.0, 0.0),
    ("trunc", np.trunc, -1.0, 0.0, 0.0),
    ("rint", np.rint, 0.5, 0.0, 0.0),
    ("round to decimals", lambda x: np.round(x, 1), 0.25, 0.0, 0.0),
    ("fix", np.fix, 2.0, 0.0, 0.0),
    ("fractional part", lambda x: np.modf(x)[0], 2.0, 1.0, 0.0),
    ("whole part", lambda x: np.modf(x)[1], 2.0, 0.0, 0.0),
    ("remainder of divmod", lambda x: np.divmod(x, 1.0)[1], 0.5, 1.0, 0.0),
    ("arccos at 1", np.arccos, 1.0, -INF, None),
    ("arccos at -1", np.arccos, -1.0, -INF, None),
    ("arcsin at 1", np.arcsin, 1.0, INF, None),
    ("arccosh at 1", np.arccosh, 1.0, INF, None),
    ("arctanh at 1", np.arctanh, 1.0, INF, None),
    ("cbrt at 0", np.cbrt, 0.0, INF, None),
    ("sinc at 0", np.sinc, 0.0, 0.0, -(np.pi**2) / 3),
    ("spherical_jn at 0", lambda x: special.spherical_jn(0, x), 0.0, 0.0, -1 / 3),
    ("i0 at 0", scipy.special.i0, 0.0, 0.0, 0.5),
    ("i0e at 0", scipy.special.i0e, 0.0, 0.0, None),
    ("arctan2 at the origin, of the first", lambda y: np.arctan2(y, 0.0), 0.0, 0.0, 0.0),
    ("arctan2 at the origin, of the second", lambda x: np.arctan2(0.0, x), 0.0, 0.0, 0.0),
    ("arctan2 at its cut", lambda y: np.arctan2(y, -1.0), 0.0, -1.0, 0.0),
    ("copysign at 0", lambda x: np.copysign(x, 2.0), 0.0, 0.0, 0.0),
    ("copysign of a negative", lambda x: np.copysign(x, 2.0), -3.0, -1.0, 0.0),
    ("sign of copysign", lambda x: np.copysign(2.0, x), 1.0, 0.0, 0.0),
    ("heaviside at 0", lambda x: np.heaviside(x, 0.5), 0.0, 0.0, 0.0),
    ("value of heaviside at 0", lambda h: np.heaviside(0.0, h), 0.5, 1.0, 0.0),
    ("value of heaviside elsewhere", lambda h: np.heaviside(1.0, h), 0.5, 0.0, 0.0),
    ("fmax at a tie", lambda x: np.fmax(x, 1.0), 1.0, 0.5, 0.0),
    ("fmax of NaN", lambda x: np.fmax(x, NAN), 2.0, 1.0, 0.0),
    ("fmin of NaN", lambda x: np.fmin(NAN, x), 2.0, 1.0, 0.0),
    ("ldexp", lambda x: np.ldexp(x, 3), 2.0, 8.0, 0.0),
    ("xlogy at x = 0", lambda x: scipy.special.xlogy(x, 2.0), 0.0, np.log(2.0), 0.0),
    ("xlogy at 0 and 0", lambda y: scipy.special.xlogy(0.0, y), 0.0, 0.0, 0.0),
    ("entr at 0", scipy.special.entr, 0.0, INF, None),
    ("median of two", lambda x: np.median(np.array([1.0, 2.0]) * x), 1.0, 1.5, 0.0),
    ("nansum with NaN", lambda x: np.nansum(x * np.array([2.0, NAN])), 1.0, 2.0, 0.0),
    ("nanmax with NaN", lambda x: np.nanmax(x * np.array([2.0, NAN])), 1.0, 2.0, 0.0),
    ("nanmean with NaN", lambda x: np.nanmean(x * np.array([2.0, 4.0, NAN])), 1.0, 3.0, 0.0),
    ("nanvar with NaN", lambda x: np.nanvar(x * np.array([2.0, 4.0, NAN])), 1.0, 2.0, 2.0),
)


@pytest.mark.parametrize(
    ("f", "x", "first", "second"), [row[1:] for row in SPECIAL_POINTS], ids=[r[0] for r in SPECIAL_POINTS]
)
def test_derivatives_at_special_points(f: Function, x: float, first: float, second: float | None) -> None:
    assert graphc.grad(f)(x) == graphc.jacfwd(f)(x) == pytest.approx(first, rel=1e-14, abs=1e-15)
    if second is not None:
        for outer in (graphc.jacfwd, graphc.jacrev):
            for inner in (graphc.jacfwd, graphc.jacrev):
                assert outer(inner(f))(x) == pytest.approx(second, rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("x", [[0.0, 2.0, 3.0, 0.5], [0.0, 0.0, 3.0, 2.0], [1.0], [1.0, 2.0, -3.0]])
def test_running_products_at_zeros(x: Any) -> None:
    x = np.array(x)
    weights = np.arange(1.0, x.size + 1)
    f = lambda v: np.sum(weights * np.cumprod(v))  # noqa: E731
    np.testing.assert_allclose(graphc.grad(f)(x), differences(f, x), rtol=1e-8, atol=1e-8)
    hessian = graphc.hessian(f)(x)
    for i in range(x.size):
        column = differences(lambda v, i=i: graphc.grad(f)(v)[i], x)
        np.testing.assert_allclose(hessian[i], column, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(hessian, graphc.jacfwd(graphc.jacfwd(f))(x))


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_sorted_elements_keep_their_derivatives(axis: int | None) -> None:
    x = np.random.default_rng(2).normal(size=(3, 4))
    for f in (
        lambda v: np.sort(v, axis=axis),
        lambda v: np.median(v, axis=axis),
        lambda v: np.quantile(v, [0.2, 0.7], axis=axis),
        lambda v: np.nanmin(v, axis=axis),
        lambda v: np.ptp(v, axis=axis),
        lambda v: np.average(v, axis=axis),
    ):
        weigh = lambda v, f=f: np.sum(np.sin(f(v)) ** 2)  # noqa: E731
        np.testing.assert_allclose(graphc.grad(weigh)(x), differences(weigh, x), rtol=1e-5, atol=1e-8)
    # a tie shares equally
    tied = graphc.jacobian(np.sort)(np.array([2.0, 1.0, 1.0]))
    np.testing.assert_array_equal(tied, [[0, 0.5, 0.5], [0, 0.5, 0.5], [1, 0, 0]])


FLOAT_OPS = [
    (name, f)
    for name, f, *_ in SMOOTH
    if name
    in (
        "arctan",
        "arcsinh",
        "sinh",
        "exp2",
        "cbrt",
        "sinc",
        "erfc",
        "ndtr",
        "gammaln",
        "digamma",
        "i0",
        "j0",
        "deg2rad",
    )
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("name", "f"), FLOAT_OPS, ids=[row[0] for row in FLOAT_OPS])
def test_gradients_of_any_dtype_and_storage(name: str, f: Function, dtype: str) -> None:
    base = np.linspace(0.4, 2.0, 12).reshape(3, 4).astype(dtype)
    expected = graphc.grad(lambda v: np.sum(f(v)))(base.astype(float))
    for x, want in (
        (base, expected),
        (np.asfortranarray(base), expected),
        (base[::-1, ::-2], expected[::-1, ::-2]),
        (base[0, 0], expected[0, 0]),
        (base[:0], expected[:0]),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = graphc.grad(lambda v: np.sum(f(v)))(x)
        assert found.dtype == dtype
        assert found.shape == np.shape(x)
        np.testing.assert_allclose(found, want, rtol=64 * np.finfo(dtype).eps)


def test_the_meanings_of_records_are_numpys_own() -> None:
    """A ufunc is its own meaning, with every bit."""
    x = np.array([0.1, 0.7, 0.9])
    for name in ("arcsin", "arctan", "cbrt", "exp2", "log2", "log10", "floor", "rint", "deg2rad"):
        same(evaluate(graphc.ops.lookup(name), [x], {}), getattr(np, name)(x))
