"""A whole training step of an LSTM language model: embedding, dropout, LSTM layers, softmax cross-entropy, backward through
time, clipping of the global norm, Adam over all parameters, which are donated.

Each peer draws its dropout masks from its own generator, so the results are checked with everything kept, and timed with half
of it dropped; the share that is kept is an argument of the compiled step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import irdl
from benchmarks.eager_lstm import adam
from benchmarks.lstm import Row as Lstm
from benchmarks.lstm import cell
from benchmarks.measure import Job, Task


@dataclass(frozen=True)
class Row:
    """Steps, batch, size of the vocabulary, hidden units (and size of an embedding), layers."""

    T: int
    B: int
    V: int
    H: int
    layers: int

    @property
    def flops(self) -> int:
        """Necessary floating-point operations of the products: forward, to both operands, and to the first layer's input."""
        layers = Lstm(self.T, self.B, self.H, self.H, self.layers).training_flops
        return layers + 2 * self.T * self.B * self.H * (3 * self.V + 4 * self.H)


ROWS = {
    "characters": Row(50, 32, 96, 256, 1),
    "words-small": Row(20, 20, 10_000, 200, 2),
    "words-medium": Row(35, 20, 10_000, 650, 2),
}
MODES = ("step",)
PEERS = ("irdl", "torch", "jax")
KEPT = 0.5
RATE = 1e-3


def work(row: str, mode: str) -> tuple[float, str]:
    return float(ROWS[row].flops), "float32"


