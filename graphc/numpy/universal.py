"""NumPy's universal functions: loops and their dtypes, the keywords that all of them take, and their methods."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import lru_cache, wraps
from importlib import import_module
from typing import Any, Final

import numpy as np

from graphc.errors import REAL_PARTS, UnsupportedError
from graphc.ir import DTYPE_NAMES
from graphc.numpy.checks import memory_order
from graphc.numpy.dispatch import FUNCTIONS, any_traced, check_caller, common_world, traceable, unsupported_ufunc
from graphc.numpy.into import Out, store
from graphc.numpy.marked import Marked
from graphc.ops import lookup
from graphc.tracing import Traced, TracingWorld, lift, placed, user_locs
from graphc.tracing.layout import unordered

COMPARISONS: Final = frozenset({np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal})
METHODS: Final = ("reduce", "accumulate", "reduceat", "outer", "at")


@lru_cache(maxsize=4096)
def loop_dtypes(
    ufunc: np.ufunc,
    operands: tuple[Any, ...],
    signature: tuple[Any, ...] | None = None,
    casting: Any = "same_kind",
) -> tuple[np.dtype[Any], ...]:
    """The dtypes of the loop NumPy would pick, operands then results; Python scalar classes are weak (NEP 50)."""
    given = (*operands, *(None,) * ufunc.nout)
    # a loop that was asked for, which the operands may not fit: NumPy's own errors
    if signature is not None:
        return ufunc.resolve_dtypes(given, signature=signature, casting=casting)
    if casting != "same_kind":
        return ufunc.resolve_dtypes(given, casting=casting)
    try:
        return ufunc.resolve_dtypes(given)
    except TypeError as error:
        shown = ", ".join(t.__name__ if isinstance(t, type) else DTYPE_NAMES.get(t, str(t)) for t in operands)
        raise UnsupportedError(f"np.{ufunc.__name__} has no loop for ({shown})") from error


def convert_operands(
    ufunc: np.ufunc, operands: tuple[Any, ...], signature: tuple[Any, ...] | None = None, casting: Any = "same_kind"
) -> tuple[TracingWorld, list[Any]]:
    """The operands as values of the dtypes that the ufunc's loop takes."""
    world = common_world(*operands)
    if ufunc in COMPARISONS:
        operands = world.whole_integers(*operands)
    kinds: list[Any] = []
    lifted: list[Any] = []
    for operand in operands:
        if type(operand) in (bool, int, float):
            kinds.append(type(operand) if type(operand) is not bool else np.dtype(np.bool_))
            lifted.append(operand)
            continue
        x = lift(operand, world)
        weak = x.type.weak and x.type.dtype.kind != "b"
        kinds.append((float if x.type.dtype.kind == "f" else int) if weak else x.type.dtype)
        lifted.append(x)
    if all(isinstance(k, type) for k in kinds):
        # only Python scalars: they become arrays of their default dtypes
        kinds = [np.dtype(k) for k in kinds]
    dtypes = loop_dtypes(ufunc, tuple(kinds), signature, casting)
    for dtype in dtypes:
        if dtype.kind not in "biuf" or dtype not in DTYPE_NAMES:
            raise UnsupportedError(
                f"np.{ufunc.__name__}: a loop over {dtype} cannot be traced",
                fix=REAL_PARTS if dtype.kind == "c" else None,
            )
    return world, [world.convert(x, d) for x, d in zip(lifted, dtypes, strict=False)]


def call_signature(ufunc: np.ufunc) -> inspect.Signature:
    """How a ufunc is called; only the newest NumPy says it itself."""
    no_out = None if ufunc.nout == 1 else (None,) * ufunc.nout
    names = ["x"] if ufunc.nin == 1 else [f"x{k + 1}" for k in range(ufunc.nin)]
    only, keyword = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY
    options = {"where": True, "casting": "same_kind", "order": "K", "dtype": None, "subok": True, "signature": None}
    return inspect.Signature(
        [
            *(inspect.Parameter(name, only) for name in names),
            inspect.Parameter("out", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=no_out),
            *(inspect.Parameter(name, keyword, default=default) for name, default in options.items()),
        ]
    )


