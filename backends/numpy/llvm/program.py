"""The text of one native function for a whole plan: arguments in, kernels and products over an arena, results out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from graphc.backends.numpy.arrays import LARGE
from graphc.backends.numpy.llvm import costs, entry
from graphc.backends.numpy.llvm.arena import Arena, arrange
from graphc.backends.numpy.llvm.body import Body
from graphc.backends.numpy.llvm.calling import Arguments
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.externals import dtype_name
from graphc.backends.numpy.llvm.instructions import (
    Place,
    Program,
    Result,
    Rows,
)
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.backends.numpy.llvm.sizes import Sizes
from graphc.backends.numpy.llvm.values import BOOL, F64, Value
from graphc.plan import Plan

# words of the state, which is the function's `self`
SLOW, SLOT, UNPACKED, MAKER, CLEARER, STRICT, BUDGET, RENEW, CONSTANTS = range(9)
ON_STACK: Final = 1 << 14  # bytes of an arena that needs no block of its own
KEPT: Final = 1 << 25  # bytes of an arena that are kept for the next call
HEADER: Final = 64  # bytes before an arena: its size
TOGETHER: Final = 64  # instructions of a basic block: LLVM's time for one grows with the square of its length
RELEASE: Final = 400_000.0  # additions, roughly: beyond, other threads may run meanwhile
CALL: Final = 1000.0  # additions that a call takes in any case

PRELUDE: Final = """
declare ptr @PyObject_CallNoArgs(ptr)
declare ptr @PyMem_RawMalloc(i64)
declare void @PyMem_RawFree(ptr)
"""


def function(program: Program, plan: Plan, whole: Sequence[bool], name: str, module: Module) -> tuple[str, set[str]]:
    """The text of ``PyObject *name(self, args, count, names)``, and the externals that it refers to.

    The kernels of the program are functions `kernel0`, `kernel1`, ... of the same module. `self` is an array of words,
    the state: the function to call for everything else; the arena that is kept; whether to return the one result that
    there is and not a tuple of it; what makes arrays of kept memory, if anything does (see `reuse`); whether Python's
    numbers are for weak inputs, and these for nothing else; what is left of the budget of a hurried program, as a
    double, and what to call when nothing is; and where the constants lie.
    """
    return _Function(program, plan, whole, name, module).write()


def large(program: Program, result: Result) -> bool:
    """Whether a result may be as large as what memory is kept of."""
    nbytes = program.storages[result.layout.storage].nbytes
    return result.owned and (not isinstance(nbytes, int) or nbytes >= LARGE)


class _Function:
    def __init__(self, program: Program, plan: Plan, whole: Sequence[bool], name: str, module: Module) -> None:
        self.program = program
        self.plan = plan
        self.name = name
        self.arena: Arena = arrange(program)
        self.e = Emitter(module, lanes=1)
        self.sizes = Sizes(self.e)
        self.arguments = Arguments(self.e, self.sizes, plan.graph.input_types, whole, plan.donated)
        self.body = Body(program, self.arena, self.e, self.sizes)

    @property
    def on_stack(self) -> bool:
        """Whether the arena needs no block of its own."""
        return isinstance(self.arena.nbytes, int) and self.arena.nbytes <= ON_STACK

    def write(self) -> tuple[str, set[str]]:
        e = self.e
        # the body is written first, since it says which sizes and constants are needed before it
        e.label("body")
        for number, instruction in enumerate(self.program.instructions):
            if number and number % TOGETHER == 0:
                following = e.fresh("body")
                e.statement(f"br label %{following}")
                e.label(following)
            self.body.write(instruction)
        self.take_numbers()
        body, e.lines = e.lines, []
        e.label("results")
        self.results()
        ending, e.lines = e.lines, []
        e.label("start")
        if any(not t.shape for t in self.plan.graph.input_types):
            e.statement(f"%strict_at = getelementptr i64, ptr %state, i64 {STRICT}")
            e.statement("%strict = load i64, ptr %strict_at")
        self.arguments.take()
        self.bound()
        if e.module.hurried:
            self.spend()
        self.outputs()
        self.lease()
        for number, found in self.body.constants.items():
            place = f"%{e.fresh('word')}"
            e.statement(f"{place} = getelementptr i64, ptr %state, i64 {CONSTANTS + number}")
            e.statement(f"{found} = load ptr, ptr {place}")
        externals = {name: f"%callee_{name}" for name in self.body.callees}
        for name, found in externals.items():
            e.statement(f"{found} = load ptr, ptr @{name}")
        self.release()
        e.statement("br label %body")
        start, e.lines = e.lines, []
        e.label("work_done")
        self.acquire()
        self.give_back("returned")
        e.statement("br label %results")
        between, e.lines = e.lines, []
        lines = [
            f"define ptr @{self.name}({entry.PARAMETERS}) nounwind {{",
            "entry:",
            *self.allocations(),
            f"  %state_at = getelementptr i8, ptr %self, i64 {entry.DATA}",
            "  %state = load ptr, ptr %state_at",
            f"  %slot_at = getelementptr i64, ptr %state, i64 {SLOT}",
            "  br label %start",
            *start,
            *body,
            "  br label %work_done",
            *between,
            *ending,
            *self.exits(),
            "}",
        ]
        used = self.arguments.externals | set(self.body.callees) | {"ndarray"}
        return "\n".join(lines) + "\n", used

    # before the body

    def allocations(self) -> list[str]:
        """Everything on the stack."""
        program = self.program
        results = len(program.results)
        axes = max((len(r.layout.shape) for r in program.results), default=0)
        lines = [
            f"  %arrays = alloca ptr, i64 {self.body.most_arrays}",
            f"  %sizes = alloca i64, i64 {self.body.most_sizes}",
            f"  %made = alloca ptr, i64 {max(results, 1)}",
            f"  %axes = alloca i64, i64 {max(axes, 1)}",
            *(f"  %number{k} = alloca i64" for k, r in enumerate(program.results) if r.number),
            "  %thread = alloca ptr",
            "  %block = alloca ptr",
            *(f"  %integer{k} = alloca i32" for k in range(6)),
            *self.arguments.slots,
        ]
        if self.on_stack:
            lines.append(f"  %arena = alloca i8, i64 {self.arena.nbytes or 1}, align 64")
        lines.append("  store ptr null, ptr %thread")
        for k in range(results):
            lines += [f"  %made{k} = getelementptr ptr, ptr %made, i64 {k}", f"  store ptr null, ptr %made{k}"]
        return lines

    def bound(self) -> None:
        """Compute the sizes, check the guards."""
        for guard in self.plan.graph.guards:
            self.sizes.guard(guard)
        for one in self.plan.ranges:
            self.sizes.require(self.sizes.compute(one.elements).differs(0))
        self.arguments.keep_apart()
        for storage in self.program.storages:
            self.sizes.compute(storage.nbytes)
        self.need = self.sizes.compute(self.arena.nbytes)
        for result in self.program.results:
            for d in result.layout.shape:
                self.sizes.compute(d)
        self.work = self.estimate()
        self.sizes.write()
        e = self.e
        if self.sizes.fits.text != "true":
            e.statement(f"br {self.sizes.fits!r}, label %fits, label %slow")
        else:
            e.statement("br label %fits")
        e.label("fits")

    def spend(self) -> None:
        """Take what the call costs from the budget; when that is spent, ask for better code for the calls to come."""
        e = self.e
        cost = self.work + CALL
        e.statement(f"%budget_at = getelementptr double, ptr %state, i64 {BUDGET}")
        e.statement("%budget = load double, ptr %budget_at")
        left = e.value("%budget", F64, 1) - cost
        e.statement(f"store {left!r}, ptr %budget_at")
        e.statement(f"br {left < 0.0!r}, label %spent, label %ready")
        e.label("spent")
        e.statement(f"store {e.const(math.inf, F64, 1)!r}, ptr %budget_at")
        e.statement(f"%renew_at = getelementptr ptr, ptr %state, i64 {RENEW}")
        e.statement("%renew = load ptr, ptr %renew_at")
        e.statement("%renewed = call ptr @PyObject_CallNoArgs(ptr %renew)")
        e.statement("%interrupted = icmp eq ptr %renewed, null")
        e.statement("br i1 %interrupted, label %failed, label %asked")
        e.label("asked")
        e.statement("call void @Py_DecRef(ptr %renewed)")
        e.statement("br label %ready")
        e.label("ready")

    def outputs(self) -> None:
        """Arrays for the results."""
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
            self.array(k, result)
            e.statement(f"store ptr %object{k}, ptr %made{k}")
        for k, result in enumerate(self.program.results):
            if result.argument is not None:
                given = f"%given{result.argument}"
                e.statement(f"call void @Py_IncRef(ptr {given})")
                e.statement(f"store ptr {given}, ptr %made{k}")
        for k, result in enumerate(self.program.results):
            if not result.owned:
                continue
            self.unless_null(f"%object{k}", "failed")
            e.statement(f"%result_at{k} = getelementptr i8, ptr %object{k}, i64 {entry.DATA}")
            e.statement(f"%result{k} = load ptr, ptr %result_at{k}")

    def array(self, k: int, result: Result) -> None:
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

    def unless_null(self, pointer: str, otherwise: str) -> None:
        e = self.e
        after = e.fresh("next")
        found = e.instruction(f"icmp ne ptr {pointer}, null", BOOL, 1)
        e.statement(f"br {found!r}, label %{after}, label %{otherwise}")
        e.label(after)

    def lease(self) -> None:
        """An arena: on the stack, the one kept from an earlier call, or a new one."""
        e = self.e
        if self.on_stack:
            return
        need = self.need.text
        e.statement("%kept = atomicrmw xchg ptr %slot_at, i64 0 acquire")
        e.statement("%kept_block = inttoptr i64 %kept to ptr")
        e.statement("%nothing = icmp eq i64 %kept, 0")
        e.statement("br i1 %nothing, label %fresh_arena, label %kept_arena")
        e.label("kept_arena")
        e.statement("%capacity = load i64, ptr %kept_block")
        e.statement(f"%enough = icmp sge i64 %capacity, {need}")
        e.statement("br i1 %enough, label %leased, label %too_small")
        e.label("too_small")
        e.statement("call void @PyMem_RawFree(ptr %kept_block)")
        e.statement("br label %fresh_arena")
        e.label("fresh_arena")
        e.statement(f"%room = add i64 {need}, {2 * HEADER}")
        e.statement("%new_block = call ptr @PyMem_RawMalloc(i64 %room)")
        e.statement("%no_room = icmp eq ptr %new_block, null")
        e.statement("br i1 %no_room, label %lacks_room, label %has_room")
        # memory that is kept for results may serve
        e.label("lacks_room")
        e.statement(f"%clearer_at = getelementptr ptr, ptr %state, i64 {CLEARER}")
        e.statement("%clearer = load ptr, ptr %clearer_at")
        self.unless_null("%clearer", "no_memory")
        e.statement("call void %clearer()")
        e.statement("%second_block = call ptr @PyMem_RawMalloc(i64 %room)")
        self.unless_null("%second_block", "no_memory")
        e.statement("br label %has_room")
        second = e.block
        e.label("has_room")
        e.statement(f"%any_block = phi ptr [ %new_block, %fresh_arena ], [ %second_block, %{second} ]")
        e.statement(f"store i64 {need}, ptr %any_block")
        e.statement("br label %leased")
        e.label("leased")
        e.statement("%leased_block = phi ptr [ %kept_block, %kept_arena ], [ %any_block, %has_room ]")
        e.statement("store ptr %leased_block, ptr %block")
        # the next address after the header that is aligned
        e.statement("%leased_at = ptrtoint ptr %leased_block to i64")
        e.statement(f"%after_header = add i64 %leased_at, {HEADER + 63}")
        e.statement("%aligned = and i64 %after_header, -64")
        e.statement("%arena = inttoptr i64 %aligned to ptr")

    def give_back(self, stem: str) -> None:
        """Keep the arena for the next call, unless it is large, or another call has left one meanwhile."""
        e = self.e
        if self.on_stack:
            return
        keep, drop, there, done = (f"{stem}_{what}" for what in ("keep", "drop", "there", "done"))
        block, capacity, number = (f"%{e.fresh(what)}" for what in ("block", "capacity", "number"))
        e.statement(f"{block} = load ptr, ptr %block")
        e.statement(f"{capacity} = load i64, ptr {block}")
        e.statement(f"{number} = ptrtoint ptr {block} to i64")
        small = e.instruction(f"icmp sle i64 {capacity}, {KEPT}", BOOL, 1)
        e.statement(f"br {small!r}, label %{keep}, label %{drop}")
        e.label(keep)
        old = f"%{e.fresh('old')}"
        e.statement(f"{old} = atomicrmw xchg ptr %slot_at, i64 {number} acq_rel")
        other = f"%{e.fresh('other')}"
        e.statement(f"{other} = inttoptr i64 {old} to ptr")
        empty = e.instruction(f"icmp eq i64 {old}, 0", BOOL, 1)
        e.statement(f"br {empty!r}, label %{done}, label %{there}")
        e.label(there)
        e.statement(f"call void @PyMem_RawFree(ptr {other})")
        e.statement(f"br label %{done}")
        e.label(drop)
        e.statement(f"call void @PyMem_RawFree(ptr {block})")
        e.statement(f"br label %{done}")
        e.label(done)

    def estimate(self) -> Value | float:
        """About how many additions the program costs."""
        works = list(costs.each(self.program))
        total: Value | float = sum((work.each for work in works if not work.sizes), 0.0)
        for work in works:
            if work.sizes:
                total = self.sizes.times(work.each, map(self.sizes.compute, work.sizes)) + total
        return total

    def release(self) -> None:
        """Let other threads run if there is much to do."""
        e = self.e
        if isinstance(self.work, float):
            if self.work > RELEASE:
                e.statement("%saved = call ptr @PyEval_SaveThread()")
                e.statement("store ptr %saved, ptr %thread")
            return
        e.statement(f"br {self.work > RELEASE!r}, label %let_go, label %keep_on")
        e.label("let_go")
        e.statement("%saved = call ptr @PyEval_SaveThread()")
        e.statement("store ptr %saved, ptr %thread")
        e.statement("br label %keep_on")
        e.label("keep_on")

    def acquire(self) -> None:
        e = self.e
        if isinstance(self.work, float) and self.work <= RELEASE:
            return
        saved, back, after = f"%{e.fresh('thread')}", e.fresh("back"), e.fresh("next")
        e.statement(f"{saved} = load ptr, ptr %thread")
        held = e.instruction(f"icmp eq ptr {saved}, null", BOOL, 1)
        e.statement(f"br {held!r}, label %{after}, label %{back}")
        e.label(back)
        e.statement(f"call void @PyEval_RestoreThread(ptr {saved})")
        e.statement(f"br label %{after}")
        e.label(after)

    # after the body

    def take_numbers(self) -> None:
        """Results without axes, before the arena is given back."""
        for k, result in enumerate(self.program.results):
            if result.number:
                place = self.body.pointer(Place.of(result.layout))
                self.body.move(place, f"%number{k}", result.layout.dtype.itemsize)

    def results(self) -> None:
        """Scalars, and the tuple."""
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
            self.unless_null(f"%scalar{k}", "failed")
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
        self.unless_null("%tuple", "failed")
        for k in range(count):
            e.statement(f"%item{k} = load ptr, ptr %made{k}")
            status = f"%{e.fresh('status')}"
            e.statement(f"{status} = call i32 @PyTuple_SetItem(ptr %tuple, i64 {k}, ptr %item{k})")
        e.statement("ret ptr %tuple")

    def exits(self) -> list[str]:
        """What happens if something is not as it should be."""
        e = self.e
        e.lines = []
        if any(isinstance(i, Rows) for i in self.program.instructions):
            # Python says which position is out of bounds
            e.label("bail")
            self.acquire()
            self.give_back("bailed")
            for k, result in enumerate(self.program.results):
                if not result.number:
                    made = f"%{e.fresh('made')}"
                    e.statement(f"{made} = load ptr, ptr %made{k}")
                    e.statement(f"call void @Py_DecRef(ptr {made})")
            e.statement("br label %slow")
        strips = any(Schedule(kernel).in_strips for kernel in self.program.kernels)
        if strips:
            e.label("lacking")
            self.acquire()
            self.give_back("lacked")
            e.statement("br label %no_memory")
        if strips or not self.on_stack:
            e.label("no_memory")
            e.statement("%nothing_left = call ptr @PyErr_NoMemory()")
            e.statement("br label %failed")
        e.label("failed")
        for k in range(len(self.program.results)):
            e.statement(f"%failed{k} = load ptr, ptr %made{k}")
            e.statement(f"call void @Py_DecRef(ptr %failed{k})")
        e.statement("ret ptr null")
        e.label("slow")
        e.statement("%python = load ptr, ptr %state")
        e.statement("%otherwise = call ptr @PyObject_Vectorcall(ptr %python, ptr %args, i64 %count, ptr %names)")
        e.statement("ret ptr %otherwise")
        return e.lines
