"""float16 and bfloat16, whose bits are what code has, to float32 and back: to the nearest, ties to even."""

from __future__ import annotations

import numpy as np

from irdl.codegen.cpu.llvm.ir_builder import IRBuilder, Kind

_INFINITY = 0x7F800000


class Halves:
    """Conversions of as many numbers as `kind` has lanes; its dtype is the narrow one."""

    def __init__(self, builder: IRBuilder, kind: Kind) -> None:
        self.b = builder
        self.half = kind
        self.bits = kind.with_dtype(np.uint32)
        self.float = kind.with_dtype(np.float32)

    def widen(self, x: str) -> str:
        if self.half.dtype != np.float16:
            return self._float(self._binary("shl", self._bits_of_half(x), 16))
        if self.b.target.halves:
            return self.b.emit(f"fpext {self._ieee} {self._cast(self.half.text, x, self._ieee)} to {self.float.text}")
        bits = self._bits_of_half(x)
        moved = self._binary("shl", self._binary("and", bits, 0x7FFF), 13)
        number = self.b.binary(self.float, "fmul", self._float(moved), self.float.constant(2.0**112))  # exact, of subnormals too
        special = self.b.compare(self.bits, "uge", moved, self.bits.constant(0x1F << 23))
        size = self.b.select(self.bits, special, self._binary("or", moved, _INFINITY), self._bits_of(number))
        sign = self._binary("shl", self._binary("and", bits, 0x8000), 16)
        return self._float(self.b.binary(self.bits, "or", size, sign))

    def narrow(self, x: str) -> str:
        bits = self._bits_of(x)
        nan = self.b.compare(self.float, "uno", x, x)
        if self.half.dtype != np.float16:
            quiet = self._binary("or", self._binary("lshr", bits, 16), 0x40)
            return self._half(self.b.select(self.bits, nan, quiet, self._rounded(bits, 16)))
        if self.b.target.halves:
            return self._cast(self._ieee, self.b.emit(f"fptrunc {self.float.text} {x} to {self._ieee}"), self.half.text)
        size = self._binary("and", bits, 0x7FFFFFFF)
        normal = self._binary("sub", self._rounded(size, 13), 112 << 10)
        # The sum's last bit is worth 2**-24, as that of a subnormal half is.
        added = self.b.binary(self.float, "fadd", self._float(size), self.float.constant(0.5))
        subnormal = self._binary("sub", self._bits_of(added), 0x3F000000)
        found = self._select("ult", size, 0x38800000, subnormal, normal)
        found = self._select("uge", size, 0x477FF000, self.bits.constant(0x7C00), found)
        found = self.b.select(self.bits, nan, self.bits.constant(0x7E00), found)
        return self._half(self.b.binary(self.bits, "or", found, self._binary("and", self._binary("lshr", bits, 16), 0x8000)))

    @property
    def _ieee(self) -> str:
        return f"<{self.half.lanes} x half>" if self.half.lanes else "half"

    def _rounded(self, bits: str, lost: int) -> str:
        """Without the last `lost` bits."""
        odd = self._binary("and", self._binary("lshr", bits, lost), 1)
        up = self.b.binary(self.bits, "add", self._binary("add", bits, (1 << lost - 1) - 1), odd)
        return self._binary("lshr", up, lost)

    def _select(self, predicate: str, x: str, limit: int, true: str, false: str) -> str:
        return self.b.select(self.bits, self.b.compare(self.bits, predicate, x, self.bits.constant(limit)), true, false)

    def _binary(self, op: str, x: str, number: int) -> str:
        return self.b.binary(self.bits, op, x, self.bits.constant(number))

    def _cast(self, source: str, x: str, target: str, op: str = "bitcast") -> str:
        return self.b.emit(f"{op} {source} {x} to {target}")

    def _float(self, bits: str) -> str:
        return self._cast(self.bits.text, bits, self.float.text)

    def _bits_of(self, x: str) -> str:
        return self._cast(self.float.text, x, self.bits.text)

    def _bits_of_half(self, x: str) -> str:
        return self._cast(self.half.text, x, self.bits.text, "zext")

    def _half(self, bits: str) -> str:
        return self._cast(self.bits.text, bits, self.half.text, "trunc")
