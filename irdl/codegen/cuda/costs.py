"""What operations of a warp cost: instructions by the unit that carries them out. For predictions only."""

from __future__ import annotations

from dataclasses import dataclass, fields

from irdl.codegen.cuda.registers import words
from irdl.ir.op import find_op
from irdl.loops.expressions import Operation

#: instructions of float32 operations, and how many of them the unit for special functions does: counted by hand in what nvcc makes of
#: the prelude's and CUDA's functions, with approximate division
_FLOAT: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("fma", "add", "sub", "mul", "less", "less_equal", "equal", "not_equal", "select", "fmax", "fmin"), (1, 0)),
    **dict.fromkeys(("neg", "abs", "stop_gradient"), (0, 0)),
    **dict.fromkeys(("maximum", "minimum"), (3, 0)),
    **{"div": (9, 1), "sqrt": (9, 1), "exp": (8, 1), "exp2": (5, 1), "tanh": (18, 2), "sigmoid": (20, 2), "log": (20, 0)},
}
#: cycles of a scheduler's tensor core for a product of 16 x 8 and 8 x 8 numbers, or, of 16 bits, of 16 x 16 and 16 x 8: of a Hopper's
#: datasheet 4, of which `mma.sync` was found to reach 63%, of an A100's 8; and until the sum is there: assumed
PRODUCT, PRODUCT_LATENCY = 7, 18
#: of integers: those that C has no instruction for
_INTEGER = {"floor_divide": 60, "remainder": 60, "fmod": 60, "power": 100}


@dataclass(frozen=True)
class Work:
    """What a warp does, or several, one after the other.

    Attributes:
        issued: instructions, of which `float32`, `float64`, `integer` and `special` are those of one unit.
        near: cycles of shared memory and the first-level cache.
        l2_bytes: that come from L2 or go there.
        chain: cycles of operations that wait for each other.
        waits, near_waits: times that something is waited for from beyond the multiprocessor, and from shared memory.
        far: more than 0 if what is waited for, another launch was the last to touch.
    """

    issued: float = 0
    float32: float = 0
    float64: float = 0
    integer: float = 0
    special: float = 0
    near: float = 0
    l2_bytes: float = 0
    chain: float = 0
    waits: float = 0
    near_waits: float = 0
    far: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def __mul__(self, times: float) -> Work:
        return Work(*(getattr(self, field.name) * times for field in fields(self)))


def instructions(operation: Operation) -> Work:
    """Of one operation of a warp."""
    name, dtype = operation.name, operation.arguments[-1].dtype
    op = find_op(name)
    rough = 1.2 * op.cycles if op is not None else 1.0
    if dtype.kind == "f" and name != "cast":
        count, special = _FLOAT.get(name, (max(1.0, rough), 0.0))
        if dtype.itemsize == 8:
            count = count if count <= 1 else 3 * count  # no approximation of its own to start from
            return Work(issued=count, float64=count)
        return Work(issued=count, float32=count - special, special=special)
    count = _INTEGER.get(name, 1) * words(dtype)
    return Work(issued=count, integer=count)


def latency(operation: Operation, cycles: float) -> float:
    """Cycles until its result is there: of a function, its instructions wait for each other."""
    return cycles * max(1.0 if instructions(operation).issued else 0.0, instructions(operation).issued)
