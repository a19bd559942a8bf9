"""Program -> LLVM IR. Each kernel becomes a function of the buffers and loop variables it uses; the program's own
statements become `irdl_main(arguments, arena, status)`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from irdl.codegen.cpu.llvm.function import Function
from irdl.codegen.cpu.llvm.ir_builder import IRBuilder
from irdl.codegen.cpu.llvm.status import LOOK, check_text, looks
from irdl.codegen.cpu.llvm.team import MOST_PATIENCE, patience
from irdl.codegen.cpu.llvm.trust import account_of
from irdl.codegen.cpu.llvm.values import INDEX, Operand
from irdl.codegen.shared import Form
from irdl.loops.expressions import Buffer
from irdl.loops.language import Kernel, Program
from irdl.loops.target import Target
from irdl.loops.walk import is_parallel

ENTRY = "irdl_main"


def emit_program(program: Program, target: Target, stops: bool = True, linkage: str = "") -> str:
    """The module's text. `stops`: whether long loops look whether to stop; `linkage`: of its entry, in LLVM's words."""
    return Module(program, target, stops).text(linkage)


class Module:
    """The text of a whole program: its kernels, its main function, and what they declare."""

    def __init__(self, program: Program, target: Target, stops: bool) -> None:
        self.program = program
        self.target = target
        self.functions: list[str] = []
        self.declarations: set[str] = set()
        #: the functions there are, by what they do
        self.forms: dict[Hashable, str] = {}
        self.same: dict[Buffer, Buffer] = {}
        #: loops that look whether to stop, by identity -> steps between two looks
        self.looks = looks(program.body) if stops else {}
        for first, second in program.aliased:
            self.same[second] = self.same.get(first, first)

    def key(self, buffer: Buffer) -> Buffer:
        """What stands for the memory of a buffer, where several share it."""
        return self.same.get(buffer, buffer)

    def text(self, linkage: str = "") -> str:
        main = Function(self, in_kernel=False)
        b = main.builder
        program = self.program
        alone = program.threads == 1
        if not alone:
            for place, name in enumerate(("arguments", "arena", "status")):
                slot = b.emit(f"getelementptr ptr, ptr %job, i64 {place}")
                b.do(f"%{name} = load ptr, ptr {slot}, align 8")
        places = [*program.inputs, *program.outputs, *(buffer for buffer, _ in program.constants)]
        for place, buffer in enumerate(places):
            main.pointers[buffer] = main.argument(place)
        if not alone:
            main.enter_team(len(places))
        main.body(program.body)
        if alone:
            main.end()
        else:
            main.leave_team()
        entry = f"{linkage}void @{ENTRY}(ptr %arguments, ptr %arena, ptr %status) nounwind"
        self.functions.append(
            b.text(f"define {entry}" if alone else "define internal i1 @irdl_team(ptr %job, i64 %thread, i64 %threads) nounwind")
        )
        self.declarations |= b.declarations
        if not alone:
            self.functions.append(_start_team(entry, len(places), patience(program.work)))
        return check_text(alone) + (LOOK if self.looks else "") + "\n".join([*self.functions, *sorted(self.declarations)]) + "\n"

    def kernel(self, kernel: Kernel, buffers: Sequence[Buffer], variables: Sequence[str]) -> tuple[str, dict[Buffer, int]]:
        """The name of the function that does what the kernel does, and where in each buffer its pointers start."""
        form = Form(kernel, buffers, variables, {buffer: self.key(buffer) for buffer in buffers})
        if form.key in self.forms:
            return self.forms[form.key], form.starts
        self.forms[form.key] = kernel.name
        function = Function(self, in_kernel=True)
        function.starts = form.starts
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
        function.in_team = is_parallel(kernel)
        function.body(kernel.body)
        function.end()
        parameters.append("ptr %status")
        if function.in_team:
            parameters += ["i64 %thread", "i64 %threads"]
        header = f"define internal void @{kernel.name}({', '.join(parameters)}) nounwind noinline"
        self.functions.append(function.builder.text(header))
        self.declarations |= function.builder.declarations
        return kernel.name, form.starts


def _start_team(entry: str, places: int, patience: int) -> str:
    """The entry point of a program for several threads: its team's address follows the other arguments."""
    b = IRBuilder()
    job = b.alloca("[3 x ptr]")
    for place, name in enumerate(("arguments", "arena", "status")):
        b.do(f"store ptr %{name}, ptr {b.emit(f'getelementptr ptr, ptr {job}, i64 {place}')}")
    team = b.emit(f"load ptr, ptr {b.emit(f'getelementptr ptr, ptr %arguments, i64 {places}')}")
    run = b.emit(f"load ptr, ptr {team}")
    b.do(f"call void {run}(ptr {team}, ptr @irdl_team, ptr {job}, i64 {patience}, ptr @irdl_account)")
    b.do("ret void")
    return f"@irdl_account = internal global {account_of(patience == MOST_PATIENCE)}\n" + b.text(f"define {entry}")
