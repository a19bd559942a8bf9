"""The thread team in LLVM IR: workers that wait for work, a caller that hands it out, and the barrier they meet at.

A team's memory, in bytes: 0 the address of `irdl_team_run`; 8 how many workers shall take part; 64 whether a call is using them;
128 the work (function, its argument, how many threads); 192 how many workers are done; 256 where the barrier counts from. From 512 on, 256 for
each thread: 0 the number of its last piece of work, 8 whether it sleeps, 64 its count at the barrier,
128 a mutex, 192 a condition variable.

A worker waits spinning, since work comes often, and after a while sleeps. Between `number = n + 1; asleep?` of the caller and
`asleep = 1; number == n?` of the worker, both in one order for all threads, one sees the other.
"""

from __future__ import annotations

#: Bytes of a team of n threads: `HEADER + n * PER_THREAD`.
HEADER, PER_THREAD = 512, 256
MUTEX, CONDITION = 128, 192
RUN, WORKER, WAKE = "irdl_team_run", "irdl_team_worker", "irdl_team_wake"

#: Pauses before a waiting worker sleeps (about a millisecond), and before a thread at a barrier lets others have the core.
_SPINS = 30_000
_PATIENCE = 4_000


def pause(triple: str) -> tuple[str, str]:
    """The hint of a spinning loop on this processor: a declaration and a call."""
    if triple.startswith(("x86_64", "i686")):
        return "declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"
    if triple.startswith(("aarch64", "arm64")):
        return "declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"
    return "", ""


def _await_text(triple: str) -> str:
    """`irdl_await(place, number)`: returns when the number at `place` is that large, spinning, later letting others have the core."""
    declaration, call = pause(triple)
    return f"""
{declaration}
declare i32 @sched_yield()
define internal void @irdl_await(ptr %place, i64 %number) nounwind {{
entry:
  br label %look
look:
  %k = phi i64 [ 0, %entry ], [ %k1, %wait ], [ %k1, %yield ]
  %seen = load atomic i64, ptr %place acquire, align 8
  %there = icmp uge i64 %seen, %number
  br i1 %there, label %done, label %wait
wait:
  {call}
  %k1 = add i64 %k, 1
  %long = icmp ugt i64 %k1, {_PATIENCE}
  br i1 %long, label %yield, label %look
yield:
  %y = call i32 @sched_yield()
  br label %look
done:
  ret void
}}
"""


def barrier_text(triple: str) -> str:
    """`irdl_barrier(team, thread, threads, count)`: nobody returns before all have come. `count` is the thread's own."""
    return f"""{_await_text(triple)}
define internal void @irdl_barrier(ptr %team, i64 %thread, i64 %threads, ptr %count) nounwind noinline {{
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %arrive
arrive:
  %old = load i64, ptr %count
  %new = add i64 %old, 1
  store i64 %new, ptr %count
  %lines = getelementptr i8, ptr %team, i64 {HEADER + 64}
  %o = mul i64 %thread, {PER_THREAD}
  %mine = getelementptr i8, ptr %lines, i64 %o
  store atomic i64 %new, ptr %mine release, align 8
  br label %each
each:
  %j = phi i64 [ 0, %arrive ], [ %j1, %each ]
  %oj = mul i64 %j, {PER_THREAD}
  %line = getelementptr i8, ptr %lines, i64 %oj
  call void @irdl_await(ptr %line, i64 %new)
  %j1 = add i64 %j, 1
  %more = icmp ult i64 %j1, %threads
  br i1 %more, label %each, label %done
done:
  ret void
}}
"""


def team_text(triple: str) -> str:
    """The module of the team itself, one for the process."""
    return _await_text(triple) + _wake_text() + _worker_text(triple) + _run_text()


def _wake_text() -> str:
    return f"""
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)

define internal ptr @line(ptr %team, i64 %thread) alwaysinline {{
  %o = mul i64 %thread, {PER_THREAD}
  %lines = getelementptr i8, ptr %team, i64 {HEADER}
  %p = getelementptr i8, ptr %lines, i64 %o
  ret ptr %p
}}

; Give a worker its next piece of work.
define internal void @{WAKE}(ptr %team, i64 %thread) nounwind {{
entry:
  %line = call ptr @line(ptr %team, i64 %thread)
  %old = atomicrmw add ptr %line, i64 1 seq_cst
  %asleep = getelementptr i8, ptr %line, i64 8
  %flag = load atomic i64, ptr %asleep seq_cst, align 8
  %sleeps = icmp ne i64 %flag, 0
  br i1 %sleeps, label %rouse, label %done
rouse:
  %mutex = getelementptr i8, ptr %line, i64 {MUTEX}
  %condition = getelementptr i8, ptr %line, i64 {CONDITION}
  %r0 = call i32 @pthread_mutex_lock(ptr %mutex)
  %r1 = call i32 @pthread_cond_signal(ptr %condition)
  %r2 = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %done
done:
  ret void
}}
"""


