"""Trigonometric functions of angles in degrees, exact at multiples of 90."""

from __future__ import annotations

from typing import Any

import scipy.special

from graphc.numpy.elementwise import cos, sin, where
from graphc.numpy.ufuncs import deg2rad, fmod, rint
from graphc.numpy.universal import convert_operands
from graphc.scipy.special.operands import floating, special

__all__ = ["cosdg", "cotdg", "radian", "sindg", "tandg"]


def _quadrant(ufunc: Any, x: Any) -> tuple[Any, Any, Any]:
    """Sine and cosine of the angle from the nearest multiple of 90 degrees, and which of the four that is."""
    _, value = floating(ufunc, x)
    # both reductions are exact
    within = fmod(value, 360.0)
    count = rint(within / 90.0)
    rest = deg2rad(within - 90.0 * count)
    return sin(rest), cos(rest), count % 4


@special("sindg")
def sindg(x: Any, /) -> Any:
    """Sine of an angle in degrees; NaN at infinity."""
    s, c, quarter = _quadrant(scipy.special.sindg, x)
    turned = where(quarter % 2 == 0, s, c)
    return where(quarter >= 2, 0 - turned, turned)


@special("cosdg")
def cosdg(x: Any, /) -> Any:
    """Cosine of an angle in degrees; NaN at infinity."""
    s, c, quarter = _quadrant(scipy.special.cosdg, x)
    turned = where(quarter % 2 == 0, c, s)
    return where((quarter == 1) | (quarter == 2), 0 - turned, turned)


@special("tandg")
def tandg(x: Any, /) -> Any:
    """Tangent of an angle in degrees; NaN at infinity."""
    s, c, quarter = _quadrant(scipy.special.tandg, x)
    return where(quarter % 2 == 0, s / c, 0 - c / s)


@special("cotdg")
def cotdg(x: Any, /) -> Any:
    """Cotangent of an angle in degrees; NaN at infinity."""
    s, c, quarter = _quadrant(scipy.special.cotdg, x)
    return where(quarter % 2 == 0, c / s, 0 - s / c)


@special("radian")
def radian(d: Any, m: Any, s: Any, /) -> Any:
    """An angle of degrees, minutes and seconds in radians."""
    _, (degrees, minutes, seconds) = convert_operands(scipy.special.radian, (d, m, s))
    return deg2rad(degrees + minutes / 60 + seconds / 3600)
