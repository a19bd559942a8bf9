"""A call that works with a team, in LLVM IR: the caller's side (see `team`)."""

from __future__ import annotations

from irdl.codegen.cpu.llvm.team_layout import (
    ACCEPTED,
    ARGUMENT,
    BASE,
    BEGAN,
    CONDITION,
    COUNT,
    FUNCTION,
    HIRED,
    IDLE,
    LEAVE,
    MACHINE,
    MUTEX,
    OFFERED,
    RUN,
    STARTED,
    THREADS,
    WAITED,
    WORKERS,
)
from irdl.codegen.cpu.llvm.trust import NEVER, SHORTEST

#: Nanoseconds of a caller's waiting that are forgiven when it considers teams for the next call.
_FORGIVEN = 200_000


def offer_text() -> str:
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


def run_text(hint: str) -> str:
    return _begin_text() + _gather_text(hint) + _start_text() + _work_text() + _end_text()


def _begin_text() -> str:
    """Whether to work with the team at all."""
    return f"""\
; Run function(argument, thread, threads), which says whether it stopped before its end, on the threads of a team: those that come
; within `patience` nanoseconds, if a team is trusted at all with the program whose account this is.
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
  %hired_place = getelementptr i8, ptr %team, i64 {HIRED}
  %machine = getelementptr i8, ptr %team, i64 {MACHINE}
  %calls_place = getelementptr i8, ptr %account, i64 48
  %until_place = getelementptr i8, ptr %account, i64 56
  %workers = load i64, ptr %workers_place
  %hired = load i64, ptr %hired_place
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
"""


def _gather_text(hint: str) -> str:
    """Offer the work, and wait for those who come at once."""
    return f"""\

; Whoever has left the team in an earlier call must have come home, even those who take no part any more: this call sets LEAVE anew,
; which tells them that they are to leave.
home:
  %h = phi i64 [ 1, %begin ], [ %h1, %home ]
  %all_home = phi i1 [ true, %begin ], [ %still_all, %home ]
  %home_line = call ptr @line(ptr %team, i64 %h)
  %home_state = load atomic i64, ptr %home_line acquire, align 8
  %is_home = icmp eq i64 %home_state, {IDLE}
  %still_all = and i1 %all_home, %is_home
  %h1 = add i64 %h, 1
  %h_more = icmp ule i64 %h1, %hired
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

"""


def _start_text() -> str:
    """Give numbers to those who have come, and start them."""
    return f"""\
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
"""


def _work_text() -> str:
    """The work itself; then the others are waited for, but for those who have left.

    Who has left touches nothing of the call any more but its code (see `irdl.runtime.team.unload`). He has only where the caller
    has passed that barrier: to decide to leave at the next is nothing where none follows.
    """
    return f"""\
work:
  %stopped = call i1 %function(ptr %argument, i64 0, i64 %threads1)
  %base_place = getelementptr i8, ptr %team, i64 {BASE}
  %base = load i64, ptr %base_place
  %leave = load atomic i64, ptr %leave_place monotonic, align 8
  %together = icmp sgt i64 %leave, %base
  %waits = or i1 %together, %stopped
  br i1 %waits, label %wait_for, label %finish

; There is no next barrier: who reads LEAVE late at the last one must not find that he is to leave.
wait_for:
  %w = phi i64 [ 1, %work ], [ %w1, %back ]
  %wait_line = call ptr @line(ptr %team, i64 %w)
  call void @await(ptr %team, i64 0, ptr %wait_line, i64 {IDLE}, i64 {NEVER})
  br label %back
back:
  %w1 = add i64 %w, 1
  %w_more = icmp ult i64 %w1, %last
  br i1 %w_more, label %wait_for, label %all_back
all_back:
  br i1 %stopped, label %reset, label %finish

; Who stopped has passed all barriers there can be.
reset:
  br label %reset_each
reset_each:
  %c = phi i64 [ 0, %reset ], [ %c1, %reset_each ]
  %reset_line = call ptr @line(ptr %team, i64 %c)
  %reset_count = getelementptr i8, ptr %reset_line, i64 {COUNT}
  store atomic i64 %base, ptr %reset_count release, align 8
  %c1 = add i64 %c, 1
  %c_more = icmp ult i64 %c1, %last
  br i1 %c_more, label %reset_each, label %free_team

"""


def _end_text() -> str:
    """What the call says about the team."""
    return f"""\
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
