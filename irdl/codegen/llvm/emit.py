"""Program -> LLVM IR. Each kernel becomes a function of the buffers and loop variables it uses; the program's own
statements become `irdl_main(arguments, arena, status)`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from irdl.codegen.llvm.values import INDEX, Operand, Values
from irdl.ir.program import (
    Buffer,
    CheckIndex,
    For,
    If,
    IndexValue,
    Kernel,
    Let,
    Load,
    Program,
    Statement,
    Store,
    While,
    expressions,
    subexpressions,
    walk,
)
from irdl.passes.target import Target

ENTRY = "irdl_main"
_CHECK = """
define internal i64 @irdl_check(i64 %value, i64 %extent, i64 %code, ptr %status) nounwind {
entry:
  %negative = icmp slt i64 %value, 0
  %wrapped = add i64 %value, %extent
  %index = select i1 %negative, i64 %wrapped, i64 %value
  %inside = icmp ult i64 %index, %extent
  br i1 %inside, label %good, label %bad
good:
  ret i64 %index
bad:
  %seen = load i64, ptr %status
  %first = icmp eq i64 %seen, 0
  br i1 %first, label %record, label %done
record:
  store i64 1, ptr %status
  %p1 = getelementptr i64, ptr %status, i64 1
  store i64 %value, ptr %p1
  %p2 = getelementptr i64, ptr %status, i64 2
  store i64 %code, ptr %p2
  br label %done
done:
  ret i64 0
}
"""


def emit_program(program: Program, target: Target, aliased: Iterable[tuple[Buffer, Buffer]] = ()) -> str:
    """The module's text. `aliased` pairs buffers that share memory (a donated input and its output)."""
    module = Module(program, target, aliased)
    return module.text()


class Module:
    """The text of a whole program: its kernels, its main function, and what they declare."""

    def __init__(self, program: Program, target: Target, aliased: Iterable[tuple[Buffer, Buffer]]) -> None:
        self.program = program
        self.target = target
        self.functions: list[str] = []
        self.declarations: set[str] = set()
        self.same: dict[Buffer, Buffer] = {}
        for first, second in aliased:
            self.same[second] = self.same.get(first, first)

    def key(self, buffer: Buffer) -> Buffer:
        """What stands for the memory of a buffer, where several share it."""
        return self.same.get(buffer, buffer)

    def text(self) -> str:
        main = _Function(self, in_kernel=False)
        b = main.builder
        program = self.program
        places = [*program.inputs, *program.outputs, *(buffer for buffer, _ in program.constants)]
        for place, buffer in enumerate(places):
            slot = b.emit(f"getelementptr ptr, ptr %arguments, i64 {place}")
            main.pointers[buffer] = b.emit(f"load ptr, ptr {slot}, align 8")
        main.body(program.body)
        b.do("ret void")
        header = f"define void @{ENTRY}(ptr %arguments, ptr %arena, ptr %status) nounwind"
        self.functions.append(b.text(header))
        self.declarations |= b.declarations
        return _CHECK + "\n".join([*self.functions, *sorted(self.declarations)]) + "\n"

    def kernel(self, kernel: Kernel, buffers: Sequence[Buffer], variables: Sequence[str]) -> None:
        function = _Function(self, in_kernel=True)
        parameters = []
        keys = [self.key(buffer) for buffer in buffers]
        for place, buffer in enumerate(buffers):
            name = f"%p{place}"
            function.pointers[buffer] = name
            noalias = " noalias" if keys.count(self.key(buffer)) == 1 and buffer.space != "input" else ""
            parameters.append(f"ptr{noalias} {name}")
        for place, variable in enumerate(variables):
            function.scope[variable] = Operand(f"%i{place}", INDEX.dtype)
            parameters.append(f"i64 %i{place}")
        function.body(kernel.body)
        function.builder.do("ret void")
        header = f"define internal void @{kernel.name}({', '.join([*parameters, 'ptr %status'])}) nounwind noinline"
        self.functions.append(function.builder.text(header))
        self.declarations |= function.builder.declarations


