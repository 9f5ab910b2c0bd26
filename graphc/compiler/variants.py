"""What jit keeps of one signature: the variants compiled for it, and which sizes to make symbolic next."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from graphc import dims
from graphc.compiler.compiled import Compiled
from graphc.compiler.signatures import Signature
from graphc.compiler.sizes import mismatch
from graphc.dims import Size
from graphc.ir import TensorType


class Variant:
    """One compiled function, with what a call needs of it at hand.

    `run` takes the arrays one by one, and returns what the call returns. `used` says that it was called again since it
    was made, or since it was last spared.
    """

    __slots__ = ("compiled", "effects", "key", "run", "used")

    def __init__(self, compiled: Compiled, key: Any) -> None:
        self.compiled = compiled
        packed = compiled.packed
        self.run = compiled.direct(packed) or packed
        self.effects = bool(compiled.graph.effects)
        self.key = key  # of its signature
        self.used = False


class Variants:
    """The compiled variants of one signature, and the shapes seen."""

    HISTORY: Final = 32

    def __init__(self, key: Any, signature: Signature) -> None:
        self.key = key
        self.signature = signature
        self.variants: list[Variant] = []
        self.seen: deque[tuple[tuple[Size, ...], ...]] = deque(maxlen=self.HISTORY)

    def find(self, types: Sequence[TensorType]) -> tuple[Variant | None, str | None]:
        """The variant that fits, the latest first; if none does, why the latest does not."""
        broken = None
        for variant in reversed(self.variants):
            why = mismatch(variant.compiled.plan.graph, types)
            if why is None:
                return variant, None
            broken = broken or why
        return None, broken

    def add(self, compiled: Compiled, types: Sequence[TensorType]) -> Variant:
        self.seen.append(tuple(t.shape for t in types))
        variant = Variant(compiled, self.key)
        self.variants.append(variant)
        return variant

    def generalise(self, types: Sequence[TensorType]) -> tuple[list[TensorType], dict[str, int]]:
        """Make the sizes that changed between calls symbolic; those that changed alike share a symbol."""
        history = [*self.seen, tuple(t.shape for t in types)]
        symbols: dict[tuple[Size, ...], str] = {}
        hints: dict[str, int] = {}
        result = []
        for position, t in enumerate(types):
            shape: list[Size] = []
            for axis, d in enumerate(t.shape):
                track = tuple(shapes[position][axis] for shapes in history)
                if len(set(track)) == 1:
                    shape.append(d)
                    continue
                name = symbols.setdefault(track, f"n{len(symbols)}" if symbols else "n")
                hints[name] = int(d)  # type: ignore[arg-type]
                shape.append(dims.symbol(name))
            result.append(TensorType(shape, t.dtype, t.weak))
        return result, hints
