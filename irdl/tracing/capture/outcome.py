"""What a call leaves behind beside its results (names, attributes, lists and dicts that it bound or changed), and results that are
more than trees of new arrays: what the trace holds at its end, as recipes."""

from __future__ import annotations

import enum
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from irdl.errors import TraceError
from irdl.ir.graph import Value
from irdl.ops.shape import RESHAPE, SLICE
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, PYTHON, PYTHON_NUMBERS, is_box
from irdl.tracing.capture.recipes import (
    Container,
    Dict,
    Effect,
    Existing,
    Instance,
    Known,
    Method,
    Part,
    PartOf,
    Path,
    Recipe,
    Result,
    Text,
    Tree,
    ViewOf,
)
from irdl.tracing.long_loops.growing import GrownList
from irdl.tracing.marks import MarkedRange
from irdl.tracing.numpy.lists import real_ufunc
from irdl.tracing.numpy.masks import Masked
from irdl.tracing.numpy.scalars import real_type
from irdl.tracing.printing import Printed, Slot, parts_of, together
from irdl.tracing.recorder import Cell, open_trace
from irdl.tracing.region import read_outputs
from irdl.tracing.unset import Unset
from irdl.tracing.users import is_plain_object
from irdl.tracing.views import DynamicSliceStep, ReshapeStep, RowStep, SliceStep

if TYPE_CHECKING:
    from irdl.tracing.capture.capture import Capture

#: fewer rows of one array leave one by one
MIN_ROWS = 4
_LITERALS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), slice, np.generic, np.dtype, enum.Enum)
_CONTAINERS = (list, tuple, set, frozenset, deque)
_DICTS = (dict, OrderedDict, defaultdict)


class Recipes:
    """Makes recipes of what the trace holds at its end. `values`: what the graph has to give for them. Without `share`, every array is
    one of them, even where it is a view of another or was there before."""

    def __init__(self, capture: Capture, share: bool = True) -> None:
        self._capture = capture
        self._share = share
        self._known: dict[int, Recipe] = {}
        self._keep: list[Any] = []
        self.values: list[Value] = []
        self._results: list[Result] = []
        self._cells: dict[Cell, Recipe] = {}
        for number, (item, read) in capture.reached().items():
            if share or not is_box(item):
                self._known[number] = Existing(read)
            if share and is_box(item):
                self._cells[item.cell] = self._known[number]

    def of(self, item: Any, name: str) -> Recipe:
        """The recipe of an object; of one object always the same.

        Raises:
            TraceError: there is none: it is neither made of arrays, numbers, texts, lists, dicts and the user's objects, nor was it
                there before.
        """
        if not self._share and self._capture.is_changing(name) and not is_box(item) and isinstance(item, (*PYTHON_NUMBERS, np.generic)):
            return self._output(open_trace().constant(item, tree.leaf_type(item, name).dtype), PYTHON)
        found = self._known.get(id(item))
        if found is None:
            self._keep.append(item)
            found = self._new(item, name)
        return found

    def part(self, item: Any, path: Path) -> None:
        """Something among the arguments."""
        if is_box(item) and not self._share:
            return
        recipe = self._known.setdefault(id(item), Part(path))
        self._keep.append(item)
        if is_box(item) and item.kind == ARRAY:
            self._cells.setdefault(item.cell, recipe)

    def are_shared(self, leaves: Sequence[Any]) -> bool:
        """Whether many of these results are one array, views of one, or what was there before."""
        cells = [leaf.cell for leaf in leaves if is_box(leaf) and leaf.kind == ARRAY]
        return len(cells) - len({cell for cell in cells if cell not in self._cells}) >= MIN_ROWS

    def contents(self, item: Any, name: str) -> Recipe:
        """The recipe of a list or dict of what something else is to hold."""
        self._keep.append(item)
        return self._new(item, name)

    def _remember(self, item: Any, recipe: Any) -> Any:
        self._known[id(item)] = recipe
        return recipe

    def _new(self, item: Any, name: str) -> Recipe:
        cls = type(item)
        if is_box(item):
            return self._box(item)
        if type(item) is str and (slots := [part for part in parts_of(item) if isinstance(part, Slot)]):
            numbers = [self._output(open_trace().lift(slot.trace, slot.value), ARRAY) for slot in slots]
            return self._remember(item, Text(parts_of(item), numbers))
        if isinstance(item, _LITERALS):
            return self._remember(item, Known(item))
        if cls is MarkedRange:
            return self._remember(item, Known(range(item.start, item.stop, item.step)))
        if cls is GrownList:
            cls = list
        if cls in _CONTAINERS or (isinstance(item, tuple) and hasattr(item, "_fields")):
            container = self._remember(item, Container([] if cls is list else item))
            container.parts = [self.of(part, f"{name}[{place}]") for place, part in enumerate(item)]
            return container
        if cls in _DICTS:
            made = self._remember(item, Dict(item))
            if (factory := getattr(item, "default_factory", None)) is not None:
                made.factory = self.of(factory, f"{name}.default_factory")
            made.parts = [(self.of(key, name), self.of(part, f"{name}[{key!r}]")) for key, part in item.items()]
            return made
        if isinstance(item, types.MethodType):
            return self._remember(item, Method(self.of(item.__func__, name), self.of(item.__self__, name)))
        if isinstance(item, type):
            return self._remember(item, Known(self._capture.classes.original(item) or real_type(item)))
        if isinstance(item, np.ufunc):
            return self._remember(item, Known(real_ufunc(item)))
        original = self._capture.classes.original(cls)
        if original is not None or is_plain_object(item):
            instance = self._remember(item, Instance(original or cls))
            instance.attributes = {key: self.of(part, f"{name}.{key}") for key, part in self._capture.objects.attributes(item).items()}
            return instance
        if isinstance(item, Unset):
            item.refuse()
        if isinstance(item, Masked):
            raise item.refused(f"{name}, x[mask],")
        raise TraceError(
            f"{name} is {item!r:.60} at the end of the trace, which irdl cannot make anew at each call: it knows arrays, numbers, texts, "
            "lists, dicts and objects of your own classes; pass it in, or leave it as it is"
        )

    def printed(self, printed: Sequence[Printed]) -> list[Effect]:
        """What a trace has printed, as an effect."""
        if not printed:
            return []
        whole = together(printed)
        arrays = Container((), [self._output(value, ARRAY) for value in whole.values])
        return [Effect(None, arrays, lambda _, arrays: whole.show(arrays), "what is printed")]

    def _box(self, box: Any) -> Recipe:
        if box.kind != ARRAY or not self._share:
            return self._remember(box, self._output(box.value, box.kind, None if self._share else box.cell))
        if box.cell not in self._cells:
            self._cells[box.cell] = self._output(open_trace().read(box.cell), ARRAY)
        recipe = self._cells[box.cell]
        steps: list[Any] = []
        for step in box.steps:
            if isinstance(step, (RowStep, DynamicSliceStep)):  # where it is is known to the compiled code: it gives the numbers too
                cells, sizes = (step.numbers, None) if isinstance(step, RowStep) else (step.starts, step.sizes)
                numbers = [self._output(open_trace().read(cell), PYTHON) for cell in cells]
                recipe, steps = PartOf(ViewOf(recipe, tuple(steps)), step.axes, numbers, sizes), []
            else:
                steps.append(step)
        return self._remember(box, ViewOf(recipe, tuple(steps)) if steps else recipe)

    def _output(self, value: Value, kind: str, cell: Cell | None = None) -> Result:
        self.values.append(value)
        self._results.append(Result(len(self.values) - 1, kind, cell=cell))
        return self._results[-1]

    @property
    def results(self) -> Sequence[Result]:
        """The recipes of `values`."""
        return self._results


