"""Functions written for one structure of arguments or results: quicker than a general one at every call."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

from graphc.compiler.pytrees import unflatten

DEEPEST: Final = 100  # structures within structures; Python reads no text with more than 200 brackets open


def taker(structure: Any) -> Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...] | None] | None:
    """A function of `(args, kwargs)` that gives the leaves if they have this structure, else None.

    It only knows tuples, lists, dicts with names as keys, and None; for a structure with anything else there is no such
    function. What stands in the place of a leaf is not looked at.

    >>> from graphc.compiler.pytrees import flatten
    >>> take = taker(flatten((([1, {"b": 2, "a": 3}],), {}))[1])
    >>> take(([4, {"a": 5, "b": 6}],), {}), take((4,), {})
    ((4, 5, 6), None)
    """
    lines: list[str] = []
    leaves: list[str] = []
    numbers = count()

    def walk(spec: Any, value: str) -> bool:
        if spec.is_leaf():
            leaves.append(value)
            return True
        kind, children = spec.type, spec.children()
        if kind is type(None):
            lines.append(f"if {value} is not None: return None")
            return True
        if kind not in (tuple, list, dict):
            return False
        names = [f"v{next(numbers)}" for _ in children]
        lines.append(f"if type({value}) is not {kind.__name__} or len({value}) != {len(names)}: return None")
        if kind is dict:
            keys = spec.entries()
            if any(type(key) is not str for key in keys):
                return False
            lines.extend(f"{name} = {value}[{key!r}]" for name, key in zip(names, keys, strict=True))
        elif names:
            lines.append(f"{', '.join(names)}, = {value}")
        return all(walk(child, name) for child, name in zip(children, names, strict=True))

    args, kwargs = structure.children()
    if not (walk(args, "args") and walk(kwargs, "kwargs")):
        return None
    body = [*lines, f"return ({''.join(f'{leaf}, ' for leaf in leaves)})"]
    text = "\n        ".join(["def take(args, kwargs):\n    try:", *body])
    found: Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...] | None]
    found = _defined(f"{text}\n    except KeyError:\n        return None\n", "take")
    return found


def giver(structure: Any, leaves: int) -> Callable[[Sequence[Any]], Any]:
    """A function that puts results into a structure.

    >>> from graphc.compiler.pytrees import flatten
    >>> giver(flatten({"b": 1, "a": (2, None)})[1], 2)([3, 4])
    {'b': 4, 'a': (3, None)}
    """
    marks = [_Mark(k) for k in range(leaves)]
    text = _written(unflatten(structure, marks), DEEPEST)
    if text is None:
        return lambda results: unflatten(structure, results)
    names = "".join(f"r{k}, " for k in range(leaves))
    unpack = f"    {names}= results\n" if leaves else ""
    found: Callable[[Sequence[Any]], Any] = _defined(f"def give(results):\n{unpack}    return {text}\n", "give")
    return found


class _Mark:
    """Stands for a result."""

    def __init__(self, number: int) -> None:
        self.number = number


def _written(value: Any, depth: int) -> str | None:
    """The text that makes a structure of results; None if it is deep, or not only tuples, lists, dicts and None."""
    kind = type(value)
    if kind is _Mark:
        return f"r{value.number}"
    if value is None:
        return "None"
    if depth == 0:
        return None
    if kind is dict:
        parts = [_written(item, depth - 1) for item in value.values()]
        if None in parts or any(type(key) is not str for key in value):
            return None
        return f"{{{', '.join(f'{key!r}: {part}' for key, part in zip(value, parts, strict=True))}}}"
    if kind not in (tuple, list):
        return None
    parts = [_written(item, depth - 1) for item in value]
    if None in parts:
        return None
    inside = "".join(f"{part}, " for part in parts)
    return f"({inside})" if kind is tuple else f"[{inside}]"


def _defined(text: str, name: str) -> Any:
    scope: dict[str, Any] = {"__builtins__": builtins}
    exec(text, scope)
    return scope[name]
