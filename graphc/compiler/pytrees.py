"""Arguments and results as pytrees: their leaves, the leaves' names, and how errors show them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import optree

from graphc.compiler.specs import type_of
from graphc.errors import GraphcError


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """Leaves and structure of a pytree."""
    leaves, structure = optree.tree_flatten(tree, namespace="graphc")
    return leaves, structure


def unflatten(structure: Any, leaves: Sequence[Any]) -> Any:
    return optree.tree_unflatten(structure, leaves)


def leaf_names(f: Callable[..., Any], tree: Any) -> list[str]:
    """A name for each leaf of `(args, kwargs)`: the parameter, and the path within it."""
    try:
        parameters = [
            p.name
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for path in optree.tree_paths(tree, namespace="graphc"):
        where, argument, *inner = path
        if where == 0:
            base = parameters[argument] if argument < len(parameters) else f"arg{argument}"
        else:
            base = str(argument)
        name = "_".join([base, *(str(p) for p in inner)])
        name = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
        name = name if name.isidentifier() else f"arg_{name}"
        while name in names:
            name += "_"
        names.append(name)
    return names


def show_call(name: str, structure: Any, leaves: Sequence[Any]) -> str:
    """A call as errors show it, with a type for every array: `f(f64[3], k={'a': f64[]})`."""
    shown = [_Shown(leaf) for leaf in leaves]
    args, kwargs = (shown, {}) if structure is None else unflatten(structure, shown)
    return f"{name}({', '.join([*map(repr, args), *(f'{key}={value!r}' for key, value in kwargs.items())])})"


def show_tree(structure: Any, leaves: Sequence[Any]) -> str:
    """A pytree as errors show it, with a type for every array."""
    return repr(unflatten(structure, [_Shown(leaf) for leaf in leaves]))


class _Shown:
    """An array that prints as its type, also inside tuples, lists and dicts."""

    def __init__(self, leaf: Any) -> None:
        try:
            self.text = repr(type_of(leaf))
        except (GraphcError, TypeError, ValueError):
            self.text = f"a {type(leaf).__name__}"

    def __repr__(self) -> str:
        return self.text


def function_name(f: Callable[..., Any]) -> str:
    name = getattr(f, "__name__", type(f).__name__)
    return name if name.isidentifier() else "f"
