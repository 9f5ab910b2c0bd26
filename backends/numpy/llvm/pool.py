"""A pool of threads for kernels: they sleep in machine code, and never need the interpreter.

A call that wants help opens the *gate* to some workers, takes pieces of the work itself until none is left, closes the
gate, and waits for those inside. So it never waits for a worker that has not come: on a busy machine it does all alone.
A worker that finds the gate closed looks again for some microseconds, then sleeps. One call at a time has the pool;
others meanwhile run on their own threads.

Where other processes want the CPUs, the system may stop a worker in the middle of a piece, for longer than all the work
takes. A call that would have been faster alone leaves the next few calls alone, more of them if it happens again.

Threads are made when they are first wanted. After a fork the child has none, and makes its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import lru_cache
from typing import Final

from graphc.backends.numpy.llvm import code, threads
from graphc.backends.numpy.llvm.machine import BRIEF, Machine, host

SHARE: Final = 200_000.0  # additions, roughly, for which another thread is worth waking
PARTS: Final = 8  # pieces for each thread, so that none waits long for another
SPIN: Final = {"x86": 300, "arm": 1500}  # looks at the gate before a worker sleeps: about 10 microseconds
STACK: Final = 1 << 20  # bytes
SLACK: Final = 50_000.0  # nanoseconds that a call may be slower than alone
ALONE: Final = (4, 64)  # calls that run alone after one that was slower, at first and at most
WORDS: Final = ("graphc_threads", "graphc_started", "graphc_wary")
NAMES: Final = ("graphc_parallel", "graphc_forget", *WORDS)

# a signal is for the threads that the interpreter knows; but faults stay where they happen
_FAULTS: Final = {"linux": (4, 7, 8, 11), "darwin": (4, 8, 10, 11)}  # SIGILL, SIGBUS, SIGFPE, SIGSEGV
_SETMASK: Final = {"linux": 2, "darwin": 3}
_MONOTONIC: Final = {"linux": 1, "darwin": 6}  # the clock


def source(platform: str, machine: Machine) -> str:
    """The pool in LLVM's language, for an operating system as `sys.platform` names it.

    `graphc_parallel(f, a, b, count, work, step)` runs ``f(a, b, first, last)`` for pieces that make up 0 to `count`,
    each but the last a multiple of `step`; `work` is what all of them cost, in additions. `graphc_threads` holds how
    many threads may run, the caller's among them, `graphc_started` how many workers there are, and `graphc_wary`
    whether calls that were slower leave others alone. `graphc_forget` is for the child after a fork.
    """
    if platform == "win32":
        system = _WINDOWS
    elif platform in _SETMASK:
        system = _posix(platform)
    else:
        return _ALONE
    if machine.triple.startswith(("x86_64", "i686", "i386")):
        pause, spin, rounding = "llvm.x86.sse2.pause()", SPIN["x86"], _X86_ROUNDING
        declared = "declare void @llvm.x86.sse2.pause()"
    elif machine.triple.startswith(("aarch64", "arm64")):
        pause, spin, rounding = "llvm.aarch64.isb(i32 15)", SPIN["arm"], _ARM_ROUNDING
        declared = "declare void @llvm.aarch64.isb(i32)"
    else:
        return _ALONE
    worker = "i32" if platform == "win32" else "ptr"
    nothing = "0" if platform == "win32" else "null"
    return f"""
{declared}
declare i64 @llvm.fptosi.sat.i64.f64(double)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; each in a line of the cache of its own
@gate = internal global [8 x i64] zeroinitializer, align 64
@following = internal global [8 x i64] zeroinitializer, align 64
@job = internal global [8 x i64] zeroinitializer, align 64
@busy = internal global [8 x i64] zeroinitializer, align 64
@lock = internal global [16 x i64] zeroinitializer, align 64
@wake = internal global [16 x i64] zeroinitializer, align 64
@done = internal global [16 x i64] zeroinitializer, align 64
@ready = internal global i64 0
@asleep = internal global i64 0
@waiting = internal global i64 0
@penalty = internal global i64 0
@alone = internal global i64 0
@graphc_started = global i64 0
@graphc_threads = global i64 1
@graphc_wary = global i64 1
{system}{rounding}

