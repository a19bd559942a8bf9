"""The memory that one warp goes through in a phase: its accesses, how many are on their way at once, the cycles that they take, and what
comes from L2 for them. Rules that are read from nvcc's code:

- loads of one place are made once, and ahead of loops that do not move them, unless something is stored in between that may be it
- neighbours in shared memory are one access of up to 16 bytes; those elsewhere, whose alignment is not known, are not, but for vector loops
- a short serial loop is unrolled, another by 2 to 16 steps: as many steps' loads are on their way at once
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from irdl.codegen.cuda.costs import Work
from irdl.codegen.cuda.dealing import WARP, as_guard
from irdl.codegen.cuda.registers import Touch, touches
from irdl.loops.expressions import Buffer
from irdl.loops.index import Index
from irdl.loops.language import CheckIndex, For, Let, Statement, Store
from irdl.loops.walk import walk

#: bytes that come from L2 together, and of a line of the first-level cache, which is also what shared memory gives in a cycle
SECTOR, LINE = 32, 128
#: the widest access
WIDEST = 16
#: statements that are unrolled: of all steps of a loop, and of some of them; the fewest and the most of those steps
_WHOLE, _PART, _FEWEST = 128, 16, 2


def extent_of(loop: For) -> int:
    return len(range(loop.start, loop.stop, loop.step))


def at_once(loop: For) -> int:
    """Steps whose loads are on their way at once."""
    return max(1, extent_of(loop)) if loop.kind in ("unrolled", "vector") else unrolled(extent_of(loop), statements(loop.body))


def statements(body: Sequence[Statement]) -> int:
    """Copies are accesses, which are not counted in expressions either."""
    copies = sum(isinstance(statement, For) and statement.kind == "vector" for statement in walk(body))
    return sum(isinstance(statement, (Let, Store)) for statement in walk(body)) - copies


def unrolled(steps: int, size: int) -> int:
    """How many steps of a loop over so many statements nvcc unrolls."""
    return max(1, steps) if steps * size <= _WHOLE else max(_FEWEST, _PART // max(1, size))


@dataclass(frozen=True, eq=False)
class Access:
    """Of one thread: places that lie `width` elements next to each other, `times` times, `together` of them in one access, where the
    program says so. `loops`: those that move it; `bounds`: what a guard keeps variables below; `passing`: as of a `Touch`."""

    buffer: Buffer
    index: Index
    writes: bool
    width: int
    loops: tuple[For, ...]
    times: int
    together: int
    bounds: tuple[tuple[str, int], ...]
    passing: bool

    def strides(self, loops: Iterable[For]) -> list[tuple[int, int]]:
        """How far apart, in bytes, the steps of loops are, and how many."""
        size = self.buffer.dtype.itemsize
        return [(abs(self.index.coefficient(loop.variable)) * loop.step * size, self.steps(loop)) for loop in loops]

    def steps(self, loop: For) -> int:
        """How many steps of a loop touch something."""
        return min([extent_of(loop), *(-(-most // loop.step) for name, most in self.bounds if name == loop.variable)])


def _bounds(touch: Touch) -> tuple[tuple[str, int], ...]:
    """What variables are less than, as far as guards say so."""
    guards = [guard for guard in map(as_guard, touch.conditions) if guard is not None]
    return tuple(
        (name, max(0, -(-(extent - index.constant) // c)))
        for index, extent in guards
        if all(other > 0 for _, other in index.terms)
        for name, c in index.terms
    )


class Steps:
    """The accesses of a body to memory."""

    def __init__(self, body: Sequence[Statement], lanes: Sequence[For], shared: Sequence[For]) -> None:
        self.lanes, self.shared = lanes, shared
        found = [touch for touch in touches(body) if touch.buffer.space != "register"]
        groups: dict[tuple[object, ...], list[Touch]] = {}
        for touch in found:
            groups.setdefault((touch.buffer, touch.index.terms, touch.writes, tuple(map(id, touch.around))), []).append(touch)
        stores = [touch for touch in found if touch.writes]
        self.accesses = [access for alike in groups.values() for access in self._together(alike, stores)]
        known = {loop.variable for loop in (*lanes, *shared)} | {s.variable for s in walk(body) if isinstance(s, For)}
        bindings = {s.variable.name for s in walk(body) if isinstance(s, (Let, CheckIndex))} - known
        #: whose places data decide
        self.scattered = {access for access in self.accesses if access.index.variables() & bindings}

    def _together(self, alike: Sequence[Touch], stores: Sequence[Touch]) -> Iterable[Access]:
        """Of touches that differ in a constant alone: those of neighbours as one."""
        first = alike[0]
        around = [s for s in first.around if isinstance(s, For)]
        moving = [loop for loop in around if first.index.coefficient(loop.variable)]
        still = {id(loop) for loop in around if not first.index.coefficient(loop.variable)}
        if not first.writes and self._stays(first, still, stores):
            around = moving
        whole = {loop.variable: extent_of(loop) for loop in around if at_once(loop) == extent_of(loop)}
        together = math.prod(loop.stop for loop in around if loop.kind == "vector")
        constants = sorted({touch.index.constant for touch in alike})
        start, runs = 0, []
        for place in range(1, len(constants) + 1):
            if place == len(constants) or constants[place] != constants[place - 1] + 1:
                runs.append((constants[start], place - start))
                start = place
        for constant, width in runs:
            # The steps of a loop that is unrolled are neighbours too.
            along: set[str] = set()
            for name, steps in whole.items():
                if first.index.coefficient(name) == width:
                    width, along = width * steps, along | {name}
            loops = tuple(loop for loop in around if loop.variable not in along)
            terms = tuple((name, c) for name, c in first.index.terms if name not in along)
            times = math.prod(map(extent_of, loops))
            yield Access(first.buffer, Index(constant, terms), first.writes, width, loops, times, together, _bounds(first), first.passing)

    @staticmethod
    def _stays(load: Touch, loops: set[int], stores: Sequence[Touch]) -> bool:
        """Nothing in loops of those identities may store into what is read: inputs and constants are told apart from the rest, which is not."""
        if load.buffer.space in ("input", "constant"):
            return True
        near = load.buffer.space == "shared"
        inside = [store for store in stores if any(id(loop) in loops for loop in store.around)]
        return not any((store.buffer.space == "shared") == near for store in inside)

    def access_work(self, room: float) -> Work:
        total = Work()
        for access in self.accesses:
            wide = self._vector(access) if access.buffer.space == "shared" else access.together
            count = access.times * -(-access.width // wide)
            near = self._banks(access, wide) if access.buffer.space == "shared" else self._lines(access)
            total += Work() if access.passing else Work(issued=count, near=count * near)
            if access.buffer.space != "shared":
                total += Work(issued=2, integer=2)  # an address of 64 bits
                turns = math.prod(-(-extent_of(loop) // at_once(loop)) for loop in access.loops)
                total += Work(issued=turns, integer=turns) if turns > 1 else Work()
        return total + Work(l2_bytes=self.l2_bytes(room))

    def _vector(self, access: Access) -> int:
        """Elements of one access of shared memory: as many as are aligned for all threads."""
        size = access.buffer.dtype.itemsize
        parts = (access.width, access.index.constant, *(c for _, c in access.index.terms))
        return next((n for n in (8, 4, 2) if n * size <= WIDEST and all(part % n == 0 for part in parts)), 1)

    def _lanes_at(self, access: Access) -> list[int]:
        """Where each lane is, in bytes from the first."""
        size = access.buffer.dtype.itemsize
        ranges = [range(0, access.steps(loop) * loop.step, loop.step) for loop in self.lanes]
        coefficients = [access.index.coefficient(loop.variable) * size for loop in self.lanes]
        places = itertools.islice(itertools.product(*ranges), WARP)
        return [sum(c * value for c, value in zip(coefficients, place, strict=True)) for place in places] or [0]

    def _banks(self, access: Access, wide: int) -> int:
        """Cycles of one access of shared memory: the most words that one of the 32 banks gives."""
        places = self._lanes_at(access)
        nbytes = wide * access.buffer.dtype.itemsize
        asked = {word for place in places for word in range(place // 4, -(-(place + nbytes) // 4))}
        if access in self.scattered:
            return 4  # as of places drawn by chance
        banks = [0] * 32
        for word in asked:
            banks[word % 32] += 1
        return max(banks)

    def _lines(self, access: Access) -> int:
        """Cycles of one access to the first-level cache: one for each line."""
        return WARP if access in self.scattered else len({place // LINE for place in self._lanes_at(access)})

    def l2_bytes(self, room: float) -> float:
        """What one of the warps that share `shared` brings from L2, or takes there."""
        outside = [access for access in self.accesses if access.buffer.space != "shared"]
        warps = math.prod(extent_of(loop) for loop in self.shared)
        kept = sum(self._footprint(access, (*self.lanes, *self.shared, *access.loops)) for access in outside if not access.writes)
        total = 0.0
        for access in outside:
            together = (*self.lanes, *self.shared)
            if kept <= room or access.writes:
                total += self._footprint(access, (*together, *access.loops))
            else:
                # What it has brought is gone when it is wanted again.
                total += access.times * self._footprint(access, together)
        return total / warps

    def _footprint(self, access: Access, loops: Iterable[For]) -> float:
        """Bytes that the steps of all loops touch together, in whole sectors."""
        if access in self.scattered:
            return SECTOR * access.width * math.prod(extent_of(loop) for loop in loops)
        return SECTOR * sectors(access.width * access.buffer.dtype.itemsize, access.strides(loops))

    def touched(self, loops: Iterable[For]) -> dict[tuple[Buffer, bool], float]:
        """Bytes that all steps touch of each buffer, loaded and stored, if `loops` are all that is around; at most all of it."""
        found: dict[tuple[Buffer, bool], float] = {}
        outer = list(loops)
        for access in self.accesses:
            if access.buffer.space != "shared":
                key = (access.buffer, access.writes)
                nbytes = found.get(key, 0.0) + self._footprint(access, (*self.lanes, *self.shared, *access.loops, *outer))
                found[key] = min(nbytes, access.buffer.nbytes)
        return found


def sectors(span: int, strides: Iterable[tuple[int, int]]) -> int:
    """How many sectors of 32 bytes are touched by runs of `span` bytes that are repeated so many bytes apart, so many times."""
    count = 1
    for stride, extent in sorted(strides):
        if stride <= max(span, SECTOR - 1):
            span += stride * (extent - 1)
        else:
            count *= extent
    return count * -(-span // SECTOR)
