"""Memory as NumPy code sees it: which values show the same elements, and what a write changes under every name.

A trace has no memory; its values never change. A write into an array gives a new value, and every name of the array
has to show it from then on, views included. So the values that a view connects have one `Storage`, which knows the
elements' current value, and each knows the path of views that leads from there to what it shows. A write goes back
along that path, view by view, to the value of the whole; the other names forget what they showed and look again when
they are used next. The scheme is that of functionalization in PyTorch, with graph values in place of tensors.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from graphc.errors import ReadOnlyError, UnsupportedError
from graphc.ir import Guard
from graphc.tracing.places import user_locs
from graphc.tracing.refusals import raise_leaked, variable_name
from graphc.tracing.stack import innermost
from graphc.tracing.strides import Shape, packed

if TYPE_CHECKING:
    from graphc.tracing.values import Traced
    from graphc.tracing.worlds import TracingWorld


class View(Protocol):
    """A way to see elements of an array as another array, and the way back."""

    def show(self, base: Any) -> Any:
        """What the view shows of a value."""
        raise NotImplementedError

    def store(self, base: Any, part: Any) -> Any:
        """The value with the elements that the view shows replaced by `part`."""
        raise NotImplementedError

    def strides(self, shape: Shape, strides: Shape) -> Shape | None:
        """The strides of what it shows; None where they are not known."""
        raise NotImplementedError


class Storage:
    """Elements that several values may show.

    world, id: the value of all elements as they are now.
    owner: the value that it was made with.
    home: the trace that was running when the array was made; only there may it be written to.
    shown: the values that show the elements as they are now, while they live.
    doubtful: other storage that may in truth be this one; it is not if the sizes beside it are other than 1, and
        without sizes nothing is known.
    """

    __slots__ = ("__weakref__", "doubtful", "home", "id", "owner", "shown", "world")

    def __init__(self, value: Traced) -> None:
        self.world: TracingWorld = value.world
        self.id: int = value.id
        self.home = value.home
        self.owner = weakref.ref(value)
        self.shown = [self.owner]
        self.doubtful: list[tuple[weakref.ref[Storage], Shape]] = []

    def value(self) -> Traced:
        return self.world.value_class(self.world, self.id)


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a value's elements are: the storage, the views that lead from there to the value, and its strides.

    Strides are None where the order in memory is not known.
    """

    storage: Storage
    path: tuple[View, ...] = ()
    writeable: bool = True
    strides: Shape | None = None


def is_scalar(value: Traced) -> bool:
    """Whether a value stands for a number, as NumPy's reductions give it: a number never changes."""
    return value.memory is None and not value.type.shape


def is_writeable(value: Traced) -> bool:
    """Whether NumPy would let an array be written to."""
    return value.memory is None or value.memory.writeable


def owns_storage(value: Traced) -> bool:
    """Whether an array is no view of another one."""
    return value.memory is None or value.memory.storage.owner() is value


def same_storage(one: Traced, other: Traced) -> bool:
    """Whether two arrays show elements of one storage."""
    return one.memory is not None and other.memory is not None and one.memory.storage is other.memory.storage


def memory_of(value: Traced) -> Memory:
    """The memory of an array; recorded from now on, if it was not yet."""
    if value.memory is None:
        value.memory = Memory(Storage(value), strides=packed(value.type.shape))
    return value.memory


def view_of(base: Traced, *views: View, writeable: bool = True) -> Traced:
    """What the views show of an array, as an array that shares its elements."""
    shown: Any = snapshot(base)
    memory = None if is_scalar(base) else memory_of(base)
    strides = () if memory is None else memory.strides
    for view in views:
        strides = None if strides is None else view.strides(shown.type.shape, strides)
        shown = view.show(shown)
    if memory is not None:
        shown.memory = Memory(memory.storage, memory.path + views, memory.writeable and writeable, strides)
        memory.storage.shown.append(weakref.ref(shown))
    elif not shown.type.shape or not writeable:
        shown.memory = Memory(Storage(shown), (), writeable, strides)  # a number becomes an array of its own
    return shown  # type: ignore[no-any-return]


def snapshot(value: Traced) -> Traced:
    """The content of a value as it is now, whatever is written to it later."""
    return value.world.value_class(value.world, value.id)


