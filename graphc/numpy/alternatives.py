"""What to write in place of a NumPy function that cannot be traced."""

from __future__ import annotations

from typing import Final

# The text stands in the error that refuses the function; every np.name in it can be traced, which a test checks.
ALTERNATIVES: Final[dict[str, str]] = {
    "nonzero": "the size of its result depends on values; select by mask: np.where(mask, x, 0)",
    "argwhere": "the size of its result depends on values; select by mask: np.where(mask, x, 0)",
    "flatnonzero": "the size of its result depends on values; select by mask: np.where(mask, x, 0)",
    "unique": "the size of its result depends on values; call it on the arrays before the trace",
    "extract": "the size of its result depends on values; select by mask: np.where(mask, x, 0)",
    "compress": "the size of its result depends on values; select by mask: np.where(mask, x, 0)",
    "count_nonzero": "np.sum(x != 0)",
    "nansum": "np.sum(np.where(np.isnan(x), 0, x))",
    "nanmean": "np.sum(np.where(np.isnan(x), 0, x)) / np.sum(np.isfinite(x))",
    "nanmax": "np.max(np.where(np.isnan(x), -np.inf, x))",
    "nanmin": "np.min(np.where(np.isnan(x), np.inf, x))",
    "average": "np.sum(w * x) / np.sum(w)",
    "ptp": "np.max(x) - np.min(x)",
    "allclose": "np.all(np.absolute(a - b) <= 1e-8 + 1e-5 * np.absolute(b))",
    "isclose": "np.absolute(a - b) <= 1e-8 + 1e-5 * np.absolute(b)",
    "array_equal": "np.all(a == b)",
    "vectorize": "write the function with NumPy's own functions, which take whole arrays",
    "apply_along_axis": "functions that take an axis, such as np.sum(x, axis=0)",
    "linalg.inv": "np.linalg.solve, which need not form the inverse",
    "put": "np.where(mask, new, x)",
    "place": "np.where(mask, new, x)",
    "copyto": "np.where(mask, new, x)",
    "fill_diagonal": "np.where(mask, new, x), with the mask made by NumPy before the trace",
    "save": "return the array and save it outside",
    "savez": "return the arrays and save them outside",
    "savetxt": "return the array and save it outside",
    "array2string": "return the array and print it outside",
    "array_repr": "return the array and print it outside",
    "array_str": "return the array and print it outside",
}
