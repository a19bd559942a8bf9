"""Elimination of small matrices, written out on their elements: NumPy code that is traced, of all matrices of a batch at once."""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np

from irdl.ops.index import sure
from irdl.ops.linear import SINGULAR


def _elements(a: Any, rows: int, columns: int) -> list[list[Any]]:
    return [[a[..., i, j] for j in range(columns)] for i in range(rows)]


def _matrix(elements: list[list[Any]]) -> Any:
    return np.stack([np.stack(row, -1) for row in elements], -2)


def eliminate(a: list[list[Any]], b: list[list[Any]]) -> tuple[list[Any], Any]:
    """Make `a` upper triangular, by rows exchanged and subtracted, in `b` too, both in place: its diagonal, and the sign of the exchange.

    The largest element comes up by exchanges with each that is larger, so that the code has no place that is known at run time only.
    """
    n = len(a)
    sign: Any = a[0][0].dtype.type(1)
    for k in range(n):
        for i in range(k + 1, n):
            larger = np.abs(a[i][k]) > np.abs(a[k][k])
            for rows, start in ((a, k), (b, 0)):
                for j in range(start, len(rows[i])):
                    x, y = rows[k][j], rows[i][j]
                    rows[k][j], rows[i][j] = np.where(larger, y, x), np.where(larger, x, y)
            sign = np.where(larger, -sign, sign)
        for i in range(k + 1, n):
            factor = a[i][k] / a[k][k]
            for j in range(k + 1, n):
                a[i][j] = a[i][j] - factor * a[k][j]
            for j in range(len(b[i])):
                b[i][j] = b[i][j] - factor * b[k][j]
    return [a[k][k] for k in range(n)], sign


def solve(a: Any, b: Any, transposed: bool, lower: bool) -> Any:
    n, count = b.shape[-2:]
    rows, right = _elements(a, n, n), _elements(b, n, count)
    if transposed:
        rows = [list(row) for row in zip(*rows, strict=True)]
    diagonal = [rows[k][k] for k in range(n)] if lower else eliminate(rows, right)[0]
    order = range(n) if lower and not transposed else range(n - 1, -1, -1)
    first = order[0]
    diagonal[first] = sure(diagonal[first], _nowhere_zero(diagonal), SINGULAR)
    for j in range(count):
        for place, k in enumerate(order):
            for i in order[:place]:
                right[k][j] = right[k][j] - rows[k][i] * right[i][j]
            right[k][j] = right[k][j] / diagonal[k]
    return _matrix(right)


def _nowhere_zero(diagonal: list[Any]) -> Any:
    return functools.reduce(operator.and_, [element != 0 for element in diagonal])


def log_abs_det(a: Any) -> Any:
    diagonal, _ = _pivots(a)
    total = functools.reduce(operator.add, [np.log(np.abs(element)) for element in diagonal])
    return np.where(_nowhere_zero(diagonal), total, -np.inf)


def det_sign(a: Any) -> Any:
    diagonal, sign = _pivots(a)
    for element in diagonal:
        sign = np.where(element < 0, -sign, sign)
    return np.where(_nowhere_zero(diagonal), sign, 0)


def _pivots(a: Any) -> tuple[list[Any], Any]:
    n = a.shape[-1]
    return eliminate(_elements(a, n, n), [[] for _ in range(n)])


def cholesky(a: Any) -> tuple[Any, Any]:
    """The lower factor, and whether all pivots were positive."""
    n = a.shape[-1]
    rows = _elements(a, n, n)
    good = []
    for k in range(n):
        good.append(~(rows[k][k] <= 0))
        rows[k][k] = np.sqrt(rows[k][k])
        for i in range(k + 1, n):
            rows[i][k] = rows[i][k] / rows[k][k]
        for j in range(k + 1, n):
            for i in range(j, n):
                rows[i][j] = rows[i][j] - rows[i][k] * rows[j][k]
            rows[k][j] = np.zeros_like(rows[k][k])
    return _matrix(rows), functools.reduce(operator.and_, good)
