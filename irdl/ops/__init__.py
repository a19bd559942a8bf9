"""Every op, declared once. Importing this package fills the registry."""

from irdl.ops import contract, control, dynamic, elementwise, fusion, index, joining, linear, reduce, shape, sort, spectral, windows

__all__ = [
    "contract",
    "control",
    "dynamic",
    "elementwise",
    "fusion",
    "index",
    "joining",
    "linear",
    "reduce",
    "shape",
    "sort",
    "spectral",
    "windows",
]
