"""Elimination of one matrix by columns, and of a large one by blocks of columns: NumPy code that is traced.

A loop's step has one shape, so what is done already is left out by masks. Rows stay where they are while pivots are looked for, and are
put in order once, when all have been found: each step changes the matrix in its place.

G. H. Golub, C. F. Van Loan, Matrix Computations, 3.4 (Gaussian elimination with partial pivoting), 3.1 (substitution), 4.2 (Cholesky).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.ops.dynamic import dynamic_slice, dynamic_update_slice
from irdl.tracing.box import literal
from irdl.tracing.control import scan

#: Matrices of more columns are worked on by blocks, of whole vectors; what is between blocks is products of matrices.
WIDEST = 40
_NARROW, _WIDE = 16, 32
#: from so many columns on, blocks are wide
_MANY = 256


def blocks_of(n: int) -> tuple[int, int]:
    """How many blocks, and of how many columns each; the matrix is made as large as they are together."""
    if n <= WIDEST:
        return 1, n
    width = _WIDE if n >= _MANY else _NARROW
    return -(-n // width), width


def _places(n: int) -> Any:
    """0 to n - 1, traced: what is compared with them need not be kept as a constant."""
    return literal(np.arange(n))


def _part(x: Any, axis: int, first: Any, size: int) -> Any:
    """So much of `x` along one axis, from a place that is known at run time and needs no check."""
    return dynamic_slice(x, first[None], (axis,), (size,))


def padded(a: Any) -> Any:
    """A matrix with ones behind the end of its diagonal, as large as its blocks are together."""
    n = a.shape[0]
    count, width = blocks_of(n)
    more = count * width - n
    if not more:
        return a
    corner = np.eye(more, n + more, n, dtype=a.dtype)
    return np.concatenate([np.concatenate([a, np.zeros((n, more), a.dtype)], 1), corner], 0)


def lu(a: Any) -> tuple[Any, Any, Any]:
    """The factors of `a[order]`, the unit lower one below the diagonal of the other; `order`, and its inverse."""
    a = padded(a)
    n = a.shape[0]
    count, width = blocks_of(n)
    places = _places(n)
    place = np.zeros_like(a[:, 0], np.int64) + n  # of a row that no pivot has been found in yet: n
    if count == 1:
        a, place, _ = _panel(a, place, 0)
    else:

        def block(carry: Any, j: Any) -> Any:
            a, place = carry
            first = j * width
            panel, place, rows = _panel(_part(a, 1, first, width), place, first)
            old, beyond = a[rows], places >= first + width
            new = np.where(beyond, substitute(panel[rows], old, unit=True), old)
            left = np.where((place == n)[:, None], panel, 0)
            a = np.where((place == n)[:, None] & beyond, a - left @ new, a)
            a[rows] = new
            return (dynamic_update_slice(a, panel, first[None], (1,)), place), None

        (a, place), _ = scan(block, (a, place), _places(count))
    order = np.zeros_like(place)
    order[place] = places
    return a[order], order, place


def _panel(panel: Any, place: Any, first: Any) -> tuple[Any, Any, Any]:
    """Eliminate the columns of a panel; pivots are looked for in rows that have no place. The rows that have got one, too."""
    n, width = panel.shape
    rows, columns = _places(n), _places(width)

    def step(carry: Any, k: Any) -> Any:
        panel, place = carry
        column = _part(panel, 1, k, 1)[:, 0]
        pivot = np.argmax(np.where(place == n, np.abs(column), -1))
        row = _part(panel, 0, pivot, 1)[0]
        place = np.where(rows == pivot, first + k, place)
        below = (place == n)[:, None]
        factor = (column / _part(row, 0, k, 1))[:, None]
        new = np.where(columns > k, panel - factor * row, np.where(columns == k, factor, panel))
        return (np.where(below, new, panel), place), pivot

    (panel, place), found = scan(step, (panel, place), columns)
    return panel, place, found


def substitute(t: Any, b: Any, upper: bool = False, unit: bool = False) -> Any:
    """The solution x of `t @ x == b` for a triangular t, of which only that part is read; `unit`: its diagonal counts as ones."""
    n = t.shape[0]
    count, width = blocks_of(n)
    places = _places(n)

    def behind(i: Any) -> Any:
        return (places < i if upper else places >= i)[:, None]

    def step(b: Any, item: Any) -> Any:
        i, column = item
        x = _part(b, 0, i, 1)
        x = x if unit else x / _part(column, 0, i, 1)
        b = np.where(behind(i if upper else i + 1), b - column[:, None] * x, np.where((places == i)[:, None], x, b))
        return b, None

    def block(b: Any, j: Any) -> Any:
        first = j * width
        inner = dynamic_slice(t, np.stack([first, first]), (0, 1), (width, width))
        x = substitute(inner, _part(b, 0, first, width), upper, unit)
        columns = _part(t, 1, first, width)
        b = np.where(behind(first if upper else first + width), b - columns @ x, b)
        return dynamic_update_slice(b, x, first[None], (0,)), None

    if count == 1:
        return scan(step, b, (places, t.T), reverse=upper)[0]
    return scan(block, b, _places(count), reverse=upper)[0]


def solve(packed: Any, order: Any, place: Any, b: Any, transposed: bool) -> Any:
    """The solution of a system of the matrix that `lu` has factored."""
    n = b.shape[0]
    b = np.concatenate([b, np.zeros((order.shape[0] - n, b.shape[1]), b.dtype)], 0) if order.shape[0] > n else b
    if transposed:
        found = substitute(packed.T, substitute(packed.T, b), upper=True, unit=True)[place]
    else:
        found = substitute(packed, substitute(packed, b[order], unit=True), upper=True)
    return found[:n]


def solve_lower(t: Any, b: Any, transposed: bool) -> Any:
    n = b.shape[0]
    t = padded(t)
    b = np.concatenate([b, np.zeros((t.shape[0] - n, b.shape[1]), b.dtype)], 0) if t.shape[0] > n else b
    return substitute(t.T if transposed else t, b, upper=transposed)[:n]


def log_abs_det(packed: Any, order: Any) -> Any:
    diagonal = np.diagonal(packed)
    return np.where(np.any(diagonal == 0), -np.inf, np.sum(np.log(np.abs(diagonal))))


def det_sign(packed: Any, order: Any) -> Any:
    """By the pairs of rows that have changed their order, and the negative pivots."""
    diagonal, n = np.diagonal(packed), order.shape[0]
    exchanged = np.sum((order[:, None] > order) & (_places(n)[:, None] < _places(n)), dtype=np.int64)
    is_odd = (exchanged + np.sum(diagonal < 0, dtype=np.int64)) & 1 == 1
    return np.where(np.any(diagonal == 0), 0, np.where(is_odd, -1, 1)).astype(packed.dtype)


def cholesky(a: Any) -> tuple[Any, Any]:
    """The lower factor, zeros above its diagonal, and whether all pivots were positive. Only the lower part is read."""
    n = a.shape[0]
    a = padded(a)
    count, width = blocks_of(n)
    places = _places(a.shape[0])
    if count == 1:
        a, good = _cholesky_columns(a)
    else:

        def block(carry: Any, j: Any) -> Any:
            a, good = carry
            first = j * width
            inner, fine = _cholesky_columns(dynamic_slice(a, np.stack([first, first]), (0, 1), (width, width)))
            panel = _part(a, 1, first, width)
            below = (places >= first + width)[:, None]
            left = np.where(below, substitute(inner, panel.T).T, 0)
            a = np.where(below & below.T, a - left @ left.T, a)
            a = dynamic_update_slice(a, np.where(below, left, panel), first[None], (1,))
            return (dynamic_update_slice(a, inner, np.stack([first, first]), (0, 1)), good & fine), None

        (a, good), _ = scan(block, (a, a[0, 0] == a[0, 0]), _places(count))
    return np.where(places[:, None] >= places, a, 0)[:n, :n], good


def _cholesky_columns(a: Any) -> tuple[Any, Any]:
    places = _places(a.shape[0])

    def step(a: Any, k: Any) -> Any:
        column = _part(a, 1, k, 1)[:, 0]
        pivot = _part(column, 0, k, 1)
        column = np.where(places > k, column / np.sqrt(pivot), np.where(places == k, np.sqrt(pivot), 0))
        right = places[None, :]
        return np.where(right > k, a - column[:, None] * column, np.where(right == k, column[:, None], a)), pivot[0]

    a, pivots = scan(step, a, places)
    return a, np.all(~(pivots <= 0))


def qr(a: Any) -> Any:
    """The orthonormal columns of a matrix with no more columns than rows, the upper triangle below them, by Householder's reflections
    (5.2), those of a block as one product (5.1.7). Their signs are LAPACK's."""
    m, n = a.shape
    count, width = blocks_of(n)
    wide = count * width
    a = np.concatenate([a, np.zeros((m, wide - n), a.dtype)], 1) if wide > n else a
    rows, columns = _places(m)[:, None], _places(wide)

    def block(a: Any, j: Any) -> Any:
        first = j * width
        panel, scales = _reflections(_part(a, 1, first, width), first)
        left, middle = _as_product(panel, scales, first)
        a = np.where(columns >= first + width, a - left @ (middle.T @ (left.T @ a)), a)
        return dynamic_update_slice(a, panel, first[None], (1,)), scales

    def back(q: Any, item: Any) -> Any:
        j, scales = item
        left, middle = _as_product(_part(a, 1, j * width, width), scales, j * width)
        return q - left @ (middle @ (left.T @ q)), None

    a, scales = scan(block, a, _places(count))
    q, _ = scan(back, (rows == columns).astype(a.dtype), (_places(count), scales), reverse=True)
    return np.concatenate([q, np.where(rows <= columns, a, 0)[:n]], 0)[:, :n]


