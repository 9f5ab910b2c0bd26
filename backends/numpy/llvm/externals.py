"""What machine code refers to in this process: types and functions of CPython, of NumPy and of the BLAS.

Their addresses differ from process to process, while code is kept on disk. So code reads them from words of its own,
one for each name that it uses, which are filled in when it is loaded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

import numpy as np

from graphc.backends.numpy.llvm.pool import pool
from graphc.kernels import KERNEL_DTYPES
from graphc.ops.scipy_modules import alone

# Of NumPy's C interface, the table that C extensions get from `import_array`. Its slots are fixed by NumPy's ABI; see
# "Array API" and "Memory management" in NumPy's C-API reference, and numpy/_core/code_generators/numpy_api.py.
ABI: Final = 0x02000000
ARRAY_API: Final = {
    "PyArray_GetNDArrayCVersion": 0,
    "PyArray_Scalar": 60,
    "PyArray_New": 93,
    "PyDataMem_GetHandler": 305,
}

BLAS: Final = "scipy.linalg.cython_blas"


def capsule_pointer(capsule: Any, name: bytes | None = None) -> int:
    """What a capsule holds."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype = ctypes.c_void_p
    get.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return int(get(capsule, name))


@lru_cache(maxsize=1)
def array_api() -> Any:
    """NumPy's table of functions; None where NumPy's ABI is not the one known here."""
    module = import_module("numpy._core._multiarray_umath")
    table = ctypes.cast(capsule_pointer(module._ARRAY_API), ctypes.POINTER(ctypes.c_void_p))
    version = ctypes.CFUNCTYPE(ctypes.c_uint)(table[ARRAY_API["PyArray_GetNDArrayCVersion"]])()
    return table if version == ABI else None


def handler() -> int:
    """The object that stands for the functions by which NumPy's arrays get their memory, here and now."""
    get = ctypes.PYFUNCTYPE(ctypes.py_object)(array_api()[ARRAY_API["PyDataMem_GetHandler"]])
    return id(get())


@lru_cache(maxsize=8)
def blas(name: str) -> int:
    """The address of a BLAS routine, with the arguments of the Fortran one, all by reference.

    SciPy offers it to C code; see "scipy.linalg.cython_blas" in SciPy's documentation.
    """
    capsule = alone(BLAS).__pyx_capi__[name]
    get = ctypes.pythonapi.PyCapsule_GetName
    get.restype = ctypes.c_char_p
    get.argtypes = [ctypes.py_object]
    return capsule_pointer(capsule, get(capsule))


def dtype_name(dtype: np.dtype[Any]) -> str:
    """How the names of a dtype's descriptor and scalar type end.

    >>> dtype_name(np.dtype(np.float32))
    'f4'
    """
    return dtype.str[1:]


OBJECTS: Final[Mapping[str, object]] = {
    "none": None,
    "ndarray": np.ndarray,
    "float": float,
    "int": int,
    **{f"descr_{dtype_name(d)}": d for d in KERNEL_DTYPES},
    **{f"scalar_{dtype_name(d)}": d.type for d in KERNEL_DTYPES},
}
FUNCTIONS: Final = {
    "new_array": "PyArray_New",
    "new_scalar": "PyArray_Scalar",
}
ROUTINES: Final = ("sgemm", "dgemm", "ssyrk", "dsyrk")
PARALLEL: Final = "parallel"  # what runs a kernel on several threads


def address(name: str) -> int:
    """Where something that code may refer to is in this process."""
    if name in OBJECTS:
        return id(OBJECTS[name])
    if name == PARALLEL:
        return pool().address
    return blas(name) if name in ROUTINES else int(array_api()[ARRAY_API[FUNCTIONS[name]]])


def referred(entries: Iterable[str]) -> list[str]:
    """The words that entries of kernels read."""
    shared = any(f"@{PARALLEL}" in text for text in entries)
    return ["ndarray", "none", *([PARALLEL] if shared else [])]


def defined(text: str) -> list[str]:
    """The words that the module of some kernels has of its own."""
    return [PARALLEL] if f"@{PARALLEL} = global" in text else []


def declarations(names: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
    """The words in LLVM's text; those `elsewhere` lie in another module."""
    return "".join(f"@{name} = {'external global i64' if name in elsewhere else 'global i64 0'}\n" for name in names)


def settle(addresses: Mapping[str, int]) -> None:
    """Fill in the words of code that was just loaded; `addresses` says where they are."""
    for name, at in addresses.items():
        if name in OBJECTS or name in FUNCTIONS or name in ROUTINES or name == PARALLEL:
            ctypes.c_int64.from_address(at).value = address(name)
