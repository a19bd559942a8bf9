"""NumPy's scalar types and Python's numbers as traced code sees them: `np.float32(x)`, `float(x)` and their kin of a traced x are casts."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import DTYPES, is_complex, is_integer
from irdl.tracing.box import ARRAY, PYTHON, PYTHON_NUMBERS, SCALAR, is_box, to_value, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.layout import all_known
from irdl.tracing.operations import cast

_TYPES = (*(dtype.type for dtype in DTYPES), *PYTHON_NUMBERS)
_made: dict[type, type] = {}


class _ScalarType(type):
    """The type of the stand-ins: each is equal to the type it stands for, and has its instances and subclasses. Classes that are made
    of one are like any other."""

    real: type

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        if not _is_stand_in(cls):
            return super().__call__(*arguments, **options)
        if len(arguments) == 1 and not options:
            (x,) = arguments
            if cls.real in PYTHON_NUMBERS:
                return python_number(x, cls.real) if is_box(x) else cls.real(x)
            if is_box(x) or (isinstance(x, (list, tuple)) and any(is_box(item) for item in x)):
                return _cast(x, np.dtype(cls.real))
        made = cls.real(*arguments, **options)
        return made if cls.real in PYTHON_NUMBERS else all_known(made)

    def __getattr__(cls, name: str) -> Any:
        if name == "dtype" and _is_stand_in(cls):  # which NumPy asks of a class that it does not know
            return np.dtype(cls.real)
        return getattr(cls.__dict__["real"], name) if _is_stand_in(cls) else super().__getattribute__(name)

    def __instancecheck__(cls, item: Any) -> bool:
        return isinstance(item, cls.real) if _is_stand_in(cls) else super().__instancecheck__(item)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(real_type(other), cls.real) if _is_stand_in(cls) else super().__subclasscheck__(other)

    def __eq__(cls, other: object) -> Any:
        return True if other is cls or (_is_stand_in(cls) and other is cls.real) else NotImplemented

    def __hash__(cls) -> int:
        return hash(cls.real) if _is_stand_in(cls) else super().__hash__()

    def __repr__(cls) -> str:
        return repr(cls.real) if _is_stand_in(cls) else super().__repr__()

    def __reduce__(cls) -> str:
        return cls.real.__name__


def _is_stand_in(cls: type) -> bool:
    return "real" in cls.__dict__ and _made.get(cls.__dict__["real"]) is cls


def _cast(x: Any, dtype: np.dtype) -> Any:
    kind = getattr(x, "kind", ARRAY)
    if kind == PYTHON and is_integer(x.dtype) and is_integer(dtype) and dtype.itemsize < 8 and x.known is None:
        raise TraceError(f"np.{dtype}() of a traced Python int, whose range NumPy would check: use x.astype{user_line()}")
    value = cast(to_value(x), dtype)
    return wrap(value, ARRAY if value.shape else SCALAR)


def python_number(x: Any, real: type) -> Any:
    """`real(x)` of a traced x, where `real` is one of Python's numbers: a traced one, unless the trace knows it.

    Raises:
        TypeError, ValueError: NumPy would not make one of an array of its shape and dtype.
    """
    is_known = x.known is not None and not x.is_followed
    if is_known or (real in (int, float) and is_complex(x.dtype)) or (real is int and x.dtype == np.uint64):
        return real(x)
    if real is bool and (decided := x.decided()) is not None:
        return decided
    if x.kind == ARRAY:
        real(np.ones(x.shape, x.dtype))  # NumPy refuses some shapes, and warns of others
    return wrap(cast(x.reshape(()).value, np.dtype(real)), PYTHON)


def traced_type(item: Any) -> Any:
    """What stands for one of NumPy's scalar types or of Python's numbers; other things themselves."""
    if item not in _TYPES:
        return item
    if item not in _made:
        base = () if item is bool else (item,)  # which has no subclasses
        _made[item] = _ScalarType(item.__name__, base, {"__module__": item.__module__, "real": item})
    return _made[item]


def real_type(item: type) -> type:
    """The scalar type that something stands for."""
    return item.real if isinstance(item, _ScalarType) and _is_stand_in(item) else item
