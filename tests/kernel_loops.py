"""A loop around a piece of emitted code, so that it can be run on arrays: what the kernel tests have in common."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.backends.numpy.llvm.code import Part, helpers
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.machine import Library, Machine, assemble, host, link
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.values import I64, DType, Value

Body = Callable[..., Value]
Array = np.ndarray[Any, Any]


def loop_text(
    body: Body, operands: Sequence[DType], machine: Machine, lanes: int, module: Module | None = None
) -> tuple[str, DType]:
    """A module with `void loop(result, operands..., n)` for multiples of `lanes`, and the dtype of the result."""
    module = module or Module(machine.features_used)
    e = Emitter(module, lanes)
    e.label("entry")
    e.statement("br label %next")
    e.label("next")
    i, step, after = e.value("%i", I64, 1), e.fresh("step"), e.fresh("after")
    at = len(e.lines)  # the phi needs the name of the last block of the body

    def pointer(name: str, dtype: DType) -> str:
        return e.instruction(f"getelementptr i8, ptr {name}, {i * dtype.itemsize!r}", I64, 1).text

    values = [e.load(pointer(f"%a{k}", dtype), dtype) for k, dtype in enumerate(operands)]
    result = body(e, *values)
    e.store(result, pointer("%result", result.dtype))
    e.statement(f"%{step} = add i64 %i, {lanes}")
    e.statement(f"%{after} = icmp slt i64 %{step}, %n")
    e.lines.insert(at, f"  %i = phi i64 [ 0, %entry ], [ %{step}, %{e.block} ]")
    e.statement(f"br i1 %{after}, label %next, label %done")
    e.label("done")
    e.statement("ret void")
    parameters = ", ".join(["ptr noalias %result", *(f"ptr noalias %a{k}" for k in range(len(operands))), "i64 %n"])
    lines = "\n".join(e.lines)
    return f"{module.text()}define void @loop({parameters}) {{\n{lines}\n}}\n", result.dtype


class Loop:
    """A compiled loop; called with arrays of one length, it gives a new array."""

    def __init__(
        self, body: Body, operands: Sequence[DType], machine: Machine | None = None, lanes: int | None = None
    ) -> None:
        self.machine = host() if machine is None else machine
        self.operands = tuple(operands)
        self.lanes = lanes or 2 * self.machine.register // max(dtype.itemsize for dtype in operands)
        module = Module(self.machine.features_used)
        self.text, self.result = loop_text(body, operands, self.machine, self.lanes, module)
        parts = (Part(self.text), *helpers(module))
        self.library: Library = link([assemble(part.text, self.machine, part.level) for part in parts], ["loop"])
        arguments = [ctypes.c_void_p] * (len(operands) + 1) + [ctypes.c_int64]
        self.run = ctypes.CFUNCTYPE(None, *arguments)(self.library.addresses["loop"])

    def __call__(self, *arrays: Array) -> Array:
        n = len(arrays[0])
        whole = -(-n // self.lanes) * self.lanes
        padded = []
        for array, dtype in zip(arrays, self.operands, strict=True):
            assert array.dtype == dtype
            padded.append(np.concatenate([array, np.ones(whole - n, dtype)]))
        result = np.empty(whole, self.result)
        self.run(result.ctypes.data, *(array.ctypes.data for array in padded), whole)
        return result[:n]
