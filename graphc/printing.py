"""Printing from inside a graph: values are shown when the graph runs, not when it is traced."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import Formatter
from typing import Any, Final

import numpy as np

from graphc.compiler import flatten, unflatten
from graphc.errors import TraceError
from graphc.ops import lookup
from graphc.ops.calls import debug_print as write
from graphc.ops.calls import printing_to, shown
from graphc.tracing import STACK, SymbolicSize, Traced, deepest, lift, user_locs, world_of

__all__ = ["debug_print", "printing_to"]

_HEAD: Final = re.compile(r"[^.\[]*")


def debug_print(fmt: str, /, *args: Any, **kwargs: Any) -> None:
    """Print values when the graph runs: `fmt.format(*args, **kwargs)`, with traced values among the arguments.

    Args:
        fmt: a format as `str.format` takes it. Fields may have attributes and indices (`{x.shape}`, `{x[0]}`), a
            conversion, and a format spec, which for an array is that of its elements (`{x:.3f}`).
        args, kwargs: arrays, numbers, pytrees of them, and anything else, which is shown as it is now.

    The texts come in the order of the calls, once for each call, whatever else the passes merge, drop or rewrite. A
    derivative that comes with the value (`grad` computes both) prints what the function prints, once. Outside a trace
    it prints at once. `printing_to` sends the texts elsewhere.

    Raises:
        TraceError: a field has no argument, an argument no field, or a format spec does not fit its argument.

    >>> import graphc
    >>> @graphc.jit
    ... def f(x):
    ...     debug_print("x = {x}, of shape {x.shape}, begins with {x[0]:.2f}", x=x)
    ...     return 2 * x
    >>> f(np.array([1.0, 2.0]))
    x = [1. 2.], of shape (2,), begins with 1.00
    array([2., 4.])
    """
    text = _Text(fmt, args, kwargs)
    world = STACK.worlds[-1] if STACK.worlds else world_of(text.operands)
    if world is None:
        write(text.format, *text.operands)
        return
    deepest([x for x in text.operands if isinstance(x, Traced)] or [lift(0, world)])  # refuses values of an ended trace
    operands = [world.adopt(lift(x, world)) for x in text.operands]
    world.emit(lookup("debug_print"), operands, (("format", text.format),))


class _Text:
    """A format whose fields are numbers of the traced operands; all else is already text."""

    def __init__(self, fmt: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        if not isinstance(fmt, str):
            raise _wrong("the format is not a text", "debug_print(fmt, ...), fmt a str", f"a {type(fmt).__name__}")
        self.args, self.kwargs = args, kwargs
        self.operands: list[Any] = []
        self.used: set[int | str] = set()
        self.automatic: bool | None = None
        self.counted = 0
        try:
            parts = list(Formatter().parse(fmt))
        except ValueError as error:
            raise _wrong("the format is none", "a text for str.format", str(error)) from None
        pieces = []
        for literal, field, spec, conversion in parts:
            pieces.append(_literal(literal))
            if field is not None:
                pieces.append(self.field(field, spec or "", conversion))
        self.format = "".join(pieces)
        unused = [str(k) for k in (*range(len(args)), *kwargs) if k not in self.used]
        if unused:
            raise _wrong(
                "an argument has no field in the format",
                "a field for each argument",
                f"{fmt!r} without {', '.join(f'{{{k}}}' for k in unused)}",
            )

    def field(self, name: str, spec: str, conversion: str | None) -> str:
        value = self.look_up(name)
        if "{" in spec:
            spec = self.plain_spec(spec)
        if conversion not in (None, "r", "s", "a"):
            raise _wrong("there is no such conversion", "!r, !s or !a", f"!{conversion}")
        leaves, structure = flatten(value)
        traced = [isinstance(leaf, (Traced, SymbolicSize)) for leaf in leaves]
        if not any(traced):
            return _literal(self.try_format(value, conversion, spec, name))
        if leaves[0] is value:
            if conversion is None:
                self.try_format(_sample(value), None, spec, name)
            return self.operand(value, f"!{conversion}" if conversion else "", spec)
        # a container shows the repr of what is in it
        marks = [
            _Mark(self.operand(leaf, "" if isinstance(leaf, SymbolicSize) else "!r", "")) if is_traced else leaf
            for leaf, is_traced in zip(leaves, traced, strict=True)
        ]
        text = self.try_format(unflatten(structure, marks), conversion, spec, name)
        return _MARKED.sub(lambda found: found[1] or found[0] * 2, text)

    def operand(self, value: Any, conversion: str, spec: str) -> str:
        self.operands.append(value)
        return f"{{{len(self.operands) - 1}{conversion}{f':{spec}' if spec else ''}}}"

    def look_up(self, field: str) -> Any:
        """The value of a field, attributes and indices followed."""
        match = _HEAD.match(field)
        assert match is not None
        head: str = match[0]
        numbered = head.isdigit()
        if not head or numbered:
            if self.automatic is not None and self.automatic == numbered:
                raise _wrong("the format mixes {} and {0}", "one kind of them", f"{{{field}}}")
            self.automatic = not numbered
            if not head:
                head = str(self.counted)
                self.counted += 1
        key: int | str = int(head) if head.isdigit() else head
        try:
            value = self.args[key] if isinstance(key, int) else self.kwargs[key]
        except LookupError:
            given = [*map(str, range(len(self.args))), *self.kwargs]
            raise _wrong(
                f"there is no argument for {{{field}}}",
                ", ".join(f"{{{k}}}" for k in given) if given else "a text without fields",
                f"{{{field}}}",
            ) from None
        self.used.add(key)
        if match.end() == len(field):
            return value
        return Formatter().get_field(f"0{field[match.end() :]}", (value,), {})[0]

    def plain_spec(self, spec: str) -> str:
        """A spec that has fields itself, such as `{width}`: their values have to be known now."""
        pieces = []
        for literal, field, inner, conversion in Formatter().parse(spec):
            pieces.append(literal)
            if field is not None:
                value = self.look_up(field)
                if isinstance(value, (Traced, SymbolicSize)):
                    raise _wrong("a traced value cannot be a part of a format spec", "a Python number", f"{{{field}}}")
                pieces.append(shown(value, conversion, inner or ""))
        return "".join(pieces)

    def try_format(self, value: Any, conversion: str | None, spec: str, name: str) -> str:
        try:
            return shown(value, conversion, spec)
        except (TypeError, ValueError) as error:
            actual = f"{{{name}:{spec}}} of a {type(value).__name__}: {error}"
            raise _wrong("a format spec does not fit its argument", "a spec for such values", actual) from None


class _Mark:
    """Stands in a container for a traced value, and shows as its field."""

    def __init__(self, field: str) -> None:
        self.field = field

    def __repr__(self) -> str:
        return f"\0{self.field}\0"


_MARKED: Final = re.compile(r"\0(\{[^\0]*\})\0|[{}]")


def _sample(value: Traced | SymbolicSize) -> Any:
    """Something that takes the format specs that the value will take."""
    dtype = value.type.dtype if isinstance(value, Traced) else np.dtype(np.int64)
    return np.ones((), dtype)[()]


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _wrong(problem: str, expected: str, actual: str) -> TraceError:
    loc = (user_locs() or (None,))[0]
    return TraceError(f"debug_print: {problem}", expected=expected, actual=actual, loc=loc)
