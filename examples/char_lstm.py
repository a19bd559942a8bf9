"""A character language model in plain NumPy, compiled into one native training step.

    python examples/char_lstm.py [--text FILE] [--steps 300] [--hidden 256]

`cell`, `loss` and `adam` are NumPy: call them with arrays and they run as such. `irdl.jit` turns the whole step (forward,
backward through time, clipping, Adam) into one native function that updates the parameters in place.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from tqdm import tqdm

import irdl


def cell(params, carry, x):
    """One LSTM step. carry: (h, c), each [batch, hidden]; x: [batch, 4 * hidden], the input's share of the gates."""
    h, c = carry
    i, f, g, o = np.split(x + h @ params["U"] + params["b"], 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return (h, c), h


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def forward(params, tokens, carry):
    """tokens: int [time, batch] -> (carry, logits [time, batch, vocabulary])."""
    carry, hs = irdl.scan(lambda carry, t: cell(params, carry, params["W"][t]), carry, tokens)
    return carry, hs @ params["V"] + params["c"]


def loss(params, tokens, targets, carry):
    """Mean cross-entropy in nats per character, and the carry for the next piece of text."""
    carry, logits = forward(params, tokens, carry)
    top = logits.max(axis=-1, keepdims=True)
    normaliser = np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]
    picked = np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return (normaliser - picked).mean(), carry


def adam(params, moments, step, gradients, rate=2e-3, limit=1.0):
    """Clip the gradients' global norm to `limit`, then one Adam update."""
    norm = np.sqrt(sum((g * g).sum() for g in gradients.values()))
    scale = np.minimum(1.0, limit / (norm + 1e-6))
    first, second, updated = {}, {}, {}
    for name, g in gradients.items():
        g = g * scale
        first[name] = 0.9 * moments[0][name] + 0.1 * g
        second[name] = 0.999 * moments[1][name] + 0.001 * g * g
        m = first[name] / (1 - 0.9 ** (step + 1))
        v = second[name] / (1 - 0.999 ** (step + 1))
        updated[name] = params[name] - rate * m / (np.sqrt(v) + 1e-8)
    return updated, (first, second)


def train_step(params, moments, step, tokens, targets, carry):
    """One step on one piece of text. Everything it returns replaces what it was given."""
    (value, carry), gradients = irdl.value_and_grad(loss, has_aux=True)(params, tokens, targets, carry)
    params, moments = adam(params, moments, step, gradients)
    return params, moments, carry, value


def initialise(vocabulary, hidden, seed=0):
    rng = np.random.default_rng(seed)
    scale = hidden**-0.5
    shapes = {"W": (vocabulary, 4 * hidden), "U": (hidden, 4 * hidden), "V": (hidden, vocabulary)}
    params = {name: rng.uniform(-scale, scale, shape).astype(np.float32) for name, shape in shapes.items()}
    params["b"] = np.zeros(4 * hidden, np.float32)
    params["b"][hidden : 2 * hidden] = 1.0  # remember by default
    params["c"] = np.zeros(vocabulary, np.float32)
    return params


def zeros_like(params):
    return {name: np.zeros_like(p) for name, p in params.items()}


def load_text(path):
    """The text as token ids, and the characters they stand for."""
    if path is None:
        from pydoc_data.topics import topics  # English that every Python has

        text = "\n".join(topics[name] for name in sorted(topics))
    else:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    text = "".join(c if c == "\n" or " " <= c <= "~" else " " for c in text)
    characters = sorted(set(text))
    index = {c: i for i, c in enumerate(characters)}
    return np.array([index[c] for c in text], np.int64), characters