def _worker_text(triple: str) -> str:
    _, call = pause(triple)
    return f"""
; A worker's life: the number of its last piece of work is `last`.
define void @{WORKER}(ptr %team, i64 %thread) nounwind {{
entry:
  %line = call ptr @line(ptr %team, i64 %thread)
  %asleep = getelementptr i8, ptr %line, i64 8
  %mutex = getelementptr i8, ptr %line, i64 {MUTEX}
  %condition = getelementptr i8, ptr %line, i64 {CONDITION}
  %function_place = getelementptr i8, ptr %team, i64 128
  %argument_place = getelementptr i8, ptr %team, i64 136
  %threads_place = getelementptr i8, ptr %team, i64 144
  %done_place = getelementptr i8, ptr %team, i64 192
  br label %idle
idle:
  %last = phi i64 [ 0, %entry ], [ %next, %work ]
  %next = add i64 %last, 1
  br label %look
look:
  %k = phi i64 [ 0, %idle ], [ %k1, %wait ]
  %n = load atomic i64, ptr %line acquire, align 8
  %same = icmp eq i64 %n, %last
  br i1 %same, label %wait, label %work
wait:
  {call}
  %k1 = add i64 %k, 1
  %short = icmp ult i64 %k1, {_SPINS}
  br i1 %short, label %look, label %sleep
sleep:
  %r0 = call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 1, ptr %asleep seq_cst, align 8
  br label %check
check:
  %m = load atomic i64, ptr %line seq_cst, align 8
  %still = icmp eq i64 %m, %last
  br i1 %still, label %block, label %rise
block:
  %r1 = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %check
rise:
  store atomic i64 0, ptr %asleep seq_cst, align 8
  %r2 = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %work
work:
  %threads = load i64, ptr %threads_place
  %function = load ptr, ptr %function_place
  %argument = load ptr, ptr %argument_place
  call void %function(ptr %argument, i64 %thread, i64 %threads)
  %d = atomicrmw add ptr %done_place, i64 1 release
  br label %idle
}}
"""


def _run_text() -> str:
    return f"""
; Run function(argument, thread, threads) on every thread of the team; alone where another call has the workers.
define void @{RUN}(ptr %team, ptr %function, ptr %argument) nounwind {{
entry:
  %busy = getelementptr i8, ptr %team, i64 64
  %taken = cmpxchg ptr %busy, i64 0, i64 1 acquire monotonic
  %free = extractvalue {{ i64, i1 }} %taken, 1
  br i1 %free, label %begin, label %alone
alone:
  call void %function(ptr %argument, i64 0, i64 1)
  ret void
begin:
  %workers_place = getelementptr i8, ptr %team, i64 8
  %workers = load i64, ptr %workers_place
  %threads = add i64 %workers, 1
  %function_place = getelementptr i8, ptr %team, i64 128
  %argument_place = getelementptr i8, ptr %team, i64 136
  %done_place = getelementptr i8, ptr %team, i64 192
  store ptr %function, ptr %function_place
  store ptr %argument, ptr %argument_place
  %threads_place = getelementptr i8, ptr %team, i64 144
  store i64 %threads, ptr %threads_place
  store atomic i64 0, ptr %done_place monotonic, align 8
  %any = icmp ne i64 %workers, 0
  br i1 %any, label %hand, label %own
hand:
  %i = phi i64 [ 1, %begin ], [ %i1, %hand ]
  call void @{WAKE}(ptr %team, i64 %i)
  %i1 = add i64 %i, 1
  %more = icmp ule i64 %i1, %workers
  br i1 %more, label %hand, label %own
own:
  call void %function(ptr %argument, i64 0, i64 %threads)
  call void @irdl_await(ptr %done_place, i64 %workers)
  store atomic i64 0, ptr %busy release, align 8
  ret void
}}
"""
