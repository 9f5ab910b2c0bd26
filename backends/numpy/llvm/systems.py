"""Locks, threads, CPUs, a clock and modes of rounding, by system and processor, in LLVM's language: for the pool."""

from __future__ import annotations

from typing import Final

STACK: Final = 1 << 20  # bytes of a worker's stack

# a signal is for the threads that the interpreter knows; but faults stay where they happen
_FAULTS: Final = {"linux": (4, 7, 8, 11), "darwin": (4, 8, 10, 11)}  # SIGILL, SIGBUS, SIGFPE, SIGSEGV
SETMASK: Final = {"linux": 2, "darwin": 3}
_MONOTONIC: Final = {"linux": 1, "darwin": 6}  # the clock


def posix(platform: str) -> str:
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
  %masked = call i32 @pthread_sigmask(i32 {SETMASK[platform]}, ptr %blocked, ptr %before)
  %a = call i32 @pthread_attr_init(ptr %attributes)
  %b = call i32 @pthread_attr_setstacksize(ptr %attributes, i64 {STACK})
  %failed = call i32 @pthread_create(ptr %thread, ptr %attributes, ptr @worker, ptr null)
  %c = call i32 @pthread_attr_destroy(ptr %attributes)
  %unmasked = call i32 @pthread_sigmask(i32 {SETMASK[platform]}, ptr %before, ptr null)
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


WINDOWS: Final = f"""
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

CPUS: Final = 1024  # that are told apart, as many as C libraries have in a `cpu_set_t`

# Which CPUs the threads of a job run on. A worker that wakes on one of them stops another thread of the job, and takes
# its pieces while another CPU may have nothing to do; and as it sleeps again at once, Linux would leave it there for
# long. So it has itself moved to the CPUs where the job is not yet, of those on which the main thread may run. It keeps
# to these: Linux wakes a thread on the CPU of the one that wakes it, where it may, and each call would begin so again.
LINUX_PLACES: Final = f"""
@occupied = internal global [{CPUS // 64} x i64] zeroinitializer, align 64
declare i32 @sched_getcpu()
declare i32 @getpid()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)

; the word of `occupied` for a CPU, and its bit there
define internal {{ ptr, i64 }} @bit_of(i32 %cpu) nounwind {{
  %number = zext i32 %cpu to i64
  %word = lshr i64 %number, 6
  %at = getelementptr i64, ptr @occupied, i64 %word
  %place = and i64 %number, 63
  %bit = shl i64 1, %place
  %one = insertvalue {{ ptr, i64 }} poison, ptr %at, 0
  %both = insertvalue {{ ptr, i64 }} %one, i64 %bit, 1
  ret {{ ptr, i64 }} %both
}}

; a job runs on this CPU, too
define internal void @occupy() nounwind {{
entry:
  %cpu = call i32 @sched_getcpu()
  %known = icmp ult i32 %cpu, {CPUS}
  br i1 %known, label %mark, label %end
mark:
  %both = call {{ ptr, i64 }} @bit_of(i32 %cpu)
  %at = extractvalue {{ ptr, i64 }} %both, 0
  %bit = extractvalue {{ ptr, i64 }} %both, 1
  %before = atomicrmw or ptr %at, i64 %bit monotonic
  br label %end
end:
  ret void
}}

; a job runs on this CPU alone
define internal void @occupy_first() nounwind {{
entry:
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %next, %head ]
  %at = getelementptr i64, ptr @occupied, i64 %k
  store atomic i64 0, ptr %at monotonic, align 8
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, {CPUS // 64}
  br i1 %more, label %head, label %end
end:
  call void @occupy()
  ret void
}}

; if the job runs on this CPU already, be moved to another one
define internal void @step_aside() nounwind {{
entry:
  %allowed = alloca [{CPUS // 64} x i64], align 16
  %free = alloca [{CPUS // 64} x i64], align 16
  %cpu = call i32 @sched_getcpu()
  %known = icmp ult i32 %cpu, {CPUS}
  br i1 %known, label %check, label %end
check:
  %both = call {{ ptr, i64 }} @bit_of(i32 %cpu)
  %word = extractvalue {{ ptr, i64 }} %both, 0
  %bit = extractvalue {{ ptr, i64 }} %both, 1
  %marked = load atomic i64, ptr %word monotonic, align 8
  %shared = and i64 %marked, %bit
  %crowded = icmp ne i64 %shared, 0
  br i1 %crowded, label %ask, label %end
ask:
  call void @llvm.memset.p0.i64(ptr %allowed, i8 0, i64 {CPUS // 8}, i1 false)
  %main = call i32 @getpid()
  %lacking = call i32 @sched_getaffinity(i32 %main, i64 {CPUS // 8}, ptr %allowed)
  %told = icmp sge i32 %lacking, 0
  br i1 %told, label %head, label %end
head:
  %k = phi i64 [ 0, %ask ], [ %next, %head ]
  %any = phi i64 [ 0, %ask ], [ %so_far, %head ]
  %allowed_at = getelementptr i64, ptr %allowed, i64 %k
  %may = load i64, ptr %allowed_at
  %occupied_at = getelementptr i64, ptr @occupied, i64 %k
  %taken = load atomic i64, ptr %occupied_at monotonic, align 8
  %not_taken = xor i64 %taken, -1
  %better = and i64 %may, %not_taken
  %free_at = getelementptr i64, ptr %free, i64 %k
  store i64 %better, ptr %free_at
  %so_far = or i64 %any, %better
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, {CPUS // 64}
  br i1 %more, label %head, label %found
found:
  %some = icmp ne i64 %so_far, 0
  br i1 %some, label %move, label %end
move:
  %moved = call i32 @sched_setaffinity(i32 0, i64 {CPUS // 8}, ptr %free)
  br label %end
end:
  ret void
}}
"""

# where a thread can't be moved
NO_PLACES: Final = """
define internal void @occupy() nounwind {
  ret void
}
define internal void @occupy_first() nounwind {
  ret void
}
define internal void @step_aside() nounwind {
  ret void
}
"""

# how the calling thread rounds, and what it does with subnormal numbers: workers do likewise
X86_ROUNDING: Final = """
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
ARM_ROUNDING: Final = """
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
