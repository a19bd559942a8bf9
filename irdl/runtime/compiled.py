"""`Compiled`: one function compiled for one signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.codegen.llvm.python_call import Argument, CallShape, Same, is_native
from irdl.errors import DonationError, TraceError
from irdl.ir.graph import Graph
from irdl.ir.program import Program
from irdl.runtime.entry import MISS, layouts_hold
from irdl.runtime.executable import Executable, match_donations
from irdl.trace import tree
from irdl.trace.box import ARRAY, PYTHON, SCALAR
from irdl.trace.function import TracedFunction, trace_function
from irdl.trace.reads import ArrayLayout


@dataclass(frozen=True)
class Options:
    """How to compile; see `jit`."""

    static_argnums: tuple[int, ...] = ()
    static_argnames: tuple[str, ...] = ()
    donate_argnums: tuple[int, ...] = ()
    donate_argnames: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Memory:
    """Bytes that a call needs besides its arguments and results."""

    arena: int
    constants: int


@dataclass
class Call:
    """A call taken apart: its traced leaves, their structure, the static arguments and the donated leaves."""

    leaves: list[Any]
    structure: Any
    static: tuple[tuple[Any, Any], ...]
    donated: tuple[int, ...]
    #: the keys of its dicts in their order, which the structure leaves open and a function may depend on
    orders: tuple
    #: the names of its keyword arguments, static ones among them, in order
    names: tuple[str, ...]

    def signature(self) -> tuple:
        """What a compiled version is chosen by."""
        static = tuple((place, _exact(item)) for place, item in self.static)
        return ((self.structure, self.orders), static, tuple(_leaf_signature(leaf) for leaf in self.leaves))


class _Identity:
    """An array as part of a signature: equal to itself alone."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.array is other.array

    def __hash__(self) -> int:
        return id(self.array)

    def __repr__(self) -> str:
        return f"the {self.array.dtype} array at {id(self.array):#x}"


def _exact(item: Any) -> tuple:
    """A static argument so that only the same compare equal: 1, 1.0 and True differ, and so do zeros of different signs.

    Raises:
        TraceError: an array that is not read-only.
    """
    if isinstance(item, (tuple, list)):
        return (type(item), tuple(_exact(part) for part in item))
    if type(item) is dict:
        return (dict, tuple((key, _exact(part)) for key, part in item.items()))
    if type(item) is np.ndarray:
        if item.flags.writeable:
            raise TraceError(
                f"a static argument holds an array ({item.dtype}{list(item.shape)}) that can be written to, but its contents are read "
                "once, when the function is compiled: make it read-only (array.flags.writeable = False), or do not make it static"
            )
        return (np.ndarray, _Identity(item))
    return (type(item), repr(item) if isinstance(item, (float, complex)) else item)


def _leaf_signature(leaf: Any) -> tuple:
    if isinstance(leaf, np.ndarray):
        layout = None if leaf.flags.c_contiguous else leaf.strides
        subclass = None if type(leaf) is np.ndarray else type(leaf)
        return (ARRAY, leaf.dtype, leaf.shape, layout, leaf.flags.writeable, subclass)
    if isinstance(leaf, np.generic):
        return (SCALAR, leaf.dtype)
    return (PYTHON, type(leaf))


@dataclass(frozen=True)
class Roles:
    """Which arguments of a function are static and which donated: positions and names of the same parameters."""

    static: frozenset[int | str]
    donated: frozenset[int | str]

    def bound(self) -> Roles:
        """Those of the bound method, whose first argument is given."""

        def shifted(keys: frozenset[int | str]) -> frozenset[int | str]:
            return frozenset(key - 1 if isinstance(key, int) else key for key in keys if key != 0)

        return Roles(shifted(self.static), shifted(self.donated))


