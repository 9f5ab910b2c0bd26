"""Special functions: the error and normal distribution functions, gamma and its kin, logit, x log y.

Derivatives are from F. W. J. Olver et al., "NIST Digital Library of Mathematical Functions", https://dlmf.nist.gov.
"""

from __future__ import annotations

from typing import Any

from graphc.errors import DTypeError
from graphc.ops.record import NOT_FUSED, ErrorSample, Masked, Op, Partials, Rule, Sample
from graphc.ops.trigonometric import INTEGERS, UNORDERED, ordered, unary
from graphc.ops.typing import elementwise

ORDER_OF_INTEGER = ErrorSample(("i64[2]",), {"order": 1}, DTypeError, "not defined for i64")


def root(w: Any, times: float, x: Any) -> Any:
    """sqrt(times * pi), by an op: rules hold exactly."""
    pi = w.pi(dtype=x.dtype)
    return w.sqrt(pi if times == 1 else times * pi)


def erf_partial(w: Any, y: Any, x: Any) -> Any:
    return 2 / root(w, 1, x) * w.exp(-(x * x))


def binary(
    name: str, exact: Rule, first: Rule, second: Rule, domains: tuple[str, str], doc: str, ulps: float, **more: Any
) -> Op:
    return Op(
        name,
        type=elementwise(name, "f"),
        numpy=f"nk.special('{name}', {{0}}, {{1}})",
        exact=exact,
        rule=Partials(first, second),
        domains=domains,
        errors=(INTEGERS,),
        elementwise=True,
        ulps=ulps,
        doc=doc,
        **more,
    )


def logit_kernel(k: Any, x: Any) -> Any:
    # near 1/2, where the quotient is near 1, by its distance
    near = 2.0 * k.arctanh(2.0 * (x - 0.5))
    return k.where(k.abs(x - 0.5) < 0.2, near, k.log(x / (1.0 - x)))


def times_log(k: Any, x: Any, y: Any, log: Any) -> Any:
    nothing = k.logical_and(k.eq(x, k.number(0, x)), k.eq(y, y))
    return k.where(nothing, k.number(0, x), x * log)


def family(
    name: str, numpy: str, exact: Rule, partial: Rule, doc: str, domain: str = "real", ulps: float = 8, **more: Any
) -> Op:
    """The record of a function in a family numbered by `order`."""
    return Op(
        name,
        type=ordered(name),
        numpy=numpy,
        exact=exact,
        rule=Partials(partial),
        domains=(domain,),
        samples=tuple(Sample(((3,),), {"order": n}) for n in (0, 1, 2, 3)),
        errors=(ORDER_OF_INTEGER, UNORDERED),
        elementwise=True,
        ulps=ulps,
        doc=doc,
        **more,
    )


def polygamma_partial(w: Any, y: Any, x: Any, *, order: int) -> Any:
    return w.polygamma(x, order=order + 1)


def log_ndtr_exact(s: Any, x: Any) -> Any:
    x = s.lift(x)
    scaled = x / s.sqrt(s.number(2))
    # for large x nothing is left of 1 minus the tail in any number of digits
    return s.where(s.less(s.number(0), x), s.log1p(-s.erfc(scaled) / 2), s.log(s.erfc(-scaled) / 2))


