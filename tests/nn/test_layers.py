"""Layers, losses and initial values against their formulas in plain NumPy; compiled as eager; gradients as differences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl import nn
from irdl.nn import functional as F
from irdl.testing import check, check_gradient

RNG = np.random.default_rng(0)
f8 = np.float64


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def convolved(layer: Any, x: np.ndarray) -> np.ndarray:
    """Sum by sum."""
    (sh, sw), (dh, dw), g = layer.stride, layer.dilation, layer.groups
    x = np.pad(x, ((0, 0), (0, 0), *layer.padding))
    n, _, h, w = x.shape
    o, ci, kh, kw = layer.weight.shape
    places = [(size - (k - 1) * d - 1) // s + 1 for size, k, d, s in ((h, kh, dh, sh), (w, kw, dw, sw))]
    y = np.zeros((n, o, *places))
    for b, k, i, j in itertools.product(range(n), range(o), *map(range, places)):
        first = k // (o // g) * ci
        patch = x[b, first : first + ci, i * sh : i * sh + (kh - 1) * dh + 1 : dh, j * sw : j * sw + (kw - 1) * dw + 1 : dw]
        y[b, k, i, j] = (patch * layer.weight[k]).sum() + (0 if layer.bias is None else layer.bias[k])
    return y


def pooled(layer: Any, x: np.ndarray, fill: float, reduce: Callable[..., Any]) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), *((n, n) for n in layer.padding)), constant_values=fill)
    (kh, kw), (sh, sw) = layer.kernel_size, layer.stride
    places = [(size - k) // s + 1 for size, k, s in ((x.shape[2], kh, sh), (x.shape[3], kw, sw))]
    y = np.zeros((*x.shape[:2], *places))
    for i, j in itertools.product(*map(range, places)):
        y[:, :, i, j] = reduce(x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw], axis=(2, 3))
    return y


def layer_norm(layer: Any, x: np.ndarray) -> np.ndarray:
    axes = tuple(range(-len(layer.normalized_shape), 0))
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + layer.eps) * layer.weight + layer.bias


def batch_norm(layer: Any, x: np.ndarray) -> np.ndarray:
    axes, along = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt(x.var(axes, keepdims=True) + layer.eps) * layer.weight.reshape(along) + layer.bias.reshape(along)


CASES: list[tuple[str, Any, tuple[int, ...], Callable[[Any, np.ndarray], np.ndarray]]] = [
    ("linear", nn.Linear(4, 3, dtype=f8), (2, 5, 4), lambda m, x: x @ m.weight.T + m.bias),
    ("layer norm", nn.LayerNorm((3, 4), dtype=f8), (5, 3, 4), layer_norm),
    ("layer norm 1d", nn.LayerNorm1d(4, dtype=f8), (5, 4), layer_norm),
    (
        "rms norm",
        nn.RMSNorm(4, eps=1e-3, dtype=f8),
        (5, 4),
        lambda m, x: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-3) * m.weight,
    ),
    ("batch norm", nn.BatchNorm1d(4, dtype=f8), (6, 4), batch_norm),
    ("batch norm of sequences", nn.BatchNorm1d(4, dtype=f8), (6, 4, 3), batch_norm),
    ("batch norm of images", nn.BatchNorm2d(3, dtype=f8), (2, 3, 4, 5), batch_norm),
    ("convolution", nn.Conv2d(3, 4, (3, 2), (2, 1), (1, 0), dtype=f8), (2, 3, 6, 5), convolved),
    ("dilated groups", nn.Conv2d(4, 6, 2, dilation=2, groups=2, bias=False, dtype=f8), (1, 4, 5, 6), convolved),
    ("depthwise", nn.Conv2d(3, 3, 3, padding="same", groups=3, dtype=f8), (2, 3, 4, 5), convolved),
    (
        "convolution of sequences",
        nn.Conv1d(3, 4, 3, stride=2, padding=2, dtype=f8),
        (2, 3, 8),
        lambda m, x: convolved(_as_2d(m), x[:, :, None])[:, :, 0],
    ),
    ("no padding", nn.Conv2d(3, 4, 2, padding="valid", dtype=f8), (2, 3, 4, 5), convolved),
    ("max pool", nn.MaxPool2d(3, 2, 1), (2, 3, 6, 7), lambda m, x: pooled(m, x, -np.inf, np.max)),
    ("average pool", nn.AvgPool2d((2, 3), padding=(1, 0)), (2, 3, 6, 7), lambda m, x: pooled(m, x, 0, np.mean)),
    ("max pool without padding", nn.MaxPool2d(2), (2, 6, 7), lambda m, x: pooled(m, x[None], -np.inf, np.max)[0]),
    ("average pool without padding", nn.AvgPool2d(2, (2, 1)), (2, 3, 6, 7), lambda m, x: pooled(m, x, 0, np.mean)),
    ("relu", nn.ReLU(), (3, 4), lambda m, x: x * (x > 0)),
    ("silu", nn.SiLU(), (3, 4), lambda m, x: x / (1 + np.exp(-x))),
    ("gelu", nn.GELU(), (3, 4), lambda m, x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))),
    ("softmax", nn.Softmax(1), (3, 4, 2), lambda m, x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    ("residual", nn.Residual(nn.Tanh()), (3, 4), lambda m, x: x + np.tanh(x)),
    ("flatten", nn.Flatten(), (3, 4, 2), lambda m, x: x.reshape(3, 8)),
    ("sequential", nn.Sequential(nn.Identity(), nn.Sigmoid()), (3, 4), lambda m, x: 1 / (1 + np.exp(-x))),
]


def _as_2d(layer: Any) -> Any:
    wide = nn.Conv2d(3, 4, (1, 3), (1, 2), (0, 2), dtype=f8)
    wide.weight, wide.bias = layer.weight[:, :, None], layer.bias
    return wide


@pytest.mark.parametrize(("layer", "shape", "formula"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_layer(layer: Any, shape: tuple[int, ...], formula: Callable[[Any, np.ndarray], np.ndarray]) -> None:
    x = normal(*shape)
    for name, array in list(layer.named_parameters()):
        if "." not in name:
            setattr(layer, name, normal(*array.shape))
    np.testing.assert_allclose(layer(x), formula(layer, x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(irdl.jit(lambda m, x: m(x))(layer, x), formula(layer, x), rtol=1e-10, atol=1e-12)
    check_gradient(lambda m, x: m(x), layer, x)


def test_running_statistics() -> None:
    layer, x = nn.BatchNorm1d(3, momentum=0.2, dtype=f8), normal(6, 3)
    compiled = irdl.jit(lambda m, x: m(x))
    mean, variance = np.zeros(3), np.ones(3)
    for count in range(1, 4):
        compiled(layer, x + count)
        mean = 0.8 * mean + 0.2 * (x + count).mean(0)
        variance = 0.8 * variance + 0.2 * x.var(0, ddof=1)
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var, variance, rtol=1e-12)
        assert layer.num_batches_tracked == count
    layer.eval()
    np.testing.assert_allclose(compiled(layer, x), (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-10)
    with pytest.raises(ValueError, match="more than one number for each channel"):
        layer.train()(x[:1])
    with pytest.raises(ValueError, match="BatchNorm2d takes 4 axes, not 2"):
        nn.BatchNorm2d(3)(x)


def test_running_statistics_that_are_means_of_all() -> None:
    layer, x = nn.BatchNorm1d(3, momentum=None, dtype=f8), normal(4, 6, 3)
    compiled = irdl.jit(lambda m, x: m(x))
    for batch in x:
        compiled(layer, batch)
    np.testing.assert_allclose(layer.running_mean, x.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, x.var(1, ddof=1).mean(0), rtol=1e-12)


def test_no_running_statistics_and_no_weights() -> None:
    layer, x = nn.BatchNorm1d(3, affine=False, track_running_stats=False, dtype=f8), normal(6, 3)
    expected = (x - x.mean(0)) / np.sqrt(x.var(0) + layer.eps)
    for mode in (layer.train(), layer.eval()):
        np.testing.assert_allclose(irdl.jit(lambda m, x: m(x))(mode, x), expected, rtol=1e-12)
        np.testing.assert_allclose(mode(x), expected, rtol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_layouts_of_attention(bias: bool) -> None:
    """Sequences first, second or alone: the same numbers."""
    first, second = (nn.MultiheadAttention(6, 2, bias=bias, batch_first=mark, dtype=f8) for mark in (True, False))
    second.load_state_dict(first.state_dict())
    q, k = normal(2, 3, 6), normal(2, 4, 6)
    compiled = irdl.jit(lambda m, q, k: m(q, k, k, average_attn_weights=False))
    out, weights = first(q, k, k, average_attn_weights=False)
    assert weights.shape == (2, 2, 3, 4)
    for layer, change in ((first, lambda x: x), (second, lambda x: x.swapaxes(0, 1))):
        for found in (compiled(layer, change(q), change(k)), layer(change(q), change(k), change(k), average_attn_weights=False)):
            np.testing.assert_allclose(change(found[0]), out, rtol=1e-10)
            np.testing.assert_allclose(found[1], weights, rtol=1e-10)
        for found in (compiled(layer, q[0], k[0]), layer(q[0], k[0], k[0], average_attn_weights=False)):
            np.testing.assert_allclose(found[0], out[0], rtol=1e-10)
            np.testing.assert_allclose(found[1], weights[0], rtol=1e-10)
        np.testing.assert_allclose(layer(change(q), change(k), change(k))[1], weights.mean(1), rtol=1e-10)


def test_masks_of_attention() -> None:
    layer, x = nn.MultiheadAttention(6, 2, batch_first=True, dtype=f8), normal(2, 4, 6)
    causal = np.triu(np.ones((4, 4), bool), 1)
    compiled = irdl.jit(lambda m, x, **masks: m(x, x, x, **masks))
    out, weights = layer(x, x, x, attn_mask=causal)
    assert not weights[:, causal].any()
    for place in range(4):  # what is masked might as well not be there
        short = x[:, : place + 1]
        np.testing.assert_allclose(out[:, place], layer(short, short, short)[0][:, -1], rtol=1e-10)
    added = np.where(causal, -np.inf, 0)
    padding = np.array([[False] * 4, [False, False, True, True]])
    shorter = layer(x[1:], x[1:, :2], x[1:, :2])[0]
    for f in (layer, compiled):
        given = (x, x, x) if f is layer else (layer, x)
        for mask in (causal, added):
            np.testing.assert_allclose(f(*given, attn_mask=mask)[0], out, rtol=1e-10)
        found = f(*given, key_padding_mask=padding)[0]
        np.testing.assert_allclose(found[1:], shorter, rtol=1e-10)
        np.testing.assert_allclose(found[0], layer(x, x, x)[0][0], rtol=1e-10)
    alone = layer(x[1], x[1], x[1], key_padding_mask=padding[1])[0]
    np.testing.assert_allclose(alone, shorter[0], rtol=1e-10)


def test_attention_is_its_formula() -> None:
    layer = nn.MultiheadAttention(6, 2, batch_first=True, dtype=f8)
    q, k = normal(2, 3, 6), normal(2, 4, 6)
    wq, wk, wv = np.split(layer.in_proj_weight, 3)
    out = []
    for head in range(2):
        part = slice(3 * head, 3 * head + 3)
        a, b, c = (q @ wq.T)[..., part], (k @ wk.T)[..., part], (k @ wv.T)[..., part]
        scores = np.exp(a @ b.swapaxes(1, 2) / math.sqrt(3))
        out.append(scores / scores.sum(-1, keepdims=True) @ c)
    expected = np.concatenate(out, -1) @ layer.out_proj.weight.T
    np.testing.assert_allclose(layer(q, k, k)[0], expected, rtol=1e-10)
    np.testing.assert_allclose(irdl.jit(lambda m, q, k: m(q, k, k)[0])(layer, q, k), expected, rtol=1e-10)
    check_gradient(lambda m, q, k: m(q, k, k)[0], layer, q, k)


def test_embeddings() -> None:
    layer, tokens = nn.Embedding(5, 3, padding_idx=1, dtype=f8), np.array([[0, 1], [4, 0]])
    np.testing.assert_array_equal(irdl.jit(lambda m, i: m(i))(layer, tokens), layer.weight[tokens])
    assert not layer.weight[1].any()
    gradient = irdl.jit(irdl.grad(lambda m: (m(tokens) + 1.0).sum()))(layer)
    np.testing.assert_array_equal(gradient.weight[:, 0], [2, 0, 0, 0, 1])


def test_dropout_draws_anew_at_each_call_and_is_repeatable() -> None:
    x = np.ones((40, 50), np.float32)
    drawn = []
    for _ in range(2):
        nn.manual_seed(3)
        layer = nn.Dropout(0.25)
        step = irdl.jit(lambda m, x: m(x))
        drawn.append([step(layer, x), layer(x), step(layer, x)])
    for a, b in zip(*drawn, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len({a.tobytes() for a in drawn[0]}) == 3
    assert 0.2 < (drawn[0][0] == 0).mean() < 0.3
    np.testing.assert_allclose(np.unique(drawn[0][0]), [0, 4 / 3], rtol=1e-6)


def test_losses() -> None:
    logits, labels = normal(5, 4), np.array([0, 3, -100, 1, 2])
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    counts = labels != -100
    picked = -logs[np.arange(5), np.where(counts, labels, 0)] * counts
    check(nn.softmax_cross_entropy, logits, labels)
    np.testing.assert_allclose(nn.softmax_cross_entropy(logits, labels), picked.sum() / 4, rtol=1e-12)
    np.testing.assert_allclose(nn.softmax_cross_entropy(logits, labels, reduction="none"), picked, rtol=1e-12)
    np.testing.assert_allclose(nn.nll(logs, labels, reduction="sum"), picked.sum(), rtol=1e-12)
    np.testing.assert_allclose(nn.nll(logs, labels), picked.sum() / 4, rtol=1e-12)
    smooth = (0.9 * picked + 0.1 * -logs.mean(-1) * counts).sum() / 4
    np.testing.assert_allclose(nn.softmax_cross_entropy(logits, labels, label_smoothing=0.1), smooth, rtol=1e-12)
    huge = nn.softmax_cross_entropy(np.array([[1e4, -1e4]]), np.array([1]))
    assert huge == 2e4
    y, t = normal(3, 4), (normal(3, 4) > 0).astype(f8)
    p = 1 / (1 + np.exp(-y))
    np.testing.assert_allclose(nn.binary_cross_entropy_with_logits(y, t), -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(), rtol=1e-10)
    check(nn.binary_cross_entropy_with_logits, y, t)
    assert nn.mse(y, t) == pytest.approx(((y - t) ** 2).mean())
    with pytest.raises(ValueError, match="reduction is 'mean', 'sum' or 'none'"):
        nn.mse(y, t, "max")


def test_functions() -> None:
    x = normal(3, 4, 5) * 5
    for axis in (0, (1, 2), None, -1):
        expected = np.log(np.exp(x).sum(axis=axis))
        np.testing.assert_allclose(F.logsumexp(x, axis), expected, rtol=1e-12)
        check(lambda x: F.logsumexp(x, axis, keepdims=True), x)
    assert F.logsumexp(np.array([-np.inf, -np.inf]), 0) == -np.inf
    np.testing.assert_array_equal(nn.one_hot(np.array([[0, 2]]), 3), [[[1, 0, 0], [0, 0, 1]]])
    check(lambda x: F.gelu(x, "tanh"), x)
    check(lambda x: F.erf(x), x)


def test_initial_values() -> None:
    init, shape = nn.init, (200, 100)
    cases = {
        "xavier_uniform": math.sqrt(2 / 300),
        "xavier_normal": math.sqrt(2 / 300),
        "kaiming_uniform": math.sqrt(2 / 100),
        "kaiming_normal": math.sqrt(2 / 100),
        "normal": 1.0,
        "uniform": math.sqrt(1 / 12),
    }
    for name, std in cases.items():
        array = getattr(init, name)(shape)
        assert array.dtype == np.float32
        assert array.std() == pytest.approx(std, rel=0.02)
    fan_out = init.kaiming_normal(shape, mode="fan_out", nonlinearity="relu")
    assert fan_out.std() == pytest.approx(math.sqrt(2 / 200), rel=0.02)
    q = init.orthogonal((20, 50), gain=2.0, dtype=f8)
    np.testing.assert_allclose(q @ q.T, 4 * np.eye(20), atol=1e-12)
    nn.manual_seed(5)
    first = nn.Linear(3, 4).weight
    nn.manual_seed(5)
    np.testing.assert_array_equal(nn.Linear(3, 4).weight, first)
    assert (nn.Linear(3, 4).weight != first).all()
    with pytest.raises(ValueError, match="two axes or more"):
        init.xavier_normal((3,))
    with pytest.raises(ValueError, match="no gain is known for 'swish'"):
        init.calculate_gain("swish")
    for name in ("uniform", "normal", "xavier_uniform", "xavier_normal", "orthogonal"):
        with pytest.raises(TypeError, match=rf"{name}: \w+ is a number, not an array of shape \(2,\); a key is given as key="):
            getattr(init, name)((3, 4), irdl.random.key(0))


def test_layers_inside_traced_code() -> None:
    """By every name that irdl gives them."""
    w = normal(3, 4)

    def f(x: np.ndarray) -> Any:
        return irdl.nn.functional.softmax(nn.Tanh()(x @ w)), irdl.nn.GELU()(x), F.silu(x), irdl.nn.LayerNorm(3, dtype=f8)(x)

    check(f, normal(2, 3))
