"""`jit`, `compile` and `trace`."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl import config
from irdl.errors import TraceError
from irdl.ir.graph import Graph
from irdl.loading import load
from irdl.ops.rules import apply_rules
from irdl.runtime.backends import check_backend, check_precision
from irdl.runtime.call import MISS, Options, Roles, explain, roles_of, take_apart
from irdl.runtime.device_array import DeviceArray, stand_in
from irdl.runtime.threads import num_threads, on_change
from irdl.tracing import tree
from irdl.tracing.box import is_box
from irdl.tracing.function import trace_function

if TYPE_CHECKING:
    from irdl.runtime.compiled import Compiled

#: code generation, of which `import irdl` loads nothing
_COMPILATION = "irdl.runtime.compiled"
#: Native entries that a call tries; each that misses costs some 50 ns. A layer's function may be called with many static weights.
_ENTRIES = 16
#: Versions of one signature: for other captured values, and other outcomes of decisions by them.
_MOST_VERSIONS = 8


def _cache_size() -> int:
    value = config.CACHE_SIZE.value
    if not value.strip().isdigit():
        raise ValueError(f"{config.CACHE_SIZE.name}={value!r}: it is a whole number")
    return max(1, int(value))


def _tuple(item: Any) -> tuple[Any, ...]:
    return (item,) if isinstance(item, (int, str)) else tuple(item)


def options_of(
    backend: str,
    static_argnums: int | Sequence[int],
    static_argnames: str | Sequence[str],
    donate_argnums: int | Sequence[int],
    donate_argnames: str | Sequence[str],
    disable_passes: Sequence[str],
    precision: str | None,
) -> Options:
    """How to compile, from what `jit` takes.

    Raises:
        ValueError: there is no such backend or precision.
    """
    check_backend(backend)
    check_precision(precision)
    static, donated = (_tuple(static_argnums), _tuple(static_argnames)), (_tuple(donate_argnums), _tuple(donate_argnames))
    return Options(*static, *donated, _tuple(disable_passes), backend, precision)


class Jit:
    """A function that is compiled at its first call with each signature. Binds as a method."""

    def __init__(self, function: Callable[..., Any], options: Options, roles: Roles | None = None) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._options = options
        self._roles = roles_of(function, options) if roles is None else roles
        self._name = getattr(function, "__name__", type(function).__name__)
        self._cache: OrderedDict[tuple[Any, ...], list[Compiled]] = OrderedDict()
        self._lock = threading.RLock()
        self._last: tuple[Any, ...] | None = None
        #: native entries of the signatures called last, tried before anything else
        self._entries: tuple[Any, ...] = ()
        #: by the id of an instance: a weak reference to it, and the jitted bound method
        self._bound: dict[int, tuple[Any, Jit]] = {}
        on_change(self)

    def __repr__(self) -> str:
        try:
            signature = str(inspect.signature(self._function))
        except (TypeError, ValueError):
            signature = "(...)"
        return f"<jit {self._name}{signature}, compiled for {self.cache_size()} signatures>"

    def __irdl_replace__(self, replace: Callable[[Any, Callable[[Any], Any] | None], Any]) -> Any:
        """Inside a trace, the function itself, which stays (see `irdl.tracing.capture.capture`)."""
        return replace(self._function, None)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        found = self._bound.get(id(instance))
        if found is not None and found[0]() is instance:
            return found[1]
        made = Jit(self._function.__get__(instance, owner), self._options, self._roles.bound())
        number, bound = id(instance), self._bound
        try:
            reference: Any = weakref.ref(instance, lambda _: bound.pop(number, None))
        except TypeError:
            return made  # no weak references to it, so nothing can be kept for it
        bound[number] = (reference, made)
        return made

    def __call__(self, /, *arguments: Any, **options: Any) -> Any:
        for entry in self._entries:
            result = entry(*arguments, **options)
            if result is not MISS:
                return result
        return self._dispatch(arguments, options)

    def threads_changed(self) -> None:
        self._entries = ()

    def forked(self) -> None:
        """Whoever was compiling is not in this process."""
        self._lock = threading.RLock()

    def _dispatch(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The way through Python: finds the compiled version by signature, or makes it."""
        flat = tree.flatten((arguments, options))
        if any(map(is_box, flat[0])):
            return self._function(*arguments, **options)
        call = take_apart(arguments, options, self._roles, self._function, self._options.backend, None if self._roles.static else flat)
        signature = (*call.signature(), num_threads())
        found = self._find(signature)
        if found is None:
            with self._lock:
                found = self._find(signature)
                if found is None:
                    self._compile(call, signature)
                    found = self._find(signature)
        if found is None:
            raise TraceError(f"{self._name} reads captured values that changed while it was compiled: call it again")
        compiled, captured = found
        entry = compiled.free_entry()
        if entry is not None:
            self._entries = (entry, *(e for e in self._entries if e is not entry))[:_ENTRIES]
            result = entry(*arguments, **options)
            if result is not MISS:
                return result
        return compiled.run(call, captured)

    def _find(self, signature: tuple[Any, ...]) -> tuple[Compiled, tuple[Any, ...]] | None:
        """The version whose captured state is as it was, and the captured arrays."""
        for compiled in self._cache.get(signature, ()):
            captured = compiled.captured()
            if captured is not None:
                return compiled, captured
        return None

    def __copy__(self) -> Jit:
        return self

    def __deepcopy__(self, memo: Any) -> Jit:
        """Itself, as of any function; of a bound method that of the copied object."""
        function = copy.deepcopy(self._function, memo)
        return self if function is self._function else Jit(function, self._options, self._roles)

    def __reduce__(self) -> Any:
        """By name where the name leads here, as a decorated function; else as its function, to be compiled anew where it arrives."""
        found: Any = sys.modules.get(str(vars(self).get("__module__")))
        for part in str(vars(self).get("__qualname__")).split("."):
            found = getattr(found, part, None)
        return str(vars(self)["__qualname__"]) if found is self else (Jit, (self._function, self._options, self._roles))

    def _compile(self, call: Any, signature: tuple[Any, ...]) -> Compiled:
        compile_call = load(_COMPILATION).compile_call
        start = time.perf_counter()
        changing = {name for earlier in self._cache.get(signature, ()) for name in earlier.changed()}
        compiled = compile_call(self._function, call, self._options, self._roles, self._name, changing)
        if "compile" in config.LOG.value:
            reason = "first call"
            if signature in self._cache:
                reason = "captured values changed"
            elif self._last is not None:
                reason = explain(self._last, signature)
            print(f"irdl: compiled {self._name} in {time.perf_counter() - start:.2f} s: {reason}", file=sys.stderr)
        self._last = signature
        # Versions whose captured values changed are kept beside the new one, the latest few.
        self._cache[signature] = [compiled, *self._cache.get(signature, [])][:_MOST_VERSIONS]
        self._cache.move_to_end(signature)
        while len(self._cache) > _cache_size():
            self._cache.popitem(last=False)
        return compiled

    def cache_size(self) -> int:
        """How many signatures are compiled now."""
        return len(self._cache)


