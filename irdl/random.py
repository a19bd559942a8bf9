"""Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) as
integer operations, so that NumPy and compiled code give the same bits.

A key is uint32[2]. The same key gives the same numbers; make new keys with `split` and `fold_in`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl.ops.shape import IOTA, IotaAttributes
from irdl.tracing.box import is_box

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_ROUNDS = 10
# The last word of the counter keeps the uses of one key apart.
_BITS, _SPLIT, _FOLD = 0, 1, 2


def key(seed: int) -> np.ndarray:
    """A key (uint32[2]) from an integer of up to 64 bits."""
    if is_box(seed):
        bits: Any = seed.astype(np.uint64)  # type: ignore[attr-defined]
        return np.stack([bits & _MASK, bits >> 32]).astype(np.uint32)
    seed = int(seed) & 0xFFFFFFFFFFFFFFFF
    return np.array([seed & _MASK, seed >> 32], np.uint32)


def _iota(like: Any, count: int) -> Any:
    if is_box(like):
        return like.__irdl_apply__(IOTA, [], IotaAttributes(np.dtype(np.uint64), (count,), 0))[0]
    return np.arange(count, dtype=np.uint64)


def _check(k: Any) -> Any:
    if not isinstance(k, np.ndarray) or k.dtype != np.uint32 or k.shape != (2,):
        raise TypeError(f"a key is uint32[2], made by irdl.random.key(seed); this is {k!r:.60}")
    return k


def _philox(k: Any, counter: Any, use: int) -> list[Any]:
    """Four uint64 arrays of 32 random bits for each element of `counter` (uint64)."""
    keys = k.astype(np.uint64)
    k0, k1 = keys[0], keys[1]
    c0, c1, c2, c3 = counter & _MASK, counter >> 32, counter * 0, counter * 0 + use
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _MASK, (p0 >> 32) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return [c0, c1, c2, c3]


def bits(k: Any, shape: Sequence[int] | int = ()) -> Any:
    """Uniform uint32 words.

    Args:
        k: a key, uint32[2].
        shape: of the result.
    """
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    count = math.prod(shape)
    words = _philox(_check(k), _iota(k, -(-count // 4)), _BITS)
    return np.concatenate(words)[:count].astype(np.uint32).reshape(shape)


def split(k: Any, num: int = 2) -> Any:
    """`num` new keys, uint32[num, 2]."""
    words = _philox(_check(k), _iota(k, num), _SPLIT)
    return np.stack(words[:2], axis=1).astype(np.uint32)


def fold_in(k: Any, data: Any) -> Any:
    """A new key from a key and an integer (a step number, say), which may be traced."""
    counter = data.astype(np.uint64) if isinstance(data, (np.ndarray, np.generic)) else np.uint64(0) + data
    words = _philox(_check(k), np.reshape(counter, (1,)) if is_box(counter) else np.asarray(counter).reshape(1), _FOLD)
    return np.concatenate(words[:2]).astype(np.uint32)


#: so many that no number is rounded, to 1 say
_BITS_OF_HALVES = {"float16": 11, "bfloat16": 8}


def uniform(k: Any, shape: Sequence[int] | int = (), dtype: Any = np.float32, low: Any = 0.0, high: Any = 1.0) -> Any:
    """Uniform floats in [low, high): 24 random bits in float32, 53 in float64, 11 in float16, 8 in bfloat16.

    Raises:
        TypeError: another dtype.
    """
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    dtype = np.dtype(dtype)
    if dtype == np.float64:
        words = bits(k, (2, *shape)).astype(np.uint64)
        unit = ((words[0] >> 5) * 67108864 + (words[1] >> 6)).astype(np.float64) * 2.0**-53
    elif dtype == np.float32:
        unit = (bits(k, shape) >> 8).astype(np.float32) * np.float32(2.0**-24)
    elif (count := _BITS_OF_HALVES.get(dtype.name)) is not None:
        unit = ((bits(k, shape) >> (32 - count)).astype(np.float32) * np.float32(2.0**-count)).astype(dtype)
    else:
        raise TypeError(f"uniform gives float16, bfloat16, float32 or float64, not {dtype}")
    return unit * (high - low) + low if (low, high) != (0.0, 1.0) else unit


def _is_half(dtype: Any) -> bool:
    return np.dtype(dtype).name in _BITS_OF_HALVES


def normal(k: Any, shape: Sequence[int] | int = (), dtype: Any = np.float32) -> Any:
    """Standard normal floats, by Box and Muller's transform of two uniform ones. Those of 16 bits are float32's, rounded."""
    if _is_half(dtype):
        return normal(k, shape, np.float32).astype(dtype)
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    u = uniform(k, (2, *shape), dtype)
    return np.sqrt(-2 * np.log(1 - u[0])) * np.cos(2 * math.pi * u[1])


def bernoulli(k: Any, p: Any = 0.5, shape: Sequence[int] | int | None = None) -> Any:
    """Bools that are True with probability `p`; `shape` defaults to that of `p`."""
    return uniform(k, np.shape(p) if shape is None else shape) < p


def randint(k: Any, shape: Sequence[int] | int, low: int, high: int, dtype: Any = np.int64) -> Any:
    """Integers in [low, high): the high half of the product of 32 random bits and the range, which is at most 2**32.

    Raises:
        ValueError: the range is empty or too large, or the dtype does not hold it.
    """
    span = int(high) - int(low)
    if not 0 < span <= 2**32:
        raise ValueError(f"randint needs 0 < high - low <= 2**32, not {span}")
    if np.dtype(dtype).kind in "iu" and not np.iinfo(dtype).min <= low < high <= np.iinfo(dtype).max + 1:
        raise ValueError(f"{np.dtype(dtype)} does not hold all integers in [{low}, {high})")
    words = bits(k, shape).astype(np.uint64)
    return ((words * span) >> 32).astype(dtype) + np.dtype(dtype).type(low)


def permutation(k: Any, x: Any) -> Any:
    """A random order of `range(x)`, or of the rows of an array `x`.

    Rows are sorted by random words of 64 bits.
    """
    count = int(x) if isinstance(x, (int, np.integer)) else x.shape[0]
    words = bits(k, (2, count)).astype(np.uint64)
    order = np.argsort((words[0] << 32) | words[1], kind="stable")
    return order if isinstance(x, (int, np.integer)) else x[order]


def gumbel(k: Any, shape: Sequence[int] | int = (), dtype: Any = np.float32) -> Any:
    """Standard Gumbel floats, -log(-log(u)) of uniform ones in (0, 1). Those of 16 bits are float32's, rounded."""
    if _is_half(dtype):
        return gumbel(k, shape, np.float32).astype(dtype)
    tiny = np.finfo(dtype).tiny
    return -np.log(-np.log(np.maximum(uniform(k, shape, dtype), np.dtype(dtype).type(tiny))))


