"""The errors graphc raises: what failed, expected against actual, the user's line, and what to do about it."""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

LONGEST_LINE: Final = 100  # characters of a source line that an error shows
REAL_PARTS: Final = "compute with real and imaginary parts, z.real and z.imag: complex numbers cannot be traced yet"
"""What to do with complex numbers inside a traced function."""


@dataclass(frozen=True, slots=True)
class Loc:
    """A place in the user's program: file, line and the enclosing function's name."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file.replace(chr(92), '/').rsplit('/', 1)[-1]}:{self.line}"

    @property
    def source(self) -> str:
        """The text of that line, or an empty string where it is not known (in `exec`, or an old REPL)."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def described(self) -> str:
        """The place with its source line; without one, with the function's name."""
        source = self.source
        if len(source) > LONGEST_LINE:
            source = source[: LONGEST_LINE - 2] + " …"
        return f"{self}   {source}" if source else f"{self} in {self.function}"


class GraphcError(Exception):
    """Base of every error raised by graphc; the message is laid out from its parts.

    >>> print(ShapeError("matmul: inner sizes differ", expected="3", actual="4"))
    matmul: inner sizes differ
      expected  3
      actual    4
    """

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        actual: str | None = None,
        loc: Loc | None = None,
        graph_line: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.problem = problem
        self.expected = expected
        self.actual = actual
        self.loc = loc
        self.graph_line = graph_line
        self.fix = fix
        super().__init__(problem)

    def __str__(self) -> str:
        rows = (
            ("expected", self.expected),
            ("actual", self.actual),
            ("at", self.loc.described if self.loc is not None else None),
            ("in", self.graph_line),
            ("fix", self.fix),
        )
        return "\n".join([self.problem, *(f"  {label:<8}  {text}" for label, text in rows if text)])

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self._state())

    def _state(self) -> dict[str, object]:
        return self.__dict__.copy()


def _rebuild(kind: type[GraphcError], state: dict[str, object]) -> GraphcError:
    error = kind.__new__(kind, str(state["problem"]))
    for name, value in state.items():
        setattr(error, name, value)
    return error


class ShapeError(GraphcError, ValueError):
    """Shapes do not fit the operation."""


class StructureError(GraphcError, TypeError):
    """Arguments, tangents or results differ in structure (tuples, lists, dicts) from what was expected."""


class ReadOnlyError(GraphcError, ValueError):
    """An array is written to that NumPy would have made read-only."""


class IndexingError(GraphcError, IndexError):
    """An index lies outside the array, or there are too many of them."""


class AxisError(GraphcError, np.exceptions.AxisError):
    """An axis lies outside the operand, or is named twice; `axis` and `ndim` as NumPy's own error has them."""

    # NumPy's class keeps these in slots, which `__dict__` lacks
    axis: int | None
    ndim: int | None

    def __init__(self, problem: str, *, axis: int | None = None, ndim: int | None = None, **parts: Any) -> None:
        GraphcError.__init__(self, problem, **parts)
        self.axis = axis
        self.ndim = ndim

    def _state(self) -> dict[str, object]:
        return {**self.__dict__, "axis": self.axis, "ndim": self.ndim}

    __str__ = GraphcError.__str__


class LinAlgError(GraphcError, np.linalg.LinAlgError):
    """A matrix is singular or not positive definite, or an iteration on it does not converge."""


class DTypeError(GraphcError, TypeError):
    """Dtypes do not fit the operation, or a cast would lose values."""


class IntegerRangeError(GraphcError, OverflowError):
    """A Python integer does not fit into the dtype that it would have."""


class UnsupportedError(GraphcError, TypeError):
    """The operation exists in NumPy but cannot be traced (yet)."""


class TraceError(GraphcError, TypeError):
    """Python asked a traced value for something that is only known when the graph runs."""


class LeakedTracerError(TraceError):
    """A traced value is used after its trace has ended."""


class DifferentiationError(GraphcError, TypeError):
    """A derivative was asked of something that has none in the way asked."""


class GuardError(GraphcError, ValueError):
    """An argument breaks an assumption that the graph was traced under."""


class IRError(GraphcError, ValueError):
    """A graph breaks the rules of the IR."""


class ParseError(GraphcError, ValueError):
    """A text is not a graph, a type or a size."""


class RuleError(GraphcError, RuntimeError):
    """An op's own record or derivative rule is broken."""


class DonationWarning(UserWarning):
    """An argument was donated, but its memory was not taken: it was copied, or no result has its type."""