def jit(
    f: Callable[..., Any] | None = None,
    *,
    backend: str = "cpu",
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate_argnums: int | Sequence[int] = (),
    donate_argnames: str | Sequence[str] = (),
    disable_passes: Sequence[str] = (),
    precision: str | None = None,
) -> Any:
    """`f`, compiled to native code at its first call with each signature (structure, dtypes, shapes).

    Args:
        f: NumPy code. Array and number arguments are traced; captured arrays are read at each call.
        backend: "cpu"; or "interpret", which runs the compiler's last form of the program statement by statement, slowly, to tell
            its mistakes from those of machine code.
        static_argnums, static_argnames: arguments used as they are; one version is compiled per value, and those that compare
            equal are taken to be the same. Arrays in them (alone or in lists, tuples and dicts) have to be read-only: their
            contents are read once, and each array is known by its identity. Of a method, `self` is argument 0.
        donate_argnums, donate_argnames: arguments whose memory results of the same type take: those results are the
            donated arrays themselves.
        disable_passes: optional passes to leave out.
        precision: None, for products of NumPy's precision; or "tf32", which lets contractions of float32 round what they multiply to
            ten bits of fraction, and add up in float32. GPUs from compute capability 8.0 on do so where it is faster; everything else
            works as it does without it. It holds for the whole compilation, for gradients too.

    Raises:
        TypeError: `f` is no function, as in `jit(f(x))`, or is a generator or async.
        ValueError: there is no such backend or precision.

    Raises (when called):
        TraceError: the code cannot be traced; the message names the line and what to write instead.
        IndexError: an index was out of range at run time.
        BaseException: what `f` raises, where that depends on numbers.
        DonationError: a donated argument is read-only, not contiguous, or shares memory with another.
    """
    options = options_of(backend, static_argnums, static_argnames, donate_argnums, donate_argnames, disable_passes, precision)
    if f is None:
        return lambda function: _jitted(function, options)
    return _jitted(f, options)


