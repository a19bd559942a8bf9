"""Kernels that walk the same rows become one: each row goes through all of them while it is in the cache, and what only they
pass on to each other needs no more memory than one row.

    for i { max[i] = .. x[i, j] }  for i { for j { e[i, j] = exp(x[i, j] - max[i]) } }  for i { sum[i] = .. e[i, j] }
    -> for i { max[i] = ..; for j { e[j] = .. }; sum[i] = .. }
"""

from __future__ import annotations

from collections.abc import Sequence

from irdl.loops.dependence import Extents, is_divisible, loop_extents
from irdl.loops.expressions import Buffer, Expression, Load
from irdl.loops.index import Index
from irdl.loops.language import For, Kernel, Prefetch, Program, Statement, Store, While
from irdl.loops.rewrite import Names, rewrite, substitute
from irdl.loops.target import Target
from irdl.loops.walk import buffers_of, expressions, nested, subexpressions, walk

#: Statements of a merged kernel, so that one function stays small.
_LIMIT = 400
#: Fewer rows than this for each thread are not worth it.
_ROWS = 4
#: Of the nearest cache, for the rows that go through a merged kernel together.
_BLOCK_BYTES = 16 * 1024


def merge_kernels(program: Program, target: Target) -> Program:
    """Merge neighbouring kernels, in place."""
    _Merging(Names(program), _ROWS * target.threads, {frozenset(pair) for pair in program.aliased}).visit(program.body)
    if target.threads == 1:
        _shrink(program)
    return program


class _Merging:
    def __init__(self, names: Names, fewest: int, aliased: set[frozenset[Buffer]]) -> None:
        self.names = names
        self.fewest = fewest
        self.aliased = aliased
        #: the loops of merged kernels
        self.blocked: set[str] = set()

    def visit(self, body: list[Statement]) -> None:
        result: list[Statement] = []
        for statement in body:
            if not isinstance(statement, Kernel):
                for part in nested(statement):
                    self.visit(part)
            else:
                place, before = _neighbour(result)
                merged = before and self._merge(before, statement)
                if merged:
                    del result[place]
                    statement = merged
            result.append(statement)
        body[:] = result

    def _merge(self, first: Kernel, second: Kernel) -> Kernel | None:
        a, b = _rows(first), _rows(second)
        if a is None or b is None:
            return None
        count = min(a.stop, b.stop)
        if a.stop % count or b.stop % count or not _written(first) & _used(second):
            return None
        used = _used(first) | _used(second)
        if any(pair <= used for pair in self.aliased) or sum(1 for _ in walk([a, b])) > _LIMIT:
            return None
        if a.variable not in self.blocked:
            count //= _rows_together(a, b, count, count // self.fewest)
        if count < self.fewest:
            return None
        row = self.names("i")
        loop = For(row, 0, count, 1, "serial", [*self._part(a, row, count), *self._part(b, row, count)])
        kernel = Kernel(second.name, [loop], where=second.where)
        if not is_divisible(kernel, loop, loop, loop_extents(kernel)):
            return None
        self.blocked.add(row)
        return kernel

    def _part(self, loop: For, row: str, count: int) -> list[Statement]:
        """The share of `loop` that belongs to one of `count` rows."""
        each = loop.stop // count
        if each == 1:
            return substitute(loop.body, {loop.variable: Index.variable(row)})
        inner = self.names("i")
        place = Index.variable(row, each) + Index.variable(inner)
        return [For(inner, 0, each, 1, "serial", substitute(loop.body, {loop.variable: place}))]


def _neighbour(before: Sequence[Statement]) -> tuple[int, Kernel | None]:
    """The last kernel, and its place, but for those that can as well come ahead of it: they read nothing, and what they make it does
    not use."""
    passed: set[Buffer] = set()
    for place in range(len(before) - 1, -1, -1):
        kernel = before[place]
        if not isinstance(kernel, Kernel) or passed & _used(kernel):
            break
        if not _used(kernel) <= _written(kernel):
            return place, kernel
        passed |= _used(kernel)
    return 0, None


