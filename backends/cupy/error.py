"""The complementary error function on a GPU, where every lane pays for every branch: one formula for all arguments.

It is that of the CPU's kernels far from 0, `graphc.backends.numpy.llvm.functions.error`, without the one near 0.
"""

from __future__ import annotations

from typing import Final

from graphc.backends.cupy.emit import CudaEmitter
from graphc.backends.numpy.llvm.emit import F32, F64, Value
from graphc.backends.numpy.llvm.functions.error import ERFC_HIGHEST, scaled
from graphc.backends.numpy.llvm.functions.exponential import expm1_near, power_of_two, reduce
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.functions.pairs import two_product

# powers of two are taken so much larger that they are normal numbers down to where erfc is 0
RAISED: Final = {F32: 64, F64: 512}


def erfc(e: CudaEmitter, x: Value) -> Value:
    size = e.at_most(ERFC_HIGHEST[x.dtype], e.abs(x))
    square, rest = two_product(e, size, size)
    y, lost = scaled(e, size, clipped=True)
    raised = RAISED[x.dtype]
    r, n = reduce(e, -square, format_of(x).bias + raised)
    y = y + e.fma(expm1_near(e, r - rest), y, lost)
    far = y * power_of_two(e, n, x) * 2.0**-raised
    return e.select(x < 0, 2.0 - far, far)
