"""What the examples share: options, the bar, the curve of the loss."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm


def options(description: str | None, epochs: int, data: str | None = None) -> argparse.ArgumentParser:
    """--backend, --epochs, --curve, and --data where there is some."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--backend", default="cpu", help="what runs the compiled step")
    parser.add_argument("--epochs", type=int, default=epochs, help="how often the data are gone through")
    parser.add_argument("--curve", type=Path, help="draw the loss into this file (needs matplotlib)")
    if data is not None:
        parser.add_argument("--data", type=Path, default=Path(data), help="where the data are")
    return parser


def train(epochs: int, batches: Callable[[int], Iterable[Any]], step: Callable[[Any], float], shown: Callable[[float], str]) -> list[float]:
    """Take a step for each batch of each epoch, with a bar; the mean loss of each epoch."""
    curve: list[float] = []
    steps, start = 0, time.perf_counter()
    with tqdm(range(epochs), unit="epoch") as bar:
        for epoch in bar:
            losses = [step(batch) for batch in batches(epoch)]
            curve.append(sum(losses) / len(losses))
            steps += len(losses)
            bar.set_postfix_str(f"{shown(curve[-1])}, {steps / (time.perf_counter() - start):.0f} steps/s")
    return curve


def draw(curve: list[float], path: Path | None, label: str) -> None:
    """The losses of the epochs as a picture."""
    if path is None:
        return
    import matplotlib.pyplot as plt

    plt.figure(figsize=(5, 3))
    plt.plot(range(1, len(curve) + 1), curve)
    plt.xlabel("epoch")
    plt.ylabel(label)
    plt.tight_layout()
    plt.savefig(path)
