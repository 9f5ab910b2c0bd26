"""The code after a native program, and before it as far as arrays for results are made: what the function returns."""

from __future__ import annotations

from graphc.backends.numpy.arrays import LARGE
from graphc.backends.numpy.llvm.calling import Arguments
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.entry import DATA
from graphc.backends.numpy.llvm.externals import dtype_name
from graphc.backends.numpy.llvm.instructions import Place, Program, Result
from graphc.backends.numpy.llvm.places import Places
from graphc.backends.numpy.llvm.sizes import Sizes
from graphc.backends.numpy.llvm.state import MAKER, UNPACKED
from graphc.backends.numpy.llvm.values import BOOL


def large(program: Program, result: Result) -> bool:
    """Whether a result may be as large as what memory is kept of."""
    nbytes = program.storages[result.layout.storage].nbytes
    return result.owned and (not isinstance(nbytes, int) or nbytes >= LARGE)


class Results:
    """Makes the results: `%result0`, ... point to the elements of arrays.

    Around that, in the same function, `%state` points to the state, and `%failed` is where to go when Python has
    raised an error. `%made` has room for the objects, so that they can be given up at any point.
    """

    def __init__(self, e: Emitter, sizes: Sizes, arguments: Arguments, program: Program) -> None:
        self.e = e
        self.sizes = sizes
        self.arguments = arguments
        self.program = program

    @property
    def slots(self) -> list[str]:
        """Room for the objects, for the shape of an array, and for numbers."""
        results = self.program.results
        axes = max((len(r.layout.shape) for r in results), default=0)
        return [
            f"  %made = alloca ptr, i64 {max(len(results), 1)}",
            f"  %axes = alloca i64, i64 {max(axes, 1)}",
            *(f"  %number{k} = alloca i64" for k, r in enumerate(results) if r.number),
        ]

    @property
    def nothing(self) -> list[str]:
        """That no object has been made yet."""
        lines = []
        for k in range(len(self.program.results)):
            lines += [f"  %made{k} = getelementptr ptr, ptr %made, i64 {k}", f"  store ptr null, ptr %made{k}"]
        return lines

    def make(self) -> None:
        """Arrays for the results, before the body."""
        e = self.e
        if any(r.owned for r in self.program.results):
            new, ndarray = (self.arguments.external(name) for name in ("new_array", "ndarray"))
            e.statement(f"%new_array_at = inttoptr i64 {new} to ptr")
            e.statement(f"%array_type = inttoptr i64 {ndarray} to ptr")
        if any(large(self.program, r) for r in self.program.results):
            e.statement(f"%maker_at = getelementptr ptr, ptr %state, i64 {MAKER}")
            e.statement("%maker = load ptr, ptr %maker_at")
        for k, result in enumerate(self.program.results):
            if not result.owned:
                continue
            shape = result.layout.shape
            for axis, d in enumerate(shape):
                place = f"%{e.fresh('axis')}"
                e.statement(f"{place} = getelementptr i64, ptr %axes, i64 {axis}")
                e.statement(f"store i64 {self.sizes.compute(d).text}, ptr {place}")
            self._array(k, result)
            e.statement(f"store ptr %object{k}, ptr %made{k}")
        for k, result in enumerate(self.program.results):
            if result.argument is not None:
                given = f"%given{result.argument}"
                e.statement(f"call void @Py_IncRef(ptr {given})")
                e.statement(f"store ptr {given}, ptr %made{k}")
        for k, result in enumerate(self.program.results):
            if not result.owned:
                continue
            self._unless_null(f"%object{k}")
            e.statement(f"%result_at{k} = getelementptr i8, ptr %object{k}, i64 {DATA}")
            e.statement(f"%result{k} = load ptr, ptr %result_at{k}")

    def _array(self, k: int, result: Result) -> None:
        """A new array for a result: if it is large, of memory that was kept, where anything is."""
        e, kind, rank = self.e, result.layout.dtype.num, len(result.layout.shape)
        usual = (
            f"call ptr %new_array_at(ptr %array_type, i32 {rank}, ptr %axes, i32 {kind}, "
            "ptr null, ptr null, i32 0, i32 0, ptr null)"
        )
        if not large(self.program, result):
            e.statement(f"%object{k} = {usual}")
            return
        nbytes = self.sizes.compute(self.program.storages[result.layout.storage].nbytes)
        keeps = e.instruction("icmp ne ptr %maker, null", BOOL, 1) & (nbytes >= LARGE)
        e.statement(f"br {keeps!r}, label %keeping{k}, label %usual{k}")
        e.label(f"keeping{k}")
        e.statement(f"%kept_object{k} = call ptr %maker(i32 {rank}, ptr %axes, i32 {kind}, {nbytes!r})")
        e.statement(f"br label %array{k}")
        e.label(f"usual{k}")
        e.statement(f"%usual_object{k} = {usual}")
        e.statement(f"br label %array{k}")
        e.label(f"array{k}")
        e.statement(f"%object{k} = phi ptr [ %kept_object{k}, %keeping{k} ], [ %usual_object{k}, %usual{k} ]")

    def take_numbers(self, places: Places) -> None:
        """Results without axes, from where they lie, before the arena is given back."""
        for k, result in enumerate(self.program.results):
            if result.number:
                place = places.pointer(Place.of(result.layout))
                places.move(place, f"%number{k}", result.layout.dtype.itemsize)

    def pack(self) -> None:
        """Scalars, and the tuple, which is returned."""
        e = self.e
        scalars = [(k, r) for k, r in enumerate(self.program.results) if r.number]
        if scalars:
            e.statement(f"%new_scalar_at = inttoptr i64 {self.arguments.external('new_scalar')} to ptr")
        for k, result in scalars:
            descr = self.arguments.external(f"descr_{dtype_name(result.layout.dtype)}")
            known = f"%{e.fresh('descr')}"
            e.statement(f"{known} = inttoptr i64 {descr} to ptr")
            e.statement(f"%scalar{k} = call ptr %new_scalar_at(ptr %number{k}, ptr {known}, ptr null)")
            e.statement(f"store ptr %scalar{k}, ptr %made{k}")
            self._unless_null(f"%scalar{k}")
        count = len(self.program.results)
        if count == 1:
            e.statement(f"%unpacked_at = getelementptr i64, ptr %state, i64 {UNPACKED}")
            e.statement("%unpacked = load i64, ptr %unpacked_at")
            e.statement("%packed = icmp eq i64 %unpacked, 0")
            e.statement("br i1 %packed, label %pack, label %unpack")
            e.label("unpack")
            e.statement("%only = load ptr, ptr %made0")
            e.statement("ret ptr %only")
            e.label("pack")
        e.statement(f"%tuple = call ptr @PyTuple_New(i64 {count})")
        self._unless_null("%tuple")
        for k in range(count):
            e.statement(f"%item{k} = load ptr, ptr %made{k}")
            status = f"%{e.fresh('status')}"
            e.statement(f"{status} = call i32 @PyTuple_SetItem(ptr %tuple, i64 {k}, ptr %item{k})")
        e.statement("ret ptr %tuple")

    def give_up_arrays(self) -> None:
        """Give up the arrays, where numbers have not been made."""
        e = self.e
        for k, result in enumerate(self.program.results):
            if not result.number:
                made = f"%{e.fresh('made')}"
                e.statement(f"{made} = load ptr, ptr %made{k}")
                e.statement(f"call void @Py_DecRef(ptr {made})")

    def fail(self) -> None:
        """Give up what has been made, and return as Python's functions do that have raised an error."""
        e = self.e
        for k in range(len(self.program.results)):
            e.statement(f"%failed{k} = load ptr, ptr %made{k}")
            e.statement(f"call void @Py_DecRef(ptr %failed{k})")
        e.statement("ret ptr null")

    def _unless_null(self, pointer: str) -> None:
        """Go on unless a pointer is null: then Python has raised an error."""
        e = self.e
        after = e.fresh("next")
        found = e.instruction(f"icmp ne ptr {pointer}, null", BOOL, 1)
        e.statement(f"br {found!r}, label %{after}, label %failed")
        e.label(after)
