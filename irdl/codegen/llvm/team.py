"""The thread team in LLVM IR: workers that wait for work, a caller that hands it out, and the barrier they meet at.

A team must never be slower than its caller alone, on a machine whose cores others use too. So the caller offers work and takes
those workers that answer at once; a thread that waits sleeps soon, which leaves its core to whom it waits for; and where the
caller waits too long, it goes on alone from the next barrier, and stays alone for a while, longer each time (see `_wait_text`).

A team's memory, in bytes:

    0 addresses of `irdl_team_run`, `irdl_barrier`; 16 how many workers there are
    64 whether a call is using them
    128 the work: function, its argument, how many threads
    192 the number of the barrier that the caller passes alone
    256 how many barriers the caller has passed in earlier calls
    320 the caller's account of this call, in nanoseconds: when it began, how long it has waited
    384 the machine's account (see `trust`)

and from `HEADER` on for each thread: 0 its state, 8 whether it sleeps, 16 its number in this call, 64 how many barriers the
thread of that number has passed, 128 a mutex, 192 a condition variable.

A worker's state goes IDLE, OFFERED (by the caller), ACCEPTED (by the worker; or IDLE again, by the caller), STARTED (by the
caller), IDLE. It waits for an offer spinning, since work comes often, and after a while sleeps. Between `state = OFFERED; asleep?` of
the caller and `asleep = 1; state = IDLE?` of the worker, both in one order for all threads, one sees the other.
"""

from __future__ import annotations

import time

from irdl.codegen.llvm.trust import NEVER, SHORTEST, account_text

#: Bytes of a team of n threads: `HEADER + n * PER_THREAD`.
HEADER, PER_THREAD = 512, 256
COUNT, MUTEX, CONDITION = 64, 128, 192
RUN, BARRIER, WORKER = "irdl_team_run", "irdl_barrier", "irdl_team_worker"
BARRIER_PLACE, WORKERS, FUNCTION, ARGUMENT, THREADS, LEAVE, BASE = 8, 16, 128, 136, 144, 192, 256
BEGAN, WAITED, MACHINE = 320, 328, 384

#: A worker's states, in the order they follow each other.
OFFERED, ACCEPTED, STARTED, IDLE = range(4)

#: Pauses before a worker without work sleeps (about a millisecond), and before one at a barrier does; nanoseconds it then sleeps.
_SPINS = 30_000
_PATIENCE = 4_000
_NAP = 20_000
#: Nanoseconds that a caller waits for workers at the most, where the work is long.
MOST_PATIENCE = 200_000
#: Nanoseconds of a caller's waiting that are forgiven: when it considers whether to leave a team in the middle of a call, and when it
#: considers teams for the next.
_FORGIVEN_IN_A_CALL, _FORGIVEN = 2_000_000, 200_000


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
    return declaration + _CLOCK + _wait_text(hint) + _barrier_text() + _offer_text() + _worker_text(hint) + account_text() + _run_text(hint)


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
    """Waiting. The caller's is added up; it leaves the team where a part of the call has been waiting that says: alone is quicker.

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

declare i32 @nanosleep(ptr, ptr)
; Return when the number at `place` is that large. `next` is the number of the thread's next barrier.
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


def _offer_text() -> str:
    return f"""
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)

