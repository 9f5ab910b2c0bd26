"""`x[mask]` of a traced mask: elements of which the number is known only when the graph runs.

An array of them would have no shape. What can be said of all of them at once can be traced, by computing with all
elements of `x` and keeping the mask: elementwise functions, sums and means, and assignment back to where the same mask
holds, as in `y[mask] += 1` and `y[mask] = np.log(x[mask])`.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from graphc.errors import DTypeError, IndexingError, ShapeError, UnsupportedError
from graphc.numpy.dispatch import FUNCTIONS
from graphc.ops.typing import show
from graphc.tracing import Traced, snapshot, user_locs

ELEMENTWISE: Final = frozenset(
    {np.where, np.clip, np.round, np.around, np.nan_to_num, np.sinc, np.i0, np.copy, np.astype, np.real, np.isclose}
    | {np.zeros_like, np.ones_like, np.full_like, np.empty_like}
)
REDUCTIONS: Final = frozenset({np.sum, np.prod, np.mean, np.var, np.std, np.any, np.all})


def check_mask(x: Traced, mask: Traced, axis: int = 0) -> None:
    """Raise IndexingError unless the mask fits the axes of an array from `axis` on."""
    lead = x.type.shape[axis : axis + mask.ndim]
    fits = mask.ndim == len(lead) and all(x.world.facts.equal(a, b) for a, b in zip(mask.type.shape, lead, strict=True))
    if not fits:
        raise IndexingError(
            "a boolean index did not match the axes it indexes",
            expected=f"a mask of shape {show(lead)}",
            actual=show(mask.type.shape),
            fix="make the mask from an array of that shape",
        )


def over(mask: Traced, extra: int) -> Any:
    """The mask with axes of size 1 for those behind it that it leaves whole."""
    return mask.world.reshape(mask, shape=(*mask.type.shape, *(1,) * extra)) if extra else mask


class Marked(NDArrayOperatorsMixin):
    """The elements of an array where a traced mask holds, one after the other."""

    __slots__ = ("full", "mask")

    def __init__(self, full: Any, mask: Traced) -> None:
        self.full = snapshot(full)
        self.mask = snapshot(mask)

    def __repr__(self) -> str:
        return f"<elements of a traced {self.full.type} where a mask holds>"

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.full.type.dtype

    @property
    def ndim(self) -> int:
        return int(self.full.ndim - self.mask.ndim + 1)

    def under(self, mask: Traced) -> Any:
        """All elements, of which those count where the mask holds; UnsupportedError if it is not this one's mask."""
        if mask.world is not self.mask.world or mask.id != self.mask.id:
            raise UnsupportedError(
                "elements under one mask are used with those of another: how many each has is known only when the "
                "graph runs",
                expected="elements under one and the same mask",
                actual="two masks",
                loc=_here(),
                fix="np.where(mask, x, 0) keeps the shape",
            )
        return self.full

    def _operand(self, value: Any) -> Any:
        """Another operand of an elementwise function, for all elements at once."""
        if isinstance(value, Marked):
            full = value.under(self.mask)
            if value.ndim == self.ndim:
                return full
        rest = self.ndim - 1
        shape = value.type.shape if isinstance(value, Traced) else np.shape(value)
        if isinstance(value, Marked) or len(shape) > rest + 1 or (len(shape) == rest + 1 and shape[0] != 1):
            raise ShapeError(
                "an operand would have to be counted against the elements that a mask marks",
                expected=f"a number, or an array of at most {rest} axes" if rest else "a number",
                actual=f"an array of {len(shape)} axes",
                loc=_here(),
                fix="index it with the same mask: values[mask]",
            )
        return value[0] if len(shape) == rest + 1 else value

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        if method != "__call__" or ufunc.signature is not None or kwargs or ufunc not in FUNCTIONS:
            _refuse(f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}"))
        first = next(x for x in inputs if isinstance(x, Marked))
        result = FUNCTIONS[ufunc](*(first._operand(x) for x in inputs))
        if out is None:
            return self._like(result)
        if len(out) != 1 or out[0] is not self:
            _refuse(f"np.{ufunc.__name__} with out=")
        if not np.can_cast(result.type.dtype, self.dtype, "same_kind"):
            raise DTypeError(
                f"np.{ufunc.__name__}: a result of dtype {result.type.dtype} cannot be stored among {self.dtype}",
                expected=f"a result that can be cast to {self.dtype}",
                actual=str(result.type.dtype),
                loc=_here(),
            )
        self.full = result.world.convert(result, self.dtype)
        return self

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in ELEMENTWISE:
            return self._like(FUNCTIONS[function](*map(self._argument, args), **kwargs))
        if function in REDUCTIONS and args[:1] == (self,):
            return self._reduced(function, *args[1:], **kwargs)
        return _refuse(f"np.{function.__name__}")

    def _argument(self, value: Any) -> Any:
        return self._operand(value) if isinstance(value, (Marked, Traced, np.ndarray)) else value

    def _like(self, result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(self._like(r) for r in result)
        # a function of numbers alone gives one number for all elements
        full = (
            result if result.ndim >= self.mask.ndim else result.world.broadcast_to(result, shape=self.full.type.shape)
        )
        return Marked(full, self.mask)

    def _reduced(self, function: Any, axis: Any = None, dtype: Any = None, **kwargs: Any) -> Any:
        if axis not in (None, 0) or {*kwargs} - {"ddof", "correction"}:
            _refuse(f"np.{function.__name__} along another axis, or with other arguments,")
        axes = None if axis is None else tuple(range(self.mask.ndim))
        if dtype is not None:
            kwargs["dtype"] = dtype
        return FUNCTIONS[function](self.full, axis=axes, where=over(self.mask, self.ndim - 1), **kwargs)

    def sum(self, axis: Any = None, dtype: Any = None) -> Any:
        """Their sum."""
        return self._reduced(np.sum, axis, dtype)

    def prod(self, axis: Any = None, dtype: Any = None) -> Any:
        """Their product."""
        return self._reduced(np.prod, axis, dtype)

    def mean(self, axis: Any = None, dtype: Any = None) -> Any:
        """Their mean; NaN where there are none."""
        return self._reduced(np.mean, axis, dtype)

    def var(self, axis: Any = None, dtype: Any = None, *, ddof: Any = 0) -> Any:
        """Their variance."""
        return self._reduced(np.var, axis, dtype, ddof=ddof)

    def std(self, axis: Any = None, dtype: Any = None, *, ddof: Any = 0) -> Any:
        """Their standard deviation."""
        return self._reduced(np.std, axis, dtype, ddof=ddof)

    def any(self, axis: Any = None) -> Any:
        """Whether one of them is not 0."""
        return self._reduced(np.any, axis)

    def all(self, axis: Any = None) -> Any:
        """Whether none of them is 0."""
        return self._reduced(np.all, axis)

    def astype(self, dtype: Any) -> Marked:
        """The elements in another dtype."""
        return Marked(self.full.astype(dtype), self.mask)

    def copy(self) -> Marked:
        """The elements, as they are now."""
        return Marked(self.full, self.mask)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"the elements under a mask have no attribute {name!r}")
        return _refuse(f"the attribute {name}")

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        _refuse("an array made")

    def __len__(self) -> NoReturn:  # noqa: PLE0303  it only raises
        _refuse("the number of elements")

    def __iter__(self) -> NoReturn:
        _refuse("a loop over the elements")

    def __bool__(self) -> NoReturn:  # noqa: PLE0304  it only raises
        _refuse("the truth")

    def __getitem__(self, index: Any) -> NoReturn:
        _refuse("an element or a part")

    __contains__ = __bool__
    __setitem__ = __getitem__


def _refuse(what: str) -> NoReturn:
    raise UnsupportedError(
        f"a traced boolean mask gives a result whose size depends on values: {what} of x[mask] cannot be traced",
        expected="elementwise functions, sums and means of x[mask], or y[mask] = ... with the same mask",
        actual=f"{what} of x[mask]",
        loc=_here(),
        fix="np.where(mask, x, 0) keeps the shape",
    )


def _here() -> Any:
    return (user_locs() or (None,))[0]
