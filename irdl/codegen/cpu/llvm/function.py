"""One function in LLVM IR: statements in, instructions out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from irdl.codegen.cpu.llvm.interleaved import Interleaved
from irdl.codegen.cpu.llvm.status import FAILED, STOPPED
from irdl.codegen.cpu.llvm.team_layout import BARRIER_PLACE, BASE, COUNT, HEADER, PER_THREAD
from irdl.codegen.cpu.llvm.trust import NEVER
from irdl.codegen.cpu.llvm.values import INDEX, Operand, Values
from irdl.codegen.lowering.nest import blocks
from irdl.loops.language import Barrier, CheckIndex, For, If, Kernel, Leave, Let, Prefetch, Statement, Store, While
from irdl.loops.walk import free, is_parallel, walk

#: Steps whose instructions take turns: enough to hide latency, few enough for the registers.
_ABREAST = 6


class Function(Values):
    """One function: statements in, instructions out."""

    #: whether several threads run it
    in_team = False
    #: the block for where the call is to stop, once there is one
    stopped = ""

    def argument(self, place: int) -> str:
        slot = self.builder.emit(f"getelementptr ptr, ptr %arguments, i64 {place}")
        return self.builder.emit(f"load ptr, ptr {slot}")

    # A team's threads all run the program; each counts the barriers it has passed, from where the last call stopped. After a
    # barrier there may be fewer.

    def enter_team(self, place: int) -> None:
        b = self.builder
        self.in_team = True
        self.team, self.count, self.threads, self.leaves = self.argument(place), b.alloca("i64"), b.alloca("i64"), b.label()
        self.base = b.emit(f"getelementptr i8, ptr {self.team}, i64 {BASE}")
        self.barrier = b.fresh(f"load ptr, ptr {b.emit(f'getelementptr i8, ptr {self.team}, i64 {BARRIER_PLACE}')}")
        b.do(f"store i64 {b.fresh(f'load i64, ptr {self.base}')}, ptr {self.count}")
        b.do(f"store i64 %threads, ptr {self.threads}")
        self.is_first = b.fresh("icmp eq i64 %thread, 0")

    def _meet(self) -> None:
        """A barrier. Who takes no part in what follows returns at once, and touches nothing of the call any more."""
        b = self.builder
        threads = b.fresh(f"load i64, ptr {self.threads}")
        left = b.fresh(f"call i64 {self.barrier}(ptr {self.team}, i64 %thread, i64 {threads}, ptr {self.count})")
        b.do(f"store i64 {left}, ptr {self.threads}")
        stays = b.label()
        b.do(f"br i1 {b.fresh(f'icmp ult i64 %thread, {left}')}, label %{stays}, label %{self.leaves}")
        before = b.remembered()
        b.start(stays)
        b.restore(before)

    def leave_team(self) -> None:
        """Whoever ran alone passed no barriers, and has no say in where a team at work counts from."""
        b = self.builder
        self._when(
            b.emit(f"and i1 {self.is_first}, {b.emit('icmp ugt i64 %threads, 1')}"),
            lambda: b.do(f"store i64 {b.fresh(f'load i64, ptr {self.count}')}, ptr {self.base}"),
        )
        b.do(f"br label %{self.leaves}")
        b.start(self.leaves)
        b.do("ret i1 false")
        if self.stopped:
            # Nobody waits for a thread that has passed all barriers there can be.
            b.start(self.stopped)
            count = b.fresh(f"getelementptr i8, ptr {self.team}, i64 {b.fresh(f'mul i64 %thread, {PER_THREAD}')}")
            count = b.fresh(f"getelementptr i8, ptr {count}, i64 {HEADER + COUNT}")
            among = b.fresh("icmp ugt i64 %threads, 1")
            self._when(among, lambda: b.do(f"store atomic i64 {NEVER}, ptr {count} release, align 8"))
            b.do("ret i1 true")

    def end(self) -> None:
        """Return, from a function that hands nothing back."""
        self.builder.do("ret void")
        if self.stopped:
            self.builder.start(self.stopped)
            self.builder.do("ret void")

    def _when(self, condition: str, emit: Callable[[], None]) -> None:
        b = self.builder
        inside, after = b.label(), b.label()
        b.do(f"br i1 {condition}, label %{inside}, label %{after}")
        before = b.remembered()
        b.start(inside)
        emit()
        b.do(f"br label %{after}")
        b.restore(before)
        b.start(after)

    # Statements.

    def body(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, For):
                self._for(statement)
            elif isinstance(statement, Let):
                self.scope[statement.variable.name] = self.value(statement.value)
            elif isinstance(statement, Store):
                self.store(statement)
            elif isinstance(statement, CheckIndex):
                self._check(statement)
            elif isinstance(statement, Kernel):
                self._call(statement)
            elif isinstance(statement, If):
                self._if(statement)
            elif isinstance(statement, Prefetch):
                self.prefetch(statement)
            elif isinstance(statement, Barrier):
                self._meet()
            elif isinstance(statement, Leave):
                self._leave()
            else:
                assert isinstance(statement, While)
                self._while(statement)

    def _for(self, loop: For) -> None:
        if loop.kind == "unrolled":
            self._unrolled(loop)
        elif loop.kind == "abreast":
            marks = self._unrolled(loop)
            for first, size, count in reversed(blocks(len(marks), _ABREAST)):
                for place in reversed(range(first, first + size * count, size)):
                    self.builder.take_turns(marks[place : place + size])
        elif loop.kind == "vector":
            assert loop.start == 0 and loop.step == 1 and not self.lane, "vector loops are innermost and start at 0"
            self.lane, self.lanes, self.used = loop.variable, loop.lanes, loop.stop
            self.interleaved = self._interleaved(loop)
            self.body(loop.body)
            self.lane, self.lanes, self.used, self.interleaved = "", 0, 0, None
        elif loop.kind == "parallel":
            self._parallel(loop)
        elif loop.stop > loop.start:
            self._serial(loop)

    def _interleaved(self, loop: For) -> Interleaved | None:
        if loop.stop != loop.lanes:
            return None
        if id(loop) not in self._interleaved_of:
            self._interleaved_of[id(loop)] = Interleaved(loop.body, loop.variable, self.module.key)
        return self._interleaved_of[id(loop)]

    def _unrolled(self, loop: For) -> list[tuple[int, int]]:
        """Where each step's instructions start and end."""
        lines, marks = self.builder.lines, []
        for step in range(loop.start, loop.stop, loop.step):
            self.scope[loop.variable] = step
            start = len(lines)
            self.body(loop.body)
            marks.append((start, len(lines)))
        return marks

    def _parallel(self, loop: For) -> None:
        """The steps of this thread: from thread * n / threads on, rounded up, to where the next one starts; the first has no fewer
        than others, since it is who goes on alone if it has to wait for them."""
        b, steps = self.builder, loop.stop - loop.start
        assert loop.start == 0 and loop.step == 1
        following = b.emit("add nuw nsw i64 %thread, 1")
        last = b.emit("sub nuw i64 %threads, 1")

        def place(thread: str) -> str:
            product = b.emit(f"mul nuw nsw i64 {thread}, {steps}")
            return b.emit(f"udiv i64 {b.emit(f'add nuw nsw i64 {product}, {last}')}, %threads")

        start, stop = place("%thread"), place(following)
        inside, after = b.label(), b.label()
        b.do(f"br i1 {b.emit(f'icmp ult i64 {start}, {stop}')}, label %{inside}, label %{after}")
        before = b.remembered()
        b.start(inside)
        self._repeat(loop, start, stop)
        b.do(f"br label %{after}")
        b.restore(before)
        b.start(after)

    def _serial(self, loop: For) -> None:
        if loop.stop - loop.start == 1:
            self.scope[loop.variable] = loop.start
            self.body(loop.body)
            return
        self._repeat(loop, str(loop.start), str(loop.stop))

    def _repeat(self, loop: For, start: str, stop: str) -> None:
        """The loop from `start` to `stop`, which is not empty."""
        b = self.builder
        assert loop.step == 1
        first, step, last = start, "1", b.emit(f"sub i64 {stop}, 1")
        if loop.turns:
            turning = self.scope[loop.turns]
            assert isinstance(turning, Operand)
            back = b.emit(f"trunc i64 {turning.name} to i1")
            first, last = b.emit(f"select i1 {back}, i64 {last}, i64 {start}"), b.emit(f"select i1 {back}, i64 {start}, i64 {last}")
            step = b.emit(f"select i1 {back}, i64 -1, i64 1")
        stretch = self.module.looks.get(id(loop), 0)
        if stretch:
            self._in_stretches(loop, first, last, stretch)
        else:
            self._steps(loop, first, step, last)

    def _in_stretches(self, loop: For, first: str, last: str, stretch: int) -> None:
        """A loop of stretches around the loop, with a look between two of them."""
        b = self.builder
        outer, look, end = b.label(), b.label(), b.label()
        before, begin = b.block, b.name()
        b.do(f"br label %{outer}")
        b.start(outer)
        place = len(b.lines)
        b.lines.append("")
        far = b.fresh(f"add i64 {begin}, {stretch - 1}")
        near = b.fresh(f"select i1 {b.fresh(f'icmp slt i64 {far}, {last}')}, i64 {far}, i64 {last}")
        variable, following = self._steps(loop, begin, "1", near)
        b.lines[place] = f"  {begin} = phi i64 [ {first}, %{before} ], [ {following}, %{look} ]"
        b.do(f"br i1 {b.fresh(f'icmp eq i64 {variable}, {last}')}, label %{end}, label %{look}")
        b.start(look)
        self._look(outer)
        b.start(end)

    def _steps(self, loop: For, first: str, step: str, last: str) -> tuple[str, str]:
        """The steps from `first` to `last`; the variable, and what the next step's would be."""
        b = self.builder
        label, end, before = b.label(), b.label(), b.block
        b.do(f"br label %{label}")
        b.start(label)
        variable = b.name()
        self.scope[loop.variable] = Operand(variable, INDEX.dtype)
        self.order[loop.variable] = len(self.order)
        place = len(b.lines)
        b.lines.append("")
        outside = b.remembered()
        self._forget(loop.body)
        self.body(loop.body)
        following = b.fresh(f"add nsw i64 {variable}, {step}")
        more = b.fresh(f"icmp ne i64 {variable}, {last}")
        b.lines[place] = f"  {variable} = phi i64 [ {first}, %{before} ], [ {following}, %{b.block} ]"
        b.do(f"br i1 {more}, label %{label}, label %{end}")
        b.start(end)
        b.restore(outside)
        self._forget(loop.body)
        return variable, following

    def _if(self, statement: If) -> None:
        b = self.builder
        condition = self.value(statement.condition)
        then, otherwise, end = b.label(), b.label(), b.label()
        b.do(f"br i1 {condition.name}, label %{then}, label %{otherwise}")
        outside = b.remembered()
        for label, body in ((then, statement.then), (otherwise, statement.otherwise)):
            b.start(label)
            self.body(body)
            b.do(f"br label %{end}")
            b.restore(dict(outside))
        b.start(end)
        self._forget([statement])

    def _while(self, statement: While) -> None:
        b = self.builder
        head, inside, end = b.label(), b.label(), b.label()
        outside = b.remembered()
        b.do(f"br label %{head}")
        b.start(head)
        self._forget([statement])
        if id(statement) in self.module.looks:
            self._count_down(self.module.looks[id(statement)])
        self.body(statement.before)
        condition = self.value(statement.condition)
        b.do(f"br i1 {condition.name}, label %{inside}, label %{end}")
        b.start(inside)
        self.body(statement.body)
        b.do(f"br label %{head}")
        b.start(end)
        b.restore(outside)
        self._forget([statement])

    # Whether to stop.

    def _stop(self) -> str:
        self.stopped = self.stopped or self.builder.label()
        return self.stopped

    def _look(self, go_on: str) -> None:
        """Look whether to stop, and go on elsewhere if not."""
        b = self.builder
        first = b.fresh("icmp eq i64 %thread, 0") if self.in_team else "true"
        stop = b.fresh(f"call i1 @irdl_look(ptr %status, i1 {first})")
        b.do(f"br i1 {stop}, label %{self._stop()}, label %{go_on}")

    def _leave(self) -> None:
        """Whoever goes on knows that nothing has failed: all have come here before."""
        if self.in_team:
            self._meet()
        b, go_on = self.builder, self.builder.label()
        place = b.fresh(f"getelementptr i64, ptr %status, i64 {FAILED}")
        failed = b.fresh(f"load atomic i64, ptr {place} monotonic, align 8" if self.in_team else f"load i64, ptr {place}")
        b.do(f"br i1 {b.fresh(f'icmp eq i64 {failed}, 0')}, label %{go_on}, label %{self._stop()}")
        b.start(go_on)

    def _count_down(self, steps: int) -> None:
        """Look each time that so many steps have come by here."""
        b = self.builder
        count = b.alloca("i64")
        b.allocas.append(f"  store i64 {steps}, ptr {count}")
        left = b.fresh(f"sub i64 {b.fresh(f'load i64, ptr {count}')}, 1")
        b.do(f"store i64 {left}, ptr {count}")
        look, go_on = b.label(), b.label()
        b.do(f"br i1 {b.fresh(f'icmp sgt i64 {left}, 0')}, label %{go_on}, label %{look}")
        b.start(look)
        b.do(f"store i64 {steps}, ptr {count}")
        self._look(go_on)
        b.start(go_on)

    def _forget(self, body: Sequence[Statement]) -> None:
        """Loads of what `body` stores to are not shared across this point."""
        for statement in walk(body):
            if isinstance(statement, Store):
                self.touch(statement.buffer)

    def _call(self, kernel: Kernel) -> None:
        buffers, variables = free(kernel)
        name, starts = self.module.kernel(kernel, buffers, variables)
        arguments = [f"ptr {self.pointer(buffer, starts.get(buffer, 0))}" for buffer in buffers]
        for variable in variables:
            value = self.scope[variable]
            arguments.append(f"i64 {value if isinstance(value, int) else value.name}")
        arguments.append("ptr %status")
        if is_parallel(kernel):
            arguments += ["i64 %thread", f"i64 {self.builder.fresh(f'load i64, ptr {self.threads}')}"]
        call = f"call void @{name}({', '.join(arguments)})"
        if self.module.program.threads == 1 or is_parallel(kernel):
            self.builder.do(call)
        else:
            self._when(self.is_first, lambda: self.builder.do(call))
        for buffer in buffers:
            self.touch(buffer)
        if any(id(statement) in self.module.looks for statement in walk(kernel.body)):
            b, go_on = self.builder, self.builder.label()
            place = b.fresh(f"getelementptr i64, ptr %status, i64 {STOPPED}")
            stop = b.fresh(f"load atomic i64, ptr {place} monotonic, align 8")
            b.do(f"br i1 {b.fresh(f'icmp eq i64 {stop}, 0')}, label %{go_on}, label %{self._stop()}")
            b.start(go_on)

    def _check(self, statement: CheckIndex) -> None:
        """A call reports what is out of range; whatever is inside needs none."""
        b = self.builder
        given = self.cast(self.value(statement.value), INDEX.dtype)
        kind, extent = given.kind, given.kind.constant(statement.extent)
        negative = b.compare(kind, "slt", given.name, kind.constant(0))
        index = b.select(kind, negative, b.binary(kind, "add", given.name, extent), given.name)
        outside = b.compare(kind, "uge", index, extent)
        any_outside = outside
        if given.lanes:
            flags = kind.with_dtype(np.bool_)
            if self.used != self.lanes:
                outside = b.binary(flags, "and", outside, self._mask())
            packed = b.emit(f"bitcast {flags.text} {outside} to i{given.lanes}")
            any_outside = b.emit(f"icmp ne i{given.lanes} {packed}, 0")

        def report() -> None:
            for lane in range(self.used) if given.lanes else [0]:
                one = b.emit(f"extractelement {kind.text} {given.name}, i64 {lane}") if given.lanes else given.name
                b.do(f"call void @irdl_check(i64 {one}, i64 {statement.extent}, i64 {statement.code}, ptr %status)")

        b.detour(any_outside, report)
        inside = b.select(kind, outside, kind.constant(0), index)
        self.scope[statement.variable.name] = Operand(inside, INDEX.dtype, given.lanes)
