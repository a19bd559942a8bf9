"""Program -> text, all of it: `parse_program` reads it back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irdl.ir.dtypes import short_name
from irdl.ir.printer import fits_in_text, format_array, format_number
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Variable
from irdl.loops.language import (
    Barrier,
    CheckIndex,
    Commit,
    Copy,
    For,
    If,
    Kernel,
    Launch,
    Leave,
    Let,
    LoadMatrices,
    Multiply,
    Prefetch,
    Program,
    Statement,
    Store,
    Wait,
    While,
)
from irdl.loops.walk import buffers_of, walk


def print_program(program: Program) -> str:
    """The program as text, one statement a line. Constants too large for it are named `@0`, `@1`, ... in their order."""
    threads = f" threads={program.threads} work={float(program.work)!r}" if program.threads > 1 else ""
    lines = [f"program {program.name} arena={program.arena_bytes}{threads} {{"]
    for label, buffers in (("input", program.inputs), ("output", program.outputs)):
        lines += [f"  {label} {_declared(buffer)}" for buffer in buffers]
    large = 0
    for buffer, array in program.constants:
        if fits_in_text(array):
            lines.append(f"  constant {_declared(buffer)} = {format_array(array)}")
        else:
            lines.append(f"  constant {_declared(buffer)} = @{large}")
            large += 1
    for buffer in _buffers(program.body, "arena"):
        depth = f" depth {buffer.depth}" if buffer.depth else ""
        lines.append(f"  arena {_declared(buffer)} at {buffer.offset}{depth}")
    lines += [f"  alias {first.name} {second.name}" for first, second in program.aliased]
    for axis, extent, where, raises in program.checks:
        lines.append(f'  check axis {axis} of {extent} "{where}"' + (f' raises "{raises}"' if raises else ""))
    _print_body(program.body, "  ", lines)
    lines.append("}")
    return "\n".join(lines) + "\n"


def large_constants(program: Program) -> list[np.ndarray]:
    """The constants too large for the text."""
    return [array for _, array in program.constants if not fits_in_text(array)]


def _declared(buffer: Buffer) -> str:
    return f"{buffer.name}: {short_name(buffer.dtype)}[{buffer.size}]"


def _buffers(body: Sequence[Statement], space: str) -> list[Buffer]:
    """Those of one space, in the order in which they are met."""
    return list(dict.fromkeys(b for statement in walk(body) for b in buffers_of(statement) if b.space == space))


def _print_body(body: Sequence[Statement], indent: str, lines: list[str]) -> None:
    for statement in body:
        if isinstance(statement, For):
            step = f":{statement.step}" if statement.step != 1 else ""
            kind = "" if statement.kind == "serial" else f" {statement.kind}"
            kind += f" of {statement.lanes}" if statement.lanes else ""
            kind += f" turning with {statement.turns}" if statement.turns else ""
            lines.append(f"{indent}for {statement.variable} in {statement.start}:{statement.stop}{step}{kind} {{")
            _print_body(statement.body, indent + "  ", lines)
            lines.append(indent + "}")
        elif isinstance(statement, Let):
            lines.append(f"{indent}let {statement.variable.name} = {format_expression(statement.value)}")
        elif isinstance(statement, Store):
            lines.append(f"{indent}{statement.buffer.name}[{statement.index}] = {format_expression(statement.value)}")
        elif isinstance(statement, CheckIndex):
            value = format_expression(statement.value)
            lines.append(f"{indent}let {statement.variable.name} = check {value} in {statement.extent} code {statement.code}")
        elif isinstance(statement, If):
            lines.append(f"{indent}if {format_expression(statement.condition)} {{")
            _print_body(statement.then, indent + "  ", lines)
            lines.append(indent + "} else {")
            _print_body(statement.otherwise, indent + "  ", lines)
            lines.append(indent + "}")
        elif isinstance(statement, While):
            lines.append(indent + "while {")
            _print_body(statement.before, indent + "  ", lines)
            lines.append(f"{indent}  test {format_expression(statement.condition)}")
            lines.append(indent + "} {")
            _print_body(statement.body, indent + "  ", lines)
            lines.append(indent + "}")
        elif isinstance(statement, Barrier):
            scope = f"{statement.blocks} blocks" if statement.scope == "blocks" else statement.scope
            lines.append(indent + ("barrier" if scope == "all" else f"barrier of {scope}"))
        elif isinstance(statement, Leave):
            lines.append(indent + "leave where a check failed")
        elif isinstance(statement, Prefetch):
            lines.append(f"{indent}prefetch {statement.buffer.name}[{statement.index}] to {'write' if statement.write else 'read'}")
        elif isinstance(statement, Multiply):
            total, left, right = (f"{buffer.name}[{index}]" for _, buffer, index in statement.operands)
            lines.append(f"{indent}multiply {statement.instruction.name} {total} += {left} @ {right}")
        elif isinstance(statement, (Copy, LoadMatrices)):
            lines.append(indent + _format_move(statement))
        elif isinstance(statement, Commit):
            lines.append(indent + "commit copies")
        elif isinstance(statement, Wait):
            lines.append(f"{indent}wait for copies but {statement.pending}")
        elif isinstance(statement, Launch):
            shape = f"blocks={statement.blocks} threads={statement.threads} shared={statement.shared_bytes}"
            lines.append(
                f"{indent}launch {statement.name} {shape}{' cooperative' if statement.cooperative else ''}{' exact' if statement.exact else ''} {{"
            )
            _print_body(statement.body, indent + "  ", lines)
            lines.append(indent + "}")
        else:
            assert isinstance(statement, Kernel)
            where = f' "{statement.where}"' if statement.where else ""
            lines.append(f"{indent}kernel {statement.name}{' independent' if statement.independent else ''}{where} {{")
            for space in ("register", "shared"):
                for buffer in _buffers(statement.body, space):
                    where = f" at {buffer.offset}" if space == "shared" else ""
                    copies = f" of {buffer.copies}" if buffer.copies > 1 else ""
                    lines.append(f"{indent}  {space} {_declared(buffer)}{where}{copies}")
            _print_body(statement.body, indent + "  ", lines)
            lines.append(indent + "}")


def _format_move(statement: Copy | LoadMatrices) -> str:
    to, source = f"{statement.buffer.name}[{statement.index}]", f"{statement.source.name}[{statement.source_index}]"
    if isinstance(statement, Copy):
        return f"copy {statement.count} of {source} to {to}"
    steps = " ".join(map(str, statement.steps))
    return f"load matrices {to} = {source} lines {statement.line} steps {steps}{' transposed' if statement.transposed else ''}"


def format_expression(expression: Expression) -> str:
    if isinstance(expression, Literal):
        number = format_number(expression.value)
        return number if expression.dtype == np.bool_ else number + short_name(expression.dtype)
    if isinstance(expression, Variable):
        return expression.name
    if isinstance(expression, IndexValue):
        return f"index({expression.index})"
    if isinstance(expression, Load):
        return f"{expression.buffer.name}[{expression.index}]"
    suffix = f".{short_name(expression.dtype)}" if expression.name == "cast" else ""
    return f"{expression.name}{suffix}({', '.join(format_expression(a) for a in expression.arguments)})"
