"""Vectors of every second, third or fourth element, as the parts of complex numbers: where a loop's body takes all of them, they are loaded
and stored at once, and dealt out among vectors in registers.

    for l in vector { let a = x[2 * l]; let b = x[2 * l + 1]; .. }  ->  one load of twice as many elements, two shuffles
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from irdl.loops.expressions import Buffer, Load
from irdl.loops.index import MOST_BETWEEN, Index, part_of_run
from irdl.loops.language import Statement, Store
from irdl.loops.walk import expressions, subexpressions


class Interleaved:
    """Of the body of a vector loop, the accesses whose lanes are a few elements apart.

    Args:
        key: what stands for the memory of a buffer.
    """

    def __init__(self, body: Sequence[Statement], lane: str, key: Callable[[Buffer], Buffer]) -> None:
        self._lane = lane
        loads = [_loads(statement) for statement in body]
        self._loaded = {(load.buffer, load.index) for found in loads for load in found}
        #: by a store's identity, those that are done with it, in the order of their elements
        self._families: dict[int, list[Store]] = {}
        stores = [(place, s) for place, s in enumerate(body) if isinstance(s, Store) and self.is_apart(s.buffer, s.index)]
        for _, store in stores:
            step = store.index.coefficient(lane)
            wanted = [store.index + part for part in range(step)]
            family = [(other, s) for other, s in stores if s.buffer is store.buffer and s.index in wanted]
            between = range(min(other for other, _ in family), max(other for other, _ in family) + 1)
            members = sorted((s for _, s in family), key=lambda s: s.index.constant)
            if [s.index for s in members] != wanted or any(id(s) in self._families for s in members):
                continue
            memory = key(store.buffer)
            is_read = any(key(load.buffer) is memory for other in between for load in loads[other])
            others = (body[other] for other in between if body[other] not in members)
            if not is_read and not any(isinstance(s, Store) and key(s.buffer) is memory for s in others):
                self._families.update({id(s): members for s in members})

    def is_apart(self, buffer: Buffer, index: Index) -> bool:
        """Lanes are a few elements apart, in memory."""
        return buffer.space != "register" and 2 <= index.coefficient(self._lane) <= MOST_BETWEEN

    def part(self, load: Load) -> int | None:
        """Which of the elements that are loaded at once the first lane takes; None where some of those in between are not asked for."""
        return part_of_run(load.buffer, load.index, self._lane, self._loaded)

    def family(self, store: Store) -> list[Store]:
        """What is stored at once with it, in the order of elements; nothing where it is stored alone."""
        return self._families.get(id(store), [])


def _loads(statement: Statement) -> list[Load]:
    return [item for expression in expressions(statement) for item in subexpressions(expression) if isinstance(item, Load)]
