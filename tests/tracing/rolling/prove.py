"""Are two graphs the same computation, element by element? Loops are run through, data movement is followed exactly.

Each array is an array of numbers of elements. Views, concatenations, stores, and gathers and slices at known places move numbers;
every other op makes new numbers, the same for the same op over the same numbers. Both sides of a cond are run, and an element that is
one number on both is that number; of a while loop the carry is run through its regions as numbers that nothing else has. Two graphs are equal if their outputs hold the
same numbers. It shares nothing with the rolling it checks. Linear in the elements: for small shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl.ir.builder import CONSTANT
from irdl.ir.graph import Graph, Node, freeze_attributes
from irdl.ops.control import COND, SCAN, WHILE
from irdl.ops.dynamic import DYNAMIC_SLICE, DYNAMIC_UPDATE_SLICE
from irdl.ops.index import GATHER, SCATTER_SET
from irdl.ops.joining import CONCAT, PAD, UPDATE_SLICE
from irdl.ops.shape import BROADCAST, RESHAPE, REVERSE, SLICE, TRANSPOSE

_MOVES = (BROADCAST, CONCAT, PAD, RESHAPE, REVERSE, SLICE, TRANSPOSE, UPDATE_SLICE)
#: ops that move elements to places, by which operand the places are
_PLACED = {GATHER: 1, SCATTER_SET: 1, DYNAMIC_SLICE: 1, DYNAMIC_UPDATE_SLICE: 2}


class _Numbering:
    def __init__(self) -> None:
        self._table: dict[Any, np.ndarray] = {}
        self._next = 0
        #: number -> what it holds, for elements of constants
        self._constants: dict[int, np.generic] = {}
        #: how many while loops are around
        self._depth = 0

    def numbers(self, key: Any, shape: tuple[int, ...]) -> np.ndarray:
        if key not in self._table:
            size = int(np.prod(shape))
            self._table[key] = np.arange(self._next, self._next + size, dtype=np.int64).reshape(shape)
            self._next += size
        return self._table[key]

    def run(self, graph: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        held = dict(zip(graph.inputs, inputs, strict=True))
        for node in graph.nodes:
            held.update(zip(node.outputs, self._node(node, [held[value] for value in node.operands]), strict=True))
        return [held[value] for value in graph.outputs]

    def _node(self, node: Node, operands: list[np.ndarray]) -> list[np.ndarray]:
        if node.op in _MOVES:
            return [np.asarray(a) for a in node.op.evaluate(operands, node.attributes, ())]
        if node.op is CONSTANT:  # element by element, so that a stack of constants is its constants
            array = node.attributes.value
            flat = [int(self.numbers(("element", array.dtype.str, item.tobytes()), ())) for item in array.reshape(-1)]
            self._constants.update(zip(flat, array.reshape(-1), strict=True))
            return [np.array(flat, np.int64).reshape(array.shape)]
        if node.op is SCAN:
            return self._scan(node, operands)
        if node.op is COND:
            return self._cond(node, operands)
        if node.op is WHILE:
            return self._while(node, operands)
        if node.op in _PLACED:
            where = _PLACED[node.op]
            places = [self._constants.get(int(number)) for number in operands[where].reshape(-1)]
            if None not in places:
                known = np.array(places, np.int64).reshape(operands[where].shape)
                given = [known if place == where else operand for place, operand in enumerate(operands)]
                return [np.asarray(a) for a in node.op.evaluate(given, node.attributes, ())]
        key = (node.op.name, freeze_attributes(node.attributes), node.regions, tuple((a.shape, a.tobytes()) for a in operands))
        return [self.numbers((key, i), value.shape) for i, value in enumerate(node.outputs)]

    def _cond(self, node: Node, operands: list[np.ndarray]) -> list[np.ndarray]:
        predicate = int(operands[0])
        found = []
        for a, b in zip(*(self.run(region, operands[1:]) for region in node.regions), strict=True):
            pairs = zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True)
            chosen = [x if x == y else int(self.numbers(("cond", predicate, x, y), ())) for x, y in pairs]
            found.append(np.array(chosen, np.int64).reshape(a.shape))
        return found

    def _while(self, node: Node, operands: list[np.ndarray]) -> list[np.ndarray]:
        condition, body = node.regions
        first, second = node.attributes.cond_consts, node.attributes.cond_consts + node.attributes.body_consts
        start = operands[second:]
        carry = [self.numbers(("carry", self._depth, i), a.shape) for i, a in enumerate(start)]
        self._depth += 1
        asked = self.run(condition, [*operands[:first], *carry])
        after = self.run(body, [*operands[first:second], *carry])
        self._depth -= 1
        key = ("while", *((a.shape, a.tobytes()) for a in (*start, *carry, *asked, *after)))
        return [self.numbers((key, i), a.shape) for i, a in enumerate(start)]

    def _scan(self, node: Node, operands: list[np.ndarray]) -> list[np.ndarray]:
        a = node.attributes
        given = a.inputs(operands)
        carry = given.carry
        ys = [np.empty((a.length, *value.shape[1:]), np.int64) for value in node.outputs[a.carry :]]
        for step in reversed(range(a.length)) if a.reverse else range(a.length):
            results = self.run(node.regions[0], [*given.consts, *carry, *(x[step] for x in given.xs)])
            carry = results[: a.carry]
            for y, result in zip(ys, results[a.carry :], strict=True):
                y[step] = result
        return [*carry, *ys]


def is_same(first: Graph, second: Graph) -> bool:
    """Both compute the same outputs from the same inputs, op for op, scans run through."""
    if first.input_types != second.input_types or first.output_types != second.output_types:
        return False
    numbering = _Numbering()
    inputs = [numbering.numbers(("input", i), type.shape) for i, type in enumerate(first.input_types)]
    pairs = zip(numbering.run(first, inputs), numbering.run(second, inputs), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)
