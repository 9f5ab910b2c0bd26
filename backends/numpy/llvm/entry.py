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
from typing import Any, Final

import numpy as np

from graphc.backends.numpy.llvm.externals import PARALLEL, array_api, handler
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.backends.numpy.llvm.work import SHARED, Work
from graphc.kernels import KERNEL_DTYPES, Kernel

HEAD: Final = object.__basicsize__
DATA, RANK, DIMS, DESCR, FLAGS, HANDLER = HEAD, HEAD + 8, HEAD + 16, HEAD + 40, HEAD + 48, HEAD + 72
VALUE: Final = HEAD  # of a scalar: NumPy's, and Python's float
TYPE: Final = 8  # of ob_type in the header
DENSE: Final = 0x0001 | 0x0100  # NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED
OWNDATA: Final = 0x0004  # NPY_ARRAY_OWNDATA
METH_FASTCALL: Final = 0x0080
METH_KEYWORDS: Final = 0x0002
PARAMETERS: Final = "ptr %self, ptr %args, i64 %count, ptr %names"  # the last one null, or the keywords' names


def _layout_is_known() -> bool:
    """Whether an array's fields lie where this module expects them."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    if array_api() is None:
        return False
    for probe in (np.arange(6.0).reshape(2, 3), np.arange(6, dtype=np.int32).reshape(2, 3).T, np.empty(6)):
        at = id(probe)

        def read(kind: Any, offset: int, at: int = at) -> Any:
            return kind.from_address(at + offset).value

        dense = read(ctypes.c_int32, FLAGS) & DENSE == DENSE
        sizes = (ctypes.c_int64 * probe.ndim).from_address(read(ctypes.c_int64, DIMS))
        known = (
            read(ctypes.c_int64, TYPE) == id(np.ndarray)
            and tuple(sizes) == probe.shape
            and read(ctypes.c_int64, DATA) == probe.ctypes.data
            and read(ctypes.c_int32, RANK) == probe.ndim
            and read(ctypes.c_int64, DESCR) == id(probe.dtype)
            and dense == (probe.flags.c_contiguous and probe.flags.aligned)
            and bool(read(ctypes.c_int32, FLAGS) & OWNDATA) == probe.flags.owndata
            and read(ctypes.c_int64, HANDLER) == (handler() if probe.flags.owndata else 0)
        )
        if not known:
            return False
    numbers = (1.5, np.float64(1.5), *(dtype.type(1) for dtype in KERNEL_DTYPES))
    for number in numbers:
        kind = np.asarray(number).dtype
        stored = ctypes.string_at(id(number) + VALUE, kind.itemsize)
        if stored != np.asarray(number).tobytes():
            return False
    return True


SUPPORTED: Final = _layout_is_known()


def function(kernel: Kernel, target: str, name: str) -> str:
    """The text of ``PyObject *name(self, args, count, names)``, which calls the kernel `target`."""
    arrays = len(kernel.roots) + len(kernel.nodes)
    sizes = len(kernel.symbolic)
    lines = [
        f"define ptr @{name}({PARAMETERS}) nounwind {{",
        "entry:",
        f"  %arrays = alloca ptr, i64 {arrays + 1}",
        f"  %sizes = alloca i64, i64 {max(sizes, 1)}",
        f"  %enough = icmp eq i64 %count, {arrays + sizes}",
        "  %nameless = icmp eq ptr %names, null",
        "  %given = and i1 %enough, %nameless",
        "  br i1 %given, label %start, label %slow",
        "start:",
        f"  %fits = call i1 @take_arrays(ptr %args, i64 {arrays}, ptr %arrays)",
        "  br i1 %fits, label %dense, label %slow",
        "dense:",
    ]
    for k in range(sizes):
        lines += [
            f"  %sa{k} = getelementptr ptr, ptr %args, i64 {arrays + k}",
            f"  %so{k} = load ptr, ptr %sa{k}",
            f"  %sv{k} = call i64 @PyLong_AsLongLong(ptr %so{k})",
            f"  %sq{k} = getelementptr i64, ptr %sizes, i64 {k}",
            f"  store i64 %sv{k}, ptr %sq{k}",
        ]
    schedule = Schedule(kernel)
    last = "1"
    division = schedule.division
    if division is not None:
        extent = kernel.sizes[division.loop]
        last = str(extent) if isinstance(extent, int) else f"%sv{kernel.symbolic.index(extent)}"
        if division.width > 1:
            more = division.width - 1
            lines += [f"  %more = add i64 {last}, {more}", f"  %pieces = sdiv i64 %more, {division.width}"]
            last = "%pieces"
    if division is not None and schedule.shared:
        work = Work.of(kernel)
        lines.append(f"  %work0 = fadd double {work.each:e}, 0.0")
        for k, size in enumerate(work.sizes):
            lines += [
                f"  %factor{k} = sitofp i64 %sv{kernel.symbolic.index(size)} to double",
                f"  %work{k + 1} = fmul double %work{k}, %factor{k}",
            ]
        total = f"%work{len(work.sizes)}"
        lines += [
            f"  %much = fcmp oge double {total}, {SHARED:e}",
            "  br i1 %much, label %some, label %one",
            "some:",
            f"  %parallel = load ptr, ptr @{PARALLEL}",
            f"  %shared = call i32 %parallel(ptr @{target}, ptr %arrays, ptr %sizes, i64 {last}, double {total}, "
            f"i64 {division.step})",
            "  br label %end",
        ]
    else:
        lines.append("  br label %one")
    lines += [
        "one:",
        f"  %status = call i32 @{target}(ptr %arrays, ptr %sizes, i64 0, i64 {last})",
        "  %fine = icmp eq i32 %status, 0",
        "  br i1 %fine, label %end, label %lacking",
        "lacking:",
        "  %nothing = call ptr @PyErr_NoMemory()",
        "  ret ptr null",
        "end:",
        "  %none = load ptr, ptr @none",
        "  call void @Py_IncRef(ptr %none)",
        "  ret ptr %none",
        "slow:",
        # self is the Python function for everything else
        "  %other = call ptr @PyObject_Vectorcall(ptr %self, ptr %args, i64 %count, ptr %names)",
        "  ret ptr %other",
        "}",
    ]
    return "\n".join(lines) + "\n"


# `take_arrays(args, count, to)`: whether so many arguments are plain dense arrays, whose data pointers it takes.
PRELUDE: Final = f"""
declare i64 @PyLong_AsLongLong(ptr)
declare void @Py_IncRef(ptr)
declare ptr @PyErr_NoMemory()
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
define internal i1 @take_arrays(ptr %args, i64 %count, ptr %to) nounwind {{
entry:
  %ndarray = load i64, ptr @ndarray
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %next, %dense ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %inside, label %done
inside:
  %place = getelementptr ptr, ptr %args, i64 %k
  %object = load ptr, ptr %place
  %kind_at = getelementptr i8, ptr %object, i64 {TYPE}
  %kind = load i64, ptr %kind_at
  %plain = icmp eq i64 %kind, %ndarray
  br i1 %plain, label %array, label %wrong
array:
  %flags_at = getelementptr i8, ptr %object, i64 {FLAGS}
  %flags = load i32, ptr %flags_at
  %masked = and i32 %flags, {DENSE}
  %fits = icmp eq i32 %masked, {DENSE}
  br i1 %fits, label %dense, label %wrong
dense:
  %data_at = getelementptr i8, ptr %object, i64 {DATA}
  %data = load ptr, ptr %data_at
  %goal = getelementptr ptr, ptr %to, i64 %k
  store ptr %data, ptr %goal
  %next = add i64 %k, 1
  br label %head
done:
  ret i1 true
wrong:
  ret i1 false
}}
"""


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def builtin(address: int, owner: Any) -> Any:
    """The built-in function at an address. `owner` is its `self`, and is given its definition to keep."""
    definition = _MethodDef(b"graphc", address, METH_FASTCALL | METH_KEYWORDS, None)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    # the function refers to its definition for ever, and to its owner, which keeps the definition and the code alive
    owner.definition = definition
    return make(ctypes.addressof(definition), owner, None)
