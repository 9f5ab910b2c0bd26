"""The text of one native function for a whole plan: arguments in, kernels and products over an arena, results out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from graphc.backends.numpy.llvm import costs, entry, lease
from graphc.backends.numpy.llvm.arena import Arena, arrange
from graphc.backends.numpy.llvm.body import Body
from graphc.backends.numpy.llvm.calling import Arguments
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.instructions import Program, Rows
from graphc.backends.numpy.llvm.lease import Lease
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.returning import Results
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.backends.numpy.llvm.sizes import Sizes
from graphc.backends.numpy.llvm.state import BUDGET, CONSTANTS, RENEW, SLOT, STRICT
from graphc.backends.numpy.llvm.values import BOOL, F64, Value
from graphc.plan import Plan

TOGETHER: Final = 64  # instructions of a basic block: LLVM's time for one grows with the square of its length
RELEASE: Final = 400_000.0  # additions, roughly: beyond, other threads may run meanwhile
CALL: Final = 1000.0  # additions that a call takes in any case

PRELUDE: Final = (
    """
declare ptr @PyObject_CallNoArgs(ptr)
"""
    + lease.PRELUDE
)


def function(program: Program, plan: Plan, whole: Sequence[bool], name: str, module: Module) -> tuple[str, set[str]]:
    """The text of ``PyObject *name(self, args, count, names)``, and the externals that it refers to.

    The kernels of the program are functions `kernel0`, `kernel1`, ... of the same module. `self` is an array of words,
    which are those of `state`.
    """
    return _Function(program, plan, whole, name, module).write()


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
        self.lease = Lease(self.e, self.arena.nbytes)
        self.results = Results(self.e, self.sizes, self.arguments, program)

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
        self.results.take_numbers(self.body)
        body, e.lines = e.lines, []
        e.label("results")
        self.results.pack()
        ending, e.lines = e.lines, []
        e.label("start")
        if any(not t.shape for t in self.plan.graph.input_types):
            e.statement(f"%strict_at = getelementptr i64, ptr %state, i64 {STRICT}")
            e.statement("%strict = load i64, ptr %strict_at")
        self.arguments.take()
        self.bound()
        if e.module.hurried:
            self.spend()
        self.results.make()
        self.lease.take(self.sizes.compute(self.arena.nbytes))
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
        self.lease.give_back("returned")
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
        return [
            f"  %arrays = alloca ptr, i64 {self.body.most_arrays}",
            f"  %sizes = alloca i64, i64 {self.body.most_sizes}",
            *self.results.slots,
            "  %thread = alloca ptr",
            "  %block = alloca ptr",
            *(f"  %integer{k} = alloca i32" for k in range(6)),
            *self.arguments.slots,
            *self.lease.slots,
            "  store ptr null, ptr %thread",
            *self.results.nothing,
        ]

    def bound(self) -> None:
        """Compute the sizes, check the guards."""
        for guard in self.plan.graph.guards:
            self.sizes.guard(guard)
        for one in self.plan.ranges:
            self.sizes.require(self.sizes.compute(one.elements).differs(0))
        self.arguments.keep_apart()
        for storage in self.program.storages:
            self.sizes.compute(storage.nbytes)
        self.sizes.compute(self.arena.nbytes)
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

    def exits(self) -> list[str]:
        """What happens if something is not as it should be."""
        e = self.e
        e.lines = []
        if any(isinstance(i, Rows) for i in self.program.instructions):
            # Python says which position is out of bounds
            e.label("bail")
            self.acquire()
            self.lease.give_back("bailed")
            self.results.give_up_arrays()
            e.statement("br label %slow")
        strips = any(Schedule(kernel).in_strips for kernel in self.program.kernels)
        if strips:
            e.label("lacking")
            self.acquire()
            self.lease.give_back("lacked")
            e.statement("br label %no_memory")
        if strips or not self.lease.on_stack:
            e.label("no_memory")
            e.statement("%nothing_left = call ptr @PyErr_NoMemory()")
            e.statement("br label %failed")
        e.label("failed")
        self.results.fail()
        e.label("slow")
        e.statement("%python = load ptr, ptr %state")
        e.statement("%otherwise = call ptr @PyObject_Vectorcall(ptr %python, ptr %args, i64 %count, ptr %names)")
        e.statement("ret ptr %otherwise")
        return e.lines
