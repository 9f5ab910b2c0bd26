"""A graph made ready to run: passes, plan, backend."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import optree

from graphc import backends
from graphc.compiler.checking import checker, parse
from graphc.compiler.fallback import MISSED, Fallback
from graphc.compiler.structures import giver, taker
from graphc.dims import symbols
from graphc.environment import choice
from graphc.errors import DonationWarning, ShapeError, UnsupportedError
from graphc.forks import Lock
from graphc.ir import Graph, paused_gc
from graphc.passes import pipeline
from graphc.passes.fuse import fuse
from graphc.passes.groups import Fusion
from graphc.passes.plan import plan as make_plan
from graphc.plan import Loaded, Memory, Plan
from graphc.text import callbacks_of, constants_of, dump
from graphc.tracing import stacklevel, user_locs

if TYPE_CHECKING:
    from graphc.objective import Objective

SHOWN: Final = 5  # results that a warning names
KERNELS: Final = ("llvm", "ufunc", "none")  # the default first
WITHOUT_LLVMLITE: Final = ("ufunc", "none", "llvm")  # what machine code lacks there is said when it is asked for

# A fork waits for it, as there are locks that only who compiles knows of: LLVM's, and those of cached properties.
_compiling: Final = Lock()


@dataclass(frozen=True, slots=True)
class Options:
    """How a graph is lowered."""

    backend: str = "numpy"
    exact_order: bool = False
    kernels: str | None = None
    fast_math: bool = False
    passes: tuple[pipeline.Pass, ...] | None = None

    @property
    def pipeline(self) -> tuple[pipeline.Pass, ...]:
        if self.passes is not None:
            return self.passes
        if self.exact_order:
            return pipeline.EXACT_PIPELINE
        if self.generator == "cuda":
            return pipeline.DEVICE_PIPELINE
        return pipeline.KERNEL_PIPELINE if self.generator is not None else pipeline.PIPELINE

    @property
    def generator(self) -> str | None:
        """The kernel generator: the one asked for, else that of ``GRAPHC_KERNELS``, else the best; on a GPU "cuda"."""
        if self.backend == "cupy":
            backend_module("cupy").refuse_options(self.exact_order, self.kernels)
            return "cuda"
        if self.exact_order or self.backend != "numpy":
            return None
        name = self.kernels or choice("GRAPHC_KERNELS", KERNELS if find_spec("llvmlite") else WITHOUT_LLVMLITE)
        if name not in KERNELS:
            raise UnsupportedError(
                f"there is no kernel generator called {name!r}",
                expected=" or ".join(KERNELS),
                actual=repr(name),
                fix='kernels="llvm", or leave it out; the variable GRAPHC_KERNELS sets it for a process',
            )
        if name == "llvm" and find_spec("llvmlite") is None:
            raise UnsupportedError(
                "kernels in machine code need llvmlite, which is not installed",
                expected="llvmlite",
                actual=f"kernels={name!r}" if self.kernels else f"GRAPHC_KERNELS={name}",
                fix="pip install llvmlite; or do not ask for them, and kernels run by NumPy",
            )
        return None if name == "none" else name


class _Signature:
    """The signature of an object, but not of its class."""

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            raise AttributeError("__signature__")
        return import_module("inspect").signature(instance._fallback)


class Compiled:
    """A compiled function: immutable, thread-safe, picklable. Call it on arrays of the types it was compiled for.

    Attributes: `graph` as traced, `passes` (every step with the graph after it), `fusion` (which nodes run as kernels,
    and why others do not), `plan`, `source`.
    """

    # what a call calls is an attribute of each function: machine code itself, where it does all that is to do
    __slots__ = ("__call__", "__dict__", "__weakref__")
    __call__: Callable[..., Any]
    __signature__ = _Signature()

    def __init__(self, graph: Graph, in_tree: Any, out_tree: Any, options: Options | None = None) -> None:
        options = options or Options()
        self.graph = graph
        self.options = options
        self.in_tree = in_tree
        self.out_tree = out_tree
        with _compiling.held, paused_gc():
            self.passes = pipeline.run(graph, options.pipeline, checker())
            optimised = self.passes[-1].graph if self.passes else graph
            generator = options.generator
            backend = backend_module(options.backend)
            on_gpu = generator == "cuda"
            natively = generator is not None and not on_gpu and backend.runs_natively(optimised, generator)
            unfused = Fusion(optimised, (), (), wanted=False)
            self.fusion = unfused if generator is None else fuse(optimised, on_gpu or natively)
            # on a GPU storage is taken from a pool, at no cost: results that overwrite operands would gain nothing
            overwrite = not options.exact_order and not on_gpu
            self.plan: Plan = make_plan(optimised, overwrite=overwrite, groups=self.fusion.groups, traced=graph)
            if overwrite:
                _report_unused_donations(optimised, self.plan)
            settings: dict[str, Any] = {} if generator is None else {"fast": options.fast_math}
            if generator is not None and not on_gpu:
                settings.update(kernels=generator, natively=natively)
            self._loaded: Loaded = backend.load(self.plan, **settings)
        self._run, self.source = self._loaded.run, self._loaded.source
        self.flat = in_tree is None or _is_flat(in_tree)
        self._fallback = Fallback(graph, in_tree, out_tree, self.flat, self._run)
        self._single = self._fallback.single
        direct = self.direct(self._fallback) if self.flat else None
        self.__call__ = direct or self._fallback.after(self.by_structure())

    def direct(self, fallback: Callable[..., Any], strict: bool = False) -> Callable[..., Any] | None:
        """A function of the arrays alone that returns what a call returns, if machine code does all of that.

        Arguments that it does not take as they are go to `fallback`, whose result it returns. If `strict`, it tells
        Python's numbers, which are for weak inputs, from NumPy's.
        """
        bind = self._loaded.bind
        if bind is None or not (self._single or self.out_tree == _plain_tuple(len(self.graph.outputs))):
            return None
        return bind(fallback, self._single, strict)

    def by_structure(self, strict: bool = False) -> Callable[[tuple[Any, ...], dict[str, Any]], Any] | None:
        """A function of `(args, kwargs)` in the structure compiled for, with little around the machine code.

        It returns `MISSED` for what the machine code does not take as it is; `strict` as for `direct`.
        """
        bind = self._loaded.bind
        if bind is None or self.in_tree is None or self.out_tree is None:
            return None
        take, give = taker(self.in_tree), giver(self.out_tree, len(self.graph.outputs))
        if take is None:
            return None
        run = bind(lambda *_: MISSED, False, strict)

        def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            leaves = take(args, kwargs)
            if leaves is None:
                return MISSED
            results = run(*leaves)
            return results if results is MISSED else give(results)

        return call

    @property
    def packed(self) -> Callable[..., Any]:
        """A function of the arrays alone that returns what a call returns; it takes all that a call takes."""
        run, single, pack = self._run, self._single, self._fallback.pack
        return (lambda *arrays: run(*arrays)[0]) if single else (lambda *arrays: pack(run(*arrays)))

    def __reduce__(self) -> tuple[Any, ...]:
        beside = constants_of(self.graph), callbacks_of(self.graph)
        options = replace(self.options, passes=None)
        return _from_text, (dump(self.graph), *beside, self.in_tree, self.out_tree, options)

    def __repr__(self) -> str:
        arguments = ", ".join(map(repr, self.graph.input_types))
        return f"<compiled {self.graph.name}({arguments}) -> {', '.join(map(repr, self.graph.output_types))}>"

    def scipy(self, argnums: int | Sequence[int] = 0) -> Objective:
        """The function for `scipy.optimize.minimize`: an object that unpacks as `(fun, jac, hessp)`.

        Args:
            argnums: the positional arguments to minimise over; each may be a pytree of float arrays. The others are
                passed by SciPy's `args`.

        Returns:
            An `Objective`: functions of a flat vector of doubles, with `flatten` and `unflatten` between the vector and
            the arguments.

        Raises:
            DifferentiationError: the function does not return one real scalar, or an argument is no float.

        >>> import numpy as np
        >>> from graphc.compiler import compile
        >>> objective = compile(lambda p: (p["a"] - 1) ** 2 + p["b"] ** 2, {"a": "f64[]", "b": "f64[]"}).scipy()
        >>> fun, jac, hessp = objective
        >>> fun(np.array([3.0, 1.0])), jac(np.array([3.0, 1.0]))
        (5.0, array([4., 2.]))
        """
        from graphc.objective import Objective

        return Objective(self, argnums)

    def memory(self, **sizes: int) -> Memory:
        """The most bytes that a call takes, known before it runs; named sizes as keywords.

        Returns:
            A number, with the parts `arguments`, `results` (those that get memory of their own, and not that of a
            donated argument) and `temporaries`. What NumPy and other libraries take inside a call is not counted, nor
            is memory that is kept for later calls.

        Raises:
            ShapeError: a named size has no value, or there is no such name.

        >>> from graphc.compiler import compile
        >>> needed = compile(lambda x: x * 2 + 1, "f64[n]").memory(n=1000)
        >>> needed, needed.arguments, needed.results, needed.temporaries
        (16000, 8000, 8000, 0)
        """
        names = sorted({name for t in self.graph.input_types for d in t.shape for name in symbols(d)})
        if set(names) != set(sizes):
            none = "" if names else ", of which there are none"
            raise ShapeError(
                f"{self.graph.name}: memory depends on the named sizes{none}",
                expected=f"memory({', '.join(f'{name}=...' for name in names)})",
                actual=f"memory({', '.join(f'{name}={size}' for name, size in sizes.items())})",
                loc=(user_locs() or (None,))[0],
            )
        return self.plan.memory(sizes, self._loaded.arena)


def _from_text(text: str, constants: Any, callbacks: Any, in_tree: Any, out_tree: Any, options: Options) -> Compiled:
    return Compiled(parse(text, constants, callbacks), in_tree, out_tree, options)


def _report_unused_donations(graph: Graph, plan: Plan) -> None:
    """Warn of donated arrays whose memory is of no use."""
    inputs = [graph._node[i] for i in graph.inputs]
    useless = [k for k in graph.graph["donated"] if k not in plan.donated and inputs[k]["type"].shape]
    if useless:
        shown = ", ".join(f"{dict(inputs[k]['attrs'])['name']}: {inputs[k]['type']!r}" for k in useless)
        results = ", ".join(map(repr, graph.output_types[:SHOWN])) + (", …" if len(graph.output_types) > SHOWN else "")
        warnings.warn(
            f"{graph.name}: no result can take the memory of what is donated here: {shown}. It takes a result of the "
            "same dtype and shape that is made when the argument is read no more, after all that may raise an error; "
            f"the results are: {results or 'none'}.",
            DonationWarning,
            stacklevel=stacklevel(),
        )


def _plain_tuple(count: int) -> Any:
    return optree.treespec_tuple([optree.treespec_leaf(namespace="graphc")] * count, namespace="graphc")


def _is_flat(in_tree: Any) -> bool:
    """Whether the structure is that of plain positional arrays."""
    nothing = optree.treespec_dict({}, namespace="graphc")
    return bool(in_tree == optree.treespec_tuple([_plain_tuple(in_tree.num_leaves), nothing], namespace="graphc"))


def backend_module(name: str) -> Any:
    """The module that loads plans for a backend."""
    return import_module(backends.module(name))
