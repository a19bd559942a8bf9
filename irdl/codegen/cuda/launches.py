"""A program as launches: where all threads would have to meet outside of loops, one launch ends and the next begins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from irdl.codegen.cuda.block_memory import shared_bytes
from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.loops.expressions import Load
from irdl.loops.language import Barrier, CheckIndex, For, Kernel, Launch, Let, Program, Statement, Store
from irdl.loops.rewrite import Names
from irdl.loops.target import Gpu
from irdl.loops.walk import bound_nest, buffers_of, expressions, nested, subexpressions, walk

#: Blocks of a multiprocessor over which the steps of a nest over the whole grid are spread; each takes several then.
_BLOCKS_AT_WORK = 8


def make_launches(program: Program, target: Gpu) -> Program:
    """Cut a program with barriers into launches, in place."""
    names = Names(program)
    taken: set[str] = set()
    result: list[Launch] = []
    run: list[Statement] = []

    def launch(body: list[Statement], cooperative: bool = False, exact: bool = False) -> None:
        if body:
            blocks, threads = _shape(body, target)
            name = _name(body)
            name = names(name + "_") if name in taken else name
            result.append(Launch(name, blocks, threads, body, shared_bytes(body), cooperative, exact))
            taken.add(name)

    for statement in program.body:
        if isinstance(statement, Launch):
            launch(run)
            run = []
            launch(statement.body, statement.cooperative, statement.exact)
            continue
        for piece in _pieces(statement):
            if isinstance(piece, Barrier):
                launch(run)
                run = []
            elif any(isinstance(s, Barrier) and s.scope == "all" for s in walk([piece])):
                launch(run)
                launch([piece], cooperative=True)
                run = []
            else:
                run.append(piece)
    launch(run)
    program.body = list(result)
    return program


def _pieces(statement: Statement) -> Iterator[Statement]:
    """A kernel cut where all threads have to meet, if what its bindings read stays as it is."""
    if not isinstance(statement, Kernel):
        yield statement
        return
    bindings = [s for s in statement.body if isinstance(s, (Let, CheckIndex))]
    read = {item.buffer for s in bindings for e in expressions(s) for item in subexpressions(e) if isinstance(item, Load)}
    if any(isinstance(s, Store) and s.buffer in read for s in walk(statement.body)):
        yield statement
        return
    before: list[Statement] = []
    piece: list[Statement] = []
    for inner in statement.body:
        if isinstance(inner, Barrier) and inner.scope == "all":
            if piece:
                yield Kernel(statement.name, [*before, *piece], statement.independent, statement.where)
            yield inner
            before += [s for s in piece if s in bindings]
            piece = []
        else:
            piece.append(inner)
    yield Kernel(statement.name, [*before, *piece], statement.independent, statement.where)


def _name(body: Sequence[Statement]) -> str:
    """After the kernel that does most."""
    if not all(isinstance(statement, Kernel) for statement in body):
        return "loop"
    kernels = [s for s in walk(body) if isinstance(s, Kernel)]
    heaviest = max(kernels, key=lambda kernel: any(b.space in ("register", "shared") for s in walk(kernel.body) for b in buffers_of(s)))
    return heaviest.name


def _shape(body: Sequence[Statement], gpu: Gpu) -> tuple[int, int]:
    """How many blocks have work, and the threads of each."""
    nests = list(_nests(body))
    threads = WARP
    for nest in nests:
        steps = math.prod(loop.stop for loop in nest)
        if nest[0].kind == "grid":
            threads = max(threads, min(WARPS * WARP, -(-steps // WARP) * WARP))
        elif nest[0].kind == "warp":
            threads = max(threads, WARP * min(WARPS, steps))
    blocks = 1
    for nest in nests:
        steps = math.prod(loop.stop for loop in nest)
        if nest[0].kind == "grid":
            blocks = max(blocks, min(gpu.multiprocessors * _BLOCKS_AT_WORK, -(-steps // threads)))
        elif nest[0].kind == "block":
            blocks = max(blocks, steps)
    return min(blocks, 2**31 - 1), threads


def _nests(body: Sequence[Statement]) -> Iterator[list[For]]:
    """The bound nests, outer ones first."""
    for statement in body:
        if isinstance(statement, For) and statement.kind in ("grid", "block", "warp"):
            nest = bound_nest(statement)
            yield nest
            yield from _nests(nest[-1].body)
        else:
            for part in nested(statement):
                yield from _nests(part)
