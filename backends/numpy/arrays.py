"""The arguments of a kernel: dense arrays, whatever was given."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphc.kernels import Kernel

Array = np.ndarray[Any, Any]

LARGE: Final = 1 << 16  # bytes of an array: the C library gives freed memory of more back to the system


class Arguments:
    """What a kernel is called with: arrays to read, arrays for the results, sizes.

    dense: the arrays, or dense stand-ins; `write_back` copies stand-ins of results to where they belong.
    """

    __slots__ = ("dense", "results", "sizes")

    def __init__(self, kernel: Kernel, args: tuple[Any, ...]) -> None:
        reads = len(kernel.roots)
        count = reads + len(kernel.nodes)
        self.sizes: tuple[int, ...] = args[count:]
        self.results = args[reads:count]
        stand_ins: dict[int, Array] = {}
        for a in args[:count]:
            # a result that overwrites an operand is the same array, and gets the same stand-in
            if id(a) not in stand_ins:
                stand_ins[id(a)] = a if _is_dense(a) else np.array(a, order="C")
        self.dense = [stand_ins[id(a)] for a in args[:count]]

    def write_back(self) -> None:
        for given, used in zip(self.results, self.dense[len(self.dense) - len(self.results) :], strict=True):
            if used is not given:
                given[...] = used


def _is_dense(array: Any) -> bool:
    return type(array) is np.ndarray and array.flags.c_contiguous and array.flags.aligned
