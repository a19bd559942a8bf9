"""The thread team in LLVM IR: workers that wait for work, a caller that hands it out, and the barrier they meet at.

A team must never be slower than its caller alone, on a machine whose cores others use too. So the caller offers work and takes
those workers that answer at once; a thread that waits sleeps soon, which leaves its core to whom it waits for; and where the
caller waits too long, it goes on alone from the next barrier, and stays alone for a while, longer each time (see `_wait_text`).

A worker's state goes IDLE, OFFERED (by the caller), ACCEPTED (by the worker; or IDLE again, by the caller), STARTED (by the
caller), IDLE. It waits for an offer spinning, since work comes often, and after a while sleeps. Between `state = OFFERED; asleep?` of
the caller and `asleep = 1; state = IDLE?` of the worker, both in one order for all threads, one sees the other.
"""

from __future__ import annotations

import time

from irdl.codegen.cpu.llvm.team_call import offer_text, run_text
from irdl.codegen.cpu.llvm.team_layout import (
    ACCEPTED,
    ARGUMENT,
    BARRIER,
    BEGAN,
    CONDITION,
    COUNT,
    FUNCTION,
    HEADER,
    IDLE,
    LEAVE,
    MUTEX,
    OFFERED,
    PER_THREAD,
    STARTED,
    THREADS,
    WAITED,
    WORKER,
)
from irdl.codegen.cpu.llvm.trust import NEVER, account_text

#: Pauses before a worker without work sleeps (about a millisecond), and before one at a barrier does; nanoseconds it then sleeps.
_SPINS = 30_000
_PATIENCE = 4_000
_NAP = 20_000
#: Nanoseconds that a caller waits for workers at the most, where the work is long.
MOST_PATIENCE = 200_000
#: Nanoseconds of a caller's waiting that are forgiven when it considers whether to leave a team in the middle of a call.
_FORGIVEN_IN_A_CALL = 2_000_000


def patience(cycles: float) -> int:
    """Nanoseconds that a caller waits for workers to answer: an eighth of the time that work of so many cycles takes, or so."""
    return int(min(MOST_PATIENCE, max(2_000, cycles / 3 / 8)))


def pause(triple: str) -> tuple[str, str]:
    """The hint of a spinning loop on this processor: a declaration and a call."""
    if triple.startswith(("x86_64", "i686")):
        return "declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"
    if triple.startswith(("aarch64", "arm64")):
        return "declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"
    return "", ""


def team_text(triple: str) -> str:
    """The module of the team itself, one for the process."""
    declaration, hint = pause(triple)
    return declaration + _CLOCK + _wait_text(hint) + _barrier_text() + offer_text() + _worker_text(hint) + account_text() + run_text(hint)


_CLOCK = f"""
declare i32 @clock_gettime(i32, ptr)
define internal i64 @now() nounwind {{
  %t = alloca [2 x i64]
  %r = call i32 @clock_gettime(i32 {time.CLOCK_MONOTONIC}, ptr %t)
  %seconds = load i64, ptr %t
  %rest_place = getelementptr i64, ptr %t, i64 1
  %rest = load i64, ptr %rest_place
  %whole = mul i64 %seconds, 1000000000
  %all = add i64 %whole, %rest
  ret i64 %all
}}

define internal ptr @line(ptr %team, i64 %thread) alwaysinline {{
  %o = mul i64 %thread, {PER_THREAD}
  %lines = getelementptr i8, ptr %team, i64 {HEADER}
  %p = getelementptr i8, ptr %lines, i64 %o
  ret ptr %p
}}
"""


def _wait_text(hint: str) -> str:
    """Waiting. The caller's is added up; it leaves the team where a part of the call has been waiting that says: alone is quicker."""
    return _too_long_text() + _await_text(hint) + _wait_long_text()


def _too_long_text() -> str:
    """When that is.

    A team of n that waits 1 - 1/n of the time is no quicker than one thread. A caller that waits for others is as often held up
    itself, which it cannot see: so, half of that.
    """
    return f"""
; Whether the caller has waited too long in `lasted` nanoseconds, of which `forgiven` count for nothing.
define internal i1 @too_long(ptr %team, i64 %lasted, i64 %forgiven) nounwind {{
  %waited_place = getelementptr i8, ptr %team, i64 {WAITED}
  %threads_place = getelementptr i8, ptr %team, i64 {THREADS}
  %waited = load i64, ptr %waited_place
  %threads = load i64, ptr %threads_place
  %parts = mul i64 %threads, 2
  %others = sub i64 %threads, 1
  %share = mul i64 %lasted, %others
  %allowed_share = udiv i64 %share, %parts
  %allowed = add i64 %allowed_share, %forgiven
  %enough = icmp ugt i64 %waited, %allowed
  ret i1 %enough
}}
"""


def _await_text(hint: str) -> str:
    return f"""
declare i32 @nanosleep(ptr, ptr)
; Return when the number at `place` is that large. `next` is the number of the thread's next barrier; NEVER if there is none.
define internal void @await(ptr %team, i64 %thread, ptr %place, i64 %number, i64 %next) nounwind alwaysinline {{
entry:
  br label %look
look:
  %k = phi i64 [ 0, %entry ], [ %k1, %wait ]
  %seen = load atomic i64, ptr %place acquire, align 8
  %there = icmp uge i64 %seen, %number
  br i1 %there, label %done, label %wait
wait:
  {hint}
  %k1 = add i64 %k, 1
  %short = icmp ult i64 %k1, {_PATIENCE}
  br i1 %short, label %look, label %long
long:
  call void @wait_long(ptr %team, i64 %thread, ptr %place, i64 %number, i64 %next)
  br label %done
done:
  ret void
}}
"""


