"""The box's side of NumPy's protocols: `__array_ufunc__`, `__array_function__`, the operators and the methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_complex
from irdl.ops.elementwise import SELECT
from irdl.ops.shape import BROADCAST, BroadcastAttributes
from irdl.tracing.box import ARRAY, PYTHON, Box, to_value, wrap, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy import (  # noqa: F401 - importing these fills the table of functions
    choosing,
    complexes,
    factorizations,
    flat,
    fourier,
    functions,
    indexing,
    joining,
    linear,
    missing,
    picking,
    polynomials,
    products,
    quantiles,
    rearranging,
    searching,
    shaping,
    signals,
    sorting,
    spectral,
    statistics,
    windowing,
)
from irdl.tracing.numpy.layout import ask, copied, has_order, lay_out
from irdl.tracing.numpy.masks import Masked
from irdl.tracing.numpy.mathematics import rounded
from irdl.tracing.numpy.table import array_function
from irdl.tracing.numpy.ufunc_methods import call_method
from irdl.tracing.numpy.ufunc_rules import as_bool
from irdl.tracing.numpy.ufuncs import binary, in_place, is_operand, record_ufunc, store, store_out, tuple_or_one
from irdl.tracing.operations import apply, cast
from irdl.tracing.printing import text_of


def array_ufunc(self: Box, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """`Box.__array_ufunc__`."""
    if any(type(x) is Masked for x in inputs):
        return NotImplemented
    if method != "__call__":
        given, function = dict(options), getattr(ufunc, method)
        if method != "at":
            ask(function, inputs, given)
        return lay_out(call_method(ufunc, method, inputs, options), function, inputs, given)
    given = dict(options)
    out = options.pop("out", None)
    where = options.pop("where", True)
    dtype = options.pop("dtype", None)
    if where is not True and out is None:
        raise TraceError(f"np.{ufunc.__name__} with where= and no out= leaves undefined numbers: use np.where{user_line()}")
    if out is not None or where is not True or dtype is not None or options:
        ask(ufunc, inputs, given)
    for harmless in ("casting", "order", "subok"):
        options.pop(harmless, None)
    if options:
        raise TraceError(f"np.{ufunc.__name__}: {', '.join(options)} cannot be traced{user_line()}")
    if ufunc.signature is not None:
        results: tuple[Any, ...] = (products.gufunc(ufunc, inputs, dtype),)
        inputs = ()  # a product's layout is its own
    else:
        results = record_ufunc(ufunc, inputs, dtype)
    if where is not True:
        mask = as_bool(to_value(where))
        results = tuple(
            apply(SELECT, [mask, cast(value, target.dtype), to_value(target)]) for value, target in zip(results, out, strict=True)
        )
    if out is not None:
        return tuple_or_one([store_out(ufunc.__name__, t, v) for t, v in zip(out, results, strict=True)])
    return tuple_or_one([wrap_result(value, inputs) for value in results])


def _operator(ufunc: np.ufunc, reflected: bool = False) -> Callable[[Any, Any], Any]:
    if reflected:
        return lambda self, other: binary(ufunc, other, self)
    return lambda self, other: binary(ufunc, self, other)


def _equality(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    """`==` or `!=`: nothing is equal to None, a text or another object that is no array."""

    def operator(self: Box, other: Any) -> Any:
        if is_operand(other) or _overrides(other):
            return binary(ufunc, self, other)
        if other is not None and not isinstance(other, (str, bytes)):
            raise TraceError(f"a traced array is compared with a {type(other).__name__}: compare it with arrays or numbers{user_line()}")
        answer = ufunc is np.not_equal
        if self.kind == ARRAY:
            return _filled(answer, self.shape)
        return answer if other is None or self.kind == PYTHON else np.bool_(answer)

    return operator


def _filled(answer: bool, shape: tuple[int, ...]) -> Any:
    return wrap(apply(BROADCAST, [to_value(np.bool_(answer))], BroadcastAttributes(shape)))


def _overrides(other: Any) -> bool:
    """NumPy leaves the answer to it."""
    return hasattr(type(other), "__array_ufunc__") or hasattr(type(other), "__array_priority__")


def _power(self: Box, other: Any) -> Any:
    if self.dtype == np.bool_ and self.kind == ARRAY and type(other) is int and other == 2:
        return np.square(self)
    if self.dtype.kind in "fc" and self.kind == ARRAY and type(other) is float and other == 0.5:
        return np.sqrt(self)
    return binary(np.power, self, other)


def _missing(self: Box, name: str) -> Any:
    if hasattr(np.ndarray, name) and not name.startswith("__"):
        raise TraceError(f"x.{name} has no rule in irdl{user_line()}")
    raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")


def _conjugate(self: Box, out: Any = None) -> Any:
    if out is not None:
        return np.conjugate(self, out=out)
    return _unary(np.conjugate)(self) if is_complex(self.dtype) else self


def _in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    return lambda self, other: in_place(ufunc, self, other)


def _unary(ufunc: np.ufunc) -> Callable[[Any], Any]:
    def operator(self: Box) -> Any:
        (value,) = record_ufunc(ufunc, (self,))
        return wrap(value, PYTHON) if self.kind == PYTHON else wrap_result(value, (self,))

    return operator


def _matmul(self: Any, other: Any) -> Any:
    return wrap_result(products.matmul(self, other))


def _matmul_in_place(self: Any, other: Any) -> Any:
    return store_out("matmul", self, products.matmul(self, other))


def _astype(self: Box, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True) -> Any:
    target = np.dtype(dtype)
    if not np.can_cast(self.dtype, target, casting):  # type: ignore[arg-type]
        raise TypeError(f"Cannot cast array data from {self.dtype!r} to {target!r} according to the rule {casting!r}{user_line()}")
    if target == self.dtype and not copy and has_order(self, order):
        return self
    value = cast(self.value, target)
    return copied(self, value, order) if value.shape or self.kind != ARRAY else wrap(value)


def _reshape(self: Box, *shape: Any, order: str = "C", copy: Any = None) -> Any:
    return shaping.reshape(self, shape[0] if len(shape) == 1 else shape, order, copy=copy)


def _view(self: Box, dtype: Any = None, type: Any = None) -> Any:
    if any(item not in (None, np.ndarray) and item != self.dtype for item in (dtype, type)):
        raise TraceError(f"x.view(dtype) gives memory another meaning, which cannot be traced: use x.astype(dtype){user_line()}")
    return shaping.reshape(self, self.shape)


def _transpose(self: Box, *axes: Any) -> Any:
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        return shaping.transpose(self, axes[0])
    return shaping.transpose(self, axes or None)


def _fill(self: Box, value: Any) -> None:
    store(self, to_value(value, self.dtype))


def _flatten(self: Box, order: str = "C") -> Any:
    return wrap(shaping.ravel(self, order).value)


def _method(function: Any) -> Callable[..., Any]:
    return lambda self, *arguments, **options: array_function(function, (self, *arguments), options)


def _unsupported(name: str) -> Callable[..., Any]:
    def method(self: Box, *arguments: Any, **options: Any) -> Any:
        raise TraceError(f"x.{name}() has no rule in irdl{user_line()}")

    return method


def _copy(self: Box, order: str = "C") -> Any:
    if self.kind != ARRAY:
        return self
    return copied(self, self.value, order) if self.ndim else wrap(self.value)


def _round(self: Box, digits: int | None = None) -> Any:
    if digits is not None:
        return rounded(self, digits) if self.kind == PYTHON else functions.round_(self, digits)
    # Without digits Python wants an int.
    return wrap(cast(to_value(np.rint(self)), np.dtype(np.int64)), PYTHON)


def _contains(self: Box, item: Any) -> Any:
    return bool(np.any(self == item))


def _setter(name: str) -> Any:
    def refuse(self: Box, value: Any) -> None:
        raise TraceError(f"x.{name} = ... cannot be traced: use np.reshape or x.astype{user_line()}")

    return refuse


_OPERATORS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
_COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_METHODS = {
    "sum": np.sum,
    "prod": np.prod,
    "mean": np.mean,
    "var": np.var,
    "std": np.std,
    "max": np.max,
    "min": np.min,
    "any": np.any,
    "all": np.all,
    "argmax": np.argmax,
    "argmin": np.argmin,
    "argsort": np.argsort,
    "argpartition": np.argpartition,
    "cumsum": np.cumsum,
    "cumprod": np.cumprod,
    "dot": np.dot,
    "clip": np.clip,
    "take": np.take,
    "repeat": np.repeat,
    "squeeze": np.squeeze,
    "swapaxes": np.swapaxes,
    "ravel": np.ravel,
    "diagonal": np.diagonal,
    "trace": np.trace,
    "round": np.round,
    "searchsorted": np.searchsorted,
    "nonzero": np.nonzero,
    "put": np.put,
    "choose": np.choose,
}


def install() -> None:
    """Give `Box` its operators and methods. Called once, when the package is imported."""
    members: dict[str, Any] = {
        "__array_ufunc__": array_ufunc,
        "__array_function__": lambda self, function, types, arguments, options: (
            NotImplemented if Masked in types else array_function(function, arguments, options)
        ),
        "__array_priority__": 1000.0,
        "__getitem__": indexing.get_item,
        "__setitem__": indexing.set_item,
        "__matmul__": _matmul,
        "__rmatmul__": lambda self, other: _matmul(other, self),
        "__imatmul__": _matmul_in_place,
        "__divmod__": _operator(np.divmod),
        "__rdivmod__": _operator(np.divmod, reflected=True),
        "__neg__": _unary(np.negative),
        "__pos__": _unary(np.positive),
        "__abs__": _unary(np.absolute),
        "__invert__": _unary(np.invert),
        "__round__": _round,
        "__contains__": _contains,
        "__getattr__": _missing,
        "__repr__": lambda self: text_of(self, repr),
        "__str__": lambda self: text_of(self, str),
        "__format__": lambda self, specification: text_of(self, lambda item: format(item, specification)),
        "astype": _astype,
        "reshape": _reshape,
        "transpose": _transpose,
        "flatten": _flatten,
        "copy": _copy,
        "__copy__": _copy,
        "fill": _fill,
        "view": _view,
        "sort": sorting.sort_in_place,
        "partition": sorting.partition_in_place,
        "conj": _conjugate,
        "conjugate": _conjugate,
        "T": property(lambda self: shaping.transpose(self) if self.kind == ARRAY else self, _setter("T")),
        "mT": property(shaping.matrix_transpose),
        "compress": lambda self, condition, axis=None, out=None: array_function(np.compress, (condition, self, axis, out), {}),
        "real": property(complexes.real, complexes.store_real),
        "imag": property(complexes.imag, complexes.store_imag),
        "flat": property(flat.Flat, flat.store_flat),
    }
    for name, ufunc in _OPERATORS.items():
        members[f"__{name}__"] = _operator(ufunc)
        members[f"__r{name}__"] = _operator(ufunc, reflected=True)
        members[f"__i{name}__"] = _in_place(ufunc)
    members["__pow__"] = _power
    for name, ufunc in _COMPARISONS.items():
        members[f"__{name}__"] = _equality(ufunc) if name in ("eq", "ne") else _operator(ufunc)
    for name, function in _METHODS.items():
        members[name] = _method(function)
    for name in (
        "tobytes",
        "tofile",
        "resize",
        "byteswap",
    ):
        members[name] = _unsupported(name)
    for name, member in members.items():
        setattr(Box, name, member)


install()