; how many workers are inside, times 2^32, and how many more may come: that is the gate

; the number of pieces that it ran
define internal i64 @take_part() nounwind {{
entry:
  %f = load ptr, ptr @job
  %a_at = getelementptr i64, ptr @job, i64 1
  %a = load ptr, ptr %a_at
  %b_at = getelementptr i64, ptr @job, i64 2
  %b = load ptr, ptr %b_at
  %count_at = getelementptr i64, ptr @job, i64 3
  %count = load i64, ptr %count_at
  %piece_at = getelementptr i64, ptr @job, i64 4
  %piece = load i64, ptr %piece_at
  br label %head
head:
  %taken = phi i64 [ 0, %entry ], [ %ran, %body ]
  %first = atomicrmw add ptr @following, i64 %piece monotonic
  %more = icmp slt i64 %first, %count
  br i1 %more, label %body, label %end
body:
  %beyond = add i64 %first, %piece
  %last = call i64 @llvm.smin.i64(i64 %beyond, i64 %count)
  %status = call i32 %f(ptr %a, ptr %b, i64 %first, i64 %last)
  %ran = add i64 %taken, 1
  br label %head
end:
  ret i64 %taken
}}

; wake sleeping workers. Who has counted itself asleep but does not sleep yet holds the lock
define internal void @rouse(i64 %most) nounwind {{
entry:
  call void @acquire()
  call void @release()
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %k, %most
  br i1 %more, label %body, label %end
body:
  call void @signal(ptr @wake)
  %next = add i64 %k, 1
  br label %head
end:
  ret void
}}

define internal {worker} @worker(ptr %unused) nounwind {{
entry:
  br label %awake
awake:
  br label %look
look:
  %k = phi i64 [ 0, %awake ], [ %looked, %idle ]
  %seen = load atomic i64, ptr @gate monotonic, align 8
  %places = and i64 %seen, 4294967295
  %open = icmp ne i64 %places, 0
  br i1 %open, label %enter, label %idle
idle:
  call void @{pause}
  %looked = add i64 %k, 1
  %again = icmp ult i64 %looked, {spin}
  br i1 %again, label %look, label %tired
enter:
  ; one place less, one more inside
  %entered = add i64 %seen, 4294967295
  %pair = cmpxchg ptr @gate, i64 %seen, i64 %entered seq_cst monotonic
  %inside = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %inside, label %help, label %awake
help:
  ; workers wake each other, so that the caller wakes but one
  %others = icmp ugt i64 %places, 1
  %sleepers = load atomic i64, ptr @asleep monotonic, align 8
  %some = icmp sgt i64 %sleepers, 0
  %both = and i1 %others, %some
  br i1 %both, label %call, label %work
call:
  %two = call i64 @llvm.smin.i64(i64 %sleepers, i64 2)
  call void @rouse(i64 %two)
  br label %work
work:
  call void @adopt_rounding()
  %taken = call i64 @take_part()
  %before = atomicrmw sub ptr @gate, i64 4294967296 seq_cst
  %there = lshr i64 %before, 32
  %only = icmp eq i64 %there, 1
  br i1 %only, label %left, label %awake
left:
  %waits = load atomic i64, ptr @waiting seq_cst, align 8
  %tell = icmp ne i64 %waits, 0
  br i1 %tell, label %report, label %awake
report:
  call void @acquire()
  call void @signal(ptr @done)
  call void @release()
  br label %awake
tired:
  call void @acquire()
  %counted = atomicrmw add ptr @asleep, i64 1 seq_cst
  br label %sleep
sleep:
  %now = load atomic i64, ptr @gate seq_cst, align 8
  %left_open = and i64 %now, 4294967295
  %shut = icmp eq i64 %left_open, 0
  br i1 %shut, label %nap, label %up
nap:
  call void @wait(ptr @wake)
  br label %sleep
up:
  %fewer = atomicrmw sub ptr @asleep, i64 1 seq_cst
  call void @release()
  br label %awake
never:
  ret {worker} {nothing}
}}

