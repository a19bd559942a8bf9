"""NumPy and SciPy as traced code sees them: what makes arrays makes traced ones, whose values are known, so that traced values can
be stored into them (`h = np.zeros(n); h[0] = x`) and `np.array([x, y])` joins."""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_supported
from irdl.ops.shape import BROADCAST, BroadcastAttributes
from irdl.tracing.box import is_box, to_value, wrap
from irdl.tracing.layout import shadow_array
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.flat import Flat
from irdl.tracing.numpy.joining import joined_by
from irdl.tracing.numpy.layout import all_known, are_known, boxes_in, computed, copied, has_order
from irdl.tracing.numpy.lists import as_array, has_box, is_literal, traced_ufunc, with_arrays
from irdl.tracing.numpy.polynomials import ascending_polyval
from irdl.tracing.numpy.scalars import traced_type
from irdl.tracing.numpy.scipy_functions import FUNCTIONS as OF_SCIPY
from irdl.tracing.numpy.special import FUNCTIONS
from irdl.tracing.numpy.table import are_settled
from irdl.tracing.numpy.vectorized import stand_in
from irdl.tracing.numpy.windowing import as_strided
from irdl.tracing.operations import apply
from irdl.tracing.recorder import current_trace, open_trace, trace_stack
from irdl.tracing.rows import runs_of_rows
from irdl.tracing.sources import check_source

_MAKERS = (np.zeros, np.ones, np.empty, np.full, np.arange, np.eye, np.identity, np.linspace, np.tri)
_CONVERTERS = (np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray)


