"""Every public callable of scipy.special and scipy.linalg on traced values: SciPy's own value, or a refusal by name."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from typing import Final

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import graphc
import graphc.scipy.linalg
import graphc.scipy.special
from graphc.errors import GraphcError, TraceError, UnsupportedError
from graphc.scipy.alternatives import PLAIN, TABLES
from tests.test_every_callable import Record, equal, judge, program, traced
from tests.test_numpy import outcome

ONE: Final = ("(x)", "(i)", "(s)", "(z)", "(h)")
TWO: Final = ("(x, y)", "(u, 0.5)", "(i, x)", "(s, x)", "(x, z)")
WHOLE: Final = ("(1, x)", "(0, s)", "(2, u)", "(3, h)", "!(o, x)", "!(-1, x)")
POSITIVE: Final = ("(u)", "(np.abs(x))", "(i + 1)", "(z)")
DEGREE: Final = ("(0, x)", "(1, x)", "(4, x)", "(3, s)", "(2, i)", "(3, h)", "!(o, x)")


def fill(names: str, calls: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The same calls for several functions."""
    return dict.fromkeys(names.split(), calls)


CALLS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "special": {
        **fill(
            "cbrt cosm1 dawsn erf erfc erfcx erfi exp10 exp2 expit expm1 exprel log_expit log_ndtr "
            "ndtr sinc softplus round i0 i0e i1 i1e j0 j1 entr gammasgn sindg cosdg tandg cotdg",
            ONE,
        ),
        **fill("exp1 gamma gammaln loggamma digamma psi k0 k0e k1 k1e", POSITIVE),
        **fill("erfinv log1p logit ndtri", ("(np.tanh(x))", "(x)", "(s)", "(z)")),
        "erfcinv": ("(np.tanh(x) + 1)", "(s)"),
        **fill("xlogy xlog1py rel_entr kl_div huber pseudo_huber", TWO),
        "powm1": ("(u, x)", "(x, 2)", "(1.0001, x)", "(s, s)"),
        "boxcox": ("(u, 0.5)", "(u, x[0, 0])", "(x, 0)", "(np.abs(x), -1.0)", "(u, s)", "(u * 0, 0.5)"),
        "boxcox1p": ("(u, 0.5)", "(u, s)", "(x, 0)", "(u * 0 - 1, 0.5)"),
        "inv_boxcox": ("(x, 0.5)", "(x, 0)", "(x, np.array([0.0, 0.5, 1.0]))", "!(x, s)"),
        "inv_boxcox1p": ("(x, 0.5)", "(x, 0)", "!(x, s)"),
        "radian": ("(x, 2.0, 30.0)", "(i, i, x)"),
        "fresnel": ("(x)", "(s)", "(i)"),
        **fill("iv ive jv jn jve", WHOLE),
        **fill("kv kn kve", ("(1, u)", "(0, s)", "(2, np.abs(x))", "!(o, u)")),
        **fill("jvp ivp", ("(1, x)", "(0, x, 2)", "(2, s, 3)", "(1, x, 0)", "!(o, x)")),
        "kvp": ("(1, u)", "(0, u, 2)", "(2, s, 3)"),
        "spherical_jn": ("(1, x)", "(0, x)", "(2, x, True)", "!(o, x)"),
        "polygamma": ("(1, u)", "(0, u)", "(2, i + 1)", "!(o, u)"),
        "zeta": ("(2, u)", "(3, s)", "!(s, 1.0)", "!(x)"),
        "multigammaln": ("(u + 2, 2)", "(s + 3, 4)", "(u, 1)"),
        "factorial": ("(u)", "(i)", "(s)", "!(i, exact=True)"),
        **fill(
            "eval_chebyc eval_chebys eval_chebyt eval_chebyu eval_hermite eval_hermitenorm "
            "eval_laguerre eval_legendre eval_sh_chebyt eval_sh_chebyu eval_sh_legendre",
            DEGREE,
        ),
        **fill("eval_genlaguerre eval_gegenbauer", ("(3, 0.5, x)", "(2, s, x)", "(0, s, x)", "(1, v, x)")),
        "eval_jacobi": ("(3, 0.5, 1.5, x)", "(2, s, 0.5, x)", "(0, s, s, x)", "(1, 0.5, v, x)"),
        "eval_sh_jacobi": ("(3, 1.5, 0.5, x)", "(2, s + 1, 0.5, x)", "(0, s, s, x)"),
        **fill("softmax log_softmax", ("(x)", "(x, axis=1)", "(i, 0)", "(x, axis=(0, 1))", "(v)", "(h)")),
        "logsumexp": (
            *("(x)", "(x, axis=1)", "(i, 0)", "(x, axis=(0, 1), keepdims=True)", "(h, b=[1, 2, 3], axis=1)"),
            *("(x, b=y)", "(x, b=y, return_sign=True)", "(x, axis=1, b=y, return_sign=True)", "(x, return_sign=True)"),
            *("(x, b=[0, 1, 0], axis=1)", "(x, axis=0, b=v)", "(x - np.inf)", "(x, b=[1, -1, 1], return_sign=True)"),
        ),
    },
    "linalg": {
        "norm": (
            "(x)",
            "(v)",
            "(v, 3)",
            "(x, 1)",
            "(x, 'fro')",
            "(x, np.inf, axis=1)",
            "(x, 2)",
            "(x, keepdims=True)",
        ),
        "solve": (
            *("(a, v)", "(a, b)", "(a, V)", "(A, b)", "(a, v, assume_a='sym')", "(a, v, assume_a='pos')", "(x, v)"),
            *("(a + np.triu(a, 1), b, assume_a='sym', lower=True)", "(a + np.triu(a, 1), b, assume_a='sym')"),
            *("(a + np.triu(a, 1), b, transposed=True)", "(a, v, True, assume_a='pos')", "(i[:, :2], j[:2])"),
            *("(a, b, assume_a='nothing')", "(a + np.tril(a, -1), v, assume_a='pos', lower=False)"),
        ),
        "solve_triangular": (
            *("(a, v)", "(a, b, lower=True)", "(a, b, trans=1)", "(a, b, 'T', True)", "(a, v, unit_diagonal=True)"),
            *("(A, v, 2, lower=True, unit_diagonal=True)", "(x, v)"),
        ),
        "solve_banded": (
            *(
                "((1, 1), a, v)",
                "((1, 1), a, b)",
                "((0, 2), a, v)",
                "((2, 0), a, b)",
                "((0, 1), x, v)",
                "((1, 0), i, j)",
            ),
            *("((0, 1), h, H[0])", "((0, 0), v[None], b)", "((1, 1), x, v)", "((1, 1), a, u)", "((1, 1), 0 * a, v)"),
        ),
        "solveh_banded": (
            *("(a + 9 * np.eye(3)[:, 2:], v)", "(a + 9 * np.eye(3)[:, :1], b, lower=True)", "(a[:1], v)", "(a, u)"),
            *("(a[:2] + 9 * np.eye(2)[:, :1], v, lower=True)", "(i + 9 * np.eye(2, dtype=int)[:, 1:], b)"),
            *("(h + 9 * np.eye(2, dtype=np.float32)[:, 1:], H[0])", "(-a, v, lower=True)", "(-a[:1], v)"),
        ),
        "solve_toeplitz": (
            *("(v, w)", "(v, b)", "((v, w), b)", "((v, w), j)", "(v, u)", "((v, u), v)", "(h[0], H[1])", "(V, w)"),
        ),
        "inv": ("(a)", "(i[:, :2])", "(x)", "(h[:, :2])"),
        "det": ("(a)", "(i[:, :2])", "(x)"),
        "pinv": (
            "(a)",
            "(x)",
            "(b)",
            "(i)",
            "(h)",
            "(x, rtol=0.5)",
            "!(x, atol=0.5)",
            "!(x, return_rank=True)",
            "(x, rtol=-1)",
        ),
        "cholesky": (
            *("(a)", "(a, True)", "(a + np.triu(a, 1))", "(a + np.triu(a, 1), lower=True)", "(h @ h.T)", "(x)"),
        ),
        "cho_factor": ("(a)", "(a, True)", "(a + np.triu(a, 1), lower=True)", "(h @ h.T)", "(x)"),
        "cho_solve": ("((a, True), v)", "((a, False), b)", "((A, True), b)", "((a, True), x)"),
        "eigh": (
            *("(a, eigvals_only=True)", "(a + np.triu(a, 1), eigvals_only=True, lower=False)", "(x)"),
            *("(a, a @ a, eigvals_only=True)", "(x.T @ x, a, lower=False, eigvals_only=True)", "(a, b)", "(a, -a)"),
            *("(a, a, type=4)", "!(a, a, type=2)", "!(a, subset_by_index=(0, 1))", "!(a, a, subset_by_value=(0, 1))"),
        ),
        "eigvalsh": (
            *("(a)", "(a + np.triu(a, 1))", "(a + np.triu(a, 1), lower=False)", "(i[:, :2])", "(x)", "(a, a @ a)"),
            *("(a + np.triu(a, 1), a + np.triu(a, 1))", "(a, a + np.triu(a, 1), lower=False)", "(a, i)", "(a, -a)"),
            *("(h.T @ h, np.eye(3, dtype=np.float32))", "!(a, a, type=3)", "!(a, subset_by_index=(0, 1))"),
        ),
        "svd": (
            *("(a)", "(x, full_matrices=False)", "(b, False)", "(x, compute_uv=False)", "(i, False)", "(h, False)"),
            "!(x)",
        ),
        "svdvals": ("(a)", "(x)", "(b)", "(i)", "(h)"),
        "qr": (
            *("(a)", "(x)", "(x, mode='economic')", "(b, mode='economic')", "(b, mode='r')", "(x, mode='r')", "(i)"),
            *("(h)", "!(b)", "!(a, pivoting=True)", "!(a, mode='raw')", "(a, mode='none')"),
        ),
        "block_diag": ("(x, a)", "(v, a, i)", "(x)", "(s, v)", "(X, a)"),
        "toeplitz": ("(v)", "(v, u)", "(u, V)", "(j)"),
        "circulant": ("(v)", "(j)"),
        "hankel": ("(v)", "(v, u)", "(j)"),
        "companion": ("(v)", "(u)", "(J + v * 0 + 1)"),
        "convolution_matrix": ("(v, 4)", "(v, 2, 'same')", "(u, 2, mode='valid')", "(v, 5, 'valid')", "(v, 0)"),
        "khatri_rao": ("(x, a)", "(a, x)", "(x, b)"),
        "fiedler": ("(v)", "(j)"),
        "leslie": ("(v, w[1:])", "(u, v)", "(v, w)"),
        "matmul_toeplitz": ("(v, w)", "((v, u), b[:1].T @ u[None])", "(v, a)"),
        "diagsvd": ("(v, 3, 4)", "(v, 5, 3)", "(v, 2, 2)"),
        "issymmetric": ("(a)", "(x)", "(a[:, ::-1])", "(a, 0.1)"),
        "ishermitian": ("(a)", "(a[:, ::-1])"),
    },
}
# Of stacks of matrices, and the version of SciPy that takes them.
STACKED: Final[dict[str, tuple[str, ...]]] = {
    "solve": ("(np.stack([a, 2 * a]), v)", "(a, np.stack([b, 2 * b]))", "(np.stack([a, 2 * a]), b, assume_a='pos')"),
    "solve_triangular": ("(np.stack([a, 2 * a]), v, lower=True)",),
    "solve_banded": ("((1, 1), np.stack([a, 2 * a]), v)", "((1, 1), a, np.stack([b, 2 * b]))"),
    "solveh_banded": (
        "(np.stack([a, 2 * a]) + 9 * np.eye(3)[:, 2:], v)",
        "(a + 9 * np.eye(3)[:, :1], np.stack([b, 2 * b]), lower=True)",
    ),
    "solve_toeplitz": ("(a, v)", "((v, a), b)", "((a[:, None], a), v)"),
    "cho_solve": ("((np.stack([a, 2 * a]), True), b)",),
    "eigh": ("(np.stack([a, 2 * a]), a, eigvals_only=True)",),
    "eigvalsh": ("(np.stack([a, 2 * a]), np.stack([a @ a, a]))", "(a, np.stack([a @ a, a]))"),
    **fill("inv det pinv cholesky svdvals", ("(np.stack([a, 2 * a]))", "(np.stack([a, 2 * a])[:, None])")),
}
BATCHES: Final = {"solve_toeplitz": (1, 17)}