def roles_of(function: Callable[..., Any], how: Options) -> Roles:
    """Resolve positions and names through the function's signature, so that it does not matter how a call passes them.

    Raises:
        ValueError: a position or a name that the function does not have.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return Roles(frozenset({*how.static_argnums, *how.static_argnames}), frozenset({*how.donate_argnums, *how.donate_argnames}))
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    open_ended = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    any_name = any(p.kind is p.VAR_KEYWORD for p in parameters)
    names = {p.name for p in parameters}

    def resolve(places: Sequence[int], chosen: Sequence[str], what: str) -> frozenset[int | str]:
        found: set[int | str] = set()
        for place in places:
            if not (-len(positional) <= place < len(positional) or (open_ended and place >= 0)):
                raise ValueError(f"{what}_argnums names argument {place}, but the function has {len(positional)} positional ones")
            place = place % len(positional) if place < 0 else place
            found.add(place)
            if place < len(positional):
                found.add(positional[place])
        for name in chosen:
            if name not in names and not any_name:
                raise ValueError(f"{what}_argnames names {name!r}, which is no parameter of the function")
            found.add(name)
            if name in positional:
                found.add(positional.index(name))
        return frozenset(found)

    return Roles(resolve(how.static_argnums, how.static_argnames, "static"), resolve(how.donate_argnums, how.donate_argnames, "donate"))


def take_apart(arguments: Sequence[Any], options: Mapping[str, Any], roles: Roles) -> Call:
    """Split a call into traced leaves and static arguments.

    Raises:
        TraceError: an argument is neither array-like nor static, or a static one cannot be hashed or holds a writeable array.
    """
    static: list[tuple[Any, Any]] = []
    traced_arguments: list[Any] = list(arguments)
    for place in range(len(arguments)):
        if place in roles.static:
            static.append((place, arguments[place]))
            traced_arguments[place] = None
    traced_options = {name: item for name, item in options.items() if name not in roles.static}
    static += [(name, item) for name, item in options.items() if name in roles.static]
    leaves, structure = tree.flatten((tuple(traced_arguments), traced_options))
    for place, leaf in enumerate(leaves):
        if tree.leaf_kind(leaf) is None:
            path = tree.paths((tuple(traced_arguments), traced_options))[place]
            raise TraceError(f"argument {path} is a {type(leaf).__name__}, not an array or a number: list it in static_argnums")
    donated: list[int] = []
    if roles.donated:
        # Leaves come in the order of the arguments, then of the sorted names.
        parts = [*enumerate(traced_arguments), *sorted(traced_options.items())]
        count = 0
        for key, part in parts:
            size = len(tree.flatten(part)[0])
            if key in roles.donated:
                donated += range(count, count + size)
            count += size
    try:
        hash(tuple(_exact(item) for _, item in static))
    except TypeError as error:
        raise TraceError(f"a static argument must be hashable: {error}") from None
    orders = tree.key_orders((tuple(traced_arguments), traced_options))
    return Call(leaves, structure, tuple(static), tuple(donated), orders, tuple(options))


class Compiled:
    """A function compiled ahead of time for one signature. Call it with arguments of that signature.

    Attributes:
        graph: what was traced.
        stages: `(name, Graph or Program)` after each step.
    """

    def __init__(self, traced: TracedFunction, call: Call, options: Options, roles: Roles, name: str) -> None:
        self._traced = traced
        self._roles = roles
        self._signature = call.signature()
        shape = call_shape(traced, call)
        self._executable = Executable(traced.graph, call.donated, options.disable, shape, traced.known)
        self._results = len(traced.kinds)
        self.name = name
        #: a builtin function for calls of this signature (it gives `MISS` for others), or None
        self.entry = self._executable.entry(self._prepare, self._finish)

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
        return Memory(self._executable.code.arena_bytes, self._executable.constant_bytes)

    def __call__(self, /, *arguments: Any, **options: Any) -> Any:
        """Run.

        Raises:
            TraceError: the arguments are not of the signature compiled for.
            IndexError: an index was out of range.
            DonationError: a donated argument cannot be written or overlaps another.
        """
        if self.entry is not None:
            result = self.entry(*arguments, **options)
            if result is not MISS:
                return result
        call = take_apart(arguments, options, self._roles)
        if call.signature() != self._signature:
            raise TraceError(f"{self.name} was compiled for other arguments: {explain(self._signature, call.signature())}")
        captured = self.captured()
        if captured is None:
            raise TraceError(f"{self.name} reads captured values that have changed since it was compiled: compile it again")
        return self.run(call, captured)

    def captured(self) -> tuple | None:
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
            if type(array) is not np.ndarray or array.dtype.newbyteorder("=") != type_.dtype or array.shape != type_.shape:
                return None
            found.append(array)
        return tuple(found)

    def _prepare(self) -> tuple | None:
        """The captured arrays for the native entry; None where the trace does not hold or an array needs work first."""
        captured = self.captured()
        return captured if captured is not None and all(_is_ready(array) for array in captured) else None

    def _finish(self, *leaves: Any) -> Any:
        kinds = self._traced.kinds
        return tree.unflatten(self._traced.structure, [leaf.item() if k == PYTHON else leaf for leaf, k in zip(leaves, kinds, strict=True)])

    def run(self, call: Call, captured: tuple) -> Any:
        """Run a call that is known to fit, on captured arrays that were verified."""
        traced = self._traced
        inputs = [*(np.asarray(leaf) for leaf in call.leaves), *captured]
        if call.donated:
            _check_donations(inputs, self._executable.donations)
        if traced.stored:
            _check_stores(inputs, traced.stored)
        results = self._executable(inputs)
        for place, result in zip(traced.stored, results[self._results :], strict=False):
            np.copyto(inputs[place], result)
        for item, result in zip(traced.rebound, results[self._results + len(traced.stored) :], strict=True):
            item.write(result if item.item.kind == ARRAY else result[()])
        leaves = [as_kind(result, kind) for result, kind in zip(results, traced.kinds, strict=False)]
        return tree.unflatten(traced.structure, leaves)


def as_kind(result: np.ndarray, kind: str) -> Any:
    """An array result as NumPy code would have returned it."""
    if kind == ARRAY:
        return result
    return result[()] if kind == SCALAR else result.item()


def _is_ready(leaf: Any) -> bool:
    """The code can work on the leaf's numbers where they lie."""
    flags = leaf.flags if type(leaf) is np.ndarray else None
    return flags is not None and flags.c_contiguous and flags.aligned and leaf.dtype.isnative