def is_given(out: Any) -> bool:
    """Whether a call of a ufunc names an array to write into; NumPy hands it on as a tuple."""
    return out is not None and not (isinstance(out, tuple) and all(o is None for o in out))


def universal(ufunc: np.ufunc, *also: Any) -> Callable[[Callable[..., Any]], Any]:
    """Register graphc's version of a ufunc, given as a function of its operands alone.

    What the keywords mean is the same for all ufuncs, and is said here.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        name = ufunc.__name__

        @wraps(function)
        def apply(
            *operands: Any,
            out: Any = None,
            where: Any = True,
            casting: Any = "same_kind",
            order: str = "K",
            dtype: Any = None,
            subok: bool = True,
            signature: Any = None,
        ) -> Any:
            if ufunc.nin < len(operands) <= ufunc.nargs and out is None:
                operands, out = operands[: ufunc.nin], operands[ufunc.nin :]
            if len(operands) != ufunc.nin:
                raise TypeError(f"{name}() takes {ufunc.nin} operands but {len(operands)} were given")
            order = memory_order(order)
            if is_given(out):
                options = {"casting": casting, "dtype": dtype, "signature": signature}
                options = {key: value for key, value in options.items() if value is not None}
                # without traced operands the result is known: NumPy's own
                compute: Any = apply if any_traced(operands, {}) else ufunc
                return store_all(f"np.{name}", out, compute(*operands, **options), Out(casting, spread=True), where)
            if where is not True:
                raise UnsupportedError(
                    f"np.{name}: where= without out= leaves the other elements without a value",
                    expected=f"np.{name} without where=",
                    actual=f"where={where!r}"[:60],
                    loc=(user_locs() or (None,))[0],
                    fix=f"np.where(mask, np.{name}(...), other), whose derivative passes over what is masked too",
                )
            if dtype is not None or signature is not None or casting != "same_kind":
                operands = tuple(loop_of_call(ufunc, operands, dtype, signature, casting))
            return in_order(function(*operands), order)

        apply.__signature__ = call_signature(ufunc)  # type: ignore[attr-defined]
        call = traceable(ufunc, *also)(apply)
        return with_methods(call, ufunc)

    return decorate


def in_order(result: Any, order: str) -> Any:
    """The results of a ufunc in the order in memory that a call asks for."""
    if order == "K":
        return result
    if isinstance(result, tuple):
        return tuple(in_order(r, order) for r in result)
    if not isinstance(result, Traced) or result.ndim < 2:
        return result
    return unordered(result) if order == "A" else placed(result, order)


def store_all(what: str, out: Any, result: Any, rule: Out, where: Any = True) -> Any:
    """Write the results of a ufunc into the arrays that `out` names; what it returns."""
    outs = out if isinstance(out, tuple) else (out,)
    results = result if isinstance(result, tuple) else (result,)
    if len(outs) != len(results):
        raise ValueError("The 'out' tuple must have exactly one entry per ufunc output")
    stored = tuple(r if o is None else store(what, o, r, rule, where) for o, r in zip(outs, results, strict=True))
    return stored[0] if len(stored) == 1 else stored


def loop_of_call(ufunc: np.ufunc, operands: tuple[Any, ...], dtype: Any, signature: Any, casting: Any) -> list[Any]:
    """The operands in the dtypes of the loop that a call asks for."""
    return convert_operands(ufunc, operands, _loop(ufunc, dtype, signature), casting)[1]


def _loop(ufunc: np.ufunc, dtype: Any, signature: Any) -> tuple[Any, ...] | None:
    """The dtypes that a call asks for, as `resolve_dtypes` takes them."""
    if dtype is not None and signature is not None:
        raise TypeError("cannot specify both 'signature' and 'dtype'")
    if dtype is not None:
        return (*(None,) * ufunc.nin, *(np.dtype(dtype),) * ufunc.nout)
    if signature is None:
        return None
    if isinstance(signature, str):
        before, arrow, after = signature.partition("->")
        if not arrow or (len(before), len(after)) != (ufunc.nin, ufunc.nout):
            raise ValueError(
                f"a type-string for {ufunc.__name__}, {ufunc.nin} typecode(s) before and {ufunc.nout} after the -> sign"
            )
        signature = tuple(before + after)
    if not isinstance(signature, tuple):
        raise TypeError("the signature object to ufunc must be a string or a tuple.")
    if len(signature) != ufunc.nargs:
        raise ValueError(f"a type-tuple must be specified of length {ufunc.nargs} for ufunc '{ufunc.__name__}'")
    return tuple(None if s is None else np.dtype(s) for s in signature)


def with_methods(call: Any, ufunc: np.ufunc) -> Any:
    """Give graphc's version of a ufunc the methods and the numbers of operands that the ufunc has."""
    call.nin, call.nout, call.nargs = ufunc.nin, ufunc.nout, ufunc.nargs
    call.identity, call.types, call.signature = ufunc.identity, ufunc.types, ufunc.signature
    for method in METHODS:
        setattr(call, method, _method(ufunc, method))
    return call


