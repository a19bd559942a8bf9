"""A guitar amplifier: an LSTM learns what it does to a signal, and becomes C code that plays in real time.

    python examples/guitar_amp.py [--steps 400] [--block 64] [--folder build] [--target TRIPLE] [--cpu NAME]

The amplifier is a distortion with a memory, simulated sample by sample; plucked strings by Karplus and Strong (1983) go through it. Then
`irdl.export` makes `amp.o` and `amp.h` of the trained model, with its weights inside, for this machine or another: `amp_state` is what the
LSTM remembers from block to block. Where there is a C compiler, a C program runs it and compares it with NumPy, and measures it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

import irdl
from irdl import nn, optim

RATE, HIDDEN = 48_000, 16


@irdl.jit
def plucked(noise: Any) -> Any:
    """Strings (samples, voices): a burst of noise that goes around a delay line and loses its highs. `noise`: what lies in the line."""
    ring = noise + 0

    def step(ring: Any, _: Any) -> Any:
        new = 0.498 * (ring[0] + ring[1])
        return np.concatenate([ring[1:], new[None]]), ring[0]

    return irdl.scan(step, ring, None, length=6_144)[1]


@irdl.jit
def amplifier(x: Any) -> Any:
    """The real thing, sample by sample: a stage that clips one side sooner, whose bias sags after loud notes, and a loudspeaker."""

    def step(carry: Any, x: Any) -> Any:
        sag, low = carry
        driven = np.tanh(6 * x - sag) + 0.3 * np.tanh(2 * x)
        sag = 0.998 * sag + 0.002 * np.abs(driven)
        low = low + 0.35 * (driven - low)
        return (sag, low), low

    return irdl.scan(step, (np.zeros_like(x[0]), np.zeros_like(x[0])), x)[1]


class Model(nn.Module):
    """An LSTM beside the signal itself."""

    def __init__(self) -> None:
        self.lstm = nn.LSTM(1, HIDDEN)
        self.out = nn.Linear(HIDDEN, 1)

    def forward(self, x: Any, state: Any = None) -> Any:
        """x: (samples, voices). Returns the sound and the state."""
        y, state = self.lstm(x[:, :, None], state)
        return self.out(y)[:, :, 0] + x, state


def error(model: Any, x: Any, y: Any) -> Any:
    """The energy of what is wrong, of the sound's own energy; the first samples only fill the memory."""
    wrong = (model(x)[0] - y)[128:]
    return (wrong**2).mean() / (y[128:] ** 2).mean()


class Amp:
    """The trained model as it plays: it keeps its state from block to block."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.h = np.zeros((1, 1, HIDDEN), np.float32)
        self.c = np.zeros((1, 1, HIDDEN), np.float32)

    def process(self, x: Any) -> Any:
        """A block of samples."""
        y, (self.h, self.c) = self.model(x[:, None], (self.h, self.c))
        return y[:, 0]


def trained(steps: int, x: Any, y: Any) -> Model:
    model, optimizer = Model(), optim.Adam(optim.cosine_decay(1e-2, steps))
    state = optimizer.init(model)

    @irdl.jit
    def step(model: Any, state: Any, x: Any, y: Any) -> Any:
        value, gradient = irdl.value_and_grad(error)(model, x, y)
        updates, state = optimizer.update(gradient, state, model)
        return optim.apply_updates(model, updates), state, value

    draw = np.random.default_rng(1)
    for number in range(steps):
        start = int(draw.integers(len(x) - 512))
        model, state, value = step(model, state, x[start : start + 512], y[start : start + 512])
        if number % (steps // 4 or 1) == 0:
            print(f"step {number}: error {value:.3f}")
    return model


MAIN = """
#include <stdio.h>
#include <time.h>
#include "amp.h"

static amp_state state;
static float x[{block}], y[{block}];
static _Alignas(64) unsigned char memory[AMP_MEMORY_BYTES];

int main(void) {{
    state = amp_initial;
    clock_t start = clock();
    for (int block = 0; block < {blocks}; block++) {{
        for (int i = 0; i < {block}; i++) x[i] = (float)(i % 37) / 37 - 0.5f;
        amp(&state, x, y, memory);
    }}
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    printf("in C: %.2f us a block of {block}, %.0f times as fast as it plays\\n", 1e6 * seconds / {blocks}, {blocks}.0 * {block} / {rate} / seconds);
    return 0;
}}
"""


def tried(folder: Path, block: int) -> None:
    """Compare with NumPy in C, and measure."""
    (folder / "main.c").write_text(MAIN.format(block=block, blocks=20_000, rate=RATE))
    for name in ("amp_test", "main"):
        subprocess.run(["cc", "-O2", f"{name}.c", "amp.o", "-lm", "-o", name], cwd=folder, check=True)
        print(subprocess.run([folder.resolve() / name], capture_output=True, text=True, check=True).stdout.strip())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--block", type=int, default=64, help="samples that a call takes")
    parser.add_argument("--folder", default="build", help="where the C code goes")
    parser.add_argument("--target", help="another machine than this one, as aarch64-linux-gnu")
    parser.add_argument("--cpu", help="its processor, as cortex-a72")
    options = parser.parse_args(arguments)
    draw = np.random.default_rng(0)
    x = np.concatenate([plucked(draw.uniform(-1, 1, (period, 8)).astype(np.float32)) for period in (90, 137, 218, 300)], 1)
    y = amplifier(x)
    start = time.perf_counter()
    model = trained(options.steps, x[:, :-1], y[:, :-1])
    unheard = float(error(model, x[:, -1:], y[:, -1:]))
    print(f"trained in {time.perf_counter() - start:.0f} s; of a string that it has not heard, error {unheard:.3f}")

    exported = irdl.export(Amp(model).process, name="amp", target=options.target, cpu=options.cpu)(x[: options.block, 0])
    folder = Path(options.folder)
    path = exported.save(folder, test=True)
    print(f"{path}: {len(exported.object_file)} bytes for {exported.target}, {exported.state_bytes} of state")
    if options.target is None and shutil.which("cc"):
        tried(folder, options.block)


if __name__ == "__main__":
    main()
