"""The parts of a scan by name: what goes in is constants, carry and xs, what comes out is carry and ys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class LoopInputs(Generic[Item]):
    """One item for each operand of a scan, or for each input of its body. Iterating gives all, in their order."""

    consts: Sequence[Item]
    carry: Sequence[Item]
    xs: Sequence[Item]

    def __iter__(self) -> Iterator[Item]:
        yield from self.consts
        yield from self.carry
        yield from self.xs


@dataclass(frozen=True)
class LoopOutputs(Generic[Item]):
    """One item for each output of a scan, or of its body."""

    carry: Sequence[Item]
    ys: Sequence[Item]

    def __iter__(self) -> Iterator[Item]:
        yield from self.carry
        yield from self.ys


def settle(marks: Sequence[bool], first: int, count: int, through: Callable[[list[bool]], Sequence[bool]]) -> list[bool]:
    """Marks of a body's inputs once the carry (`count` from `first`) is marked wherever the body makes it so: a fixed point.

    Args:
        marks: those that the operands give.
        through: from marks of the body's inputs to those of its outputs, the carry first.
    """
    settled = list(marks)
    while True:
        outputs = through(settled)
        grown = [mark or (first <= place < first + count and outputs[place - first]) for place, mark in enumerate(settled)]
        if grown == settled:
            return settled
        settled = grown