PROBES: Final = {
    "special": (
        *("(u)", "(x)", "(u, u)", "(2, u)", "(u, 2)", "(2, 2, u)", "(2, 1, u)", "(u, u, u)", "(1.0, 2.0, u)"),
        *(
            "(u, 1.0, 2.0)",
            "(0.5, u, 2.0)",
            "(1.0, 2.0, 3.0, u)",
            "(u, u, u, u)",
            "(1, 1, 0.5, s)",
            "(1, 2, 0.5, 2.0, s)",
        ),
        *("(1, 2.0, s)", "(2, s)", "(s, 2)", "(s)", "(2, 1, s)", "(1, 1, s, 0.5)", "(2, 1, 0.5, s)", "(j)", "(o)"),
        *("(0.5, 0.25, 2, 1, s)",),
    ),
    # what no function of matrices trips over: some of SciPy's read beyond arrays of other shapes
    "linalg": ("(a)", "(a, v)", "(a, a)", "(v, w)"),
}
# It divides by 0 inside an integral, and Python reports that wherever it is.
NOT_CALLED: Final = frozenset({"ellip_harm_2", "ellip_normal"})
MODULES: Final = {
    "special": (scipy.special, graphc.scipy.special),
    "linalg": (scipy.linalg, graphc.scipy.linalg),
}


