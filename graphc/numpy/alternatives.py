"""What cannot be traced, by subject: what to write in its place, or what is missing for it.

The texts stand in the errors that refuse these functions and in docs/numpy-support.md. Every np.name in them can be
traced, which a test checks; a test also finds every public function of NumPy here or among those that can be traced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SIZE: Final = "the size of its result depends on values"
IN_PLACE: Final = "which gives a new array"
BEFORE: Final = "call it on the array before the trace"
TEXT: Final = "return the array and make text of it outside"
SAVED: Final = "return the array and save it outside"
LOADED: Final = "load the array before the trace and pass it in"
MEMORY: Final = "a traced value has no memory until the graph runs"
SET: Final = f"{SIZE}; {BEFORE}"
COMPLEX: Final = "complex numbers cannot be traced yet; compute with real and imaginary parts"
EIGEN: Final = "eigenvalues may be complex, which cannot be traced yet; of symmetric matrices: np.linalg.eigh"
RANK: Final = "the size of its second result depends on the rank"
DATES: Final = "dates cannot be traced"


@dataclass(frozen=True, slots=True)
class Refused:
    """The functions of one subject that cannot be traced: what to write instead, and what may come."""

    instead: Mapping[str, str] = field(default_factory=dict)
    not_yet: Mapping[str, str] = field(default_factory=dict)


def _all(names: str, text: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), text)


REFUSED: Final[dict[str, Refused]] = {
    "Searching and sorting": Refused(
        {
            **_all("argwhere flatnonzero nonzero", f"{SIZE}; select by mask: np.where(mask, x, 0)"),
            "sort_complex": "np.sort: its result would be complex",
        }
    ),
    "Sets": Refused(
        {
            **_all("unique unique_all unique_counts unique_inverse unique_values", SET),
            **_all("intersect1d setdiff1d setxor1d union1d", f"{SIZE}; np.isin tells which elements another array has"),
            "trim_zeros": SET,
        }
    ),
    "Floating point": Refused(
        {
            "nextafter": f"it is no function of exact numbers; {BEFORE}",
            "spacing": f"it is no function of exact numbers; {BEFORE}",
            "asarray_chkfinite": "graphc.numpy.asarray: whether values are finite is known only when the graph runs",
        }
    ),
    "Polynomials": Refused(
        {"polydiv": f"{SIZE}; np.polymul and np.polysub, if the quotient is known"},
        {
            "roots": "roots may be complex, which cannot be traced yet",
        },
    ),
    "Linear algebra": Refused(
        {"linalg.lstsq": f"{RANK}; np.linalg.pinv(a) @ b is its first result"},
        _all("linalg.eig linalg.eigvals", EIGEN),
    ),
    "Fourier transforms": Refused(
        not_yet=_all(
            "fft.fft fft.fft2 fft.fftn fft.hfft fft.ifft fft.ifft2 fft.ifftn fft.ihfft fft.irfft fft.irfft2 fft.irfftn "
            "fft.rfft fft.rfft2 fft.rfftn",
            COMPLEX,
        )
    ),
    "Arrays and iterators of other kinds": Refused(
        {
            **_all("asmatrix bmat matrix", "np.atleast_2d and @: matrices of their own class cannot be traced"),
            "broadcast": "np.broadcast_arrays, or np.broadcast_shapes",
            **_all("nditer nested_iters flatiter", "a loop over x.ravel(), or a function of whole arrays"),
            "ndenumerate": "for i in np.ndindex(x.shape): x[i]",
            "poly1d": "np.polyval, np.polymul and their kin on arrays of coefficients",
            **_all("chararray recarray record memmap", BEFORE),
            "frompyfunc": "graphc.numpy.vectorize, or a function written with NumPy's own, which take whole arrays",
            "vectorize": "graphc.numpy.vectorize, or a function written with NumPy's own, which take whole arrays",
            "lib.stride_tricks.as_strided": f"{MEMORY}; np.lib.stride_tricks.sliding_window_view, or indexing",
        }
    ),
    "Files and text": Refused(
        {
            **_all("array2string array_repr array_str", TEXT),
            **_all("base_repr binary_repr format_float_positional format_float_scientific", TEXT),
            **_all("save savetxt savez savez_compressed", SAVED),
            **_all("frombuffer fromfile fromregex fromstring genfromtxt load loadtxt", LOADED),
            "fromiter": "graphc.numpy.array(list(...))",
            "from_dlpack": LOADED,
        }
    ),
    "Memory": Refused(
        {
            **_all("may_share_memory shares_memory", f"{MEMORY}; x.copy() shares none"),
            "isfortran": f"{MEMORY}; np.asfortranarray(x) lies as in Fortran",
        }
    ),
    "Dates": Refused(
        _all("busday_count busday_offset busdaycalendar datetime_as_string datetime_data is_busday isnat", DATES)
    ),
    "Complex results": Refused(
        {
            "emath.arccos": "np.arccos, for -1 <= x <= 1",
            "emath.arcsin": "np.arcsin, for -1 <= x <= 1",
            "emath.arctanh": "np.arctanh, for -1 < x < 1",
            "emath.log": "np.log, for x > 0",
            "emath.log10": "np.log10, for x > 0",
            "emath.log2": "np.log2, for x > 0",
            "emath.logn": "np.log(x) / np.log(n), for x > 0",
            "emath.power": "np.power, for x > 0",
            "emath.sqrt": "np.sqrt, for x >= 0",
        }
    ),
}

# Functions and classes of NumPy's own that traced code may call as they are: on types, sizes and settings, or on
# traced values that they only look at.
PLAIN: Final[dict[str, tuple[str, ...]]] = {
    "Questions about types": (
        *("finfo", "iinfo", "isdtype", "isscalar", "issubdtype", "iterable"),
        *("mintypecode", "promote_types", "typename", "dtype", "ndarray", "ufunc"),
    ),
    "Positions": ("diag_indices", "mask_indices", "ndindex", "tril_indices", "triu_indices"),
    "Frequencies": ("fft.fftfreq", "fft.rfftfreq"),
    "Settings and information": (
        *("errstate", "geterr", "geterrcall", "seterr", "seterrcall", "getbufsize", "setbufsize"),
        *("get_printoptions", "printoptions", "set_printoptions"),
        *("linalg.LinAlgError", "get_include", "info", "show_config", "show_runtime"),
        *("test", "linalg.test", "fft.test"),
    ),
}

# What holds for everything in a module that the tables above do not name.
MODULES: Final[dict[str, str]] = {
    "char": "numbers, not text: text cannot be traced",
    "strings": "numbers, not text: text cannot be traced",
    "ma": "a mask as an array of its own: np.where(mask, x, 0); or np.nansum and its kin, which pass over NaN",
    "random": "draw before the call and pass the array in",
    "rec": BEFORE,
    "polynomial": "np.polyval and its kin; a polynomial whose coefficients are known can be called on traced values",
    "lib": BEFORE,
    "testing": "compare the results of the compiled function",
    "ctypeslib": MEMORY,
    "fft": COMPLEX,
    "emath": "the real function of that name, inside its domain",
}

# Methods and attributes of arrays.
METHODS: Final[Refused] = Refused(
    {
        "base": f"{MEMORY}; x.copy() is a view of nothing",
        "byteswap": f"{MEMORY}; swap the bytes of the array before the trace",
        "ctypes": MEMORY,
        "data": MEMORY,
        "dump": SAVED,
        "dumps": SAVED,
        "flags": f"{MEMORY}; np.ascontiguousarray(x) lies as in C",
        "getfield": "x.astype(dtype) converts values",
        "item": "compute with the traced value itself; or make the argument static",
        "itemset": f"x = x.at[index].set(value), {IN_PLACE}",
        "newbyteorder": "swap the bytes of the array before the trace",
        "nonzero": f"{SIZE}; select by mask: np.where(mask, x, 0)",
        "ptp": "np.ptp(x)",
        "resize": f"np.resize(x, shape), {IN_PLACE}",
        "setfield": f"x = x.at[...].set(values), {IN_PLACE}",
        "setflags": f"{MEMORY}; np.broadcast_to(x, x.shape) is read-only",
        "strides": f"{MEMORY}; np.lib.stride_tricks.sliding_window_view shows windows",
        "tobytes": SAVED,
        "tofile": SAVED,
        "tostring": SAVED,
        "tolist": "list(x), a list of traced values; or return the array",
        "view": "x.astype(dtype) converts values; x.reshape(shape) changes the shape",
    }
)


def advice(name: str) -> str | None:
    """What to write in place of a function of NumPy's, or what is missing for it; None if no table names it."""
    for refused in REFUSED.values():
        if name in refused.instead:
            return refused.instead[name]
        if name in refused.not_yet:
            return f"{refused.not_yet[name]}; or call it on plain arrays before the trace"
    return MODULES.get(name.partition(".")[0]) if "." in name else None


def is_method(name: str) -> bool:
    """Whether arrays have, or in some version of NumPy had, this attribute."""
    return name in METHODS.instead


def method_advice(name: str) -> str:
    """What to write in place of a method or attribute of arrays."""
    return METHODS.instead.get(name, "a function of graphc.numpy")
