"""Convolutions and pooling over images and sequences, channels second as in PyTorch: contractions and reductions of windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import irdl
from irdl.nn import init
from irdl.nn.module import Module


def _each(value: Any, count: int) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value)


def _windows(x: Any, axes: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Any:
    """Windows of these axes, the places where they were and the taps last."""
    spans = tuple((size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True))
    windows = sliding_window_view(x, spans, axis=axes)
    steps = dict(zip(axes, stride, strict=True)) | dict(zip(range(x.ndim, windows.ndim), dilation, strict=True))
    return windows[tuple(slice(None, None, steps.get(axis, 1)) for axis in range(windows.ndim))]


class _Convolution(Module):
    """Sums of products of the input's windows and `weight`, plus `bias`: PyTorch's cross-correlation.

    Args:
        in_channels, out_channels: of the input (N, C, ...) and the output; inputs without N are taken too.
        kernel_size, stride, dilation: one number, or one for each axis.
        padding: zeros on both sides, likewise; or "valid" (none), or "same" (as many places as the input has, stride 1).
        groups: channels in so many groups that do not see each other.
        bias: whether there is one.

    Raises:
        ValueError: groups do not divide the channels, or "same" with a stride.
    """

    rank = 0

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        key: Any = None,
        dtype: Any = np.float32,
    ) -> None:
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{groups} groups do not divide {in_channels} and {out_channels} channels")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = (_each(item, self.rank) for item in (kernel_size, stride, dilation))
        self.padding = self._padding(padding)
        first, second = irdl.random.split(init.default_key(key))
        bound = 1 / math.sqrt(in_channels // groups * math.prod(self.kernel_size))
        self.weight = init.uniform((out_channels, in_channels // groups, *self.kernel_size), -bound, bound, key=first, dtype=dtype)
        self.bias = init.uniform((out_channels,), -bound, bound, key=second, dtype=dtype) if bias else None

    def _padding(self, padding: Any) -> tuple[tuple[int, int], ...]:
        if padding == "valid":
            padding = 0
        if padding != "same":
            return tuple((n, n) for n in _each(padding, self.rank))
        if set(self.stride) != {1}:
            raise ValueError("padding='same' goes with stride 1")
        totals = [step * (size - 1) for size, step in zip(self.kernel_size, self.dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)

    def forward(self, x: Any) -> Any:
        """
        Raises:
            ValueError: the input has another number of axes or channels.
        """
        if x.ndim not in (self.rank + 1, self.rank + 2) or x.shape[-self.rank - 1] != self.in_channels:
            raise ValueError(f"{type(self).__name__} of {self.in_channels} channels cannot take an input of shape {x.shape}")
        batched = x if x.ndim == self.rank + 2 else x[None]
        inner = np.moveaxis(batched, 1, -1)  # channels innermost, as the contraction wants them
        if any(map(any, self.padding)):
            inner = np.pad(inner, ((0, 0), *self.padding, (0, 0)))
        windows = _windows(inner, tuple(range(1, self.rank + 1)), self.kernel_size, self.stride, self.dilation)
        places, taps = "xyz"[: self.rank], "ijk"[: self.rank]
        if self.groups == 1:
            y = np.einsum(f"n{places}c{taps},oc{taps}->n{places}o", windows, self.weight)
        else:
            g = self.groups
            shape = (*windows.shape[: self.rank + 1], g, self.in_channels // g, *windows.shape[self.rank + 2 :])
            weight = self.weight.reshape(g, self.out_channels // g, *self.weight.shape[1:])
            y = np.einsum(f"n{places}gc{taps},goc{taps}->n{places}go", windows.reshape(shape), weight)
            y = y.reshape(*y.shape[:-2], self.out_channels)
        if self.bias is not None:
            y = y + self.bias
        y = np.moveaxis(y, -1, 1)
        return y if x.ndim == self.rank + 2 else y[0]

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}, padding={self.padding}"


class Conv1d(_Convolution):
    __doc__ = f"Over (N, C, L). {_Convolution.__doc__}"
    rank = 1


class Conv2d(_Convolution):
    __doc__ = f"Over (N, C, H, W). {_Convolution.__doc__}"
    rank = 2


class _Pooling(Module):
    """Over the windows of (..., H, W); the stride is the window's size by default."""

    #: what pads
    fill = 0.0

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        self.kernel_size, self.padding = _each(kernel_size, 2), _each(padding, 2)
        self.stride = self.kernel_size if stride is None else _each(stride, 2)

    def _windows(self, x: Any) -> Any:
        if any(self.padding):
            x = np.pad(x, ((0, 0),) * (x.ndim - 2) + tuple((n, n) for n in self.padding), constant_values=self.fill)
        return _windows(x, (x.ndim - 2, x.ndim - 1), self.kernel_size, self.stride, (1, 1))


class MaxPool2d(_Pooling):
    """The largest of each window, over (..., H, W); the stride is the window's size by default, padding is -inf."""

    fill = -np.inf

    def forward(self, x: Any) -> Any:
        return np.max(self._windows(x), axis=(-2, -1))


class AvgPool2d(_Pooling):
    """The mean of each window, over (..., H, W); the stride is the window's size by default, and zeros that pad count."""

    def forward(self, x: Any) -> Any:
        return np.mean(self._windows(x), axis=(-2, -1))