def public(module: str) -> list[str]:
    own = MODULES[module][0]
    names = [n for n in dir(own) if not n.startswith("_")]
    return [n for n in names if callable(getattr(own, n)) and not inspect.ismodule(getattr(own, n))]


VERSION: Final = tuple(map(int, scipy.__version__.split(".")[:2]))
# Since when SciPy gives what it gives now.
SINCE: Final = {
    "gammasgn(i)": (1, 15),  # 0 at 0 before
    "logsumexp(h, b=[1, 2, 3], axis=1)": (1, 15),  # sums halves as singles
    **{f"{name}{call}": BATCHES.get(name, (1, 16)) for name, calls in STACKED.items() for call in calls},
}


SUPPORTED: Final = [(m, name) for m, (_, ours) in MODULES.items() for name in ours.__all__]
OTHERS: Final = [
    (m, n)
    for m in MODULES
    for n in public(m)
    if (m, n) not in SUPPORTED and not any(n in names for names in PLAIN[m].values())
]


def test_every_function_is_in_a_table(record_property: Record) -> None:
    counts: Counter[str] = Counter()
    unknown = []
    for module in MODULES:
        table, plain = TABLES[module], PLAIN[module]
        for name in public(module):
            if (module, name) in SUPPORTED:
                counts["supported"] += 1
            elif any(name in names for names in plain.values()):
                counts["as it is"] += 1
            elif any(name in refused.instead for refused in table.values()):
                counts["instead"] += 1
            elif any(name in refused.not_yet for refused in table.values()):
                counts["not yet"] += 1
            else:
                unknown.append(f"{module}.{name}")
    record_property("counts: public callables of SciPy", dict(counts))
    assert unknown == []
    assert {name for m, name in SUPPORTED if m == "special"} == set(CALLS["special"])
    assert {name for m, name in SUPPORTED if m == "linalg"} == set(CALLS["linalg"])


