"""What a compiled function takes on the GPU: CuPy arrays as they are, those of other libraries without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.backends.cupy.library import cupy
from graphc.backends.numpy.arguments import InputSpec
from graphc.errors import DTypeError, ShapeError, UnsupportedError
from graphc.ir import DTYPE_NAMES, TensorType


class DeviceSpec(InputSpec):
    """What one argument must be; brings what fits to the GPU and refuses the rest by name."""

    def convert(self, value: Any) -> Any:
        """The value as a dense CuPy array of the input's dtype: only safe casts.

        Arrays that lie on the GPU are taken as they are, of any library that has DLPack or
        `__cuda_array_interface__`. NumPy arrays and numbers are copied there.
        """
        cp = cupy()
        array = value if isinstance(value, cp.ndarray) else on_device(cp, value)
        if array is None:
            return cp.asarray(np.ascontiguousarray(super().convert(value)).reshape(np.shape(value)))
        here = cp.cuda.runtime.getDevice()
        if array.nbytes and array.data.device_id != here:
            raise UnsupportedError(
                f"argument {self.name}: it lies on another GPU",
                expected=f"an array on device {here}, the current one",
                actual=f"an array on device {array.data.device_id}",
                fix=f"{self.name}.copy() copies it here; or call the function in `with cupy.cuda.Device(...)`",
            )
        want = self.type
        if array.dtype != want.dtype:
            if not np.can_cast(array.dtype, want.dtype, "safe"):
                known = array.dtype in DTYPE_NAMES
                raise DTypeError(
                    f"argument {self.name}: no safe cast from {array.dtype} to {want.dtype}",
                    expected=f"{want!r}",
                    actual=repr(TensorType(array.shape, array.dtype)) if known else f"an array of {array.dtype}",
                    fix=self._fix(array.dtype),
                )
            array = array.astype(want.dtype)
        if array.ndim != want.ndim or any(
            isinstance(d, int) and d != s for d, s in zip(want.shape, array.shape, strict=True)
        ):
            raise ShapeError(
                f"argument {self.name}: wrong shape",
                expected=repr(want),
                actual=repr(TensorType(array.shape, array.dtype)),
                fix="pass an array of this shape, or compile for other sizes: a name such as n stands for any",
            )
        return array if array.flags.c_contiguous else array.copy(order="C")


def on_device(cp: Any, value: Any) -> Any:
    """An array of another library that lies on the GPU, as a CuPy array of the same memory; None for anything else."""
    if isinstance(value, (np.ndarray, np.generic, bool, int, float)):
        return None
    kind = getattr(value, "__dlpack_device__", None)
    if kind is not None:
        # 2 is CUDA, 13 memory that CUDA manages
        return cp.from_dlpack(value) if kind()[0] in (2, 13) else None
    return cp.asarray(value) if hasattr(value, "__cuda_array_interface__") else None
