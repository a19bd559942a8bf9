"""Python's `type` and `isinstance` as traced code sees them: of a traced array they tell the type that NumPy's array or number would have."""

from __future__ import annotations

from typing import Any

from irdl.errors import TraceError
from irdl.tracing.box import Box
from irdl.tracing.lines import user_line
from irdl.tracing.long_loops.growing import GrownList
from irdl.tracing.numpy.lists import TracedUfunc
from irdl.tracing.numpy.scalars import real_type, traced_type
from irdl.tracing.recorder import trace_stack


class _TypeOfTypes(type):
    """What the stand-in does when it is called, and what its instances are; metaclasses made from it are like any other."""

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        if cls is not TracedType:
            return super().__call__(*arguments, **options)
        if len(arguments) == 1:
            (item,) = arguments
            if _types_of(item):
                raise _differs(item, "type")
            kind = item.__class__ if type(item) in (Box, TracedUfunc, GrownList) else type(real_type(item))
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


def traced_isinstance(item: Any, classes: Any) -> bool:
    """`isinstance`.

    Raises:
        TraceError: the answer depends on the side that a branch has taken.
    """
    if len({isinstance(kind, type) and issubclass(kind, classes) for kind in _types_of(item)}) > 1:
        raise _differs(item, "isinstance")
    return isinstance(item, classes)


def _types_of(item: Any) -> tuple[type, ...]:
    """Those of a number that has one type on one side of a branch and another on the other."""
    stack = trace_stack()
    return stack[0].types.get(item.cell, ()) if type(item) is Box and stack and stack[0].types else ()


def _differs(item: Any, question: str) -> TraceError:
    first, second = (kind.__name__ for kind in _types_of(item))
    return TraceError(f"`{question}` of a number that is of type {first} on one side of a branch and {second} on the other{user_line()}")


class TracedType(type, metaclass=_TypeOfTypes):
    """`type`."""
