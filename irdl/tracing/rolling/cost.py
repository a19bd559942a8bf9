"""What pays: how large a loop has to be, and what making one array of separate ones may cost.

The seconds were measured on one core; only their ratios matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from irdl.ir.graph import Node, Value
from irdl.ops.contract import DOT
from irdl.ops.control import COND, SCAN, WHILE
from irdl.ops.joining import CONCAT, UPDATE_SLICE

#: fewer steps stay as they are
MIN_STEPS = 4
#: arrays that stay in the cache: a loop over them costs no more than the one kernel that the steps would fuse to
SMALL_BYTES = 16 * 1024
#: what is copied to make one array of separate ones may take this part of what the loop computes
MAX_COPIED = 0.1
#: seconds of a node, a byte of a contraction's multiplications, an element and each cycle that its op takes for a vector
_NODE, _MULTIPLY_BYTE, _ELEMENT, _ELEMENT_CYCLE = 10e-9, 2.2e-12, 0.05e-9, 0.01e-9
#: seconds of a byte copied where all of it stays in the cache and where not, of a piece copied
_NEAR_BYTE, _FAR_BYTE, _PIECE = 0.015e-9, 0.05e-9, 15e-9
_NEAR_BYTES = 4 << 20


@dataclass
class Limits:
    """Loops that record fewer nodes in all stay as they are; where they are elementwise and large, they fuse to one kernel.

    Tests lower both, so that small programs are rolled.
    """

    nodes: int = 24
    elementwise_nodes: int = 200


LIMITS = Limits()


class Unfit(Exception):
    """These steps do not make a scan; the message says why. `hopeless`: fewer of them, or several as one, do not either. `lag`: so
    many steps in a row read nothing that is too far back among them; 0 if that is not why.
    """

    def __init__(self, reason: str, hopeless: bool = False, lag: int = 0) -> None:
        super().__init__(reason)
        self.hopeless = hopeless
        self.lag = lag


@dataclass
class Bill:
    """What is copied to make arrays of separate values."""

    nbytes: int = 0
    pieces: int = 0
    entries: list[tuple[Value, ...]] = field(default_factory=list)

    def add(self, values: tuple[Value, ...], pieces: int) -> None:
        self.entries.append(values)
        self.nbytes += sum(value.type.nbytes for value in values)
        self.pieces += pieces

    @property
    def seconds(self) -> float:
        return self.nbytes * (_NEAR_BYTE if self.nbytes <= _NEAR_BYTES else _FAR_BYTE) + self.pieces * _PIECE


def moves(node: Node) -> bool:
    """It only moves numbers."""
    return node.op.is_view or node.op is CONCAT or node.op is UPDATE_SLICE


def is_elementwise(nodes: Iterable[Node]) -> bool:
    return all(node.op.is_elementwise or moves(node) for node in nodes)


def check_pays(nodes: list[Node], steps: int) -> None:
    """
    Raises:
        Unfit: as a loop these nodes would be slower than side by side.
    """
    if not nodes:
        raise Unfit("nothing of it is read", hopeless=True)
    if all(moves(node) for node in nodes):
        raise Unfit("it only moves numbers", hopeless=True)
    total = sum(map(_count, nodes)) * steps
    is_small = largest(nodes) <= SMALL_BYTES
    if total < (LIMITS.nodes if is_small or not is_elementwise(nodes) else LIMITS.elementwise_nodes):
        raise Unfit(f"{total} nodes in all are too few", hopeless=True)


def _count(node: Node) -> int:
    """A branch or a loop of unknown length is code of its own in each step."""
    return 1 + sum(map(_count, (inner for region in node.regions for inner in region.nodes))) if node.op in (COND, WHILE) else 1


def check_copies(nodes: list[Node], steps: int, bill: Bill) -> None:
    """
    Raises:
        Unfit: what has to be copied costs too much beside what the loop computes.
    """
    work = sum(map(node_seconds, nodes)) * steps
    if bill.seconds > MAX_COPIED * work:
        reason = f"copying {bill.nbytes} bytes of separate arrays takes {bill.seconds * 1e6:.2f} us, the loop {work * 1e6:.2f}"
        raise Unfit(reason, hopeless=True)
    if is_elementwise(nodes) and largest(nodes) > SMALL_BYTES:
        raise Unfit("separate arrays that only elementwise ops read", hopeless=True)


def largest(nodes: Iterable[Node]) -> int:
    """The bytes of the largest array that the nodes make."""
    return max(value.type.nbytes for node in nodes for value in node.outputs)


def node_seconds(node: Node) -> float:
    """About how long a node takes."""
    if node.op is DOT:
        return _NODE + _MULTIPLY_BYTE * node.output.dtype.itemsize * _multiplications(node)
    if node.op is SCAN:
        return float(node.attributes.length * sum(map(node_seconds, node.regions[0].nodes)))
    if node.op in (COND, WHILE):  # one side, one round
        return _NODE + sum(sum(map(node_seconds, region.nodes)) for region in node.regions) / len(node.regions)
    if moves(node):
        return _NODE
    elements = max(value.type.size for value in (*node.outputs, *node.operands))
    return _NODE + (_ELEMENT + node.op.cycles * _ELEMENT_CYCLE) * elements


def _multiplications(node: Node) -> int:
    left, right, _ = node.attributes.labels
    extents: dict[str, int] = {}
    for labels, value in zip((left, right), node.operands, strict=True):
        extents.update(zip(labels, value.shape, strict=True))
    return math.prod(extents.values())