def _jitted(f: Callable[..., Any], options: Options) -> Jit:
    if not callable(f):
        raise TypeError(f"irdl.jit takes a function, not {type(f).__name__}: irdl.jit(f)(x), or @irdl.jit above a def")
    if inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f) or inspect.isgeneratorfunction(f):
        kind = "a generator" if inspect.isgeneratorfunction(f) else "async"
        raise TypeError(
            f"irdl.jit: {f.__qualname__} is {kind}, and what it does between its stops is not known: jit functions that it calls"
        )
    return Jit(f, options)


def compile(
    f: Callable[..., Any] | Graph,
    *,
    backend: str = "cpu",
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate_argnums: int | Sequence[int] = (),
    donate_argnames: str | Sequence[str] = (),
    disable_passes: Sequence[str] = (),
    precision: str | None = None,
) -> Callable[..., Any]:
    """Ahead of time: `compile(f)(*args, **kwargs)` is a `Compiled` for that signature; `compile(graph)()` an `Executable`.

    Options and errors are those of `jit`.
    """
    options = options_of(backend, static_argnums, static_argnames, donate_argnums, donate_argnames, disable_passes, precision)
    if isinstance(f, Graph):
        executable = load("irdl.runtime.executable").Executable
        return lambda: executable(f, disable=options.disable, backend=options.backend, precision=options.precision)
    compile_call = load(_COMPILATION).compile_call

    def compile_for(*arguments: Any, **keywords: Any) -> Compiled:
        function = f._function if isinstance(f, Jit) else f
        name = getattr(function, "__name__", type(function).__name__)
        roles = roles_of(function, options)
        return compile_call(function, take_apart(arguments, keywords, roles, function, options.backend), options, roles, name)

    return compile_for


def trace(f: Callable[..., Any], *, roll: bool = True) -> Callable[..., Graph]:
    """`trace(f)(*args, **kwargs)` is the graph of that call, simplified; `print` shows it.

    Args:
        f: NumPy code.
        roll: make scans of Python's loops, as a compilation does; without it the graph holds every step.

    Raises:
        TraceError: the code cannot be traced.
    """

    def traced(*arguments: Any, **options: Any) -> Graph:
        function = f._function if isinstance(f, Jit) else f
        for leaf in tree.flatten((arguments, options))[0]:
            if is_box(leaf):
                raise TraceError("irdl.trace takes arrays, not traced ones")
        arguments, options = _described(arguments, options)
        return apply_rules(apply_rules(trace_function(function, arguments, options, roll=roll, share=False).graph))

    return traced


class ShapeDtype:
    """The shape and dtype of an array that is not there."""

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeDtype) and (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"ShapeDtype(shape={self.shape}, dtype={self.dtype})"


def eval_shape(f: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The tree of `ShapeDtype` that `f` would return, without computing anything.

    Arguments are trees of arrays, or of `ShapeDtype` in their places.

    Raises:
        TraceError: the code cannot be traced.
    """

    function = f._function if isinstance(f, Jit) else f
    arguments, options = _described(arguments, options)
    traced = trace_function(function, arguments, options)
    types = [value.type for value, _ in zip(traced.graph.outputs, traced.kinds, strict=False)]
    return tree.unflatten(traced.structure, [ShapeDtype(type.shape, type.dtype) for type in types])


def _described(arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, with arrays where they are described, or are elsewhere."""

    def here(leaf: Any) -> Any:
        return stand_in(leaf.shape, leaf.dtype) if isinstance(leaf, (ShapeDtype, DeviceArray)) else leaf

    described: tuple[tuple[Any, ...], dict[str, Any]] = tree.map_leaves(here, (arguments, options))
    return described
