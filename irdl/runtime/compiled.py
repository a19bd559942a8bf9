"""`Compiled`: one function compiled for one signature."""

from __future__ import annotations

import gc
import os
import threading
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from irdl.codegen.cpu.llvm.call_shape import FROM_ARGUMENTS, Argument, CallShape, Same, is_native
from irdl.errors import DonationError, TraceError
from irdl.ir.graph import Graph
from irdl.ir.types import TensorType
from irdl.loops.language import Program
from irdl.runtime.call import Call, Options, Roles, explain, take_apart
from irdl.runtime.entry import MISS, is_busy, layouts_hold
from irdl.runtime.executable import Executable, match_donations
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, PYTHON, as_kind
from irdl.tracing.capture.reads import ArrayLayout, Read
from irdl.tracing.capture.recipes import Script
from irdl.tracing.function import TracedFunction, trace_function
from irdl.tracing.users import is_hashable

#: Native entries of one signature, each with scratch memory of its own.
_MOST_ENTRIES = 4


@dataclass(frozen=True)
class Memory:
    """Bytes that a call needs besides its arguments and results."""

    arena: int
    constants: int


class Compiled:
    """A function compiled ahead of time for one signature. Call it with arguments of that signature.

    Attributes:
        graph: what was traced.
        stages: `(name, Graph or Program)` after each step.
    """

    def __init__(self, traced: TracedFunction, call: Call, options: Options, roles: Roles, name: str) -> None:
        self._roles = roles
        self._signature = call.signature()
        #: makes the result from the call and the arrays, and leaves behind what it has to
        self._leave = None if traced.result is None else Script().function(traced.result, traced.effects)
        # The recipes are written out: they would keep the whole record alive.
        self._traced = replace(traced, effects=[], result=None)
        self._positional, self._names = len(call.arguments[0]), call.names
        shape = call_shape(traced, call)
        self._executable = Executable(traced.graph, _donated(traced, call), options.disable, shape, traced.static_arrays, options.backend)
        self._results = len(traced.kinds)
        self.name = name
        #: builtin functions for calls of this signature (they give `MISS` for others); none where only the way through Python
        #: will do. Each serves one thread at a time: the others are made when it is needed.
        self.entries: list[Any] = []
        self.free_entry()
        #: what it takes as changing from call to call
        self.changing: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        graph, memory = self.graph, self.memory
        inputs, outputs = (", ".join(map(str, types)) for types in (graph.input_types, graph.output_types))
        return f"<compiled {self.name}({inputs}) -> ({outputs}), an arena of {memory.arena} bytes>"

    def __reduce__(self) -> Any:
        raise TypeError(f"{self.name} is compiled for this process and can't be pickled: pickle the jitted function, or compile it there")

    @property
    def graph(self) -> Graph:
        return self._traced.graph

    @property
    def stages(self) -> list[tuple[str, Any]]:
        return self._executable.stages

    @property
    def program(self) -> Program:
        return self._executable.program

    @property
    def llvm_ir(self) -> str:
        return self._executable.llvm_ir

    @property
    def cuda_source(self) -> str:
        """The graph as one CUDA C kernel; see `codegen/cuda`."""
        return self._executable.cuda_source

    @property
    def asm(self) -> str:
        return self._executable.asm

    @property
    def memory(self) -> Memory:
        return Memory(self._executable.arena_bytes, self._executable.constant_bytes)

    def __call__(self, /, *arguments: Any, **options: Any) -> Any:
        """Run.

        Raises:
            TraceError: the arguments are not of the signature compiled for.
            IndexError: an index was out of range.
            DonationError: a donated argument cannot be written or overlaps another.
        """
        for entry in self.entries:
            result = entry(*arguments, **options)
            if result is not MISS:
                return result
        call = take_apart(arguments, options, self._roles)
        if call.signature() != self._signature:
            raise TraceError(f"{self.name} was compiled for other arguments: {explain(self._signature, call.signature())}")
        captured = self.captured()
        if captured is None:
            raise TraceError(f"{self.name} reads captured values that have changed since it was compiled: compile it again")
        self.free_entry()  # where all are in use, the next call finds one more
        return self.run(call, captured)

    def free_entry(self) -> Any:
        """A native entry that no other thread is using now, made if there is none; None where there can be none."""
        for entry in self.entries:
            if not is_busy(entry):
                return entry
        if len(self.entries) == _MOST_ENTRIES:
            return None
        entry = self._executable.entry(self._prepare, self._finish)
        if entry is not None:
            self.entries.append(entry)
        return entry

    def captured(self) -> tuple[Any, ...] | None:
        """The captured arrays as they are now; None where what the trace took for granted does not hold any more."""
        for read, item in self._traced.guards:
            try:
                now = read()
                if now is not item and not _equal_plain(now, item):
                    return None
            except (LookupError, AttributeError, ValueError, TypeError):
                return None
        # Each array is read once: what is verified is what is used.
        found = []
        for captured in self._traced.captured:
            try:
                array = captured.read()
            except (LookupError, AttributeError, ValueError, TypeError):
                return None
            type_ = captured.value.type
            if captured.kind != ARRAY:  # a number
                if tree.leaf_kind(array) != captured.kind or np.asarray(array).dtype != type_.dtype:
                    return None
                found.append(np.asarray(array))
                continue
            if type(array) is not np.ndarray or array.dtype.newbyteorder("=") != type_.dtype or array.shape != type_.shape:
                return None
            found.append(array)
        return tuple(found)

    def changed(self) -> set[str]:
        """The captured numbers and lists that are not as they were when it was compiled, and those that were known to change."""
        found = set(self.changing)
        for read, item, name in self._traced.taken:
            try:
                now = read()
            except (LookupError, AttributeError, ValueError, TypeError):
                continue
            if type(now) is type(item) and repr(now) != repr(item):
                found.add(name)
        return found

    def _prepare(self) -> tuple[Any, ...] | None:
        """The captured arrays for the native entry; None where the trace does not hold or an array needs work first."""
        captured = self.captured()
        return captured if captured is not None and all(_is_ready(array) for array in captured) else None

    def _finish(self, *items: Any) -> Any:
        """The result from its leaves; where it is a recipe, from the call's arguments and the arrays that the recipes need."""
        if self._leave is not None:
            first, count = self._positional, self._positional + len(self._names)
            return self._leave(items[:first], dict(zip(self._names, items[first:count], strict=True)), items[count:])
        kinds, leaves = self._traced.kinds, items
        return tree.unflatten(self._traced.structure, [leaf.item() if k == PYTHON else leaf for leaf, k in zip(leaves, kinds, strict=True)])

    def run(self, call: Call, captured: tuple[Any, ...]) -> Any:
        """Run a call that is known to fit, on captured arrays that were verified."""
        traced = self._traced
        inputs = [*(np.asarray(leaf) for leaf in call.leaves), *captured]
        if call.donated:
            _check_donations(inputs, self._executable.donations)
        if traced.stored:
            again = {place for place, _ in tree.aliases(call.leaves)}
            _check_stores([array if place not in again else array[..., :0] for place, array in enumerate(inputs)], traced.stored)
        results = self._executable(inputs)
        for place, result in zip(traced.stored, results[self._results :], strict=False):
            np.copyto(inputs[place], result)
        if self._leave is not None:
            return self._leave(*call.arguments, results)
        leaves = [as_kind(result, kind) for result, kind in zip(results, traced.kinds, strict=False)]
        return tree.unflatten(traced.structure, leaves)


