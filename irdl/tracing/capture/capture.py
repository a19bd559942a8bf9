"""Captured state: what a function reads that is no argument (globals, closures, attributes of `self`).

Arrays found there become hidden inputs, read anew at each call and written back if the trace stores into them; nothing
is baked in. To see them, the function runs as a copy: its globals and cells give traced arrays in place of real ones,
and so do the user's functions, modules and objects that it reaches. The originals are never touched.
"""

from __future__ import annotations

import functools
import math
import random
import sys
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.ir.dtypes import is_supported
from irdl.ir.graph import Value
from irdl.ir.types import TensorType
from irdl.tracing import tree
from irdl.tracing.box import PYTHON, PYTHON_NUMBERS, Box, is_box
from irdl.tracing.capture.classes import Classes, can_be_subclassed
from irdl.tracing.capture.containers import (
    Container,
    GrowingList,
    boxes_within,
)
from irdl.tracing.capture.decisions import argument_behind, decided, family_of
from irdl.tracing.capture.functions import Functions
from irdl.tracing.capture.iterators import Resting, is_iterator
from irdl.tracing.capture.namespaces import Module, Package
from irdl.tracing.capture.objects import Objects, own_dict
from irdl.tracing.capture.reads import (
    Always,
    AreSame,
    ArrayLayout,
    DefaultFactory,
    DictItem,
    Item,
    Outline,
    Read,
    Write,
    generator_state,
    layout_of,
    outline,
    random_state,
)
from irdl.tracing.layout import shadow_array
from irdl.tracing.numpy.creation import TracedModule, as_traced, is_numeric
from irdl.tracing.numpy.layout import own
from irdl.tracing.numpy.lists import traced_ufunc
from irdl.tracing.numpy.mathematics import TracedMath, as_traced_function
from irdl.tracing.numpy.scalars import traced_type
from irdl.tracing.numpy.vectorized import Vectorized, stand_in
from irdl.tracing.recorder import Cell, Trace
from irdl.tracing.users import contents_of, has_arrays, holds_arrays, is_code, is_hashable, is_plain_object, is_users

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
#: Longer containers without arrays are taken as they are.
_LONGEST = 1000
#: Longer ones are not looked into, after the gradient of a function, for arrays that it has put there.
_MOST_LOOKED_INTO = 100_000


@dataclass
class Captured:
    """A hidden input: its graph input, an array or a number, where to read it, and what it is called."""

    value: Value
    kind: str
    read: Read
    name: str


