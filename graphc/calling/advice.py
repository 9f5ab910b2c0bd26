"""What to write in place of a draw from NumPy's or Python's generators: the same draw from a key."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

# By the name of a draw: its parameters there, and the draw here. A word stands for its argument, `word=` is left out
# where there is none; `size` is the shape, and `*size` takes all arguments.
DRAWS: Final[dict[str, tuple[str, str]]] = {
    "bytes": ("length", "bits key length np.uint8"),
    "choice": ("a size replace p axis", "choice key a size replace= p= axis="),
    "choices": ("a", "choice key a size"),
    "expovariate": ("rate", "exponential key"),
    "exponential": ("scale size", "exponential key size scale="),
    "gauss": ("loc scale", "normal key size loc= scale="),
    "getrandbits": ("count", "bits key"),
    "gumbel": ("loc scale size", "gumbel key size loc= scale="),
    "integers": ("low high size dtype endpoint", "integers key size low high dtype= endpoint="),
    "laplace": ("loc scale size", "laplace key size loc= scale="),
    "logistic": ("loc scale size", "logistic key size loc= scale="),
    "normal": ("loc scale size", "normal key size loc= scale="),
    "normalvariate": ("loc scale", "normal key size loc= scale="),
    "permutation": ("x axis", "permutation key x axis="),
    "permuted": ("x axis", "permutation key x axis= independent=True"),
    "rand": ("*size", "uniform key *size"),
    "randint": ("low high size dtype", "integers key size low high dtype="),
    "randn": ("*size", "normal key *size"),
    "random": ("size dtype", "uniform key size dtype="),
    "random_sample": ("size", "uniform key size"),
    "randrange": ("low high", "integers key size low high"),
    "sample": ("a size", "choice key a size replace=False"),
    "shuffle": ("x axis", "permutation key x axis="),
    "standard_cauchy": ("size", "cauchy key size"),
    "standard_exponential": ("size dtype", "exponential key size dtype="),
    "standard_normal": ("size dtype", "normal key size dtype="),
    "uniform": ("low high size", "uniform key size minval=low maxval=high"),
}
_CALL: Final = rf"(?<![\w.])(?:[\w\]\[.]+\.)?({'|'.join(DRAWS)})\("


def draw_in(source: str) -> tuple[str, str] | None:
    """The first draw in a line of code, as it is written there, and the same draw from a key.

    >>> draw_in("noise = np.random.normal(0, sigma, size=(n, 3))")
    ('np.random.normal', 'graphc.random.normal(key, (n, 3), loc=0, scale=sigma)')
    >>> draw_in("y = rand(2, 3)")
    ('rand', 'graphc.random.uniform(key, (2, 3))')
    """
    for tree in _parsed(source):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name in DRAWS:
                    return ast.unparse(node.func), _from_key(node, *DRAWS[name])
    return None


def _parsed(source: str) -> Iterator[ast.AST]:
    """The line as a syntax tree; if it opens a block or is a part of a longer statement, what can be parsed of it."""
    for text in (source, f"{source}\n    pass", f"if True:\n    pass\n{source}\n    pass"):
        tree = _tree(text)
        if tree is not None:
            yield tree
            return
    for call in re.finditer(_CALL, source):
        ends = (k + 1 for k in range(call.end(), len(source)) if source[k] == ")")
        found = next((tree for end in ends if (tree := _tree(source[call.start() : end])) is not None), None)
        if found is not None:
            yield found


def _tree(text: str) -> ast.AST | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _from_key(call: ast.Call, theirs: str, ours: str) -> str:
    given: dict[str | None, str] = {k.arg: ast.unparse(k.value) for k in call.keywords if k.arg is not None}
    values = [ast.unparse(a) for a in call.args]
    if theirs == "*size":
        given["*size"] = f"({', '.join(values)}{',' * (len(values) == 1)})"
    else:
        given.update(zip(theirs.split(), values, strict=False))
    if ours.startswith("integers") and "low" in given and "high" not in given:
        ours = ours.replace(" high", "", 1)
    name, *words = ours.split()
    arguments = [a for a in (_argument(word, given) for word in words) if a is not None]
    while arguments[-1:] == ["()"] and name not in ("integers",):
        arguments.pop()
    return f"graphc.random.{name}({', '.join(arguments)})"


def _argument(word: str, given: dict[str | None, str]) -> str | None:
    keyword, equals, value = word.partition("=")
    if not equals:
        return given.get(word, "()" if word in ("size", "*size") else word)
    if value in ("True", "False"):
        return word
    found = given.get(value or keyword)
    return None if found is None else f"{keyword}={found}"