def _method(ufunc: np.ufunc, method: str) -> Callable[..., Any]:
    own = getattr(ufunc, method)

    def apply(*args: Any, **kwargs: Any) -> Any:
        return apply_ufunc(ufunc, method, args, kwargs) if any_traced(args, kwargs) else own(*args, **kwargs)

    apply.__name__, apply.__qualname__ = method, f"{ufunc.__name__}.{method}"
    apply.__doc__ = f"As `numpy.{ufunc.__name__}.{method}`, for traced values too."
    return apply


def elementwise(ufunc: np.ufunc, op: str) -> Callable[..., Any]:
    """graphc's version of a ufunc that is one op."""
    record = lookup(op)

    def apply(*operands: Any) -> Any:
        world, values = convert_operands(ufunc, operands)
        return world.emit(record, values, ())

    apply.__doc__ = record.doc
    return universal(ufunc)(apply)  # type: ignore[no-any-return]


def comparison(ufunc: np.ufunc, op: str) -> Callable[..., Any]:
    """graphc's version of a comparison, which takes literals outside the other operand's range, as NumPy's do."""
    record = lookup(op)

    def apply(a: Any, b: Any) -> Any:
        if type(a) is int or type(b) is int:
            return common_world(a, b).binary(op, a, b)
        world, values = convert_operands(ufunc, (a, b))
        if values[0].type.dtype != values[1].type.dtype:
            return world.binary(op, *values)  # a loop for integers of either sign
        return world.emit(record, values, ())

    apply.__doc__ = record.doc
    return universal(ufunc)(apply)  # type: ignore[no-any-return]


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`__array_ufunc__` of traced values."""
    if any(isinstance(x, Marked) for x in inputs):
        return NotImplemented  # NumPy asks the other operand
    if any(isinstance(x, np.ndarray) and x.ndim for x in inputs):
        check_caller(sys._getframe(2))
    if ufunc not in FUNCTIONS and getattr(np, ufunc.__name__, None) is not ufunc:
        import_module("graphc.scipy.special")
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    if ufunc in FUNCTIONS:
        if method == "__call__":
            return FUNCTIONS[ufunc](*inputs, **kwargs)
        if method in METHODS_OF_TRACED:
            return METHODS_OF_TRACED[method](ufunc, *inputs, **kwargs)
    raise unsupported_ufunc(ufunc, name)


# by name of the method: what computes it, a function of the ufunc and its arguments
METHODS_OF_TRACED: Final[dict[str, Callable[..., Any]]] = {}
