"""Names for nodes, from the variables that the traced program assigns them to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

# A node made while one instruction of the program ran, whose result the program assigns: what stands for the
# instruction, the same object for all of its runs; the variable, or one for each part of a result that is unpacked,
# None where it is no variable; the node. Where the result is known exactly, its nodes stand here as a tuple.
Assignment: TypeAlias = tuple[object, str | tuple[str | None, ...], int | tuple[int, ...]]


def settle(nodes: Sequence[dict[str, Any]], assignments: Iterable[Assignment]) -> None:
    """Give the results of assignments their names. A node keeps the first name that it gets.

    One run of an instruction may make several nodes, and an instruction in a loop runs several times. Where the result
    of a run is not known exactly, it is the last node; where the nodes of an instruction repeat, op for op, each round
    is taken for a run.
    """
    group: list[Assignment] = []
    for assignment in assignments:
        if group and (assignment[0] is not group[-1][0] or assignment[1] != group[-1][1]):
            _settle(nodes, group)
            group.clear()
        group.append(assignment)
    _settle(nodes, group)


def _settle(nodes: Sequence[dict[str, Any]], group: Sequence[Assignment]) -> None:
    """Name the results of consecutive runs of one instruction, which go to the same variables."""
    if len(group) == 1:
        _, name, node = group[0]
        if isinstance(node, int):
            if isinstance(name, str):
                set_name(nodes[node], name)
            return
    exact = [(name, node) for _, name, node in group if isinstance(node, tuple)]
    for name, results in exact:
        names = (name,) * len(results) if isinstance(name, str) else name
        for one, its_name in zip(results, names, strict=True):
            set_name(nodes[one], its_name)
    if exact:
        return
    made = [(name, node) for _, name, node in group if isinstance(name, str) and isinstance(node, int)]
    period = _period([nodes[node]["op"] for _, node in made]) if len(made) > 1 else 1
    for name, node in made[period - 1 :: period]:
        set_name(nodes[node], name)


def set_name(data: dict[str, Any], name: str | None) -> None:
    """Name a node that has no name; inputs have theirs among their attributes."""
    if name is not None and data["op"] != "input":
        data.setdefault("name", name)


def _period(items: Sequence[str]) -> int:
    """The length of the shortest piece that the whole sequence repeats; at least 1.

    >>> _period(["sum", "div", "sum", "div"]), _period(["sum", "div", "sum"])
    (2, 3)
    """
    # the failure function of Knuth, Morris and Pratt: the longest border of each prefix
    border = [0] * (len(items) + 1)
    length = 0
    for i in range(1, len(items)):
        while length and items[i] != items[length]:
            length = border[length]
        length += items[i] == items[length]
        border[i + 1] = length
    period = max(len(items) - border[-1], 1)
    return period if len(items) % period == 0 else len(items)
