"""How NumPy's calls on traced values find graphc's functions."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from functools import lru_cache, wraps
from importlib import import_module
from typing import Any, Final, TypeVar

import numpy as np

from graphc.errors import GraphcError, UnsupportedError
from graphc.ir import DTYPE_NAMES
from graphc.numpy.alternatives import ALTERNATIVES
from graphc.ops import lookup
from graphc.tracing import Traced, TracingWorld, assigned, holds_traced, lift, user_locs, world_of

# NumPy or SciPy callable -> graphc's version of it; SciPy's are entered once one is met, since graphc loads no SciPy
FUNCTIONS: Final[dict[Any, Callable[..., Any]]] = {}

F = TypeVar("F", bound=Callable[..., Any])


def traceable(numpy_function: Any, *also: Any) -> Callable[[F], F]:
    """Register graphc's version of a NumPy function; without traced arguments NumPy's own runs.

    A function that only newer versions of NumPy have is given by name.
    """
    if isinstance(numpy_function, str):
        numpy_function = newer(numpy_function)

    def decorate(function: F) -> F:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not any(map(holds_traced, args)) and not any(map(holds_traced, kwargs.values())):
                return numpy_function(*args, **kwargs)
            try:
                result = function(*args, **kwargs)
                return result if isinstance(result, Traced) else assigned(result, sys._getframe(1))
            except GraphcError as error:
                if error.loc is None:
                    error.loc = (user_locs() or (None,))[0]
                error.graph_line = error.graph_line or call_text(numpy_function, args)
                raise

        name = getattr(numpy_function, "__name__", function.__name__)
        call.__name__ = call.__qualname__ = name
        call.__doc__ = function.__doc__ or f"As `numpy.{name}`; traced values give a traced result."
        for key in (numpy_function, *also):
            FUNCTIONS[key] = call
        return call  # type: ignore[return-value]

    return decorate


def newer(name: str) -> Callable[..., Any]:
    """NumPy's function of that name; where this NumPy lacks it, one that says so."""
    found: Any = np
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not None:
        return found  # type: ignore[no-any-return]

    def missing(*_: Any, **__: Any) -> Any:
        raise UnsupportedError(f"NumPy {np.__version__} has no np.{name}", fix="a newer NumPy, or traced arguments")

    missing.__name__ = name.split(".")[-1]
    return missing


def call_text(function: Any, args: tuple[Any, ...]) -> str:
    """A call as an error shows it: `np.sum(f64[2,3])`."""
    shown = [repr(a.type) if isinstance(a, Traced) else repr(a)[:30] for a in args]
    return f"np.{getattr(function, '__name__', function)}({', '.join(shown)})"


def refuse(function: str, **unsupported: Any) -> None:
    """Raise UnsupportedError if one of the given keyword arguments was used."""
    for name, value in unsupported.items():
        if value is not None and value is not np._NoValue:
            raise UnsupportedError(
                f"np.{function}: the argument {name}= cannot be traced",
                expected=f"np.{function} without {name}=",
                actual=f"{name}={value!r}"[:60],
                loc=(user_locs() or (None,))[0],
                fix="assign the result instead of writing into an array" if name == "out" else "leave it out",
            )


def common_world(*values: Any) -> TracingWorld:
    """The innermost trace among the arguments, lists included."""
    flat: list[Any] = []
    stack = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, (list, tuple)):
            stack.extend(value)
        else:
            flat.append(value)
    world = world_of(flat)
    assert world is not None
    return world


def strong(value: Any, world: TracingWorld) -> Any:
    """The value as NumPy's functions see it: a Python scalar becomes a plain array."""
    x = lift(value, world)
    return world.convert(x, x.type.dtype) if x.type.weak else x


COMPARISONS: Final = frozenset({np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal})


@lru_cache(maxsize=4096)
def loop_dtypes(ufunc: np.ufunc, operands: tuple[Any, ...]) -> tuple[np.dtype[Any], ...]:
    """The dtypes of the loop NumPy would pick, operands then results; Python scalar classes are weak (NEP 50)."""
    try:
        return ufunc.resolve_dtypes((*operands, *(None,) * ufunc.nout))
    except TypeError as error:
        shown = ", ".join(t.__name__ if isinstance(t, type) else DTYPE_NAMES.get(t, str(t)) for t in operands)
        raise UnsupportedError(f"np.{ufunc.__name__} has no loop for ({shown})") from error


