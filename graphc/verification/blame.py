"""From a refuted derivative to the op whose rule is wrong, and to the user's line."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from graphc.backends.exact.fields import ExactError, Undecided, as_array
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.reals import reals
from graphc.backends.exact.world import bind, bind_type, run
from graphc.errors import GraphcError
from graphc.ir import Graph, TensorType
from graphc.ops import lookup
from graphc.verification.report import Blame
from graphc.verification.rules import Case, derivative_problems
from graphc.verification.sampling import Point

LIMIT = 5  # wrong ops shown


def locate(graphs: Sequence[Graph], point: Point, sizes: Mapping[str, int]) -> tuple[Blame, ...]:
    """Check every node's rule alone, at the operand values it has at the witness.

    The first graph takes the point; the derivative graphs after it take cotangents and directions too, which are 1.
    A rule that is right everywhere else but wrong here is found here.
    """
    found: dict[tuple[str, str], Blame] = {}
    field = JetField(reals())
    for graph in graphs:
        nodes = graph._node
        with field.working():
            inputs = [field.array(x) for x in point.inputs]
            for type in graph.input_types[len(inputs) :]:
                bound = bind_type(type, sizes)
                assert isinstance(bound, TensorType)
                ones = as_array(field.number(1))
                inputs.append(_filled(ones, bound))
            try:
                values = run(graph, inputs, field, sizes)
            except (Undecided, ExactError, ZeroDivisionError):
                continue
            for i, data in nodes.items():
                op = lookup(data["op"]) if data["op"] != "input" else None
                place = data["loc"][0] if data["loc"] else None
                key = (data["op"], str(place))
                if op is None or op.rule is None or key in found:
                    continue
                types = tuple(bind_type(nodes[a]["type"], sizes) for a in data["args"])
                attrs = {name: bind(value, sizes) for name, value in data["attrs"]}
                case = Case(op, tuple(values[a] for a in data["args"]), types, attrs)  # type: ignore[arg-type]
                problem = _problem(case)
                if problem:
                    source = place.source if place else ""
                    found[key] = Blame(op.name, problem, str(place) if place else "", source)
                    if len(found) == LIMIT:
                        return tuple(found.values())
    return tuple(found.values())


def _filled(one, type):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.broadcast_to(one, type.shape).copy()


def _problem(case: Case) -> str | None:
    if not case.floats or not case.result.differentiable:
        return None
    try:
        return next(derivative_problems(case, random.Random(0)), None)
    except (Undecided, ExactError, ZeroDivisionError):
        return None
    except GraphcError as error:
        return f"{case}: {error.problem}"
