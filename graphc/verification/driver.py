"""The verification tool: every derivative of a function against exact mathematics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Any, Final

from graphc.backends.exact.fields import ExactError, Undecided
from graphc.backends.exact.jets import Numbers
from graphc.backends.exact.reals import reals
from graphc.compiler import trace
from graphc.errors import DifferentiationError
from graphc.ir import Graph
from graphc.passes import pipeline
from graphc.passes.derive import vjp_graph
from graphc.verification.edges import audit
from graphc.verification.identities import Derived, Direction, Space, derive
from graphc.verification.report import Entry, Report, Verdict
from graphc.verification.sampling import Point, choose_sizes, sample_points

ELEMENTS: Final = {1: 48, 2: 12}  # single elements checked beside the contractions, by order
RESAMPLES: Final = 40  # points drawn in GF(p) until every square root exists


def verify(
    fn: Callable[..., Any] | Graph,
    *specs: Any,
    order: int = 2,
    wrt: Sequence[int] | None = None,
    points: int = 3,
    budget: float = 5.0,
    seed: int = 0,
    domain: str | None = None,
    env: Mapping[str, int] | None = None,
    edges: bool = True,
) -> Report:
    """Check every derivative of a function, to first and second order, against exact mathematics.

    The reference is SymPy's `diff`, or Taylor jets, of the forward function; never graphc's own derivative rules.

    Args:
        fn: a function of arrays, or a graph.
        specs: the types of its arguments, as for `trace`.
        order: 1 or 2.
        wrt: positions of the flattened arguments to differentiate by; all that are floats if None.
        points: sample points, rational and with exact float values.
        budget: seconds that SymPy may spend on proofs; what is not proved in time stays certified.
        seed: of the random points and directions.
        domain: where float arguments are drawn from, such as "positive"; found by trial if None.
        env: sizes of symbolic dims; small ones of at least 2 if None.
        edges: whether to audit kinks, poles, 0, 1 and -1.

    Returns:
        A `Report`; print it, or ask its `verdict`.

    Raises:
        DifferentiationError: no output or no argument is a float.
        GuardError: no small sizes satisfy the function's guards.

    >>> verify(lambda x: np.tanh(x) * x, "f64").verdict
    'proved'
    """
    graph = fn if isinstance(fn, Graph) else trace(fn, *specs)
    return verify_graph(
        graph, wrt, order, points=points, budget=budget, seed=seed, domain=domain, env=env, edges=edges
    )


def verify_graph(
    graph: Graph,
    wrt: Sequence[int] | None = None,
    order: int = 2,
    *,
    points: int = 3,
    budget: float = 5.0,
    seed: int = 0,
    domain: str | None = None,
    env: Mapping[str, int] | None = None,
    edges: bool = True,
) -> Report:
    """`verify` for a graph; `wrt` are input positions."""
    if order not in (1, 2):
        raise DifferentiationError("verify: order must be 1 or 2", actual=str(order))
    started = time.monotonic()
    names = [graph.attrs(i)["name"] for i in graph.inputs]
    if wrt is None:
        wrt = [k for k, t in enumerate(graph.input_types) if t.differentiable]
    for k in wrt:
        if not graph.input_types[k].differentiable:
            raise DifferentiationError(f"verify: argument {names[k]} is not a float", actual=repr(graph.input_types[k]))
    derived = derive(graph, wrt, order) if wrt else None
    if derived is None or not derived.outputs:
        raise DifferentiationError("verify: nothing to differentiate", expected="a float argument and a float output")
    sizes = choose_sizes(graph, env)
    results = [f"y{o}" if len(graph.outputs) > 1 else "y" for o in range(len(graph.outputs))]
    sampled = sample_points(graph, sizes, points, seed, domain)
    check = Check(derived, sizes, sampled, names, results, seed)
    entries = [check.entry(o, inputs) for o in derived.outputs for inputs in _inputs(wrt, order)]
    entries = check.proved(entries, time.monotonic() + budget)
    notes = [*check.notes()]
    found = []
    if edges:
        # what users run is the gradient of the simplified, stabilised forward
        prepared = pipeline.run(graph, pipeline.FORWARD)[-1].graph
        found = audit(graph, vjp_graph(prepared, wrt), wrt, derived.outputs, sampled, sizes, (names, results))
    return Report(
        graph.name,
        tuple(entry for entry, _ in entries),
        tuple(found),
        tuple(notes),
        round(time.monotonic() - started, 3),
    )


Key = tuple[int, tuple[int, ...]]


def _inputs(wrt: Sequence[int], order: int) -> Iterator[tuple[int, ...]]:
    yield from ((k,) for k in wrt)
    if order > 1:
        yield from combinations_with_replacement(wrt, 2)


@dataclass(slots=True)
class Identity:
    """One contraction of an entry: weights on the output, a direction for each input."""

    weights: Direction
    directions: tuple[tuple[int, Direction], ...]

    @property
    def single(self) -> bool:
        """Whether it is one element of the derivative."""
        return "[" in self.weights.name


@dataclass(slots=True)
class Check:
    """The evidence for one graph's derivatives."""

    derived: Derived
    sizes: Mapping[str, int]
    points: Sequence[Point]
    names: Sequence[str]
    results: Sequence[str]
    seed: int

    def entry(self, o: int, inputs: tuple[int, ...]) -> tuple[Entry, Key]:
        """The verdict on one derivative, short of a proof."""
        order = len(inputs)
        made = Entry(self.results[o], tuple(self.names[k] for k in inputs), order, "undecided", "no sample point found")
        key = (o, inputs)
        if not self.points:
            return made, key
        screen = self._screen(o, inputs)
        numbers = reals()
        largest, count = 0.0, 0
        for point in self.points:
            space = self._space(numbers, point)
            for identity in self._identities(o, inputs, point):
                try:
                    with numbers.working():
                        found, expected = self._evaluate(space, o, identity)
                        close = numbers.close(found - expected, numbers.magnitude(expected))
                        radius = numbers.radius(found - expected) if close else 0.0
                except (Undecided, ExactError) as error:
                    return replace(made, method=f"undecided at a sample point: {error}"), key
                if not close:
                    return self._dispute(made, o, inputs, point, identity), key
                largest, count = max(largest, radius), count + 1
        method = f"{'Arb' if numbers.certified else 'mpmath'} at {len(self.points)} points, {count} identities"
        method += f", radius {largest:.1e}" if numbers.certified else f", largest difference {largest:.1e}"
        verdict: Verdict = "certified" if numbers.certified or screen else "checked"
        return replace(made, verdict=verdict, method="; ".join(filter(None, (screen, method)))), key

    def _space(self, numbers: Numbers, point: Point) -> Space:
        cache = _SPACES.setdefault(id(self), {})
        key = (type(numbers), getattr(numbers, "widen", False), getattr(numbers, "seed", None), id(point))
        if key not in cache:
            cache[key] = Space(self.derived, numbers, point, self.sizes, 2 if self.derived.second else 1)
        return cache[key]

    def _evaluate(self, space: Space, o: int, identity: Identity) -> tuple[Any, Any]:
        if len(identity.directions) == 1:
            ((k, u),) = identity.directions
            return space.first_order(o, identity.weights, k, u)
        (k, u), (l, d) = identity.directions
        return space.second_order(o, identity.weights, k, u, l, d)
