"""JAX: one jitted function with donated parameters, loops over time as scans, products of inputs in front of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import models
from benchmarks.models import Arrays, Problem

PAD = -100

# Parameters keep PyTorch's names; weights are (inputs, outputs), of convolutions (height, width, inputs, outputs), images have
# their channels last. A model takes parameters, what is carried on (running statistics, or a state), the share that is dropped, a
# key, and the batch; it gives the loss and what is carried on.


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1).mean()


def linear(p, name, x):
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def dropout(x, share, key):
    return jnp.where(jax.random.bernoulli(key, 1 - share, x.shape), x / (1 - share), 0) if share else x


def batch_norm(p, carried, name, x):
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes), x.var(axes)
    count = x.size // x.shape[-1]
    for key, now in (("running_mean", mean), ("running_var", variance * (count / (count - 1)))):
        carried[f"{name}.{key}"] = 0.9 * carried[f"{name}.{key}"] + 0.1 * jax.lax.stop_gradient(now)
    return (x - mean) * (jax.lax.rsqrt(variance + 1e-5) * p[f"{name}.weight"]) + p[f"{name}.bias"]


def lstm(p, name, x, state, there=None):
    """x (steps, batch, inputs). `there` (steps, batch): where it does not hold, the state stays, and what is given out is 0."""
    U = p[f"{name}.weight_hh_l0"]

    def step(carry, at):
        h, c = carry
        i, f, g, o = jnp.split(at[0] + h @ U, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        if there is None:
            return (h, c), h
        now = at[1][:, None]
        return (jnp.where(now, h, carry[0]), jnp.where(now, c, carry[1])), jnp.where(now, h, 0)

    inputs = x @ p[f"{name}.weight_ih_l0"] + (p[f"{name}.bias_ih_l0"] + p[f"{name}.bias_hh_l0"])
    state, hs = jax.lax.scan(step, state, (inputs, there) if there is not None else (inputs,))
    return hs, state


def srn(p, carried, share, key, xs, target):
    def step(h, a):
        h = jnp.tanh(a + h @ p["U"])
        return h, h

    _, hs = jax.lax.scan(step, jnp.zeros(2, xs.dtype), xs @ p["W"], unroll=True)
    return ((hs @ p["V"] - target) ** 2).mean(), carried


def lstm_gates(p, carried, share, key, xs, target):
    def step(carry, a):
        h, c = carry
        i, f, g, o = a + p["weight_hh"] @ h
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jnp.reshape(jax.nn.sigmoid(o) * jnp.tanh(c), 1)
        return (h, c), h

    _, hs = jax.lax.scan(step, (jnp.zeros(1, xs.dtype), jnp.zeros((), xs.dtype)), xs @ p["weight_ih"].T)
    return ((hs - target) ** 2).mean(), carried


def mlp_resnet(p, carried, share, key, images, labels):
    carried = dict(carried)
    x = jax.nn.relu(linear(p, "1", images.reshape(len(images), -1)))
    for block in (3, 4, 5):
        name = f"{block}.0.fn"
        y = jax.nn.relu(batch_norm(p, carried, f"{name}.1", linear(p, f"{name}.0", x)))
        y = linear(p, f"{name}.4", dropout(y, share, jax.random.fold_in(key, block)))
        x = jax.nn.relu(x + batch_norm(p, carried, f"{name}.5", y))
    return cross_entropy(linear(p, "6", x), labels), carried


def resnet9(p, carried, share, key, images, labels):
    carried = dict(carried)

    def conv_bn(name, stride, x):
        weight = p[f"{name}.0.weight"]
        around = weight.shape[0] // 2
        sides, axes = [(around, around)] * 2, ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, weight, (stride, stride), sides, dimension_numbers=axes)
        return jax.nn.relu(batch_norm(p, carried, f"{name}.1", y + p[f"{name}.0.bias"]))

    x = conv_bn("1", 2, conv_bn("0", 4, images))
    x = x + conv_bn("2.fn.1", 1, conv_bn("2.fn.0", 1, x))
    x = conv_bn("4", 2, conv_bn("3", 2, x))
    x = x + conv_bn("5.fn.1", 1, conv_bn("5.fn.0", 1, x))
    x = jax.nn.relu(linear(p, "7", x.reshape(len(x), -1)))
    return cross_entropy(linear(p, "9", x), labels), carried


def word_model(p, state, share, key, tokens, targets):
    first, second = jax.random.split(key)
    hs, state = lstm(p, "rnn", dropout(p["embedding.weight"][tokens], share, first), state)
    return cross_entropy(linear(p, "out", dropout(hs, share, second)), targets), state


def character_model(p, state, share, key, tokens, targets):
    def step(h, a):
        h = jnp.tanh(a + h @ p["rnn.weight_hh_l0"])
        return h, h

    inputs = jax.nn.one_hot(tokens, models.CHARACTERS) @ p["rnn.weight_ih_l0"] + (p["rnn.bias_ih_l0"] + p["rnn.bias_hh_l0"])
    state, hs = jax.lax.scan(step, state, inputs)
    return cross_entropy(linear(p, "out", hs), targets), state


def seq2seq(p, carried, share, key, source, lengths, target, labels):
    zero = jnp.zeros((len(source), models.HIDDEN))
    there = jnp.arange(source.shape[1]) < lengths[:, None]
    memory, state = lstm(p, "encoder", p["source_embedding.weight"][source.T], (zero, zero), there.T)
    hs, _ = lstm(p, "decoder", p["target_embedding.weight"][target.T], state)
    scores = jnp.einsum("tbh,sbh->bts", hs, memory @ p["score.weight"])
    weights = jax.nn.softmax(scores, axis=-1, where=there[:, None])
    seen = jnp.einsum("bts,sbh->tbh", weights, memory)
    logits = linear(p, "out", jnp.tanh(linear(p, "combine", jnp.concatenate([seen, hs], axis=-1))))
    counts = labels.T != PAD
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.where(counts, labels.T, 0)[..., None], axis=-1)[..., 0]
    return -jnp.where(counts, picked, 0).sum() / counts.sum(), carried


MODELS = {
    "srn": srn,
    "lstm_gates": lstm_gates,
    "mlp_resnet_mnist": mlp_resnet,
    "resnet9_cifar10": resnet9,
    "ptb_lm": word_model,
    "time_machine": character_model,
    "seq2seq": seq2seq,
}
DROPPED = {"mlp_resnet_mnist": 0.1, "ptb_lm": 0.3}
CLIPPED = {"ptb_lm": 0.5, "time_machine": 1.0, "seq2seq": 1.0}
RATES = {"srn": 0.1, "lstm_gates": 0.1, "ptb_lm": 2e-3, "time_machine": 1.0}
DECAYS = {"mlp_resnet_mnist": 1e-4, "resnet9_cifar10": 1e-3}


def updated(row: str, p, moments, number, gradients):
    """Clipped, and one step of SGD or of Adam."""
    if row in CLIPPED:
        norm = jnp.sqrt(sum((g * g).sum() for g in gradients.values()))
        gradients = jax.tree.map(lambda g: g * jnp.minimum(CLIPPED[row] / (norm + 1e-6), 1), gradients)
    rate = RATES.get(row, 1e-3)
    if row == "seq2seq":
        rate = 1e-2 * 0.5 * (1 + jnp.cos(math.pi * jnp.minimum(number / models.SEQ2SEQ_STEPS, 1)))
    if not moments:
        return jax.tree.map(lambda a, g: a - rate * g, p, gradients), moments
    if row in DECAYS:
        gradients = jax.tree.map(lambda g, a: g + DECAYS[row] * a, gradients, p)
    means = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradients)
    squares = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], gradients)
    first, second = 1 - 0.9 ** (number + 1), 1 - 0.999 ** (number + 1)
    p = jax.tree.map(lambda a, m, v: a - rate / first * m / (jnp.sqrt(v / second) + 1e-8), p, means, squares)
    return p, (means, squares)


@partial(jax.jit, static_argnames=("row", "share"), donate_argnames=("p", "moments", "carried", "number"))
def step(row, share, p, moments, carried, number, key, batch):
    key = jax.random.fold_in(key, number.astype(jnp.int32))
    (value, carried), gradients = jax.value_and_grad(MODELS[row], has_aux=True)(p, carried, share, key, *batch)
    p, moments = updated(row, p, moments, number, gradients)
    return value, p, moments, carried, number + 1


def _turned(array: np.ndarray, back: bool = False) -> np.ndarray:
    """A weight between PyTorch's axes and JAX's."""
    if array.ndim == 4:
        return array.transpose((3, 2, 0, 1) if back else (2, 3, 1, 0))
    return array.T


def make(problem: Problem, threads: int) -> tuple[Callable[[], Any], Callable[[Any], tuple[Any, Arrays]]]:
    row = problem.row
    jax.config.update("jax_enable_x64", models.ROWS[row].dtype == "float64")
    small = row in ("srn", "lstm_gates")

    def turns_over(name: str) -> bool:
        return not small and "embedding" not in name

    arrays = {name: _turned(array) if turns_over(name) else array for name, array in problem.parameters.items()}
    arrays = {name: jnp.array(array) for name, array in arrays.items()}
    p = {name: array for name, array in arrays.items() if "running" not in name}
    carried: Any = {name: array for name, array in arrays.items() if "running" in name}
    if row == "ptb_lm":
        carried = (jnp.zeros((20, 200)), jnp.zeros((20, 200)))
    elif row == "time_machine":
        carried = jnp.zeros((32, 256))
    plain = small or row == "time_machine"
    moments = () if plain else (jax.tree.map(jnp.zeros_like, p), jax.tree.map(lambda a: jnp.full_like(a, models.SQUARES), p))
    batches = problem.batches
    if row == "resnet9_cifar10":
        batches = [(np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels) for images, labels in batches]
    turns = cycle([tuple(map(jnp.asarray, batch)) for batch in batches])
    held = [p, moments, carried, jnp.float32(models.STEPS_BEFORE)]
    key = jax.random.key(0)
    share = 0.0

    def run() -> Any:
        nonlocal share
        value, *held[:] = jax.block_until_ready(step(row, share, *held, key, next(turns)))
        share = DROPPED.get(row, 0.0)
        return value

    def found(value: Any) -> tuple[Any, Arrays]:
        after = {**held[0], **(held[2] if isinstance(held[2], dict) else {})}
        arrays = {name: np.array(array) for name, array in after.items()}
        return np.asarray(value), {name: _turned(array, True) if turns_over(name) else array for name, array in arrays.items()}

    return run, found
