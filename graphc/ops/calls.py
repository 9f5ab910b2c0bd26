"""What happens when a graph that holds Python calls runs: texts are written, the user's functions are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from string import Formatter
from typing import Any, Final

import numpy as np

from graphc.errors import DTypeError, GraphcError, ShapeError
from graphc.ir import DTYPE_NAMES, Callback, TensorType

Array = np.ndarray[Any, Any]
Write = Callable[[str], object]
CONVERSIONS: Final[dict[str, Callable[[Any], str]]] = {"r": repr, "s": str, "a": ascii}


def _to_stdout(text: str) -> None:
    # in one piece, so that the lines of several threads do not mix
    print(f"{text}\n", end="")  # noqa: T201  this is what the user asks for


_write: Final[ContextVar[Write]] = ContextVar("debug_print", default=_to_stdout)


@contextmanager
def printing_to(write: Write) -> Iterator[None]:
    """Context in which `write(text)` gets every text that `debug_print` makes, in place of stdout.

    It holds for the thread (more exactly, the `contextvars` context) that enters it.

    >>> import graphc
    >>> lines = []
    >>> with printing_to(lines.append):
    ...     graphc.debug_print("x = {}", 3)
    >>> lines
    ['x = 3']
    """
    token = _write.set(write)
    try:
        yield
    finally:
        _write.reset(token)


def debug_print(format: str, *operands: Any) -> None:
    """Write a format whose fields are numbers of operands."""
    text = []
    for literal, field, spec, conversion in Formatter().parse(format):
        text.append(literal)
        if field is not None:
            text.append(shown(operands[int(field)], conversion, spec or ""))
    _write.get()("".join(text))


def shown(value: Any, conversion: str | None, spec: str) -> str:
    """A value as `str.format` shows it; the spec of an array is that of its elements."""
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            value = value[()]
        elif spec and conversion is None:
            return np.array2string(value, formatter={"all": lambda element: format(element, spec)})
    if conversion is not None:
        value = CONVERSIONS[conversion](value)
    return format(value, spec)


def pure_callback(
    callback: Callback, shapes: tuple[tuple[int, ...], ...], dtypes: tuple[np.dtype[Any], ...], *operands: Any
) -> tuple[Any, ...]:
    """Call the user's function on copies of the operands; its results, checked and copied.

    Copies, because the function may keep or change what it gets, and may give an array that it uses again, while
    the storage of both is reused by the graph.
    """
    found = callback.function(*(np.array(x)[()] for x in operands))
    results = found if isinstance(found, tuple) else (found,)
    if len(results) != len(shapes):
        raise _broken(callback, "", ShapeError, f"{len(shapes)} results", f"{len(results)} results")
    places = [f" {k}" if len(shapes) > 1 else "" for k in range(len(shapes))]
    return tuple(map(_checked, [callback] * len(shapes), places, results, shapes, dtypes))


def _checked(callback: Callback, place: str, result: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """A result as an array of its own, of the type promised; a Python number takes on the dtype where it fits."""
    expected = repr(TensorType(shape, dtype))
    if isinstance(result, np.ma.MaskedArray):
        raise _broken(callback, place, DTypeError, expected, f"a {type(result).__name__}")
    try:
        array = np.array(result)
    except Exception as error:
        raise _broken(callback, place, DTypeError, expected, f"a {type(result).__name__}: {error}") from error
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    number = isinstance(result, (bool, int, float)) and not isinstance(result, np.generic)
    if number and (dtype.kind == "f" or (dtype.kind in "iu" and array.dtype.kind in "bi")):
        array = np.array(result, dtype)
    actual = repr(TensorType(array.shape, array.dtype)) if array.dtype in DTYPE_NAMES else f"a {type(result).__name__}"
    if array.dtype != dtype:
        raise _broken(callback, place, DTypeError, expected, actual)
    if array.shape != shape:
        raise _broken(callback, place, ShapeError, expected, actual)
    return array


def _broken(callback: Callback, place: str, kind: type[GraphcError], expected: str, actual: str) -> GraphcError:
    return kind(
        f"pure_callback {callback.name}: its result{place} is not what the graph was built for",
        expected=expected,
        actual=actual,
        fix="convert the result in the function, or describe it in result_spec as it is",
    )
