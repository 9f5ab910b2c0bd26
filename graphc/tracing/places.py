"""Where in the user's code something happens: frames, locations, and errors that get one."""

from __future__ import annotations

import inspect
import os
import sys
import weakref
from bisect import bisect_right
from types import BuiltinFunctionType, FrameType, FunctionType
from typing import Any, Final

from graphc.errors import GraphcError, Loc
from graphc.ir import Locs
from graphc.tracing.bytecode import Callee, Program, Use, usable

_LIBRARIES: Final = frozenset({"graphc", "numpy", "scipy", "optree", "typer", "click"})
MANY: Final = 100  # local variables, of which Python has to make a dict before one can be looked up
_STDLIB: Final = os.path.dirname(os.__file__)


def is_users(module: str, file: str) -> bool:
    """Whether a module is the user's: neither one of ours or NumPy's, nor the standard library, nor generated."""
    root = module.partition(".")[0]
    standard = root in sys.stdlib_module_names and file.startswith((_STDLIB, "<frozen "))
    return root not in _LIBRARIES and not standard and not file.startswith("<graphc ")


Goal = tuple[object, str | tuple[str | None, ...]]  # the site of an assignment, and the variables


class Site:
    """An instruction of the user's code: its line, what becomes of the value it makes, what it calls.

    `goal` is the site itself with the variable that the value goes to, if it goes to one at once. `augmented` is the
    local variable of an augmented assignment.
    """

    __slots__ = ("augmented", "callee", "goal", "locs", "use")

    def __init__(self, locs: Locs, use: Use, callee: Callee | None, augmented: str | None) -> None:
        self.locs = locs
        self.use = use
        self.callee = callee
        self.augmented = augmented
        self.goal: Goal | None = None if use.name is None else (self, use.name)


class _Code:
    """What is known of a code object: whose it is, and those of its sites that were met. It does not keep it alive."""

    __slots__ = ("_file", "_function", "_lines", "_locs", "_program", "_ref", "_starts", "commands", "sites", "user")

    def __init__(self, frame: FrameType) -> None:
        code, module = frame.f_code, frame.f_globals.get("__name__") or ""
        key = id(code)
        self._ref = weakref.ref(code, lambda _: _codes.pop(key, None))
        self.user = is_users(module, code.co_filename)
        self.commands = module.startswith("graphc.cli")
        self.sites: dict[int, Site] = {}
        self._program: Program | None = None

    def add(self, frame: FrameType) -> Site:
        """The instruction that a frame of this code is at, met for the first time."""
        code, offset = frame.f_code, frame.f_lasti
        if self._program is None:
            self._file, self._function = code.co_filename, code.co_name
            # asking Python for one line takes as long as going through all of them
            lines = [(start, line or code.co_firstlineno) for start, _, line in code.co_lines()]
            self._starts = [start for start, _ in lines]
            self._lines = [line for _, line in lines]
            self._locs: dict[int, Locs] = {}
            self._program = Program(code)  # last, for another thread may come by
        line = self._lines[max(bisect_right(self._starts, offset) - 1, 0)]
        locs = self._locs.setdefault(line, (Loc(self._file, line, self._function),))
        at = max(offset, 0)
        program = self._program
        site = self.sites[offset] = Site(locs, program.use(at), program.callee(at), program.augments(at))
        return site


# By the identity of the code object, whose end removes it: code objects compare equal across files, and slowly.
_codes: dict[int, _Code] = {}


def _code_of(frame: FrameType) -> _Code:
    known = _codes.get(id(frame.f_code))
    if known is None:
        known = _codes[id(frame.f_code)] = _Code(frame)
    return known


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the user's code, told by its module; None above the command line."""
    while frame is not None:
        known = _codes.get(id(frame.f_code)) or _code_of(frame)
        if known.user:
            return frame
        if known.commands:
            return None
        frame = frame.f_back
    return None


