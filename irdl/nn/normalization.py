"""Normalising layers, with PyTorch's formulas and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import irdl
from irdl.nn.module import Module


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) over the last axes, scaled and shifted (Ba et al., 2016).

    Args:
        normalized_shape: extents of those axes, or of the one.
        eps: added to the variance.
        elementwise_affine, bias: whether there are `weight` and `bias`.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
    ) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps = shape, eps
        self.weight = np.ones(shape, dtype) if elementwise_affine else None
        self.bias = np.zeros(shape, dtype) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Any:
        axes = tuple(range(-len(self.normalized_shape), 0))
        centred = x - np.mean(x, axis=axes, keepdims=True)
        y = centred / np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True) + self.eps)
        y = y if self.weight is None else y * self.weight
        return y if self.bias is None else y + self.bias


class LayerNorm1d(LayerNorm):
    """`LayerNorm` over the last axis."""

    def __init__(self, dim: int, eps: float = 1e-5, *, dtype: Any = np.float32) -> None:
        super().__init__(dim, eps, dtype=dtype)


class RMSNorm(Module):
    """x / sqrt(mean(x^2) + eps) over the last axes, scaled (Zhang and Sennrich, 2019); eps is the dtype's by default."""

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True, *, dtype: Any = np.float32
    ) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps = shape, eps
        self.weight = np.ones(shape, dtype) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        axes = tuple(range(-len(self.normalized_shape), 0))
        eps = float(np.finfo(x.dtype).eps) if self.eps is None else self.eps
        y = x / np.sqrt(np.mean(x * x, axis=axes, keepdims=True) + eps)
        return y if self.weight is None else y * self.weight


class _BatchNorm(Module):
    """(x - mean) / sqrt(variance + eps) for each channel, scaled and shifted (Ioffe and Szegedy, 2015).

    In training the statistics are the batch's, and the running ones move towards them: (1 - momentum) * running + momentum * batch, with
    the unbiased variance; with momentum None they are the mean over all batches. Otherwise the running ones are used.

    Args:
        num_features: channels, the second axis.
        eps: added to the variance.
        momentum: how far the running statistics move.
        affine: whether there are `weight` and `bias`.
        track_running_stats: whether there are running statistics; without, the batch's are used always.
    """

    ranks: tuple[int, ...] = ()
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: Any = np.float32,
    ) -> None:
        self.num_features, self.eps, self.momentum, self.track_running_stats = num_features, eps, momentum, track_running_stats
        self.weight = np.ones(num_features, dtype) if affine else None
        self.bias = np.zeros(num_features, dtype) if affine else None
        if track_running_stats:
            self.register_buffer("running_mean", np.zeros(num_features, dtype))
            self.register_buffer("running_var", np.ones(num_features, dtype))
            self.register_buffer("num_batches_tracked", np.zeros((), np.int64))

    def forward(self, x: Any) -> Any:
        """
        Raises:
            ValueError: the input has another number of axes, or in training one number for each channel.
        """
        if x.ndim not in self.ranks:
            raise ValueError(f"{type(self).__name__} takes {' or '.join(map(str, self.ranks))} axes, not {x.ndim}")
        axes = (0, *range(2, x.ndim))
        along = (1, self.num_features, *[1] * (x.ndim - 2))
        if self.training or not self.track_running_stats:
            count = x.size // self.num_features
            if self.training and count == 1:
                raise ValueError(f"{type(self).__name__} needs more than one number for each channel in training, not {x.shape}")
            mean = np.mean(x, axis=axes)
            centred = x - mean.reshape(along)
            variance = np.mean(centred * centred, axis=axes)
            if self.training and self.track_running_stats:
                self._track(irdl.stop_gradient(mean), irdl.stop_gradient(variance) * (count / (count - 1)))
        else:
            centred, variance = x - self.running_mean.reshape(along), self.running_var
        scale = 1 / np.sqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        y = centred * scale.reshape(along)
        return y if self.bias is None else y + self.bias.reshape(along)

    def _track(self, mean: Any, variance: Any) -> None:
        self.num_batches_tracked = np.reshape(self.num_batches_tracked + 1, ())
        share = self.momentum
        if share is None:
            share = (1 / self.num_batches_tracked).astype(self.running_mean.dtype)
        self.running_mean = (1 - share) * self.running_mean + share * mean
        self.running_var = (1 - share) * self.running_var + share * variance


class BatchNorm1d(_BatchNorm):
    """`(N, C)` or `(N, C, L)`, each channel normalised over the others."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`(N, C, H, W)`, each channel normalised over the others."""

    ranks = (4,)


BatchNorm1d.__doc__ = f"Over (N, C) or (N, C, L): {_BatchNorm.__doc__}"
BatchNorm2d.__doc__ = f"Over (N, C, H, W): {_BatchNorm.__doc__}"
