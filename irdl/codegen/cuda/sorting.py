"""Sorting by merges, every thread at some elements at a time: it puts neighbours in order, then two sorted runs become one, again and again.

    blocks: for each tile, in shared memory
        threads: EACH neighbours in order
        for width in EACH, 2 * EACH, .. as far as the tile goes
            threads: EACH neighbours of what two runs of that width become
    for width in the tile's, twice the tile's, .. as far as the line goes, in memory
        threads of all blocks: the same

A tile is what a block has of a long line; short lines are a tile each, several of them in a block. What a line lacks of its last tile
is filled with what has to lie before nothing: it stays behind the line's elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from irdl.codegen.cuda.dealing import WARP, WARPS, bound, only_below
from irdl.codegen.cuda.merging import Items, Merge, Part
from irdl.codegen.lowering.body import cast
from irdl.codegen.lowering.layout import Layout, merged
from irdl.codegen.lowering.nest import Loop
from irdl.codegen.lowering.sorting import Line
from irdl.loops.expressions import Buffer, IndexValue, Literal, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.language import Let, Statement
from irdl.loops.rewrite import Names
from irdl.loops.target import Gpu

#: elements of a thread, which share a search: a power of two, as are the threads of a tile
EACH, THREADS = 8, WARPS * WARP
#: places in longer lines take 64 bits
_LONG = 2**30


def sort_by_merges(x: Layout, out: Layout, axis: int, wants_elements: bool, gpu: Gpu, names: Names) -> list[Statement]:
    """The nests that put each line along an axis in order, or find the places that its elements come from. No line is empty."""
    return _Sort(x, out, axis, wants_elements, gpu, names).statements()


class _Lines:
    """Where lines lie, each along the last axis: elements, and the places that they come from.

    Attributes:
        end: where they end, if a thread's part may go beyond.
    """

    def __init__(self, elements: Layout | None, places: Layout | None, end: int | None = None) -> None:
        self.elements, self.places, self.end = elements, places, end

    def at(self, row: Sequence[Index]) -> Items:
        """One of them."""

        def line(layout: Layout | None) -> Line | None:
            return None if layout is None else Line(layout.buffer, layout.at((*row, Index())), layout.strides[-1])

        return Items(line(self.elements), line(self.places))


class _Rows:
    """Which lines blocks have: each has so many neighbours `together`.

    Attributes:
        loops: over the blocks.
    """

    def __init__(self, shape: Sequence[int], together: int, names: Names) -> None:
        self.shape, self.together = shape, together
        self.longest = max(range(len(shape)), key=lambda axis: shape[axis], default=0)
        counts = [together if axis == self.longest else 1 for axis in range(len(shape))]
        self.loops = [Loop(names("j"), -(-extent // count)) for extent, count in zip(shape, counts, strict=True)]

    def at(self, number: Index) -> tuple[Index, ...]:
        """Where that of a block's lines is."""
        row = [Index.variable(loop.variable) for loop in self.loops]
        if row:
            row[self.longest] = row[self.longest] * self.together + number
        return tuple(row)

    def only(self, number: Index, body: list[Statement]) -> list[Statement]:
        """`body`, where there is such a line."""
        if not self.shape or self.shape[self.longest] % self.together == 0:
            return body
        return only_below(self.at(number)[self.longest], self.shape[self.longest], body)


