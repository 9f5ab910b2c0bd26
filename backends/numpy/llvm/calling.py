"""The code around a native program: it takes CPython's arguments apart, and makes NumPy's results.

An argument that is not exactly as expected (another type, dtype, rank, size or layout, a guard that fails) is left to a
Python function, which converts it or says what is wrong. Nothing has been written by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graphc import dims
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.entry import DATA, DENSE, DESCR, DIMS, FLAGS, RANK, TYPE, VALUE
from graphc.backends.numpy.llvm.externals import dtype_name
from graphc.backends.numpy.llvm.sizes import Sizes
from graphc.backends.numpy.llvm.values import BOOL, ELEMENTS, I32, I64, U64, DType, Value
from graphc.dims import Size
from graphc.ir import TensorType

OWNED: Final = 0x0004 | 0x0400  # NPY_ARRAY_OWNDATA | NPY_ARRAY_WRITEABLE

PRELUDE: Final = """
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)
declare ptr @PyErr_NoMemory()
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
"""

# A function of modules that take numbers.
NUMBER: Final = f"""
; the number that an object is: an array without axes, or a scalar of NumPy's type `scalar`, or of the type `python`
define internal ptr @number(ptr %object, i64 %descr, i64 %scalar, i64 %python) nounwind {{
entry:
  %kind_at = getelementptr i8, ptr %object, i64 {TYPE}
  %kind = load i64, ptr %kind_at
  %inside = getelementptr i8, ptr %object, i64 {VALUE}
  %first = icmp eq i64 %kind, %scalar
  %second = icmp eq i64 %kind, %python
  %either = or i1 %first, %second
  br i1 %either, label %scalar_value, label %perhaps
scalar_value:
  ret ptr %inside
perhaps:
  %ndarray = load i64, ptr @ndarray
  %plain = icmp eq i64 %kind, %ndarray
  br i1 %plain, label %array, label %wrong
array:
  %descr_at = getelementptr i8, ptr %object, i64 {DESCR}
  %its = load i64, ptr %descr_at
  %typed = icmp eq i64 %its, %descr
  %rank_at = getelementptr i8, ptr %object, i64 {RANK}
  %axes = load i32, ptr %rank_at
  %ranked = icmp eq i32 %axes, 0
  %flags_at = getelementptr i8, ptr %object, i64 {FLAGS}
  %flags = load i32, ptr %flags_at
  %masked = and i32 %flags, {DENSE}
  %dense = icmp eq i32 %masked, {DENSE}
  %both = and i1 %typed, %ranked
  %all = and i1 %both, %dense
  br i1 %all, label %array_value, label %wrong
array_value:
  %data_at = getelementptr i8, ptr %object, i64 {DATA}
  %data = load ptr, ptr %data_at
  ret ptr %data
wrong:
  ret ptr null
}}
"""


class Arguments:
    """Checks and takes the arguments: `%argument0`, `%argument1`, ... point to their elements.

    whole: for weak integers, whether a Python int of 64 bits will do.
    donated: the arguments whose memory is written, or which are results: `%given0`, ... are the objects.
    """

    def __init__(
        self, e: Emitter, sizes: Sizes, types: Sequence[TensorType], whole: Sequence[bool], donated: Sequence[int]
    ) -> None:
        self.e = e
        self.sizes = sizes
        self.types = types
        self.whole = whole
        self.donated = donated
        self.externals: set[str] = set()
        self.slots: list[str] = []

    def take(self) -> None:
        e = self.e
        nameless = e.instruction("icmp eq ptr %names, null", BOOL, 1)
        self._go_on(nameless & e.instruction(f"icmp eq i64 %count, {len(self.types)}", BOOL, 1))
        later: list[tuple[Size, Value]] = []
        for k, type in enumerate(self.types):
            place, given = f"%{e.fresh('place')}", f"%given{k}"
            e.statement(f"{place} = getelementptr ptr, ptr %args, i64 {k}")
            e.statement(f"{given} = load ptr, ptr {place}")
            if not type.shape:
                self._number(k, type, given)
                continue
            self._array(type, given, DENSE | OWNED if k in self.donated else DENSE)
            self.field(given, DATA, "ptr", f"%argument{k}")
            axes = self.field(given, DIMS, "ptr")
            for axis, size in enumerate(type.shape):
                actual = e.value(self.field(axes, 8 * axis, "i64"), I64, 1)
                if self.sizes.binds(size):
                    self.sizes.bind(size, actual)
                else:
                    later.append((size, actual))
        for size, actual in later:
            self.sizes.require(actual.equals(self.sizes.compute(size)))

    def keep_apart(self) -> None:
        """Require that no argument shows the memory of one that is donated; once the sizes are known."""
        for one in self.donated:
            for other, type in enumerate(self.types):
                if other in self.donated:
                    # both own their memory, so all or nothing is shared
                    if other < one:
                        text = f"icmp ne ptr %argument{one}, %argument{other}"
                        self.sizes.require(self.e.instruction(text, BOOL, 1))
                    continue
                first, last = self._range(one, self.types[one])
                start, stop = self._range(other, type)
                self.sizes.require((last <= start) | (stop <= first))

    def _range(self, k: int, type: TensorType) -> tuple[Value, Value]:
        """The first address of an argument's elements, and the one behind the last."""
        e = self.e
        start = e.instruction(f"ptrtoint ptr %argument{k} to i64", U64, 1)
        nbytes = self.sizes.compute(dims.product(type.shape) * type.dtype.itemsize)
        return start, start + e.value(nbytes.text, U64, 1)

    def _array(self, type: TensorType, given: str, wanted: int) -> None:
        """A plain array with certain flags, of a type but for its sizes."""
        # another object may be too small to have the other fields
        self._go_on(self._holds(given, TYPE, self.external("ndarray")))
        typed = self._holds(given, DESCR, self.external(f"descr_{dtype_name(type.dtype)}"))
        ranked = self._holds(given, RANK, str(type.ndim), I32)
        flags = self.e.value(self.field(given, FLAGS, "i32"), I32, 1) & wanted
        self._go_on(typed & ranked & flags.equals(wanted))

    def _holds(self, given: str, offset: int, wanted: str, dtype: DType = I64) -> Value:
        """Whether a field is what it should be."""
        field = self.e.value(self.field(given, offset, ELEMENTS[dtype]), dtype, 1)
        return self.e.instruction(f"icmp eq {field!r}, {wanted}", BOOL, 1)

    def _number(self, k: int, type: TensorType, given: str) -> None:
        """A number: an array without axes, or a scalar of NumPy's or Python's."""
        e = self.e
        kind = e.value(self.field(given, TYPE, "i64"), I64, 1)
        name = dtype_name(type.dtype)
        descr, scalar = self.external(f"descr_{name}"), self.external(f"scalar_{name}")
        python = self.external("float") if name == "f8" else "0"
        found = f"%argument{k}"
        e.module.define("number", NUMBER)
        call = f"call ptr @number(ptr {given}, i64 {descr}, i64 {scalar}, i64 {python})"
        if not self.whole[k]:
            e.statement(f"{found} = {call}")
            self._go_on(e.instruction(f"icmp ne ptr {found}, null", BOOL, 1))
            self._told_apart(type.weak, e.instruction(f"icmp eq i64 {kind.text}, {python}", BOOL, 1))
            return
        # a Python int is converted into a slot
        slot, overflow = f"%{e.fresh('slot')}", f"%{e.fresh('slot')}"
        self.slots += [f"  {slot} = alloca i64", f"  {overflow} = alloca i32"]
        integer, other, both = (e.fresh(stem) for stem in ("integer", "other", "both"))
        known = e.instruction(f"icmp eq i64 {kind.text}, {self.external('int')}", BOOL, 1)
        e.statement(f"br {known!r}, label %{integer}, label %{other}")
        e.label(integer)
        value, over = f"%{e.fresh('whole')}", f"%{e.fresh('over')}"
        e.statement(f"{value} = call i64 @PyLong_AsLongLongAndOverflow(ptr {given}, ptr {overflow})")
        e.statement(f"store i64 {value}, ptr {slot}")
        e.statement(f"{over} = load i32, ptr {overflow}")
        within = e.instruction(f"icmp eq i32 {over}, 0", BOOL, 1)
        chosen = f"%{e.fresh('chosen')}"
        e.statement(f"{chosen} = select {within!r}, ptr {slot}, ptr null")
        e.statement(f"br label %{both}")
        e.label(other)
        array = f"%{e.fresh('number')}"
        e.statement(f"{array} = {call}")
        e.statement(f"br label %{both}")
        e.label(both)
        e.statement(f"{found} = phi ptr [ {chosen}, %{integer} ], [ {array}, %{other} ]")
        self._go_on(e.instruction(f"icmp ne ptr {found}, null", BOOL, 1))
        self._told_apart(type.weak, known)

    def _told_apart(self, weak: bool, python: Value) -> None:
        """Where it is asked for, Python's numbers are for weak inputs, and NumPy's for others."""
        loose = self.e.instruction("icmp eq i64 %strict, 0", BOOL, 1)
        self._go_on(loose | (python if weak else ~python))

    def field(self, pointer: str, offset: int, kind: str, name: str | None = None) -> str:
        """A field of an object."""
        e = self.e
        place, found = f"%{e.fresh('at')}", name or f"%{e.fresh('field')}"
        e.statement(f"{place} = getelementptr i8, ptr {pointer}, i64 {offset}")
        e.statement(f"{found} = load {kind}, ptr {place}")
        return found

    def external(self, name: str) -> str:
        """An address of this process, as a number."""
        self.externals.add(name)
        found = f"%{self.e.fresh('external')}"
        self.e.statement(f"{found} = load i64, ptr @{name}")
        return found

    def _go_on(self, condition: Value) -> None:
        """Leave for the Python function unless a condition holds."""
        after = self.e.fresh("next")
        self.e.statement(f"br {condition!r}, label %{after}, label %slow")
        self.e.label(after)
