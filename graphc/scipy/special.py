"""`graphc.scipy.special`: SciPy's special functions on traced values and arrays alike.

Those of SciPy's functions that are ufuncs (`scipy.special.erf`, `gammaln`, `expit`, ...) also take traced values
themselves. The others (`softmax`, `log_softmax`, `logsumexp`, `polygamma`, `spherical_jn`) do not: they make plain
arrays of their arguments, so that inside a trace only the versions here will do.

>>> import numpy as np, graphc
>>> from graphc.scipy import special
>>> f = graphc.compile(lambda x: special.softmax(x, axis=-1), "f64[2]")
>>> f(np.array([1000.0, 1000.0]))
array([0.5, 0.5])
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from graphc import dims
from graphc.errors import UnsupportedError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import where
from graphc.numpy.methods import axes_of
from graphc.numpy.ufuncs import sinc
from graphc.numpy.universal import convert_operands, elementwise, universal
from graphc.tracing import Traced

erf = elementwise(scipy.special.erf, "erf")
erfc = elementwise(scipy.special.erfc, "erfc")
erfcx = elementwise(scipy.special.erfcx, "erfcx")
erfinv = elementwise(scipy.special.erfinv, "erfinv")
erfcinv = elementwise(scipy.special.erfcinv, "erfcinv")
ndtr = elementwise(scipy.special.ndtr, "ndtr")
log_ndtr = elementwise(scipy.special.log_ndtr, "log_ndtr")
ndtri = elementwise(scipy.special.ndtri, "ndtri")
expit = elementwise(scipy.special.expit, "sigmoid")
logit = elementwise(scipy.special.logit, "logit")
gamma = elementwise(scipy.special.gamma, "gamma")
gammaln = elementwise(scipy.special.gammaln, "gammaln")
digamma = psi = elementwise(scipy.special.psi, "digamma")
xlogy = elementwise(scipy.special.xlogy, "xlogy")
xlog1py = elementwise(scipy.special.xlog1py, "xlog1py")
exp2 = elementwise(scipy.special.exp2, "exp2")
expm1 = elementwise(scipy.special.expm1, "expm1")
log1p = elementwise(scipy.special.log1p, "log1p")
cbrt = elementwise(scipy.special.cbrt, "cbrt")


def _float(ufunc: np.ufunc, x: Any) -> tuple[Any, Any]:
    """The operand in the dtype of the ufunc's loop."""
    world = common_world(x)
    value = strong(x, world)
    return world, world.convert(value, ufunc.resolve_dtypes((value.type.dtype, None))[0])


@universal(scipy.special.log_expit)
def log_expit(x: Any, /) -> Any:
    """As `scipy.special.log_expit`: log of the logistic function."""
    world, value = _float(scipy.special.log_expit, x)
    return -world.softplus(-value)


@universal(scipy.special.entr)
def entr(x: Any, /) -> Any:
    """As `scipy.special.entr`: -x log(x), 0 at 0, -inf below."""
    _, value = _float(scipy.special.entr, x)
    return where(value < 0, -np.inf, -xlogy(value, value))


@universal(scipy.special.rel_entr)
def rel_entr(x: Any, y: Any, /) -> Any:
    """As `scipy.special.rel_entr`: x log(x / y), 0 at x = 0 <= y, inf outside."""
    _, (a, b) = convert_operands(scipy.special.rel_entr, (x, y))
    zero = (a == 0) & (b >= 0)
    inside = zero | ((a > 0) & (b > 0))
    missing = (a != a) | (b != b)
    return where(missing, np.nan, where(inside, where(zero, 0, xlogy(a, a / b)), np.inf))


@universal(scipy.special.kl_div)
def kl_div(x: Any, y: Any, /) -> Any:
    """As `scipy.special.kl_div`: x log(x / y) - x + y, y at x = 0 <= y, inf outside."""
    return rel_entr(x, y) - x + y


def _bessel(ufunc: np.ufunc, op: str, order: int) -> Any:
    def apply(x: Any, /) -> Any:
        world, value = _float(ufunc, x)
        return world.apply(op, (value,), order=order)

    return universal(ufunc)(apply)


i0 = _bessel(scipy.special.i0, "bessel_i", 0)
i1 = _bessel(scipy.special.i1, "bessel_i", 1)
i0e = _bessel(scipy.special.i0e, "bessel_ie", 0)
i1e = _bessel(scipy.special.i1e, "bessel_ie", 1)
j0 = _bessel(scipy.special.j0, "bessel_j", 0)
j1 = _bessel(scipy.special.j1, "bessel_j", 1)


def _order(name: str, n: Any) -> int:
    if isinstance(n, Traced) or np.ndim(n) or n != int(n) or n < 0:
        raise UnsupportedError(
            f"{name}: the order must be known when the graph is traced",
            expected="a whole number from 0 on",
            actual=repr(n),
            fix="make it a static argument",
        )
    return int(n)


