"""Views and copies, and the layout of results: what a store into a result changes, and which reshapes of it are views."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.ir.evaluate import evaluate
from irdl.tracing.function import trace_function
from tests.covering import covering

#: (what it is, what is asked of it), for an array of shape (3, 4)
CALLS: dict[str, Callable[[Any], Any]] = {
    "add": lambda a: a + 1,
    "add row": lambda a: a + a[0],
    "neg": lambda a: -a,
    "exp": lambda a: np.exp(a),
    "pos": lambda a: +a,
    "abs": lambda a: abs(a),
    "where": lambda a: np.where(a > 0, a, 1),
    "clip": lambda a: np.clip(a, 0, 1),
    "a.clip": lambda a: a.clip(0, 1),
    "maximum": lambda a: np.maximum(a, a.T.T),
    "mixed orders": lambda a: a + np.ones((3, 4)),
    "outer": lambda a: np.add.outer(a[0], a[1]),
    "ravel": lambda a: np.ravel(a),
    "a.ravel": lambda a: a.ravel(),
    "ravel column": lambda a: a[:, 1].ravel(),
    "ravel row": lambda a: a[1].ravel(),
    "flatten": lambda a: a.flatten(),
    "reshape": lambda a: a.reshape(-1),
    "reshape 2": lambda a: a.reshape(6, 2),
    "reshape 3": lambda a: a.reshape(3, 2, 2),
    "reshape transposed": lambda a: a.T.reshape(-1),
    "transpose": lambda a: a.T,
    "swapaxes": lambda a: np.swapaxes(a, 0, 1),
    "moveaxis": lambda a: np.moveaxis(a[None], 0, -1),
    "squeeze": lambda a: np.squeeze(a[None]),
    "expand_dims": lambda a: np.expand_dims(a, 1),
    "atleast_1d": lambda a: np.atleast_1d(a),
    "atleast_2d": lambda a: np.atleast_2d(a[0]),
    "atleast_3d": lambda a: np.atleast_3d(a),
    "broadcast_to": lambda a: np.broadcast_to(a, (2, 3, 4)),
    "flip": lambda a: np.flip(a, 0),
    "flip all": lambda a: np.flip(a),
    "fliplr": lambda a: np.fliplr(a),
    "round": lambda a: np.round(a),
    "round 1": lambda a: np.round(a, 1),
    "round integers": lambda a: np.round(a.astype(int)),
    "a.round": lambda a: a.round(),
    "rint": lambda a: np.rint(a),
    "floor": lambda a: np.floor(a),
    "floor integers": lambda a: np.floor(a.astype(int)),
    "positive": lambda a: np.positive(a),
    "conjugate": lambda a: np.conjugate(a),
    "a.conj": lambda a: a.conj(),
    "real": lambda a: np.real(a),
    "a.real": lambda a: a.real,
    "absolute of unsigned": lambda a: np.abs(a.astype(np.uint8)),
    "copy": lambda a: np.copy(a),
    "a.copy": lambda a: a.copy(),
    "copy F": lambda a: a.copy("F"),
    "copy K": lambda a: a.copy(order="K"),
    "np.copy C": lambda a: np.copy(a, "C"),
    "array": lambda a: np.array(a),
    "array no copy": lambda a: np.array(a, copy=None),
    "array F": lambda a: np.array(a, order="F"),
    "asarray": lambda a: np.asarray(a),
    "asarray float32": lambda a: np.asarray(a, np.float32),
    "asarray C": lambda a: np.asarray(a, order="C"),
    "asarray A": lambda a: np.asarray(a[:, 1:], order="A"),
    "full by names": lambda a: np.full(fill_value=2.0, shape=(2, 3)) + 0 * a[0, 0],
    "asanyarray": lambda a: np.asanyarray(a),
    "ascontiguousarray": lambda a: np.ascontiguousarray(a),
    "ascontiguousarray transposed": lambda a: np.ascontiguousarray(a.T),
    "ascontiguousarray of a number": lambda a: np.ascontiguousarray(a[0, 0]),
    "asfortranarray": lambda a: np.asfortranarray(a),
    "astype": lambda a: a.astype(np.float32),
    "astype same": lambda a: a.astype(a.dtype),
    "astype no copy": lambda a: a.astype(a.dtype, copy=False),
    "astype no copy C": lambda a: a.astype(a.dtype, order="C", copy=False),
    "np.astype": lambda a: np.astype(a, np.float32),
    "zeros_like": lambda a: np.zeros_like(a),
    "zeros_like transposed": lambda a: np.zeros_like(a.T),
    "ones_like C": lambda a: np.ones_like(a, order="C"),
    "full_like": lambda a: np.full_like(a, 3),
    "zeros_like shape": lambda a: np.zeros_like(a, shape=(2, 3)),
    "zeros F": lambda a: np.zeros((3, 4), order="F") + 0 * a[0, 0],
    "zeros F buffer": lambda a: np.zeros((3, 4), order="F"),
    "sum": lambda a: a.sum(0),
    "sum keepdims": lambda a: a.sum(0, keepdims=True),
    "sum of three": lambda a: a.reshape(3, 2, 2).sum(0),
    "sum of three last": lambda a: np.sum(np.stack([a, a]), -1),
    "sum middle": lambda a: np.sum(a[None].T, 2),
    "max middle": lambda a: np.max(np.array([a, a]).T, 1),
    "mean middle": lambda a: np.mean(np.array([a, a]).T, 1),
    "var middle": lambda a: np.var(np.array([a, a]).T, 1),
    "std middle": lambda a: np.std(np.array([a, a]).T, 1),
    "argmax middle": lambda a: np.argmax(np.array([a, a]).T, 1),
    "any middle": lambda a: np.any(np.array([a, a]).T, 1),
    "add.reduce": lambda a: np.add.reduce(np.array([a, a]).T, 1),
    "cumsum": lambda a: np.cumsum(a, 0),
    "cumsum flat": lambda a: np.cumsum(a),
    "cumprod": lambda a: a.cumprod(1),
    "add.accumulate": lambda a: np.add.accumulate(a, 1),
    "concatenate": lambda a: np.concatenate([a, a]),
    "concatenate 1": lambda a: np.concatenate([a, a], 1),
    "stack": lambda a: np.stack([a, a]),
    "stack last": lambda a: np.stack([a, a], -1),
    "vstack": lambda a: np.vstack([a, a]),
    "hstack": lambda a: np.hstack([a, a]),
    "dstack": lambda a: np.dstack([a, a]),
    "column_stack": lambda a: np.column_stack([a, a]),
    "np.array list": lambda a: np.array([a, a]),
    "split": lambda a: np.split(a, 2, 1)[1],
    "array_split": lambda a: np.array_split(a, 2)[0],
    "hsplit": lambda a: np.hsplit(a, 2)[0],
    "vsplit": lambda a: np.vsplit(a, 3)[0],
    "unstack": lambda a: np.unstack(a)[1],
    "tile": lambda a: np.tile(a, (1, 2)),
    "tile once": lambda a: np.tile(a, 1),
    "repeat": lambda a: np.repeat(a, 2, 1),
    "roll": lambda a: np.roll(a, 1, 1),
    "roll flat": lambda a: np.roll(a, 1),
    "pad": lambda a: np.pad(a, 1),
    "pad nothing": lambda a: np.pad(a, 0),
    "pad edge": lambda a: np.pad(a, 1, mode="edge"),
    "diff": lambda a: np.diff(a),
    "diff none": lambda a: np.diff(a, 0),
    "meshgrid": lambda a: np.meshgrid(a[0], a[1])[0],
    "meshgrid sparse": lambda a: np.meshgrid(a[0], a[1], sparse=True)[0],
    "meshgrid no copy": lambda a: np.meshgrid(a[0], a[1], sparse=True, copy=False)[1],
    "tril": lambda a: np.tril(a),
    "triu": lambda a: np.triu(a),
    "diagonal": lambda a: np.diagonal(a),
    "a.diagonal": lambda a: a.diagonal(1),
    "diag": lambda a: np.diag(a),
    "diag of a row": lambda a: np.diag(a[0]),
    "nan_to_num": lambda a: np.nan_to_num(a),
    "select": lambda a: np.select([a > 1], [a], 0.0),
    "take": lambda a: np.take(a, [0, 1], 1),
    "take 0": lambda a: np.take(a, [0, 1], 0),
    "take one": lambda a: np.take(a, 1, 0),
    "take_along_axis": lambda a: np.take_along_axis(a, np.array([[0, 1], [1, 0], [2, 2]]), 1),
    "rows": lambda a: a[[0, 2]],
    "columns": lambda a: a[:, [0, 2]],
    "columns array": lambda a: a[:, np.array([0, 2, 1])],
    "both": lambda a: a[np.array([0, 2]), np.array([1, 1])],
    "grid": lambda a: a[np.array([[0], [2]]), np.array([1, 1])],
    "known mask": lambda a: a[np.array([True, False, True])],
    "mask 2d": lambda a: a[np.array([[True, False, True, True], [False, True, True, False], [True, True, True, False]])],
    "slice and rows": lambda a: a[1:, [0, 2]],
    "new axis and rows": lambda a: a[None, [0, 2]],
    "apart": lambda a: np.stack([a, a])[[0, 1], :, [1, 2]],
    "ellipsis": lambda a: a[...],
    "whole": lambda a: a[:],
    "row": lambda a: a[1],
    "column": lambda a: a[:, 1],
    "strided": lambda a: a[::2, ::-1],
    "number in brackets": lambda a: a.mean()[None],
    "element in brackets": lambda a: a[0, 0][None],
    "element ellipsis": lambda a: a[0, 0, ...],
    "scalar T": lambda a: a.mean().T,
    "scalar reshape": lambda a: a.mean().reshape(1, 1),
    "scalar ravel": lambda a: np.ravel(a.mean()),
    "scalar copy": lambda a: a.mean().copy(),
    "matmul": lambda a: a @ a.T,
    "dot": lambda a: np.dot(a.T, a),
    "matmul batch": lambda a: np.matmul(np.stack([a, a]), a.T),
    "inner": lambda a: np.inner(a, a),
    "np.outer": lambda a: np.outer(a, a),
    "tensordot": lambda a: np.tensordot(a, a, ((0,), (0,))),
    "einsum product": lambda a: np.einsum("ij,kj->ik", a, a),
    "einsum crossed": lambda a: np.einsum("ij,jk->ki", a, a.T),
    "einsum scaled": lambda a: np.einsum("ij,i->ij", a, a[:, 0]),
    "einsum transpose": lambda a: np.einsum("ij->ji", a),
    "einsum same": lambda a: np.einsum("ij->ij", a),
    "einsum implicit": lambda a: np.einsum("ji", a),
    "einsum diagonal": lambda a: np.einsum("ii->i", a[:, :3]),
    "einsum sum": lambda a: np.einsum("ij->j", a),
    "trace": lambda a: np.trace(a),
    "average": lambda a: np.average(a, 0),
    "average weights": lambda a: np.average(np.array([a, a]).T, 1, np.array([a, a]).T + 3),
    "heaviside": lambda a: np.heaviside(a, 0.5),
    "divmod": lambda a: divmod(a, 0.7)[1],
    "isclose": lambda a: np.isclose(a, 1.0),
    "norm": lambda a: np.linalg.norm(np.array([a, a]).T, axis=1),
    "count_nonzero": lambda a: np.count_nonzero(np.array([a, a]).T, axis=1),
    "ptp": lambda a: np.ptp(np.array([a, a]).T, axis=1),
    "matrix_transpose": lambda a: np.matrix_transpose(a),
    "broadcast_arrays": lambda a: np.broadcast_arrays(a, a[0])[0],
    "permute_dims": lambda a: np.permute_dims(a, (1, 0)),
    "nansum middle": lambda a: np.nansum(np.array([a, a]).T, 1),
    "nanmax middle": lambda a: np.nanmax(np.array([a, a]).T, 1),
    "nanmin": lambda a: np.nanmin(a, 0, keepdims=True),
    "nanmean middle": lambda a: np.nanmean(np.array([a, a]).T, 1),
    "nanvar middle": lambda a: np.nanvar(np.array([a, a]).T, 1),
    "nanstd middle": lambda a: np.nanstd(np.array([a, a]).T, 1),
    "nanargmax middle": lambda a: np.nanargmax(np.array([a, a]).T, 1),
    "nancumsum": lambda a: np.nancumsum(a, 1),
    "mean where": lambda a: np.mean(np.array([a, a]).T, 1, where=np.array([[True], [False], [True]])),
    "average of weights along an axis": lambda a: np.average(np.array([a, a]).T, 1, a[:, 0] + 2, returned=True)[1],
    "cov": lambda a: np.cov(a),
    "cov of columns": lambda a: np.cov(a, rowvar=False),
    "corrcoef": lambda a: np.corrcoef(a),
    "convolve": lambda a: np.convolve(a[0], a[1]),
    "correlate": lambda a: np.correlate(a[0, :2], a[1], "full"),
    "gradient": lambda a: np.gradient(a, axis=1),
    "gradient of three": lambda a: np.gradient(np.array([a, a]).T, axis=0, edge_order=2),
    "gradient of places": lambda a: np.gradient(a, a[:, 0], axis=0),
    "diff prepend": lambda a: np.diff(a, prepend=0.0),
    "ediff1d": lambda a: np.ediff1d(a),
    "ediff1d ends": lambda a: np.ediff1d(a, [1.0], [2.0]),
    "trapezoid": lambda a: np.trapezoid(np.array([a, a]).T, axis=1),
    "unwrap": lambda a: np.unwrap(a * 5, axis=0),
    "sinc": lambda a: np.sinc(a),
    "polyval": lambda a: np.polyval([1.0, 2.0, 0.5], a),
    "vander": lambda a: np.vander(a[0], 3),
    "vander increasing": lambda a: np.vander(a[0], 3, True),
    "modf": lambda a: np.modf(a)[1],
    "cross": lambda a: np.cross(a[:, :3], a[:, 1:]),
    "cross axes": lambda a: np.cross(a.T, a.T, axis=1),
    "cross axisc": lambda a: np.cross(a[:, :3], a[:, 1:], axisc=0),
    "cross of planes": lambda a: np.cross(np.array([a, a]).T[..., :2], np.array([a, a]).T[..., :2]),
    "linalg.cross": lambda a: np.linalg.cross(a, a, axis=0),
    "kron": lambda a: np.kron(a, a[:2]),
    "matrix_power": lambda a: np.linalg.matrix_power(a[:, :3], 3),
    "matrix_power one": lambda a: np.linalg.matrix_power(a[:, :3], 1),
    "matrix_power none": lambda a: np.linalg.matrix_power(a[:, :3], 0),
    "multi_dot": lambda a: np.linalg.multi_dot([a, a.T, a]),
    "vector_norm": lambda a: np.linalg.vector_norm(np.array([a, a]).T, axis=1),
    "matrix_norm": lambda a: np.linalg.norm(np.array([a, a, a]).T[None], 1, (1, 2)),
    "linalg.diagonal": lambda a: np.linalg.diagonal(a),
    "linalg.outer": lambda a: np.linalg.outer(a[0], a[1]),
    "linalg.vecdot": lambda a: np.linalg.vecdot(np.array([a, a]).T, np.array([a, a]).T, axis=0),
    "searchsorted": lambda a: np.searchsorted([0.0, 1.0], a),
    "digitize": lambda a: np.digitize(a, [1.0, 0.0]),
    "interp": lambda a: np.interp(a, [0.0, 1.0], [2.0, 5.0]),
    "isin": lambda a: np.isin(a, [1.0, 0.25]),
    "histogram": lambda a: np.histogram(a, 3, (0, 1))[0],
    "histogram edges": lambda a: np.histogram(a[:2], a[2])[1],
    "block": lambda a: np.block([[a], [a]]),
    "block of one": lambda a: np.block(a),
    "append": lambda a: np.append(a, a, 1),
    "append flat": lambda a: np.append(a, a),
    "dsplit": lambda a: np.dsplit(a[None], 2)[1],
    "rot90": lambda a: np.rot90(a),
    "rot90 none": lambda a: np.rot90(a, 4),
    "rot90 twice": lambda a: np.rot90(a, 2),
    "rot90 back": lambda a: np.rot90(a, -1),
    "fftshift": lambda a: np.fft.fftshift(a, 1),
    "resize": lambda a: np.resize(a, (4, 5)),
    "resize same": lambda a: np.resize(a, (3, 4)),
    "diagflat": lambda a: np.diagflat(a[:, 0]),
    "pad reflect": lambda a: np.pad(a, 1, "reflect"),
    "pad wrap": lambda a: np.pad(a, ((1, 0), (0, 0)), "wrap"),
    "pad of two numbers": lambda a: np.pad(a, 1, constant_values=(1, 2)),
    "delete": lambda a: np.delete(a, 1, 1),
    "delete several": lambda a: np.delete(a, [0, 1], 1),
    "delete a slice": lambda a: np.delete(a, slice(0, 2), 0),
    "delete none": lambda a: np.delete(a, slice(0, 0), 0),
    "insert": lambda a: np.insert(a, 1, 5, 1),
    "insert several": lambda a: np.insert(a, [0, 1], 5, 0),
    "compress": lambda a: np.compress([True, False, True], a, 0),
    "extract": lambda a: np.extract([True, False, True], a),
    "choose": lambda a: np.choose((a > 0).astype(int), [a, -a]),
    "piecewise": lambda a: np.piecewise(a, [a > 0], [lambda x: x * 2, -1]),
    "unravel_index": lambda a: np.unravel_index(np.argmax(a, 0), (3, 4))[0],
    "tril of its indices": lambda a: a[np.tril_indices_from(a)],
    "putmask": lambda a: np.putmask(a, a > 0, 5.0) or a,
    "put": lambda a: np.put(a.copy(), [1, 2], 5.0) or a,
    "fill_diagonal": lambda a: np.fill_diagonal(a, [5.0, 6.0]) or a,
    "fill_diagonal transposed": lambda a: np.fill_diagonal(a.T, 5.0) or a,
    "fix": lambda a: np.fix(a),
    "isposinf": lambda a: np.isposinf(a),
    "linspace": lambda a: np.linspace(a, 1, 3),
    "linspace last": lambda a: np.linspace(a, 1, 3, axis=-1),
    "logspace": lambda a: np.logspace(a, 1, 3),
    "cumulative_sum": lambda a: np.cumulative_sum(a, axis=0, include_initial=True),
    "in place": lambda a: np.add(a, 1, out=np.zeros((3, 4), order="F")),
}


def layouts() -> dict[str, np.ndarray]:
    numbers = np.arange(12.0).reshape(3, 4) / 4 - 0.75
    wide = np.zeros((6, 9))
    wide[::2, 1:9:2] = numbers
    deep = np.zeros((3, 2, 4))
    deep[:, 1] = numbers
    return {
        "C": numbers.copy(),
        "F": np.asfortranarray(numbers),
        "strided": wide[::2, 1:9:2],
        "turned": np.flip(numbers.copy(), 0).copy()[::-1],
        "F turned": np.asfortranarray(numbers[:, ::-1].copy())[:, ::-1],
        "middle": deep[:, 1],
        "transposed gap": np.concatenate([numbers.T, numbers.T], 1)[:, :3].T,
    }


def probe(call: Callable[[Any], Any], a: Any) -> tuple[Any, ...]:
    """The result, what becomes of it and of the array when it is changed, and when a flat form of it is changed."""
    result = call(a)
    if not isinstance(result, np.ndarray) or result.ndim == 0:
        return (result,)
    before = result.copy()
    writeable = bool(result.flags.writeable)
    if result.dtype != np.bool_ and writeable:
        result += 2
    flat = result.reshape(-1)
    if writeable:
        flat[0] = 77
    elsewhere = np.swapaxes(result, 0, -1).reshape(-1)
    if writeable:
        elsewhere[-1] = 55
    a[1, 1] = 33
    return before, result, flat, elsewhere, a


@pytest.mark.parametrize("layout", layouts())
def test_stores_reach_what_numpys_reach(layout: str) -> None:
    wrong = []
    for name, call in CALLS.items():
        x, y = layouts()[layout], layouts()[layout]
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = probe(call, x)
            try:
                traced = trace_function(lambda a, call=call: probe(call, a), (y,), {}, share=False)
                results = evaluate(traced.graph, [y])[: len(expected)]
            except Exception as error:
                wrong.append(f"{name}: {type(error).__name__}: {error!s:.150}")
                continue
        if len(results) != len(expected) or any(
            np.asarray(e).shape != r.shape or np.asarray(e).dtype != r.dtype or not np.allclose(e, r, equal_nan=True)
            for e, r in zip(expected, results, strict=True)
        ):
            wrong.append(f"{name}: {[bool(np.array_equal(e, r)) for e, r in zip(expected, results, strict=False)]}")
    assert not wrong, "\n".join(wrong)


BROADCASTS = {
    "leading": lambda y: np.broadcast_to(y, (2, *y.shape)),
    "middle": lambda y: np.broadcast_to(y[:, None], (3, 2, 4)),
    "last": lambda y: np.broadcast_to(y[..., None], (3, 4, 2)),
    "turned": lambda y: np.broadcast_to(y, (2, *y.shape)).T,
    "row": lambda y: np.broadcast_to(y[0], (3, 4)),
    "column": lambda y: np.broadcast_to(y[:, :1], (3, 4)),
    "turned column": lambda y: np.broadcast_to(y[:, :1], (3, 4)).T,
    "number": lambda y: np.broadcast_to(y[0, 0], (2, 3)),
}
ON_BROADCASTS = {
    "+": lambda v: +v,
    "-": lambda v: -v,
    "add": lambda v: v + v,
    "minimum": lambda v: np.minimum(v, 1),
    "positive": np.positive,
    "copy": lambda v: v.copy(order="K"),
    "astype": lambda v: v.astype("f4"),
    "zeros_like": np.zeros_like,
    "where": lambda v: np.where(v > 1, v, 0),
    "clip": lambda v: np.clip(v, 0, 3),
    "round": np.round,
    "cumsum": lambda v: np.cumsum(v, 0),
    "sum": lambda v: np.sum(v, axis=0),
    "reversed": lambda v: +v[::-1],
}


@pytest.mark.parametrize(("broadcast", "function"), covering(list(BROADCASTS), list(ON_BROADCASTS)))
def test_what_is_made_of_broadcast_arrays(broadcast, function):
    """Where NumPy's result of it is contiguous, a reshape is a view."""
    for y in (np.arange(12.0).reshape(3, 4) + 1, np.arange(12).reshape(3, 4), (np.arange(12).reshape(4, 3) + 1).T):

        def program(y):
            made = ON_BROADCASTS[function](BROADCASTS[broadcast](y))
            flat = made.reshape(-1)
            flat[...] = 77
            return made

        try:
            expected = program(y)
        except ValueError:  # an older NumPy rounds integers in place, and what is broadcast is read-only
            with pytest.raises(ValueError, match="read-only"):
                irdl.jit(program)(y)
        else:
            np.testing.assert_array_equal(irdl.jit(program)(y), expected)
