"""Every public callable of NumPy, and every method of its arrays, called on traced values.

The outcome is NumPy's own, or a refusal that names the function: no object array, no silent wrong shape, no bare
AttributeError. Each keyword of each function is tried too; those that are refused are listed here.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import graphc
import graphc.numpy as gnp
from graphc.errors import GraphcError, TraceError, UnsupportedError
from graphc.numpy.alternatives import MODULES, PLAIN, REFUSED
from graphc.numpy.dispatch import FUNCTIONS
from graphc.tracing import holds_traced
from tests.calls import ARGUMENTS, CALLS, KEYWORDS
from tests.test_numpy import outcome

Record = Callable[[str, object], None]
ULPS: Final = 256
UFUNCS: Final = sorted(
    {f for f in FUNCTIONS if isinstance(f, np.ufunc) and getattr(np, f.__name__, None) is f}, key=lambda f: f.__name__
)


def resolve(root: Any, name: str) -> Any:
    """A function by its dotted name; None where this NumPy has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in name.split("."):
            root = getattr(root, part, None)
    return root


def program(function: Any, call: str) -> tuple[Callable[..., Any], list[Any]]:
    """A call as a function of its traced arguments, and these."""
    names = [name for name in ARGUMENTS if re.search(rf"\b{name}\b", call)]
    text = f"lambda {', '.join(names)}: F{call}"
    static = {name.upper(): array.copy() for name, array in ARGUMENTS.items()}
    return eval(text, {"F": function, "np": np, **static}), [ARGUMENTS[name].copy() for name in names]


def opened(result: Any) -> Any:
    """A result, and what an iterator would give."""
    return list(result) if inspect.isgenerator(result) or isinstance(result, np.lib.Arrayterator) else result


def traced(f: Callable[..., Any], arguments: list[Any]) -> Any:
    """What a program gives when it is traced, compiled and run; what holds no traced value is taken as it is."""
    plain: list[Any] = []

    def run(*values: Any) -> Any:
        result = opened(f(*values))
        if holds_traced(result) or isinstance(result, (np.ndarray, np.generic)):
            return result
        plain.append(result)
        return np.float64(0)

    compiled = graphc.compile(run, *arguments, exact_order=True)(*arguments)
    return plain[0] if plain else compiled


def equal(actual: Any, expected: Any) -> None:
    """Values, dtypes and shapes agree; what is no array is equal."""
    __tracebackhide__ = True
    if isinstance(expected, (tuple, list)) and isinstance(actual, (tuple, list)):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            equal(one, other)
    elif isinstance(actual, (np.ndarray, np.generic)) or isinstance(expected, (np.ndarray, np.generic)):
        found, wanted = np.asarray(actual), np.asarray(expected)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        if wanted.dtype.kind == "f":
            scale = np.max(np.abs(wanted), initial=1, where=np.isfinite(wanted))
            slack = ULPS * np.finfo(wanted.dtype).eps * scale
            np.testing.assert_allclose(found, wanted, rtol=0, atol=slack)
        else:
            np.testing.assert_array_equal(found, wanted)
    else:
        assert actual == expected or (actual is expected)


def judge(function: Any, version: Any, call: str) -> str:
    """Call both, and say what came out; raises unless they agree or graphc refuses."""
    __tracebackhide__ = True
    f, arguments = program(function, call)
    g, _ = program(version, call)
    expected = outcome(lambda f=f: opened(f(*program(function, call)[1])))
    actual = outcome(lambda: traced(g, arguments))
    if isinstance(expected, Exception):
        assert isinstance(actual, Exception), f"{call}: NumPy raises {expected!r}, graphc gives {actual!r}"
        assert isinstance(actual, (GraphcError, type(expected), TypeError, ValueError, IndexError)), (
            f"{call}: {actual!r}"
        )
        return "raises, as NumPy"
    if isinstance(actual, UnsupportedError):
        return f"refused: {actual.problem}"
    if isinstance(actual, TraceError):
        return f"refused: {actual.problem}"
    if isinstance(actual, Exception):
        raise AssertionError(f"{call}: NumPy gives {expected!r}, graphc raises") from actual
    try:
        equal(actual, expected)
    except AssertionError as error:
        raise AssertionError(f"{call}: {error}") from None
    return "equal"


