"""A model of a text's words: an LSTM trained through 30 steps at a time, its state carried on from piece to piece.

    python examples/ptb_lm.py [--data ../shared/data/text] [--epochs 8] [--cell LSTM]

`--data` is a folder with the Penn Treebank's `ptb.train.txt`, `ptb.valid.txt` and `ptb.test.txt`. Where there is none, The Time Machine
takes its place: the last tenth is what the model is tested with, and words that come once are `<unk>`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import draw, options, train

import irdl
from irdl import nn, optim
from irdl.data import PennTreebank, TimeMachine, batchify, get_batch


class Model(nn.Module):
    """Words (steps, batch) and a state to logits and the next state."""

    def __init__(self, words: int, embedding: int, hidden: int, cell: str, dropout: float) -> None:
        self.embedding = nn.Embedding(words, embedding)
        self.rnn = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}[cell](embedding, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, words)

    def forward(self, tokens: Any, state: Any) -> tuple[Any, Any]:
        hs, state = self.rnn(self.dropout(self.embedding(tokens)), state)
        return self.out(self.dropout(hs)), state


def texts(folder: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Words to train on, words to test with, and how many different ones there are."""
    if not (folder / "timemachine.txt").exists() or (folder / "ptb.train.txt").exists():
        corpus = PennTreebank(folder)
        return corpus.train, corpus.test, len(corpus.dictionary)
    book = TimeMachine(folder, token="word")
    known = 1 + sum(count > 1 for _, count in book.vocab.token_freqs)  # the vocabulary begins with the commonest
    words = np.where(book.corpus < known, book.corpus, book.vocab["<unk>"])
    return *np.split(words, [len(words) * 9 // 10]), known


def pieces(columns: np.ndarray, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The text through which one goes in an epoch; what is left at its end is shorter, and left out."""
    return (get_batch(columns, start, steps) for start in range(0, (len(columns) - 1) // steps * steps, steps))


def main(arguments: list[str] | None = None) -> float:
    parser = options(__doc__, epochs=8, data="../shared/data/text")
    parser.add_argument("--cell", choices=("LSTM", "GRU", "RNN"), default="LSTM")
    parser.add_argument("--hidden", type=int, default=200)
    parser.add_argument("--steps", type=int, default=30, help="how far back a gradient goes")
    parser.add_argument("--batch", type=int, default=20)
    parsed = parser.parse_args(arguments)
    nn.manual_seed(0)
    train_words, test_words, count = texts(parsed.data)
    model = Model(count, parsed.hidden, parsed.hidden, parsed.cell, dropout=0.3)
    optimizer = optim.chain(optim.clip_by_global_norm(0.5), optim.Adam(2e-3))
    memory = optimizer.init(model)
    zeros = np.zeros((1, parsed.batch, parsed.hidden), np.float32)
    start = (zeros, zeros) if parsed.cell == "LSTM" else zeros

    def loss(model: Model, tokens: Any, targets: Any, state: Any) -> Any:
        logits, after = model(tokens, state)
        return nn.softmax_cross_entropy(logits, targets), after

    @irdl.jit(backend=parsed.backend, donate_argnums=(0, 1))
    def step(model: Model, memory: Any, tokens: Any, targets: Any, state: Any) -> Any:
        (value, after), gradient = irdl.value_and_grad(loss, has_aux=True)(model, tokens, targets, state)
        updates, memory = optimizer.update(gradient, memory, model)
        return optim.apply_updates(model, updates), memory, after, value

    measure = irdl.jit(loss, backend=parsed.backend)
    train_columns, test_columns = (batchify(words, parsed.batch) for words in (train_words, test_words))
    state: Any = start
    tests: list[float] = []

    def batches(epoch: int) -> Iterator[Any]:
        nonlocal state
        state = start
        yield from pieces(train_columns, parsed.steps)
        tests.append(test())

    def test() -> float:
        model.eval()
        state, losses = start, []
        for tokens, targets in pieces(test_columns, parsed.steps):
            value, state = measure(model, tokens, targets, state)
            losses.append(float(value))
        model.train()
        return math.exp(sum(losses) / len(losses))

    def take(batch: Any) -> float:
        nonlocal model, memory, state
        model, memory, state, value = step(model, memory, *batch, state)
        return float(value)

    curve = train(parsed.epochs, batches, take, lambda value: f"perplexity {math.exp(value):.1f}")
    draw([math.exp(value) for value in curve], parsed.curve, "perplexity")
    print(f"{len(train_words):,} words, {count:,} different ones")
    for epoch, (value, tested) in enumerate(zip(curve, tests, strict=True), 1):
        print(f"epoch {epoch}: perplexity {math.exp(value):.1f}, {tested:.1f} of the test text")
    return tests[-1]


if __name__ == "__main__":
    main()
