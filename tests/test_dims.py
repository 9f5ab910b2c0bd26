"""Symbolic sizes against Python's integers."""

import copy
import gc
import itertools
import math
import operator
import pickle
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import graphc
from graphc.dims import (
    Dim,
    comparison,
    divide_exactly,
    division,
    equal,
    evaluate,
    less,
    less_equal,
    maximum,
    minimum,
    parse,
    polynomials,
    product,
    solve,
    substitute,
    symbol,
    symbols,
)

K, M, N = symbol("k"), symbol("m"), symbol("n")
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "max": maximum,
    "min": minimum,
}
VALUES = (0, 1, 2, 3, 5, 8)
ENVIRONMENTS = [dict(zip("kmn", values, strict=True)) for values in itertools.product(VALUES, repeat=3)]


# An expression is a leaf (int or symbol name) or (operator, left, right), so it has a meaning of its own:
# `value` computes it with Python's integers, `size` with sizes.


def expressions(max_leaves=8):
    leaves = st.sampled_from("kmn") | st.integers(-4, 6)
    return st.recursive(leaves, lambda e: st.tuples(st.sampled_from(sorted(OPERATORS)), e, e), max_leaves=max_leaves)


def value(expression, env):
    """Compute an expression over integers; None where it divides by zero."""
    if isinstance(expression, int):
        return expression
    if isinstance(expression, str):
        return env[expression]
    left, right = value(expression[1], env), value(expression[2], env)
    if left is None or right is None or (expression[0] in ("//", "%") and right == 0):
        return None
    return {**OPERATORS, "max": max, "min": min}[expression[0]](left, right)


def size(expression):
    """Build an expression as a size, giving up where it divides by a constant zero."""
    if isinstance(expression, int):
        return expression
    if isinstance(expression, str):
        return symbol(expression)
    left, right = size(expression[1]), size(expression[2])
    assume(expression[0] not in ("//", "%") or right != 0)
    return OPERATORS[expression[0]](left, right)


def meanings(*each):
    """The environments, with values, in which all expressions divide by nothing that is zero."""
    for env in ENVIRONMENTS:
        values = [value(expression, env) for expression in each]
        if None not in values:
            yield env, values


# --- meaning ------------------------------------------------------------------------------------------------


@settings(max_examples=400)
@given(expressions())
def test_a_size_means_what_python_means(expression):
    built = size(expression)
    for env, (expected,) in meanings(expression):
        assert evaluate(built, env) == expected