; so many workers, if the system gives them
define internal void @hire(i64 %wanted) nounwind {{
entry:
  %prepared = load i64, ptr @ready
  %fresh = icmp eq i64 %prepared, 0
  br i1 %fresh, label %prepare, label %head
prepare:
  call void @prepare_locks()
  store i64 1, ptr @ready
  br label %head
head:
  %have = load i64, ptr @graphc_started
  %enough = icmp sge i64 %have, %wanted
  br i1 %enough, label %end, label %more
more:
  %made = call i1 @make_thread()
  br i1 %made, label %count, label %end
count:
  %now = add i64 %have, 1
  store i64 %now, ptr @graphc_started
  br label %head
end:
  ret void
}}

define i32 @graphc_parallel(ptr %f, ptr %a, ptr %b, i64 %count, double %work, i64 %step) nounwind {{
entry:
  %limit = load i64, ptr @graphc_threads
  %quotient = fdiv double %work, {SHARE:e}
  %shares = call i64 @llvm.fptosi.sat.i64.f64(double %quotient)
  %worth = call i64 @llvm.smin.i64(i64 %limit, i64 %shares)
  %steps_up = add i64 %count, %step
  %steps_less = sub i64 %steps_up, 1
  %steps = sdiv i64 %steps_less, %step
  %threads = call i64 @llvm.smin.i64(i64 %worth, i64 %steps)
  %several = icmp sgt i64 %threads, 1
  br i1 %several, label %try, label %alone
try:
  %pair = cmpxchg ptr @busy, i64 0, i64 1 acquire monotonic
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %mine, label %lead, label %alone
alone:
  %whole = call i32 %f(ptr %a, ptr %b, i64 0, i64 %count)
  ret i32 %whole
lead:
  %due = load i64, ptr @alone
  %wariness = load i64, ptr @graphc_wary
  %on_guard = icmp ne i64 %wariness, 0
  %some_due = icmp sgt i64 %due, 0
  %wary = and i1 %some_due, %on_guard
  br i1 %wary, label %count_down, label %share
count_down:
  %fewer = sub i64 %due, 1
  store i64 %fewer, ptr @alone
  store atomic i64 0, ptr @busy release, align 8
  br label %alone
share:
  %helpers = sub i64 %threads, 1
  call void @hire(i64 %helpers)
  ; steps of a piece
  %parts = mul i64 %threads, {PARTS}
  %up = add i64 %steps, %parts
  %less = sub i64 %up, 1
  %each = sdiv i64 %less, %parts
  %piece = mul i64 %each, %step
  store ptr %f, ptr @job
  %a_at = getelementptr i64, ptr @job, i64 1
  store ptr %a, ptr %a_at
  %b_at = getelementptr i64, ptr @job, i64 2
  store ptr %b, ptr %b_at
  %count_at = getelementptr i64, ptr @job, i64 3
  store i64 %count, ptr %count_at
  %piece_at = getelementptr i64, ptr @job, i64 4
  store i64 %piece, ptr %piece_at
  call void @note_rounding()
  store atomic i64 0, ptr @following monotonic, align 8
  store atomic i64 %helpers, ptr @gate seq_cst, align 8
  %asleep = load atomic i64, ptr @asleep seq_cst, align 8
  %started = load i64, ptr @graphc_started
  %up_and_about = sub i64 %started, %asleep
  %missing = sub i64 %helpers, %up_and_about
  %there = call i64 @llvm.smin.i64(i64 %missing, i64 %asleep)
  %some = icmp sgt i64 %there, 0
  br i1 %some, label %wake, label %take
wake:
  ; waking one costs microseconds, in which the caller does not work
  call void @rouse(i64 1)
  br label %take
take:
  %begun = call i64 @now()
  %taken = call i64 @take_part()
  %ended = call i64 @now()
  %closed = atomicrmw and ptr @gate, i64 -4294967296 seq_cst
  br label %look
look:
  %k = phi i64 [ 0, %take ], [ %looked, %idle ]
  %inside = load atomic i64, ptr @gate acquire, align 8
  %empty = icmp eq i64 %inside, 0
  br i1 %empty, label %finished, label %idle
idle:
  call void @{pause}
  %looked = add i64 %k, 1
  %again = icmp ult i64 %looked, {spin}
  br i1 %again, label %look, label %tired
tired:
  call void @acquire()
  store atomic i64 1, ptr @waiting seq_cst, align 8
  br label %sleep
sleep:
  %still = load atomic i64, ptr @gate seq_cst, align 8
  %gone = icmp eq i64 %still, 0
  br i1 %gone, label %up_again, label %nap
nap:
  call void @wait(ptr @done)
  br label %sleep
up_again:
  store atomic i64 0, ptr @waiting seq_cst, align 8
  call void @release()
  br label %finished
finished:
  ; alone, the pieces of others would have taken as long as its own did
  %joined = call i64 @now()
  %waited_for = sub i64 %joined, %ended
  %waited = sitofp i64 %waited_for to double
  %took_for = sub i64 %ended, %begun
  %took = sitofp i64 %took_for to double
  %own = sitofp i64 %taken to double
  %each_took = fdiv double %took, %own
  %pieces_up = add i64 %count, %piece
  %pieces_less = sub i64 %pieces_up, 1
  %pieces = sdiv i64 %pieces_less, %piece
  %of_others = sub i64 %pieces, %taken
  %others = sitofp i64 %of_others to double
  %saved = fmul double %each_took, %others
  %lost = fsub double %waited, %saved
  %slow = fcmp ogt double %lost, {SLACK:e}
  %slower = and i1 %slow, %on_guard
  %last_time = load i64, ptr @penalty
  %twice = mul i64 %last_time, 2
  %longer = call i64 @llvm.smax.i64(i64 %twice, i64 {ALONE[0]})
  %most = call i64 @llvm.smin.i64(i64 %longer, i64 {ALONE[1]})
  %penalty = select i1 %slower, i64 %most, i64 0
  store i64 %penalty, ptr @penalty
  store i64 %penalty, ptr @alone
  store atomic i64 0, ptr @busy release, align 8
  ret i32 0
}}

