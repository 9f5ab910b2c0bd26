"""What a program does with the value that an instruction makes, read off the bytecode that follows it.

Only the forms that assign or return a value are followed; whatever else is met, the value goes nowhere. The effects
of the instructions are those of https://docs.python.org/3/library/dis.html for Python 3.11 to 3.14.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Final

from graphc.text.scalars import NAME

LONGEST_NAME: Final = 60
REACH: Final = 200  # instructions looked at after one

Effect = tuple[int, int]  # values taken off the stack, values put there

_FLAGGED: Final = sys.version_info >= (3, 12)  # LOAD_ATTR also does what LOAD_METHOD did
_NULL_ABOVE: Final = sys.version_info >= (3, 13)  # whether the slot for self lies above the callable
_EXTENDED: Final = dis.opmap["EXTENDED_ARG"]
_IN_PLACE: Final = 13  # the first argument of BINARY_OP that stands for an operator such as +=
_SUBSCRIPT: Final = 26  # that of x[i], from Python 3.14 on
_READS: Final = ("BINARY_SUBSCR", "BINARY_SLICE")
_WRITES: Final = ("STORE_SUBSCR", "STORE_SLICE")

# Instructions that make one value and may run a traced operation.
MAKERS: Final = frozenset({
    "BINARY_OP", "BINARY_SUBSCR", "BINARY_SLICE", "CALL", "CALL_KW", "CALL_FUNCTION_EX", "CALL_INTRINSIC_1",
    "COMPARE_OP", "LOAD_ATTR", "UNARY_INVERT", "UNARY_NEGATIVE", "UNARY_POSITIVE",
})  # fmt: skip

_EFFECTS: Final[dict[str, Effect]] = {
    **dict.fromkeys(["NOP", "PRECALL", "KW_NAMES", "RESUME", "NOT_TAKEN", "LIST_TO_TUPLE", "CONVERT_VALUE"], (0, 0)),
    **dict.fromkeys(
        ["LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_AND_CLEAR", "LOAD_FAST_BORROW", "LOAD_CONST", "LOAD_SMALL_INT",
         "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_CLOSURE", "LOAD_LOCALS", "LOAD_BUILD_CLASS",
         "LOAD_ASSERTION_ERROR", "LOAD_COMMON_CONSTANT", "PUSH_NULL"],
        (0, 1),
    ),
    **dict.fromkeys(["LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"], (0, 2)),
    **dict.fromkeys(
        ["GET_ITER", "UNARY_INVERT", "UNARY_NEGATIVE", "UNARY_NOT", "UNARY_POSITIVE", "TO_BOOL", "FORMAT_SIMPLE",
         "CALL_INTRINSIC_1", "LOAD_FROM_DICT_OR_DEREF", "LOAD_FROM_DICT_OR_GLOBALS"],
        (1, 1),
    ),
    **dict.fromkeys(
        ["BINARY_OP", "BINARY_SUBSCR", "COMPARE_OP", "IS_OP", "CONTAINS_OP", "CALL_INTRINSIC_2", "FORMAT_WITH_SPEC",
         "SET_FUNCTION_ATTRIBUTE"],
        (2, 1),
    ),
    **dict.fromkeys(
        ["POP_TOP", "LIST_APPEND", "LIST_EXTEND", "SET_ADD", "SET_UPDATE", "DICT_MERGE", "DICT_UPDATE"], (1, 0)
    ),
    **dict.fromkeys(["DELETE_FAST", "DELETE_NAME", "DELETE_GLOBAL", "DELETE_DEREF", "MAKE_CELL"], (0, 0)),
    "BINARY_SLICE": (3, 1),
    "LOAD_METHOD": (1, 2),
    "MAP_ADD": (2, 0),
    "STORE_SUBSCR": (3, 0),
    "STORE_SLICE": (4, 0),
    "DELETE_SUBSCR": (2, 0),
    "DELETE_ATTR": (1, 0),
}  # fmt: skip
_CALLS: Final = {"CALL": 0, "CALL_KW": 1}  # to what lies on top of the arguments
_STORES: Final = frozenset({"STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"})
_GLOBALS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})


@dataclass(frozen=True, slots=True)
class Use:
    """Where a value goes: into a variable, into several by unpacking, back to the caller, or nowhere.

    name: the variable or attribute; for a value that is unpacked, one for each element, None where it is no variable.
    returned: whether the function returns the value; as `element` of a tuple, if that is not None.
    """

    name: str | tuple[str | None, ...] | None = None
    returned: bool = False
    element: int | None = None


NOWHERE: Final = Use()


@dataclass(frozen=True, slots=True)
class Callee:
    """What an instruction calls: something that a global name or an attribute names, or any other value."""

    name: str | None
    attribute: bool = False


class Program:
    """The bytecode of one function."""

    __slots__ = ("_cells", "code", "varnames")

    def __init__(self, code: CodeType) -> None:
        self.code = code.co_code
        self.varnames = code.co_varnames
        names = code.co_names
        cells = [name for name in code.co_cellvars if name not in code.co_varnames]
        self._cells = (*code.co_varnames, *cells, *code.co_freevars), names

    def start(self, offset: int) -> int:
        """The instruction at an offset, which may lie within the cache behind it."""
        while offset > 0 and self.code[offset] == 0:
            offset -= 2
        return offset

    def opname(self, offset: int) -> str:
        return dis.opname[self.code[self.start(offset)]]

    def after(self, offset: int) -> Iterator[tuple[str, int, int]]:
        """The instructions after one, in the order they run: name, argument, offset of the next."""
        code, offset, extended = self.code, offset + 2, 0
        while offset < len(code):
            op, arg = code[offset], code[offset + 1] | extended
            offset += 2
            if op == 0:
                continue
            if op == _EXTENDED:
                extended = arg << 8
                continue
            extended = 0
            name = dis.opname[op]
            if name == "JUMP_FORWARD":
                offset += 2 * arg
            else:
                yield name, arg, offset

    def before(self, offset: int) -> Iterator[tuple[str, int]]:
        """The instructions before one, backwards as they stand: name and argument."""
        code, offset = self.code, offset - 2
        while offset >= 0:
            op, arg, shift = code[offset], code[offset + 1], 8
            offset -= 2
            if op in (0, _EXTENDED):
                continue
            while offset >= 0 and code[offset] == _EXTENDED:
                arg |= code[offset + 1] << shift
                shift += 8
                offset -= 2
            yield dis.opname[op], arg

    def stored(self, op: str, arg: int) -> tuple[str, ...]:
        """The variables that an instruction stores values in, that of the topmost value first."""
        cells, names = self._cells
        match op:
            case "STORE_FAST" | "STORE_DEREF":
                return (cells[arg],)
            case "STORE_NAME" | "STORE_GLOBAL":
                return (names[arg],)
            case "STORE_FAST_STORE_FAST":
                return cells[arg >> 4], cells[arg & 15]
            case "STORE_FAST_LOAD_FAST":
                return (cells[arg >> 4],)
        return ()

    def use(self, offset: int) -> Use:
        """What becomes of the value that the instruction at an offset makes."""
        offset = self.start(offset)
        if self.opname(offset) not in MAKERS:
            return NOWHERE
        depth = 0  # values above ours on the stack
        element: int | None = None  # our place in the tuple that is on the stack in our stead
        instructions = self.after(offset)
        for (op, arg, _), _ in zip(instructions, range(REACH), strict=False):
            if variables := self.stored(op, arg):
                if depth < len(variables):
                    return Use(usable(variables[depth])) if element is None else NOWHERE
                depth += (op == "STORE_FAST_LOAD_FAST") - len(variables)
            elif op == "STORE_ATTR":
                if depth < 2:
                    return Use(usable(self._cells[1][arg])) if depth == 1 and element is None else NOWHERE
                depth -= 2
            elif op == "COPY":
                if arg == depth + 1 and depth:
                    return NOWHERE
                depth += 1 if depth or arg != 1 else 0  # of ours, the copy is followed
            elif op == "SWAP":
                depth = arg - 1 if depth == 0 else 0 if depth == arg - 1 else depth
            elif op == "BUILD_TUPLE" and depth < arg:
                if element is not None:
                    return NOWHERE
                element, depth = arg - 1 - depth, 0
            elif op == "UNPACK_SEQUENCE":
                if depth == 0 and element is None:
                    return Use(self._unpacked(instructions, arg))
                if depth == 0 and element is not None:
                    depth, element = element, None
                else:
                    depth += arg - 1
            elif op == "RETURN_VALUE":
                return Use(returned=True, element=element) if depth == 0 else NOWHERE
            else:
                effect = effect_of(op, arg)
                if effect is None or effect[0] > depth:
                    return NOWHERE
                depth += effect[1] - effect[0]
        return NOWHERE

    def _unpacked(self, instructions: Iterator[tuple[str, int, int]], count: int) -> tuple[str | None, ...]:
        names: list[str | None] = []
        while len(names) < count:
            op, arg, _ = next(instructions, ("", 0, 0))
            variables = self.stored(op, arg)
            if not variables or op == "STORE_FAST_LOAD_FAST":
                names += map(usable, variables)
                break
            names += map(usable, variables)
        return tuple((names + [None] * count)[:count])

    def callee(self, offset: int) -> Callee | None:
        """What the instruction at an offset calls; None if that cannot be told, or if it is no call."""
        offset = self.start(offset)
        op, arg = self.opname(offset), self._argument(offset)
        names = self._cells[1]
        if op == "LOAD_ATTR":
            return Callee(names[arg >> 1 if _FLAGGED else arg], attribute=True)
        if op in _CALLS:
            above = arg + _CALLS[op] + _NULL_ABOVE
        elif op == "CALL_FUNCTION_EX":
            above = 1 + (arg & 1) + _NULL_ABOVE
        else:
            return None
        for op, arg in self.before(offset):
            effect = effect_of(op, arg)
            if effect is None:
                return None
            if effect[1] > above:
                if op in _GLOBALS:
                    return Callee(names[arg >> 1 if op == "LOAD_GLOBAL" else arg])
                if op in ("LOAD_ATTR", "LOAD_METHOD"):
                    return Callee(names[arg >> 1 if _FLAGGED else arg], attribute=True)
                return Callee(None)
            above += effect[0] - effect[1]
        return None

    def reads_part(self, offset: int) -> bool:
        """Whether an instruction is `x[i]`."""
        op = self.opname(offset)
        return op in _READS or (op == "BINARY_OP" and self._argument(self.start(offset)) == _SUBSCRIPT)

    def writes_part(self, offset: int) -> bool:
        """Whether an instruction is `x[i] = y`."""
        return self.opname(offset) in _WRITES

    def augments(self, offset: int) -> str | None:
        """The local variable to which an augmented assignment, `y += x`, gives what the instruction makes."""
        offset = self.start(offset)
        if self.opname(offset) != "BINARY_OP" or not _IN_PLACE <= self._argument(offset) < _SUBSCRIPT:
            return None
        op, arg, _ = next(self.after(offset), ("", 0, 0))
        return self.stored(op, arg)[0] if op in ("STORE_FAST", "STORE_FAST_LOAD_FAST") else None

    def _argument(self, offset: int) -> int:
        arg, shift = self.code[offset + 1], 8
        while offset >= 2 and self.code[offset - 2] == _EXTENDED:
            offset -= 2
            arg |= self.code[offset + 1] << shift
            shift += 8
        return arg


def effect_of(op: str, arg: int) -> Effect | None:
    """How many values an instruction takes off the stack and puts there; None for those that are not followed."""
    match op:
        case "LOAD_GLOBAL":
            return 0, 1 + (arg & 1)
        case "LOAD_ATTR":
            return 1, 1 + (arg & 1 if _FLAGGED else 0)
        case "LOAD_SUPER_ATTR":
            return 3, 1 + (arg & 1)
        case "CALL" | "CALL_KW":
            return arg + 2 + _CALLS[op], 1
        case "CALL_FUNCTION_EX":
            return 3 + (arg & 1), 1
        case "BUILD_TUPLE" | "BUILD_LIST" | "BUILD_SET" | "BUILD_STRING" | "BUILD_SLICE":
            return arg, 1
        case "BUILD_MAP":
            return 2 * arg, 1
        case "BUILD_CONST_KEY_MAP":
            return arg + 1, 1
        case "FORMAT_VALUE":
            return 1 + (arg & 4 == 4), 1
        case "MAKE_FUNCTION":
            return (1, 1) if _NULL_ABOVE else (1 + arg.bit_count(), 1)
        case "COPY":
            return 0, 1
        case "STORE_ATTR":
            return 2, 0
        case "UNPACK_SEQUENCE":
            return 1, arg
        case _ if op in _STORES:
            return 1, 0
    return _EFFECTS.get(op)


def usable(name: str) -> str | None:
    """A variable's name, if it says something and can stand in a text."""
    fits = len(name) <= LONGEST_NAME and NAME.fullmatch(name) and name.isprintable() and "." not in name
    return name if fits and name.strip("_") else None
