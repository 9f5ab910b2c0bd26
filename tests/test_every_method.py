"""Every method, attribute and operator of NumPy's arrays on traced values: NumPy's outcome, or a refusal by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

import graphc
from graphc.errors import GraphcError, TraceError, UnsupportedError
from graphc.numpy.alternatives import METHODS
from tests.calls import ARGUMENTS
from tests.test_every_callable import equal, traced
from tests.test_numpy import outcome

# Expressions; those that begin with ! are refused. Each is also tried with the value given by `x * 1`.
EXPRESSIONS: Final[dict[str, tuple[str, ...]]] = {
    # attributes
    "T": ("x.T", "q.T", "v.T"),
    "mT": ("x.mT", "q.mT", "v.mT"),
    "dtype": ("x.dtype", "i.dtype"),
    "ndim": ("x.ndim", "s.ndim"),
    "shape": ("x.shape", "s.shape"),
    "size": ("x.size", "s.size"),
    "itemsize": ("x.itemsize",),
    "nbytes": ("x.nbytes",),
    "real": ("x.real", "i.real"),
    "imag": ("x.imag", "i.imag"),
    "device": ("x.device",),
    # methods
    "all": ("m.all()", "x.all(axis=0)", "x.all(0, keepdims=True)"),
    "any": ("m.any()", "x.any(axis=0)", "x.any(1, keepdims=True)"),
    "argmax": ("x.argmax()", "x.argmax(1)", "x.argmax(axis=0, keepdims=True)"),
    "argmin": ("x.argmin()", "x.argmin(1)"),
    "argpartition": ("v.argpartition(2)",),
    "argsort": ("x.argsort()", "x.argsort(0)", "x.argsort(axis=None)", "x.argsort(kind='stable')"),
    "astype": ("x.astype('f4')", "x.astype(int)", "x.astype('f4', copy=False)", "x.astype(int, casting='safe')"),
    "choose": ("(i % 3).choose([x, 2 * x, y])",),
    "clip": ("x.clip(0, 1)", "x.clip(max=1)", "x.clip(min=v)"),
    "compress": ("x.compress([True, False], axis=0)",),
    "conj": ("x.conj()",),
    "conjugate": ("x.conjugate()",),
    "copy": ("x.copy()", "x.copy('F')"),
    "cumprod": ("x.cumprod()", "x.cumprod(1)", "i.cumprod(dtype='f4')"),
    "cumsum": ("x.cumsum()", "x.cumsum(0)", "x.cumsum(axis=-1)"),
    "diagonal": ("a.diagonal()", "a.diagonal(1)", "q.diagonal(0, 1, 2)"),
    "dot": ("x.dot(a)", "v.dot(w)", "x.dot(y)"),
    "flatten": ("x.flatten()", "x.flatten('F')"),
    "max": ("x.max()", "x.max(0)", "x.max(axis=1, keepdims=True)", "x.max(initial=9.0)"),
    "mean": ("x.mean()", "x.mean(0)", "x.mean(axis=(0, 1))", "x.mean(where=m)"),
    "min": ("x.min()", "x.min(0)"),
    "prod": ("x.prod()", "x.prod(1)"),
    "ravel": ("x.ravel()", "x.ravel('F')"),
    "repeat": ("x.repeat(2)", "x.repeat(2, axis=1)"),
    "reshape": ("x.reshape(3, 2)", "x.reshape((6,))", "x.reshape(-1)", "x.reshape(3, 2, order='F')", "x.reshape(4)"),
    "round": ("(3 * x).round()", "(3 * x).round(1)"),
    "searchsorted": ("u.searchsorted(x)", "u.searchsorted(1.0, side='right')"),
    "squeeze": ("x[:1].squeeze()", "x[:1].squeeze(0)", "x.squeeze(0)"),
    "std": ("x.std()", "x.std(0, ddof=1)"),
    "sum": ("x.sum()", "x.sum(0)", "x.sum(axis=1, keepdims=True)", "x.sum(dtype='f4')", "x.sum(where=m)"),
    "swapaxes": ("q.swapaxes(0, 2)", "x.swapaxes(0, 3)"),
    "take": ("x.take([0, 1])", "x.take([1], axis=0)", "x.take(i)"),
    "to_device": ("x.to_device('cpu')",),
    "trace": ("a.trace()", "a.trace(1)"),
    "transpose": ("x.transpose()", "q.transpose(2, 0, 1)", "q.transpose((1, 0, 2))", "x.transpose(None)"),
    "var": ("x.var()", "x.var(0)", "x.var(ddof=1)"),
    # methods and attributes that need storage, values or files
    "base": ("!x.base",),
    "byteswap": ("!x.byteswap()",),
    "ctypes": ("!x.ctypes",),
    "data": ("!x.data",),
    "dump": ("!x.dump(__import__('os').devnull)",),
    "dumps": ("!x.dumps()",),
    "fill": ("(x.fill(1.5), x)", "(i.fill(1.5), i)", "(x.fill(s), x)", "x.fill(v)"),
    "flags": ("!x.flags",),
    "flat": (
        "x.flat[1]",
        "x.flat[1:4]",
        "list(x.T.flat)",
        "len(x.flat)",
        "(x.flat.__setitem__(2, 1.5), x)",
        "x.flat.copy()",
    ),
    "getfield": ("!x.getfield('f4')",),
    "item": ("!s.item()", "!x.item(0)"),
    "nonzero": ("!x.nonzero()",),
    "partition": ("(x.partition(1), np.sort(x))", "(x.partition(0, axis=0), np.sort(x, 0))", "x.partition(9)"),
    "put": (
        "(x.put([0, 4], s), x)",
        "(x.put([1, 7], [8.0, 9.0], mode='wrap'), x)",
        "(x.put(j, v), x)",
        "x.put([9], 1.0)",
    ),
    "resize": ("!x.resize((3, 2))",),
    "setfield": ("!x.setfield(1.0, 'f8')",),
    "setflags": ("!x.setflags(write=False)",),
    "sort": ("(x.sort(), x)", "(x.sort(axis=0), x)", "(x.sort(0, kind='stable'), x)", "x.sort(axis=3)"),
    "strides": ("!x.strides",),
    "tobytes": ("!x.tobytes()",),
    "tofile": ("!x.tofile(__import__('os').devnull)",),
    "tolist": ("!x.tolist()",),
    "view": ("!x.view('i8')",),
    # of NumPy 2.0
    **dict.fromkeys(("itemset", "newbyteorder", "ptp", "tostring"), ()),
    # operators
    "__abs__": ("abs(x)", "abs(i)"),
    "__add__": ("x + y", "x + 1", "i + x", "x + v", "v + [1, 2, 3]", "v + (1, 2.5, s)", "!x + None", "!x + 1j"),
    "__and__": ("i & 1", "m & ~m", "x & 1"),
    "__array__": ("!np.asarray(x)",),
    "__bool__": ("!bool(s)", "bool(x)"),
    "__complex__": ("!complex(s)",),
    "__contains__": ("!(0.5 in x)",),
    "__copy__": ("__import__('copy').copy(x)",),
    "__deepcopy__": ("__import__('copy').deepcopy(x)",),
    "__divmod__": ("divmod(x, 2)", "divmod(i, 2)"),
    "__eq__": ("x == y", "x == 0.5", "i == 300", "v == [1, 2, 3]", "x == None", "s == None", "!x == 1j"),
    "__float__": ("!float(s)", "float(x)"),
    "__floordiv__": ("x // 2", "i // 2"),
    "__format__": ("f'{x:.3f}'", "!f'{s:.3f}'"),
    "__ge__": ("x >= y", "i >= 1"),
    "__getitem__": (
        "x[0]",
        "x[:, ::-1]",
        "x[..., None]",
        "x[[1, 0], [0, 2]]",
        "x[1, i]",
        "x[5]",
        "x[0.5]",
        *(
            "x[x > 0].sum()",
            "np.exp(x[x > 0]).mean()",
            "!np.sort(x[x > 0])",
            "!len(x[x > 0])",
            "!np.ones(2) + x[x > 0]",
        ),
    ),
    "__gt__": ("x > y", "1 > i"),
    "__iadd__": ("(lambda t: t.__iadd__(1))(x.copy())",),
    "__iand__": ("(lambda t: t.__iand__(1))(i.copy())",),
    "__ifloordiv__": ("(lambda t: t.__ifloordiv__(2))(x.copy())",),
    "__ilshift__": ("(lambda t: t.__ilshift__(1))(i.copy())",),
    "__imatmul__": ("(lambda t: t.__imatmul__(a))(a.copy())",),
    "__imod__": ("(lambda t: t.__imod__(2))(x.copy())",),
    "__imul__": ("(lambda t: t.__imul__(2))(x.copy())",),
    "__index__": ("!range(o)", "!operator.index(o)", "operator.index(x)"),
    "__int__": ("!int(s)",),
    "__invert__": ("~i", "~m", "~x"),
    "__ior__": ("(lambda t: t.__ior__(1))(i.copy())",),
    "__ipow__": ("(lambda t: t.__ipow__(2))(x.copy())",),
    "__irshift__": ("(lambda t: t.__irshift__(1))(i.copy())",),
    "__isub__": ("(lambda t: t.__isub__(1))(x.copy())",),
    "__iter__": ("list(x)", "[t * 2 for t in v]", "list(s)"),
    "__itruediv__": ("(lambda t: t.__itruediv__(2))(x.copy())",),
    "__ixor__": ("(lambda t: t.__ixor__(1))(i.copy())",),
    "__le__": ("x <= y",),
    "__len__": ("len(x)", "len(s)"),
    "__lshift__": ("i << 1", "x << 1"),
    "__lt__": ("x < y", "n < 300", "v < (1, 2, 3)"),
    "__matmul__": ("x @ a", "v @ w", "x @ y", "s @ v"),
    "__mod__": ("x % 2", "i % 2"),
    "__mul__": ("x * y", "m * 2", "s * [1, 2]", "x * [[1], [2]]"),
    "__ne__": ("x != y", "x != 'text'", "s != {}", "x != (0.5, 1, 2)"),
    "__neg__": ("-x", "-i", "-m"),
    "__or__": ("i | 1", "m | m"),
    "__pos__": ("+x", "+i"),
    "__pow__": ("x ** 2", "i ** 2", "x ** 0.5", "i ** -1", "x ** y"),
    "__radd__": ("1 + x", "V + x", "[1, 2, 3] + v"),
    "__rand__": ("1 & i",),
    "__rdivmod__": ("divmod(2, u)",),
    "__rfloordiv__": ("2 // u",),
    "__rlshift__": ("1 << i",),
    "__rmatmul__": ("X @ a", "V @ v"),
    "__rmod__": ("2 % u",),
    "__rmul__": ("2 * x", "V * x"),
    "__ror__": ("1 | i",),
    "__rpow__": ("2 ** x", "2.0 ** i"),
    "__rrshift__": ("64 >> i",),
    "__rshift__": ("i >> 1",),
    "__rsub__": ("1 - x", "V - x"),
    "__rtruediv__": ("1 / x", "V / x"),
    "__rxor__": ("1 ^ i",),
    "__setitem__": (
        *(
            "(x.__setitem__(0, 1.0), x)",
            "(x.__setitem__((..., slice(1)), v[:, None][:2]), x)",
            "(x.__setitem__(x > 0, s), x)",
        ),
        *("(x.__setitem__(j[:2] % 2, y), x)", "(i.__setitem__((0, 1), 2.7), i)", "x.__setitem__(5, 1.0)"),
    ),
    "__sub__": ("x - y", "m - m"),
    "__truediv__": ("x / y", "i / 2"),
    "__xor__": ("i ^ 1", "m ^ m"),
}
# What Python or NumPy ask of a class, and nobody writes; a traced value has its own or none.
PROTOCOL: Final = frozenset(
    {
        *(
            "__array_finalize__",
            "__array_function__",
            "__array_interface__",
            "__array_namespace__",
            "__array_priority__",
        ),
        *("__array_struct__", "__array_ufunc__", "__array_wrap__", "__buffer__", "__class_getitem__", "__delitem__"),
        *(
            "__dlpack__",
            "__dlpack_device__",
            "__doc__",
            "__hash__",
            "__reduce__",
            "__reduce_ex__",
            "__repr__",
            "__setstate__",
        ),
        *("__str__", "__new__"),
    }
)


# Attributes that arrays of some supported versions of NumPy have; in NumPy 2.0 most of these only say what to use.
OF_OTHER_VERSIONS: Final = {"device", "to_device", "itemset", "newbyteorder", "ptp", "tostring"}


def names() -> list[str]:
    """What an array has that an object has not."""
    inherited = set(dir(object)) - {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__format__"}
    return [name for name in dir(np.ndarray) if name not in inherited]


def test_every_method_has_an_expression() -> None:
    missing = set(names()) - set(EXPRESSIONS) - PROTOCOL
    assert missing == set()
    assert {name for name in EXPRESSIONS if not hasattr(np.ndarray, name)} <= OF_OTHER_VERSIONS


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_methods(name: str, record_property: Callable[[str, object], None]) -> None:
    if not hasattr(np.ndarray, name):
        pytest.skip(f"arrays of this NumPy have no {name}")
    counts: Counter[str] = Counter()
    for marked in EXPRESSIONS[name]:
        expression = marked.removeprefix("!")
        given = [key for key in ARGUMENTS if re.search(rf"\b{key}\b", expression)]
        scope = {"np": np, "operator": __import__("operator"), **{k.upper(): a.copy() for k, a in ARGUMENTS.items()}}
        f = eval(f"lambda {', '.join(given)}: {expression}", scope)
        expected = outcome(f, *[ARGUMENTS[k].copy() for k in given])
        actual = outcome(lambda f=f, given=given: traced(f, [ARGUMENTS[k] for k in given]))
        if isinstance(expected, Exception):
            assert isinstance(actual, (GraphcError, type(expected), TypeError, ValueError)), (expression, actual)
            counts["raises, as NumPy"] += 1
        elif marked != expression:
            assert isinstance(actual, (UnsupportedError, TraceError)), (expression, actual)
            counts["refused"] += 1
        else:
            if isinstance(actual, Exception):
                raise AssertionError(expression) from actual
            equal(actual, expected)
            counts["equal"] += 1
    record_property("counts: methods and operators of arrays", dict(counts))


@pytest.mark.parametrize("name", METHODS.instead)
def test_a_refusal_says_what_to_write(name: str) -> None:
    with pytest.raises((UnsupportedError, TraceError)) as caught:
        graphc.trace(lambda x: getattr(x, name)(), "f64[3]")
    assert name in str(caught.value) or caught.value.fix


def test_attributes_that_arrays_lack_are_lacking() -> None:
    def look(x: Any) -> Any:
        assert not hasattr(x, "nonsense")
        assert not hasattr(x, "__dataframe__")
        return x

    graphc.trace(look, "f64[3]")
