"""How NumPy's calls on traced values find graphc's functions."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Hashable
from functools import wraps
from importlib import import_module
from types import FrameType
from typing import Any, Final, TypeVar

import numpy as np

from graphc.errors import GraphcError, UnsupportedError
from graphc.ir import DTYPE_NAMES, TensorType
from graphc.numpy.alternatives import PLAIN, advice
from graphc.numpy.into import Out, store
from graphc.tracing import (
    STACK,
    Traced,
    TracingWorld,
    assigned,
    copied,
    holds_traced,
    innermost,
    lift,
    user_locs,
    world_of,
)

# NumPy or SciPy callable -> graphc's version of it; SciPy's are entered once one is met, since graphc loads no SciPy
FUNCTIONS: Final[dict[Any, Callable[..., Any]]] = {}

PLAIN_OUT: Final = Out()
LONGEST_ARGUMENT: Final = 30  # characters of an argument that an error shows
F = TypeVar("F", bound=Callable[..., Any])


def any_traced(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a traced value stands in any argument of a call."""
    return any(map(holds_traced, args)) or any(map(holds_traced, kwargs.values()))


def traceable(
    numpy_function: Any, *also: Any, view: bool = False, maker: bool = False, out: Out = PLAIN_OUT
) -> Callable[[F], F]:
    """Register graphc's version of a NumPy function; without traced arguments NumPy's own runs.

    A function that only some versions of NumPy have is given by name. One whose results may share elements with its
    arguments is a `view`; of any other the results are arrays of their own. A `maker` of new arrays makes traced ones
    while a trace is running, so that traced values can be written into them.
    """
    own, *others = (newer(f) if isinstance(f, str) else f for f in (numpy_function, *also))
    is_ufunc = isinstance(own, np.ufunc)

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        place = _place_of_out(signature)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not any_traced(args, kwargs) and not (maker and STACK.worlds):
                return own(*args, **kwargs)
            try:
                target = kwargs.get("out") if len(args) <= place else args[place]
                if given(target) and not is_ufunc:
                    bound = signature.bind(*args, **kwargs)
                    del bound.arguments["out"]
                    if out.computes:
                        name_dtype(bound, target)
                    return store(f"np.{name}", target, call(*bound.args, **bound.kwargs), out)
                world = next((a.world for a in args if isinstance(a, Traced)), None)
                before = world.builder.assigned if world is not None else 0
                result = function(*args, **kwargs)
                # where one node was made, it is the result
                known = isinstance(result, Traced) and result.world is world and world.builder.assigned <= before + 1
            except GraphcError as error:
                if error.loc is None:
                    error.loc = (user_locs() or (None,))[0]
                error.graph_line = error.graph_line or call_text(own, args)
                raise
            # an array that was written into comes back as it is
            result = result if view or (is_ufunc and given(target)) else separate(result)
            return result if known else assigned(result, sys._getframe(1))

        name = getattr(own, "__name__", function.__name__)
        call.__name__ = call.__qualname__ = name
        for key in (own, *others):
            FUNCTIONS[key] = call
        return call  # type: ignore[return-value]

    return decorate


def name_dtype(bound: inspect.BoundArguments, out: Any) -> None:
    """Let a reduction into an array compute in the dtype that holds the operand's elements and the array's."""
    if isinstance(out, Traced) and not given(bound.arguments.get("dtype")):
        operand = next(v for k, v in bound.arguments.items() if k != "ufunc")
        kind = operand.type.dtype if isinstance(operand, Traced) else np.asarray(operand).dtype
        bound.arguments["dtype"] = np.promote_types(kind, out.type.dtype)


def separate(result: Any) -> Any:
    """A function's result, its arrays no other value's."""
    if isinstance(result, Traced):
        return copied(result)
    if isinstance(result, tuple) and any(isinstance(r, Traced) for r in result):
        parts = [separate(r) for r in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return [separate(r) for r in result] if isinstance(result, list) else result


def given(value: Any) -> bool:
    """Whether an argument that may be left out was given."""
    return value is not None and value is not np._NoValue


def _place_of_out(signature: inspect.Signature) -> int:
    """The position of the parameter `out`; beyond all arguments where there is none, or by keyword only."""
    for k, one in enumerate(signature.parameters.values()):
        if one.name == "out" and one.kind is one.POSITIONAL_OR_KEYWORD:
            return k
    return 1 << 30


def newer(name: str) -> Callable[..., Any]:
    """NumPy's function of that name; where this NumPy lacks it, one that says so."""
    found: Any = np
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not None:
        return found  # type: ignore[no-any-return]

    def missing(*_: Any, **__: Any) -> Any:
        raise UnsupportedError(f"NumPy {np.__version__} has no np.{name}", fix="another NumPy, or traced arguments")

    missing.__name__ = name.split(".")[-1]
    return missing


def call_text(function: Any, args: tuple[Any, ...]) -> str:
    """A call as an error shows it: `np.sum(f64[2,3])`, `np.linalg.svd(f64[3,2])`."""
    room = str(getattr(function, "__module__", None) or "numpy")
    public = ".".join(part for part in room.split(".") if not part.startswith("_"))
    prefix = f"np{public.removeprefix('numpy')}" if public.startswith("numpy") else public
    return f"{prefix}.{getattr(function, '__name__', function)}({', '.join(map(argument_text, args))})"


def argument_text(argument: Any) -> str:
    """An argument as an error shows it: the type of an array, and anything else as far as it is short."""
    if isinstance(argument, Traced):
        return repr(argument.type)
    if isinstance(argument, np.ndarray) and argument.dtype in DTYPE_NAMES:
        return f"plain {TensorType(argument.shape, argument.dtype)!r}"
    text = repr(argument)
    return text if len(text) <= LONGEST_ARGUMENT else text[: LONGEST_ARGUMENT - 2] + " …"


def refuse(function: str, **unsupported: Any) -> None:
    """Raise UnsupportedError if one of the given keyword arguments was used."""
    for name, value in unsupported.items():
        if value is not None and value is not np._NoValue:
            raise UnsupportedError(
                f"np.{function}: the argument {name}= cannot be traced",
                expected=f"np.{function} without {name}=",
                actual=f"{name}={value!r}"[:60],
                loc=(user_locs() or (None,))[0],
                fix="leave it out",
            )


def common_world(*values: Any) -> TracingWorld:
    """The innermost trace among the arguments, lists included; the one that is running if none is traced."""
    flat: list[Any] = []
    stack = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, (list, tuple)):
            stack.extend(value)
        else:
            flat.append(value)
    world = world_of(flat) or innermost()
    assert world is not None
    return world


