"""What all kernels share: parameters, indices, and the statements of values at one point of the loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graphc.backends.cupy.emit import CudaEmitter
from graphc.backends.cupy.prelude import C_TYPES, PRELUDE, fold_type
from graphc.backends.cupy.scalars import CudaScalars
from graphc.backends.numpy.llvm.values import BOOL, I64, DType, Value
from graphc.dims import Size
from graphc.kernels import Affine, Apply, Fixed, Kernel, Load, Position, Reduce, Within
from graphc.ops import TABLE

Env = dict[int, Value]
Index = Mapping[int, str]  # for each loop the text of its index

UNBOUNDED: Final = 256  # threads of a block
LIGHT: Final = 16  # operations; where there are more, arithmetic fills the time, and repeated code the caches
NARROW: Final = 1 << 30  # elements up to which 32 bits hold every index, and every index plus a stride of the grid


@dataclass(frozen=True, slots=True)
class Settings:
    """How a kernel is written.

    fast: approximate functions, and sums of single precision in single precision.
    wide: 64 bits for indices.
    """

    fast: bool = False
    wide: bool = False


def in_memory(dtype: DType) -> str:
    """The C++ type of array elements; booleans are bytes."""
    return "u8" if dtype == BOOL else C_TYPES[dtype]


class Body:
    """Writes one kernel. `parts` are workspaces for accumulators: name and type; `extra` are further sizes."""

    def __init__(
        self,
        kernel: Kernel,
        settings: Settings,
        parts: Sequence[tuple[str, str]] = (),
        extra: Sequence[str] = (),
    ) -> None:
        self.kernel = kernel
        self.settings = settings
        self.e = CudaEmitter()
        self.k = CudaScalars(self.e, settings.fast)
        self.parts = parts
        self.extra = extra
        self.reads = {root: f"r{number}" for number, root in enumerate(kernel.roots)}
        self.writes = [f"w{number}" for number in range(len(kernel.stores))]
        self.sizes = {size: f"s{number}" for number, size in enumerate(kernel.symbolic)}

    def text(self, name: str, threads: int, resident: int = 1) -> str:
        """The whole source, once the statements are written.

        resident: how many blocks should run on a processor at the same time, if their threads can do with so few
        registers; see `compiling`.
        """
        dtypes = {v.root: v.dtype for v in self.kernel.values if isinstance(v, Load)}
        parameters = [f"const {in_memory(dtypes[root])}* {base}" for root, base in self.reads.items()]
        for base, store in zip(self.writes, self.kernel.stores, strict=True):
            parameters.append(f"{in_memory(self.kernel.values[store.value].dtype)}* {base}")
        parameters += [f"{kind}* {base}" for base, kind in self.parts]
        numbers = [*self.sizes.values(), *self.extra]
        parameters += [f"i64 {number}_" for number in numbers]
        index = "i64" if self.settings.wide else "i32"
        # in a block of 256 threads each may have as many registers as there are; told of a bound, the compiler would
        # rather spill some of them than have fewer blocks at a time
        bounds = f"__launch_bounds__({threads}, {resident}) " if threads > UNBOUNDED or resident > 1 else ""
        lines = [
            f"typedef {index} idx;",
            *self.e.declarations(),
            f'extern "C" __global__ void {bounds}{name}({", ".join(parameters)}) {{',
            *(f"  const idx {number} = (idx){number}_;" for number in numbers),
            *self.e.head(),
            *self.e.lines,
            "}",
        ]
        return PRELUDE + "\n".join(lines) + "\n"

    # Numbers

    def size(self, size: Size) -> str:
        return f"(idx){size}" if isinstance(size, int) else self.sizes[size]

    def product(self, loops: Iterable[int]) -> str:
        """The number of points of some loops."""
        total, factors = 1, []
        for k in loops:
            size = self.kernel.sizes[k]
            if isinstance(size, int):
                total *= size
            else:
                factors.append(self.sizes[size])
        return " * ".join([*([f"(idx){total}"] if total != 1 or not factors else []), *factors])

    def affine(self, at: Affine, index: Index) -> str:
        """The number at some indices; 0 for loops that have none."""
        terms = [] if at.offset == 0 else [self.size(at.offset)]
        for loop, stride in enumerate(at.strides):
            if stride != 0 and loop in index:
                terms.append(index[loop] if stride == 1 else f"{self.size(stride)} * {index[loop]}")
        return " + ".join(terms) or "0"

    def unravel(self, loops: Sequence[int], flat: str, prefix: str, last_step: int = 1) -> dict[int, str]:
        """Statements that take a number apart into indices of loops; the last loop goes in steps."""
        e = self.e
        found: dict[int, str] = {}
        rest = flat
        for position, loop in reversed(list(enumerate(loops))):
            name = f"{prefix}{loop}"
            step = last_step if position == len(loops) - 1 else 1
            times = f" * {step}" if step > 1 else ""
            if position == 0:
                e.statement(f"const idx {name} = {f'({rest})' if times else rest}{times};")
            else:
                extent = self.size(self.kernel.sizes[loop])
                extent = f"({extent} / {step})" if step > 1 else extent
                e.statement(f"const idx {name} = ({rest}) % {extent}{times};")
                over = self.e.fresh("q")
                e.statement(f"const idx {over} = ({rest}) / {extent};")
                rest = over
            found[loop] = name
        return found

    # Values

    def condition(self, within: Sequence[Within], index: Index) -> str:
        """Where a load's conditions hold; "" if there are none."""
        tests = []
        for w in within:
            at = index[w.loop]
            tests.append(f"{at} >= {self.size(w.start)} && {at} < {self.size(w.stop)}")
        return " && ".join(tests)

    def load(self, load: Load, index: Index) -> Value:
        """One element; 0 where a condition fails, and then memory is not touched."""
        text = f"{self.reads[load.root]}[{self.affine(load.at, index)}]"
        condition = self.condition(load.within, index)
        if condition:
            text = f"({condition}) ? {text} : ({in_memory(load.dtype)})0"
        text = f"({text}) != 0" if load.dtype == BOOL else text
        return self.e.instruction(text, load.dtype, pure=False)

    def value(self, number: int, env: Env, index: Index) -> Value:
        """The statements of one value, whose operands are in `env`."""
        value = self.kernel.values[number]
        match value:
            case Fixed(dtype=dtype, number=constant):
                return self.e.const(constant, dtype)
            case Position(dtype=dtype, at=at):
                place = self.e.instruction(f"(i64)({self.affine(at, index)})", I64)
                return self.e.convert(place, dtype)
            case Load():
                return self.load(value, index)
            case Apply(dtype=dtype, op=op, operands=operands, attrs=attrs):
                meaning = TABLE[op].kernel
                given = [env[j] for j in operands]
                if isinstance(meaning, str):
                    result: Value = getattr(self.k, meaning)(*given)
                else:
                    assert meaning is not None
                    result = meaning(self.k, *given, **dict(attrs))
                assert result.dtype == dtype, (op, result.dtype, dtype)
                return result
            case Reduce():
                raise AssertionError("results of folds are put into the environment")

    def compute(self, wanted: Iterable[int], env: Env, index: Index) -> None:
        """Put values, and what they are made of, into the environment."""
        for number in self.closure(wanted, env):
            env[number] = self.value(number, env, index)

    def unroll(self, numbers: Iterable[int]) -> str:
        """How often to write out a loop over these values: light ones so that several loads are on their way."""
        applied = sum(isinstance(self.kernel.values[i], Apply) for i in numbers)
        return f"#pragma unroll {4 if applied <= LIGHT else 1}"

    def closure(self, wanted: Iterable[int], known: Iterable[int]) -> list[int]:
        """Values that have to be computed for those wanted, in order; nothing behind what is known."""
        have = set(known)
        found: set[int] = set()
        stack = [i for i in wanted if i not in have]
        while stack:
            i = stack.pop()
            if i in found:
                continue
            found.add(i)
            value = self.kernel.values[i]
            if isinstance(value, Apply):
                stack.extend(j for j in value.operands if j not in have)
        return sorted(found)

    def store(self, number: int, env: Env, index: Index) -> None:
        """Write the value of a store."""
        store = self.kernel.stores[number]
        self.e.statement(f"{self.writes[number]}[{self.affine(store.at, index)}] = {env[store.value].text};")

    # Folds

    def fold(self, number: int) -> str:
        """The struct of a value that is a fold."""
        value = self.kernel.values[number]
        assert isinstance(value, Reduce)
        return fold_type(value.fold, value.dtype, self.settings.fast)

    def folded(self, number: int, acc: str) -> Value:
        """The result of a fold, from its accumulator."""
        return self.e.instruction(f"{self.fold(number)}::result({acc})", self.kernel.values[number].dtype, pure=False)
