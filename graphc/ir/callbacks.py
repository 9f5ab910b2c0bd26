"""Functions of the user's inside a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import IRError


class Callback:
    """A function of the user's inside a graph, which is called when the graph runs.

    Two of them are equal if they are the same function. One that was read from a text, where only its name stands,
    equals every function of that name; a graph with it compares but does not run.
    """

    __slots__ = ("_function", "name")

    def __init__(self, name: str, function: Callable[..., Any] | None) -> None:
        self.name = name
        self._function = function

    @property
    def function(self) -> Callable[..., Any]:
        """The function; IRError where only its name is known."""
        if self._function is None:
            raise IRError(
                f"the function {self.name} is not here: a text holds only its name",
                fix="give it to parse: callbacks=[...], in the order in which the text names them",
            )
        return self._function

    @property
    def known(self) -> bool:
        """Whether the function is here, and not its name alone."""
        return self._function is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Callback) or self.name != other.name:
            return False
        mine, others = self._function, other._function
        return mine is None or others is None or mine is others or bool(mine == others)

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[object, ...]:
        return Callback, (self.name, self._function)

    def __repr__(self) -> str:
        return f"Callback({self.name})"
