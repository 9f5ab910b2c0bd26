"""Bessel functions of whole orders, each kind a family numbered by `order`.

Derivatives are from F. W. J. Olver et al., "NIST Digital Library of Mathematical Functions", https://dlmf.nist.gov/10.
"""

from __future__ import annotations

from typing import Any

from graphc.ops.record import NOT_FUSED
from graphc.ops.special import family


def bessel_i_partial(w: Any, y: Any, x: Any, *, order: int) -> Any:
    above = w.bessel_i(x, order=order + 1)
    return above if order == 0 else 0.5 * (w.bessel_i(x, order=order - 1) + above)


def bessel_ie_partial(w: Any, y: Any, x: Any, *, order: int) -> Any:
    above = w.bessel_ie(x, order=order + 1)
    slope = above if order == 0 else 0.5 * (w.bessel_ie(x, order=order - 1) + above)
    return slope - w.sign(x) * y


def bessel_j_partial(w: Any, y: Any, x: Any, *, order: int) -> Any:
    above = w.bessel_j(x, order=order + 1)
    return -above if order == 0 else 0.5 * (w.bessel_j(x, order=order - 1) - above)


def bessel_k_partial(w: Any, y: Any, x: Any, *, order: int) -> Any:
    above = w.bessel_k(x, order=order + 1)
    return -above if order == 0 else -0.5 * (w.bessel_k(x, order=order - 1) + above)


def bessel_ke_partial(w: Any, y: Any, x: Any, *, order: int) -> Any:
    above = w.bessel_ke(x, order=order + 1)
    return y + (-above if order == 0 else -0.5 * (w.bessel_ke(x, order=order - 1) + above))


OPS = (
    family(
        "bessel_i",
        "nk.special('iv', {0}, order={order})",
        lambda s, x, *, order: s.bessel_i(x, order),
        bessel_i_partial,
        "Modified Bessel function of the first kind of a whole order.",
        ulps=16,
        reasons=NOT_FUSED,
    ),
    family(
        "bessel_ie",
        "nk.special('ive', {0}, order={order})",
        lambda s, x, *, order: s.exp(-s.abs(x)) * s.bessel_i(x, order),
        bessel_ie_partial,
        "exp(-|x|) times the modified Bessel function of the first kind; its derivative at 0 is the mean of two sides.",
        ulps=16,
        kinks=(0.0,),
        reasons=NOT_FUSED,
    ),
    family(
        "bessel_j",
        "nk.special('jv', {0}, order={order})",
        lambda s, x, *, order: s.bessel_j(x, order),
        bessel_j_partial,
        "Bessel function of the first kind of a whole order.",
        ulps=16,
        reasons=NOT_FUSED,
    ),
    family(
        "bessel_k",
        "nk.special('kv', {0}, order={order})",
        lambda s, x, *, order: s.bessel_k(x, order),
        bessel_k_partial,
        "Modified Bessel function of the second kind of a whole order.",
        domain="positive",
        ulps=16,
        reasons=NOT_FUSED,
    ),
    family(
        "bessel_ke",
        "nk.special('kve', {0}, order={order})",
        lambda s, x, *, order: s.exp(x) * s.bessel_k(x, order),
        bessel_ke_partial,
        "exp(x) times the modified Bessel function of the second kind of a whole order.",
        domain="positive",
        ulps=16,
        reasons=NOT_FUSED,
    ),
)