def doubt(base: Traced, other: Traced, sizes: Shape = ()) -> None:
    """Note that two values may have the same memory, but not if the sizes are other than 1.

    Nothing comes of it unless one is written to while the other lives.
    """
    one, two = memory_of(base).storage, memory_of(other).storage
    one.doubtful.append((weakref.ref(two), sizes))
    two.doubtful.append((weakref.ref(one), sizes))


def refresh(value: Traced) -> None:
    """Look again at what an array shows, after a write under another name."""
    assert value.memory is not None
    storage = value.memory.storage
    now = storage.value()
    for view in value.memory.path:
        now = view.show(now)
    value.world, value.id = now.world, now.id
    storage.shown.append(weakref.ref(value))


def write(target: Traced, new: Traced, what: str) -> None:
    """Let an array, and with it everything that shares its elements, have the new value.

    `what` is the operation, as errors show it. The new value has the array's shape and dtype.
    """
    check_writable(target, what)
    new = snapshot(new)  # it may be a view of the array itself
    memory = target.memory
    if memory is None:
        _keep_name(target, new)
        target.world, target.id = new.world, new.id
        return
    storage = memory.storage
    bases = [storage.value()]
    for view in memory.path[:-1]:
        bases.append(view.show(bases[-1]))
    whole = new
    for view, base in zip(reversed(memory.path), reversed(bases), strict=bool(memory.path)):
        whole = view.store(base, whole)
    _keep_name(storage, whole)
    storage.world, storage.id = whole.world, whole.id
    shown, storage.shown = storage.shown, [weakref.ref(target)]
    for ref in shown:
        other = ref()
        if other is not None and other is not target:
            del other.id, other.world
    target.world, target.id = new.world, new.id
    new.world.assign(new.id)  # the variable is that of the view, not of the whole


def _keep_name(before: Traced | Storage, after: Traced) -> None:
    if before.world is after.world and before.id != after.id:
        after.world.builder.replace(before.id, after.id)


def check_writable(target: Traced, what: str) -> None:
    """Raise ReadOnlyError or UnsupportedError where an array cannot be written to."""
    memory = target.memory
    if is_scalar(target):
        raise UnsupportedError(
            f"{what}: a number cannot be written to",
            expected="an array",
            actual=f"{target.type!r}, which stands for a NumPy scalar",
            loc=_here(),
            fix="give the name a new value; or make an array of it: graphc.numpy.array(x)",
        )
    if memory is not None and not memory.writeable:
        name = variable_name(target) or "x"
        raise ReadOnlyError(
            f"{what}: the array is read-only, as in NumPy",
            expected="an array of which each element has a place of its own",
            actual=f"{target.type!r}, a view by broadcast_to or diagonal",
            loc=_here(),
            fix=f"write into a copy: {name} = {name}.copy()",
        )
    home = target.home if memory is None else memory.storage.home
    world = target.world if memory is None else memory.storage.world
    if not world.active:
        raise_leaked(target)
    running = innermost()
    if running is not home and (home is None or home.active):
        _refuse_outer(target, what)
    for ref, sizes in memory.storage.doubtful if memory is not None else ():
        if ref() is None:
            continue
        if sizes:
            for size in sizes:
                world.builder.guards.setdefault(Guard("!=", size, 1))
            continue
        name = variable_name(target) or "x"
        raise UnsupportedError(
            f"{what}: whether this also changes another array depends on the order in memory, which is not known here",
            expected="an array that a reshape has surely copied, or surely not",
            actual=f"{target.type!r}, reshaped from or into another one that is still in use",
            loc=_here(),
            fix=f"say which is meant: write into {name}.copy(), or reshape a copy",
        )


def _refuse_outer(target: Traced, what: str) -> NoReturn:
    name = variable_name(target) or "x"
    raise UnsupportedError(
        f"{what} would change an array of the surrounding trace",
        expected="an array that was made in this function, or is an argument of it",
        actual=f"{target.type!r}, made outside",
        loc=_here(),
        fix=f"write into a copy made here, and return it: {name} = {name}.copy()",
    )


def _here() -> Any:
    return (user_locs() or (None,))[0]
