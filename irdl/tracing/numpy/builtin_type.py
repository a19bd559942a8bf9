"""Python's `type` as traced code sees it: of a traced array it tells the type that NumPy's array or number would have."""

from __future__ import annotations

from typing import Any

from irdl.tracing.box import Box
from irdl.tracing.numpy.lists import TracedUfunc
from irdl.tracing.numpy.scalars import real_type, traced_type


class _TypeOfTypes(type):
    """What the stand-in does when it is called, and what its instances are; metaclasses made from it are like any other."""

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        if cls is not TracedType:
            return super().__call__(*arguments, **options)
        if len(arguments) == 1:
            (item,) = arguments
            kind = item.__class__ if type(item) in (Box, TracedUfunc) else type(real_type(item))
            return TracedType if kind is type else traced_type(kind)
        return type(*arguments, **options)

    def __instancecheck__(cls, item: Any) -> bool:
        return isinstance(item, type) if cls is TracedType else super().__instancecheck__(item)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, type) if cls is TracedType else super().__subclasscheck__(other)

    def __eq__(cls, other: object) -> Any:
        return True if other is cls or (cls is TracedType and other is type) else NotImplemented

    def __hash__(cls) -> int:
        return hash(type) if cls is TracedType else super().__hash__()


class TracedType(type, metaclass=_TypeOfTypes):
    """`type`."""