def strong(value: Any, world: TracingWorld) -> Any:
    """The value as NumPy's functions see it: a Python scalar becomes a plain array."""
    x = lift(value, world)
    return world.convert(x, x.type.dtype) if x.type.weak else x


def apply_function(value: Traced, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`__array_function__` of a traced value."""
    if not any_traced(args, kwargs):
        kwargs = {**kwargs, "like": value}  # NumPy keeps that argument to itself
    check_caller(sys._getframe(2))
    version = FUNCTIONS.get(function)
    if version is None:
        raise unsupported(f"{function.__module__}.{function.__name__}".removeprefix("numpy."))
    return version(*args, **kwargs)


def check_caller(frame: FrameType | None) -> None:
    """Refuse what `numpy.polynomial` does to traced values as if they were numbers: it looks for plain arrays."""
    module = frame.f_globals.get("__name__", "") if frame is not None else ""
    if frame is not None and module.startswith("numpy.polynomial"):
        name = f"{module.removeprefix('numpy.').removesuffix('._polybase')}.{frame.f_code.co_name}"
        raise UnsupportedError(
            f"np.{name} of these arguments cannot be traced",
            expected="one vector of coefficients known when the graph is traced",
            actual=f"np.{name}",
            loc=(user_locs() or (None,))[0],
            fix=advice(name),
        )


def unsupported(name: str) -> UnsupportedError:
    """The refusal of a NumPy function by name, with what to write in its place or the nearest name."""
    known = sorted({str(getattr(f, "__name__", "")) for f in FUNCTIONS.values()})
    near = difflib.get_close_matches(name.split(".")[-1], known, n=1, cutoff=0.8)
    return UnsupportedError(
        f"np.{name} cannot be traced",
        expected="a function of graphc.numpy",
        actual=f"np.{name}",
        loc=(user_locs() or (None,))[0],
        fix=advice(name)
        or (f"the nearest name that can: np.{near[0]}; " if near else "")
        + "write it with graphc.numpy's functions, or call it on plain arrays before the trace",
    )


def unsupported_ufunc(ufunc: np.ufunc, name: str) -> UnsupportedError:
    """The refusal of a ufunc: one of NumPy's, of SciPy's, or one that somebody has made."""
    if getattr(np, ufunc.__name__, None) is ufunc:
        return unsupported(name)
    if getattr(import_module("scipy.special"), ufunc.__name__, None) is ufunc:
        return import_module("graphc.scipy.alternatives").unsupported("special", name)  # type: ignore[no-any-return]
    return UnsupportedError(
        f"the ufunc {name} cannot be traced",
        expected="a ufunc of NumPy's or SciPy's",
        actual=repr(ufunc)[:60],
        loc=(user_locs() or (None,))[0],
        fix="the function that it was made of, written with NumPy's own; "
        "or graphc.pure_callback, which calls it as the graph runs, without derivatives",
    )


def instead_of(function: str) -> str:
    """What to write in place of a function of NumPy's or SciPy's that asked a traced value for what it has not."""
    package, _, name = function.rpartition(".")
    if package.partition(".")[0] == "scipy":
        return str(import_module("graphc.scipy.alternatives").instead_of(package.removeprefix("scipy."), name))
    known = getattr(sys.modules[package], name)
    if isinstance(known, Hashable) and known in FUNCTIONS:
        return f"graphc.{function}"
    return unsupported(function.removeprefix("numpy.")).fix or ""


def outside_of(module: str, name: str) -> Any:
    """What a module of `graphc.numpy` gives for a name of NumPy's that it has no version of.

    Constants, types and functions that traced values have no part in are NumPy's own; the rest is refused by name.
    """
    dotted = f"{module}.{name}".removeprefix(".")
    value = getattr(getattr(np, module) if module else np, name)
    if isinstance(value, Hashable) and value in FUNCTIONS:
        # another name of a function that is here, as np.concat of np.concatenate
        return FUNCTIONS[value]
    if callable(value) and not isinstance(value, type) and not any(dotted in names for names in PLAIN.values()):
        raise unsupported(dotted)
    return value