def _reflections(panel: Any, first: Any) -> tuple[Any, Any]:
    """A panel's columns reflected onto the triangle that begins at row `first`; below it lie the reflections, and how they are scaled."""
    m, width = panel.shape
    rows, columns = _places(m), _places(width)

    def step(panel: Any, k: Any) -> Any:
        at = first + k
        column = _part(panel, 1, k, 1)[:, 0]
        head = _part(column, 0, at, 1)
        below = np.where(rows > at, column, 0)
        rest = np.sum(below * below)
        length = np.where(rest == 0, head, -np.copysign(np.sqrt(head * head + rest), head))
        scale = np.where(rest == 0, 0, (length - head) / length)
        direction = np.where(rows == at, 1, np.where(rest == 0, 0, below / (head - length)))
        moved = panel - (scale * direction)[:, None] * (direction @ panel)
        kept = np.where(rows > at, direction, np.where(rows == at, length, column))[:, None]
        return np.where(columns > k, moved, np.where(columns == k, kept, panel)), scale[0]

    return scan(step, panel, columns)


def _as_product(panel: Any, scales: Any, first: Any) -> tuple[Any, Any]:
    """v and t of a panel whose reflections, one after the other, are `1 - v @ t @ v.T`."""
    m, width = panel.shape
    rows, columns = _places(m)[:, None], _places(width)
    v = np.where(rows > first + columns, panel, np.where(rows == first + columns, 1, 0)).astype(panel.dtype)
    one = columns[:, None] == columns
    return v, substitute(scales[:, None] * (v.T @ v), np.where(one, scales, 0), upper=True, unit=True)
