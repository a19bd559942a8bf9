"""Every op, declared once. Importing this package fills the registry.

    elementwise         operands broadcast as in NumPy (`broadcasting`)
    contract            an einsum of two operands
    reduce, sort        along axes
    shape, joining      views, and arrays put together
    index, dynamic      at computed places
    windows             of neighbours
    linear, spectral    of matrices
    control             scan, cond and while (`loop_parts` names a scan's)
    checks              errors of a whole call
    fusion              made by passes

`rules` holds the equations between them, with `products`, those of contractions, `pieces`, those of arrays put together,
`choices`, those of cond, `prune` what of loops nobody reads, `branches`, what of a region can be done outside of it, `invariants`, what of a loop's steps is the same, and `side_stores`, stores behind a cond.
"""

from irdl.ops import checks, contract, control, dynamic, elementwise, fusion, index, joining, linear, reduce, shape, sort, spectral, windows

__all__ = [
    "checks",
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