def initialise(row: Row):
    """Parameters as a flat dict, W [H, 4H], U [H, 4H], b [4H] for each layer with gates i, f, g, o."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"embedding": (row.V, row.H)}
    for layer in range(row.layers):
        shapes |= {f"W{layer}": (row.H, 4 * row.H), f"U{layer}": (row.H, 4 * row.H), f"b{layer}": (4 * row.H,)}
    shapes |= {"decoder": (row.H, row.V), "bias": (row.V,)}
    k = row.H**-0.5
    return {name: rng.uniform(-k, k, shape).astype(np.float32) for name, shape in shapes.items()}


# As a user of irdl writes it.


def dropout(x, keep, key):
    return np.where(irdl.random.uniform(key, x.shape) < keep, x / keep, np.float32(0))


def loss(params, tokens, targets, keep, key):
    """Mean cross-entropy of the next token. tokens, targets: int64 [T, B]."""
    x = dropout(params["embedding"][tokens], keep, irdl.random.fold_in(key, 0))
    layers = sum(name.startswith("U") for name in params)
    for layer in range(layers):
        weights = [params[f"{name}{layer}"] for name in "WUb"]
        zero = np.zeros_like(x[0])
        _, x = irdl.scan(lambda carry, x, weights=weights: cell(weights, carry, x), (zero, zero), x)
        x = dropout(x, keep, irdl.random.fold_in(key, layer + 1))
    logits = x @ params["decoder"] + params["bias"]
    top = logits.max(axis=-1, keepdims=True)
    normaliser = np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]
    return (normaliser - np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]).mean()


def step(params, moments, number, tokens, targets, keep):
    key = irdl.random.fold_in(irdl.random.key(0), number)
    value, gradients = irdl.value_and_grad(loss)(params, tokens, targets, keep, key)
    return value, *adam(params, moments, number, gradients, RATE)


class Numbers:
    """The tokens, and Adam in the middle of a training, where an update does not hang on the sign of a tiny gradient."""

    def __init__(self, row: Row) -> None:
        rng = np.random.default_rng(1)
        self.params = initialise(row)
        self.tokens, self.targets = rng.integers(0, row.V, (2, row.T, row.B))
        self.number = np.float32(10)
        self.second = np.float32(1e-4)

    def moments(self, params):
        return {name: np.zeros_like(p) for name, p in params.items()}, {name: np.full_like(p, self.second) for name, p in params.items()}


def make(task: Task) -> Job:
    numbers = Numbers(ROWS[task.row])
    wide = {name: p.astype(np.float64) for name, p in numbers.params.items()}
    value, params, moments = step(wide, numbers.moments(wide), numbers.number, numbers.tokens, numbers.targets, 1.0)
    return Job(*MAKERS[task.peer](ROWS[task.row], task, numbers), _arrays((value, params, moments)), 1e-3)


def _arrays(result):
    value, params, moments = result
    return [np.asarray(a) for a in (value, *params.values(), *moments[0].values())]


def _irdl(row, task, numbers):
    params, moments = {name: p.copy() for name, p in numbers.params.items()}, numbers.moments(numbers.params)
    arguments = numbers.number, numbers.tokens, numbers.targets
    function = irdl.compile(step, donate_argnums=(0, 1))(params, moments, *arguments, np.float32(1))
    state = [params, moments, np.float32(1)]

    def run():
        value, params, moments = function(state[0], state[1], *arguments, state[2])
        state[:] = params, moments, np.float32(KEPT)
        return value, params, moments

    return run, _arrays


def _torch(row, task, numbers):
    import torch
    from torch.nn import functional

    torch.set_num_threads(task.threads)
    embedding, decoder = torch.nn.Embedding(row.V, row.H), torch.nn.Linear(row.H, row.V)
    lstm = torch.nn.LSTM(row.H, row.H, row.layers)
    places = {"embedding": embedding.weight, "decoder": decoder.weight, "bias": decoder.bias}
    for layer in range(row.layers):
        for name, theirs in zip("WUb", ("weight_ih", "weight_hh", "bias_ih"), strict=True):
            places[f"{name}{layer}"] = getattr(lstm, f"{theirs}_l{layer}")
        getattr(lstm, f"bias_hh_l{layer}").data.zero_()
        getattr(lstm, f"bias_hh_l{layer}").requires_grad_(False)
    with torch.no_grad():
        for name, p in places.items():
            transposed = name != "embedding" and p.ndim == 2
            p.copy_(torch.from_numpy(np.ascontiguousarray(numbers.params[name].T if transposed else numbers.params[name])))
    optimiser = torch.optim.Adam(places.values(), lr=RATE, fused=True)
    for p in places.values():
        moments = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.full_like(p, float(numbers.second))}
        optimiser.state[p] = {"step": torch.tensor(float(numbers.number)), **moments}
    tokens, targets = torch.from_numpy(numbers.tokens), torch.from_numpy(numbers.targets)
    dropped = [0.0]

    def run():
        optimiser.zero_grad()
        lstm.dropout = dropped[0] if row.layers > 1 else 0.0
        hidden, _ = lstm(functional.dropout(embedding(tokens), dropped[0]))
        logits = decoder(functional.dropout(hidden, dropped[0]))
        value = functional.cross_entropy(logits.view(-1, row.V), targets.view(-1))
        value.backward()
        torch.nn.utils.clip_grad_norm_(places.values(), 1.0)
        optimiser.step()
        dropped[0] = 1 - KEPT
        return value

    def arrays(value):
        def found(name, tensor):
            return tensor.numpy().T if name != "embedding" and tensor.ndim == 2 else tensor.numpy()

        firsts = [found(name, optimiser.state[places[name]]["exp_avg"]) for name in numbers.params]
        return [value.detach().numpy(), *(found(name, places[name].detach()) for name in numbers.params), *firsts]

    return run, arrays


def _jax(row, task, numbers):
    import jax
    import jax.numpy as jnp

    def dropped(x, keep, key):
        return jnp.where(jax.random.uniform(key, x.shape) < keep, x / keep, 0)

    def value_of(params, tokens, targets, keep, key):
        keys = jax.random.split(key, row.layers + 1)
        x = dropped(params["embedding"][tokens], keep, keys[0])
        for layer in range(row.layers):
            U = params[f"U{layer}"]

            def one(carry, a, U=U):
                h, c = carry
                i, f, g, o = jnp.split(a + h @ U, 4, axis=1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            zero = jnp.zeros((row.B, row.H), x.dtype)
            _, x = jax.lax.scan(one, (zero, zero), x @ params[f"W{layer}"] + params[f"b{layer}"])
            x = dropped(x, keep, keys[layer + 1])
        logs = jax.nn.log_softmax(x @ params["decoder"] + params["bias"])
        return -jnp.take_along_axis(logs, targets[..., None], axis=-1).mean()

    def whole(params, moments, number, tokens, targets, keep):
        key = jax.random.fold_in(jax.random.key(0), number.astype(jnp.int32))
        value, gradients = jax.value_and_grad(value_of)(params, tokens, targets, keep, key)
        scale = jnp.minimum(1, 1 / (jnp.sqrt(sum((g * g).sum() for g in gradients.values())) + 1e-6))
        fix1, fix2 = 1 - 0.9 ** (number + 1), 1 - 0.999 ** (number + 1)
        first = {name: 0.9 * m + 0.1 * scale * gradients[name] for name, m in moments[0].items()}
        second = {name: 0.999 * v + 0.001 * (scale * gradients[name]) ** 2 for name, v in moments[1].items()}
        params = {n: p - RATE * (first[n] / fix1) / (jnp.sqrt(second[n] / fix2) + 1e-8) for n, p in params.items()}
        return value, params, (first, second)

    function = jax.jit(whole, donate_argnums=(0, 1))
    params, moments = jax.tree.map(jnp.asarray, (numbers.params, numbers.moments(numbers.params)))
    tokens, targets = jnp.asarray(numbers.tokens), jnp.asarray(numbers.targets)
    state = [params, moments, np.float32(1)]

    def run():
        value, params, moments = jax.block_until_ready(function(state[0], state[1], numbers.number, tokens, targets, state[2]))
        state[:] = params, moments, np.float32(KEPT)
        return value, params, moments

    return run, lambda result: [
        np.asarray(a) for a in (result[0], *(result[1][n] for n in numbers.params), *(result[2][0][n] for n in numbers.params))
    ]


MAKERS = {"irdl": _irdl, "torch": _torch, "jax": _jax}
