"""`np.fft`: discrete Fourier transforms, made of short ones (Cooley and Tukey, 1965).

Of p * m numbers, p-point transforms of columns, factors, and m-point ones of rows; those of two and four numbers are sums. Each step leaves its
results where the last one's lie together (Stockham's order), so that nothing is transposed. Real numbers are transformed two as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_complex
from irdl.tracing.box import literal, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.complexes import join_parts
from irdl.tracing.numpy.shaping import moveaxis
from irdl.tracing.numpy.table import TABLE, as_box, traced
from irdl.tracing.numpy.ufuncs import store_out

#: The longest of a prime length: its matrix has as many numbers squared.
_LONGEST_PRIME = 1021


@lru_cache(maxsize=256)
def _roots(rows: int, columns: int, n: int, inverse: bool, dtype: np.dtype) -> np.ndarray:
    """exp(-2 pi i j k / n) of row j and column k, or the conjugate."""
    places = np.outer(np.arange(rows), np.arange(columns)) % n
    return np.exp((2j if inverse else -2j) * np.pi * places / n).astype(dtype)


@lru_cache(maxsize=256)
def _factors(n: int) -> tuple[int, ...]:
    """Of the short transforms that make one of n numbers: fours and a two, and the other prime factors."""
    found = []
    for p in chain((4, 2), range(3, n + 1, 2)):
        while n % p == 0:
            found.append(p)
            n //= p
        if n == 1:
            break
    return tuple(found)


def _transform(x: Any, inverse: bool) -> Any:
    """Of the last axis, not scaled."""
    n, lead = x.shape[-1], x.shape[:-1]
    if n == 1:
        return x
    left, done = n, 1
    for p in _factors(n):
        if p > _LONGEST_PRIME:
            raise TraceError(f"np.fft of {n} numbers, which has the prime factor {p}: pad to a length of small factors{user_line()}")
        rows = left // p
        columns = x.reshape(*lead, p, rows, done)
        turns = _roots(rows, p, left, inverse, x.dtype)[..., None]
        if p > 4 or p == 3:
            x = np.einsum("...ijs,ik->...jks", columns, literal(_roots(p, p, p, inverse, x.dtype)))
            x = x * literal(turns) if rows > 1 else x
        else:
            parts = _few([columns[..., place, :, :] for place in range(p)], inverse)
            x = np.stack([parts[0], *(parts[k] * literal(turns[:, k]) if rows > 1 else parts[k] for k in range(1, p))], axis=-2)
        left, done = rows, p * done
    return x.reshape(*lead, n)


def _few(x: list[Any], inverse: bool) -> list[Any]:
    """Of two arrays, or of four."""
    if len(x) == 2:
        return [x[0] + x[1], x[0] - x[1]]
    (even, odd), (others, turned) = _few(x[0::2], inverse), _few(x[1::2], inverse)
    turned = join_parts(-turned.imag, turned.real) if inverse else join_parts(turned.imag, -turned.real)
    return [even + others, odd + turned, even - others, odd - turned]


def _transform_of_real(x: Any) -> Any:
    """The first n // 2 + 1 numbers of that of n real ones: with those at even and at odd places as real and imaginary parts, if they
    are so many of each."""
    n = x.shape[-1]
    if n % 2:
        return _transform(_in_complex(x), False)[..., : n // 2 + 1]
    pairs = _transform(x[..., 0::2] + 1j * x[..., 1::2], False)
    pairs = np.concatenate([pairs, pairs[..., :1]], axis=-1)
    mirrored = np.conjugate(pairs[..., ::-1])
    return (pairs + mirrored) * 0.5 + (pairs - mirrored) * literal(_half_roots(n, False, pairs.dtype) * -0.5j)


def _inverse_to_real(half: Any, n: int) -> Any:
    """The n real numbers whose transform begins with n // 2 + 1 numbers, not scaled."""
    if n % 2:
        mirrored = np.conjugate(half[..., 1 : (n + 1) // 2][..., ::-1])
        return _transform(np.concatenate([half, mirrored], axis=-1), True).real
    is_inside = np.ones(n // 2 + 1, bool)
    is_inside[[0, -1]] = False  # the first and the last are real
    half = half.real + 1j * np.where(literal(is_inside), half.imag, 0)
    mirrored = np.conjugate(half[..., ::-1])
    pairs = (half + mirrored) + (half - mirrored) * literal(_half_roots(n, True, half.dtype) * 1j)
    found = _transform(pairs[..., :-1], True)
    return np.stack([found.real, found.imag], axis=-1).reshape(*half.shape[:-1], n)


def _half_roots(n: int, inverse: bool, dtype: np.dtype) -> np.ndarray:
    return _roots(2, n // 2 + 1, n, inverse, dtype)[1]


def _scale(norm: Any, n: int, inverse: bool) -> float | None:
    if norm not in (None, "backward", "ortho", "forward"):
        raise ValueError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".{user_line()}')
    if norm == "ortho":
        return 1 / float(np.sqrt(n))
    return 1 / n if (norm == "forward") != inverse else None


def _scaled(x: Any, norm: Any, n: int, inverse: bool) -> Any:
    scale = _scale(norm, n, inverse)
    return x if scale is None else x * scale


def _in_floats(a: Any) -> Any:
    box = as_box(a)
    return box.astype(np.float32 if box.dtype in (np.float16, np.float32) else np.float64)


def _in_complex(a: Any) -> Any:
    box = as_box(a)
    return box if is_complex(box.dtype) else box.astype(np.complex64 if box.dtype in (np.float16, np.float32) else np.complex128)


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
    x = moveaxis(_in_floats(a), axis, -1)
    n = x.shape[-1] if n is None else n.__index__()
    _check_length(n)
    return _finished(_scaled(_transform_of_real(_fitted(x, n)), norm, n, False), axis, out, "rfft")


@traced(np.fft.irfft)
def irfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    x = moveaxis(_in_complex(a), axis, -1)
    n = 2 * (x.shape[-1] - 1) if n is None else n.__index__()
    _check_length(n)
    return _finished(_scaled(_inverse_to_real(_fitted(x, n // 2 + 1), n), norm, n, True), axis, out, "irfft")


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
