"""Steps side by side: those that record the same become a scan, what only some of them hold stays outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from irdl.ir.graph import Node
from irdl.tracing.rolling import cost
from irdl.tracing.rolling.build import build
from irdl.tracing.rolling.cost import MIN_STEPS, Unfit
from irdl.tracing.rolling.family import Family
from irdl.tracing.rolling.record import Record
from irdl.tracing.rolling.stacks import Stacks

#: so many neighbouring steps are tried as one (`if t % 2`, layers inside time recorded flat)
_MAX_TOGETHER = 4
#: so many steps may be left out at either end until the rest fits
_MAX_PEELED = 3
#: so many steps have to be alike to the last node; others may hold more
_MIN_ALIKE = 2

Nodes: TypeAlias = list[Node]


class Attempt(NamedTuple):
    """The nodes that the steps of a loop come to; None if no scan can be made of any of them. `is_hopeless`: nor of more taken as one."""

    nodes: Nodes | None
    is_hopeless: bool = False


def roll_steps(steps: Sequence[Nodes], record: Record, stacks: Stacks) -> Attempt:
    for together in range(1, _MAX_TOGETHER + 1):
        count = len(steps) // together
        if count < MIN_STEPS:
            break
        groups = [_joined(steps[place : place + together]) for place in range(0, count * together, together)]
        aligned = _Aligned(groups, record, stacks)
        result = aligned.rolled()
        if result is not None:
            return Attempt(result + _joined(steps[count * together :]))
        if aligned.is_hopeless:
            return Attempt(None, is_hopeless=True)
    return Attempt(None)


class _Aligned:
    """Steps of which the most frequent one is the template. `matches` holds, of steps that have all of it, those nodes."""

    def __init__(self, steps: list[Nodes], record: Record, stacks: Stacks) -> None:
        self.steps, self.record, self.stacks = steps, record, stacks
        self.is_hopeless = False
        keys = [record.keys(step) for step in steps]
        template, count = max(Counter(keys).items(), key=lambda item: (item[1], -len(item[0])))
        self.matches: list[Nodes | None] = []
        if count >= _MIN_ALIKE and len(template) * len(steps) >= cost.LIMITS.nodes:
            like = steps[keys.index(template)]
            matches = [
                step if key == template else _match(step, key, like, template, record) for step, key in zip(steps, keys, strict=True)
            ]
            if len(steps) - matches.count(None) >= MIN_STEPS:
                self.matches = matches

    def rolled(self) -> Nodes | None:
        if not self.matches:
            return None
        result: Nodes = []
        success = False
        place = 0
        while place < len(self.steps):
            end, is_match = place + 1, self.matches[place] is not None
            while end < len(self.steps) and (self.matches[end] is not None) is is_match:
                end += 1
            if is_match:
                made = self._run(place, end) or self._between_longer(place, end)
            else:
                made = roll_steps(self.steps[place:end], self.record, self.stacks).nodes if end - place >= MIN_STEPS else None
            success |= made is not None
            result += _joined(self.steps[place:end]) if made is None else made
            place = end
        return result if success else None

    def _between_longer(self, first: int, end: int) -> Nodes | None:
        """Without the steps that hold more than the template."""
        longer = [place for place in range(first, end) if len(self.steps[place]) != len(self.matches[place] or ())]
        if not longer:
            return None
        result: Nodes = []
        success = False
        for last in [*longer, end]:
            made = self._run(first, last)
            success |= made is not None
            result += _joined(self.steps[first:last]) if made is None else made
            result += self.steps[last] if last < end else []
            first = last + 1
        return result if success else None

    def _run(self, first: int, end: int) -> Nodes | None:
        """Steps that all match as a scan, with as few as possible left out at the ends."""
        if end - first < MIN_STEPS:
            return None
        reasons = []
        for left_out in range(_MAX_PEELED + 1):
            for late in range(min(left_out, 1) + 1):
                a, b = first + left_out - late, end - late
                if b - a < MIN_STEPS:
                    continue
                table = [match for match in self.matches[a:b] if match is not None]
                try:
                    made = build(Family(self.record, table, _joined(self.steps[a:b])), self.stacks)
                except Unfit as reason:
                    self.record.drop()
                    reasons.append(str(reason))
                    apart = self._by_lag(a, b, reason.lag) if reason.lag else None
                    if apart is not None:
                        return _joined(self.steps[first:a]) + apart + _joined(self.steps[b:end])
                    self.is_hopeless = reason.hopeless
                    if reason.hopeless:
                        self._log(first, end, reasons)
                        return None
                    continue
                return _joined(self.steps[first:a]) + made + _joined(self.steps[b:end])
        self._log(first, end, reasons)
        return None

    def _by_lag(self, first: int, end: int, lag: int) -> Nodes | None:
        """Loops of so many steps each, which read what earlier ones have made; like loops are rolled in their turn."""
        result: Nodes = []
        success = False
        for start in range(first, end, lag):
            stop = min(start + lag, end)
            made = self._run(start, stop)
            success |= made is not None
            result += _joined(self.steps[start:stop]) if made is None else made
        return result if success else None

    def _log(self, first: int, end: int, reasons: list[str]) -> None:
        nodes = len(self.matches[first] or ())
        self.record.log.append(f"not rolled: {end - first} steps of {nodes} nodes: {'; '.join(dict.fromkeys(reasons))}")


def _joined(steps: Sequence[Nodes]) -> Nodes:
    return [node for step in steps for node in step]


def _match(step: Nodes, keys: tuple[int, ...], like: Nodes, template: tuple[int, ...], record: Record) -> Nodes | None:
    """The nodes of a step that match the template in order, leaving out the others; None if they do not.

    Where that can be done in several ways (constants look alike), from the front or from the end, whichever is wired like the template.
    """
    found = _subsequence(step, keys, template)
    if found is None or _is_wired_like(found, like, record):
        return found
    late = _subsequence(step[::-1], keys[::-1], template[::-1])
    return late[::-1] if late is not None and _is_wired_like(late[::-1], like, record) else found


def _is_wired_like(found: Nodes, like: Nodes, record: Record) -> bool:
    """Where a node of the template reads one of its own step, so does the node that matches it."""
    place = {node: j for j, node in enumerate(like)}
    for node, other in zip(found, like, strict=True):
        for value, expected in zip(record.operands(node), record.operands(other), strict=True):
            if expected.node in place and value.node is not found[place[expected.node]]:
                return False
    return True


def _subsequence(step: Nodes, keys: tuple[int, ...], template: tuple[int, ...]) -> Nodes | None:
    found, place = [], 0
    for key in template:
        try:
            place = keys.index(key, place)
        except ValueError:
            return None
        found.append(step[place])
        place += 1
    return found
