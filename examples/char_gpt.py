"""A character GPT in plain NumPy: one native training step, and a generator whose caches are stored into where they lie.

    python examples/char_gpt.py [--text FILE] [--steps 400] [--width 128]

`block`, `loss` and `generate` are NumPy: call them with arrays and they run as such. Of a Transformer nothing is built in: attention
is two products and a softmax (Vaswani et al. 2017; layers are normalised first, as in GPT-2).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from char_lstm import adam, load_text
from tqdm import tqdm

import irdl

HEADS, LAYERS = 4, 2


def normalised(x, gain, bias):
    """Each vector's mean 0 and variance 1, then scaled and moved. x: [..., width]."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return gain * centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) + bias


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978846 * (x + 0.044715 * x**3)))


def heads(x):
    """[batch, time, width] -> [batch, heads, time, width / heads]"""
    return x.reshape(*x.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)


def attend(queries, keys, values, visible):
    """What each query finds. queries: [batch, heads, n, d]; keys, values: [batch, heads, m, d]; visible: bool [n, m]."""
    scores = queries @ keys.swapaxes(-1, -2) / np.sqrt(queries.shape[-1], dtype=np.float32)
    found = softmax(np.where(visible, scores, np.float32(-1e30))) @ values
    return found.transpose(0, 2, 1, 3).reshape(found.shape[0], found.shape[2], -1)


def block(params, x, remember):
    """One layer. x: [batch, time, width]; `remember(keys, values)` gives those to look at, and which are visible."""
    queries, keys, values = (heads(part) for part in np.split(normalised(x, *params["before"]) @ params["qkv"], 3, axis=-1))
    x = x + attend(queries, *remember(keys, values)) @ params["out"]
    return x + gelu(normalised(x, *params["between"]) @ params["up"]) @ params["down"]


def forward(params, tokens):
    """tokens: int [batch, time] -> logits [batch, time, vocabulary]."""
    length = tokens.shape[1]
    past = np.tri(length, dtype=bool)
    x = params["tokens"][tokens] + params["places"][:length]
    for layer in params["layers"]:
        x = block(layer, x, lambda keys, values: (keys, values, past))
    return normalised(x, *params["last"]) @ params["tokens"].T


def loss(params, tokens, targets):
    """Mean cross-entropy in nats per character."""
    logits = forward(params, tokens)
    top = logits.max(axis=-1, keepdims=True)
    normaliser = np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]
    return (normaliser - np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]).mean()


def train_step(params, moments, step, tokens, targets):
    """One step on some pieces of text. Everything it returns replaces what it was given."""
    value, gradients = irdl.value_and_grad(loss)(params, tokens, targets)
    leaves, tree = irdl.tree.flatten(params)
    named = [dict(enumerate(part)) for part in (leaves, irdl.tree.leaves(gradients))]
    updated, moments = adam(named[0], moments, step, named[1])
    return irdl.tree.unflatten(tree, list(updated.values())), moments, value


def generate(params, key, begin, count, temperature=0.7):
    """`count` tokens drawn from the model one after the other, behind a first one. begin: int [batch] -> int [count, batch].

    Each step computes one place; the keys and values of those before are in `caches`, which it stores into.
    """
    batch, width = len(begin), params["tokens"].shape[1]
    caches = [[np.zeros((batch, HEADS, count, width // HEADS), np.float32) for _ in range(2)] for _ in params["layers"]]
    keys, tokens, drawn = irdl.random.split(key, count), begin, np.zeros((count, batch), np.int64)
    for place in range(count):
        x = (params["tokens"][tokens] + params["places"][place])[:, None]
        for layer, cache in zip(params["layers"], caches, strict=True):

            def remember(keys, values, cache=cache, place=place):
                cache[0][:, :, place], cache[1][:, :, place] = keys[:, :, 0], values[:, :, 0]
                return (*cache, np.arange(count) <= place)

            x = block(layer, x, remember)
        logits = normalised(x, *params["last"]) @ params["tokens"].T
        tokens = drawn[place] = irdl.random.categorical(keys[place], logits[:, 0] / temperature)
    return drawn


def initialise(vocabulary, width, length, seed=0):
    rng = np.random.default_rng(seed)

    def normal(*shape, scale=0.02):
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    def norm():
        return np.ones(width, np.float32), np.zeros(width, np.float32)

    layers = [
        {
            "before": norm(),
            "qkv": normal(width, 3 * width),
            "out": normal(width, width, scale=0.02 / np.sqrt(2 * LAYERS)),
            "between": norm(),
            "up": normal(width, 4 * width),
            "down": normal(4 * width, width, scale=0.02 / np.sqrt(2 * LAYERS)),
        }
        for _ in range(LAYERS)
    ]
    return {"tokens": normal(vocabulary, width), "places": normal(length, width), "layers": layers, "last": norm()}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", help="a text file; the default is the documentation of Python's standard library")
    parser.add_argument("--steps", type=int, default=400, help="training steps (400)")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--time", type=int, default=128, help="characters that it looks back (128)")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--backend", default="cpu", help="what runs the step: cpu, cuda")
    options = parser.parse_args(arguments)

    text, characters = load_text(options.text)
    if len(text) <= options.time:
        parser.error(f"the text has {len(text)} characters, of which {options.time + 1} are one piece")
    params = initialise(len(characters), options.width, options.time)
    moments = tuple({place: np.zeros_like(p) for place, p in enumerate(irdl.tree.leaves(params))} for _ in range(2))
    print(f"{len(text):,} characters, {len(characters)} symbols, {sum(p.size for p in irdl.tree.leaves(params)):,} parameters\n")

    if options.backend == "cuda":
        params, moments = irdl.device_put((params, moments))
    step = irdl.jit(train_step, donate_argnums=(0, 1), backend=options.backend)
    rng, average = np.random.default_rng(1), None
    bar = tqdm(range(options.steps), unit="step")
    for number in bar:
        pieces = text[rng.integers(len(text) - options.time, size=options.batch)[:, None] + np.arange(options.time + 1)]
        params, moments, value = step(params, moments, np.float32(number), pieces[:, :-1], pieces[:, 1:])
        average = float(value) if average is None else 0.95 * average + 0.05 * float(value)
        bar.set_postfix(loss=f"{average:.3f}")

    begin = np.array([characters.index("\n")])
    draw = irdl.jit(generate, static_argnums=3, backend=options.backend)
    drawn = np.asarray(draw(params, irdl.random.key(0), begin, options.time))
    start = time.perf_counter()
    np.asarray(draw(params, irdl.random.key(1), begin, options.time))
    seconds = (time.perf_counter() - start) / options.time
    print(f"\nloss {average:.3f} nats per character; a sample, {1e6 * seconds:.0f} us a character:\n")
    print("".join(characters[token] for token in drawn[:, 0]))


if __name__ == "__main__":
    main()