@pytest.mark.parametrize(("room", "name"), SUPPORTED)
def test_functions_that_can_be_traced(room: str, name: str, record_property: Record) -> None:
    scipys, ours = MODULES[room]
    function = getattr(scipys, name, None)
    if function is None:
        pytest.skip(f"this SciPy has no {name}")
    counts: Counter[str] = Counter()
    problems = []
    for marked in CALLS[room][name] + (STACKED.get(name, ()) if room == "linalg" else ()):
        call = marked.removeprefix("!")
        if SINCE.get(f"{name}{call}", VERSION) > VERSION:
            continue
        for label, route in (("graphc", getattr(ours, name)), ("scipy", function)):
            try:
                found = judge(function, route, call)
            except AssertionError as error:
                problems.append(f"{label}.{name}{error}")
                continue
            refused = found.startswith("refused")
            elsewhere = refused and label == "scipy" and marked == call
            counts["refused by SciPy's own, given by graphc.scipy's" if elsewhere else found.partition(":")[0]] += 1
            if refused != (marked != call) and not elsewhere and found != "raises, as NumPy":
                problems.append(f"{label}.{name}{call}: {found}")
    record_property("counts: calls of SciPy's functions that can be traced", dict(counts))
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.mark.parametrize(("room", "name"), SUPPORTED)
def test_a_function_looks_like_scipys(room: str, name: str) -> None:
    scipys, ours = MODULES[room]
    version, function = getattr(ours, name), getattr(scipys, name, None)
    assert version.__doc__
    if VERSION < (1, 16):
        pytest.skip("SciPy's functions have got parameters since")
    try:
        expected = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return
    actual = list(inspect.signature(version).parameters)
    assert actual == expected or isinstance(function, np.ufunc) or name == "softplus"


