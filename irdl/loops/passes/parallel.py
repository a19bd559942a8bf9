"""Threads: which loops of a program's kernels are divided among them.

A loop may be divided where different steps touch different elements of everything the kernel writes (see `dependence`); which one is,
follows from how evenly it divides and from what threads would have to read of each other's results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from irdl.loops.cost import cycles
from irdl.loops.dependence import is_divisible, loop_extents, path
from irdl.loops.expressions import Buffer, Load
from irdl.loops.language import CheckIndex, For, Kernel, Let, Program, Statement, Store
from irdl.loops.target import Target, Worth
from irdl.loops.walk import buffers_of, expressions, is_parallel, kernels, subexpressions, walk

#: What it costs, as a share of the time, to read what the other threads have just written.
_PRICE_OF_EXCHANGE = 0.08


def parallelise(program: Program, target: Target) -> Program:
    """Divide the kernels of a program among the target's threads, in place. It needs barriers then."""
    if target.threads < 2:
        return program
    divided: list[For] = []
    work = 0.0
    for kernel, times, around in kernels(program.body):
        size = cycles(kernel.body)
        if size >= target.worth.kernel:
            loops = _divisible(kernel, target.threads, _written(around[-1].body) if around else set(), target.worth)
            divided += loops
            work += times * size if loops else 0
    if work < target.worth.program:
        return program
    for loop in divided:
        loop.kind = "parallel"
    for kernel, _, _ in kernels(program.body):
        if is_parallel(kernel):
            kernel.body = [_one_thread(statement) for statement in kernel.body]
    program.threads, program.work = target.threads, work
    return program


def _written(body: Sequence[Statement]) -> set[Buffer]:
    return {s.buffer for s in walk(body) if isinstance(s, Store) and s.buffer.space != "register"}


def _one_thread(statement: Statement) -> Statement:
    """Of a divided kernel, what is not divided itself is one thread's work; bindings are everyone's."""
    if isinstance(statement, (Let, CheckIndex)) or any(isinstance(s, For) and s.kind == "parallel" for s in walk([statement])):
        return statement
    return For(f"{_first_variable(statement)}_once", 0, 1, 1, "parallel", [statement])


def _first_variable(statement: Statement) -> str:
    return statement.variable if isinstance(statement, For) else "step"


# Which loops can be divided.


def _divisible(kernel: Kernel, threads: int, exchanged: set[Buffer], worth: Worth) -> list[For]:
    """The loops to divide, one for each statement of the kernel that is worth it; none if the kernel has to stay whole. What is little of it
    and cannot be divided, as a rest of columns, is one thread's.

    `exchanged`: what the loop around the kernel writes. A division where each thread reads of it only its own part is better.
    """
    nests = [statement for statement in kernel.body if not isinstance(statement, (Let, CheckIndex))]
    if len(nests) > 1 and not kernel.independent:
        return []
    extents, size = loop_extents(kernel), cycles(kernel.body)
    chosen: list[For] = []
    for nest in nests:
        if cycles([nest]) < worth.kernel / 4:
            if _uses_registers(nest, kernel):
                return []
            continue
        best: tuple[float, For] | None = None
        for loop in path(nest):
            # The share of the threads' time that is used; outer loops win ties.
            steps = loop.stop - loop.start
            use = steps / (threads * math.ceil(steps / threads))
            if _reads_all(loop, exchanged):
                use -= _PRICE_OF_EXCHANGE
            if (best is None or use > best[0] * 1.08) and steps > 1 and is_divisible(kernel, nest, loop, extents):
                best = (use, loop)
        if best is not None and best[0] >= worth.share:
            chosen.append(best[1])
        elif cycles([nest]) * 4 * threads > size or _uses_registers(nest, kernel):
            return []
    return chosen


def _reads_all(loop: For, buffers: set[Buffer]) -> bool:
    """Every step of the loop reads the same part of one of the buffers."""
    for statement in walk(loop.body):
        for expression in expressions(statement):
            for item in subexpressions(expression):
                if isinstance(item, Load) and item.buffer in buffers and not item.index.coefficient(loop.variable):
                    return True
    return False


def _uses_registers(nest: Statement, kernel: Kernel) -> bool:
    """The nest shares a register tile with the rest of the kernel."""
    inside = {b for s in walk([nest]) for b in buffers_of(s) if b.space == "register"}
    outside = {b for other in kernel.body if other is not nest for s in walk([other]) for b in buffers_of(s)}
    return bool(inside & outside)