@settings(max_examples=200)
@given(st.lists(st.integers(-12, 12), min_size=4, max_size=4), *[st.integers(-12, 12).filter(bool)] * 2)
def test_divisions_of_linear_sizes_mean_what_python_means(coefficients, first, second):
    k, m, n, constant = coefficients
    linear = k * K + m * M + n * N + constant
    for env in ENVIRONMENTS:
        x = k * env["k"] + m * env["m"] + n * env["n"] + constant
        assert evaluate(linear // first, env) == x // first
        assert evaluate(linear % first, env) == x % first
        assert evaluate((linear // first + constant) // second, env) == (x // first + constant) // second


@settings(max_examples=400)
@given(expressions(5), expressions(5))
def test_comparisons_are_never_wrong(left, right):
    a, b = size(left), size(right)
    decided = {operator.eq: equal(a, b), operator.lt: less(a, b), operator.le: less_equal(a, b)}
    for env, (x, y) in meanings(left, right):
        for compare, answer in decided.items():
            assert answer in (None, compare(x, y)), (compare, a, b, env)


@settings(max_examples=200)
@given(expressions(), expressions(3))
def test_substitution_means_the_composition(expression, inner):
    replacement = size(inner)
    assume(less(replacement, 0) is not True)
    try:
        result = substitute(size(expression), {"n": replacement})
    except ZeroDivisionError:
        assume(False)
    for env, (n,) in meanings(inner):
        expected = value(expression, {**env, "n": n})
        if n >= 0 and expected is not None:
            assert evaluate(result, env) == expected


@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod])
@pytest.mark.parametrize("other", [3, True, np.int64(3)])
def test_integers_of_any_kind_mix_from_either_side(op, other):
    for env in ({"n": 4}, {"n": 7}):
        assert evaluate(op(N, other), env) == op(env["n"], int(other))
        assert evaluate(op(other, N), env) == op(int(other), env["n"])
    assert op(N, other) is op(N, int(other))


@pytest.mark.parametrize("foreign", [1.5, "n", None, [1]])
def test_foreign_operands_are_refused(foreign):
    for op in (operator.add, operator.sub, operator.floordiv, operator.mod):
        with pytest.raises(TypeError):
            op(N, foreign)
        with pytest.raises(TypeError):
            op(foreign, N) if not isinstance(foreign, str) else op(N, foreign)
    for function in (maximum, minimum):
        with pytest.raises(TypeError):
            function(N, foreign)


def test_a_foreign_type_gets_its_turn():
    class Traced:
        def __radd__(self, other):
            return "traced", other

    assert N + Traced() == ("traced", N)


def test_a_constant_is_a_plain_int():
    results = [
        N - N,
        N * 0,
        (N + 2) - N,
        N**0,
        (6 * N) % 3,
        (N * M) // (N * M),
        N // (N + 1),
        minimum(N, 0),
        N % 1,
    ]
    assert [(type(result), result) for result in results] == [(int, v) for v in (0, 0, 2, 1, 0, 1, 0, 0, 0)]
    assert type(product([np.int64(2), True])) is int


@pytest.mark.parametrize("zero", [0, N - N])
def test_division_by_zero_is_refused(zero):
    for op in (operator.floordiv, operator.mod):
        for dividend in (N, 3):
            with pytest.raises(ZeroDivisionError):
                op(dividend, zero)
    with pytest.raises(ZeroDivisionError):
        evaluate(5 // N, {"n": 0})


def test_powers():
    assert N**3 is N * N * N
    assert (N + 1) ** 2 is N * N + 2 * N + 1
    for bad in (-1, 65):
        with pytest.raises(ValueError, match="power"):
            N**bad
    with pytest.raises(TypeError):
        N**N


# --- canonical form -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (2 * N + 1, "2*n+1"),
        (N * M - 1, "m*n-1"),
        (-N + 1, "-n+1"),
        (M**2 + N - M * N * 3, "m**2-3*m*n+n"),
        (N // 2, "n//2"),
        ((N + 1) // 2, "(n+1)//2"),
        (3 * (N // 2) - N // 3, "3*(n//2)-(n//3)"),
        ((N // 2) ** 2, "(n//2)**2"),
        (N % 3, "n%3"),
        (-7 // N, "(-7)//n"),
        (N // (M * K), "n//(k*m)"),
        (maximum(N, 1), "max(n, 1)"),
        (minimum(N, M), "min(m, n)"),
        (maximum(1, maximum(N, M)) // 2, "max(m, n, 1)//2"),
    ],
)
def test_text(built, text):
    assert str(built) == repr(built) == text
    assert parse(text) is built


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((2 * N) // 2, N),
        ((4 * N + 2) // 2, 2 * N + 1),
        ((N * M) // M, N),
        ((N * M + M + 1) // M, N + 1 + 1 // M),
        ((N - 1) // 2 + 1, (N + 1) // 2),
        (-(-N // 3), (N + 2) // 3),
        (N // -2, -N // 2),
        (N // 2 // 3, N // 6),
        (((N + 1) // 2 + 1) // 2, (N + 3) // 4),
        ((2 * N + 1) // 4, N // 2),
        ((K * N) // (K * M), N // M),
        ((4 * N + 3) % 2, 1),
        ((2 * N + 1) % 4, 2 * (N % 2) + 1),
        ((N * M + K) % M, K % M),
        ((N % 3) % 3, N % 3),
        ((N % M) // M, 0),
        (maximum(M, maximum(N, K)), maximum(maximum(M, N), K)),
        (maximum(N, N + 1), N + 1),
        (minimum(N // 2, N), N // 2),
        (maximum(N, 0), N),
    ],
)
def test_laws_of_simplification(left, right):
    assert left is right or (type(left) is int and left == right)


@settings(max_examples=400)
@given(expressions(12))
def test_text_reads_back_to_the_same_object(expression):
    built = size(expression)
    again = parse(str(built))
    assert again is built or (type(built) is int and again == built)
    env = {"k": 3, "m": 5, "n": 7}
    if (expected := value(expression, env)) is not None:
        python = eval(str(built), {"max": max, "min": min}, env)  # the text is Python
        assert python == expected


def test_text_does_not_depend_on_creation_order_or_hash_seed():
    script = (
        "import sys\nfrom graphc.dims import parse, symbol\n"
        "kept = [symbol(name) for name in sys.argv[1]]\n"
        "print(parse('(n*m + k)//2 + n**2*k + k*m*n - m**3 + max(k, n, m) + n%m'))"
    )
    root = str(Path(graphc.__file__).parents[1])
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script, order],
            env={"PYTHONPATH": root, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for order, seed in (("kmn", "1"), ("nmk", "2"), ("mkn", "3"))
    }
    assert outputs == {"k*m*n+k*n**2-m**3+(m*n+k)//2+max(k, m, n)+n%m\n"}


# --- identity -----------------------------------------------------------------------------------------------


def test_equality_is_identity_and_never_decides():
    assert "__eq__" not in vars(Dim)
    assert N + 1 is 1 + N
    assert (N != 1) is True
    assert {(N, 2 * M): "shape"}[(N, M + M)] == "shape"


def test_truth_is_refused_where_undecided():
    assert bool(N + 1)
    with pytest.raises(TypeError, match="undecided"):
        bool(N)


@given(expressions())
def test_copies_and_pickles_are_the_same_object(expression):
    built = size(expression)
    assume(isinstance(built, Dim))
    assert all(pickle.loads(pickle.dumps(built, protocol)) is built for protocol in range(pickle.HIGHEST_PROTOCOL + 1))
    shape = {"shape": (built, 3)}
    assert copy.deepcopy(shape)["shape"][0] is built
    assert copy.copy(built) is built


CACHES = {
    function
    for module in (polynomials, comparison, division)
    for function in vars(module).values()
    if hasattr(function, "cache_parameters")
}


def clear_caches():
    for function in CACHES:
        function.cache_clear()


def test_interning_does_not_leak():
    clear_caches()
    gc.collect()
    before = len(polynomials.DIMS), len(polynomials.ATOMS)
    dropped = weakref.ref(symbol("dropped") // 2 + maximum(symbol("other"), 1))
    assert less(dropped(), 3) is None
    assert len(polynomials.DIMS) > before[0]
    clear_caches()
    gc.collect()
    assert dropped() is None
    assert (len(polynomials.DIMS), len(polynomials.ATOMS)) == before


def test_caches_are_bounded():
    assert len(CACHES) >= 5
    assert all(0 < cache.cache_parameters()["maxsize"] <= 2**16 for cache in CACHES)


def test_threads_agree_on_one_object():
    workers, rounds = 8, 300
    barrier = threading.Barrier(workers)
    made = [[] for _ in range(workers)]

    def work(mine):
        for i in range(rounds):
            if i % 20 == 0:
                barrier.wait()
            n = symbol(f"t{i}")
            mine.append((n, (i + 2) * n + 1, n // (i + 2), maximum(n, M + i)))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert all(len(mine) == rounds for mine in made)
    for row in zip(*made, strict=True):
        for same in zip(*row, strict=True):
            assert len(set(map(id, same))) == 1


# --- comparison ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compare", "a", "b", "answer"),
    [
        (equal, 2, 2, True),
        (equal, 2, 3, False),
        (equal, N, N, True),
        (equal, N, N + 1, False),
        (equal, N, 1, None),
        (equal, N, M, None),
        (equal, N + 1, 0, False),
        (equal, N * M + 1, 0, False),
        (equal, 2 * N, 3, False),
        (equal, 6 * N + 4 * M, 2 * K + 1, False),
        (equal, 6 * N + 4 * M, 2 * K, None),
        (equal, N % 3, 3, False),
        (equal, np.int64(2), 2, True),
        (equal, 3 * N, 1, False),
        (equal, 3 * N, 2, False),
        (less, 2, 3, True),
        (less, N, N + 1, True),
        (less, N, N, False),
        (less, N, 0, False),
        (less, 0, N, None),
        (less, 0, 2 * N - 1, None),
        (less, -1, N, True),
        (less, N % M, M, True),
        (less, N % 5, 5, True),
        (less, minimum(N, 3), 4, True),
        (less, N // 2, N + 1, True),
        (less_equal, 0, N, True),
        (less_equal, N, M, None),
        (less_equal, N // 2, N, True),
        (less_equal, 0, N - N // 2, True),
        (less_equal, (N + 1) // 2, N, True),
        (less_equal, 0, (-7 // N) * M, None),
        (less_equal, 1, (N + 4) // M, None),
        (less_equal, 2, (N + 4) // (M % 3), True),
        (less_equal, M * (N // M), N, True),
        (less_equal, N % M, N, True),
        (less_equal, minimum(N, M), N, True),
        (less_equal, N, maximum(N, M), True),
        (less_equal, N + 1, N, False),
        (less_equal, 1, maximum(N, 1), True),
    ],
)
def test_what_comparisons_decide(compare, a, b, answer):
    assert compare(a, b) is answer


@given(expressions(4), expressions(4))
def test_comparisons_agree_with_each_other(left, right):
    a, b = size(left), size(right)
    negated = {True: False, False: True, None: None}
    assert equal(a, b) is equal(b, a)
    assert less_equal(a, b) is negated[less(b, a)]
    if equal(a, b) is True:
        assert less_equal(a, b) is True
    if less(a, b) is True:
        assert equal(a, b) is False


# --- functions ----------------------------------------------------------------------------------------------


def test_evaluate_needs_every_symbol_and_no_negative():
    with pytest.raises(ValueError, match="no value given for m, n"):
        evaluate(N + M + K, {"k": 1})
    with pytest.raises(ValueError, match="expected a value of at least 0, got -1"):
        evaluate(N, {"n": -1})
    with pytest.raises(TypeError):
        evaluate(N, {"n": 1.0})
    assert type(evaluate(N, {"n": np.int64(3)})) is int
    assert evaluate(4, {}) == 4


def test_substitution_is_simultaneous_and_partial():
    assert substitute(N - M, {"n": M, "m": N}) is M - N
    assert substitute(N // 2 + K, {"n": 2 * M}) is M + K
    assert substitute(N // M, {"n": 6, "m": 4}) == 1
    assert substitute(7, {"n": 1}) == 7
    with pytest.raises(ZeroDivisionError):
        substitute(N // M, {"m": 0})


def test_symbols():
    assert symbols((N + 1) // 2 * maximum(M, 3)) == {"m", "n"}
    assert symbols(5) == frozenset()


@given(expressions(5), expressions(5))
def test_divide_exactly_inverts_multiplication(left, right):
    a, b = size(left), size(right)
    assume(b != 0)
    quotient = divide_exactly(a * b, b)
    assert quotient is a or (type(a) is int and quotient == a)
    found = divide_exactly(a, b)
    assert found is None or (a - found * b) == 0


@pytest.mark.parametrize(
    ("a", "b"), [(N, 2), (N, M), (N + 1, N), (3, N), (2 * N, 4), (N**2 + 1, N + 1), (N, 0), (0, 0)]
)
def test_divide_exactly_refuses(a, b):
    assert divide_exactly(a, b) is None


@given(st.integers(-6, 6).filter(bool), st.integers(-9, 9), st.integers(-20, 60))
def test_solve_finds_exactly_the_solutions(scale, offset, target):
    linear = scale * N + offset
    found = [n for n in range(100) if scale * n + offset == target]
    if found:
        assert solve(linear, target) == ("n", found[0])
    else:
        with pytest.raises(ValueError, match="cannot be"):
            solve(linear, target)


@pytest.mark.parametrize("other", [3, 0, N + M, N**2, N * M, N // 2, maximum(N, 1), N + N**2])
def test_solve_declines_other_forms(other):
    assert solve(other, 3) is None


@pytest.mark.parametrize("name", ["", "2n", "n m", "n-1", "max", "min", "for", "ν", "n\n", "a" * 51])
def test_bad_names(name):
    with pytest.raises(ValueError, match="size symbol"):
        symbol(name)


def test_product():
    assert product([]) == 1
    assert product([N, 2, M]) is 2 * M * N


# --- hostile text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("n +", 3),
        ("n 2", 2),
        ("(n", 2),
        ("n)", 1),
        ("n ** m", 5),
        ("n ** -1", 5),
        ("n**2**2", 4),
        ("n / 2", 2),
        ("n.real", 1),
        ("f(n)", 1),
        ("max", 3),
        ("max()", 4),
        ("max(n,)", 6),
        ("n // 0", 2),
        ("n + for", 4),
        ("__import__('os')", 10),
        ("n + ²", 4),
        ("n\0", 1),
        ("1 +" + "9" * 41, 3),
        ("lambda: n", 0),
    ],
)
def test_errors_name_the_position(text, position):
    with pytest.raises(ValueError, match=f"position {position}:"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 15_000 + "n" + ")" * 15_000,
        "-" * 30_000,
        "max(" * 8_000,
        "n//2" * 8_000,
        "n**999999999",
        "n**60*n**60",
        "9**64**64",
        "((((9**64)**64)**64)**64)**64",
        "*".join(["9" * 39] * 800),
        "(a+b+c+d+e+f+g+h)**60",
        "*".join(f"(a{i}+b{i})" for i in range(100)),
        "+".join(f"a{i}" for i in range(5000)),
        "max(" + ",".join(f"a{i}" for i in range(5000)) + ")",
        "(" * 40 + "n" + "//m+1)" * 40,
        "n//" + "9" * 40,
        "n" * 70_000,
        "(a*a+b*b+c*c+1)**30//(a+b+c+7)",
    ],
    ids=lambda text: text[:16],
)
def test_text_that_would_blow_up_is_refused(text):
    with pytest.raises(ValueError, match="size"):
        parse(text)


def test_text_must_be_text():
    with pytest.raises(TypeError, match="expected a str"):
        parse(3)


@given(st.text(alphabet="nm01 29+-*/%(),maxi", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        result = parse(text)
    except ValueError:
        return
    assert parse(str(result)) == result
    env = dict.fromkeys((*symbols(result), *"nmaxi"), 3)
    try:
        expected = eval(text.strip(), {"max": max, "min": min}, env)
    except (ZeroDivisionError, NameError, SyntaxError):
        return
    assert evaluate(result, env) == expected


def test_large_sizes_within_the_limits_round_trip():
    sizes = [
        sum(symbol(f"a{i}_" + "x" * 45) for i in range(200)),
        2**127 * N**64 - 1,
        math.prod([N + M] * 40),
    ]
    deep = N
    for i in range(32):
        deep = (deep * M + 1) // (K + i)
    for built in (*sizes, deep):
        assert parse(str(built)) is built
    with pytest.raises(ValueError, match="too large"):
        (deep * M + 1) // (K + 99)
    with pytest.raises(ValueError, match="too large"):
        2**127 * N * 2


def test_comparison_beyond_the_limits_is_undecided():
    many = [sum(symbol(f"{letter}{i}") for i in range(200)) for letter in "pq"]
    assert less(*many) is None
    assert equal(*many) is None
