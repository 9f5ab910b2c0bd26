"""A copy that goes past the cache, which no function of NumPy or of every C library is.

To write to a line of the cache, a processor reads it first; streaming stores do not, so a limit measured without them
is none for programs that use them.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from graphc.backends.numpy.llvm.machine import BUSY, Library, assemble, host, link

BLOCK = 256
"""Bytes that are read, then written."""

COPY = f"""
define void @copy(ptr %target, ptr %source, i64 %nbytes) nounwind {{
entry:
  br label %head
head:
  %at = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %at, %nbytes
  br i1 %more, label %body, label %after
body:
  %from = getelementptr i8, ptr %source, i64 %at
  %to = getelementptr i8, ptr %target, i64 %at
  %block = load <{BLOCK // 8} x i64>, ptr %from, align 64
  store <{BLOCK // 8} x i64> %block, ptr %to, align 64, !nontemporal !{{i32 1}}
  %next = add i64 %at, {BLOCK}
  br label %head
after:
  fence seq_cst
  ret void
}}
"""


def available() -> bool:
    """Whether LLVM is there to make the copy, and the processor has such stores."""
    return importlib.util.find_spec("llvmlite") is not None and host().features_used.streaming


@lru_cache(maxsize=1)
def _library() -> Library:
    return link([assemble(COPY, host(), BUSY)], ["copy"])


def copy_of(nbytes: int) -> Callable[[], object]:
    """What copies as many bytes, rounded up to whole blocks, between two arrays whose pages are there already.

    >>> copy = copy_of(1000)
    >>> copy()
    """
    whole = -(-nbytes // BLOCK) * BLOCK
    source, target = (_aligned(whole) for _ in range(2))
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(_library().addresses["copy"])

    def copy() -> None:
        function(target.ctypes.data, source.ctypes.data, whole)

    return copy


def _aligned(nbytes: int) -> np.ndarray[Any, Any]:
    """An array that begins with a line of the cache."""
    memory = np.ones(nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + nbytes]
