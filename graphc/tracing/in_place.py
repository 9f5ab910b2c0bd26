"""In-place operators on traced values: one value object is one array, under every name."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import DTypeError, ShapeError, UnsupportedError
from graphc.ops.world import Operand
from graphc.tracing.places import user_locs
from graphc.tracing.refusals import variable_name

if TYPE_CHECKING:
    from graphc.tracing.values import Traced


def share(base: Traced, view: Traced) -> None:
    """Note that two values show the same storage."""
    group: list[weakref.ref[Traced]] = getattr(base, "sharing", None) or [weakref.ref(base)]
    group.append(weakref.ref(view))
    base.sharing = view.sharing = group


def update(old: Traced, operator: str, new: Any) -> Any:
    """Carry out `old operator other` as NumPy does: the old shape and dtype, seen under every name of the value.

    Refused where a view that is still alive would have to change too.
    """
    if old.type.weak or not old.type.shape or not isinstance(new, Operand):
        return new  # Python numbers and NumPy scalars are immutable: the name is bound anew
    name = variable_name(old) or "x"
    shown = [v for ref in getattr(old, "sharing", None) or () if (v := ref()) is not None and v is not old]
    if shown or new.world is not old.world:
        other = (variable_name(shown[0]) or "another value") if shown else "the surrounding trace"
        raise UnsupportedError(
            f"{name} {operator} ... would change a traced value in place that {other} shows too",
            expected="a value that no view shares, of this trace",
            actual=f"a traced {old.type!r}",
            loc=(user_locs() or (None,))[0],
            fix=f"{name} = {name} {operator[:-1]} ...",
        )
    if new.type.shape != old.type.shape:
        raise ShapeError(
            f"{name} {operator} ...: the result does not fit the array it replaces",
            expected=repr(old.type),
            actual=repr(new.type),
            loc=(user_locs() or (None,))[0],
        )
    if not np.can_cast(new.type.dtype, old.type.dtype, "same_kind"):
        raise DTypeError(
            f"{name} {operator} ...: the result cannot be stored in the array it replaces",
            expected=repr(old.type),
            actual=repr(new.type),
            loc=(user_locs() or (None,))[0],
            fix=f"{name} = {name} {operator[:-1]} ...",
        )
    old.id = new.world.convert(new, old.type.dtype).id
    return old
