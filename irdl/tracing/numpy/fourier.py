"""`np.fft`: discrete Fourier transforms as contractions with the matrices of short ones (Cooley and Tukey, 1965).

A transform of p * q numbers is p-point ones of columns, factors, and q-point ones of rows; factors of up to `_SHORT` go at once, so that
there is one product of matrices for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_complex
from irdl.tracing.box import literal, wrap
from irdl.tracing.numpy.shaping import moveaxis
from irdl.tracing.numpy.table import TABLE, as_box, traced
from irdl.tracing.numpy.ufuncs import store_out
from irdl.tracing.recorder import user_line

#: A transform of so many numbers is one product with its matrix: there, the products are quicker than what they would be made of.
_SHORT = 32
#: The longest of a prime length: its matrix has as many numbers squared.
_LONGEST_PRIME = 1021


@lru_cache(maxsize=256)
def _roots(rows: int, columns: int, n: int, inverse: bool, dtype: np.dtype) -> np.ndarray:
    """exp(-2 pi i j k / n) of row j and column k, or the conjugate."""
    places = np.outer(np.arange(rows), np.arange(columns)) % n
    return np.exp((2j if inverse else -2j) * np.pi * places / n).astype(dtype)


def _transform(x: Any, inverse: bool) -> Any:
    """Of the last axis, not scaled."""
    n = x.shape[-1]
    p = next((p for p in range(min(_SHORT, n), 1, -1) if n % p == 0), n)
    if p == n:
        if n > _LONGEST_PRIME:
            raise TraceError(f"np.fft of {n} numbers, which has the prime factor {n}: pad to a length of small factors{user_line()}")
        return x @ literal(_roots(n, n, n, inverse, x.dtype)) if n > 1 else x
    q = n // p
    columns = np.einsum("...jq,jk->...kq", x.reshape(*x.shape[:-1], p, q), literal(_roots(p, p, p, inverse, x.dtype)))
    rows = _transform(columns * literal(_roots(p, q, n, inverse, x.dtype)), inverse)
    return np.swapaxes(rows, -1, -2).reshape(x.shape)


def _scale(norm: Any, n: int, inverse: bool) -> float | None:
    if norm not in (None, "backward", "ortho", "forward"):
        raise ValueError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".{user_line()}')
    if norm == "ortho":
        return 1 / float(np.sqrt(n))
    return 1 / n if (norm == "forward") != inverse else None


def _scaled(x: Any, norm: Any, n: int, inverse: bool) -> Any:
    scale = _scale(norm, n, inverse)
    return x if scale is None else x * scale


def _in_complex(a: Any) -> Any:
    box = as_box(a)
    return box if is_complex(box.dtype) else box.astype(np.complex64 if box.dtype == np.float32 else np.complex128)


def _check_length(n: int) -> None:
    if n < 1:
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.{user_line()}")


def _fitted(x: Any, n: int) -> Any:
    """The last axis cut, or with zeros behind it."""
    length = x.shape[-1]
    return x[..., :n] if n <= length else np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, n - length)])


def _finished(x: Any, axis: int, out: Any, name: str) -> Any:
    found = wrap(moveaxis(x, -1, axis).value)
    return found if out is None else store_out(name, out, found.value)


def _whole(inverse: bool) -> Callable[..., Any]:
    def rule(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
        x = moveaxis(_in_complex(a), axis, -1)
        n = x.shape[-1] if n is None else n.__index__()
        _check_length(n)
        return _finished(_scaled(_transform(_fitted(x, n), inverse), norm, n, inverse), axis, out, "ifft" if inverse else "fft")

    return rule


fft, ifft = TABLE[np.fft.fft], TABLE[np.fft.ifft] = _whole(False), _whole(True)


@traced(np.fft.rfft)
def rfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    if is_complex(as_box(a).dtype):
        raise TypeError(f"ufunc 'rfft_n_even' did not contain a loop with signature matching types {as_box(a).dtype}{user_line()}")
    x = moveaxis(_in_complex(a), axis, -1)
    n = x.shape[-1] if n is None else n.__index__()
    _check_length(n)
    half = _transform(_fitted(x, n), False)[..., : n // 2 + 1]
    return _finished(_scaled(half, norm, n, False), axis, out, "rfft")


@traced(np.fft.irfft)
def irfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    x = moveaxis(_in_complex(a), axis, -1)
    n = 2 * (x.shape[-1] - 1) if n is None else n.__index__()
    _check_length(n)
    half = _fitted(x, n // 2 + 1)
    mirrored = np.conjugate(half[..., 1 : (n + 1) // 2][..., ::-1])
    found = _transform(np.concatenate([half, mirrored], axis=-1), True).real
    return _finished(_scaled(found, norm, n, True), axis, out, "irfft")


_OTHER = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


@traced(np.fft.hfft)
def hfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    return irfft(np.conjugate(as_box(a)), n, axis, _OTHER.get(norm, norm), out)


@traced(np.fft.ihfft)
def ihfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    return np.conjugate(rfft(a, n, axis, _OTHER.get(norm, norm)), out=out)


def _axes(x: Any, s: Any, axes: Any) -> tuple[list[Any], list[int]]:
    """Lengths and axes, as NumPy has them: without axes, the last of as many as there are lengths."""
    if axes is None:
        axes = range(-len(s), 0) if s is not None else range(x.ndim)
    chosen = [int(np.lib.array_utils.normalize_axis_index(axis, x.ndim)) for axis in axes]
    lengths = [None] * len(chosen) if s is None else [None if n == -1 else n for n in s]
    if len(lengths) != len(chosen):
        raise ValueError(f"Shape and axes have different lengths.{user_line()}")
    return lengths, chosen


def _many(one: Callable[..., Any], last: Callable[..., Any], last_is_first: bool, default: Sequence[int] | None) -> Callable[..., Any]:
    """Along several axes, the last of them by `last`, before or after the others."""

    def rule(a: Any, s: Any = None, axes: Any = default, norm: Any = None, out: Any = None) -> Any:
        x = as_box(a)
        lengths, chosen = _axes(x, s, axes)
        if not chosen and one is not last:
            raise IndexError(f"at least 1 axis must be transformed{user_line()}")
        steps = [(one, n, axis) for n, axis in zip(lengths, chosen, strict=True)]
        if steps:
            steps[-1] = (last, *steps[-1][1:])
        if last_is_first:
            steps.reverse()
        for function, n, axis in steps:
            x = function(x, n, axis, norm)
        return x if out is None else store_out("fftn", out, x.value)

    return rule


for _of_axes, _of_two, _one, _last, _first in (
    (np.fft.fftn, np.fft.fft2, fft, fft, True),
    (np.fft.ifftn, np.fft.ifft2, ifft, ifft, True),
    (np.fft.rfftn, np.fft.rfft2, fft, rfft, True),
    (np.fft.irfftn, np.fft.irfft2, ifft, irfft, False),
):
    TABLE[_of_axes] = _many(_one, _last, _first, None)
    TABLE[_of_two] = _many(_one, _last, _first, (-2, -1))
