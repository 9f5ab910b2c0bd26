"""One-sided limits of derivatives at kinks, poles and domain borders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from graphc.backends.exact.fields import ExactError, Undecided
from graphc.backends.exact.jets import JetField

STEPS: Final = (Fraction(1, 2**64), Fraction(1, 2**128))
CLOSE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a directional derivative from below and above; None where there is none that is finite."""

    below: float | None
    above: float | None

    @property
    def two_sided(self) -> float | None:
        """The limit, where both sides have one and they agree."""
        below, above = self.below, self.above
        if below is None or above is None or abs(below - above) > CLOSE * (1 + abs(below)):
            return None
        return above

    def __str__(self) -> str:
        shown = ["none" if v is None else f"{v:.6g}" for v in (self.below, self.above)]
        return shown[0] if self.two_sided is not None else " | ".join(shown)


def one_sided(slope: Callable[[Fraction], Any], field: JetField, side: int) -> float | None:
    """The limit of `slope(offset)` as the offset goes to 0 from one side, judged by two steps."""
    values = []
    for step in STEPS:
        try:
            value = field.numbers.centre(slope(side * step))  # type: ignore[attr-defined]
        except (Undecided, ExactError, ZeroDivisionError):
            return None
        values.append(value)
    first, last = values
    return last if abs(first - last) <= CLOSE * (1 + abs(last)) else None


def limits(slope: Callable[[Fraction], Any], field: JetField) -> Limits:
    """Both one-sided limits of a directional derivative given as a function of the offset along the direction."""
    return Limits(one_sided(slope, field, -1), one_sided(slope, field, 1))
