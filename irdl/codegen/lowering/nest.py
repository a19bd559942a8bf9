"""Loop nests: puts statements at the outermost loop that binds what they read, and cuts loops into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from irdl.loops.language import CheckIndex, For, Let, Statement
from irdl.loops.walk import variables_read


@dataclass(frozen=True)
class Loop:
    """One loop of a nest."""

    variable: str
    extent: int
    kind: str = "serial"
    lanes: int = 0


def build_nest(loops: Sequence[Loop], statements: Sequence[Statement]) -> list[Statement]:
    """`statements` inside `loops` (outermost first): bindings as far out as they can go, the rest innermost.

    Before -> after: `for i { for j { let a = exp(x[i]); y[i, j] = a } }` -> `for i { let a = exp(x[i]); for j { .. } }`
    """
    depth_of = {loop.variable: depth for depth, loop in enumerate(loops, 1)}
    levels: list[list[Statement]] = [[] for _ in range(len(loops) + 1)]
    for statement in statements:
        if isinstance(statement, (Let, CheckIndex)):
            depth = max((depth_of.get(name, 0) for name in variables_read(statement.value)), default=0)
            depth_of[statement.variable.name] = depth
        else:
            depth = len(loops)
        levels[depth].append(statement)
    body = levels[-1]
    for depth in reversed(range(len(loops))):
        loop = loops[depth]
        if loop.extent == 0:
            body = levels[depth]
            continue
        body = [*levels[depth], For(loop.variable, 0, loop.extent, 1, loop.kind, body, loop.lanes)]
    return body


def join(first: Sequence[Statement], second: Sequence[Statement], depth: int) -> list[Statement]:
    """Two nests over the same outer `depth` loops as one.

    Before -> after: `for i { a }  for i { b }` -> `for i { a; b }`
    """
    if not depth or not (first and second):
        return [*first, *second]
    *before, outer = first
    *others, again = second
    if not (isinstance(outer, For) and isinstance(again, For) and outer.variable == again.variable):
        return [*first, *second]
    return [*before, *others, replace(outer, body=join(outer.body, again.body, depth - 1))]


def blocks(extent: int, size: int, threads: int = 1) -> list[tuple[int, int, int]]:
    """`extent` rows in blocks of at most `size`, as even as can be: (first row, block size, count). Those of one size are dealt out to
    `threads`; smaller blocks, of which each thread has about as many rows, are better than larger ones."""
    if extent == 0:
        return []

    def share(count: int) -> float:
        """The most that a thread has; what a block reads for all of its rows counts as half a row."""
        small, larger = divmod(extent, count)
        return -(-larger // threads) * (small + 1.5) + -(-(count - larger) // threads) * (small + 0.5)

    least = -(-extent // size)
    count = min(range(least, min(extent, least + threads - 1) + 1), key=share)
    small, larger = divmod(extent, count)
    result = []
    if larger:
        result.append((0, small + 1, larger))
    if count > larger:
        result.append((larger * (small + 1), small, count - larger))
    return result


def narrow_lanes(count: int, lanes: int) -> int:
    """The lanes of a vector for `count` elements: a power of two, at most `lanes`. A narrower vector costs less on many
    machines."""
    return min(lanes, 1 << max(1, (count - 1).bit_length()))


def wrap_in_loops(loops: Sequence[Loop], statements: Sequence[Statement]) -> list[Statement]:
    """A nest whose innermost body is `statements` in the order given."""
    body = list(statements)
    for loop in reversed(loops):
        body = [For(loop.variable, 0, loop.extent, 1, loop.kind, body)]
    return body