def sample(params, characters, hidden, backend, count=300, seed=1):
    """`count` characters drawn from the model, one compiled step each."""
    step = irdl.jit(forward, backend=backend)
    rng = np.random.default_rng(seed)
    carry = (np.zeros((1, hidden), np.float32),) * 2
    token, drawn = np.zeros((1, 1), np.int64), []
    for _ in range(count):
        carry, logits = step(params, token, carry)
        logits = np.asarray(logits)[0, 0]
        weights = np.exp((logits - logits.max()) / 0.7, dtype=np.float64)
        token = np.array([[rng.choice(len(characters), p=weights / weights.sum())]])
        drawn.append(characters[token.item()])
    return "".join(drawn)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", help="a text file; the default is the documentation of Python's standard library")
    parser.add_argument("--steps", type=int, default=600, help="training steps (600)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--time", type=int, default=50, help="characters per piece of text (50)")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--backend", default="cpu", help="what runs the step: cpu, cuda")
    options = parser.parse_args(arguments)

    tokens, characters = load_text(options.text)
    T, B, H = options.time, options.batch, options.hidden
    lanes = tokens[: (len(tokens) - 1) // B * B].reshape(B, -1).T
    following = tokens[1 : (len(tokens) - 1) // B * B + 1].reshape(B, -1).T
    pieces = len(lanes) // T
    if not pieces:
        parser.error(f"the text has {len(tokens)} characters; {B} lanes of {T} need {B * T + 1}")
    params = initialise(len(characters), H)
    moments = (zeros_like(params), zeros_like(params))
    start_carry = (np.zeros((B, H), np.float32), np.zeros((B, H), np.float32))

    put = irdl.device_put if options.backend == "cuda" else lambda arrays: arrays  # on a GPU they stay there

    print(f"{len(tokens):,} characters, {len(characters)} symbols, {sum(p.size for p in params.values()):,} parameters\n")
    print(irdl.trace(cell)(params, start_carry, np.zeros((B, 4 * H), np.float32)))

    start = time.perf_counter()
    params, moments, carry = put((params, moments, start_carry))
    compiler = irdl.compile(train_step, donate_argnums=(0, 1, 5), backend=options.backend)
    step = compiler(params, moments, np.float32(0), lanes[:T], following[:T], carry)
    print(f"compiled forward, backward, clipping and Adam into one function in {time.perf_counter() - start:.2f} s\n")

    bar, average = tqdm(range(options.steps), unit="step"), None
    for number in bar:
        piece = number % pieces
        if piece == 0:
            carry = put(irdl.tree.map(np.copy, start_carry))
        part = slice(piece * T, piece * T + T)
        params, moments, carry, value = step(params, moments, np.float32(number), lanes[part], following[part], carry)
        value = float(value)
        average = value if average is None else 0.95 * average + 0.05 * value
        bar.set_postfix(loss=f"{average:.3f}")

    print(f"\nloss {average:.3f} nats per character; a sample:\n\n{sample(params, characters, H, options.backend)}\n")
    compare_speed(step, params, moments, lanes[:T], following[:T], carry)


def compare_speed(step, params, moments, tokens, targets, carry, repeats=5):
    """The same step run eagerly by NumPy (gradients by `irdl.grad`, untraced), and the compiled one, each one after the other as in
    training: each hands its results to the next."""
    compiled, eager = [], []
    numbers = irdl.device_get((params, moments, carry))
    for _ in range(repeats):
        start = time.perf_counter()
        train_step(*numbers[:2], np.float32(1), tokens, targets, numbers[2])
        eager.append(time.perf_counter() - start)
    for _ in range(8 * repeats):
        start = time.perf_counter()
        params, moments, carry, value = step(params, moments, np.float32(1), tokens, targets, carry)
        float(value)  # a GPU works on its own until it is asked
        compiled.append(time.perf_counter() - start)
    fast, slow = np.median(compiled), np.median(eager)
    print(f"compiled step: {1e3 * fast:.1f} ms; the same step in eager NumPy: {1e3 * slow:.1f} ms ({slow / fast:.1f}x)")
    print("(benchmarks/ compares with a training step written by hand in NumPy)")


if __name__ == "__main__":
    main()