def call_shape(traced: TracedFunction, call: Call) -> CallShape | None:
    """What the native entry expects of a call; None where only the way through Python will do."""
    if traced.stored or traced.rebound or not layouts_hold():
        return None
    arguments, captured = [], []
    for leaf, value in zip(call.leaves, traced.graph.inputs, strict=False):
        if not (_is_ready(leaf) or type(leaf) in (bool, int, float) or isinstance(leaf, np.generic)):
            return None
        writeable = leaf.flags.writeable if type(leaf) is np.ndarray else True
        arguments.append(Argument(value.type, tree.leaf_kind(leaf) or ARRAY, type(leaf), writeable))
    for item in traced.captured:
        array = item.read()
        if not _is_ready(array):
            return None
        captured.append((item.read, Argument(item.value.type, ARRAY, np.ndarray, array.flags.writeable)))
    # The native entry verifies the layout of captured arrays itself.
    reads = {id(item.read) for item in traced.captured}
    guards = [(read, item) for read, item in traced.guards if not (isinstance(read, ArrayLayout) and id(read.read) in reads)]
    positional, keywords = tree.unflatten(call.structure, range(len(call.leaves)))
    static = dict(call.static)
    positional = tuple(_same(static[place]) if place in static else part for place, part in enumerate(positional))
    keywords = {name: _same(static[name]) if name in static else keywords[name] for name in call.names}
    donations = match_donations(traced.graph, call.donated)
    ready = (arguments[place].kind == ARRAY and arguments[place].writeable for place in donations.values())
    if not all(ready) or any(traced.kinds[out] != ARRAY for out in donations):
        return None
    outputs = [(value.type, kind) for value, kind in zip(traced.graph.outputs, traced.kinds, strict=True)]
    result = tree.unflatten(traced.structure, range(len(outputs)))
    shape = CallShape(positional, keywords, arguments, captured, guards, outputs, result, donations)
    return shape if is_native(shape) else None


def _same(item: Any) -> Any:
    """What the native entry checks of a static argument: containers that hold the same."""
    if type(item) in (list, tuple):
        return type(item)(_same(part) for part in item)
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
        for other, candidate in enumerate(inputs):
            if other != place and np.may_share_memory(array, candidate):
                raise DonationError(f"donated argument {place} shares its memory with argument {other}: pass a copy")


def _check_stores(inputs: Sequence[np.ndarray], stored: Sequence[int]) -> None:
    for place in stored:
        for other, candidate in enumerate(inputs):
            if other != place and np.may_share_memory(inputs[place], candidate):
                raise TraceError(f"the function stores into input {place}, which shares its memory with input {other}: pass a copy of one")


def explain(old: tuple, new: tuple) -> str:
    """In what two signatures differ."""
    if old[0] != new[0]:
        return f"the structure was {old[0]} and is {new[0]}"
    if old[1] != new[1]:
        return f"static arguments were {old[1]} and are {new[1]}"
    if old[3:] != new[3:]:
        return f"the number of threads was {old[3]} and is {new[3]}"
    for place, (a, b) in enumerate(zip(old[2], new[2], strict=True)):
        if a != b:
            return f"leaf {place} was {_show(a)} and is {_show(b)}"
    return "nothing"


def _show(signature: tuple) -> str:
    return " ".join(str(part) for part in signature if part is not None)


def compile_call(function: Callable[..., Any], call: Call, options: Options, roles: Roles, name: str) -> Compiled:
    """Trace and compile one call."""
    arguments, keywords = tree.unflatten(call.structure, call.leaves)
    return Compiled(trace_function(function, arguments, keywords, name, dict(call.static)), call, options, roles, name)
