"""The NumPy meaning of an op as a callable and as source text, from the one template in its record."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

import numpy as np

from graphc.dims import Dim
from graphc.ir import Constant
from graphc.ops.record import Op

TOKEN: Final = re.compile(r"\{(\w*\*?)(!slice)?\}")


def render(op: Op, operands: Sequence[str], attrs: Mapping[str, str]) -> str:
    """The op's NumPy source on the given operand and attribute texts.

    >>> from graphc.ops import lookup
    >>> render(lookup("sin"), ["x"], {})
    'np.sin(x)'
    """
    if op.ufunc:
        return f"{op.numpy}({', '.join(operands)})"

    def fill(token: re.Match[str]) -> str:
        name = token.group(1)
        if name == "*":
            return ", ".join(operands)
        if name.endswith("*"):
            return ", ".join(operands[int(name[:-1]) :])
        return operands[int(name)] if name.isdigit() else attrs[name]

    return TOKEN.sub(fill, op.numpy)


def attr_text(name: str, value: Any) -> str:
    """An attribute as Python source; symbolic sizes stay names."""
    if name == "index" and isinstance(value, tuple):
        return ", ".join(_slice_text(*one) for one in value) or "()"
    if isinstance(value, tuple):
        return "(" + "".join(f"{attr_text('', v)}, " for v in value).rstrip(" ") + ")"
    if isinstance(value, Constant):
        return attr_text("", value.array)
    if isinstance(value, np.dtype):
        return f"np.dtype({value.name!r})"
    return str(value) if isinstance(value, Dim) else repr(value)


def _slice_text(start: Any, stop: Any, step: int) -> str:
    end = "" if stop is None else str(stop)
    return f"{start}:{end}" if step == 1 else f"{start}:{end}:{step}"


@lru_cache(maxsize=1024)
def compiled(op: Op, count: int, names: tuple[str, ...]) -> Callable[..., Any]:
    """A function `(*operands, **attrs)` that computes the op by NumPy."""
    operands = [f"x{i}" for i in range(count)]
    if op.numpy == "{value}":
        return lambda *, value, weak: value.array
    attrs = {name: f"slices({name})" if f"{{{name}!slice}}" in op.numpy else name for name in names}
    text = render(op, operands, attrs)
    arguments = ", ".join([*operands, *(["*"] if names else []), *names])
    scope = namespace(text)
    return eval(f"lambda {arguments}: {text}", scope)  # type: ignore[no-any-return]


def namespace(text: str) -> dict[str, Any]:
    """The modules that a meaning's source refers to; SciPy is loaded only where it occurs."""
    functions = import_module("graphc.ops.functions")
    scope: dict[str, Any] = {"np": np, "nk": functions, "slices": functions.slices}
    if "calls." in text:
        scope["calls"] = import_module("graphc.ops.calls")
    if "scipy." in text:
        scope["scipy"] = import_module("scipy")
        import_module("scipy.special")
    return scope


def evaluate(op: Op, operands: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    """The op's result on arrays; sizes in `attrs` are ints."""
    return compiled(op, len(operands), tuple(attrs))(*operands, **attrs)


def into(call: str, out: str) -> str:
    """The source of a call that writes its result into an array.

    >>> into("np.sin(x)", "y")
    'np.sin(x, out=y)'
    """
    return f"{call[:-1]}, out={out})"


def evaluate_into(op: Op, operands: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    """The op's result, written into the first operand."""
    names = [f"x{i}" for i in range(len(operands))]
    text = into(render(op, names, {name: name for name in attrs}), names[0])
    return eval(text, {**namespace(text), **dict(zip(names, operands, strict=True)), **attrs})