# What NumPy leaves in these arrays is not defined.
WITHOUT_VALUES: Final = {("empty_like", "shape")}


def keyword_calls(name: str, version: Any) -> Iterator[tuple[str, str]]:
    """The first call of a function with each of its keywords and its values."""
    first, written, target = CALLS[name][0].partition(" or ")
    try:
        parameters = inspect.signature(version).parameters.values()
    except ValueError:
        return
    taken = len(first.split(",")) if "(" not in first[1:] else 0
    for k, one in enumerate(parameters):
        if one.kind in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL, one.VAR_KEYWORD) or f"{one.name}=" in first:
            continue
        if one.default is one.empty or k < taken - 1:
            continue
        for value in () if (name, one.name) in WITHOUT_VALUES else KEYWORDS.get(one.name, ()):
            yield one.name, f"{first[:-1]}, {one.name}={value}){written}{target}"


def routes(name: str) -> list[tuple[str, Any]]:
    """NumPy's function, which may dispatch, and graphc's own."""
    function = resolve(np, name)
    version = resolve(gnp, name) if not name.startswith("lib.") else FUNCTIONS[function]
    return [(f"gnp.{name}", version), (f"np.{name}", function)]


@pytest.mark.parametrize("name", CALLS)
def test_functions_that_can_be_traced(name: str, record_property: Record) -> None:
    function = resolve(np, name)
    if function is None:
        pytest.skip(f"this NumPy has no {name}")
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for marked in CALLS[name]:
        call = marked.removeprefix("!")
        for label, route in routes(name):
            try:
                found = judge(function, route, call)
            except AssertionError as error:
                problems.append(f"{label}{error}")
                continue
            refused = found.startswith("refused")
            # what NumPy does not hand over can only be refused there
            elsewhere = refused and route is function and marked == call
            counts["refused by NumPy's own, given by graphc.numpy's" if elsewhere else found.partition(":")[0]] += 1
            if refused != (marked != call) and not elsewhere:
                problems.append(f"{label}{call}: {found}")
    version = routes(name)[0][1]
    for keyword, call in keyword_calls(name, version):
        try:
            found = judge(function, version, call)
        except AssertionError as error:
            problems.append(f"{name}{error}")
            continue
        refused = found.startswith("refused")
        counts[f"keywords: {found.partition(':')[0]}"] += 1
        named = "a plain NumPy array" if keyword == "out" else keyword
        if refused and named not in found and f"of {call.partition(' or ')[0][-2]}," not in found:
            problems.append(f"{name}{call}: {found}")
    record_property("counts: calls of functions that can be traced", dict(counts))
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


# --- what cannot be traced ----------------------------------------------------------------------------------

