"""Stores that later ones hide: of `h[t, j] = ..` for every j and `h[t] /= ..` behind them, the last is what the buffer holds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Sequence
from typing import TypeAlias

from irdl.ir.graph import Node
from irdl.ops.joining import UPDATE_SLICE
from irdl.tracing.rolling.record import Record
from irdl.tracing.rolling.stores import Stores

#: so many different grids of stores are looked through
_MAX_GRIDS = 8
#: a store may be hidden by so many smaller ones together
_MAX_CELLS = 256

Place: TypeAlias = tuple[int, ...]


def without_hidden(steps: list[list[Node]], record: Record, stores: Stores) -> list[list[Node]]:
    """The nodes of steps that follow each other, without the stores of all of them that later ones hide."""
    nodes = [node for step in steps for node in step if node.op is UPDATE_SLICE]
    inside = set(nodes)
    seen: set[Node] = set()
    instead: dict[Node, Node] = {}
    for node in reversed(nodes):
        if node in seen or node in record.dead or node in record.ghosts:
            continue
        chain = chain_to(node, inside, record)
        seen.update(chain)
        hidden = _hidden(chain) if len(chain) > 1 else ()
        if hidden:
            instead |= _stored_again(chain, hidden, record)
    if not instead and not any(node in record.dead for node in nodes):
        return steps
    stores.learn([instead[node] for node in nodes if node in instead])
    dead = record.dead
    return [[instead.get(node, node) for node in step if node in instead or node not in dead] for step in steps]


def chain_to(node: Node, inside: set[Node], record: Record) -> list[Node]:
    """The stores that lead to this one, of buffers that nothing else reads in between; the first one first."""
    chain = [node]
    while True:
        before = record.now(chain[-1].operands[0]).node
        if before is None or before.op is not UPDATE_SLICE or before not in inside or len(record.readers(before.output)) != 1:
            return chain[::-1]
        chain.append(before)


def _stored_again(chain: Sequence[Node], hidden: Container[Node], record: Record) -> dict[Node, Node]:
    """The stores of a chain that take the place of those behind the first one that is hidden."""
    first = next(place for place, node in enumerate(chain) if node in hidden)
    value = record.now(chain[first].operands[0])
    made: dict[Node, Node] = {}
    for node in chain[first:]:
        if node not in hidden:
            # Only the last store's buffer is the same: what nothing read so far may still be of one in between.
            a = node.attributes
            value = record.update(value, record.now(node.operands[1]), a.start, a.stride, node.location)
            (made[node],) = record.taken()
    record.replace(chain[-1].output, value)
    record.dead.update(chain[first:])
    return made


def _hidden(chain: Sequence[Node]) -> set[Node]:
    """Those of a chain of stores, first to last, that later ones hide; nothing reads the buffer in between."""
    #: the corners of what is stored later, by shape and by where the grid of that shape lies
    later: dict[tuple[Place, Place], set[Place]] = {}
    found: set[Node] = set()
    for node in reversed(chain):
        start, shape = node.attributes.start, node.operands[1].shape
        # One that leaves gaps hides nothing, and is not looked at.
        if any(step != 1 for step in node.attributes.stride) or 0 in shape:
            continue
        if any(_is_covered(start, shape, *grid, cells) for grid, cells in later.items()):
            found.add(node)
            continue
        grid = (shape, tuple([place % width for place, width in zip(start, shape, strict=True)]))
        if grid in later or len(later) < _MAX_GRIDS:
            later.setdefault(grid, set()).add(start)
    return found


def _is_covered(start: Place, shape: Place, width: Place, origin: Place, cells: set[Place]) -> bool:
    """Every element of a box lies in one of the cells of a grid."""
    spans = [range((s - o) // w * w + o, s + n, w) for s, n, w, o in zip(start, shape, width, origin, strict=True)]
    return math.prod(map(len, spans)) <= _MAX_CELLS and all(cell in cells for cell in itertools.product(*spans))
