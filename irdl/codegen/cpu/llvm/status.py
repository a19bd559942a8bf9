"""What a call reports while it runs, in LLVM IR: indices out of range, and whether it is to stop.

The status of a call, eight words that its caller makes:

    0 whether it failed; 1, 2 the index that was out of range, and the code of the check that found it
    3 whether it is to stop before its end, for all of its threads
    4 a function that is asked now and then whether it is to, or 0: `i32 poll(status)`
    5, 6, 7 for that function's use

Loops that run for long stop to look (see `looks`). The processor's time counts there, not a clock's: what a step costs is known.
"""

from __future__ import annotations

from collections.abc import Sequence

from irdl.loops.cost import cycles
from irdl.loops.language import For, Statement, While
from irdl.loops.walk import nested

WORDS = 8
FAILED, STOPPED, POLL, POLLED = 0, 3, 4, 5

#: Cycles, as `cost` counts them, between two looks: some hundredths of a second.
BETWEEN_LOOKS = 100_000_000


def check_text(alone: bool) -> str:
    """The function that reports an index that is out of range, the first of them; `alone`: of a call with one thread."""
    claim = """%claimed = cmpxchg ptr %status, i64 0, i64 1 monotonic monotonic
  %first = extractvalue { i64, i1 } %claimed, 1"""
    if alone:  # without atomics, which small processors lack
        claim = """%failed = load i64, ptr %status
  %first = icmp eq i64 %failed, 0
  store i64 1, ptr %status"""
    return f"""
define internal void @irdl_check(i64 %value, i64 %extent, i64 %code, ptr %status) nounwind noinline cold {{
entry:
  %negative = icmp slt i64 %value, 0
  %wrapped = add i64 %value, %extent
  %index = select i1 %negative, i64 %wrapped, i64 %value
  %inside = icmp ult i64 %index, %extent
  br i1 %inside, label %done, label %bad
bad:
  {claim}
  br i1 %first, label %record, label %done
record:
  %p1 = getelementptr i64, ptr %status, i64 1
  store i64 %value, ptr %p1
  %p2 = getelementptr i64, ptr %status, i64 2
  store i64 %code, ptr %p2
  br label %done
done:
  ret void
}}
"""


LOOK = f"""
; Whether this call is to stop. Only its first thread asks; the others follow.
define internal i1 @irdl_look(ptr %status, i1 %first) nounwind noinline cold {{
entry:
  %stop_place = getelementptr i64, ptr %status, i64 {STOPPED}
  %stop = load atomic i64, ptr %stop_place monotonic, align 8
  %stops = icmp ne i64 %stop, 0
  %follows = xor i1 %first, true
  %known = or i1 %stops, %follows
  br i1 %known, label %done, label %find
find:
  %poll_place = getelementptr i64, ptr %status, i64 {POLL}
  %poll = load ptr, ptr %poll_place
  %nobody = icmp eq ptr %poll, null
  br i1 %nobody, label %done, label %ask
ask:
  %answer = call i32 %poll(ptr %status)
  %yes = icmp ne i32 %answer, 0
  br i1 %yes, label %stop_all, label %done
stop_all:
  store atomic i64 1, ptr %status monotonic, align 8
  store atomic i64 1, ptr %stop_place monotonic, align 8
  br label %done
done:
  %result = phi i1 [ %stops, %entry ], [ false, %find ], [ false, %ask ], [ true, %stop_all ]
  ret i1 %result
}}
"""


def poll_text(name: str, ensure: int, check: int, fetch: int, release: int) -> str:
    """The module of a function that asks Python, given the addresses of its functions. Their handlers run in the main thread alone,
    and one that raises is why to stop; the caller raises that again."""
    return f"""
define i32 @{name}(ptr %status) nounwind {{
entry:
  %state = call i32 inttoptr (i64 {ensure} to ptr)()
  %raised = call i32 inttoptr (i64 {check} to ptr)()
  %stops = icmp ne i32 %raised, 0
  br i1 %stops, label %keep, label %done
keep:
  %type = getelementptr i64, ptr %status, i64 {POLLED}
  %value = getelementptr i64, ptr %status, i64 {POLLED + 1}
  %traceback = getelementptr i64, ptr %status, i64 {POLLED + 2}
  call void inttoptr (i64 {fetch} to ptr)(ptr %type, ptr %value, ptr %traceback)
  br label %done
done:
  call void inttoptr (i64 {release} to ptr)(i32 %state)
  ret i32 %raised
}}
"""


def looks(body: Sequence[Statement]) -> dict[int, int]:
    """Which loops of a program look whether to stop, by identity, and how many steps they take before they do: while loops, and the
    innermost other loops that run for long."""
    found: dict[int, int] = {}

    def visit(body: Sequence[Statement]) -> tuple[float, bool]:
        """What the statements cost, and whether they look."""
        total, look = 0.0, False
        for statement in body:
            inside = [visit(part) for part in nested(statement)]
            cost = sum(part for part, _ in inside) if inside else cycles([statement])
            looking = any(part for _, part in inside)
            if isinstance(statement, While):
                looking, found[id(statement)] = True, max(1, int(BETWEEN_LOOKS / max(cost, 10)))
            elif isinstance(statement, For):
                steps = 1 if statement.kind == "vector" else len(range(statement.start, statement.stop, statement.step))
                if steps * cost >= BETWEEN_LOOKS and not looking and statement.kind in ("serial", "parallel") and not statement.turns:
                    looking, found[id(statement)] = True, max(1, int(BETWEEN_LOOKS / cost))
                cost *= steps
            total, look = total + cost, look or looking
        return total, look

    visit(body)
    return found
