"""Running sums and their kin, and the places of extrema."""

from __future__ import annotations

import numpy as np

from irdl.codegen.lowering.layout import Layout
from irdl.codegen.lowering.nest import Loop, blocks
from irdl.codegen.lowering.schedule import Schedule
from irdl.ir.dtypes import is_float
from irdl.ir.graph import Node
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.language import Check, For, Let, Statement, Store
from irdl.loops.rewrite import Names
from irdl.ops.reduce import ARGMAX, CUMMAX, CUMMIN, CUMPROD, CUMSUM

_COMBINE = {CUMSUM: "add", CUMPROD: "mul", CUMMAX: "maximum", CUMMIN: "minimum"}


def running(
    node: Node, operands: list[Layout], outputs: list[Layout], names: Names, schedule: Schedule, checks: list[Check]
) -> list[Statement]:
    """A running sum, product or extremum."""
    (x,), (y,) = operands, outputs
    if 0 in x.shape:
        return []
    axis = node.attributes.axis
    reach = abs(y.strides[axis])
    nearest = all(extent == 1 or abs(stride) >= reach for extent, stride in zip(y.shape, y.strides, strict=True))
    lines = _along if nearest else _across
    return lines(
        _COMBINE[node.op], _turned(x, axis, node.attributes.reverse), _turned(y, axis, node.attributes.reverse), axis, names, schedule
    )


def _turned(layout: Layout, axis: int, reverse: bool) -> Layout:
    """The layout of `np.flip(value, axis)`."""
    if not reverse:
        return layout
    stride = layout.strides[axis]
    strides = (*layout.strides[:axis], -stride, *layout.strides[axis + 1 :])
    return Layout(layout.buffer, layout.offset + stride * (layout.shape[axis] - 1), strides, layout.shape)


def _along(combine: str, x: Layout, y: Layout, axis: int, names: Names, schedule: Schedule) -> list[Statement]:
    """Line by line, with the total in a register; some lines at a time, as each sum waits for the one before."""
    dtype, step, chain = y.buffer.dtype, names("i"), names("r")
    now = Index.variable(step)
    source, target, item, here = x.element(Index(), axis), y.element(Index(), axis), x.element(now, axis), y.element(now, axis)
    *outer, lines = source.shape or (1,)
    result: list[Statement] = []
    for first, size, count in blocks(lines, schedule.chains):
        loops = [Loop(names("i"), extent) for extent in outer] + [Loop(names("b"), count)]
        place = Index.variable(chain) if size > 1 else Index()
        last = Index.variable(loops[-1].variable, size) + place + first
        index = (*(Index.variable(loop.variable) for loop in loops[:-1]), last)[: len(source.shape)]
        total, following = Buffer(names("total"), dtype, size, "register"), Variable(names("t"), dtype)
        start: list[Statement] = [
            Store(total, place, Load(source.buffer, source.at(index))),
            Store(target.buffer, target.at(index), Load(total, place)),
        ]
        body: list[Statement] = [
            Let(following, Operation(combine, (Load(total, place), Load(item.buffer, item.at(index))), dtype)),
            Store(total, place, following),
            Store(here.buffer, here.at(index), following),
        ]
        if size > 1:
            start, body = [For(chain, 0, size, 1, "unrolled", start)], [For(chain, 0, size, 1, "abreast", body)]
        nest = [*start, For(step, 1, x.shape[axis], 1, "serial", body)]
        result += schedule.each(loops, nest, names)
    return result


def _across(combine: str, x: Layout, y: Layout, axis: int, names: Names, schedule: Schedule) -> list[Statement]:
    """All lines at once, step by step."""
    result = schedule.copy(x.element(Index(), axis), y.element(Index(), axis), names)
    if x.shape[axis] == 1:
        return result
    step = names("i")
    now = Index.variable(step)
    here, there, item = y.element(now, axis), y.element(now + -1, axis), x.element(now, axis)

    def element(index: tuple[Index, ...]) -> list[Statement]:
        total = Operation(combine, (Load(there.buffer, there.at(index)), Load(item.buffer, item.at(index))), y.buffer.dtype)
        return [Store(here.buffer, here.at(index), total)]

    body = schedule.over(here.shape, [here, item], element, names, y.buffer.dtype)
    return [*result, For(step, 1, x.shape[axis], 1, "serial", body)]


def arg_reduce(
    node: Node, operands: list[Layout], outputs: list[Layout], names: Names, schedule: Schedule, checks: list[Check]
) -> list[Statement]:
    """Where the largest or smallest is, the first of equal ones."""
    (x,), (out,) = operands, outputs
    axis = node.attributes.axis
    if 0 in out.shape:
        return []
    # One row at a time: the best value so far and its place are registers.
    rows = [names("i") for _ in out.shape]
    row = tuple(Index.variable(name) for name in rows)
    line = x.element(Index(), axis)
    dtype = x.buffer.dtype
    best, place = Buffer(names("best"), dtype, 1, "register"), Buffer(names("place"), np.dtype(np.int64), 1, "register")
    step = names("i")
    item = Variable(names("t"), dtype)
    better = Variable(names("t"), np.dtype(bool))
    old = Load(best, Index())
    bigger = (old, item) if node.op is ARGMAX else (item, old)
    take: Expression = Operation("less", bigger, np.dtype(bool))
    if is_float(dtype):
        new_nan = Operation("not_equal", (item, item), np.dtype(bool))
        old_number = Operation("equal", (old, old), np.dtype(bool))
        take = Operation("bitwise_or", (take, Operation("bitwise_and", (new_nan, old_number), np.dtype(bool))), np.dtype(bool))
    position = IndexValue(Index.variable(step))
    inner: list[Statement] = [
        Let(item, Load(x.buffer, line.at(row) + Index.variable(step, x.strides[axis]))),
        Let(better, take),
        Store(place, Index(), Operation("select", (better, position, Load(place, Index())), np.dtype(np.int64))),
        Store(best, Index(), Operation("select", (better, item, old), dtype)),
    ]
    body: list[Statement] = [
        Store(best, Index(), Load(x.buffer, line.at(row))),
        Store(place, Index(), Literal(np.int64(0))),
        For(step, 1, x.shape[axis], 1, "serial", inner),
        Store(out.buffer, out.at(row), Load(place, Index())),
    ]
    return schedule.each([Loop(name, extent) for name, extent in zip(rows, out.shape, strict=True)], body, names)
