"""An encoder and a decoder with attention: sums such as 16+75, character by character, or sentences from English to French.

    python examples/seq2seq.py [--task addition] [--data ../shared/data/translation] [--epochs 20]

Sums count as right where every character of the answer is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import draw, options, train

import irdl
from irdl import nn, optim
from irdl.data import ArrayDataset, DataLoader, TranslationPairs, Vocabulary

PAD = -100  # no label: counts for nothing


@dataclass
class Task:
    """Sources (pairs, steps) and their lengths, targets that begin with `begin`, and the labels that follow each token of a target."""

    source: np.ndarray
    lengths: np.ndarray
    target: np.ndarray
    labels: np.ndarray
    source_vocab: Vocabulary
    target_vocab: Vocabulary
    begin: int
    end: int
    joint: str

    def part(self, places: np.ndarray) -> ArrayDataset:
        return ArrayDataset(self.source[places], self.lengths[places], self.target[places], self.labels[places])

    def text(self, vocab: Vocabulary, tokens: np.ndarray) -> str:
        return self.joint.join(token for token in vocab.to_tokens(tokens) if token not in (" ", "<eos>"))


def addition(folder: Path, count: int | None) -> Task:
    """Lines such as `16+75  _91  `; a blank ends both sides."""
    path = folder / "addition.txt"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: put sums there, a line each, such as `16+75  _91  `")
    lines = path.read_text(encoding="ascii").splitlines()[:count]
    vocab = Vocabulary(sorted("0123456789+_ "))
    tokens = np.array([vocab[list(line)] for line in lines])
    middle = lines[0].index("_")
    lengths = np.array([len(line[:middle].rstrip()) for line in lines])
    target, labels = tokens[:, middle:-1], tokens[:, middle + 1 :]
    return Task(tokens[:, :middle], lengths, target, labels, vocab, vocab, vocab["_"], vocab[" "], "")


def translation(folder: Path, count: int | None) -> Task:
    pairs = TranslationPairs(folder / "eng-fra-5000.txt", num_examples=count)
    pad = pairs.target_vocab["<pad>"]
    labels = np.concatenate([pairs.target[:, 1:], np.full((len(pairs), 1), pad)], axis=1)
    labels = np.where(labels == pad, PAD, labels)
    begin, end = (pairs.target_vocab[token] for token in ("<bos>", "<eos>"))
    return Task(pairs.source, pairs.source_lengths, pairs.target, labels, pairs.source_vocab, pairs.target_vocab, begin, end, " ")


def main(arguments: list[str] | None = None) -> float:
    parser = options(__doc__, epochs=20, data="../shared/data/translation")
    parser.add_argument("--task", choices=("addition", "translation"), default="addition")
    parser.add_argument("--pairs", type=int, help="read no more of them")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=128)
    parsed = parser.parse_args(arguments)
    nn.manual_seed(0)
    task = (addition if parsed.task == "addition" else translation)(parsed.data, parsed.pairs)
    places = np.random.default_rng(0).permutation(len(task.source))
    test, data = (task.part(part) for part in np.split(places, [len(places) // 10]))
    model = nn.Seq2Seq(len(task.source_vocab), len(task.target_vocab), 32, parsed.hidden, attention=True)
    loader = DataLoader(data, parsed.batch, shuffle=True, drop_last=True)
    steps = parsed.epochs * len(loader)
    optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.Adam(optim.cosine_decay(1e-2, steps)))
    memory = optimizer.init(model)

    @irdl.jit(backend=parsed.backend, donate_argnums=(0, 1))
    def step(model: nn.Module, memory: Any, source: Any, lengths: Any, target: Any, labels: Any) -> Any:
        def objective(model: nn.Module) -> Any:
            return nn.softmax_cross_entropy(model(source, target, lengths), labels, ignore_index=PAD)

        value, gradient = irdl.value_and_grad(objective)(model)
        updates, memory = optimizer.update(gradient, memory, model)
        return optim.apply_updates(model, updates), memory, value

    def take(batch: Any) -> float:
        nonlocal model, memory
        model, memory, value = step(model, memory, *batch)
        return float(value)

    curve = train(parsed.epochs, lambda epoch: loader, take, lambda value: f"loss {value:.4f}")
    draw(curve, parsed.curve, "loss")

    @irdl.jit(backend=parsed.backend)
    def said(model: nn.Seq2Seq, source: Any, lengths: Any) -> Any:
        return model.decode(source, task.begin, task.end, task.labels.shape[1], lengths)

    right = 0
    for source, lengths, _, labels in DataLoader(test, parsed.batch):
        wanted = np.where(labels == PAD, task.end, labels)
        right += int((said(model, source, lengths) == wanted).all(axis=1).sum())
    share = 100 * right / len(test)
    source, lengths, _, _ = test.batch(range(min(5, len(test))))
    for question, length, answer in zip(source, lengths, said(model, source, lengths), strict=True):
        print(task.text(task.source_vocab, question[:length]), "->", task.text(task.target_vocab, answer))
    print(f"loss {curve[-1]:.4f}; {share:.1f} % of {len(test):,} held-out pairs are answered exactly")
    return share


if __name__ == "__main__":
    main()
