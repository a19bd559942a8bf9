"""When a caller works with a team, in LLVM IR: accounts of how teams have done.

An account says whether a team is trusted. In nanoseconds: 0 when one is tried next, 8 how long the caller stays alone until then,
16 how long teams have worked well since. The machine has one (its cores may be others'), and so has each program (on two threads of
one core, or at the limit of the memory, it may be no faster), with what its calls take: 24 alone, 32 at best of the team's
last few, 40 of the few before; and in calls: 48 the team's since the last alone, 56 how many until the next alone.
"""

from __future__ import annotations

#: Words of a program's account.
ACCOUNT = 8

#: Nanoseconds that a caller stays alone: the first time after long waiting, and at most.
SHORTEST, _LONGEST = 50_000_000, 1_000_000_000
#: Calls of a team that are compared with one alone; how often one is alone, for its time, if it takes no longer than the team's; and
#: how many are, at the least, where the team takes longer.
_FEW, _RARELY, _MANY = 8, 256, 64
#: How many times as long as one alone a team's call takes that was held up.
_HELD_UP = 3
#: A number that is never reached.
NEVER = (1 << 63) - 1


def account_of(long: bool) -> str:
    """A program's account at the start. Its first call is one alone, for its time, unless it takes so long that it may be the only
    one."""
    words = [0] * (ACCOUNT - 1) + [_FEW if long else 0]
    return f"[{ACCOUNT} x i64] [{', '.join(f'i64 {word}' for word in words)}], align 64"


def account_text() -> str:
    return _DISTRUST + _PRAISE + _NOTE_ALONE + _NOTE_TEAM


_DISTRUST = f"""
; Leave teams alone for twice as long as the last time.
define internal void @distrust(ptr %account, i64 %shortest) nounwind {{
  %next_place = getelementptr i8, ptr %account, i64 0
  %alone_place = getelementptr i8, ptr %account, i64 8
  %good_place = getelementptr i8, ptr %account, i64 16
  %now = call i64 @now()
  %was = load i64, ptr %alone_place
  %double = mul i64 %was, 2
  %little = icmp slt i64 %double, %shortest
  %at_least = select i1 %little, i64 %shortest, i64 %double
  %much = icmp sgt i64 %at_least, {_LONGEST}
  %stay = select i1 %much, i64 {_LONGEST}, i64 %at_least
  %again = add i64 %now, %stay
  store i64 %stay, ptr %alone_place
  store i64 %again, ptr %next_place
  store i64 0, ptr %good_place
  ret void
}}
"""

_PRAISE = """
; Teams that have worked well for longer than the caller stayed alone are trusted as at the start.
define internal void @praise(ptr %account, i64 %took) nounwind {
  %alone_place = getelementptr i8, ptr %account, i64 8
  %good_place = getelementptr i8, ptr %account, i64 16
  %was = load i64, ptr %alone_place
  %before = load i64, ptr %good_place
  %good = add i64 %before, %took
  %trusted = icmp sgt i64 %good, %was
  %alone = select i1 %trusted, i64 0, i64 %was
  store i64 %alone, ptr %alone_place
  store i64 %good, ptr %good_place
  ret void
}
"""

_NOTE_ALONE = f"""
; Note what a call alone took. Longer than usual may be chance, shorter is not.
define internal void @note_alone(ptr %account, i64 %took) nounwind {{
  %alone_place = getelementptr i8, ptr %account, i64 24
  %few_place = getelementptr i8, ptr %account, i64 32
  %last_place = getelementptr i8, ptr %account, i64 40
  %calls_place = getelementptr i8, ptr %account, i64 48
  %until_place = getelementptr i8, ptr %account, i64 56
  %old = load i64, ptr %alone_place
  %first = icmp eq i64 %old, 0
  %change = sub i64 %took, %old
  %part = ashr i64 %change, 3
  %drift = add i64 %old, %part
  %quicker = icmp slt i64 %took, %old
  %take = or i1 %first, %quicker
  %alone = select i1 %take, i64 %took, i64 %drift
  store i64 %alone, ptr %alone_place
  %last = load i64, ptr %last_place
  %new = icmp eq i64 %last, 0
  %divisor = select i1 %new, i64 1, i64 %last
  %ratio = udiv i64 %alone, %divisor
  %ratio1 = add i64 %ratio, 1
  %rarely = mul i64 %ratio1, {_RARELY}
  %until = select i1 %new, i64 {_FEW}, i64 %rarely
  store i64 %until, ptr %until_place
  store i64 0, ptr %calls_place
  store i64 {NEVER}, ptr %few_place
  ret void
}}
"""

_NOTE_TEAM = f"""
; Note what a team's call took; after a few compare the best of them with a call alone. One that took a multiple of that was held up:
; where a worker wakes on the caller's core, each keeps the other from it for as long as it waits for him.
define internal void @note_team(ptr %account, i64 %took) nounwind {{
entry:
  %alone_place = getelementptr i8, ptr %account, i64 24
  %few_place = getelementptr i8, ptr %account, i64 32
  %last_place = getelementptr i8, ptr %account, i64 40
  %calls_place = getelementptr i8, ptr %account, i64 48
  %calls = load i64, ptr %calls_place
  %calls1 = add i64 %calls, 1
  store i64 %calls1, ptr %calls_place
  %alone = load i64, ptr %alone_place
  %timed = icmp ne i64 %alone, 0
  %multiple = mul i64 %alone, {_HELD_UP}
  %long = icmp sgt i64 %took, %multiple
  %held_up = and i1 %timed, %long
  br i1 %held_up, label %leave, label %count
leave:
  call void @distrust(ptr %account, i64 {SHORTEST})
  br label %done
count:
  call void @praise(ptr %account, i64 %took)
  %best = load i64, ptr %few_place
  %quicker = icmp slt i64 %took, %best
  %new_best = select i1 %quicker, i64 %took, i64 %best
  store i64 %new_best, ptr %few_place
  %rest = urem i64 %calls1, {_FEW}
  %few = icmp eq i64 %rest, 0
  br i1 %few, label %judge, label %done
judge:
  store i64 %new_best, ptr %last_place
  store i64 {NEVER}, ptr %few_place
  %worse = icmp sgt i64 %new_best, %alone
  %slower = and i1 %timed, %worse
  br i1 %slower, label %bad, label %done
bad:
  %shortest = mul i64 %alone, {_MANY}
  call void @distrust(ptr %account, i64 %shortest)
  br label %done
done:
  ret void
}}
"""