def _maker(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def make(*arguments: Any, **options: Any) -> Any:
        if function is np.full:
            given = [options.pop(name) for name in ("shape", "fill_value")[len(arguments) :] if name in options]
            shape, fill, *rest = [*arguments, *given]
            check_source(fill)
            if is_box(fill):
                dtype = rest[0] if rest else options.get("dtype")
                return np.full_like(fill, fill, dtype=dtype, shape=shape)
            arguments = (shape, fill, *rest)
        if function in _UNIFORM and current_trace() is not None and (function is not np.full or np.ndim(arguments[1]) == 0):
            return _uniform(function, *arguments, **options)
        return all_known(function(*arguments, **options))

    return make


_UNIFORM = (np.zeros, np.ones, np.empty, np.full)


def _uniform(function: Callable[..., Any], shape: Any, *arguments: Any, order: str = "C", **options: Any) -> Any:
    """One number repeated: the array itself is never made."""
    if len(arguments) > (2 if function is np.full else 1):
        *arguments, order = arguments  # type: ignore[assignment]
    number = np.zeros((), *arguments, **options) if function is np.empty else function((), *arguments, **options)
    np.empty(0, order=order)  # type: ignore[call-overload]  # raises as NumPy does
    extents = tuple(map(operator.index, shape if isinstance(shape, (list, tuple)) else (shape,)))
    whole = np.broadcast_to(number, extents)
    if not is_supported(number.dtype):
        return function(shape, *arguments, order=order, **options)
    value = apply(BROADCAST, [open_trace().constant(number)], BroadcastAttributes(whole.shape))
    box = wrap(value)
    if order == "F" and value.type.rank > 1:
        box._shadow = shadow_array(value.shape, value.dtype, tuple(value.dtype.itemsize * np.cumprod((1, *value.shape[:-1]))))
    return box


def _converter(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def convert(x: Any, dtype: Any = None, *rest: Any, **options: Any) -> Any:
        x = x.copy() if isinstance(x, Flat) else x
        if rest:  # only np.asarray and its kin take more by position
            options["order"], *_ = rest
        if not is_box(x) and not (isinstance(x, (list, tuple)) and has_box(x)):
            made = function(x, dtype, **options)
            return all_known(made) if is_literal(x) or (function is np.array and _is_buffer(made, x)) else made
        order = _ORDERS.get(function) or options.get("order") or "K"
        if not is_box(x):
            wanted = np.dtype(dtype) if dtype is not None else np.result_type(*(_strong_dtype(item) for item in _flat(x)))
            x, copy = wrap(to_value(_nested(x), wanted)), None
        else:
            wanted = x.dtype if dtype is None else np.dtype(dtype)
            copy = options.get("copy", True if function is np.array else None)
        if copy or wanted != x.dtype or x.kind != "array" or (order != "A" and not has_order(x, order)):
            if copy is False:
                raise ValueError(f"Unable to avoid copy while creating an array as requested{user_line()}")
            value = to_value(x, wanted)
            x = copied(x, value, order) if value.shape else wrap(value)
        if function in _ORDERS and x.ndim == 0:
            x = np.reshape(x, (1,))
        if options.get("ndmin", 0) > x.ndim:
            x = np.reshape(x, (1,) * (options["ndmin"] - x.ndim) + x.shape)
        return x

    return convert


_ORDERS: dict[Any, str] = {np.ascontiguousarray: "C", np.asfortranarray: "F"}


def _strong_dtype(item: Any) -> np.dtype:
    """The dtype of an item of a list, as np.array sees it: Python's numbers are no weaker than NumPy's."""
    return item.dtype if is_box(item) else np.asarray(item).dtype


def _flat(items: Any) -> list[Any]:
    return [leaf for item in items for leaf in (_flat(item) if isinstance(item, (list, tuple)) else [item])]


def _nested(items: Any) -> Any:
    parts = []
    for item, rows in runs_of_rows(items):
        if rows is None:
            rows = (_nested(item) if isinstance(item, (list, tuple)) else wrap(to_value(item)))[None]
        parts.append(rows)
    return np.concatenate(parts)


def _from_function(function: Any, shape: Any, *, dtype: Any = float, like: Any = None, **options: Any) -> Any:
    return function(*all_known(np.indices(shape, dtype=dtype)), **options)


def _frequencies(function: Any) -> Any:
    """`fftfreq` or `rfftfreq`, whose spacing may be traced."""

    @functools.wraps(function)
    def frequencies(n: int, d: Any = 1.0, device: Any = None) -> Any:
        if not is_box(d) or d.known is not None:
            return all_known(function(n, d if not is_box(d) else d.item(), device=device))
        whole = np.rint(function(n, 1.0 / n)).astype(np.int64)
        return all_known(whole) * (1.0 / (n * d))

    return frequencies


_REPLACED: dict[Any, Callable[..., Any]] = {
    **{function: _maker(function) for function in _MAKERS},
    **{function: _converter(function) for function in _CONVERTERS},
    np.lib.stride_tricks.as_strided: as_strided,
    np.fromfunction: _from_function,
    **{function: _frequencies(function) for function in (np.fft.fftfreq, np.fft.rfftfreq)},
    np.polynomial.polynomial.polyval: ascending_polyval,
}
#: what these give does not follow from their arguments alone
_IMPURE = ("load", "loadtxt", "genfromtxt", "fromfile", "fromregex", "frombuffer", "memmap", "open_memmap", "io")


def is_numeric(name: str) -> bool:
    """A module whose functions give the same arrays for the same numbers."""
    return name.split(".")[0] in ("numpy", "scipy") and name.split(".")[-1] not in _IMPURE


def as_traced(function: Any) -> Any:
    """What stands for a function of NumPy's or SciPy's in traced code; None for others."""
    found = _REPLACED.get(function)
    name = getattr(function, "__name__", None)
    if found is None and is_numeric(getattr(function, "__module__", None) or "") and name is not None and name not in _IMPURE:
        if function.__module__.startswith(np.random.__name__):
            found = _seeded(function)
        elif function.__module__.startswith("scipy.special") and name in FUNCTIONS:
            found = _unless_settled(_from_numbers(function), FUNCTIONS[name])
        elif rule := OF_SCIPY.get((".".join(function.__module__.split(".")[:2]), name)):
            found = _unless_settled(_from_numbers(function), rule)
        else:
            found = _from_numbers(function)
        _REPLACED[function] = found
    return found


def _unless_settled(function: Callable[..., Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of numbers that the trace knows, `rule` of others."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return (function if are_settled(arguments, options) else rule)(*arguments, **options)

    return call


def _from_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which makes traced arrays where its arguments are numbers, texts, known arrays and the like."""
    is_dispatched = hasattr(function, "_implementation")

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        # NumPy's own functions find out about boxes themselves; into others they would go as copies.
        if not is_dispatched and are_known(boxes_in((arguments, options))):
            return computed(function, arguments, options)
        if is_dispatched and function not in _OF_SEQUENCES:
            arguments, options = with_arrays(arguments, options)
        elif function in _OF_ROWS and arguments and isinstance(arguments[0], (list, tuple)):
            arguments = ([as_array(part) for part in arguments[0]], *arguments[1:])
        if function is np.full_like and _is_buffer(None) and arguments and boxes_in((arguments[1:], options)):
            arguments = (all_known(arguments[0]), *arguments[1:])
        result = function(*arguments, **options)
        return all_known(result) if is_literal((arguments, options)) or (function in _LIKE and _is_buffer(result)) else result

    return call


_LIKE = (np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.copy)


def _is_buffer(made: Any, source: Any = None) -> bool:
    """Whether an array is made of a real one where those are arguments, as of a gradient outside of `jit`: new, it may be stored into."""
    if current_trace() is None or trace_stack()[0].capture is not None:
        return False
    return not (isinstance(source, np.ndarray) and np.may_share_memory(made, source))


_OF_ROWS = (np.concatenate, np.stack, np.hstack, np.vstack, np.dstack, np.column_stack)
#: what a list is to these: several arrays, not the rows of one
_OF_SEQUENCES = (
    *(*_OF_ROWS, np.block, np.lexsort),
    *(np.select, np.choose, np.linalg.multi_dot, np.unravel_index, np.ravel_multi_index),
)


def _seeded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A maker of random generators: with a seed, its numbers are the same at every call, in NumPy too."""

    @functools.wraps(function)
    def make(*arguments: Any, **options: Any) -> Any:
        if current_trace() is None or function not in _SEEDED:
            return function(*arguments, **options)
        if not any(item is not None for item in (*arguments, *options.values())):
            raise TraceError(
                f"np.random.{function.__name__}() without a seed gives other numbers at each call: use irdl.random with a key{user_line()}"
            )
        if not is_literal((arguments, options)) or any(is_box(item) for item in (*arguments, *options.values())):
            raise TraceError(f"np.random.{function.__name__} takes a number as its seed in traced code{user_line()}")
        return SeededGenerator(function(*arguments, **options))

    return make


_SEEDED = (np.random.default_rng, np.random.RandomState)


class SeededGenerator:
    """A seeded generator made in traced code: what it draws is known."""

    def __init__(self, generator: np.random.Generator | np.random.RandomState) -> None:
        self.generator = generator

    def __getattr__(self, name: str) -> Any:
        if name == "shuffle":  # it would swap traced rows by views of them
            raise TraceError(f"a generator's shuffle cannot be traced: index with its permutation{user_line()}")
        item = getattr(self.generator, name)
        return _from_numbers(item) if callable(item) else item


class _Maker:
    """`np.r_`, `np.mgrid` and their kin."""

    def __init__(self, item: Any) -> None:
        self._item = item

    def __getitem__(self, key: Any) -> Any:
        if self._item in (np.r_, np.c_) and boxes_in(key if isinstance(key, tuple) else (key,)):
            return joined_by(self._item, key)
        result = self._item[key]
        return all_known(result) if is_literal(key) else result


def _refuse_matrix(*_: Any, **__: Any) -> Any:
    raise TraceError(f"np.matrix has an arithmetic of its own, which is not traced: use arrays, with @ for products{user_line()}")


class TracedModule(types.ModuleType):
    """Stands for `numpy` or another numeric module in the globals of traced code."""

    def __init__(self, module: types.ModuleType) -> None:
        super().__init__(module.__name__)
        self.__dict__["_module"] = module

    def __getattr__(self, name: str) -> Any:
        item = getattr(self.__dict__["_module"], name)
        if item is np.random.RandomState:
            made: Any = _seeded(item)
        elif item is np.matrix or item is np.asmatrix:
            made = _refuse_matrix
        elif isinstance(item, type) and issubclass(item, np.generic):
            made = traced_type(item)
        elif isinstance(item, types.ModuleType):
            made = TracedModule(item) if is_numeric(item.__name__) else item
        elif isinstance(item, np.ufunc):
            made = traced_ufunc(item)
        elif isinstance(item, type) and stand_in(item) is not None:
            made = stand_in(item)
        elif isinstance(item, type) or not (callable(item) or type(item) in _INDEXED):
            return item
        else:
            made = _Maker(item) if type(item) in _INDEXED else as_traced(item) or item
        self.__dict__[name] = made
        return made


_INDEXED = (type(np.r_), type(np.c_), type(np.mgrid), type(np.ogrid))