def _donated(traced: TracedFunction, call: Call) -> tuple[int, ...]:
    """The donated arguments that results may be computed in: what is stored into holds its new contents when the call ends."""
    return tuple(place for place in call.donated if place not in traced.stored)


def _is_ready(leaf: Any) -> bool:
    """The code can work on the leaf's numbers where they lie."""
    flags = leaf.flags if type(leaf) is np.ndarray else None
    return flags is not None and flags.c_contiguous and flags.aligned and leaf.dtype.isnative


def _array_argument(array: np.ndarray, type_: TensorType) -> Argument | None:
    """What the native entry expects in an array's place; None of one that has to be made ready in Python."""
    if not (array.flags.aligned and array.dtype.isnative):
        return None
    return Argument(type_, ARRAY, np.ndarray, array.flags.writeable, None if array.flags.c_contiguous else array.strides)


def call_shape(traced: TracedFunction, call: Call) -> CallShape | None:
    """What the native entry expects of a call; None where only the way through Python will do."""
    if not layouts_hold():
        return None
    arguments: list[Argument] = []
    captured: list[tuple[Read, Argument]] = []
    for leaf, value in zip(call.leaves, traced.graph.inputs, strict=False):
        if type(leaf) is np.ndarray:
            argument = _array_argument(leaf, value.type)
            if argument is None:
                return None
            arguments.append(argument)
        elif type(leaf) in (bool, int, float) or isinstance(leaf, np.generic):
            arguments.append(Argument(value.type, tree.leaf_kind(leaf) or ARRAY, type(leaf)))
        else:
            return None
    for item in traced.captured:
        array = item.read()
        argument = None
        if type(array) is np.ndarray:
            argument = _array_argument(array, item.value.type)
        elif item.kind != ARRAY:
            argument = Argument(item.value.type, item.kind, type(array))
        if argument is None:
            return None
        captured.append((item.read, argument))
    inputs = [*arguments, *(argument for _, argument in captured)]
    # The native entry verifies the layout of captured arrays itself.
    reads = {id(item.read) for item in traced.captured}
    guards = [(read, item) for read, item in traced.guards if not (isinstance(read, ArrayLayout) and id(read.read) in reads)]
    positional, keywords = tree.unflatten(call.structure, range(len(call.leaves)))
    static = dict(call.static)
    try:
        positional = tuple(
            _same(static[place]) if place in static else _expected(part, call.arguments[0][place]) for place, part in enumerate(positional)
        )
        keywords = {
            name: _same(static[name]) if name in static else _expected(keywords[name], call.arguments[1][name]) for name in call.names
        }
    except _NotNative:
        return None
    donations = match_donations(traced.graph, _donated(traced, call))
    written = [inputs[place] for place in (*donations.values(), *traced.stored)]
    if any(a.kind != ARRAY or not a.writeable or a.strides is not None for a in written):
        return None
    if any(out >= len(traced.kinds) or traced.kinds[out] != ARRAY for out in donations):
        return None
    kinds = [*traced.kinds, *(ARRAY for _ in traced.stored)]
    outputs = [(value.type, kind) for value, kind in zip(traced.graph.outputs, kinds, strict=True)]
    result = FROM_ARGUMENTS if traced.result is not None else tree.unflatten(traced.structure, range(len(traced.kinds)))
    aliases = tree.aliases(call.leaves)
    shape = CallShape(positional, keywords, arguments, captured, guards, outputs, traced.stored, result, donations, aliases)
    return shape if is_native(shape) else None


