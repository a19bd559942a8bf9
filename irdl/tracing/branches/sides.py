"""Both sides of a branch, recorded as a `cond`: what either changes is chosen between, and so is how it is left."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.graph import Graph, Value
from irdl.ir.types import TensorType
from irdl.ops.shape import BROADCAST, BroadcastAttributes
from irdl.tracing import counters, tree
from irdl.tracing.aliases import connect
from irdl.tracing.box import ARRAY, PYTHON, is_box, to_value, wrap
from irdl.tracing.branches.blocks import NOTHING, RETURN_CODE, Block, Exit, capture, trace_block
from irdl.tracing.branches.merge import ANYTHING, Merge
from irdl.tracing.branches.partly import joined_variable, resolve, ways_of
from irdl.tracing.branches.places import Places
from irdl.tracing.capture.objects import MISSING
from irdl.tracing.checks import check, fail
from irdl.tracing.lines import user_line
from irdl.tracing.of_regions import joined_dtype, joined_kind, record_cond
from irdl.tracing.operations import cast
from irdl.tracing.recorder import Cell, open_trace, trace_stack
from irdl.tracing.region import Region
from irdl.tracing.unset import Partly
from irdl.tracing.views import cells_of

_OTHER = (
    "an array is stored into that may be another one since a branch, with another dtype, seen at places that are not known, or decided "
    "within the branch: copy it on that side"
)
#: a block of the user's code as a function
Run = Callable[[], Exit | None]


def is_open(test: Any) -> bool:
    """A test whose outcome the trace does not know."""
    return is_box(test) and test.is_open


def truth(test: Any) -> Value:
    """Of one number, whether it is true, as a value."""
    flat = np.reshape(test, ())
    return to_value(flat if flat.dtype == np.bool_ else flat != 0)


def then(found: Exit | None, rest: Run | None) -> Exit | None:
    """What comes behind a block, where that was not left before its end."""
    if rest is None:
        return found
    if found is None:
        return rest()
    if NOTHING not in found.ways:
        return found
    return where_left(found, rest)


def without(found: Exit | None, way: int) -> Exit | None:
    """How a block is left around one that is left like this, where one of the ways ends there."""
    if found is None or way not in found.ways:
        return found
    ways = (found.ways - {way}) | {NOTHING}
    if ways == {NOTHING}:
        return None
    code = wrap(to_value(np.where(found.code == way, NOTHING, found.code)), PYTHON)
    return replace(found, code=code, ways=ways, folded=found.folded | {way})


def where_left(found: Exit, run: Run) -> Exit | None:
    """`run()` where a block was left at its end, as it may have been."""
    ways = found.ways - {NOTHING}
    left = replace(found, code=next(iter(ways)) if len(ways) == 1 else found.code, ways=ways)
    places = Places([run], capture(), found.partly)

    def going() -> Exit | None:
        resolve(found.partly, found, frozenset([NOTHING]), places)
        return run()

    def gone() -> Exit:
        resolve(found.partly, found, ways, places)
        return left

    return two_sides(found.code == NOTHING, going, gone, None, places)


def two_sides(test: Any, true: Run, false: Run, rest: Run | None = None, places: Places | None = None) -> Exit | None:
    """`if test: true() else: false()`, and `rest()` where neither leaves. Where one does, that belongs to the other. `places`: what they
    may change, where it is more than they reach."""
    flag = truth(test)
    places = places or Places([true, false, rest], capture())
    on_true = trace_block(true, places, "if")
    if on_true.raised is not None:
        raises(on_true, flag, True)
        return then(false(), rest)
    if rest is not None and on_true.exit is not None and NOTHING not in on_true.exit.ways:
        inner, rest = rest, None
        on_false = trace_block(lambda: then(false(), inner), places, "else")
    else:
        on_false = trace_block(false, places, "else")
        if on_false.raised is None and rest is not None and on_false.exit is not None and NOTHING not in on_false.exit.ways:
            last, rest = rest, None
            on_true = trace_block(lambda: then(true(), last), places, "if")
    if on_false.raised is not None:
        raises(on_false, flag, False)
        return then(true(), rest)
    if on_true.raised is not None:
        raises(on_true, flag, True)
        return false()
    return then(_join(flag, on_true, on_false, places), rest)


def raises(block: Block, flag: Value, holds: bool) -> None:
    """A side raises that is taken where the flag is `holds`: from here on the other one is, as the call has ended there with that error."""
    error = block.raised
    assert error is not None
    if isinstance(error, NameError) and counters.are_within(open_trace()):
        raise TraceError(f"{error}: not at all steps of the loop{user_line()}")
    with block.trace.resumed():
        fail(error)
    if block.takes_numbers:  # it shows numbers that are computed on that side
        other = Region(Graph([], [], "else"), (), None, (), None, None)
        sides = [block.region(tuple), other]
        record_cond(flag, [], sides if holds else sides[::-1], 0)
    else:
        fails = wrap(flag)
        check(fails if holds else np.logical_not(fails), error)


@dataclass
class _Leaf:
    """A number or an array that is another one on each side."""

    pair: tuple[Any, Any]
    type: TensorType
    kind: str


class Leaves:
    """The numbers and arrays that are others on the two sides, and what stands for them behind the branch."""

    def __init__(self) -> None:
        self.items: list[_Leaf] = []
        self._places: dict[tuple[int, int], int] = {}
        self.found: list[Any] = []

    def collect(self, a: Any, b: Any, name: str) -> Any:
        """Take in two of them."""
        if (id(a), id(b)) not in self._places:
            check_counted(a, b, name)
            self._places[id(a), id(b)] = len(self.items)
            self.items.append(_Leaf((a, b), *joined(a, b, name)))
        return a

    def give(self, a: Any, b: Any, name: str) -> Any:
        """What stands for two that were taken in."""
        return self.found[self._places[id(a), id(b)]]


def joined(a: Any, b: Any, name: str, what: str = "side of the branch") -> tuple[TensorType, str]:
    """The type and the kind of what stands for two numbers or arrays.

    Raises:
        TraceError: they have different shapes.
    """
    given = [item for item in (a, b) if item is not ANYTHING]
    types_ = [tree.leaf_type(item, f"`{name}`") for item in given]
    kinds = [tree.leaf_kind(item) or ARRAY for item in given]
    if len(given) == 1:
        return types_[0], kinds[0]
    if types_[0].shape != types_[1].shape:
        raise TraceError(f"`{name}` is {types_[0]} on one {what} and {types_[1]} on the other: give it one shape{user_line()}")
    type_ = TensorType(joined_dtype(types_[0].dtype, types_[1].dtype, *kinds), types_[0].shape)
    return type_, joined_kind(Value(type_), *kinds)


def check_counted(a: Any, b: Any, name: str) -> None:
    """Where a loop is traced once, numbers of two types may each be known at every step.

    Raises:
        TraceError: these are such.
    """
    given = [item for item in (a, b) if item is not ANYTHING]
    types_ = {(tree.leaf_type(item, f"`{name}`").dtype, tree.leaf_kind(item)) for item in given}
    if len(types_) > 1 and counters.are_within(open_trace()):
        raise TraceError(f"`{name}` is of one type or another{user_line()}")


def as_type(leaf: Any, type_: TensorType) -> Value:
    """A number or an array as a value of the current trace."""
    if leaf is ANYTHING:
        trace = open_trace()
        zero = trace.constant(np.zeros((), type_.dtype))
        return trace.apply(BROADCAST, [zero], BroadcastAttributes(type_.shape))[0] if type_.shape else zero
    return cast(to_value(leaf), type_.dtype)


def _join(flag: Value, on_true: Block, on_false: Block, places: Places) -> Exit | None:
    """Record a cond of two traced sides; all that they have changed is what the taken one makes of it."""
    trace, sides = open_trace(), (on_true, on_false)
    leaves, key = Leaves(), object()
    _contents(Merge(leaves.collect, places.knows), sides, key)
    cells = list(dict.fromkeys(cell for side in sides for cell in side.trace.stored))

    def outputs(which: int) -> Callable[[], Sequence[Value]]:
        return lambda: [
            *(as_type(leaf.pair[which], leaf.type) for leaf in leaves.items),
            *(sides[which].trace.read(cell) for cell in cells),
        ]

    regions = [side.region(outputs(which)) for which, side in enumerate(sides)]
    results = record_cond(flag, [], regions, len(leaves.items) + len(cells))
    for leaf, value in zip(leaves.items, results, strict=False):
        made = wrap(value, leaf.kind)
        leaves.found.append(made)
        kinds = tuple(item.__class__ for item in leaf.pair)
        if kinds[0] is not kinds[1] and not any(item is ANYTHING for item in leaf.pair):
            trace_stack()[0].types[made.cell] = kinds
    for which, side in enumerate(sides):
        _connect(leaves.items, leaves.found, side, which, flag)
    for cell, value in zip(cells, results[len(leaves.items) :], strict=True):
        trace.put(cell, value)
    contents, left = _contents(Merge(leaves.give, places.knows), sides, key)
    places.put(contents)
    return left


def _contents(merge: Merge, sides: tuple[Block, Block], key: Any) -> tuple[list[tuple[Any, Any, Any]], Exit | None]:
    """What the places hold that either side changes, and how both are left.

    Raises:
        TraceError: what they hold cannot be one thing.
    """
    found: list[tuple[Any, Any, Any]] = []
    exits = sides[0].exit, sides[1].exit
    ways = ways_of(exits[0]) | ways_of(exits[1])
    for place_key in dict.fromkeys(key for side in sides for key in side.changes):
        place = next(side.changes[place_key] for side in sides if place_key in side.changes)
        a, b = (side.changes[place_key].after if place_key in side.changes else place.before for side in sides)
        if isinstance(place.owner, types.CellType):
            why = f"`{place.name}` is set on one side of a branch only{user_line()}: give it a value before"
            item = joined_variable(merge, zip((a, b), exits, strict=True), place.name, ways, key, why)
        elif (a is MISSING) != (b is MISSING):
            raise TraceError(f"`{place.name}` is there on one side of a branch only: make it on both, or before{user_line()}")
        else:
            item = a if a is b else merge(a, b, place.name)
        found.append((place.owner, place.key, item))
    partly = [cell for side in exits if side is not None for cell in side.partly]
    partly += [owner for owner, _, item in found if isinstance(item, Partly)]
    return found, joined_exit(merge, *exits, key, tuple({id(cell): cell for cell in partly}.values()))


def joined_exit(merge: Merge, a: Exit | None, b: Exit | None, key: Any, partly: tuple[types.CellType, ...] = ()) -> Exit | None:
    """How a block is left whose two sides are left like this."""
    if a is None and b is None:
        return None
    first, second = (Exit(NOTHING, ANYTHING, ways_of(None)) if item is None else item for item in (a, b))
    ways = first.ways | second.ways
    code, value = merge(first.code, second.code, "the way on"), None
    if RETURN_CODE in ways:
        one, other = (item.value if RETURN_CODE in item.ways else ANYTHING for item in (first, second))
        value = merge(one, other, "the result")
    return Exit(code, value, ways, partly, key)


def _connect(leaves: Sequence[_Leaf], found: Sequence[Any], side: Block, which: int, flag: Value) -> None:
    """Where an array was there before the branch, what stands for it behind may be that very one; so may two of which the side has made
    one."""
    trace, holds = open_trace(), which == 0
    met: dict[Cell, tuple[Any, Any]] = {}
    for leaf, made in zip(leaves, found, strict=True):
        item = leaf.pair[which]
        if not is_box(item) or item.kind != ARRAY:
            continue
        is_new = item.cell.trace is side.trace
        refusal = (
            "" if item.type == made.type and not any(cell.trace is side.trace for step in item.steps for cell in cells_of(step)) else _OTHER
        )
        if not is_new:
            connect(trace, flag, holds, item.cell, item.steps, made.cell, refusal)
            continue
        for alias in item.cell.aliases:  # within the side it may be one that was there
            other = alias.other(item.cell)
            if other is not None and other.trace is not side.trace:
                connect(trace, flag, holds, other, (), made.cell, _OTHER)
        if item.cell in met:
            one, shown = met[item.cell]
            connect(trace, flag, holds, shown.cell, (), made.cell, refusal if one.steps == item.steps else _OTHER)
        met.setdefault(item.cell, (item, made))
