"""Loops that left no marks (`while`, lists): what repeats without a gap in a sequence of nodes."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from irdl.ir.builder import CONSTANT
from irdl.ir.graph import Node, Value
from irdl.tracing.rolling import cost
from irdl.tracing.rolling.align import Attempt
from irdl.tracing.rolling.cost import MIN_STEPS, moves
from irdl.tracing.rolling.record import Record

#: the longest period looked for, and how many are tried at a place
_MAX_PERIOD, _MAX_TRIES = 4000, 12
#: how often a sequence is searched again after something in it has been rolled
_MAX_ROUNDS = 8
#: of periods that do not roll so many are remembered
_MAX_REFUSED = 64


class Repeat(NamedTuple):
    """From `start` on, `length` items with a period."""

    start: int
    length: int
    period: int


class _Refused:
    """Periods that do not roll, at the nodes where they were tried."""

    def __init__(self) -> None:
        self.periods: set[int] = set()
        self._exact: defaultdict[Node, set[int]] = defaultdict(set)
        self._hopeless: defaultdict[Node, set[int]] = defaultdict(set)

    def add(self, nodes: Sequence[Node], period: int, is_hopeless: bool) -> None:
        """`is_hopeless`: several periods as one are no better."""
        self.periods.add(period)
        for node in nodes:
            (self._hopeless if is_hopeless else self._exact)[node].add(period)

    def holds(self, items: Sequence[Node], place: int, period: int) -> bool:
        node = items[place]
        return period in self._exact.get(node, ()) or any(period % part == 0 for part in self._hopeless.get(node, ()))


class Finder:
    """Finds repeats in sequences of a record, smallest periods first; then what repeats of what these became, and so on."""

    def __init__(self, record: Record, roll_steps: Callable[[list[list[Node]]], Attempt]) -> None:
        self._record = record
        self._roll_steps = roll_steps
        #: sequences in which nothing rolls: the other steps of the same loop are like the first
        self._plain: set[tuple[int, ...]] = set()

    def rolled(self, nodes: list[Node]) -> list[Node]:
        if len(nodes) < cost.LIMITS.nodes:
            return nodes
        recorded = self._record.keys(nodes)
        if recorded in self._plain:
            return nodes
        refused = _Refused()
        changed = False
        for _ in range(_MAX_ROUNDS):
            nodes = self._record.living(nodes)
            places = self._repeating(nodes)
            items = [nodes[place] for place in places]
            repeats = find_repeats(self._record.keys(items), partial(refused.holds, items))
            if not repeats:
                break
            result: list[Node] = []
            done = 0
            for repeat in repeats:
                first, end, attempt = self._region(nodes, places, repeat)
                if attempt.nodes is None:
                    refused.add(items[repeat.start : repeat.start + repeat.length], repeat.period, attempt.is_hopeless)
                    continue
                changed = True
                result += nodes[done:first] + attempt.nodes
                done = end
            nodes = result + nodes[done:]
            if len(refused.periods) > _MAX_REFUSED:
                break
        if not changed:
            self._plain.add(recorded)
        return nodes

    def _repeating(self, nodes: Sequence[Node]) -> list[int]:
        """The places of what occurs often enough: what does not may stand anywhere in a step."""
        keys = self._record.keys(nodes)
        counts = Counter(key for key, node in zip(keys, nodes, strict=True) if node not in self._record.ghosts)
        return [place for place, key in enumerate(keys) if counts[key] >= MIN_STEPS]

    def _region(self, nodes: list[Node], places: list[int], repeat: Repeat) -> tuple[int, int, Attempt]:
        """Where a repeat begins and ends, and what becomes of it."""
        start, length, period = repeat
        if all(moves(nodes[i]) or nodes[i].op is CONSTANT for i in places[start : start + period]):
            return start, start, Attempt(None, is_hopeless=True)
        offset = self._cut(nodes, places, repeat)
        if (length - offset) // period < MIN_STEPS:
            offset = 0
        count = (length - offset) // period
        # Each step with what lies between its nodes and is no part of the repeat.
        edges = [places[start + offset + k * period] for k in range(count)] + [places[start + offset + count * period - 1] + 1]
        return edges[0], edges[-1], self._roll_steps([nodes[a:b] for a, b in itertools.pairwise(edges)])

    def _cut(self, nodes: Sequence[Node], places: Sequence[int], repeat: Repeat) -> int:
        """Where in a period a step best begins: where the fewest values pass on.

        Where the stretch itself begins no step is cut in two: another place has to be clearly better.
        """
        start, _, period = repeat
        window = [nodes[i] for i in places[start + period : start + 3 * period]]  # the first period may read from outside
        index = {node: i for i, node in enumerate(window)}
        last: dict[Value, int] = {}
        for i, node in enumerate(window):
            last.update((value, i) for value in self._record.operands(node) if value.node in index)
        change = np.zeros(2 * period + 2, np.int64)
        for value, end in last.items():
            assert value.node is not None
            change[index[value.node] + 1] += 1
            change[end + 1] -= 1
        alive = np.cumsum(change)[period : 2 * period]
        best = int(np.argmin(alive))
        return best if alive[best] + 3 < alive[0] else 0


def find_repeats(keys: Sequence[int], is_refused: Callable[[int, int], bool] = lambda place, period: False) -> list[Repeat]:
    """Maximal stretches that repeat at least MIN_STEPS times, the smallest period at each place, none that is refused, by place and
    period.

    Longest common extensions by comparing hashes of prefixes (Karp and Rabin, 1987): O(n log n).
    """
    n = len(keys)
    if n < MIN_STEPS:
        return []
    hashes = _PrefixHashes(keys)
    following = _next_places(keys)
    found: list[Repeat] = []
    place = 0
    while place < n:
        repeat = _repeat_at(place, n, hashes, following, is_refused)
        if repeat is None:
            place += 1
        else:
            found.append(repeat)
            place += repeat.length
    return found


def _repeat_at(
    place: int, n: int, hashes: _PrefixHashes, following: Sequence[int], is_refused: Callable[[int, int], bool]
) -> Repeat | None:
    other, tries = following[place], 0
    while other >= 0 and tries < _MAX_TRIES and other - place <= _MAX_PERIOD:
        period = other - place
        least = (MIN_STEPS - 1) * period
        if place + least + period <= n and hashes.equal(place, other, least) and not is_refused(place, period):
            low, high = least, n - other
            while low < high:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if hashes.equal(place, other, middle) else (low, middle - 1)
            return Repeat(place, low + period, period)
        other, tries = following[other], tries + 1
    return None


def _next_places(keys: Sequence[int]) -> list[int]:
    """For each place the next one of the same key, or -1."""
    result = [-1] * len(keys)
    last: dict[int, int] = {}
    for place in reversed(range(len(keys))):
        result[place] = last.get(keys[place], -1)
        last[keys[place]] = place
    return result


class _PrefixHashes:
    """Tells in constant time whether two stretches are equal (with a chance of error of some 1e-12)."""

    _MODULUS, _BASE = (1 << 61) - 1, 1_000_003

    def __init__(self, keys: Sequence[int]) -> None:
        self._prefix, self._power = [0], [1]
        for key in keys:
            self._prefix.append((self._prefix[-1] * self._BASE + key + 1) % self._MODULUS)
            self._power.append(self._power[-1] * self._BASE % self._MODULUS)

    def equal(self, i: int, j: int, length: int) -> bool:
        prefix, power = self._prefix, self._power[length]
        return (prefix[i + length] - prefix[i] * power - prefix[j + length] + prefix[j] * power) % self._MODULUS == 0
