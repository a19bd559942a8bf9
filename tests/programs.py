"""Random graphs for the fuzzer: every dtype, nested scans and conds.

Rounding differs between a program and its compiled form, so a program must not turn rounding into something large. Every
value carries a bound on its size and, while it is exact, the power of two it is a multiple of; ops with jumps (floor,
comparisons, casts to integers, argmax) only take exact values, and values that grow too large are not built upon.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from irdl.ir.builder import Builder
from irdl.ir.graph import Graph, Value
from irdl.ir.types import TensorType
from irdl.ops.contract import DotAttributes
from irdl.ops.control import ScanAttributes
from irdl.ops.elementwise import CastAttributes
from irdl.ops.index import IndexAttributes
from irdl.ops.joining import ConcatAttributes, PadAttributes, UpdateSliceAttributes
from irdl.ops.reduce import ArgReduceAttributes, CumulativeAttributes, ReduceAttributes
from irdl.ops.shape import BroadcastAttributes, IotaAttributes, ReshapeAttributes, ReverseAttributes, SliceAttributes, TransposeAttributes
from irdl.ops.sort import SortAttributes
from irdl.ops.windows import DiagonalAttributes, UnwindowAttributes, WindowsAttributes

EXTENTS = (0, 1, 2, 3, 4, 5, 17)
DTYPES = ("float32", "float32", "float64", "float64", "int32", "int64", "int8", "uint8", "uint32", "bool")
LARGEST = 1e4
EXACT_BITS = 2.0**18
MOST = 400


@dataclass
class Item:
    """A value, a bound on its absolute value, and its granularity (0: inexact)."""

    value: Value
    bound: float
    grain: float

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def exact(self) -> bool:
        return self.dtype.kind != "f" or (self.grain > 0 and self.bound / self.grain < EXACT_BITS)


class Programs:
    """Draws graphs from a source of randomness."""

    def __init__(self, rnd: random.Random) -> None:
        self.rnd = rnd

    def shape(self) -> tuple[int, ...]:
        extents = EXTENTS[1:] if self.rnd.random() < 0.95 else EXTENTS
        shape = tuple(self.rnd.choice(extents) for _ in range(self.rnd.choice((0, 1, 1, 2, 2, 3))))
        return shape if int(np.prod(shape)) <= MOST else shape[:2]

    def graph(self) -> Graph:
        base = self.shape()
        inputs = []
        for place in range(self.rnd.randint(1, 4)):
            shape = base if self.rnd.random() < 0.6 else self.shape()
            inputs.append(Value(TensorType(np.dtype(self.rnd.choice(DTYPES)), shape), name=f"x{place}"))
        return self.body(inputs, self.rnd.randint(3, 14), depth=2)

    def body(self, inputs: list[Value], steps: int, depth: int) -> Graph:
        builder = Builder(fold=self.rnd.random() < 0.5)
        items = [self.input_item(value) for value in inputs]
        for _ in range(steps):
            made = self.step(builder, items, depth)
            items += [item for item in made if item.value.type.size <= MOST]
        later = items[len(inputs) :] or items
        count = self.rnd.randint(1, min(4, len(later)))
        outputs = [item.value for item in self.rnd.sample(later, count)]
        self.last = {item.value: item for item in items}
        return Graph(inputs, outputs, "fuzz")

    @staticmethod
    def input_item(value: Value) -> Item:
        return Item(value, 4.0, 0.25) if value.dtype.kind == "f" else Item(value, 5.0, 1.0)

    def step(self, builder: Builder, items: list[Item], depth: int) -> list[Item]:
        kinds = [self.unary, self.binary, self.binary, self.view, self.view, self.reduce, self.dot, self.cast, self.choose, self.index]
        if depth:
            kinds += [self.scan, self.cond]
        return self.rnd.choice(kinds)(builder, items, depth)

    def pick(self, items: list[Item], kinds: str = "bfiu") -> Item | None:
        candidates = [item for item in items if item.dtype.kind in kinds and item.bound <= LARGEST]
        return self.rnd.choice(candidates) if candidates else None

    def unary(self, builder: Builder, items: list[Item], depth: int) -> list[Item]:
        x = self.pick(items, "fiu")
        if x is None:
            return []
        if x.dtype.kind != "f":
            name = self.rnd.choice(("neg", "abs", "sign", "invert"))
            return [Item(builder.value(name, [x.value]), 5.0, 1.0)]
        smooth = {"tanh": 1.0, "sigmoid": 1.0, "sin": 1.0, "erf": 1.0, "arctan": 1.6, "neg": x.bound, "abs": x.bound}
        name = self.rnd.choice(list(smooth) + ["exp"] * (x.bound <= 8) + ["floor", "sign", "rint"] * x.exact)
        value = builder.value(name, [x.value])
        if name in ("neg", "abs"):
            return [Item(value, x.bound, x.grain)]
        if name in ("floor", "sign", "rint"):
            return [Item(value, x.bound + 1, 1.0)]
        return [Item(value, smooth.get(name, float(np.exp(min(x.bound, 8.0)))), 0.0)]

    def binary(self, builder: Builder, items: list[Item], depth: int) -> list[Item]:
        x = self.pick(items)
        if x is None:
            return []
        partners = [y for y in items if y.dtype == x.dtype and y.bound <= LARGEST and _broadcasts(x.shape, y.shape)]
        y = self.rnd.choice(partners)
        if x.dtype.kind == "b":
            return [Item(builder.value(self.rnd.choice(("bitwise_and", "bitwise_or", "bitwise_xor", "equal")), [x.value, y.value]), 1, 1)]
        if x.dtype.kind in "iu":
            name = self.rnd.choice(
                ("add", "sub", "mul", "floor_divide", "remainder", "maximum", "left_shift", "right_shift", "bitwise_and", "less", "equal")
            )
            return [Item(builder.value(name, [x.value, y.value]), 5.0, 1.0)]
        exact = x.exact and y.exact
        name = self.rnd.choice(["add", "sub", "mul", "maximum", "minimum"] + ["less", "equal"] * exact)
        value = builder.value(name, [x.value, y.value])
        if name in ("less", "equal"):
            return [Item(value, 1, 1)]
        grain = (x.grain * y.grain if name == "mul" else min(x.grain, y.grain)) if exact else 0.0
        bound = {"mul": x.bound * y.bound, "add": x.bound + y.bound, "sub": x.bound + y.bound}.get(name, max(x.bound, y.bound))
        return [Item(value, bound, grain)]

    def view(self, builder: Builder, items: list[Item], depth: int) -> list[Item]:
        x = self.pick(items)
        if x is None:
            return []
        rnd, shape = self.rnd, x.shape
        rank = len(shape)
        choice = rnd.choice(("transpose", "reshape", "broadcast", "slice", "reverse", "windows", "pad", "concat", "update", "iota"))
        if choice == "transpose":
            order = list(range(rank))
            rnd.shuffle(order)
            made = builder.value("transpose", [x.value], TransposeAttributes(tuple(order)))
        elif choice == "reshape":
            size = x.value.type.size
            shapes = [(size,), (1, *shape), (*shape, 1), tuple(reversed(shape))] + ([(2, size // 2)] if size % 2 == 0 else [])
            made = builder.value("reshape", [x.value], ReshapeAttributes(rnd.choice(shapes)))
        elif choice == "broadcast":
            wide = tuple(rnd.choice((2, 3)) if n == 1 else n for n in shape)
            made = builder.value("broadcast", [x.value], BroadcastAttributes(rnd.choice(((2, *wide), wide))))
        elif choice == "slice":
            start = tuple(rnd.randint(0, n) for n in shape)
            limit = tuple(rnd.randint(a, n) for a, n in zip(start, shape, strict=True))
            made = builder.value("slice", [x.value], SliceAttributes(start, limit, tuple(rnd.choice((1, 1, 2)) for _ in shape)))
        elif choice == "reverse":
            made = builder.value("reverse", [x.value], ReverseAttributes(tuple(a for a in range(rank) if rnd.random() < 0.5)))
        elif choice == "windows" and rank and max(shape) <= 40 and rank < 5:
            return self.windows(builder, x)
        elif choice == "pad":
            fill = builder.constant(1, x.dtype)
            low, high = (tuple(rnd.randint(0, 2) for _ in shape) for _ in range(2))
            made = builder.value("pad", [x.value, fill], PadAttributes(low, high))
        elif choice == "concat" and rank:
            others = [y for y in items if y.value.type == x.value.type and y.bound <= LARGEST]
            y = rnd.choice(others)
            made = builder.value("concat", [x.value, y.value], ConcatAttributes(rnd.randrange(rank)))
            return [Item(made, max(x.bound, y.bound), min(x.grain, y.grain))]
        elif choice == "update":
            start = tuple(rnd.randint(0, n) for n in shape)
            limit = tuple(rnd.randint(a, n) for a, n in zip(start, shape, strict=True))
            part = builder.value("slice", [x.value], SliceAttributes(start, limit, (1,) * rank))
            moved = builder.value("neg", [part]) if x.dtype.kind != "b" else builder.value("invert", [part])
            made = builder.value("update_slice", [x.value, moved], UpdateSliceAttributes(start, (1,) * rank))
        elif choice == "iota" and rank:
            axis = rnd.randrange(rank)
            if shape[axis] > 100 or x.dtype.kind == "b":
                return []
            made = builder.value("iota", [], IotaAttributes(x.dtype, shape, axis))
            return [Item(made, 100.0, 1.0)]
        else:
            return []
        return [Item(made, x.bound, x.grain)]

    def windows(self, builder: Builder, x: Item) -> list[Item]:
        """Windows of one or two axes, which are summed back into place, or a diagonal of them."""
        rnd, shape = self.rnd, x.shape
        axes = tuple(rnd.sample(range(len(shape)), rnd.choice((1, 1, min(2, len(shape))))))
        sizes, steps, dilations = (tuple(rnd.randint(1, 3) for _ in axes) for _ in range(3))
        made = builder.value("windows", [x.value], WindowsAttributes(axes, sizes, steps, dilations))
        found = [Item(made, x.bound, x.grain)]
        whole = made.shape[: len(shape)]
        place = next((p for p, axis in enumerate(axes) if whole[axis] == sizes[p]), None)
        if place is not None:
            diagonal = builder.value("diagonal", [made], DiagonalAttributes(axes[place], len(shape) + place))
            found.append(Item(diagonal, x.bound, x.grain))
        if x.dtype.kind != "b" and x.bound * math.prod(sizes) <= LARGEST:
            extents = tuple(shape[axis] for axis in axes)
            summed = builder.value("unwindow", [made], UnwindowAttributes(axes, extents, steps, dilations))
            found.append(Item(summed, x.bound * math.prod(sizes), x.grain))
        return found

    def reduce(self, builder: Builder, items: list[Item], depth: int) -> list[Item]:
        x = self.pick(items)
        if x is None or not x.shape:
            return []
        rnd = self.rnd
        axes = tuple(axis for axis in range(len(x.shape)) if rnd.random() < 0.6) or (0,)
        count = float(np.prod([x.shape[axis] for axis in axes]))
        if x.dtype.kind == "b":
            return [Item(builder.value(rnd.choice(("any", "all")), [x.value], ReduceAttributes(axes)), 1, 1)]
        choice = rnd.choice(("sum", "max", "min", "argmax", "cumsum", "cummax", "sort", "argsort"))
        if choice in ("max", "min", "argmax") and (count == 0 or 0 in x.shape):
            return []
        if choice == "argmax":
            if not x.exact:
                return []
            return [Item(builder.value("argmax", [x.value], ArgReduceAttributes(axes[0])), float(x.shape[axes[0]]), 1.0)]
        if choice == "sort" or (choice == "argsort" and x.exact):
            value = builder.value(choice, [x.value], SortAttributes(axes[0]))
            return [Item(value, x.bound, x.grain) if choice == "sort" else Item(value, float(x.shape[axes[0]]), 1.0)]
        if choice == "argsort":
            return []
        if choice in ("cumsum", "cummax"):
            bound = x.bound * max(1, x.shape[axes[0]]) if choice == "cumsum" else x.bound
            return [
                Item(
                    builder.value(choice, [x.value], CumulativeAttributes(axes[0], rnd.random() < 0.5)), bound, x.grain if x.exact else 0.0
                )
            ]
        bound = x.bound * max(1.0, count) if choice == "sum" else x.bound
        return [Item(builder.value(choice, [x.value], ReduceAttributes(axes)), bound, x.grain)]

    def dot(self, builder: Builder, items: list[Item], depth: int) -> list[Item]:
        x = self.pick(items, "fiu")
        if x is None or not 1 <= len(x.shape) <= 3:
            return []
        rnd = self.rnd
        left = "abc"[: len(x.shape)]
        partners = [
            y for y in items if y.dtype == x.dtype and 1 <= len(y.shape) <= 3 and set(y.shape) & set(x.shape) and y.bound <= LARGEST
        ]
        y = rnd.choice(partners)
        right: list[str] = []
        for place, extent in enumerate(y.shape):
            matching = [c for c, n in zip(left, x.shape, strict=True) if n == extent and c not in right]
            right.append(rnd.choice(matching) if matching and rnd.random() < 0.6 else "def"[place])
        shared = [c for c in left if c in right]
        contracted = [c for c in shared if rnd.random() < 0.7]
        output = [c for c in dict.fromkeys([*left, *right]) if c not in contracted]
        rnd.shuffle(output)
        extents = {**dict(zip(left, x.shape, strict=True)), **dict(zip(right, y.shape, strict=True))}
        count = float(np.prod([extents[c] for c in contracted], initial=1.0))
        if np.prod([float(extents[c]) for c in output], initial=1.0) > MOST:
            return []
        value = builder.value("dot", [x.value, y.value], DotAttributes(f"{left},{''.join(right)}->{''.join(output)}"))
        grain = x.grain * y.grain if x.exact and y.exact else 0.0
        return [Item(value, max(1.0, x.bound * y.bound * count), grain)]

    def cast(self, builder: Builder, items: list[Item], depth: int) -> list[Item]:
        x = self.pick(items)
        if x is None:
            return []
        target = np.dtype(self.rnd.choice(DTYPES))
        if x.dtype.kind == "f" and target.kind != "f" and not (x.exact and x.bound < 100 and target.kind != "u"):
            return []
        if x.dtype.kind != "f" and target.kind == "f":
            # Integers may be anything their dtype holds.
            limit = 1.0 if x.dtype.kind == "b" else float(np.iinfo(x.dtype).max)
            return [Item(builder.value("cast", [x.value], CastAttributes(target)), limit, 1.0)]
        grain = x.grain if target.kind == "f" else 1.0
        return [Item(builder.value("cast", [x.value], CastAttributes(target)), x.bound, grain)]

    def choose(self, builder: Builder, items: list[Item], depth: int) -> list[Item]:
        flags = [item for item in items if item.dtype.kind == "b"]
        x = self.pick(items)
        if not flags or x is None:
            return []
        flag = self.rnd.choice(flags)
        partners = [y for y in items if y.dtype == x.dtype and _broadcasts(x.shape, y.shape) and y.bound <= LARGEST]
        y = self.rnd.choice(partners)
        try:
            np.broadcast_shapes(flag.shape, x.shape, y.shape)
        except ValueError:
            return []
        value = builder.value("select", [flag.value, x.value, y.value])
        return [Item(value, max(x.bound, y.bound), min(x.grain, y.grain))]

    def index(self, builder: Builder, items: list[Item], depth: int) -> list[Item]:
        x = self.pick(items)
        if x is None or not x.shape or 0 in x.shape:
            return []
        rnd = self.rnd
        axis = rnd.randrange(len(x.shape))
        rows = rnd.choice((1, 2, 3))
        places = np.array([[rnd.randrange(-x.shape[axis], x.shape[axis])] for _ in range(rows)], np.int64)
        indices = builder.constant(places)
        taken = builder.value("gather", [x.value, indices], IndexAttributes((axis,)))
        if rnd.random() < 0.5:
            return [Item(taken, x.bound, x.grain)]
        name = "scatter_set" if x.dtype.kind == "b" or rnd.random() < 0.5 else "scatter_add"
        value = builder.value(name, [x.value, indices, taken], IndexAttributes((axis,)))
        return [Item(value, x.bound * (1 + rows), x.grain)]

    def scan(self, builder: Builder, items: list[Item], depth: int) -> list[Item]:
        rnd = self.rnd
        usable = [item for item in items if item.bound <= 50]
        if not usable:
            return []
        length = rnd.choice((0, 1, 2, 3))
        consts = rnd.sample(usable, min(len(usable), rnd.randint(0, 2)))
        carry = rnd.sample(usable, min(len(usable), rnd.randint(1, 2)))
        xs = []
        for item in rnd.sample(usable, min(len(usable), rnd.randint(0, 2))):
            xs.append(builder.value("broadcast", [item.value], BroadcastAttributes((length, *item.shape))))
        inputs = [Value(item.value.type, name=f"c{i}") for i, item in enumerate(consts)]
        states = [Value(item.value.type, name=f"h{i}") for i, item in enumerate(carry)]
        steps = [Value(TensorType(x.dtype, x.shape[1:]), name=f"x{i}") for i, x in enumerate(xs)]
        inner = Programs(rnd)
        inner_builder = Builder(fold=False)
        pool = [Item(v, 50.0 if v.dtype.kind == "f" else 5.0, 0.0 if v.dtype.kind == "f" else 1.0) for v in (*inputs, *states, *steps)]
        for _ in range(rnd.randint(1, 6)):
            pool += [i for i in inner.step(inner_builder, pool, depth - 1) if i.value.type.size <= MOST]
        results = []
        for state in states:
            same = [i for i in pool if i.value.type == state.type and i.bound <= 1e6]
            chosen = rnd.choice(same).value
            if chosen.dtype.kind == "f":
                chosen = inner_builder.value("tanh", [chosen])  # what the loop feeds back stays small
            results.append(chosen)
        ys = rnd.sample(pool, min(len(pool), rnd.randint(0, 2)))
        body = Graph([*inputs, *states, *steps], [*results, *(i.value for i in ys)], "body")
        attributes = ScanAttributes(len(consts), len(carry), length, rnd.random() < 0.5)
        node = builder.node("scan", [*(i.value for i in consts), *(i.value for i in carry), *xs], attributes, [body])
        made = [Item(v, 50.0, 0.0 if v.dtype.kind == "f" else 1.0) for v in node.outputs[: len(carry)]]
        made += [Item(v, i.bound, 0.0 if v.dtype.kind == "f" else 1.0) for v, i in zip(node.outputs[len(carry) :], ys, strict=True)]
        return made

    def cond(self, builder: Builder, items: list[Item], depth: int) -> list[Item]:
        rnd = self.rnd
        flags = [item for item in items if item.dtype.kind == "b"]
        usable = [item for item in items if item.bound <= 50]
        if not flags or not usable:
            return []
        flag = rnd.choice(flags).value
        if flag.type.size != 1:
            flag = builder.value("any", [flag], ReduceAttributes(tuple(range(len(flag.shape)))))
        elif flag.shape:
            flag = builder.value("reshape", [flag], ReshapeAttributes(()))
        operands = rnd.sample(usable, min(len(usable), rnd.randint(1, 3)))
        branches, bounds = [], []
        wanted = None
        for _ in range(2):
            inputs = [Value(item.value.type, name=f"x{i}") for i, item in enumerate(operands)]
            inner = Programs(rnd)
            inner_builder = Builder(fold=False)
            pool = [Item(v, max(o.bound, 1.0), o.grain) for v, o in zip(inputs, operands, strict=True)]
            for _ in range(rnd.randint(1, 5)):
                pool += [i for i in inner.step(inner_builder, pool, depth - 1) if i.value.type.size <= MOST]
            if wanted is None:
                chosen = rnd.sample(pool, min(len(pool), 2))
                wanted = [i.value.type for i in chosen]
            else:
                chosen = []
                for type in wanted:
                    same = [i for i in pool if i.value.type == type]
                    filler = inner_builder.value("broadcast", [inner_builder.constant(1, type.dtype)], BroadcastAttributes(type.shape))
                    chosen.append(rnd.choice(same) if same else Item(filler, 1.0, 1.0))
            bounds.append([i.bound for i in chosen])
            branches.append(Graph(inputs, [i.value for i in chosen], "branch"))
        node = builder.node("cond", [flag, *(i.value for i in operands)], regions=branches)
        return [Item(v, max(b), 0.0 if v.dtype.kind == "f" else 1.0) for v, b in zip(node.outputs, zip(*bounds, strict=True), strict=True)]


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    try:
        return int(np.prod(np.broadcast_shapes(a, b))) <= MOST
    except ValueError:
        return False


def draw_inputs(graph: Graph, rng: np.random.Generator) -> list[np.ndarray]:
    """Arguments within the bounds that the generator assumed."""
    arrays = []
    for value in graph.inputs:
        if value.dtype.kind == "b":
            arrays.append(rng.random(value.shape) < 0.5)
        elif value.dtype.kind == "f":
            arrays.append((rng.integers(-16, 17, value.shape) / 4).astype(value.dtype))
        else:
            low = 0 if value.dtype.kind == "u" else -5
            arrays.append(rng.integers(low, 6, value.shape).astype(value.dtype))
    return arrays
