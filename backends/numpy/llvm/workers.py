"""The text of the pool, in LLVM's language: the gate, the workers, and the call that shares out its work.

`pool` says what happens; `systems` has the locks and the threads.
"""

from __future__ import annotations

from typing import Final

from graphc.backends.numpy.llvm import systems
from graphc.backends.numpy.llvm.machine import Machine

SHARE: Final = 1.5e6  # additions, roughly, for which another thread is worth waking
PARTS: Final = 8  # pieces for each thread, so that none waits long for another
SPIN: Final = {"x86": 300, "arm": 1500}  # looks at the gate before a worker sleeps: about 10 microseconds
SLACK: Final = 50_000.0  # nanoseconds that a call may be slower than alone
PAUSE: Final = (16, 128)  # times what a call has lost, for which others run alone, at first and at most
LONGEST: Final = 1_000_000_000  # nanoseconds for which they do: a process that was halted has lost nothing
WORDS: Final = ("graphc_threads", "graphc_started", "graphc_wary")
NAMES: Final = ("graphc_parallel", "graphc_forget", *WORDS)

# on a system that is not known here, or where one thread is all there is
WITHOUT_THREADS: Final = """
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


def source(platform: str, machine: Machine) -> str:
    """The pool in LLVM's language, for an operating system as `sys.platform` names it.

    `graphc_parallel(f, a, b, count, work, step)` runs ``f(a, b, first, last)`` for pieces that make up 0 to `count`,
    each but the last a multiple of `step`; `work` is what all of them cost, in additions. `graphc_threads` holds how
    many threads may run, the caller's among them, `graphc_started` how many workers there are, and `graphc_wary`
    whether others run alone for a while after a call that was slower. `graphc_forget` is for the child after a fork.
    """
    if platform == "win32":
        system = systems.WINDOWS
    elif platform in systems.SETMASK:
        system = systems.posix(platform)
    else:
        return WITHOUT_THREADS
    if machine.triple.startswith(("x86_64", "i686", "i386")):
        pause, spin, rounding = "llvm.x86.sse2.pause()", SPIN["x86"], systems.X86_ROUNDING
        declared = "declare void @llvm.x86.sse2.pause()"
    elif machine.triple.startswith(("aarch64", "arm64")):
        pause, spin, rounding = "llvm.aarch64.isb(i32 15)", SPIN["arm"], systems.ARM_ROUNDING
        declared = "declare void @llvm.aarch64.isb(i32)"
    else:
        return WITHOUT_THREADS
    places = systems.LINUX_PLACES if platform == "linux" else systems.NO_PLACES
    worker = "i32" if platform == "win32" else "ptr"
    nothing = "0" if platform == "win32" else "null"
    # a look at the gate was in vain: another one, or sleep
    idle = f"""idle:
  call void @{pause}
  %looked = add i64 %k, 1
  %again = icmp ult i64 %looked, {spin}
  br i1 %again, label %look, label %tired
"""
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
; until when calls run alone
@due = internal global i64 0
@graphc_started = global i64 0
@graphc_threads = global i64 1
@graphc_wary = global i64 1
{system}{rounding}{places}

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
{idle}enter:
  call void @step_aside()
  ; one place less, one more inside
  %entered = add i64 %seen, 4294967295
  %pair = cmpxchg ptr @gate, i64 %seen, i64 %entered seq_cst monotonic
  %inside = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %inside, label %help, label %awake
help:
  call void @occupy()
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
  %due = load i64, ptr @due
  %wariness = load i64, ptr @graphc_wary
  %on_guard = icmp ne i64 %wariness, 0
  %some_due = icmp ne i64 %due, 0
  %wary = and i1 %some_due, %on_guard
  br i1 %wary, label %pause, label %share
pause:
  %early = call i64 @now()
  %still_early = icmp slt i64 %early, %due
  br i1 %still_early, label %leave, label %share
leave:
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
  call void @occupy_first()
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
{idle}tired:
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
  %longer = call i64 @llvm.smax.i64(i64 %twice, i64 {PAUSE[0]})
  %most = call i64 @llvm.smin.i64(i64 %longer, i64 {PAUSE[1]})
  %penalty = select i1 %slower, i64 %most, i64 0
  store i64 %penalty, ptr @penalty
  %loss = call i64 @llvm.fptosi.sat.i64.f64(double %lost)
  %counted = call i64 @llvm.smin.i64(i64 %loss, i64 {LONGEST})
  %wanted = mul i64 %most, %counted
  %length = call i64 @llvm.smin.i64(i64 %wanted, i64 {LONGEST})
  %later = add i64 %joined, %length
  %until = select i1 %slower, i64 %later, i64 0
  store i64 %until, ptr @due
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
  store i64 0, ptr @due
  store i64 0, ptr @graphc_started
  call void @llvm.memset.p0.i64(ptr @lock, i8 0, i64 128, i1 false)
  call void @llvm.memset.p0.i64(ptr @wake, i8 0, i64 128, i1 false)
  call void @llvm.memset.p0.i64(ptr @done, i8 0, i64 128, i1 false)
  ret void
}}
"""
