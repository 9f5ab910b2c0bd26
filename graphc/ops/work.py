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


def elimination(result: TensorType, a: TensorType) -> Counts:
    """Gaussian elimination of square matrices: a quotient for each element below the diagonal, then updates."""
    n = a.shape[-1]
    return _factored(a, (n - 1) * n * (2 * n - 1) // 6, (n - 1) * n // 2)


def solution(result: TensorType, a: TensorType, b: TensorType) -> Counts:
    """Elimination once for each matrix, then substitution down and up for each right-hand side."""
    sides = elements(result)
    pairs = sides * (a.shape[-1] - 1)
    once = elimination(result, a)
    return {"mul": once["mul"] + pairs, "add": once["add"] + pairs, "div": once["div"] + sides}


def substitution(result: TensorType, a: TensorType, b: TensorType, *, lower: bool, unit: bool) -> Counts:
    """One multiplication and one addition for each element of a triangle off its diagonal and each right-hand side."""
    sides = elements(result)
    pairs = sides * (a.shape[-1] - 1) // 2
    return {"mul": pairs, "add": pairs, **({} if unit else {"div": sides})}


def inversion(result: TensorType, a: TensorType) -> Counts:
    """The solution for the columns of the identity."""
    return solution(result, a, a)


def square_root(result: TensorType, a: TensorType) -> Counts:
    """Cholesky's factorisation: a quotient or a root for each element of a triangle, after updates of it."""
    n = a.shape[-1]
    return _factored(a, (n - 1) * n * (n + 1) // 6, n * (n + 1) // 2)


# Iterations converge when they do. What follows are the leading terms of G. H. Golub and C. F. Van Loan, Matrix
# Computations, 4th ed., for matrices of m by n with m at least n: sections 5.2, 8.3 and 8.6.


def eigenvalues(result: TensorType, a: TensorType, **attrs: Any) -> Counts:
    """4 n**3 / 3 operations."""
    return _operations(a, 4 * a.shape[-1] ** 3 // 3)


def eigenvectors(result: TensorType, a: TensorType, **attrs: Any) -> Counts:
    """9 n**3 operations."""
    return _operations(a, 9 * a.shape[-1] ** 3)


def singular_values(result: TensorType, a: TensorType, **attrs: Any) -> Counts:
    """4 m n**2 - 4 n**3 / 3 operations."""
    m, n = _sides(a)
    return _operations(a, 4 * m * n * n - 4 * n**3 // 3)


def singular_vectors(result: TensorType, a: TensorType, **attrs: Any) -> Counts:
    """6 m n**2 + 20 n**3 operations."""
    m, n = _sides(a)
    return _operations(a, 6 * m * n * n + 20 * n**3)


def pseudo_inversion(result: TensorType, a: TensorType, *, rcond: float) -> Counts:
    """Singular values and vectors, and the product of the latter."""
    m, n = _sides(a)
    return _operations(a, 8 * m * n * n + 20 * n**3)


def orthogonal(result: TensorType, a: TensorType, **attrs: Any) -> Counts:
    """4 m n**2 - 4 n**3 / 3 operations: Householder's reflections, and their product."""
    m, n = _sides(a)
    return _operations(a, 4 * m * n * n - 4 * n**3 // 3)


def _factored(a: TensorType, updates: Size, quotients: Size) -> Counts:
    count = _stack(a)
    return {"mul": count * updates, "add": count * updates, "div": count * quotients}


def _stack(a: TensorType) -> Size:
    """How many matrices there are."""
    return dims.product(a.shape[:-2])


def _sides(a: TensorType) -> tuple[Size, Size]:
    """The larger and the smaller size of a matrix."""
    return dims.maximum(*a.shape[-2:]), dims.minimum(*a.shape[-2:])


def _operations(a: TensorType, count: Size) -> Counts:
    """So many operations for each matrix, half of them multiplications and half additions."""
    half = _stack(a) * (count // 2)
    return {"mul": half, "add": half}


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