; Offer work to a worker, and wake it.
define internal void @offer(ptr %line) nounwind {{
entry:
  %old = atomicrmw xchg ptr %line, i64 {OFFERED} seq_cst
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

; Take an offer back, unless it has been accepted. Whether the worker ought to have: it was not asleep.
define internal i1 @withdraw(ptr %line) nounwind {{
  %taken = cmpxchg ptr %line, i64 {OFFERED}, i64 {IDLE} acquire acquire
  %back = extractvalue {{ i64, i1 }} %taken, 1
  %asleep = getelementptr i8, ptr %line, i64 8
  %flag = load atomic i64, ptr %asleep monotonic, align 8
  %awake = icmp eq i64 %flag, 0
  %late = and i1 %back, %awake
  ret i1 %late
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
  call void @await(ptr %team, i64 %worker, ptr %line, i64 {STARTED}, i64 0)
  %thread = load i64, ptr %number_place
  %threads = load i64, ptr %threads_place
  %function = load ptr, ptr %function_place
  %argument = load ptr, ptr %argument_place
  %stopped = call i1 %function(ptr %argument, i64 %thread, i64 %threads)
  store atomic i64 {IDLE}, ptr %line release, align 8
  br label %idle
}}
"""


def _run_text(hint: str) -> str:
    return f"""
; Run function(argument, thread, threads), which says whether it stopped before its end, on the threads of a team: those that come within `patience` nanoseconds, if a team is
; trusted at all with the program whose account this is.
define void @{RUN}(ptr %team, ptr %function, ptr %argument, i64 %patience, ptr %account) nounwind {{
entry:
  %busy = getelementptr i8, ptr %team, i64 64
  %taken = cmpxchg ptr %busy, i64 0, i64 1 acquire monotonic
  %free = extractvalue {{ i64, i1 }} %taken, 1
  br i1 %free, label %begin, label %bypass
bypass:
  %bypass_stopped = call i1 %function(ptr %argument, i64 0, i64 1)
  ret void
begin:
  %workers_place = getelementptr i8, ptr %team, i64 {WORKERS}
  %machine = getelementptr i8, ptr %team, i64 {MACHINE}
  %calls_place = getelementptr i8, ptr %account, i64 48
  %until_place = getelementptr i8, ptr %account, i64 56
  %workers = load i64, ptr %workers_place
  %last = add i64 %workers, 1
  %began = call i64 @now()
  %next_machine = load i64, ptr %machine
  %next_program = load i64, ptr %account
  %calls = load i64, ptr %calls_place
  %until = load i64, ptr %until_place
  %soon_machine = icmp slt i64 %began, %next_machine
  %soon_program = icmp slt i64 %began, %next_program
  %time_it = icmp sge i64 %calls, %until
  %none = icmp eq i64 %workers, 0
  %solo1 = or i1 %soon_machine, %soon_program
  %solo2 = or i1 %time_it, %none
  %solo = or i1 %solo1, %solo2
  br i1 %solo, label %alone, label %home

; Whoever has left the team in an earlier call must have come home.
home:
  %h = phi i64 [ 1, %begin ], [ %h1, %home ]
  %all_home = phi i1 [ true, %begin ], [ %still_all, %home ]
  %home_line = call ptr @line(ptr %team, i64 %h)
  %home_state = load atomic i64, ptr %home_line acquire, align 8
  %is_home = icmp eq i64 %home_state, {IDLE}
  %still_all = and i1 %all_home, %is_home
  %h1 = add i64 %h, 1
  %h_more = icmp ult i64 %h1, %last
  br i1 %h_more, label %home, label %home_end
home_end:
  br i1 %still_all, label %hand, label %alone

hand:
  %o = phi i64 [ 1, %home_end ], [ %o1, %hand ]
  %offer_line = call ptr @line(ptr %team, i64 %o)
  call void @offer(ptr %offer_line)
  %o1 = add i64 %o, 1
  %o_more = icmp ult i64 %o1, %last
  br i1 %o_more, label %hand, label %gather

gather:
  %g = phi i64 [ 1, %hand ], [ %g1, %gather_next ]
  %gather_line = call ptr @line(ptr %team, i64 %g)
  br label %gather_look
gather_look:
  %g_state = load atomic i64, ptr %gather_line acquire, align 8
  %g_come = icmp eq i64 %g_state, {ACCEPTED}
  br i1 %g_come, label %gather_next, label %gather_wait
gather_wait:
  {hint}
  %g_now = call i64 @now()
  %g_time = sub i64 %g_now, %began
  %g_patient = icmp slt i64 %g_time, %patience
  br i1 %g_patient, label %gather_look, label %assign
gather_next:
  %g1 = add i64 %g, 1
  %g_more = icmp ult i64 %g1, %last
  br i1 %g_more, label %gather, label %assign

; Numbers for those that have come, offers back from the others.
assign:
  %a = phi i64 [ 1, %gather_wait ], [ 1, %gather_next ], [ %a1, %assign_next ]
  %threads = phi i64 [ 1, %gather_wait ], [ 1, %gather_next ], [ %threads1, %assign_next ]
  %late = phi i1 [ false, %gather_wait ], [ false, %gather_next ], [ %late1, %assign_next ]
  %assign_line = call ptr @line(ptr %team, i64 %a)
  %this_late = call i1 @withdraw(ptr %assign_line)
  %late1 = or i1 %late, %this_late
  %a_state = load atomic i64, ptr %assign_line acquire, align 8
  %a_come = icmp eq i64 %a_state, {ACCEPTED}
  br i1 %a_come, label %assign_number, label %assign_next
assign_number:
  %number_place = getelementptr i8, ptr %assign_line, i64 16
  store i64 %threads, ptr %number_place
  %threads_more = add i64 %threads, 1
  br label %assign_next
assign_next:
  %threads1 = phi i64 [ %threads, %assign ], [ %threads_more, %assign_number ]
  %a1 = add i64 %a, 1
  %a_more = icmp ult i64 %a1, %last
  br i1 %a_more, label %assign, label %set

set:
  %function_place = getelementptr i8, ptr %team, i64 {FUNCTION}
  %argument_place = getelementptr i8, ptr %team, i64 {ARGUMENT}
  %threads_place = getelementptr i8, ptr %team, i64 {THREADS}
  %leave_place = getelementptr i8, ptr %team, i64 {LEAVE}
  %began_place = getelementptr i8, ptr %team, i64 {BEGAN}
  %waited_place = getelementptr i8, ptr %team, i64 {WAITED}
  store ptr %function, ptr %function_place
  store ptr %argument, ptr %argument_place
  store i64 %threads1, ptr %threads_place
  store atomic i64 {NEVER}, ptr %leave_place monotonic, align 8
  store i64 %began, ptr %began_place
  store i64 0, ptr %waited_place
  br label %go
go:
  %s = phi i64 [ 1, %set ], [ %s1, %go ]
  %go_line = call ptr @line(ptr %team, i64 %s)
  %started = cmpxchg ptr %go_line, i64 {ACCEPTED}, i64 {STARTED} release monotonic
  %s1 = add i64 %s, 1
  %s_more = icmp ult i64 %s1, %last
  br i1 %s_more, label %go, label %work
work:
  %stopped = call i1 %function(ptr %argument, i64 0, i64 %threads1)
  br label %gone

; Who has left touches nothing of the call any more, and need not be waited for.
gone:
  %w = phi i64 [ 1, %work ], [ %w1, %back ]
  %leave = load atomic i64, ptr %leave_place monotonic, align 8
  %together = icmp eq i64 %leave, {NEVER}
  %waits = or i1 %together, %stopped
  br i1 %waits, label %wait_for, label %finish
wait_for:
  %wait_line = call ptr @line(ptr %team, i64 %w)
  call void @await(ptr %team, i64 0, ptr %wait_line, i64 {IDLE}, i64 0)
  br label %back
back:
  %w1 = add i64 %w, 1
  %w_more = icmp ult i64 %w1, %last
  br i1 %w_more, label %gone, label %all_back
all_back:
  br i1 %stopped, label %reset, label %finish

; Who stopped has passed all barriers there can be.
reset:
  %base_place = getelementptr i8, ptr %team, i64 {BASE}
  %base = load i64, ptr %base_place
  br label %reset_each
reset_each:
  %c = phi i64 [ 0, %reset ], [ %c1, %reset_each ]
  %reset_line = call ptr @line(ptr %team, i64 %c)
  %reset_count = getelementptr i8, ptr %reset_line, i64 {COUNT}
  store atomic i64 %base, ptr %reset_count release, align 8
  %c1 = add i64 %c, 1
  %c_more = icmp ult i64 %c1, %last
  br i1 %c_more, label %reset_each, label %free_team

; Long waiting costs a multiple of a call; a worker that was late has cost the caller its patience, about an eighth of one.
finish:
  %ended = call i64 @now()
  %took = sub i64 %ended, %began
  %waited_long = call i1 @too_long(ptr %team, i64 %took, i64 {_FORGIVEN})
  %trouble = or i1 %waited_long, %late1
  br i1 %trouble, label %bad, label %good
bad:
  %a_call = mul i64 %patience, 8
  %shortest = select i1 %waited_long, i64 {SHORTEST}, i64 %a_call
  call void @distrust(ptr %machine, i64 %shortest)
  br label %free_team
good:
  %nobody = icmp eq i64 %threads1, 1
  br i1 %nobody, label %free_team, label %well
well:
  call void @praise(ptr %machine, i64 %took)
  call void @note_team(ptr %account, i64 %took)
  br label %free_team
alone:
  %alone_stopped = call i1 %function(ptr %argument, i64 0, i64 1)
  br i1 %alone_stopped, label %free_team, label %alone_all
alone_all:
  %alone_ended = call i64 @now()
  %alone_took = sub i64 %alone_ended, %began
  call void @note_alone(ptr %account, i64 %alone_took)
  br label %free_team
free_team:
  store atomic i64 0, ptr %busy release, align 8
  ret void
}}
"""
