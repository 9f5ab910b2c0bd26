"""Functions of the CUDA kernels that are not CUDA's own: their largest errors, by emulation, against exact values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.backends.numpy.llvm.emit import F32, F64
from graphc.ir import TensorType
from graphc.ops import TABLE
from tests.cuda_emulation import COMPILER, Emulator
from tests.test_cuda_kernels import op_case
from tests.test_kernels import one_node
from tests.vector_functions import ROWS, reference

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: install g++, or set CXX"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

Array = np.ndarray[Any, Any]
POINTS = 4000
# (function, dtype, largest error in units in the last place)
STATED = [("erfc", F32, 2.3), ("erfc", F64, 2.3), ("exp", F64, 1.0)]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e300, -1e300, 708.5, -708.5, 709.9, -744.5, -746.0, 27.3, 27.2, 26.6]


def computed(name: str, x: Array, folder: Path, flags: Sequence[str] = ()) -> Array:
    """What the kernel of one op gives."""
    graph = one_node(TABLE[name], [TensorType(x.shape, x.dtype)], {})
    case = op_case(graph, [x])
    return case.run(Emulator(case.texts, folder, flags))[graph.outputs[0]]


@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize(("name", "dtype", "ulps"), STATED)
def test_errors_are_as_stated(name: str, dtype: Any, ulps: float, off: int, tmp_path: Path) -> None:
    """Whatever the processor's inverse is off by."""
    if off and dtype == F64:
        pytest.skip("the inverse has 20 bits in any case")
    (x,), exact = reference(name, dtype, POINTS)
    found = computed(name, x, tmp_path, [f"-DINVERSE_OFF_BY={off}"])
    distances = exact.distances(found)
    worst = int(np.argmax(distances))
    assert distances[worst] <= ulps, (x[worst], found[worst], distances[worst])


@pytest.mark.parametrize(("name", "dtype", "ulps"), STATED)
def test_special_values(name: str, dtype: Any, ulps: float, tmp_path: Path) -> None:
    with np.errstate(all="ignore"):
        x = np.array(SPECIAL, dtype)
        expected = ROWS[name].numpy(x)
    found = computed(name, x, tmp_path)
    np.testing.assert_array_max_ulp(found[np.isfinite(expected)], expected[np.isfinite(expected)], 3)
    np.testing.assert_array_equal(found[~np.isfinite(expected)], expected[~np.isfinite(expected)])