def here(frame: FrameType | None) -> tuple[Locs, Goal | None]:
    """The user's line that is running, and where the program assigns the value that it is making there."""
    while frame is not None:
        known = _codes.get(id(frame.f_code)) or _code_of(frame)
        if known.user:
            site = known.sites.get(frame.f_lasti) or known.add(frame)
            return site.locs, goal_of(frame, site) if site.use.returned else site.goal
        if known.commands:
            break
        frame = frame.f_back
    return (), None


def site_of(frame: FrameType) -> Site:
    """The instruction that a frame is at."""
    known = _code_of(frame)
    return known.sites.get(frame.f_lasti) or known.add(frame)


def augmented_variable(frame: FrameType) -> str | None:
    """The local variable of the augmented assignment that a frame is at; None if it is at none."""
    return site_of(frame).augmented


def access(frame: FrameType) -> str | None:
    """Whether a frame reads a part of something, as `x[i]` does, or writes one; None if neither."""
    program, at = Program(frame.f_code), max(frame.f_lasti, 0)
    return "read" if program.reads_part(at) else "write" if program.writes_part(at) else None


def goal_of(frame: FrameType, site: Site) -> Goal | None:
    """Where the program assigns the value made at a site, if it does.

    A value that a function returns goes where the user's code that called it assigns the call.
    """
    use, element = site.use, None
    while use.returned:
        if use.element is not None:
            if element is not None:
                return None
            element = use.element
        inner, outer = frame, frame.f_back
        if outer is None or not _code_of(outer).user:
            return None
        frame, site = outer, site_of(outer)
        if not _calls(site.callee, frame, inner):
            return None
        use = site.use
    if element is None:
        return site.goal
    name = use.name
    one = name[element] if isinstance(name, tuple) and element < len(name) else None
    return None if one is None else (site, one)


def _calls(callee: Callee | None, outer: FrameType, inner: FrameType) -> bool:
    """Whether it is the frame `inner` whose value a call in `outer` gives, and not that of a function in between."""
    if callee is None:
        return False
    name, code = callee.name, inner.f_code
    if name is None:
        return True
    if callee.attribute:
        return code.co_name in (name, "__call__")
    value = outer.f_globals.get(name, outer.f_builtins.get(name))
    if isinstance(value, FunctionType):
        return value.__code__ is code
    return value is not None and not isinstance(value, (type, BuiltinFunctionType))


def user_locs() -> Locs:
    """The user's line that is running, as node locations."""
    return here(sys._getframe(1))[0]


def holder(value: object) -> str | None:
    """The variable that holds this very object in the user's function, or in the module around it."""
    frame = user_frame(sys._getframe(1))
    if frame is None:
        return None
    code = frame.f_code
    for name in code.co_names:
        if frame.f_globals.get(name) is value:
            return usable(name)
    if code.co_flags & inspect.CO_OPTIMIZED and len(code.co_varnames) + len(code.co_freevars) <= MANY:
        for name, held in list(frame.f_locals.items()):
            if held is value:
                return usable(name)
    return None


def locate(error: GraphcError) -> None:
    """Give an error that has no place the user's innermost line on its way; without one, the line that called us."""
    if error.loc is not None:
        return
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if user_frame(frame) is frame:
            error.loc = Loc(frame.f_code.co_filename, trace.tb_lineno, frame.f_code.co_name)
        trace = trace.tb_next
    if error.loc is None:
        error.loc = (user_locs() or (None,))[0]


class located:
    """Context in which every error of graphc gets a place, see `locate`."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, GraphcError):
            locate(error)


def definition(f: Any) -> Loc | None:
    """Where a function is defined, if it is one of Python's."""
    code = getattr(inspect.unwrap(f), "__code__", None)
    return Loc(code.co_filename, code.co_firstlineno, code.co_name) if code is not None else None


def stacklevel() -> int:
    """How far above the caller the user's frame lies, for warnings."""
    frame: FrameType | None = sys._getframe(1)
    user, level = user_frame(frame), 1
    while frame is not None and frame is not user:
        level, frame = level + 1, frame.f_back
    return level
