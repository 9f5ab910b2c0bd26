"""Compiling on demand: jit's cache, and what it compiles when a call does not fit."""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Final
from weakref import WeakSet

import numpy as np

from graphc import backends
from graphc.compiler.calls import LARGEST, SCALARS, SMALLEST, Call, Varying, quick_key, take_apart
from graphc.compiler.capture import CaptureError, Traceout, check_no_captures, copied_arguments, trace_call
from graphc.compiler.compiled import Compiled, Options
from graphc.compiler.donation import donation
from graphc.compiler.fallback import MISSED
from graphc.compiler.pytrees import flatten, function_name
from graphc.compiler.specs import type_of
from graphc.compiler.statics import named_parameters
from graphc.compiler.variants import Variant, Variants
from graphc.compiler.wrapping import Wrapper
from graphc.errors import GraphcError, TraceError
from graphc.ir import TensorType, paused_gc
from graphc.tracing import STACK, TracingWorld, assigned, deepest, lift, locate, located

CACHE_SIZE = 256
_JITTED: Final[WeakSet[Jitted]] = WeakSet()
FAST_CALLS = 1024  # calls remembered with all their types and sizes
MOST_DROPPED = 10_000  # signatures remembered, by their hash, for `explain` alone


class Jitted(Wrapper):
    """A function compiled on demand: per structure, dtype, weakness, rank and static arguments.

    The first call is specialised to its sizes. When sizes change, those that did become symbolic; a call that
    breaks a guard compiles again. `explain()` tells what was compiled and why, `compiled_for(*args)` gives it,
    `clear_cache()` forgets it.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        static_argnums: int | Sequence[int] = (),
        static_argnames: str | Sequence[str] = (),
        options: Options | None = None,
        cache_size: int | None = CACHE_SIZE,
        varying: Varying | None = None,
        donate_argnums: int | Sequence[int] = (),
        donate_argnames: str | Sequence[str] = (),
    ) -> None:
        super().__init__(f, "jit")
        if cache_size is not None and (type(cache_size) is not int or cache_size < 1):
            raise TraceError(
                "jit: cache_size is the number of compiled functions to keep",
                expected="an int of at least 1, or None for all of them",
                actual=repr(cache_size)[:60],
            )
        self._arguments = (
            *(static_argnums, static_argnames, options, cache_size, None),
            *(donate_argnums, donate_argnames),
        )
        self._statics = named_parameters(self._f, static_argnums, static_argnames, "static")
        self._donation = donation(self._f, donate_argnums, donate_argnames, "jit", self._statics)
        self._options = options or Options()
        self._cache_size = cache_size
        self._varying = varying
        self._plain = not self._statics and varying is None
        self._unlock()
        self.clear_cache()
        _JITTED.add(self)

    def _unlock(self) -> None:
        self._lock = threading.RLock()  # held while a function is compiled
        self._books = threading.Lock()  # held for moments, even where `_lock` is not

    def clear_cache(self) -> None:
        """Forget what was compiled, and why."""
        with self._books:
            self._fast: dict[Any, Variant] = {}
            self._exact: dict[Any, Variant] = {}
            self._signatures: dict[Any, Variants] = {}
            self._variants: OrderedDict[int, Variant] = OrderedDict()
            self._dropped: set[int] = set()
            self._by_value: set[Any] = set()
            # while one function serves all calls, it looks at the arguments itself
            self._only: Callable[..., Any] | None = None
            self._by_structure: Callable[[tuple[Any, ...], dict[str, Any]], Any] | None = None
            self._log: deque[str] = deque(maxlen=1000)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        # nearly every call is one seen before, of plain arrays and numbers
        try:
            if self._only is not None and not kwargs:
                result = self._only(*args)
                if result is not MISSED:
                    return result
            elif self._by_structure is not None:
                result = self._by_structure(args, kwargs)
                if result is not MISSED:
                    return result
            if self._plain and not kwargs:
                parts: list[Any] = []
                for a in args:
                    kind = type(a)
                    if kind is np.ndarray:
                        parts.append(a.dtype)
                        parts.append(a.shape)
                    elif kind in SCALARS or (kind is int and SMALLEST <= a <= LARGEST):
                        parts.append(kind)
                    else:
                        break
                else:
                    key = tuple(parts)
                    variant = self._fast.get(key)
                    if variant is None:
                        return self._call(args, kwargs, key)
                    variant.used = True
                    return variant.run(*args)
            known = quick_key(args, kwargs, self._statics, self._varying is None)
            variant = self._fast.get(known[0]) if known is not None else None
            if known is None or variant is None:
                return self._call(args, kwargs, None if known is None else known[0])
            variant.used = True
            return variant.run(*known[1])
        except GraphcError as error:
            locate(error)
            raise

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], quick: Any) -> Any:
        call = take_apart(self._f, self._statics, args, kwargs, self._varying)
        if call is None:
            # as everywhere in jit, what the function writes into its arguments stays inside
            args, kwargs = copied_arguments(args, kwargs)
            return assigned(self._f(*args, **kwargs), sys._getframe(1))
        try:
            call, variant = self._variant(call)
        except CaptureError as error:
            # only the closure is traced: the call is a part of that trace
            return self._inside(call, deepest(error.captures))
        if variant.effects:
            if STACK.worlds:
                # acts when the graph that is being traced runs
                return self._inside(call, STACK.worlds[-1])
        elif quick is not None and not call.fixed:
            if len(self._fast) >= FAST_CALLS:
                self._fast = {}
            self._fast[quick] = variant
        return variant.run(*call.leaves)

    def _inside(self, call: Call, world: TracingWorld) -> Any:
        args, kwargs = call.with_leaves([lift(leaf, world) for leaf in call.leaves])
        return assigned(call.f(*args, **kwargs), sys._getframe(1))

    def compiled_for(self, /, *args: Any, **kwargs: Any) -> Compiled:
        """What runs for a call with these arguments, compiled now if need be: for its `graph`, `passes`, `source`, ...

        It takes the arguments that are not static.

        >>> import numpy as np
        >>> print(jit(lambda x: 2 * x).compiled_for(np.ones(3)).plan.graph.output_types)
        (f64[3],)
        """
        with located():
            call = take_apart(self._f, self._statics, args, kwargs, self._varying)
            if call is None:
                raise TraceError(
                    f"{function_name(self)}: a call with traced values is a part of their trace, and not compiled",
                    expected="arrays and numbers",
                    actual="a traced value",
                    fix="graphc.trace(f, ...), and look at the graph",
                )
            return self._variant(call)[1].compiled

    def _variant(self, call: Call) -> tuple[Call, Variant]:
        """The compiled function that serves the call; and the call, if more of it had to be fixed."""
        if self._by_value and self._loose_key(call) in self._by_value:
            call = call.by_value() or call
        exact = call.exact_key()
        variant = self._exact.get(exact)
        if variant is None:
            return self._find(call, exact)
        variant.used = True
        return call, variant

    def _loose_key(self, call: Call) -> Any:
        return call.structure, call.static, tuple([type(leaf) for leaf in call.everything])

    def _find(self, call: Call, exact: Any) -> tuple[Call, Variant]:
        types = [type_of(leaf) for leaf in call.leaves]
        key = call.signature_key(types)
        # A thread that is tracing never waits here: two functions that call each other would wait for ever.
        # At worst one of them is compiled twice.
        with nullcontext() if STACK.worlds else self._lock:
            variants = self._signatures.get(key)
            variant, broken = variants.find(types) if variants is not None else (None, None)
            if variant is not None:
                variant.used = True
            else:
                again = None if self._varying is None else call.by_value()
                try:
                    variant = self._compile(call, key, variants, types, broken)
                except CaptureError:
                    raise
                except Exception:
                    if again is None:
                        raise
                    # perhaps Python needs the value of a float: then it stays one, as ints do
                    found = self._find(again, again.exact_key())
                    self._by_value.add(self._loose_key(call))
                    return found
            if len(self._exact) >= FAST_CALLS:
                self._exact = {}
            self._exact[exact] = variant
            return call, variant

    def _compile(
        self, call: Call, key: Any, variants: Variants | None, types: list[TensorType], broken: str | None
    ) -> Variant:
        if variants is None:
            signature = call.signature(types)
            if hash(key) in self._dropped:
                why = f"needed again after it was dropped: cache_size is {self._cache_size}"
            else:
                why = signature.why(kept.signature for kept in self._signatures.values())
            variants = Variants(key, signature)
        else:
            why = f"new sizes ({broken})" if broken else "new sizes"
        symbolic, hints = variants.generalise(types)
        if hints:
            try:
                return self._add(variants, *self._build(call, symbolic, hints), types, symbolic, why)
            except CaptureError:
                raise
            except Exception as error:
                # what the function itself raises, the specialised trace raises again
                why = f"{why}; the sizes could not be made symbolic ({_in_short(error)})"
        return self._add(variants, *self._build(call, types, None), types, types, why)

    def _build(self, call: Call, types: Sequence[TensorType], hints: Any) -> tuple[Compiled, Traceout]:
        args, kwargs = call.with_leaves(types)
        donated = self._donation.leaves(args, kwargs) if self._donation else ()
        with paused_gc():  # for the whole of it, as each pause ends by looking through all that it has let grow
            out = trace_call(call.f, args, kwargs, hints, call.free if call.fixed else None, donated)
            check_no_captures(out)
            in_tree = flatten((tuple(types), {}))[1] if call.fixed else out.in_tree
            return Compiled(out.graph, in_tree, out.out_tree, self._options), out

    def _add(
        self,
        variants: Variants,
        compiled: Compiled,
        out: Traceout,
        types: Sequence[TensorType],
        shown: Sequence[TensorType],
        why: str,
    ) -> Variant:
        """Keep what was compiled; drop what was not used for longest if there is too much."""
        guards = [f"{g} ({out.asked[g]})" if g in out.asked else str(g) for g in compiled.graph.guards]
        because = f"; guards: {', '.join(guards)}" if guards else ""
        self._log.append(f"compiled for {variants.signature.shown(shown)}: {why}{because}")
        with self._books:
            variants = self._signatures.setdefault(variants.key, variants)
            variant = variants.add(compiled, types)
            self._variants[id(variant)] = variant
            while self._cache_size is not None and len(self._variants) > self._cache_size:
                number, oldest = next(iter(self._variants.items()))
                if oldest.used or oldest is variant:
                    # a second chance
                    oldest.used = False
                    self._variants.move_to_end(number)
                else:
                    self._drop(number, oldest)
            self._only = self._by_structure = None
            if len(self._variants) == 1 and self._plain:
                variant.used = True
                if variant.compiled.flat:
                    self._only = variant.compiled.direct(lambda *_: MISSED, strict=True)
                if self._only is None:
                    self._by_structure = variant.compiled.by_structure(strict=True)
        return variant

    def _drop(self, number: int, variant: Variant) -> None:
        del self._variants[number]
        home = self._signatures[variant.key]
        home.variants.remove(variant)
        if not home.variants:
            del self._signatures[variant.key]
            if len(self._dropped) > MOST_DROPPED:
                self._dropped.clear()
            self._dropped.add(hash(variant.key))
        self._fast = {key: kept for key, kept in self._fast.items() if kept is not variant}
        self._exact = {key: kept for key, kept in self._exact.items() if kept is not variant}

    def explain(self) -> str:
        """What was compiled so far and why, one line each."""
        return "\n".join(self._log) if self._log else "nothing compiled yet"

    def _made_of(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The function and how to compile it; what was compiled so far is compiled again where it is needed."""
        return Jitted, (self._f, *self._arguments)

    def __repr__(self) -> str:
        return f"<jit {function_name(self)}>"


