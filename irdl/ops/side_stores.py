"""What a cond's sides store into an array that both are given is stored behind the cond.

    cond(p, x[2:3] = a, x)   ->  x[2:3] = cond(p, a, x[2:3])
    cond(p, x[i] = a, x)     ->  x[j] = b, of j, b = cond(p, (i, a), (0, x[0]))

Then a side has a few numbers for its result, and not the array, which is stored into where it lies. Nothing can fail that would not
have: place 0 is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from irdl.ir.builder import CONSTANT, ConstantAttributes, make_node
from irdl.ir.graph import Graph, Location, Node, Value
from irdl.ir.op import Op
from irdl.ops.dynamic import DYNAMIC_UPDATE_SLICE
from irdl.ops.index import SCATTER_SET
from irdl.ops.joining import UPDATE_SLICE, UpdateSliceAttributes
from irdl.ops.shape import BROADCAST, RESHAPE, SLICE, BroadcastAttributes, ReshapeAttributes, SliceAttributes

#: makes a node: `make_node`, or a builder's method
Make: TypeAlias = Callable[[Op, Sequence[Value], Any, Sequence[Graph], Location], Node]

#: stores at places known at run time: which operand is what is stored, and which the places
_PLACED = {SCATTER_SET: (2, 1), DYNAMIC_UPDATE_SLICE: (1, 2)}
#: the first operand is what they store into
STORES = frozenset((UPDATE_SLICE, *_PLACED))
#: so many stores of one result are done behind a cond
_MAX_STORES = 32


class Store(NamedTuple):
    """A store behind a cond, of that output, or those outputs, of the cond."""

    like: Node
    places: tuple[int, ...]


@dataclass
class Result:
    """How an output of a cond is made: from the operand or the new cond's output `source`, by stores of others of its outputs."""

    source: int
    is_operand: bool
    stores: list[Store] = field(default_factory=list)


def results_apart(regions: Sequence[Graph]) -> tuple[list[Graph], list[Result]] | None:
    """The regions of a cond without what both hand through and without stores into what both are given; None if there is none."""
    first, second = regions
    places = [{value: place for place, value in enumerate(region.inputs)} for region in regions]
    results: list[Result] = []
    outputs: list[tuple[Value, Value]] = []
    for a, b in zip(first.outputs, second.outputs, strict=True):
        found = _stores_of(a, b, places)
        if found is None:
            results.append(Result(len(outputs), is_operand=False))
            outputs.append((a, b))
            continue
        base, pieces = found
        stores = []
        for piece in pieces:
            stores.append(Store(piece.like, tuple(range(len(outputs), len(outputs) + len(piece.pairs)))))
            outputs += piece.pairs
        results.append(Result(base, is_operand=True, stores=stores[::-1]))
    if not any(result.is_operand for result in results):
        return None
    sides = [a for a, _ in outputs], [b for _, b in outputs]
    return [Graph(region.inputs, side, region.name) for region, side in zip(regions, sides, strict=True)], results


def with_stores(make: Make, results: Sequence[Result], operands: Sequence[Value], values: Sequence[Value]) -> list[Value]:
    """A cond's outputs, from its operands and the outputs of the new one of `results_apart`."""
    found: list[Value] = []
    for result in results:
        value = operands[1 + result.source] if result.is_operand else values[result.source]
        for like, places in result.stores:
            value = make(like.op, [value, *(values[place] for place in places)], like.attributes, (), like.location).output
        found.append(value)
    return found


def is_left_alone(value: Value, array: Value) -> bool:
    """Whether a value is an array as it is, perhaps behind stores of what stands there already, as a side has them that does not store."""
    while value is not array:
        node = value.node
        if node is None or node.op not in STORES:
            return False
        if node.op is UPDATE_SLICE:
            part = _part(array, node.attributes, node.operands[1].shape)
            nothing = None if part is None else [part]
        else:
            nothing = _nothing(array, node)
        if nothing is None or not all(map(_is_same, node.operands[1:], nothing)):
            return False
        value = node.operands[0]
    return True


def _is_same(a: Value, b: Value) -> bool:
    """Of short expressions of one output."""
    if a is b or a.node is None or b.node is None:
        return a is b
    is_like = a.node.op is b.node.op and a.node.attributes == b.node.attributes and len(a.node.operands) == len(b.node.operands)
    return is_like and all(map(_is_same, a.node.operands, b.node.operands))


