"""Nested dicts, tuples and lists of arrays: the arguments and results of programs, whatever the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def leaves(tree: Any) -> list[Any]:
    """The arrays of a tree, those of a dict in the order of its sorted keys."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, (tuple, list)):
        return [leaf for item in tree for leaf in leaves(item)]
    return [tree]


def mapped(f: Callable[[Any], Any], tree: Any) -> Any:
    """The same tree with `f` of every array."""
    if isinstance(tree, dict):
        return {key: mapped(f, tree[key]) for key in tree}
    if isinstance(tree, (tuple, list)):
        return type(tree)(mapped(f, item) for item in tree)
    return f(tree)


def rebuilt(tree: Any, values: Sequence[Any]) -> Any:
    """The same tree with its arrays replaced, in the order of `leaves`."""
    rest = iter(values)

    def build(part: Any) -> Any:
        if isinstance(part, dict):
            built = {key: build(part[key]) for key in sorted(part)}
            return {key: built[key] for key in part}
        if isinstance(part, (tuple, list)):
            return type(part)(build(item) for item in part)
        return next(rest)

    return build(tree)
