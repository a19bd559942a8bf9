"""NumPy's scalar types as traced code sees them: `np.float32(x)` of a traced x is a cast."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import DTYPES, is_integer
from irdl.tracing.box import ARRAY, PYTHON, SCALAR, is_box, to_value, wrap
from irdl.tracing.numpy.layout import all_known
from irdl.tracing.operations import cast
from irdl.tracing.recorder import user_line

_TYPES = tuple(dtype.type for dtype in DTYPES)
_made: dict[type, type] = {}


class _ScalarType(type):
    """The type of the stand-ins: each is equal to the type it stands for, and has its instances and subclasses."""

    real: type

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        if len(arguments) == 1 and not options:
            (x,) = arguments
            if is_box(x) or (isinstance(x, (list, tuple)) and any(is_box(item) for item in x)):
                return _cast(x, np.dtype(cls.real))
        return all_known(cls.real(*arguments, **options))

    def __instancecheck__(cls, item: Any) -> bool:
        return isinstance(item, cls.real)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.real)

    def __eq__(cls, other: object) -> Any:
        return True if other is cls or other is cls.real else NotImplemented

    def __hash__(cls) -> int:
        return hash(cls.real)

    def __repr__(cls) -> str:
        return repr(cls.real)

    def __reduce__(cls) -> str:
        return cls.real.__name__


def _cast(x: Any, dtype: np.dtype) -> Any:
    kind = getattr(x, "kind", ARRAY)
    if kind == PYTHON and is_integer(x.dtype) and is_integer(dtype) and dtype.itemsize < 8 and x.known is None:
        raise TraceError(f"np.{dtype}() of a traced Python int, whose range NumPy would check: use x.astype{user_line()}")
    value = cast(to_value(x), dtype)
    return wrap(value, ARRAY if value.shape else SCALAR)


def traced_type(item: Any) -> Any:
    """What stands for one of NumPy's scalar types; other things themselves."""
    if item not in _TYPES:
        return item
    if item not in _made:
        made = _made[item] = _ScalarType(item.__name__, (item,), {"__module__": "numpy"})
        made.real = item
    return _made[item]


def real_type(item: type) -> type:
    """The scalar type that something stands for."""
    return item.real if isinstance(item, _ScalarType) else item
