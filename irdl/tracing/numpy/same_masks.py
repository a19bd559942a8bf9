"""Whether two masks are one: what was taken under the first may then be stored under the second."""

from __future__ import annotations

from irdl.ir.graph import Value, freeze_attributes

#: how far two masks are compared op by op
_MOST_OPS = 32


def is_same(a: Value, b: Value) -> bool:
    """Two masks are one, or the same computation of the same values, as `x < 0` written twice."""
    stack, left = [(a, b)], _MOST_OPS
    while stack:
        a, b = stack.pop()
        if a is b:
            continue
        left -= 1
        if a.node is None or b.node is None or not left or a.index != b.index or a.node.op is not b.node.op or a.node.regions:
            return False
        if len(a.node.operands) != len(b.node.operands) or freeze_attributes(a.node.attributes) != freeze_attributes(b.node.attributes):
            return False
        stack.extend(zip(a.node.operands, b.node.operands, strict=True))
    return True
