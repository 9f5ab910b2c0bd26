"""Random numbers that are functions of a key: the same eagerly, compiled, and on any machine.

A key is made from a seed, other keys are derived from it, and every draw takes one. Nothing is changed by a draw: the
same key gives the same numbers. The functions take keys and parameters that are arrays, or traced values.

>>> import numpy as np, graphc
>>> first, second = graphc.random.split(graphc.random.key(0))
>>> graphc.random.normal(first, (2,)).round(6)
array([1.038691, 1.157174])
>>> noisy = graphc.jit(lambda key, x: x + graphc.random.normal(key, x.shape, x.dtype))
>>> noisy(first, np.zeros(2)).round(6)
array([1.038691, 1.157174])
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import numpy as np

from graphc.random.continuous import (
    cauchy,
    exponential,
    gumbel,
    laplace,
    logistic,
    normal,
    truncated_normal,
    uniform,
)
from graphc.random.discrete import bernoulli, bits, categorical, integers, rademacher
from graphc.random.keys import fold_in, key, split
from graphc.random.selecting import choice, permutation
from graphc.tracing import UnsupportedAttribute, user_locs

__all__ = [
    "bernoulli",
    "bits",
    "categorical",
    "cauchy",
    "choice",
    "exponential",
    "fold_in",
    "gumbel",
    "integers",
    "key",
    "laplace",
    "logistic",
    "normal",
    "permutation",
    "rademacher",
    "split",
    "truncated_normal",
    "uniform",
]

# What NumPy and JAX call these.
OTHER_NAMES: Final = {
    "Generator": "key(seed)",
    "PRNGKey": "key(seed)",
    "RandomState": "key(seed)",
    "bytes": "bits(key, shape, np.uint8)",
    "default_rng": "key(seed)",
    "permuted": "permutation(key, x, axis, independent=True)",
    "rand": "uniform(key, shape)",
    "randint": "integers(key, shape, low, high)",
    "randn": "normal(key, shape)",
    "random": "uniform(key, shape)",
    "random_integers": "integers(key, shape, low, high, endpoint=True)",
    "random_sample": "uniform(key, shape)",
    "ranf": "uniform(key, shape)",
    "sample": "uniform(key, shape)",
    "seed": "key(seed)",
    "shuffle": "permutation(key, x)",
    "standard_cauchy": "cauchy(key, shape)",
    "standard_exponential": "exponential(key, shape)",
    "standard_normal": "normal(key, shape)",
}


def __getattr__(name: str) -> NoReturn:
    """A function that NumPy has and this module has not is refused with what to write instead."""
    other = OTHER_NAMES.get(name)
    if (other is None and not hasattr(np.random.Generator, name)) or name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise UnsupportedAttribute(
        f"graphc.random has no {name}",
        expected=", ".join(__all__),
        actual=f"graphc.random.{name}",
        loc=(user_locs() or (None,))[0],
        fix=f"graphc.random.{other}" if other else "draw with NumPy before the call, and pass the numbers in",
    )


def __dir__() -> list[Any]:
    return __all__