class Row(NamedTuple):
    """A value that is a part of a stack along its first axis: the views that lead there."""

    stack: Value
    steps: tuple[Any, ...]


def row_of(value: Value) -> Row | None:
    steps: list[Any] = []
    node = value.node
    while node is not None and node.op is RESHAPE:
        steps.append(ReshapeStep(node.attributes))
        node = node.operands[0].node
    if node is None or node.op is not SLICE:
        return None
    (stack,) = node.operands
    a = node.attributes
    if not a.start or a.limit[0] != a.start[0] + 1 or any(a.start[1:]) or a.limit[1:] != stack.shape[1:]:
        return None
    return Row(stack, (SliceStep(a), *reversed(steps)))


@dataclass
class Results:
    """What a call gives: a tree of outputs, or a recipe and the outputs that it needs (which are arrays, without a structure)."""

    values: list[Value]
    structure: Any
    kinds: list[str]
    recipe: Recipe | None
    parts: Sequence[Result]
    share: bool

    def settled(self, values: Sequence[Value]) -> Results:
        """The same for what has become of the values: where several are rows of one array, that array once, of which they are
        views."""
        if not self.share:
            return replace(self, values=list(values))
        found = [row_of(value) for value in values]
        counts = Counter(row.stack for row in found if row is not None)
        # A few rows of many would keep all of them alive.
        gathered = {stack for stack, count in counts.items() if count >= max(MIN_ROWS, stack.shape[0] // 2)}
        recipe = self.recipe
        if recipe is None:
            if not gathered:
                return replace(self, values=list(values))
            recipe = Tree(self.structure, self.parts)
        # Each part is an array of its own: of two that are one value, as x and x.copy(), both are made.
        outputs: list[Value] = []
        stacks: dict[Value, int] = {}
        taken: set[tuple[Value, Any]] = set()
        for part, value, row in zip(self.parts, values, found, strict=True):
            if row is not None and row.stack in gathered and (row.stack, row.steps[0]) not in taken:
                taken.add((row.stack, row.steps[0]))
                if row.stack not in stacks:
                    stacks[row.stack] = len(outputs)
                    outputs.append(row.stack)
                part.place, part.steps = stacks[row.stack], row.steps
            else:
                part.place = len(outputs)
                outputs.append(value)
        return Results(outputs, tree.flatten(())[1], [ARRAY] * len(outputs), recipe, self.parts, self.share)


def results_of(result: Any, has_effects: bool, recipes: Recipes, share: bool, name: str) -> Results:
    """A function's result: as a recipe where it holds more than arrays, or where what it holds may be found elsewhere too.

    Raises:
        TraceError: it holds what cannot be made anew.
    """
    leaves = [] if has_effects else tree.flatten(result)[0]
    is_tree = not has_effects and all(tree.leaf_kind(leaf) is not None for leaf in leaves)
    if is_tree and not (share and recipes.are_shared(leaves)):
        values, structure, kinds = read_outputs(result, name)
        return Results(values, structure, kinds, None, [Result(place, kind) for place, kind in enumerate(kinds)], share)
    recipe = recipes.of(result, f"the result of {name}")
    return Results(recipes.values, tree.flatten(())[1], [ARRAY] * len(recipes.values), recipe, recipes.results, share)
