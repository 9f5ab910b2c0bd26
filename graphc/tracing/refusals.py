"""What a trace refuses, in the user's own names: questions that only the running graph could answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from graphc.errors import LeakedTracerError, TraceError
from graphc.ops.world import Value
from graphc.tracing.delegates import library_function, namespace
from graphc.tracing.places import user_frame, user_locs

if TYPE_CHECKING:
    from graphc.tracing.values import Traced

WRITABLE: Final = (
    "make the array with np.zeros_like(x) of a traced x, or with graphc.numpy.zeros, ones, empty or full; "
    "of a plain array y: np.array(y, like=x)"
)
"""What to do where a traced value cannot be written into a plain array."""


def raise_leaked(operand: Traced) -> NoReturn:
    name = variable_name(operand)
    made = operand.world.builder.nodes[operand.id]["loc"]
    raise LeakedTracerError(
        f"{name or 'a traced value'} is used after its trace has ended",
        expected="values of a trace to stay inside the traced function",
        actual=f"{operand.type!r}, made at {made[0].described}" if made else repr(operand.type),
        loc=(user_locs() or (None,))[0],
        fix="return it from the traced function instead of storing it outside",
    )


def variable_name(value: Any) -> str | None:
    """What the user's code calls this value, if a local or global variable holds it."""
    frame = user_frame(sys._getframe(1))
    node = _known(value)
    while frame is not None:
        equal = None
        for scope in (frame.f_locals, frame.f_globals):
            for name, held in list(scope.items()):
                if isinstance(held, Value) and not name.startswith("_"):
                    if held is value:
                        return str(name)
                    if equal is None and node is not None and _known(held) == node:
                        equal = str(name)
        if equal is not None:
            return equal
        frame = user_frame(frame.f_back)
    return None


def _known(value: Value) -> tuple[int, int] | None:
    """A value's world and node; None for an array that has changed and was not looked at again."""
    try:
        return id(object.__getattribute__(value, "world")), object.__getattribute__(value, "id")
    except AttributeError:
        return None


def describe(value: Traced) -> str:
    """The user's name of a value; failing that, its name in the graph."""
    data = value.world.builder.nodes[value.id]
    own = dict(data["attrs"])["name"] if data["op"] == "input" else value.world.label(value.id)
    return variable_name(value) or str(own)


def refuse(value: Traced, what: str, expected: str, fix: str) -> NoReturn:
    if not value.world.active:
        raise_leaked(value)
    inside = library_function(sys._getframe(1))
    if inside is not None:
        what, fix = f"{what} in {inside.replace('numpy.', 'np.', 1)}", namespace().instead_of(inside)
    data = value.world.builder.nodes[value.id]
    made = value.world.line(data["op"], data["args"], data["attrs"], value.id) if data["args"] else None
    raise TraceError(
        f"{what} needs the value of {describe(value)}, which is known only when the graph runs",
        expected=expected,
        actual=f"a traced {value.type!r}",
        loc=(user_locs() or (None,))[0],
        graph_line=made,
        fix=fix,
    )
