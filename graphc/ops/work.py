"""The arithmetic of one evaluation of an op, counted by class as formulas in the sizes.

A sum of k elements counts k additions: the first is added to an accumulator that starts at 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphc import dims
from graphc.dims import Size
from graphc.ir import TensorType
from graphc.ops.record import Arithmetic, Work
from graphc.ops.typing import reduced_shape

Counts = Mapping[Arithmetic, Size]


def elements(type: TensorType) -> Size:
    """How many elements an array of this type has."""
    return dims.product(type.shape)


def for_each(kind: Arithmetic) -> Work:
    """One operation for each element of the first operand: what a reduction or a running sum does."""
    return lambda result, operand, *rest, **attrs: {kind: elements(operand)}


def per_element(**counts: int) -> Work:
    """So many operations of each class for each element of the result."""
    return lambda result, *operands, **attrs: {kind: count * elements(result) for kind, count in counts.items()}


def integer_power(result: TensorType, operand: TensorType, *, exponent: int) -> Counts:
    """Multiplications by repeated squaring, and the reciprocal of a negative power."""
    n, size = elements(result), abs(exponent)
    products = max(size.bit_length() + size.bit_count() - 2, 0)
    return {"mul": products * n, **({"div": n} if exponent < 0 else {})}


def matrix_product(result: TensorType, left: TensorType, right: TensorType) -> Counts:
    """One multiplication and one addition for each triple of row, column and inner position."""
    triples = elements(result) * left.shape[-1]
    return {"mul": triples, "add": triples}


def norm(result: TensorType, operand: TensorType, **attrs: Any) -> Counts:
    """Squares, their sum, the root, and the checks that neither overflowed nor vanished."""
    n, kept = elements(operand), elements(result)
    return {"mul": n, "add": n, "div": kept, "other": 4 * kept}


def logsumexp(result: TensorType, operand: TensorType, **attrs: Any) -> Counts:
    """The largest element, the shift by it, exponentials, their sum, its logarithm, the shift back."""
    n, kept = elements(operand), elements(result)
    return {"other": n + 2 * kept, "add": 2 * n + kept, "transcendental": n + kept}


def softmax(result: TensorType, operand: TensorType, *, axes: tuple[int, ...]) -> Counts:
    """The largest element, the shift by it, exponentials, their sum, the quotients."""
    n = elements(operand)
    return {"other": n + 2 * _lines(operand, axes), "add": 2 * n, "transcendental": n, "div": n}


def log_softmax(result: TensorType, operand: TensorType, *, axes: tuple[int, ...]) -> Counts:
    """The largest element, the shift by it, exponentials, their sum, its logarithm, the shift by that."""
    n, lines = elements(operand), _lines(operand, axes)
    return {"other": n + 2 * lines, "add": 3 * n, "transcendental": n + lines}


def _lines(operand: TensorType, axes: tuple[int, ...]) -> Size:
    """How many independent ranges along `axes` an array has."""
    return dims.product(reduced_shape(operand.shape, set(axes), False))


def random_words(result: TensorType, *operands: TensorType, **attrs: Any) -> Counts:
    """Ten operations in each of ten rounds of the generator, for every four words of 32 bits."""
    return {"other": 25 * elements(result) * result.dtype.itemsize // 4}


def random_word(result: TensorType, *operands: TensorType, **attrs: Any) -> Counts:
    """A block of four words, and the choice among them, for each number."""
    return {"other": 110 * elements(result)}


def random_below(result: TensorType, *operands: TensorType, **attrs: Any) -> Counts:
    """Random words, their product with the bound in halves, and the check; few are drawn again."""
    return {"other": random_words(result)["other"] + (6 if result.dtype.itemsize == 4 else 24) * elements(result)}


def random_order(result: TensorType, *operands: TensorType, **attrs: Any) -> Counts:
    """Random words, and 1 for each element that is sorted."""
    return {"other": random_words(result)["other"] + elements(result)}
