"""What jit keeps of one signature: the variants compiled for it, and which sizes to make symbolic next."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from graphc import dims
from graphc.compiler.compiled import Compiled
from graphc.compiler.sizes import mismatch
from graphc.dims import Size
from graphc.ir import TensorType


class Variants:
    """The compiled variants of one signature, and the shapes seen."""

    LIMIT: Final = 32

    def __init__(self) -> None:
        self.variants: OrderedDict[int, Compiled] = OrderedDict()
        self.seen: deque[tuple[tuple[Size, ...], ...]] = deque(maxlen=self.LIMIT)
        self.broken: str | None = None

    def find(self, types: list[TensorType]) -> Compiled | None:
        self.broken = None
        for key, compiled in list(self.variants.items()):
            broken = mismatch(compiled.plan.graph, types)
            if broken is None:
                self.variants.move_to_end(key)
                return compiled
            self.broken = broken
        return None

    def add(self, compiled: Compiled, types: list[TensorType]) -> None:
        self.seen.append(tuple(t.shape for t in types))
        self.variants[id(compiled)] = compiled
        while len(self.variants) > self.LIMIT:
            self.variants.popitem(last=False)

    def why(self, types: list[TensorType]) -> str:
        if not self.seen:
            return "first call with this structure, dtypes and ranks"
        return f"new sizes ({self.broken})" if self.broken else "new sizes"

    def generalise(self, types: list[TensorType]) -> tuple[list[TensorType], dict[str, int]]:
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