class Capture:
    """What one trace has captured."""

    def __init__(
        self,
        trace: Trace,
        functions_only: bool = False,
        arrays: bool = False,
        changing: Collection[str] = frozenset(),
        decides: bool = True,
    ) -> None:
        self.trace = trace
        #: whether there may be a version for each outcome of what is decided by numbers that change
        self.decides = decides
        #: what has been found to change between calls: numbers that are inputs then, and lists that grow
        self.changing = changing
        #: copy functions, so that `np.zeros` in them makes traced arrays, and leave everything else as it is
        self.functions_only = functions_only
        #: with them, the arrays they reach by name, whose numbers the trace takes as they are
        self.arrays = arrays
        self.captured: list[Captured] = []
        #: where they live during the trace
        self.cells: list[Cell] = []
        #: (how to read it, what it was): a change means the trace no longer holds
        self.guards: list[tuple[Read, Any]] = []
        #: inputs that are the same at every call, and their arrays
        self.static_arrays: list[tuple[Value, np.ndarray]] = []
        self._memo: dict[int, tuple[Any, Any, Read]] = {}
        #: the objects met, where they are left as they are
        self.seen: list[tuple[Any, Any, str]] = []
        #: what may change from call to call and was taken as it is: how to read it, what it was, and its name
        self.taken: list[tuple[Read, Any, str]] = []
        self.classes = Classes(self)
        self.objects = Objects(self)
        self.functions = Functions(self)
        self.generators: list[tuple[Any, Any, str]] = []
        self._random_state = random_state()
        self.containers: list[Container] = []
        #: containers of other kinds, which the trace sees as they are, and what they held
        self.foreign: list[tuple[Any, Any, str]] = []

    def _capture(self, box: Box, read: Read, name: str) -> None:
        self.captured.append(Captured(box.cell.value, box.kind, read, name))
        self.cells.append(box.cell)

    def replace(self, item: Any, read: Read, name: str) -> Any:
        """What the traced code sees in place of `item`."""
        if is_box(item):
            return item
        if isinstance(item, np.ufunc):
            self.guards.append((read, item))
            return traced_ufunc(item)
        if self.functions_only and self.arrays and type(item) is np.ndarray and is_supported(item.dtype):
            box = own(self.trace.constant(item), item)
            box.read_only = f"`{name}`, from outside, is"
            return box
        if self.functions_only and not is_code(item):
            if is_plain_object(item):
                self.seen.append((item, dict(own_dict(item)), type(item).__name__))
            elif type(item) in (list, dict, deque) and len(item) <= _MOST_LOOKED_INTO:
                self.seen.append((item, item.copy(), name))
            return item
        if isinstance(item, _PLAIN):
            return self._plain(item, read, name)
        met = self._memo.get(id(item))
        if met is not None:
            # Two names of one object: the trace holds while they name one object.
            first = met[2]
            self.guards.append((AreSame(read, first), True))
            return met[1]
        made = self._make(item, read, name)
        self.remember(item, made, read)
        return made

    def met(self, item: Any) -> Any:
        """What the trace sees in place of an item that it has met; None for others."""
        found = self._memo.get(id(item))
        return None if found is None else found[1]

    def remember(self, item: Any, made: Any, read: Read) -> None:
        """`made` is what the trace sees in place of `item`."""
        self._memo[id(item)] = (item, made, read)

    def reached(self) -> dict[int, tuple[Any, Read]]:
        """Everything from outside as the trace sees it, by identity, and how it is found again."""
        return {id(made): (made, read) for item, made, read in self._memo.values() if made is not None}

    def is_changing(self, name: str) -> bool:
        """Whether a number of this name, or one like it in the same list, has been found to change."""
        return name in self.changing or family_of(name) in self.changing

    def _plain(self, item: Any, read: Read, name: str) -> Any:
        is_number = type(item) in (int, float, complex) or (isinstance(item, np.generic) and is_supported(item.dtype))
        if self.is_changing(name) and (is_number or type(item) is bool):
            value = self.trace.input(tree.leaf_type(item, f"`{name}`"), name)
            box = Box(Cell(self.trace, value), value.type, tree.leaf_kind(item) or PYTHON)
            self._capture(box, read, name)
            return box
        self.guards.append((read, item))
        if is_number:
            self.taken.append((read, item, name))
        return item

    def _make(self, item: Any, read: Read, name: str) -> Any:
        if type(item) is np.ndarray:
            return self._array(item, read, name)
        if type(item) is np.memmap:
            return self._array(np.asarray(item), lambda: np.asarray(read()), name)
        is_function = isinstance(item, (types.FunctionType, types.BuiltinFunctionType, type(np.concatenate), type(np.random.default_rng)))
        if is_function and (found := as_traced_function(item) or as_traced(item)) is not None:
            self.guards.append((read, item))
            return found
        if isinstance(item, functools._lru_cache_wrapper):
            self.guards.append((read, item))
            return self._cached(item, name)
        if isinstance(item, types.FunctionType):
            self.guards.append((read, item))
            return self.functions.copy(item, read)
        if hasattr(type(item), "__irdl_replace__"):
            self.guards.append((read, item))
            return item.__irdl_replace__(
                lambda part, path: self.replace(part, Always(part) if path is None else lambda: path(read()), name)
            )
        if isinstance(item, types.MethodType) and isinstance(item.__func__, types.FunctionType):
            self.guards.append((read, item))
            owner = self.replace(item.__self__, Always(item.__self__), name)
            return types.MethodType(self.functions.copy(item.__func__, Always(item.__func__)), owner)
        if isinstance(item, functools.partial):
            self.guards.append((read, item))
            parts = [self.replace(a, Always(a), f"{name}.args[{i}]") for i, a in enumerate(item.args)]
            options = {k: self.replace(v, Item(lambda: read().keywords, k), f"{name}.{k}") for k, v in item.keywords.items()}
            return functools.partial(self.replace(item.func, Always(item.func), name), *parts, **options)
        if type(item) is np.vectorize and item.signature is None:
            self.guards.append((read, item))
            function = self.replace(item.pyfunc, DictItem(vars(item), "pyfunc"), name)
            return Vectorized(function, item.otypes, excluded=item.excluded)
        if isinstance(item, types.ModuleType):
            self.guards.append((read, item))
            if is_numeric(item.__name__):
                return TracedModule(item)
            if item is math:
                return TracedMath()
            if item.__name__ == "irdl":
                return Package(self, item)
            made_by_hand = getattr(item, "__spec__", None) is None and sys.modules.get(item.__name__) is not item
            return Module(self, item) if made_by_hand or is_users(getattr(item, "__file__", None)) else item
        if isinstance(item, (np.random.Generator, np.random.RandomState, random.Random)):
            self.generators.append((item, generator_state(item), name))
            self.guards.append((read, item))
            return item
        if type(item) in (list, tuple, dict, OrderedDict, defaultdict, deque) or (isinstance(item, tuple) and hasattr(item, "_fields")):
            return self._container(item, read, name)
        if isinstance(item, type):
            self.guards.append((read, item))
            if issubclass(item, np.generic) or item in PYTHON_NUMBERS:
                return traced_type(item)
            if (found := stand_in(item)) is not None:
                return found
            if has_arrays(item) or can_be_subclassed(item):
                return self.classes.of(item)
            self.classes.guard(item)
            return item
        if is_plain_object(item):
            return self.objects.copy(item, self.classes.of(type(item)), read, name)
        self.guards.append((read, item))
        if is_iterator(item):
            return Resting(type(item).__name__, name)
        if isinstance(item, (list, dict, deque, set)):
            self.foreign.append((item, item.copy(), name))
        if (contents := contents_of(item)) is not None:
            self.guards.append((lambda: contents_of(read()), contents))
        return item

    def _cached(self, item: Any, name: str) -> Any:
        """A function that remembers its results: what it gives for numbers is read again at each call."""

        def cached(*arguments: Any, **options: Any) -> Any:
            return self.replace(item(*arguments, **options), lambda: item(*arguments, **options), f"{name}(...)")

        return functools.update_wrapper(cached, item)

    def know(self, item: Any, name: str) -> None:
        """Make inputs of a static argument's arrays, before anything else that may be the same arrays is captured."""
        if type(item) is np.ndarray and is_supported(item.dtype):
            if id(item) not in self._memo:
                box = self._box(item, name, "the static array is")
                self.static_arrays.append((box.cell.value, item))
                self._memo[id(item)] = (item, box, Always(item))
        elif isinstance(item, (list, tuple, dict)):
            for key, part in item.items() if isinstance(item, dict) else enumerate(item):
                self.know(part, f"{name}.{key}")

    def static(self, item: Any, name: str) -> Any:
        """What the traced code sees of a static argument: lists, tuples and dicts of the arrays above; the rest is captured."""
        met = self._memo.get(id(item))
        if met is not None:
            return met[1]
        if isinstance(item, tuple) and (type(item) is tuple or hasattr(item, "_fields")) and not is_hashable(item):
            made: Any = tuple.__new__(type(item), [self.static(part, f"{name}.{place}") for place, part in enumerate(item)])
            self._memo[id(item)] = (item, made, Always(item))
            return made
        if type(item) not in (list, dict):
            return self.replace(item, Always(item), name)
        made = type(item)()
        self._memo[id(item)] = (item, made, Always(item))
        if isinstance(item, dict):
            made.update({key: self.static(part, f"{name}.{key}") for key, part in item.items()})
        else:
            made += [self.static(part, f"{name}.{place}") for place, part in enumerate(item)]
        self.containers.append(Container(made, made.copy(), name, is_static=True))
        return made

    def decided(self, value: Value) -> bool | None:
        """The truth of a value that follows from captured numbers alone, known for this call; None of others."""
        return decided(self, value) if self.decides else None

    def argument_behind(self, value: Value) -> str:
        """The number among the arguments that a value follows from; nothing where it follows from more."""
        return "" if self.functions_only else argument_behind(self, value)

    def drawn_from(self) -> str:
        """The random generator that the trace has drawn from, which has no right to: its numbers would come back at every call."""
        for item, state, name in self.generators:
            if generator_state(item) != state:
                return f"the captured generator `{name}`"
        return "NumPy's or Python's random generator" if random_state() != self._random_state else ""

    def _array(self, item: np.ndarray, read: Read, name: str) -> Any:
        if not is_supported(item.dtype):
            return item
        box = self._box(item, name, "the captured array is")
        self.guards.append((ArrayLayout(read), layout_of(item)))
        self._capture(box, read, name)
        return box

    def _box(self, item: np.ndarray, name: str, who: str) -> Box:
        value = self.trace.input(TensorType(item.dtype.newbyteorder("="), item.shape), name)
        shadow = None
        if not item.flags.c_contiguous:
            shadow = shadow_array(item.shape, value.dtype, item.strides)
        box = Box(Cell(self.trace, value), value.type, shadow=shadow)
        if not item.flags.writeable:
            box.read_only = who
        return box

    def _container(self, item: Any, read: Read, name: str) -> Any:
        if len(item) > _LONGEST and not holds_arrays(item):
            self.guards.append((read, item))
            return item
        if type(item) is list and name in self.changing:
            return self._contained(GrowingList(lambda made: self._fill(made, item, read, name)), name)
        self.guards.append((Outline(read), outline(item)))
        if type(item) is list:
            self.taken.append((Outline(read), outline(item), name))
        if isinstance(item, dict):
            made: Any = type(item)()
            if isinstance(item, defaultdict):
                made.default_factory = self.replace(item.default_factory, DefaultFactory(read), f"{name}.default_factory")
            self._memo[id(item)] = (item, made, read)
            made.update({k: self.replace(v, Item(read, k), f"{name}[{k!r}]") for k, v in item.items()})
        else:
            parts = self._parts(item, read, name)
            if isinstance(item, deque):
                made = deque(parts, item.maxlen)
            else:
                made = type(item)(*parts) if hasattr(item, "_fields") else type(item)(parts)
        return made if isinstance(item, tuple) else self._contained(made, name)

    def _parts(self, item: Any, read: Read, name: str) -> list[Any]:
        return [self.replace(part, Item(read, place), f"{name}[{place}]") for place, part in enumerate(item)]

    def _fill(self, made: GrowingList, item: list[Any], read: Read, name: str) -> list[Any]:
        """What a list that grows holds, now that the trace asks."""
        self.guards.append((Outline(read), outline(item)))
        parts = self._parts(item, read, name)
        place = next(place for place, container in enumerate(self.containers) if container.made is made)
        self.containers[place] = Container(made, list(parts), name)
        return parts

    def _contained(self, made: Any, name: str) -> Any:
        before: Any = [] if isinstance(made, GrowingList) else made.copy()
        self.containers.append(Container(made, before, name))
        return made

    def held(self, trace: Trace) -> list[tuple[str, Write, Box]]:
        """Arrays of an inner trace that objects, names, lists and dicts hold now: what holds them, and how to put others in their place."""
        return [(name, *pair) for name, write, part in self._bound() for pair in boxes_within(part, write) if pair[1].cell.trace is trace]

    def _bound(self) -> Iterator[tuple[str, Write, Any]]:
        """Everything that the trace may have bound: its name, how to bind it to something else, and what it is."""
        contained = {id(container.made) for container in self.containers}
        objects = [(name, item) for item, _, name in self.seen] + [(copied.name, copied.copy) for copied in self.objects]
        containers = [(container.name, container.made) for container in self.containers]
        for owner, item in (*objects, *containers):
            if isinstance(item, (list, dict, deque)):
                plain = list.__iter__(item) if isinstance(item, list) else item  # one that grows is not read by this
                for place, part in list(item.items()) if isinstance(item, dict) else enumerate(list(plain)):
                    yield f"{owner}[{place!r}]", functools.partial(item.__setitem__, place), part
                continue
            for key, part in own_dict(item).items():
                if id(part) not in contained:
                    yield f"{owner}.{key}", functools.partial(setattr, item, key), part
        for names, _ in self.functions.globals:
            yield from ((name, functools.partial(dict.__setitem__, names, name), part) for name, part in names.written())
        for variable in self.functions.bound_variables():
            yield variable.name, functools.partial(setattr, variable.made, "cell_contents"), variable.made.cell_contents
