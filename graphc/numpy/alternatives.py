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
    "nanargmax": "np.argmax(np.where(np.isnan(x), -np.inf, x)), which raises nothing where all are NaN",
    "nanargmin": "np.argmin(np.where(np.isnan(x), np.inf, x)), which raises nothing where all are NaN",
    "nanmedian": "np.median, of rows without NaN",
    "nanquantile": "np.quantile, of rows without NaN",
    "nanpercentile": "np.percentile, of rows without NaN",
    "array_equiv": "np.all(a == b)",
    "partition": "np.sort(x), which orders every element",
    "argpartition": "np.argsort(x), which orders every element",
    "lexsort": "np.argsort of one key, with stable=True, from the last key to the first",
    "maximum.accumulate": "np.maximum of slices, or np.max",
    "minimum.accumulate": "np.minimum of slices, or np.min",
    "nextafter": "no function of exact numbers; call it on the arrays before the trace",
    "spacing": "no function of exact numbers; call it on the arrays before the trace",
    "frexp": "np.floor(np.log2(np.absolute(x))) + 1 is the exponent, but for rounding near powers of 2",
    "histogram": "np.searchsorted(edges, x) gives the bin of each element",
    "bincount": "np.sum(x[:, None] == np.arange(n), axis=0)",
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
