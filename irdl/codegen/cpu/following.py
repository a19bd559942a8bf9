"""What follows a contraction element by element, done part by part where the contraction is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from irdl.ir.graph import Node, Value
from irdl.ops.joining import CONCAT, ConcatAttributes
from irdl.ops.shape import RESHAPE
from irdl.passes.maker import Maker

#: of an axis of one element, which has no letter of the contraction
_ONE = "?"


def chain_of(dot: Node, users: Mapping[Value, list[Node]], kept: Counter[Value], taken: Collection[Node]) -> tuple[Node, ...]:
    """The contraction and what follows it, element by element of the same shape but for axes of one element, each alone in reading the
    one before; what follows another contraction too is its `taken`, and what `kept` counts is read from outside."""
    chain = [dot]
    while not kept[chain[-1].output] and len(readers := users.get(chain[-1].output, [])) == 1:
        (following,) = readers
        before, after = chain[-1].output, following.output
        alike = before.shape == after.shape if following.op.is_elementwise else following.op is RESHAPE and _long(before) == _long(after)
        if not alike or following in taken or following.operands.count(before) > 1:
            break
        chain.append(following)
    while chain[-1].op is RESHAPE:
        chain.pop()
    return tuple(chain)


def _long(value: Value) -> list[int]:
    return [n for n in value.shape if n != 1]


def _labels_of(chain: Sequence[Node]) -> list[str]:
    """Of each value in the chain, a letter for each axis."""
    labels = chain[0].attributes.labels[2]
    found = [labels]
    for node in chain[1:]:
        if node.op is RESHAPE:
            letters = iter(label for label, n in zip(labels, node.operands[0].shape, strict=True) if n != 1)
            labels = "".join(_ONE if n == 1 else next(letters) for n in node.output.shape)
        found.append(labels)
    return found


def part_of(make: Maker, value: Value, labels: str, spans: Mapping[str, range]) -> Value:
    """A part of a value with an axis for each letter, where it is not stretched along them."""
    for place, label in enumerate(labels):
        if label in spans and value.shape[place] != 1:
            value = make.part(value, place, spans[label].start, spans[label].stop)
    return value


def followed(make: Maker, chain: Sequence[Node], mapping: Mapping[Value, Value], spans: Mapping[str, range], value: Value) -> Value:
    """What follows the contraction that `chain` begins with, for the part of its result that `value` is."""
    before = chain[0].output
    for node, labels in zip(chain[1:], _labels_of(chain)[1:], strict=True):
        if node.op is RESHAPE:
            shape = tuple(len(spans.get(label, range(n))) for label, n in zip(labels, node.output.shape, strict=True))
            value = make.shaped(value, shape)
        else:
            operands = [
                value if operand is before else part_of(make, mapping[operand], labels[len(labels) - len(operand.shape) :], spans)
                for operand in node.operands
            ]
            value = make.builder.value(node.op, operands, node.attributes, (), node.location)
        before = node.output
    return value


def joined(make: Maker, chain: Sequence[Node], label: str, parts: Sequence[Value]) -> Value:
    """Parts of what the chain makes, which lie behind each other along a letter."""
    if len(parts) == 1:
        return parts[0]
    return make(CONCAT, *parts, attributes=ConcatAttributes(_labels_of(chain)[-1].index(label)))