class _Sort:
    """One sort.

    Attributes:
        rows: how many lines there are, by axes.
        each: elements of a thread.
        threads, tile: of a tile, and its elements.
        tiles, padded: of a line, and their elements.
        number: the dtype of places.
    """

    def __init__(self, x: Layout, out: Layout, axis: int, wants_elements: bool, gpu: Gpu, names: Names) -> None:
        self.gpu, self.names, self.wants_elements = gpu, names, wants_elements
        extent = x.shape[axis]
        least = 1 << (extent - 1).bit_length()
        self.each = min(EACH, least)
        self.threads = min(THREADS, least // self.each)
        self.tile = self.each * self.threads
        self.tiles = -(-extent // self.tile)
        self.padded = self.tiles * self.tile
        self.number: np.dtype = np.dtype(np.int32 if self.padded < _LONG else np.int64)
        rows = merged(x.element(Index(), axis), out.element(Index(), axis))
        self.rows, self.dtype = rows[0].shape, x.buffer.dtype
        source, target = (
            Layout(lines.buffer, lines.offset, (*lines.strides, layout.strides[axis]), (*self.rows, extent))
            for lines, layout in zip(rows, (x, out), strict=True)
        )
        end = extent if self.padded > extent else None
        self.source = _Lines(source, None, end)
        self.result = _Lines(target, None, end) if wants_elements else _Lines(None, target, end)

    def statements(self) -> list[Statement]:
        between = self._in_turns((self.tiles - 1).bit_length(), "arena", (*self.rows, self.padded))
        stages = [*between, self.result]
        result = self._sort_tiles(stages[0])
        for number, (source, target) in enumerate(pairwise(stages)):
            result += self._merge_tiles(source, target, 1 << number)
        return result

    def _in_turns(self, passes: int, space: str, shape: tuple[int, ...]) -> list[_Lines]:
        """What each of so many passes reads: two arrays, in turns."""
        found = []
        for _ in range(min(2, passes)):
            items, places = (
                Layout.contiguous(Buffer(self.names(name), dtype, math.prod(shape), space), shape)
                for name, dtype in (("items", self.dtype), ("places", self.number))
            )
            found.append(_Lines(items, None if self.wants_elements else places))
        return [found[number % 2] for number in range(passes)]

    def _part(self) -> Part:
        return Part(self.each, self.dtype, None if self.wants_elements else self.number, self.names)

    def _sort_tiles(self, target: _Lines) -> list[Statement]:
        """A block puts a tile in order, or those of some lines."""
        together = self._together()
        rows, tile = _Rows(self.rows, together, self.names), self.names("j")
        passes = (self.threads - 1).bit_length()
        stages = [*self._in_turns(passes, "shared", (together, self.tile)), target]
        start = Index.variable(tile, self.tile) if self.tiles > 1 else Index()

        def put(part: Part, number: int, line: Index, first: Index) -> list[Statement]:
            row, place = ((line,), first) if number < passes else (rows.at(line), start + first)
            return part.put(stages[number].at(row), place, stages[number].end)

        def neighbours(line: Index, thread: Index) -> list[Statement]:
            part, first = self._part(), thread * self.each
            source = self.source.at(rows.at(line)).elements
            assert source is not None
            return [*part.get(source, start + first, self.source.end), *part.sort(), *put(part, 0, line, first)]

        def merge(number: int, line: Index, pair: Index, thread: Index) -> list[Statement]:
            part, width, first = self._part(), self.each << number, thread * self.each
            pairs = Merge(
                stages[number].at((line,)).behind(pair * (2 * width)), Index(width), Index(2 * width), width, self.number, self.names
            )
            with_elements = stages[number + 1].elements is not None
            return [*pairs.make(part, first, with_elements), *put(part, number + 1, line, pair * (2 * width) + first)]

        body = self._by_threads([together, self.threads], lambda line, *at: rows.only(line, neighbours(line, *at)))
        for number in range(passes):
            threads = [together, self.threads >> (number + 1), 2 << number]
            body += self._by_threads(threads, lambda line, *at, number=number: rows.only(line, merge(number, line, *at)))
        return bound("block", [*rows.loops, *([Loop(tile, self.tiles)] if self.tiles > 1 else [])], body)

    def _together(self) -> int:
        """Lines of a block: those that fill a warp, and as many more as leave each multiprocessor a block."""
        longest, count = max(self.rows, default=1), math.prod(self.rows)
        found = 1
        while 2 * found * self.threads <= THREADS and found < longest:
            if found * self.threads >= WARP and count < 2 * found * self.gpu.multiprocessors:
                break
            found *= 2
        return found

    def _merge_tiles(self, source: _Lines, target: _Lines, width: int) -> list[Statement]:
        """Pairs of runs of so many tiles become one each. The last run of a line may have fewer, or be alone."""
        rows, pair, tile = _Rows(self.rows, 1, self.names), self.names("p"), self.names("j")
        pairs, tiles = -(-self.tiles // (2 * width)), min(2 * width, self.tiles)
        before, here, row = Index.variable(pair, 2 * width) if pairs > 1 else Index(), Index.variable(tile), rows.at(Index())

        def made_of_pair(thread: Index) -> list[Statement]:
            part, first = self._part(), here * self.tile + thread * self.each
            lets, left, both = self._lengths(before * self.tile, width * self.tile)
            merge = Merge(source.at(row).behind(before * self.tile), left, both, width * self.tile, self.number, self.names)
            made = merge.make(part, first, target.elements is not None)
            body = [*lets, *made, *part.put(target.at(row), before * self.tile + first, target.end)]
            return only_below(before + here, self.tiles, body) if self.tiles % tiles else body

        loops = [*rows.loops, *([Loop(pair, pairs)] if pairs > 1 else []), Loop(tile, tiles)]
        return bound("block", loops, self._by_threads([self.threads], made_of_pair))

    def _lengths(self, before: Index, width: int) -> tuple[list[Statement], Index, Index]:
        """How many the left run of a pair has, and both have, with so many elements before them."""
        if self.padded % (2 * width) == 0 or not before.terms:
            return [], Index(width), Index(min(2 * width, self.padded))
        left, both = (Variable(self.names("k"), self.number) for _ in range(2))
        rest = cast(IndexValue(before * -1 + self.padded), self.number)
        lets: list[Statement] = [
            Let(both, Operation("minimum", (rest, Literal(self.number.type(2 * width))), self.number)),
            Let(left, Operation("minimum", (both, Literal(self.number.type(width))), self.number)),
        ]
        return lets, Index.variable(left.name), Index.variable(both.name)

    def _by_threads(self, extents: Sequence[int], body: Callable[..., list[Statement]]) -> list[Statement]:
        """`body` at each place on axes whose extents are powers of two: a thread's place, the last axis along the lanes."""
        warps: list[Loop] = []
        lanes: list[Loop] = []
        places: list[Index] = []
        room = WARP
        for extent in reversed(extents):
            near = min(extent, room)
            far, room = extent // near, room // near
            lane, warp = Loop(self.names("l"), near), Loop(self.names("w"), far)
            lanes, warps = [lane, *lanes], [warp, *warps]
            places = [_at(warp, near) + _at(lane), *places]
        warps, lanes = ([loop for loop in loops if loop.extent > 1] for loops in (warps, lanes))
        return bound("warp", warps, bound("lane", lanes, body(*places)))


def _at(loop: Loop, stride: int = 1) -> Index:
    return Index.variable(loop.variable, stride) if loop.extent > 1 else Index()
