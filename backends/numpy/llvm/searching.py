"""Searches in an ascending array: where each of many values goes, by halving, without a branch that depends on them.

Which half a value lies in cannot be foretold, so a search that branches waits for a wrong guess at every other step.
Here each step adds the half or adds nothing, and all values take as many steps. So several searches go side by side,
and while one waits for an element the others get on: "interleaved" searches, as in G. Psaropoulos, T. Legler, N. May,
A. Ailamaki, "Interleaving with coroutines: a practical approach for robust index joins" (PVLDB 11, 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.module import Features, Module
from graphc.backends.numpy.llvm.values import BOOL, I64, DType, Value
from graphc.kernels import HALF, SINGLE

TOGETHER: Final = 16  # searches side by side
ARRAYS: Final = ("edges", "values", "places")
SIZES: Final = ("count", "number")
PARAMETERS: Final = ", ".join([*(f"ptr %{x}" for x in ARRAYS), *(f"i64 %{x}" for x in SIZES)])


def declared(module: Module, dtype: DType, right: bool) -> str:
    """The name of the function for a dtype and a side, once a module has it.

    It writes a place for each of `number` values: how many of `count` edges are less, or if `right` are not greater.
    NaN is greater than all other numbers, as where NumPy sorts.
    """
    name = f"graphc.search.{dtype.name}.{'right' if right else 'left'}"
    text, inside = _helper(name, dtype, right, module.features)
    module.help(name, f"declare void @{name}({PARAMETERS})", inside, text)
    return name


@lru_cache(maxsize=32)
def _helper(name: str, dtype: DType, right: bool, features: Features) -> tuple[str, Module]:
    """The function, and what its module has besides it."""
    inside = Module(features)
    return _Writer(inside, dtype, right).text(name), inside


class _Writer:
    def __init__(self, module: Module, dtype: DType, right: bool) -> None:
        self.e = e = Emitter(module)
        self.dtype = np.dtype(np.uint8) if dtype == BOOL else dtype
        self.right = right
        self.count, self.number = (e.value(f"%{name}", I64, 1) for name in SIZES)
        self.zero = e.const(0, I64, 1)

    def text(self, name: str) -> str:
        """The text of the function."""
        e, number = self.e, self.number
        e.label("entry")
        e.module.define("llvm.ctlz.i64", "declare i64 @llvm.ctlz.i64(i64, i1)")
        leading = e.instruction(f"call i64 @llvm.ctlz.i64(i64 {self.count.text}, i1 false)", I64)
        self.steps = 64 - leading
        self.of_nan = self.count
        if self.dtype.kind == "f" and not self.right:
            # the edges before the first that is NaN
            (self.of_nan,) = self.halved([None])
        whole = e.binary("sdiv", number, TOGETHER) * TOGETHER
        e.span(self.zero, whole, TOGETHER, lambda at: self.found([at + k for k in range(TOGETHER)]))
        e.span(whole, number, 1, lambda at: self.found([at]))
        e.statement("ret void")
        return "\n".join([f"define void @{name}({PARAMETERS}) nounwind {{", *e.lines, "}"]) + "\n"

    def element(self, base: str, index: Value) -> Value:
        """An element, as it is compared."""
        e = self.e
        found = e.load(memory.element(e, base, index, self.dtype), self.dtype, 1)
        return e.convert(found, SINGLE) if self.dtype == HALF else found

    def found(self, indices: Sequence[Value]) -> None:
        """Search for some values."""
        e = self.e
        wanted = [self.element("%values", index) for index in indices]
        for index, value, place in zip(indices, wanted, self.halved(wanted), strict=True):
            if self.dtype.kind == "f":
                place = e.select(value.differs(value), self.of_nan, place)
            e.store(place, memory.element(e, "%places", index, I64))

    def halved(self, wanted: Sequence[Value | None]) -> list[Value]:
        """The place of each value; of NaN where there is none, on the left."""

        def step(_: Value, carried: list[Value]) -> list[Value]:
            e = self.e
            left, *starts = carried
            half = (left + 1).shift_right_logical(1)
            after = []
            for start, value in zip(starts, wanted, strict=True):
                middle = self.element("%edges", start + half - 1)
                if value is None:
                    before = middle.equals(middle)
                else:
                    before = middle <= value if self.right else middle < value
                # arithmetic, since LLVM might make a branch of a choice
                after.append(start + (half & -e.convert(before, I64)))
            return [left - half, *after]

        carried = [self.count, *(self.zero for _ in wanted)]
        return self.e.loop(self.zero, self.steps, 1, carried, step)[1:]