class _Function(Values):
    """One function: statements in, instructions out."""

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
            else:
                assert isinstance(statement, While)
                self._while(statement)

    def _for(self, loop: For) -> None:
        if loop.kind == "unrolled":
            for step in range(loop.start, loop.stop, loop.step):
                self.scope[loop.variable] = step
                self.body(loop.body)
        elif loop.kind == "vector":
            assert loop.start == 0 and loop.step == 1 and not self.lane, "vector loops are innermost and start at 0"
            self.lane, self.lanes, self.used = loop.variable, loop.lanes, loop.stop
            self.body(loop.body)
            self.lane, self.lanes, self.used = "", 0, 0
        elif loop.stop > loop.start:
            self._serial(loop)

    def _serial(self, loop: For) -> None:
        b = self.builder
        if loop.stop - loop.start <= loop.step:
            self.scope[loop.variable] = loop.start
            self.body(loop.body)
            return
        label, end = b.label(), b.label()
        before = b.block
        b.do(f"br label %{label}")
        b.start(label)
        variable = b.name()
        self.scope[loop.variable] = Operand(variable, INDEX.dtype)
        self.order[loop.variable] = len(self.order)
        place = len(b.lines)
        b.lines.append("")
        outside = b.known()
        self._forget(loop.body)
        self.body(loop.body)
        following = b.fresh(f"add nuw nsw i64 {variable}, {loop.step}")
        more = b.fresh(f"icmp ult i64 {following}, {loop.stop}")
        b.lines[place] = f"  {variable} = phi i64 [ {loop.start}, %{before} ], [ {following}, %{b.block} ]"
        b.do(f"br i1 {more}, label %{label}, label %{end}")
        b.start(end)
        b.restore(outside)
        self._forget(loop.body)

    def _if(self, statement: If) -> None:
        b = self.builder
        condition = self.value(statement.condition)
        then, otherwise, end = b.label(), b.label(), b.label()
        b.do(f"br i1 {condition.name}, label %{then}, label %{otherwise}")
        outside = b.known()
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
        outside = b.known()
        b.do(f"br label %{head}")
        b.start(head)
        self._forget([statement])
        self.body(statement.before)
        condition = self.value(statement.condition)
        b.do(f"br i1 {condition.name}, label %{inside}, label %{end}")
        b.start(inside)
        self.body(statement.body)
        b.do(f"br label %{head}")
        b.start(end)
        b.restore(outside)
        self._forget([statement])

    def _forget(self, body: Sequence[Statement]) -> None:
        """Loads of what `body` stores to are not shared across this point."""
        for statement in walk(body):
            if isinstance(statement, Store):
                self.touch(statement.buffer)

    def _call(self, kernel: Kernel) -> None:
        buffers, variables = _free(kernel)
        self.module.kernel(kernel, buffers, variables)
        arguments = [f"ptr {self.pointer(buffer)}" for buffer in buffers]
        for variable in variables:
            value = self.scope[variable]
            arguments.append(f"i64 {value if isinstance(value, int) else value.name}")
        self.builder.do(f"call void @{kernel.name}({', '.join([*arguments, 'ptr %status'])})")
        for buffer in buffers:
            self.touch(buffer)

    def _check(self, statement: CheckIndex) -> None:
        b = self.builder
        value = self.value(statement.value)
        wide = self.cast(value, INDEX.dtype)

        def one(name: str) -> str:
            return b.fresh(f"call i64 @irdl_check(i64 {name}, i64 {statement.extent}, i64 {statement.code}, ptr %status)")

        if not wide.lanes:
            self.scope[statement.variable.name] = Operand(one(wide.name), INDEX.dtype)
            return
        result, kind = "zeroinitializer", wide.kind
        for lane in range(self.used):
            checked = one(b.emit(f"extractelement {kind.text} {wide.name}, i64 {lane}"))
            result = b.emit(f"insertelement {kind.text} {result}, i64 {checked}, i64 {lane}")
        self.scope[statement.variable.name] = Operand(result, INDEX.dtype, wide.lanes)


def _free(kernel: Kernel) -> tuple[list[Buffer], list[str]]:
    """The buffers a kernel uses (registers aside), and the loop variables it takes from outside."""
    buffers: dict[Buffer, None] = {}
    bound: set[str] = set()
    used: dict[str, None] = {}
    for statement in walk(kernel.body):
        if isinstance(statement, For):
            bound.add(statement.variable)
        elif isinstance(statement, (Let, CheckIndex)):
            bound.add(statement.variable.name)
        if isinstance(statement, Store):
            buffers.setdefault(statement.buffer)
            used.update(dict.fromkeys(name for name, _ in statement.index.terms))
        for expression in expressions(statement):
            for item in subexpressions(expression):
                if isinstance(item, Load):
                    buffers.setdefault(item.buffer)
                if isinstance(item, (Load, IndexValue)):
                    used.update(dict.fromkeys(name for name, _ in item.index.terms))
    return [b for b in buffers if b.space != "register"], [name for name in used if name not in bound]