def categorical(k: Any, logits: Any, axis: int = -1, shape: Sequence[int] | None = None) -> Any:
    """Places (int64) along an axis of `logits`, drawn with probability softmax(logits): where logits and Gumbel noise are largest.

    Args:
        k: a key, uint32[2].
        logits: float array; logarithms of probabilities, up to a constant for each draw.
        axis: of the classes.
        shape: of the result; by default that of `logits` without the axis, which it has to end with.

    Raises:
        ValueError: `shape` does not end with the shape of `logits` without the axis.
    """
    own = np.shape(logits)
    axis = axis % len(own)
    batch = own[:axis] + own[axis + 1 :]
    shape = batch if shape is None else tuple(shape)
    before = shape[: len(shape) - len(batch)]
    if shape[len(before) :] != batch:
        raise ValueError(f"categorical: shape {shape} does not end with {batch}, the shape of the logits without axis {axis}")
    noise = gumbel(k, (*before, *own), logits.dtype)
    return np.argmax(noise + logits, axis=len(before) + axis)


def choice(k: Any, a: Any, shape: Sequence[int] | int = (), replace: bool = True, p: Any = None) -> Any:
    """Elements of `range(a)`, or rows of an array `a`.

    Args:
        k: a key, uint32[2].
        a: an int or an array.
        shape: of the draws.
        replace: whether an element may be drawn again. Without, the work grows with the square of the elements.
        p: float array, the probability of each element; by default all are alike.

    Raises:
        ValueError: there are too few elements to draw from.
    """
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    count, draws = (int(a) if isinstance(a, (int, np.integer)) else a.shape[0]), math.prod(shape)
    if count < 1 or (not replace and draws > count):
        raise ValueError(f"choice: {draws} draws from {count} elements{'' if replace else ' without replacement'}")
    if replace:
        places = randint(k, shape, 0, count) if p is None else categorical(k, np.log(p), shape=shape)
    elif p is None:
        places = permutation(k, count)[:draws].reshape(shape)
    else:
        # The largest sums of logarithm and Gumbel noise are draws without replacement (Efraimidis and Spirakis, 2006).
        keys = gumbel(k, (count,), p.dtype) + np.log(p)
        number = _iota(k, count).astype(np.int64)
        before = (keys[None, :] > keys[:, None]) | ((keys[None, :] == keys[:, None]) & (number[None, :] < number[:, None]))
        order = np.zeros_like(number)
        order[np.sum(before, axis=1)] = number
        places = order[:draws].reshape(shape)
    return places if isinstance(a, (int, np.integer)) else a[places]


#: The inverse of the error function: in w - 2.5, and in sqrt(w) - 3, for w = -log(1 - x**2) (M. Giles, "Approximating the erfinv
#: function", GPU Computing Gems, 2011), highest order first.
_ERFINV_NEAR = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_ERFINV_FAR = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047, 1.00167406, 2.83297682)  # fmt: skip


def _erfinv(x: Any) -> Any:
    w = -np.log((1 - x) * (1 + x))
    near, far = w - 2.5, np.sqrt(np.maximum(w, 5.0)) - 3
    a, b = near * 0 + _ERFINV_NEAR[0], far * 0 + _ERFINV_FAR[0]
    for first, second in zip(_ERFINV_NEAR[1:], _ERFINV_FAR[1:], strict=True):
        a, b = a * near + first, b * far + second
    return np.where(w < 5, a, b) * x


def truncated_normal(k: Any, lower: Any, upper: Any, shape: Sequence[int] | int = (), dtype: Any = np.float32) -> Any:
    """Standard normal floats in [lower, upper], by the inverse of the distribution: correct to some 1e-6 of the exact inverse.

    Args:
        k: a key, uint32[2].
        lower, upper: floats.
        shape: of the result.
        dtype: float32 or float64; float16 or bfloat16, of float32's, rounded.
    """
    if _is_half(dtype):
        return truncated_normal(k, lower, upper, shape, np.float32).astype(dtype)
    low, high = (math.erf(float(end) / math.sqrt(2)) for end in (lower, upper))
    u = uniform(k, shape, dtype)
    found = math.sqrt(2) * _erfinv(np.clip(u * (high - low) + low, -1 + np.finfo(dtype).eps, 1 - np.finfo(dtype).eps))
    return np.clip(found, lower, upper).astype(dtype)