@pytest.mark.parametrize(("room", "name"), OTHERS)
def test_functions_that_cannot_be_traced(room: str, name: str, record_property: Record) -> None:
    scipys, ours = MODULES[room]
    function = getattr(scipys, name)
    counts: Counter[str] = Counter()
    problems = []
    for call in () if name in NOT_CALLED else PROBES[room]:
        f, arguments = program(function, call)
        expected = outcome(f, *arguments)
        if isinstance(expected, Exception):
            continue
        actual = outcome(lambda f=f, arguments=arguments: traced(f, arguments))
        if isinstance(actual, (UnsupportedError, TraceError)):
            counts["refused"] += 1
            continue
        if isinstance(actual, GraphcError) or (isinstance(actual, Exception) and "traced" in str(actual).lower()):
            counts["refused otherwise"] += 1
            continue
        try:
            assert not isinstance(actual, Exception), repr(actual)
            equal(actual, expected)
            counts["equal, though in no table"] += 1
        except AssertionError as error:
            problems.append(f"{name}{call}: SciPy gives {str(expected)[:60]}, graphc {error}")
    with pytest.raises(UnsupportedError, match=re.escape(f"scipy.{room}.{name} cannot be traced")) as caught:
        getattr(ours, name)
    assert caught.value.fix
    counts["refused as an attribute of graphc.scipy"] += 1
    record_property("counts: calls of SciPy's functions that cannot be traced", dict(counts))
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def test_what_takes_no_arrays_is_scipys_own() -> None:
    for module, (scipys, ours) in MODULES.items():
        for names in PLAIN[module].values():
            assert [n for n in names if getattr(ours, n) is not getattr(scipys, n)] == []


# --- derivatives --------------------------------------------------------------------------------------------

