"""What is in a variable that is set on one side of a branch only: whoever uses it is told."""

from __future__ import annotations

from typing import Any

from irdl.errors import TraceError
from irdl.tracing.lines import user_line


class Unset:
    """Nothing can be done with it."""

    def __init__(self, why: str) -> None:
        object.__setattr__(self, "why", why)

    def refuse(self, *_: Any, **__: Any) -> Any:
        raise TraceError(f"{object.__getattribute__(self, 'why')}{user_line()}")

    def __repr__(self) -> str:
        return "<not set>"

    def __getattribute__(self, name: str) -> Any:
        if name in ("refuse", "why", "value", "ways", "key", "__class__", "__repr__"):
            return object.__getattribute__(self, name)
        return object.__getattribute__(self, "refuse")()


for _name in (
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv", "mod", "rmod", "pow", "rpow", "matmul"),
    *(
        "rmatmul",
        "and",
        "rand",
        "or",
        "ror",
        "xor",
        "rxor",
        "lshift",
        "rlshift",
        "rshift",
        "rrshift",
        "divmod",
        "rdivmod",
        "neg",
        "pos",
        "abs",
    ),
    *(
        "invert",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "bool",
        "int",
        "float",
        "complex",
        "index",
        "len",
        "iter",
        "getitem",
        "setitem",
        "delitem",
    ),
    *("contains", "call", "hash", "str", "format", "array", "array_ufunc", "array_function", "enter", "exit", "setattr", "round"),
    *("reversed", "copy", "deepcopy", "reduce_ex"),
):
    setattr(Unset, f"__{_name}__", Unset.refuse)


class Partly(Unset):
    """In a variable that is set on some ways out of a block only.

    Attributes:
        value: what it is there.
        ways: those ways, out of the block whose exit has this `key`.
    """

    def __init__(self, why: str, value: Any, ways: frozenset[int], key: Any) -> None:
        super().__init__(why)
        for name, item in (("value", value), ("ways", ways), ("key", key)):
            object.__setattr__(self, name, item)
