"""A character model of The Time Machine: a recurrent layer of 256 units, trained through 35 steps at a time.

    python examples/time_machine.py [--data ../shared/data/text] [--epochs 500] [--sampling sequential]

From scratch, in plain NumPy, and concisely, with `nn.RNN`: the two give the same loss. One compiled step does forward, backward, clipping
and update; with sequential sampling the state is carried from piece to piece.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from common import draw, options, train

import irdl
from irdl import nn, optim
from irdl.data import TimeMachine

HIDDEN, STEPS, BATCH, RATE = 256, 35, 32, 1.0


class Model(nn.Module):
    """Characters (steps, batch) and a state to logits and the next state."""

    def __init__(self, size: int, hidden: int = HIDDEN) -> None:
        self.size = size
        self.rnn = nn.RNN(size, hidden)
        self.out = nn.Linear(hidden, size)

    def forward(self, tokens: Any, state: Any) -> tuple[Any, Any]:
        hs, state = self.rnn(nn.one_hot(tokens, self.size), state)
        return self.out(hs), state


def from_scratch(params: dict[str, Any], tokens: Any, state: Any) -> tuple[Any, Any]:
    """The same in plain NumPy, with the model's parameters by their names."""
    bias = params["rnn.bias_ih_l0"] + params["rnn.bias_hh_l0"]
    h, outputs = state[0], []
    for t in range(len(tokens)):
        h = np.tanh(params["rnn.weight_ih_l0"].T[tokens[t]] + h @ params["rnn.weight_hh_l0"].T + bias)
        outputs.append(h @ params["out.weight"].T + params["out.bias"])
    return np.stack(outputs), h[None]


def loss(logits: Any, targets: Any) -> Any:
    return nn.softmax_cross_entropy(logits, targets)


def generate(model: Model, book: TimeMachine, prefix: str, count: int) -> str:
    """The prefix, and the likeliest character after the other."""

    @irdl.jit
    def following(model: Model, token: Any, state: Any) -> Any:
        logits, state = model(token, state)
        return np.argmax(logits[0], axis=-1), state

    text, state = list(prefix), np.zeros((1, 1, model.rnn.hidden_size), np.float32)
    for character in prefix:
        token, state = following(model, np.array([[book.vocab[character]]]), state)
    for _ in range(count):
        text.append(book.vocab.to_tokens(int(token[0])))
        token, state = following(model, token[None], state)
    return "".join(text)


def main(arguments: list[str] | None = None) -> float:
    parser = options(__doc__, epochs=500, data="../shared/data/text")
    parser.add_argument("--sampling", choices=("sequential", "random"), default="sequential")
    parser.add_argument("--tokens", type=int, default=10_000, help="how many characters are trained on")
    parsed = parser.parse_args(arguments)
    nn.manual_seed(0)
    book = TimeMachine(parsed.data, max_tokens=parsed.tokens)
    model = Model(len(book.vocab))
    optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.SGD(RATE))
    memory = optimizer.init(model)
    zeros = np.zeros((1, BATCH, HIDDEN), np.float32)

    @irdl.jit(backend=parsed.backend, donate_argnums=(0, 1))
    def step(model: Model, memory: Any, tokens: Any, targets: Any, state: Any) -> Any:
        def objective(model: Model) -> Any:
            logits, after = model(tokens, state)
            return loss(logits, targets), after

        (value, after), gradient = irdl.value_and_grad(objective, has_aux=True)(model)
        updates, memory = optimizer.update(gradient, memory, model)
        return optim.apply_updates(model, updates), memory, after, value

    tokens, targets = (array.T for array in next(iter(book.sequential(BATCH, STEPS))))
    concise = loss(model(tokens, zeros)[0], targets)
    scratch = loss(irdl.jit(from_scratch)(model.state_dict(), tokens, zeros)[0], targets)
    print(f"loss before training: {concise:.6f} with nn.RNN, {scratch:.6f} from scratch")
    np.testing.assert_allclose(concise, scratch, rtol=1e-5)

    state = zeros

    def batches(epoch: int) -> Any:
        nonlocal state
        state = zeros
        pieces = book.sequential(BATCH, STEPS, seed=epoch) if parsed.sampling == "sequential" else book.random(BATCH, STEPS, epoch)
        return ((np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)) for x, y in pieces)

    def take(batch: Any) -> float:
        nonlocal model, memory, state
        model, memory, after, value = step(model, memory, *batch, state)
        state = after if parsed.sampling == "sequential" else zeros
        return float(value)

    curve = train(parsed.epochs, batches, take, lambda value: f"perplexity {math.exp(value):.2f}")
    draw([math.exp(value) for value in curve], parsed.curve, "perplexity")
    print(f"perplexity {math.exp(curve[-1]):.3f}")
    print(generate(model, book, "time traveller", 50))
    return math.exp(curve[-1])


if __name__ == "__main__":
    main()