def _rows(kernel: Kernel) -> For | None:
    """The loop that is the whole kernel."""
    if len(kernel.body) == 1:
        (loop,) = kernel.body
        if isinstance(loop, For) and loop.kind == "serial" and loop.start == 0 and loop.step == 1:
            return loop
    return None


def _rows_together(a: For, b: For, count: int, most: int) -> int:
    """How many rows go through a kernel before the next one takes them: few enough to stay in the nearest cache, and more
    than one where they are short, as each waits for its own reductions."""
    size = 0
    for loop in (a, b):
        widths: dict[Buffer, int] = {}
        for index, buffer in _accesses(loop):
            widths[buffer] = max(widths.get(buffer, 0), abs(index.coefficient(loop.variable)) * loop.stop // count)
        size += sum(width * buffer.dtype.itemsize for buffer, width in widths.items())
    return max(n for n in range(1, 9) if count % n == 0 and (n == 1 or (n <= most and n * size <= _BLOCK_BYTES)))


def _written(kernel: Kernel) -> set[Buffer]:
    return {s.buffer for s in walk(kernel.body) if isinstance(s, Store) and s.buffer.space != "register"}


def _used(kernel: Kernel) -> set[Buffer]:
    return {b for s in walk(kernel.body) for b in buffers_of(s) if b.space != "register"}


# Buffers that only one kernel uses, each row of it alone.


def _shrink(program: Program) -> None:
    users: dict[Buffer, set[int]] = {}
    found: list[tuple[Kernel, int]] = []
    _collect(program.body, 0, users, found)
    for kernel, depth in found:
        loop = _rows(kernel)
        if loop is None:
            continue
        extents = loop_extents(kernel)
        sizes: dict[Buffer, int] = {}
        for buffer in _written(kernel):
            if buffer.space == "arena" and users[buffer] == {id(kernel)} and buffer.depth == depth:
                size = _row_size(buffer, loop, extents)
                if size:
                    sizes[buffer] = size
        if sizes:
            _forget_row(kernel.body, loop.variable, set(sizes))
            for buffer, size in sizes.items():
                buffer.size = size


def _collect(body: Sequence[Statement], depth: int, users: dict[Buffer, set[int]], found: list[tuple[Kernel, int]]) -> None:
    """The kernels and how many loops are around each, and what uses a buffer."""
    for statement in body:
        if isinstance(statement, Kernel):
            found.append((statement, depth))
            for buffer in _used(statement):
                users.setdefault(buffer, set()).add(id(statement))
            continue
        for buffer in buffers_of(statement):
            users.setdefault(buffer, set()).add(id(statement))
        for part in nested(statement):
            _collect(part, depth + isinstance(statement, (For, While)), users, found)


def _row_size(buffer: Buffer, loop: For, extents: Extents) -> int:
    """How many elements of the buffer one step of the loop uses, if it uses no others; 0 if that is not so."""
    size = 0
    for index in (index for index, other in _accesses(loop) if other is buffer):
        coefficient = index.coefficient(loop.variable)
        if coefficient <= 0 or (size and coefficient != size):
            return 0
        size = coefficient
        low = high = index.constant
        for name, factor in index.terms:
            if name != loop.variable:
                extent = extents.get(name)
                if extent is None:
                    return 0
                low, high = low + min(0, factor * (extent - 1)), high + max(0, factor * (extent - 1))
        if low < 0 or high >= size:
            return 0
    return size


def _accesses(loop: For) -> list[tuple[Index, Buffer]]:
    found = []
    for statement in walk(loop.body):
        if isinstance(statement, (Store, Prefetch)):
            found.append((statement.index, statement.buffer))
        for expression in expressions(statement):
            found += [(item.index, item.buffer) for item in subexpressions(expression) if isinstance(item, Load)]
    return [(index, buffer) for index, buffer in found if buffer.space != "register"]


def _forget_row(body: list[Statement], row: str, buffers: set[Buffer]) -> None:
    def place(buffer: Buffer, index: Index) -> Index:
        return index.substitute({row: 0}) if buffer in buffers else index

    def leaf(old: Expression) -> Expression:
        return Load(old.buffer, place(old.buffer, old.index)) if isinstance(old, Load) else old

    body[:] = rewrite(body, leaf, place)