OPS = (
    unary(
        "erf",
        "nk.special('erf', {0})",
        "erf",
        erf_partial,
        "The error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x.",
        ulps=4,
        kernel="erf",
    ),
    unary(
        "erfc",
        "nk.erfc({0})",
        "erfc",
        lambda w, y, x: -erf_partial(w, y, x),
        "1 - erf(x) without cancellation for large x.",
        ulps=16,
        kernel="erfc",
    ),
    unary(
        "erfcx",
        "nk.special('erfcx', {0})",
        lambda s, x: s.exp(x * x) * s.erfc(x),
        lambda w, y, x: 2 * (x * y) - 2 / root(w, 1, x),
        "exp(x**2) erfc(x), the scaled complementary error function.",
        ulps=16,
        kernel="erfcx",
    ),
    unary(
        "log_erfc",
        "nk.log_erfc({0})",
        lambda s, x: log_ndtr_exact(s, -s.sqrt(s.number(2)) * x) + s.log(s.number(2)),
        lambda w, y, x: -2 / root(w, 1, x) / w.erfcx(x),
        "log(erfc(x)) without underflow for large x, and without cancellation near 0.",
        ulps=16,
        kernel="log_erfc",
    ),
    unary(
        "erfinv",
        "nk.special('erfinv', {0})",
        "erfinv",
        lambda w, y, x: 0.5 * root(w, 1, x) * w.exp(y * y),
        "The number whose error function is x, between -1 and 1.",
        domain="unit",
        ulps=4,
        reasons=NOT_FUSED,
    ),
    unary(
        "erfcinv",
        "nk.special('erfcinv', {0})",
        lambda s, x: s.erfinv(1 - x),
        lambda w, y, x: -0.5 * root(w, 1, x) * w.exp(y * y),
        "The number whose complementary error function is x, between 0 and 2.",
        domain="inside 0 to 2",
        ulps=4,
        reasons=NOT_FUSED,
    ),
    unary(
        "ndtr",
        "nk.ndtr({0})",
        lambda s, x: s.erfc(-x / s.sqrt(s.number(2))) / 2,
        lambda w, y, x: w.exp(-0.5 * (x * x)) / root(w, 2, x),
        "The standard normal distribution function.",
        ulps=16,
        kernel="ndtr",
    ),
    unary(
        "log_ndtr",
        "nk.log_ndtr({0})",
        log_ndtr_exact,
        # the density over the distribution, neither of which may underflow
        lambda w, y, x: 2 / root(w, 2, x) / w.erfcx(-x / w.sqrt(w.constant(2, x.dtype))),
        "log of the standard normal distribution function, without underflow.",
        ulps=16,
        kernel="log_ndtr",
    ),
    unary(
        "ndtri",
        "nk.special('ndtri', {0})",
        lambda s, x: s.sqrt(s.number(2)) * s.erfinv(2 * x - 1),
        lambda w, y, x: root(w, 2, x) * w.exp(0.5 * (y * y)),
        "The number whose normal distribution function is x, between 0 and 1.",
        domain="inside 0 to 1",
        ulps=8,
        kernel="ndtri",
    ),
    unary(
        "logit",
        "nk.special('logit', {0})",
        lambda s, x: s.log(x / (1 - x)),
        lambda w, y, x: 1 / (x * (1 - x)),
        "log(x / (1 - x)), the inverse of the logistic function.",
        domain="inside 0 to 1",
        ulps=4,
        kernel=logit_kernel,
    ),
    binary(
        "xlogy",
        lambda s, x, y: x * s.log(y),
        lambda w, z, x, y: w.log(y),
        lambda w, z, x, y: Masked(x != 0, x / y),
        ("real", "positive"),
        "x log(y), and 0 where x is 0, whatever y is; its derivative by x is log(y) throughout.",
        ulps=4,
        kernel=lambda k, x, y: times_log(k, x, y, k.log(y)),
    ),
    binary(
        "xlog1py",
        lambda s, x, y: x * s.log(1 + y),
        lambda w, z, x, y: w.log1p(y),
        lambda w, z, x, y: Masked(x != 0, x / (1 + y)),
        ("real", "above -1"),
        "x log(1 + y), and 0 where x is 0, whatever y is; its derivative by x is log1p(y) throughout.",
        ulps=4,
        kernel=lambda k, x, y: times_log(k, x, y, k.log1p(y)),
    ),
    unary(
        "gamma",
        "nk.special('gamma', {0})",
        "gamma",
        lambda w, y, x: y * w.digamma(x),
        "The gamma function, (x - 1)! at whole numbers.",
        domain="off the poles of gamma",
        ulps=16,
        reasons=NOT_FUSED,
    ),
    unary(
        "gammaln",
        "nk.gammaln({0})",
        lambda s, x: s.log(s.abs(s.gamma(x))),
        lambda w, y, x: w.digamma(x),
        "log of the absolute value of the gamma function, without overflow.",
        domain="off the poles of gamma",
        ulps=16,
        reasons=NOT_FUSED,
    ),
    unary(
        "digamma",
        "nk.special('psi', {0})",
        lambda s, x: s.polygamma(x, 0),
        lambda w, y, x: w.polygamma(x, order=1),
        "The derivative of gammaln.",
        domain="off the poles of gamma",
        ulps=16,
        reasons=NOT_FUSED,
    ),
    family(
        "polygamma",
        "nk.special('polygamma', {0}, order={order})",
        lambda s, x, *, order: s.polygamma(x, order),
        polygamma_partial,
        "The derivative of digamma of a whole order.",
        domain="off the poles of gamma",
        ulps=16,
        reasons=NOT_FUSED,
    ),
)