def convert_operands(ufunc: np.ufunc, operands: tuple[Any, ...]) -> tuple[TracingWorld, list[Any]]:
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
    dtypes = loop_dtypes(ufunc, tuple(kinds))
    for dtype in dtypes:
        if dtype.kind not in "biuf" or dtype not in DTYPE_NAMES:
            raise UnsupportedError(f"np.{ufunc.__name__}: a loop over {dtype} cannot be traced")
    return world, [world.convert(x, d) for x, d in zip(lifted, dtypes, strict=False)]


def elementwise(ufunc: np.ufunc, op: str) -> Callable[..., Any]:
    """graphc's version of a ufunc that is one op."""

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
        casting = None if casting == "same_kind" else casting
        refuse(ufunc.__name__, out=out, where=None if where is True else where, casting=casting, signature=signature)
        if len(operands) != ufunc.nin:
            raise TypeError(f"{ufunc.__name__}() takes {ufunc.nin} operands but {len(operands)} were given")
        world, values = convert_operands(ufunc, operands)
        if dtype is not None:
            values = [world.convert(v, np.dtype(dtype)) for v in values]
        return world.emit(lookup(op), values, ())

    return traceable(ufunc)(apply)


def comparison(ufunc: np.ufunc, op: str) -> Callable[..., Any]:
    """graphc's version of a comparison, which takes literals outside the other operand's range, as NumPy's do."""
    general: Any = elementwise(ufunc, op)

    def apply(*operands: Any, **options: Any) -> Any:
        if len(operands) == 2 and not options and any(type(x) is int for x in operands):
            return common_world(*operands).binary(op, *operands)
        return general(*operands, **options)

    return traceable(ufunc)(apply)


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`__array_ufunc__` of traced values."""
    if kwargs.get("out") is not None:
        raise UnsupportedError(
            f"np.{ufunc.__name__}: out= would write a traced value into an array",
            expected="an expression that gives a new array",
            actual="an in-place operator (+=, *=) on a NumPy array, or out=",
            loc=(user_locs() or (None,))[0],
            fix="assign the result: y = y + x, without += and without out=",
        )
    if method == "__call__":
        if ufunc not in FUNCTIONS and getattr(np, ufunc.__name__, None) is not ufunc:
            import_module("graphc.scipy.special")
        function = FUNCTIONS.get(ufunc)
        if function is not None:
            return function(*inputs, **kwargs)
    elif method == "reduce":
        function = REDUCTIONS.get(ufunc.__name__)
        if function is not None:
            kwargs.setdefault("axis", 0)
            return function(*inputs, **kwargs)
    elif method == "accumulate":
        function = ACCUMULATIONS.get(ufunc.__name__)
        if function is not None:
            kwargs.setdefault("axis", 0)
            return function(*inputs, **kwargs)
    elif method == "outer" and ufunc in FUNCTIONS:
        a, b = (x if isinstance(x, Traced) else np.asarray(x) for x in inputs)
        return FUNCTIONS[ufunc](a[(..., *(None,) * b.ndim)], b, **kwargs)
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    raise unsupported(name)


# by ufunc name: what its methods reduce and accumulate are
REDUCTIONS: Final[dict[str, Callable[..., Any]]] = {}
ACCUMULATIONS: Final[dict[str, Callable[..., Any]]] = {}


def apply_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`__array_function__` of traced values."""
    version = FUNCTIONS.get(function)
    if version is None:
        raise unsupported(f"{function.__module__}.{function.__name__}".removeprefix("numpy."))
    return version(*args, **kwargs)


def unsupported(name: str) -> UnsupportedError:
    """The refusal of a NumPy function by name, with what to write in its place or the nearest name."""
    known = sorted({str(getattr(f, "__name__", "")) for f in FUNCTIONS.values()})
    near = difflib.get_close_matches(name.split(".")[-1], known, n=1, cutoff=0.8)
    return UnsupportedError(
        f"np.{name} cannot be traced",
        expected="a function of graphc.numpy",
        actual=f"np.{name}",
        loc=(user_locs() or (None,))[0],
        fix=ALTERNATIVES.get(name)
        or (f"the nearest name that can: np.{near[0]}; " if near else "")
        + "write it with graphc.numpy's functions, or call it on plain arrays before the trace",
    )