def _wait_long_text() -> str:
    return f"""
define internal void @wait_long(ptr %team, i64 %thread, ptr %place, i64 %number, i64 %next) nounwind noinline {{
entry:
  %nap = alloca [2 x i64]
  %nap_rest = getelementptr i64, ptr %nap, i64 1
  store i64 0, ptr %nap
  store i64 {_NAP}, ptr %nap_rest
  %from = call i64 @now()
  br label %look
look:
  %seen = load atomic i64, ptr %place acquire, align 8
  %there = icmp uge i64 %seen, %number
  br i1 %there, label %come, label %sleep
sleep:
  %r = call i32 @nanosleep(ptr %nap, ptr null)
  br label %look
come:
  %caller = icmp eq i64 %thread, 0
  br i1 %caller, label %account, label %done
account:
  %to = call i64 @now()
  %this = sub i64 %to, %from
  %waited_place = getelementptr i8, ptr %team, i64 {WAITED}
  %before = load i64, ptr %waited_place
  %waited = add i64 %before, %this
  store i64 %waited, ptr %waited_place
  %began_place = getelementptr i8, ptr %team, i64 {BEGAN}
  %began = load i64, ptr %began_place
  %lasted = sub i64 %to, %began
  %enough = call i1 @too_long(ptr %team, i64 %lasted, i64 {_FORGIVEN_IN_A_CALL})
  br i1 %enough, label %leave, label %done
leave:
  ; The first word counts: others may have acted on it.
  %leave_place = getelementptr i8, ptr %team, i64 {LEAVE}
  %set = cmpxchg ptr %leave_place, i64 {NEVER}, i64 %next monotonic monotonic
  br label %done
done:
  ret void
}}
"""


def _barrier_text() -> str:
    return f"""
; Nobody returns before all have come. `count`: the barriers the thread has passed. Returns how many threads there are from here on.
define i64 @{BARRIER}(ptr %team, i64 %thread, i64 %threads, ptr %count) nounwind {{
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %arrive
arrive:
  %old = load i64, ptr %count
  %new = add i64 %old, 1
  %next = add i64 %old, 2
  store i64 %new, ptr %count
  %mine = call ptr @line(ptr %team, i64 %thread)
  %my_count = getelementptr i8, ptr %mine, i64 {COUNT}
  store atomic i64 %new, ptr %my_count release, align 8
  br label %each
each:
  %j = phi i64 [ 0, %arrive ], [ %j1, %each_done ]
  %line = call ptr @line(ptr %team, i64 %j)
  %count_place = getelementptr i8, ptr %line, i64 {COUNT}
  call void @await(ptr %team, i64 %thread, ptr %count_place, i64 %new, i64 %next)
  br label %each_done
each_done:
  %j1 = add i64 %j, 1
  %more = icmp ult i64 %j1, %threads
  br i1 %more, label %each, label %all
all:
  %leave_place = getelementptr i8, ptr %team, i64 {LEAVE}
  %leave = load atomic i64, ptr %leave_place monotonic, align 8
  %stays = icmp slt i64 %new, %leave
  %left = select i1 %stays, i64 %threads, i64 1
  ret i64 %left
done:
  ret i64 1
}}
"""


def _worker_text(hint: str) -> str:
    return f"""
; A worker's life.
define void @{WORKER}(ptr %team, i64 %worker) nounwind {{
entry:
  %line = call ptr @line(ptr %team, i64 %worker)
  %asleep = getelementptr i8, ptr %line, i64 8
  %number_place = getelementptr i8, ptr %line, i64 16
  %mutex = getelementptr i8, ptr %line, i64 {MUTEX}
  %condition = getelementptr i8, ptr %line, i64 {CONDITION}
  %function_place = getelementptr i8, ptr %team, i64 {FUNCTION}
  %argument_place = getelementptr i8, ptr %team, i64 {ARGUMENT}
  %threads_place = getelementptr i8, ptr %team, i64 {THREADS}
  br label %idle
idle:
  br label %look
look:
  %k = phi i64 [ 0, %idle ], [ %k1, %wait ]
  %state = load atomic i64, ptr %line acquire, align 8
  %any = icmp eq i64 %state, {OFFERED}
  br i1 %any, label %accept, label %wait
wait:
  {hint}
  %k1 = add i64 %k, 1
  %short = icmp ult i64 %k1, {_SPINS}
  br i1 %short, label %look, label %sleep
sleep:
  %r0 = call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 1, ptr %asleep seq_cst, align 8
  %now = load atomic i64, ptr %line seq_cst, align 8
  %still = icmp ne i64 %now, {OFFERED}
  br i1 %still, label %block, label %rise
block:
  %r1 = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %rise
rise:
  store atomic i64 0, ptr %asleep seq_cst, align 8
  %r2 = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %idle
accept:
  %accepted = cmpxchg ptr %line, i64 {OFFERED}, i64 {ACCEPTED} acq_rel acquire
  %mine = extractvalue {{ i64, i1 }} %accepted, 1
  br i1 %mine, label %ready, label %idle
ready:
  call void @await(ptr %team, i64 %worker, ptr %line, i64 {STARTED}, i64 {NEVER})
  %thread = load i64, ptr %number_place
  %threads = load i64, ptr %threads_place
  %function = load ptr, ptr %function_place
  %argument = load ptr, ptr %argument_place
  %stopped = call i1 %function(ptr %argument, i64 %thread, i64 %threads)
  store atomic i64 {IDLE}, ptr %line release, align 8
  br label %idle
}}
"""