# Plausible arguments for functions that no table names; the first that NumPy itself takes counts.
PROBES: Final = (
    *("(x)", "(v)", "(s)", "(x, y)", "(v, w)", "(a)", "(a, v)", "(i)", "(m)", "(j)", "(x, 1)", "(x, m)", "(m, x)"),
    *(
        "([x, y])",
        "(2, x)",
        "(v, 2)",
        "(x, m, y)",
        "(x, m, 1.0)",
        "(x, i, x)",
        "(v, j, v)",
        "(lambda t: t, x)",
        "('name', x)",
    ),
    *("(x, x, x)", "(x, 'f8')", "(x, x, x, x)", "(v, w, 2)", "(lambda t: t, 1, 1)", "([s, s])", "(x, (1, 0), 1)"),
)
NAMED_PROBES: Final = {
    "ma.ndenumerate": ("(x)",),
    "frompyfunc": ("(lambda t: t, 1, 1)(x)",),
    "vectorize": ("(lambda t: 2 * t)(x)",),
    "busdaycalendar": ("(x)",),
    "nested_iters": ("([x, x], [[0], [1]])",),
    "lib.stride_tricks.as_strided": ("(x, (2, 2), (8, 8))",),
    "bmat": ("([[x, y]])",),
    "fromiter": ("(v, float)",),
    "linalg.tensorsolve": ("(a, v)",),
    "linalg.tensorinv": ("(a, ind=1)",),
    "emath.logn": ("(2, x)",),
    "emath.power": ("(x, 2)",),
}
# Calling these prints, runs NumPy's own tests or changes its settings.
NOT_CALLED: Final = frozenset(
    {
        *(
            "test",
            "info",
            "show_config",
            "show_runtime",
            "linalg.test",
            "fft.test",
            "ma.test",
            "random.test",
            "lib.test",
        ),
        *("seterr", "seterrcall", "setbufsize", "set_printoptions", "polynomial.test"),
        *("polynomial.set_default_printstyle", "random.set_bit_generator", "random.set_state", "random.seed"),
        *("lib.add_docstring", "lib.add_newdoc"),
    }
)
NAMESPACES: Final = {
    *(
        "",
        "linalg",
        "fft",
        "emath",
        "lib.stride_tricks",
        "lib.array_utils",
        "lib",
        "strings",
        "char",
        "ma",
        "rec",
        "random",
    ),
    *("polynomial", *(f"polynomial.{name}" for name in ("polynomial", "chebyshev", "hermite", "laguerre", "legendre"))),
}
# NumPy refuses these arguments itself, before it asks graphc.
REFUSED_BY_NUMPY: Final = frozenset({"nditer", "nested_iters", "rec.array"})
# They take dates, files or Python's own numbers, none of which a traced argument stands for.
OF_OTHER_DATA: Final = frozenset(
    {
        *("binary_repr", "busday_count", "busday_offset", "datetime_as_string", "datetime_data", "is_busday", "isnat"),
        *("fromfile", "fromregex", "fromstring", "genfromtxt", "load", "loadtxt"),
    }
)
TEXT: Final = frozenset({"str_", "bytes_"})  # of a traced value they make text, as str does
# Scalar and abstract types: called on a traced value they ask it for a number, or refuse any argument.
TYPES: Final = {
    name for name in dir(np) if isinstance(getattr(np, name), type) and issubclass(getattr(np, name), np.generic)
}


def public(namespace: str) -> list[str]:
    """The dotted names of the callables that a namespace of NumPy shows."""
    module = resolve(np, namespace) if namespace else np
    if module is None:
        return []
    names = [name for name in dir(module) if not name.startswith("_")]
    found = {name: getattr(module, name) for name in names}
    return [f"{namespace}.{n}".removeprefix(".") for n, v in found.items() if callable(v) and not inspect.ismodule(v)]


def tabled() -> dict[str, str]:
    """What the tables say of each function that they name."""
    told = {f.__name__: "supported" for f in UFUNCS} | dict.fromkeys(CALLS, "supported") | {"at": "supported"}
    for names in PLAIN.values():
        told |= dict.fromkeys(names, "as it is")
    for refused in REFUSED.values():
        told |= dict.fromkeys(refused.instead, "instead") | dict.fromkeys(refused.not_yet, "not yet")
    return told


TOLD: Final = tabled()
OTHERS: Final = sorted(
    name
    for namespace in NAMESPACES
    for name in public(namespace)
    if TOLD.get(name) != "supported"
    and not (isinstance(resolve(np, name), np.ufunc) and resolve(np, name) in FUNCTIONS)
)