def _numbered(ufunc: np.ufunc, op: str) -> Any:
    def apply(v: Any, z: Any, /) -> Any:
        order = _order(ufunc.__name__, v)
        world, value = _float(scipy.special.i0, z)
        return world.apply(op, (value,), order=order)

    return universal(ufunc)(apply)


iv = _numbered(scipy.special.iv, "bessel_i")
ive = _numbered(scipy.special.ive, "bessel_ie")
jv = _numbered(scipy.special.jv, "bessel_j")


@traceable(scipy.special.polygamma)
def polygamma(n: Any, x: Any) -> Any:
    """As `scipy.special.polygamma`, for one whole order known when the graph is traced."""
    order = _order("polygamma", n)
    world = common_world(x)
    value = strong(x, world)
    value = value if value.type.dtype.kind == "f" else world.convert(value, np.dtype(np.float64))
    return world.digamma(value) if order == 0 else world.polygamma(value, order=order)


@traceable(scipy.special.spherical_jn)
def spherical_jn(n: Any, z: Any, derivative: bool = False) -> Any:
    """As `scipy.special.spherical_jn`, for one whole order known when the graph is traced."""
    order = _order("spherical_jn", n)
    world, value = _float(scipy.special.i0, z)
    if not derivative:
        return world.spherical_jn(value, order=order)
    above = world.spherical_jn(value, order=order + 1)
    if order == 0:
        return -above
    return (order * world.spherical_jn(value, order=order - 1) - (order + 1) * above) / (2 * order + 1)


def _axes(name: str, a: Any, axis: Any) -> tuple[Any, Any, tuple[int, ...]]:
    world = common_world(a)
    x = strong(a, world)
    if x.type.dtype.kind != "f":
        x = world.convert(x, np.dtype(np.float64))
    return world, x, axes_of(name, axis, x.ndim)


@traceable(scipy.special.softmax)
def softmax(x: Any, axis: Any = None) -> Any:
    """As `scipy.special.softmax`: exp(x) over its sum along the axes."""
    world, value, axes = _axes("softmax", x, axis)
    return world.softmax(value, axes=axes)


@traceable(scipy.special.log_softmax)
def log_softmax(x: Any, axis: Any = None) -> Any:
    """As `scipy.special.log_softmax`: log of softmax, without rounding small probabilities to 0."""
    world, value, axes = _axes("log_softmax", x, axis)
    return world.log_softmax(value, axes=axes)


@traceable(scipy.special.logsumexp)
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """As `scipy.special.logsumexp`, with weights `b`.

    A weight of 0 leaves its element out; the derivative by it is that of the sum. A negative sum gives NaN.
    """
    if return_sign:
        raise UnsupportedError("logsumexp: return_sign=True cannot be traced", expected="return_sign=False")
    if b is not None:
        return _weighted_logsumexp(a, b, axis, bool(keepdims))
    world, value, axes = _axes("logsumexp", a, axis)
    if any(dims.equal(value.type.shape[k], 0) for k in axes):
        raise ValueError("zero-size array to reduction operation maximum which has no identity")
    return world.logsumexp(value, axes=axes, keepdims=bool(keepdims))


def _weighted_logsumexp(a: Any, b: Any, axis: Any, keepdims: bool) -> Any:
    world = common_world(a, b)
    value, weight = world.promote((strong(a, world), strong(b, world)))
    if value.type.dtype.kind != "f":
        value, weight = (world.convert(v, np.dtype(np.float64)) for v in (value, weight))
    # the largest exponent that counts; no derivative depends on it
    shift = np.max(where(weight != 0, value, -np.inf), axis=axis, keepdims=True)
    shift = world.stop_gradient(where(np.isfinite(shift), shift, 0))
    # an element without weight may be larger by far
    limit = float(np.floor(np.log(np.finfo(value.type.dtype).max)))
    total = np.sum(weight * np.exp(np.minimum(value - shift, limit)), axis=axis, keepdims=keepdims)
    return np.log(total) + np.reshape(shift, total.shape)


__all__ = [
    "cbrt",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcinv",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gamma",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "iv",
    "ive",
    "j0",
    "j1",
    "jv",
    "kl_div",
    "log1p",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "rel_entr",
    "sinc",
    "softmax",
    "spherical_jn",
    "xlog1py",
    "xlogy",
]


def __getattr__(name: str) -> Any:
    """SciPy's functions that cannot be traced are refused by name."""
    getattr(scipy.special, name)
    raise UnsupportedError(
        f"scipy.special.{name} cannot be traced",
        expected="a function of graphc.scipy.special: " + ", ".join(__all__),
        actual=name,
        fix="write it with these functions, or call SciPy's own on plain arrays before the trace",
    )
