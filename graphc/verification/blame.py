"""From a refuted derivative to the op whose rule is wrong, and to the user's line."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np

from graphc.backends.exact.fields import ExactError, Undecided
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.reals import reals
from graphc.backends.exact.world import bind, bind_type, run
from graphc.errors import GraphcError
from graphc.ir import Graph, TensorType
from graphc.ops import lookup
from graphc.ops.record import Jvp
from graphc.verification.cases import Case
from graphc.verification.report import Blame
from graphc.verification.sampling import Point
from graphc.verification.trials import Trial, forward_problem, reverse_problem

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
                inputs.append(field.array(np.ones(bind(bound.shape, sizes), np.int64)))
            try:
                values = run(graph, inputs, field, sizes)
            except (Undecided, ExactError, ZeroDivisionError):
                continue
            for data in nodes.values():
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


def _problem(case: Case) -> str | None:
    """What is wrong with the op's own rule; rules of the ops that it is built from play no part."""
    if not case.floats or not case.result.differentiable:
        return None
    try:
        trial = Trial.of(case, random.Random(0))
        with trial.plain.working():
            # the transpose of a Jvp rule runs through other ops' rules
            problem = forward_problem(trial) or (None if isinstance(case.op.rule, Jvp) else reverse_problem(trial))
    except (Undecided, ExactError, ZeroDivisionError):
        return None
    except GraphcError as error:
        problem = error.problem
    return None if problem is None else f"{case}: {problem}"