def test_every_public_function_is_in_a_table(record_property: Record) -> None:
    """What NumPy shows is traced, or named in a table with what to write instead; modules have a word of their own."""
    names = {name for namespace in NAMESPACES for name in public(namespace)}
    counts: Counter[str] = Counter()
    unknown = []
    for name in sorted(names):
        value = resolve(np, name)
        head = name.partition(".")[0]
        if name in TOLD:
            counts[TOLD[name]] += 1
        elif isinstance(value, Hashable) and value in FUNCTIONS:
            counts["supported"] += 1
        elif name in TYPES or head in ("dtypes", "exceptions"):
            counts["types of numbers"] += 1
        elif "." in name and head in MODULES:
            counts["by module"] += 1
        else:
            unknown.append(name)
    record_property("counts: public callables of NumPy", dict(counts))
    assert unknown == []


def test_no_table_names_what_is_traced() -> None:
    named = {n for refused in REFUSED.values() for n in (*refused.instead, *refused.not_yet)}
    named |= {n for names in PLAIN.values() for n in names}
    traced_too = {n for n in named if isinstance(resolve(np, n), Hashable) and resolve(np, n) in FUNCTIONS}
    assert traced_too == set()
    assert {n for n in CALLS if resolve(np, n) is None} <= OF_OTHER_VERSIONS


# Functions that only some of the supported versions of NumPy have.
OF_OTHER_VERSIONS: Final = {
    "in1d",
    "trapz",
    "cumulative_sum",
    "cumulative_prod",
    "unstack",
    "matvec",
    "vecmat",
    "row_stack",
}


@pytest.mark.parametrize("name", OTHERS)
def test_functions_that_cannot_be_traced(
    name: str, record_property: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NumPy's own value, or a refusal; and graphc.numpy refuses by name what the tables refuse."""
    if name in NOT_CALLED or name in TEXT:
        pytest.skip("prints, makes text, or changes NumPy's settings")
    monkeypatch.chdir(tmp_path)
    state = np.random.get_state()
    function = resolve(np, name)
    counts: Counter[str] = Counter()
    problems = []
    accepted = False
    for call in () if TOLD.get(name) == "as it is" else NAMED_PROBES.get(name, PROBES):
        f, arguments = program(function, call)
        if not arguments:
            continue
        expected = outcome(lambda f=f, call=call: opened(f(*program(function, call)[1])))
        if isinstance(expected, Exception):
            continue
        accepted = True
        actual = outcome(lambda f=f, arguments=arguments: traced(f, arguments))
        if isinstance(actual, (UnsupportedError, TraceError)):
            short = name.rpartition(".")[2]
            named = short in actual.problem or "making a plain NumPy array" in actual.problem
            counts["refused by name" if named else "refused: asks for a value"] += 1
            continue
        if isinstance(actual, GraphcError):
            counts["refused: shapes or dtypes"] += 1
            continue
        by_python = isinstance(actual, Exception) and "traced" in str(actual).lower()
        if by_python or (name in REFUSED_BY_NUMPY and isinstance(actual, (TypeError, ValueError))):
            counts["refused by Python or NumPy: no buffer, no interface"] += 1
            continue
        try:
            assert not isinstance(actual, Exception), repr(actual)
            equal(actual, expected)
            counts["equal, though in no table"] += 1
        except AssertionError as error:
            problems.append(f"{name}{call}: NumPy gives {str(expected)[:60]}, graphc {error}")
    np.random.set_state(state)
    if TOLD.get(name) == "as it is" and "." not in name:
        assert getattr(gnp, name) is function
        counts["NumPy's own in graphc.numpy"] += 1
    if TOLD.get(name) in ("instead", "not yet") and not inspect.isclass(function):
        if name.partition(".")[0] in (name, "linalg", "fft"):
            with pytest.raises(UnsupportedError, match=re.escape(name)):
                resolve_strictly(gnp, name)
            counts["refused as an attribute of graphc.numpy"] += 1
        if not accepted and name not in OF_OTHER_DATA:
            problems.append(f"{name}: no probe is accepted by NumPy")
    record_property("counts: calls of functions that cannot be traced", dict(counts))
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def resolve_strictly(root: Any, name: str) -> Any:
    for part in name.split("."):
        root = getattr(root, part)
    return root