# Points where the function is smooth, for those that are not smooth at the usual ones.
POINTS: Final = {"erfinv": 0.3, "logit": 0.3, "ndtri": 0.3, "gammasgn": 0.7, "round": 0.7}
WITH_ORDER: Final = {
    name: f"{name}(2, t)"
    for name in CALLS["special"]
    if name.startswith("eval_")
    or name in ("iv", "ive", "jv", "jn", "jve", "kv", "kn", "kve", "jvp", "ivp", "kvp", "polygamma")
} | {
    "eval_genlaguerre": "eval_genlaguerre(3, t, 0.5 + t)",
    "eval_gegenbauer": "eval_gegenbauer(3, t, 0.5 + t)",
    "eval_jacobi": "eval_jacobi(3, t, 2 * t, 0.5 - t)",
    "eval_sh_jacobi": "eval_sh_jacobi(3, 1 + 2 * t, t, 0.5 - t)",
    "spherical_jn": "spherical_jn(2, t)",
    "zeta": "zeta(3, t)",
    "multigammaln": "multigammaln(t + 2, 3)",
    "boxcox": "boxcox(t, 2 * t)",
    "boxcox1p": "boxcox1p(t, t)",
    "inv_boxcox": "inv_boxcox(t, 0.5)",
    "inv_boxcox1p": "inv_boxcox1p(t, 0.5)",
    "radian": "radian(t, t, t)",
    "fresnel": "fresnel(t)[0] + 2 * fresnel(t)[1]",
    "softmax": "softmax(gnp.stack([t, 2 * t * t]))[0]",
    "log_softmax": "log_softmax(gnp.stack([t, 2 * t * t]))[0]",
    "logsumexp": "logsumexp(gnp.stack([t, 2 * t * t]), b=gnp.stack([t, -0.5 * t]), return_sign=True)[0]",
    **{
        name: f"{name}(t, 0.5 + t * t)"
        for name in ("xlogy", "xlog1py", "rel_entr", "kl_div", "huber", "pseudo_huber", "powm1")
    },
}


@pytest.mark.parametrize("name", CALLS["special"])
def test_derivatives(name: str) -> None:
    """Against central differences of SciPy's own function, in the first and in the second order."""
    if not hasattr(scipy.special, name):
        pytest.skip(f"this SciPy has no {name}")
    text = WITH_ORDER.get(name, f"{name}(t)")
    scope = {n: getattr(graphc.scipy.special, n) for n in CALLS["special"]}
    f = eval(f"lambda t: {text}", {**scope, "gnp": graphc.numpy})
    g = graphc.grad(f)
    h = 2e-5
    at = POINTS.get(name, 0.8)
    for order, (inner, outer) in enumerate(((f, g), (g, graphc.grad(g)))):
        expected = (float(inner(at + h)) - float(inner(at - h))) / (2 * h)
        assert float(outer(at)) == pytest.approx(expected, rel=1e-6, abs=1e-7), f"order {order + 1}"


def test_derivatives_at_removable_singularities() -> None:
    special = graphc.scipy.special
    second = graphc.grad(graphc.grad(special.exprel))
    assert [float(f(0.0)) for f in (special.exprel, graphc.grad(special.exprel), second)] == pytest.approx(
        [1, 1 / 2, 1 / 3]
    )
    by_exponent = graphc.grad(special.boxcox, argnums=1)
    assert float(by_exponent(2.0, 0.0)) == pytest.approx(np.log(2) ** 2 / 2)
    assert float(graphc.grad(special.sindg)(90.0)) == 0
    assert float(graphc.compile(special.sindg, "f64[]")(180.0)) == 0
    for r in (0.0, 1e-9, 1e9):
        assert float(graphc.grad(lambda x: special.pseudo_huber(1.0, x))(r)) == pytest.approx(
            r / np.hypot(1, r), rel=1e-14
        )


def test_weights_of_a_sum_of_exponentials_have_derivatives_where_they_are_0() -> None:
    special = graphc.scipy.special
    f = lambda b: special.logsumexp(np.array([0.0, 0.0]), b=b)  # noqa: E731
    np.testing.assert_allclose(graphc.grad(f)(np.array([1.0, 0.0])), [1.0, 1.0])