define void @graphc_forget() nounwind {{
  store i64 0, ptr @gate
  store i64 0, ptr @busy
  store i64 0, ptr @ready
  store i64 0, ptr @asleep
  store i64 0, ptr @waiting
  store i64 0, ptr @penalty
  store i64 0, ptr @alone
  store i64 0, ptr @graphc_started
  call void @llvm.memset.p0.i64(ptr @lock, i8 0, i64 128, i1 false)
  call void @llvm.memset.p0.i64(ptr @wake, i8 0, i64 128, i1 false)
  call void @llvm.memset.p0.i64(ptr @done, i8 0, i64 128, i1 false)
  ret void
}}
"""


def _posix(platform: str) -> str:
    """Locks and threads of POSIX."""
    blocked = -1
    for signal in _FAULTS[platform]:
        blocked &= ~(1 << signal - 1)
    return f"""
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_attr_destroy(ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @clock_gettime(i32, ptr)

; nanoseconds
define internal i64 @now() nounwind {{
  %time = alloca [2 x i64]
  %status = call i32 @clock_gettime(i32 {_MONOTONIC[platform]}, ptr %time)
  %seconds = load i64, ptr %time
  %rest_at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest_at
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %rest
  ret i64 %sum
}}

define internal void @prepare_locks() nounwind {{
  %a = call i32 @pthread_mutex_init(ptr @lock, ptr null)
  %b = call i32 @pthread_cond_init(ptr @wake, ptr null)
  %c = call i32 @pthread_cond_init(ptr @done, ptr null)
  ret void
}}

define internal void @acquire() nounwind {{
  %status = call i32 @pthread_mutex_lock(ptr @lock)
  ret void
}}

define internal void @release() nounwind {{
  %status = call i32 @pthread_mutex_unlock(ptr @lock)
  ret void
}}

define internal void @wait(ptr %condition) nounwind {{
  %status = call i32 @pthread_cond_wait(ptr %condition, ptr @lock)
  ret void
}}

define internal void @signal(ptr %condition) nounwind {{
  %status = call i32 @pthread_cond_signal(ptr %condition)
  ret void
}}

; room for the largest `pthread_attr_t` and `sigset_t` there are
define internal i1 @make_thread() nounwind {{
entry:
  %thread = alloca i64
  %attributes = alloca [32 x i64], align 16
  %blocked = alloca [16 x i64], align 16
  %before = alloca [16 x i64], align 16
  call void @llvm.memset.p0.i64(ptr %blocked, i8 -1, i64 128, i1 false)
  store i64 {blocked}, ptr %blocked
  %masked = call i32 @pthread_sigmask(i32 {_SETMASK[platform]}, ptr %blocked, ptr %before)
  %a = call i32 @pthread_attr_init(ptr %attributes)
  %b = call i32 @pthread_attr_setstacksize(ptr %attributes, i64 {STACK})
  %failed = call i32 @pthread_create(ptr %thread, ptr %attributes, ptr @worker, ptr null)
  %c = call i32 @pthread_attr_destroy(ptr %attributes)
  %unmasked = call i32 @pthread_sigmask(i32 {_SETMASK[platform]}, ptr %before, ptr null)
  %made = icmp eq i32 %failed, 0
  br i1 %made, label %detach, label %end
detach:
  %number = load i64, ptr %thread
  %d = call i32 @pthread_detach(i64 %number)
  br label %end
end:
  ret i1 %made
}}
"""


_WINDOWS: Final = f"""
declare void @AcquireSRWLockExclusive(ptr)
declare void @ReleaseSRWLockExclusive(ptr)
declare i32 @SleepConditionVariableSRW(ptr, ptr, i32, i32)
declare void @WakeConditionVariable(ptr)
declare ptr @CreateThread(ptr, i64, ptr, ptr, i32, ptr)
declare i32 @CloseHandle(ptr)
declare i32 @QueryPerformanceCounter(ptr)
declare i32 @QueryPerformanceFrequency(ptr)

; nanoseconds
define internal i64 @now() nounwind {{
  %count_at = alloca i64
  %frequency_at = alloca i64
  %a = call i32 @QueryPerformanceCounter(ptr %count_at)
  %b = call i32 @QueryPerformanceFrequency(ptr %frequency_at)
  %count = load i64, ptr %count_at
  %frequency = load i64, ptr %frequency_at
  %x = sitofp i64 %count to double
  %y = sitofp i64 %frequency to double
  %seconds = fdiv double %x, %y
  %time = fmul double %seconds, 1.0e9
  %whole = fptosi double %time to i64
  ret i64 %whole
}}

; zeros are a lock that nobody holds, and a condition that nobody waits for
define internal void @prepare_locks() nounwind {{
  ret void
}}

define internal void @acquire() nounwind {{
  call void @AcquireSRWLockExclusive(ptr @lock)
  ret void
}}

define internal void @release() nounwind {{
  call void @ReleaseSRWLockExclusive(ptr @lock)
  ret void
}}

define internal void @wait(ptr %condition) nounwind {{
  %status = call i32 @SleepConditionVariableSRW(ptr %condition, ptr @lock, i32 -1, i32 0)
  ret void
}}

define internal void @signal(ptr %condition) nounwind {{
  call void @WakeConditionVariable(ptr %condition)
  ret void
}}

define internal i1 @make_thread() nounwind {{
entry:
  ; 65536: the size is that of the whole stack
  %thread = call ptr @CreateThread(ptr null, i64 {STACK}, ptr @worker, ptr null, i32 65536, ptr null)
  %made = icmp ne ptr %thread, null
  br i1 %made, label %close, label %end
close:
  %status = call i32 @CloseHandle(ptr %thread)
  br label %end
end:
  ret i1 %made
}}
"""

# how the calling thread rounds, and what it does with subnormal numbers: workers do likewise
_X86_ROUNDING: Final = """
@rounding = internal global i32 0
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define internal void @note_rounding() nounwind {
  call void @llvm.x86.sse.stmxcsr(ptr @rounding)
  ret void
}
define internal void @adopt_rounding() nounwind {
  call void @llvm.x86.sse.ldmxcsr(ptr @rounding)
  ret void
}
"""
_ARM_ROUNDING: Final = """
@rounding = internal global i64 0
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define internal void @note_rounding() nounwind {
  %mode = call i64 @llvm.aarch64.get.fpcr()
  store i64 %mode, ptr @rounding
  ret void
}
define internal void @adopt_rounding() nounwind {
  %mode = load i64, ptr @rounding
  call void @llvm.aarch64.set.fpcr(i64 %mode)
  ret void
}
"""

# on a system that is not known here, or where one thread is all there is
_ALONE: Final = """
@graphc_started = global i64 0
@graphc_threads = global i64 1
@graphc_wary = global i64 1
define i32 @graphc_parallel(ptr %f, ptr %a, ptr %b, i64 %count, double %work, i64 %step) nounwind {
  %whole = call i32 %f(ptr %a, ptr %b, i64 0, i64 %count)
  ret i32 %whole
}
define void @graphc_forget() nounwind {
  ret void
}
"""


class Pool:
    """The pool of this process."""

    def __init__(self, count: int) -> None:
        self.alone = count == 1  # for good
        text = _ALONE if self.alone else source(sys.platform, host())
        library = code.library((code.Part(text, BRIEF),), host(), NAMES)
        # workers sleep in this code until the process ends
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(library.tracker))
        self.address = library.addresses["graphc_parallel"]
        kinds = [*[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_double, ctypes.c_int64]
        self.run = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(self.address)
        self._words = {name: ctypes.c_int64.from_address(library.addresses[name]) for name in WORDS}
        self.threads = count
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=ctypes.CFUNCTYPE(None)(library.addresses["graphc_forget"]))

    @property
    def threads(self) -> int:
        """How many threads a kernel may run on, the caller's among them."""
        return self._words["graphc_threads"].value

    @threads.setter
    def threads(self, count: int) -> None:
        self._words["graphc_threads"].value = count

    @property
    def wary(self) -> bool:
        """Whether a call that was slower than alone leaves the next ones alone."""
        return bool(self._words["graphc_wary"].value)

    @wary.setter
    def wary(self, wary: bool) -> None:
        self._words["graphc_wary"].value = wary

    @property
    def started(self) -> int:
        """How many threads the pool has made."""
        return self._words["graphc_started"].value


def pool() -> Pool:
    """The process's pool; its threads are made when work needs them."""
    # where several threads come first at once, one of their pools stays
    return _made.get(True) or _made.setdefault(True, Pool(_wanted()))


def is_alone() -> bool:
    """Whether one thread is all that kernels of this process may run on: then no work is for a pool."""
    return _made[True].alone if True in _made else _wanted() == 1


_wanted = lru_cache(maxsize=1)(threads.wanted)
_made: Final[dict[bool, Pool]] = {}
