"""Compiling on demand: jit's cache, and what it compiles when a call does not fit."""

from __future__ import annotations

import inspect
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from types import MethodType
from typing import Any, Final

import numpy as np

from graphc.compiler.capture import CaptureError, check_no_captures, trace_call
from graphc.compiler.compiled import Compiled, Options
from graphc.compiler.pytrees import flatten, function_name, unflatten
from graphc.compiler.specs import Spec, not_an_array, type_of
from graphc.compiler.variants import Variants
from graphc.errors import GraphcError, TraceError
from graphc.ir import Graph, TensorType
from graphc.tracing import STACK, SymbolicSize, Traced, assigned, deepest, lift, locate, snapshot, user_locs, world_of


class Jitted:
    """A function compiled on demand: per structure, dtype, weakness, rank and static arguments.

    The first call is specialised to its sizes. When sizes change, those that did become symbolic; a call that
    breaks a guard compiles again. `explain()` tells what was compiled and why.
    """

    LIMIT: Final = 64

    def __init__(
        self,
        f: Callable[..., Any],
        static_argnums: Sequence[int] = (),
        static_argnames: Sequence[str] = (),
        options: Options | None = None,
    ) -> None:
        self._f = f
        self._static_argnums, self._static_argnames = _static_parameters(f, static_argnums, static_argnames)
        self._options = options or Options()
        self._fast: dict[Any, Compiled] = {}
        self._buckets: OrderedDict[Any, Variants] = OrderedDict()
        self._lock = threading.RLock()
        self._log: deque[str] = deque(maxlen=1000)
        self.__name__ = function_name(f)
        self.__doc__ = f.__doc__
        self.__wrapped__ = f

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if self._static_argnums or self._static_argnames:
            return self._call_static(args, kwargs)
        return self._call(self._f, (), args, kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def _call_static(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nums = {n % len(args) for n in self._static_argnums if -len(args) <= n < len(args)}
        statics = tuple((n, args[n]) for n in sorted(nums)) + tuple(
            (k, kwargs[k]) for k in sorted(self._static_argnames & kwargs.keys())
        )
        try:
            hash(statics)
        except TypeError:
            raise TraceError(
                "a static argument must be hashable: it is part of the key of what was compiled",
                expected="numbers, strings, tuples of them",
                actual=", ".join(f"{name}={value!r}" for name, value in statics)[:80],
                loc=(user_locs() or (None,))[0],
                fix="pass a tuple in place of a list, or pass it as an array",
            ) from None

        def call(*dynamic: Any, **keywords: Any) -> Any:
            rest = iter(dynamic)
            merged = [args[n] if n in nums else next(rest) for n in range(len(args))]
            return self._f(*merged, **keywords, **{k: v for k, v in statics if isinstance(k, str)})

        call.__name__ = self.__name__
        dynamic = tuple(a for n, a in enumerate(args) if n not in nums)
        keywords = {k: v for k, v in kwargs.items() if k not in self._static_argnames}
        return self._call(call, _typed(statics), dynamic, keywords)

    def _call(self, f: Callable[..., Any], statics: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return self._run(f, statics, args, kwargs)
        except GraphcError as error:
            locate(error)
            raise

    def _run(self, f: Callable[..., Any], statics: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        leaves, structure = flatten((args, kwargs))
        key = [structure, statics]
        for leaf in leaves:
            if type(leaf) is np.ndarray:
                key.append((leaf.dtype, leaf.shape))
            elif isinstance(leaf, (Traced, SymbolicSize)):
                world_of(leaves)  # refuses values of a trace that has ended
                # as everywhere in jit, what the function writes into its arguments stays inside
                args, kwargs = unflatten(
                    structure, [snapshot(leaf) if isinstance(leaf, Traced) else leaf for leaf in leaves]
                )
                return assigned(f(*args, **kwargs), sys._getframe(1))
            else:
                if isinstance(leaf, (str, Spec, TensorType)):
                    raise not_an_array(leaf)  # a type may be traced with, but not called with
                t = type_of(leaf)
                key.append((t.dtype, t.shape, t.weak))
        exact = tuple(key)
        compiled = self._fast.get(exact)
        if compiled is None:
            try:
                compiled = self._find(f, exact, leaves, structure, args, kwargs)
            except CaptureError as error:
                # only the closure is traced: the call is a part of that trace
                world = deepest(error.captures)
                args, kwargs = unflatten(structure, [lift(leaf, world) for leaf in leaves])
                return assigned(f(*args, **kwargs), sys._getframe(1))
        results = compiled._run(*leaves)
        return results[0] if compiled._single else compiled._pack(results)

    def _find(
        self, f: Callable[..., Any], exact: Any, leaves: list[Any], structure: Any, args: Any, kwargs: Any
    ) -> Compiled:
        types = [type_of(leaf) for leaf in leaves]
        signature = (
            structure,
            exact[1],
            tuple((t.dtype, t.weak, t.ndim, tuple(d == 1 for d in t.shape)) for t in types),
        )
        # A thread that is tracing never waits here: two functions that call each other would wait for ever.
        # At worst one of them is compiled twice.
        held = self._lock.acquire(blocking=not STACK.worlds)
        try:
            bucket = self._buckets.get(signature)
            if bucket is None:
                bucket = self._buckets[signature] = Variants()
                while len(self._buckets) > self.LIMIT:
                    self._buckets.popitem(last=False)
                    self._fast.clear()
            compiled = bucket.find(types)
            if compiled is None:
                compiled = self._compile(f, bucket, types, structure)
            if len(self._fast) >= 1024:
                self._fast.clear()
            self._fast[exact] = compiled
            if signature in self._buckets:
                self._buckets.move_to_end(signature)
            return compiled
        finally:
            if held:
                self._lock.release()

    def _compile(self, f: Callable[..., Any], bucket: Variants, types: list[TensorType], structure: Any) -> Compiled:
        symbolic, hints = bucket.generalise(types)
        why = bucket.why(types)
        if hints:
            try:
                compiled = self._build(f, symbolic, structure, hints)
                self._note(symbolic, why, compiled.graph)
                bucket.add(compiled, types)
                return compiled
            except CaptureError:
                raise
            except Exception as error:
                # what the function itself raises, the specialised trace raises again
                first = (str(error).splitlines() or [type(error).__name__])[0]
                why = f"{why}; the sizes could not be made symbolic ({first})"
        compiled = self._build(f, types, structure, None)
        self._note(types, why, compiled.graph)
        bucket.add(compiled, types)
        return compiled

    def _build(self, f: Callable[..., Any], types: Sequence[TensorType], structure: Any, hints: Any) -> Compiled:
        args, kwargs = unflatten(structure, types)
        out = trace_call(f, args, kwargs, hints)
        check_no_captures(out)
        return Compiled(out.graph, out.in_tree, out.out_tree, self._options)

    def _note(self, types: Sequence[TensorType], why: str, graph: Graph) -> None:
        guards = f"; guards: {', '.join(map(str, graph.guards))}" if graph.guards else ""
        self._log.append(f"compiled for ({', '.join(map(repr, types))}): {why}{guards}")

    def explain(self) -> str:
        """What was compiled so far and why, one line each."""
        return "\n".join(self._log) if self._log else "nothing compiled yet"

    def __getstate__(self) -> dict[str, Any]:
        """The function and how to compile it; what was compiled so far is compiled again where it is needed."""
        kept = ("_f", "_static_argnums", "_static_argnames", "_options", "__name__")
        return {k: self.__dict__[k] for k in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(  # type: ignore[misc]
            state["_f"], state["_static_argnums"], tuple(state["_static_argnames"]), state["_options"]
        )
        self.__name__ = state["__name__"]

    def __repr__(self) -> str:
        return f"<jit {self.__name__}>"


def _static_parameters(
    f: Callable[..., Any], numbers: Sequence[int], names: Sequence[str]
) -> tuple[tuple[int, ...], frozenset[str]]:
    """The static arguments by position and by name: one named here is static however the call passes it."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return tuple(numbers), frozenset(names)
    either = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_number = {positional[n] for n in numbers if -len(positional) <= n < len(positional)}
    by_name = {positional.index(name) for name in names if name in positional}
    return tuple(sorted({*numbers, *by_name})), frozenset({*names, *(by_number & {*either})})


def _typed(value: Any) -> Any:
    """A key for a static value that tells 1 from True and 1.0, and 0.0 from -0.0."""
    if isinstance(value, tuple):
        return type(value), tuple(map(_typed, value))
    if isinstance(value, frozenset):
        return type(value), frozenset(map(_typed, value))
    if isinstance(value, (float, complex, np.number)):
        return type(value), repr(value)  # tells the zeros apart and finds a NaN again
    if is_dataclass(value) and not isinstance(value, type):
        return type(value), value, tuple(_typed(getattr(value, field.name)) for field in fields(value))
    return type(value), value


def jit(
    f: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    backend: str = "numpy",
    exact_order: bool = False,
) -> Any:
    """Compile a function on its first call, and again only when types, structure or static arguments change.

    Args:
        f: a function of arrays and pytrees of arrays. Inside another trace it is traced through.
        static_argnums, static_argnames: arguments that stay Python values; they must be hashable.

    Usable as a decorator, with or without arguments.

    >>> import numpy as np
    >>> double = jit(lambda x: 2 * x)
    >>> double(np.arange(3.0))
    array([0., 2., 4.])
    """
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    options = Options(backend, exact_order)
    if f is None:
        return lambda g: Jitted(g, numbers, names, options)
    return Jitted(f, numbers, names, options)
