"""Every op, declared once. Importing this package fills the registry."""

from irdl.ops import contract, control, elementwise, fusion, index, reduce, shape

__all__ = ["contract", "control", "elementwise", "fusion", "index", "reduce", "shape"]