_IMMUTABLE = (bool, int, float, str, bytes, np.dtype, type, np.ufunc, types.FunctionType, types.BuiltinFunctionType)


class _NotNative(Exception):
    """Something that only Python can compare."""


def _expected(places: Any, given: Any) -> Any:
    """A tree of places as the native entry checks it, like what is given: what is static in an object is as a static argument."""
    if type(places) is dict:
        return {key: _expected(part, given[key]) for key, part in places.items()}
    if type(places) in (list, tuple):
        return type(places)(_expected(part, own) for part, own in zip(places, given, strict=True))
    if not hasattr(type(places), "tree_flatten"):
        return places
    children, *_ = given.tree_flatten()
    leaves = set(map(id, children))
    made = object.__new__(type(places))
    for name, part in vars(places).items():
        own = vars(given)[name]
        vars(made)[name] = _expected(part, own) if id(own) in leaves else _fixed(own)
    return made


def _fixed(item: Any) -> Any:
    """What the native entry checks of something static in an object: that it is what it was, and holds what it held.

    Raises:
        _NotNative: it may change in ways that are not seen.
    """
    if type(item) in (list, tuple):
        return type(item)(_fixed(part) for part in item)
    if type(item) is dict and all(type(key) is str for key in item):
        return {key: _fixed(part) for key, part in item.items()}
    if item is None:
        return None
    if isinstance(item, _IMMUTABLE):
        return Same(item)
    raise _NotNative