def _unlock_all() -> None:
    for jitted in _JITTED:
        jitted._unlock()


if hasattr(os, "register_at_fork"):
    # a fork can't wait for them: who holds one runs the user's function
    os.register_at_fork(after_in_child=_unlock_all)


def _in_short(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, GraphcError):
        parts = [
            error.problem,
            f"at {error.loc}" if error.loc is not None else "",
            f"fix: {error.fix}" if error.fix else "",
        ]
        return ", ".join(filter(None, parts))
    return (str(error).splitlines() or [type(error).__name__])[0]


def jit(
    f: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    backend: str | None = None,
    exact_order: bool = False,
    kernels: str | None = None,
    fast_math: bool = False,
    cache_size: int | None = CACHE_SIZE,
    donate_argnums: int | Sequence[int] = (),
    donate_argnames: str | Sequence[str] = (),
) -> Any:
    """Compile a function on its first call, and again only when types, structure or static arguments change.

    Args:
        f: a function of arrays and pytrees of arrays. Inside another trace it is traced through.
        static_argnums, static_argnames: arguments that stay Python values; they must be hashable. Each is static
            however a call passes it, and negative numbers count from the last positional parameter.
        backend, exact_order, kernels, fast_math: as for `compile`.
        cache_size: how many compiled functions to keep; beyond it the one not used for longest is dropped. None
            keeps all.
        donate_argnums, donate_argnames: arguments whose memory results may take, numbered and named as static ones
            are. After a call it is unspecified what such an array holds, unless it is a result.

    Returns:
        A function of the same arguments, with the methods `explain`, `compiled_for` and `clear_cache`. In a class it
        is a method.

    Raises:
        TraceError: a parameter named as static or donated does not exist, or is both. When called: an argument is no
            array or number, a static one has no hash, or the function needs the value of a traced one.

    Usable as a decorator, with or without arguments.

    >>> import numpy as np
    >>> double = jit(lambda x: 2 * x)
    >>> double(np.arange(3.0))
    array([0., 2., 4.])
    """
    options = Options(backends.chosen(backend), exact_order, kernels, fast_math)
    settings = (static_argnums, static_argnames, options, cache_size, None, donate_argnums, donate_argnames)
    return (lambda g: Jitted(g, *settings)) if f is None else Jitted(f, *settings)
