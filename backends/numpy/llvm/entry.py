"""A Python callable made of machine code: reads NumPy arrays' fields and calls a kernel, at a tenth of ctypes' cost.

CPython calls a built-in function with a pointer to its arguments (METH_FASTCALL). The code built here checks that they
are plain, dense arrays, takes their data pointers, and calls the kernel; for anything else it calls a Python function.
It relies on the layout of NumPy's array object, which its ABI fixes, and on that of CPython's with a global lock; where
a look at an array shows another layout, `SUPPORTED` is false.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.kernels import Kernel

HEAD: Final = object.__basicsize__
DATA, RANK, DESCR, FLAGS = HEAD, HEAD + 8, HEAD + 40, HEAD + 48
TYPE: Final = 8  # of ob_type in the header
DENSE: Final = 0x0001 | 0x0100  # NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED
METH_FASTCALL: Final = 0x0080


def _layout_is_known() -> bool:
    """Whether an array's fields lie where this module expects them."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    for probe in (np.arange(6.0).reshape(2, 3), np.arange(6, dtype=np.int32).reshape(2, 3).T):
        at = id(probe)

        def read(kind: Any, offset: int, at: int = at) -> Any:
            return kind.from_address(at + offset).value

        dense = read(ctypes.c_int32, FLAGS) & DENSE == DENSE
        known = (
            read(ctypes.c_int64, TYPE) == id(np.ndarray)
            and read(ctypes.c_int64, DATA) == probe.ctypes.data
            and read(ctypes.c_int32, RANK) == probe.ndim
            and read(ctypes.c_int64, DESCR) == id(probe.dtype)
            and dense == (probe.flags.c_contiguous and probe.flags.aligned)
        )
        if not known:
            return False
    return True


SUPPORTED: Final = _layout_is_known()


def function(kernel: Kernel, target: str, name: str) -> str:
    """The text of ``PyObject *name(self, args, count)``, which calls the kernel `target`."""
    arrays = len(kernel.roots) + len(kernel.stores)
    sizes = len(kernel.symbolic)
    lines = [
        f"define ptr @{name}(ptr %self, ptr %args, i64 %count) nounwind {{",
        "entry:",
        "  %ndarray = load i64, ptr @ndarray",
        f"  %arrays = alloca ptr, i64 {max(arrays, 1)}",
        f"  %sizes = alloca i64, i64 {max(sizes, 1)}",
    ]
    for k in range(arrays):
        lines += [
            f"  %a{k} = getelementptr ptr, ptr %args, i64 {k}",
            f"  %o{k} = load ptr, ptr %a{k}",
            f"  %t{k} = getelementptr i8, ptr %o{k}, i64 {TYPE}",
            f"  %u{k} = load i64, ptr %t{k}",
            f"  %v{k} = icmp eq i64 %u{k}, %ndarray",
            f"  br i1 %v{k}, label %array{k}, label %slow",
            f"array{k}:",
            f"  %f{k} = getelementptr i8, ptr %o{k}, i64 {FLAGS}",
            f"  %g{k} = load i32, ptr %f{k}",
            f"  %h{k} = and i32 %g{k}, {DENSE}",
            f"  %w{k} = icmp eq i32 %h{k}, {DENSE}",
            f"  br i1 %w{k}, label %dense{k}, label %slow",
            f"dense{k}:",
            f"  %d{k} = getelementptr i8, ptr %o{k}, i64 {DATA}",
            f"  %p{k} = load ptr, ptr %d{k}",
            f"  %q{k} = getelementptr ptr, ptr %arrays, i64 {k}",
            f"  store ptr %p{k}, ptr %q{k}",
        ]
    for k in range(sizes):
        lines += [
            f"  %sa{k} = getelementptr ptr, ptr %args, i64 {arrays + k}",
            f"  %so{k} = load ptr, ptr %sa{k}",
            f"  %sv{k} = call i64 @PyLong_AsLongLong(ptr %so{k})",
            f"  %sq{k} = getelementptr i64, ptr %sizes, i64 {k}",
            f"  store i64 %sv{k}, ptr %sq{k}",
        ]
    last = "1"
    division = Schedule(kernel).division
    if division is not None:
        extent = kernel.sizes[division.loop]
        last = str(extent) if isinstance(extent, int) else f"%sv{kernel.symbolic.index(extent)}"
        if division.width > 1:
            more = division.width - 1
            lines += [f"  %more = add i64 {last}, {more}", f"  %pieces = sdiv i64 %more, {division.width}"]
            last = "%pieces"
    lines += [
        f"  %status = call i32 @{target}(ptr %arrays, ptr %sizes, i64 0, i64 {last})",
        "  %none = load ptr, ptr @none",
        "  call void @Py_IncRef(ptr %none)",
        "  ret ptr %none",
        "slow:",
        # self is the Python function for everything else
        "  %other = call ptr @PyObject_Vectorcall(ptr %self, ptr %args, i64 %count, ptr null)",
        "  ret ptr %other",
        "}",
    ]
    return "\n".join(lines) + "\n"


# addresses that differ from process to process, filled in by `settle`, so that the code itself can be kept on disk
GLOBALS: Final = ("ndarray", "none")
DECLARATIONS: Final = (
    "@ndarray = global i64 0\n"
    "@none = global ptr null\n"
    "declare i64 @PyLong_AsLongLong(ptr)\n"
    "declare void @Py_IncRef(ptr)\n"
    "declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)\n"
)


def settle(addresses: Mapping[str, int]) -> None:
    """Tell freshly linked code where this process has NumPy's array type and None."""
    for name, value in (("ndarray", id(np.ndarray)), ("none", id(None))):
        ctypes.c_int64.from_address(addresses[name]).value = value


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def bind(address: int, slow: Any) -> Any:
    """The built-in function at an address; `slow` is its `self`, and what it calls when it cannot serve."""
    definition = _MethodDef(b"kernel", address, METH_FASTCALL, None)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    # the function refers to its definition for ever, and to `slow`, which keeps the definition and the code alive
    slow.definition = definition
    return make(ctypes.addressof(definition), slow, None)
