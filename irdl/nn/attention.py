"""Attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import irdl
from irdl.nn import init
from irdl.nn.functional import softmax
from irdl.nn.layers import Dropout, Linear
from irdl.nn.module import Module


class MultiheadAttention(Module):
    """Scaled dot-product attention of several heads (Vaswani et al., 2017), with PyTorch's parameters.

    Args:
        embed_dim, num_heads: of the queries; the heads divide it.
        dropout: probability, on the attention weights.
        bias: whether the projections have biases.
        batch_first: whether inputs are (B, T, E) and not (T, B, E).

    Raises:
        ValueError: the heads do not divide embed_dim.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        batch_first: bool = False,
        *,
        key: Any = None,
        dtype: Any = np.float32,
    ) -> None:
        if embed_dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide embed_dim {embed_dim}")
        self.embed_dim, self.num_heads, self.batch_first = embed_dim, num_heads, batch_first
        first, second, third = irdl.random.split(init.default_key(key), 3)
        self.in_proj_weight = init.xavier_uniform((3 * embed_dim, embed_dim), key=first, dtype=dtype)
        self.in_proj_bias = np.zeros(3 * embed_dim, dtype) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, key=second, dtype=dtype)
        if bias:
            self.out_proj.bias = np.zeros(embed_dim, dtype)
        self.drop = Dropout(dropout, key=third)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
    ) -> tuple[Any, Any]:
        """
        Args:
            query, key, value: (T, B, E), (B, T, E) with batch_first, or (T, E).
            key_padding_mask: bool (B, T of the keys), True where a key is none.
            attn_mask: bool (T, T of the keys), True where a query may not look; or floats that are added.
            average_attn_weights: give the mean of the heads' weights.

        Returns:
            The output, laid out as the query, and the weights (B, T, T of the keys), or (B, heads, ...).
        """
        rank = query.ndim
        if rank == 2:
            query, key, value = query[None], key[None], value[None]
        elif not self.batch_first:
            query, key, value = (np.swapaxes(x, 0, 1) for x in (query, key, value))
        size, heads = self.embed_dim, self.num_heads
        parts = []
        for place, x in enumerate((query, key, value)):
            rows = slice(place * size, (place + 1) * size)
            y = x @ self.in_proj_weight[rows].T
            y = y if self.in_proj_bias is None else y + self.in_proj_bias[rows]
            parts.append(y.reshape(*y.shape[:2], heads, size // heads))
        q, k, v = parts
        scores = np.einsum("bqhd,bkhd->bhqk", q, k) * (1 / math.sqrt(size // heads))
        if attn_mask is not None:
            scores = np.where(attn_mask, -np.inf, scores) if attn_mask.dtype == np.bool_ else scores + attn_mask
        if key_padding_mask is not None:
            scores = np.where(np.atleast_2d(key_padding_mask)[:, None, None], -np.inf, scores)
        weights = softmax(scores.astype(q.dtype))
        mixed = np.einsum("bhqk,bkhd->bqhd", self.drop(weights), v)
        out = self.out_proj(mixed.reshape(*query.shape[:2], size))
        shown = np.mean(weights, axis=1) if average_attn_weights else weights
        if rank == 2:
            return out[0], shown[0]
        return (out if self.batch_first else np.swapaxes(out, 0, 1)), shown