def _same(item: Any) -> Any:
    """What the native entry checks of a static argument: the very object, or containers that hold the same where they may
    change. It does not know tuples of other types."""
    if isinstance(item, tuple) and not is_hashable(item):
        return tuple(_same(part) for part in item) if type(item) is tuple else item
    if type(item) is list:
        return [_same(part) for part in item]
    if type(item) is dict:
        return {key: _same(part) for key, part in item.items()}
    return Same(item)


def _equal_plain(a: Any, b: Any) -> bool:
    """The same number, text or tuple of such, signed zeros told apart."""
    if type(a) is not type(b) or not isinstance(a, (bool, int, float, complex, str, bytes, tuple, np.generic)):
        return False
    return a == b and repr(a) == repr(b)


def _check_donations(inputs: Sequence[np.ndarray], donations: Mapping[int, int]) -> None:
    for place in donations.values():
        array = inputs[place]
        flags = array.flags
        if not (flags.writeable and flags.c_contiguous and flags.aligned and array.dtype.isnative):
            what = "read-only" if not flags.writeable else "not contiguous, aligned and of native byte order"
            raise DonationError(f"donated argument {place} is {what}: pass a copy")
    pair = _overlapping(inputs, set(donations.values()))
    if pair is not None:
        raise DonationError(f"donated argument {pair[0]} shares its memory with argument {pair[1]}: pass a copy")


def _check_stores(inputs: Sequence[np.ndarray], stored: Sequence[int]) -> None:
    for place in stored:
        if _overlaps_itself(inputs[place]):
            raise TraceError(f"the function stores into input {place}, whose elements overlap in memory: pass a copy")
    pair = _overlapping(inputs, set(stored))
    if pair is not None:
        place, other = pair
        raise TraceError(f"the function stores into input {place}, which shares its memory with input {other}: pass a copy of one")


def _overlapping(inputs: Sequence[np.ndarray], written: set[int]) -> tuple[int, int] | None:
    """One of `written` and another input whose extents in memory overlap, if there are such."""
    bounds = sorted((*np.lib.array_utils.byte_bounds(array), place) for place, array in enumerate(inputs) if array.size)
    reach, reader = 0, -1  # the furthest end so far, and whose it is; the same of those written
    written_reach, writer = 0, -1
    for start, end, place in bounds:
        if place in written and start < reach:
            return place, reader
        if start < written_reach:
            return writer, place
        if end > reach:
            reach, reader = end, place
        if place in written and end > written_reach:
            written_reach, writer = end, place
    return None


def _overlaps_itself(array: np.ndarray) -> bool:
    """False where no two elements share memory; True where that is not certain."""
    if array.flags.c_contiguous or array.flags.f_contiguous:
        return False
    reach = array.itemsize
    for stride, extent in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if extent > 1:
            if stride < reach:
                return True
            reach += (extent - 1) * stride
    return False


def compile_call(
    function: Callable[..., Any], call: Call, options: Options, roles: Roles, name: str, changing: Collection[str] = ()
) -> Compiled:
    """Trace and compile one call. `changing`: captured numbers and lists that earlier calls have found changed; where the code asks
    for what they hold now, it is compiled for that all the same."""
    arguments, keywords = tree.unflatten(call.structure, call.leaves)
    with _collector_paused:
        try:
            traced = trace_function(function, arguments, keywords, name, dict(call.static), changing=changing)
        except TraceError:
            if not changing:
                raise
            traced = trace_function(function, arguments, keywords, name, dict(call.static))
            changing = ()
        compiled = Compiled(traced, call, options, roles, name)
        compiled.changing = frozenset(changing)
        return compiled


class _CollectorPaused:
    """While a program is traced and compiled, everything made is in use: looking for garbage among it only takes time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._was_enabled = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """Whoever was compiling is not in this process."""
        self._lock = threading.Lock()
        if self._inside and self._was_enabled:
            gc.enable()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._was_enabled:
                gc.enable()


_collector_paused = _CollectorPaused()
