"""`python -m benchmarks.exported --rtneural CHECKOUT [--eigen FOLDER]`: an exported LSTM layer of one input, with a dense one behind it,
beside RTNeural's (github.com/jatinchowdhury18/RTNeural, with Eigen) of the same weights, in one C++ program made for this processor.

They are compared first (the worst difference is the last column), then they take turns; the least of 300 rounds of 4,000 samples.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import irdl

_FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffast-math", "-DRTNEURAL_DEFAULT_ALIGNMENT=32", "-DRTNEURAL_USE_EIGEN=1")


class Layer:
    def __init__(self, hidden: int) -> None:
        numbers = np.random.default_rng(0)
        shapes = {"W": (1, 4 * hidden), "U": (hidden, 4 * hidden), "b": (4 * hidden,), "V": (hidden, 1), "c": (1,)}
        self.weights = {name: (0.3 * numbers.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
        self.h = np.zeros((1, hidden), np.float32)
        self.c = np.zeros((1, hidden), np.float32)

    def process(self, xs: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            h, c = carry
            i, f, g, o = np.split(x[None, None] @ w["W"] + h @ w["U"] + w["b"], 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            return (h, c), (h @ w["V"] + w["c"])[0, 0]

        w = self.weights
        (self.h, self.c), ys = irdl.scan(step, (self.h, self.c), xs)
        return ys


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def measured(hidden: int, block: int, includes: list[str], folder: Path) -> list[float]:
    """Nanoseconds a sample of irdl and of RTNeural, and how far their sounds are apart."""
    layer = Layer(hidden)
    irdl.export(layer.process, name="model")(np.zeros(block, np.float32)).save(folder)
    lines = [f"constexpr int HIDDEN = {hidden}, BLOCK = {block};"]
    for name, array in layer.weights.items():
        lines.append(f"static const float {name}[] = {{{', '.join(map(str, array.reshape(-1).tolist()))}}};")
    (folder / "weights.h").write_text("\n".join(lines) + "\n")
    source = Path(__file__).with_name("beside.cpp")
    paths = [f"-I{path}" for path in (folder, *includes)]
    subprocess.run(["g++", "-w", *_FLAGS, *paths, source, folder / "model.o", "-o", folder / "beside"], check=True)
    done = subprocess.run([folder / "beside"], capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rtneural", required=True, help="a checkout of RTNeural")
    parser.add_argument("--eigen", default="/usr/include/eigen3", help="Eigen's headers")
    options = parser.parse_args()
    includes = [options.rtneural, options.eigen, f"{options.rtneural}/modules/json"]
    print("| hidden | block | irdl | RTNeural | RTNeural / irdl | apart |\n| --- | --- | --- | --- | --- | --- |")
    for hidden in (8, 16, 24, 32, 40, 64):
        for block in (1, 64):
            with tempfile.TemporaryDirectory() as folder:
                ours, theirs, worst = measured(hidden, block, includes, Path(folder))
            print(f"| {hidden} | {block} | {ours:.0f} ns | {theirs:.0f} ns | {theirs / ours:.2f} | {worst:.0e} |", flush=True)


if __name__ == "__main__":
    main()