class _Piece(NamedTuple):
    """A store as that node does it, and what each side gives for its operands behind the first."""

    like: Node
    pairs: list[tuple[Value, Value]]


def _stores_of(a: Value, b: Value, places: Sequence[dict[Value, int]]) -> tuple[int, list[_Piece]] | None:
    """The input that both sides store into, or hand through, and what they store, the last store first; None if there is none."""
    pieces: list[_Piece] = []
    while len(pieces) <= _MAX_STORES:
        if a in places[0] and places[0][a] == places[1].get(b):
            return places[0][a], pieces
        is_first = _is_store(a)
        stored, other = (a, b) if is_first else (b, a)
        node = stored.node
        if node is None or not _is_store(stored):
            return None
        if node.op is UPDATE_SLICE:
            part = _part(other, node.attributes, node.operands[1].shape)
            given = None if part is None else [part]
            rest = other.node.operands[0] if other.node is not None and _is_like(other.node, node) else other
        elif other.node is not None and _is_like(other.node, node):
            rest, *given = other.node.operands
        else:
            # What other stores put into place 0 is not looked for.
            given, rest = None if _is_store(other) else _nothing(other, node), other
        if given is None:
            return None
        mine = node.operands[1:]
        pieces.append(_Piece(node, list(zip(mine, given, strict=True) if is_first else zip(given, mine, strict=True))))
        a, b = (node.operands[0], rest) if is_first else (rest, node.operands[0])
    return None


def _is_store(value: Value) -> bool:
    return value.node is not None and value.node.op in STORES


def _is_like(node: Node, other: Node) -> bool:
    """Both are stores at one known place, or at places that come with them."""
    types = ([value.type for value in item.operands] for item in (node, other))
    return node.op is other.op and node.attributes == other.attributes and next(types) == next(types)


def _part(x: Value, attributes: UpdateSliceAttributes, shape: tuple[int, ...]) -> Value | None:
    """`x[place]`, seen through stores into it; None where one of them stores a part of the place, or nobody knows where."""
    start, stride = attributes.start, attributes.stride
    limit = _ends(attributes, shape)
    location = x.location
    while x.node is not None and x.node.op in STORES:
        if x.node.op is not UPDATE_SLICE:
            return None
        store, piece = x.node.attributes, x.node.operands[1]
        if store == attributes and piece.shape == shape:
            return piece
        ends = _ends(store, piece.shape)
        if not any(last <= low or high <= first for low, high, first, last in zip(start, limit, store.start, ends, strict=True)):
            return None
        x = x.node.operands[0]
    if x.shape == shape:
        return x
    return make_node(SLICE, [x], SliceAttributes(start, limit, stride), (), location).output


def _ends(place: UpdateSliceAttributes, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([first + (n - 1) * step + 1 if n else first for first, n, step in zip(place.start, shape, place.stride, strict=True)])


def _nothing(x: Value, store: Node) -> list[Value] | None:
    """What a store like this one leaves `x` as it is by: place 0, and what stands there; None if there is no such place."""
    piece, index = (store.operands[place] for place in _PLACED[store.op])
    location = store.location
    axes = store.attributes.axes
    if any(x.shape[axis] == 0 for axis in axes):
        return None
    zeros = make_node(CONSTANT, (), ConstantAttributes(np.zeros(index.shape, index.dtype)), (), location).output
    extents = piece.shape if store.op is DYNAMIC_UPDATE_SLICE else tuple([1 if axis in axes else n for axis, n in enumerate(x.shape)])
    part = x
    if extents != x.shape:
        part = make_node(SLICE, [x], SliceAttributes((0,) * len(extents), extents, (1,) * len(extents)), (), location).output
    if store.op is SCATTER_SET:
        shape = tuple([n for axis, n in enumerate(x.shape) if axis not in axes])
        if part.shape != shape:
            part = make_node(RESHAPE, [part], ReshapeAttributes(shape), (), location).output
        if part.shape != piece.shape:
            part = make_node(BROADCAST, [part], BroadcastAttributes(piece.shape), (), location).output
    return [zeros, part] if _PLACED[store.op][1] == 1 else [part, zeros]
