"""What other systems give at the points of `tests/special_points.py`; writes docs/special-points.json.

    python benchmarks/special_points.py jax torch pytensor autograd

asks the systems named, each of which must be installed; what the file says of others stays. graphc need not be
installed. Everything is in float64 and on the CPU, with each system's functions of NumPy's names.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.special_points import POINTS, Point  # noqa: E402

RESULTS: Final = ROOT / "docs" / "special-points.json"
Answer = tuple[Any, Callable[[], Any]]  # the first derivative, and what asks for the second


class Names:
    """Functions by NumPy's names: those given, and a module's own for the rest."""

    def __init__(self, module: Any, **given: Any) -> None:
        self._module = module
        self.__dict__.update(inf=np.inf, nan=np.nan, **given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def function(point: Point, numpy: Any, special: Any) -> Callable[[Any], Any]:
    return eval(f"lambda x: {point.function}", {"np": numpy, "special": special})  # type: ignore[no-any-return]


def jax() -> Callable[[Point], Answer]:
    import jax
    import jax.numpy as jnp
    import jax.scipy.special as special

    jax.config.update("jax_enable_x64", True)

    def ask(point: Point) -> Answer:
        f, x = function(point, jnp, special), jnp.asarray(point.at, float)
        return jax.grad(f)(x), lambda: jax.hessian(f)(x)

    return ask


def torch() -> Callable[[Point], Answer]:
    import torch

    def along(f: Callable[..., Any], name: str = "dim") -> Callable[..., Any]:
        return lambda x, axis=None: f(x) if axis is None else f(x, **{name: axis})

    def norm(x: Any, order: Any = 2, axis: Any = None) -> Any:
        return torch.linalg.vector_norm(x, order, dim=axis)

    def two(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda a, b: f(torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64))

    names = Names(
        torch,
        array=lambda v: torch.tensor(v, dtype=torch.float64),
        linalg=Names(torch.linalg, norm=norm),
        max=along(torch.amax),
        min=along(torch.amin),
        ptp=lambda x: torch.amax(x) - torch.amin(x),
        sum=along(torch.sum),
        sort=lambda x: torch.sort(x).values,
        median=lambda x: torch.quantile(x, 0.5),
        cumprod=lambda x: torch.cumprod(x, 0),
        std=lambda x: torch.std(x, correction=0),
        var=lambda x: torch.var(x, correction=0),
        maximum=two(torch.maximum),
        fmax=two(torch.fmax),
    )
    special = Names(torch.special, xlogy=two(torch.special.xlogy))

    def ask(point: Point) -> Answer:
        f, x = function(point, names, special), torch.tensor(point.at, dtype=torch.float64, requires_grad=True)
        (first,) = torch.autograd.grad(f(x), x)
        return first, lambda: torch.autograd.functional.hessian(f, x.detach())

    return ask


def pytensor() -> Callable[[Point], Answer]:
    import pytensor
    import pytensor.tensor as pt

    # neither a C compiler nor fusion is needed to see what the derivative's formula gives
    pytensor.config.mode = "FAST_COMPILE"
    pytensor.config.cxx = ""
    names = Names(pt, array=lambda v: pt.as_tensor(np.array(v)), where=pt.switch)

    def ask(point: Point) -> Answer:
        at = np.array(point.at, float)
        x = pt.tensor("x", dtype="float64", shape=at.shape)
        first = pytensor.grad(function(point, names, pt)(x), x)

        def second() -> Any:
            derive = pytensor.gradient.jacobian if at.ndim else pytensor.grad
            found = derive(first.flatten() if at.ndim else first, x, disconnected_inputs="ignore")
            return np.reshape(pytensor.function([x], found)(at), at.shape * 2)

        return pytensor.function([x], first)(at), second

    return ask


def autograd() -> Callable[[Point], Answer]:
    import autograd
    import autograd.numpy as anp
    import autograd.scipy.special as special

    def ask(point: Point) -> Answer:
        f = function(point, anp, special)
        x = np.array(point.at, float)[()]
        return autograd.grad(f)(x), lambda: autograd.jacobian(autograd.grad(f))(x)

    return ask


SYSTEMS: Final = {"jax": jax, "torch": torch, "pytensor": pytensor, "autograd": autograd}


def answered(name: str, point: Point, ask: Callable[[Point], Answer]) -> list[Any]:
    """First and second derivative, None for what the system refuses."""
    found: list[Any] = []
    try:
        first, second = ask(point)
        found.append(np.asarray(first, float).tolist())
        found.append(np.asarray(second(), float).tolist())
    except Exception as error:  # whatever a system says, it has no answer
        print(f"{name}: {point}: {type(error).__name__}: {str(error)[:80]!r}")
    return found + [None] * (2 - len(found))


def main(names: list[str]) -> None:
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in names:
        ask = SYSTEMS[name]()
        version = metadata.version(name).partition("+")[0]
        known[name] = {"version": version} | {str(point): answered(name, point, ask) for point in POINTS}
    # an answer to a line
    systems = (
        json.dumps(name) + ": {\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in one.items()) + "\n}"
        for name, one in known.items()
    )
    RESULTS.write_text("{\n" + ",\n".join(systems) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    main(sys.argv[1:] or list(SYSTEMS))
