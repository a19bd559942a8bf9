"""One whole training step of each system in `examples/`, at the sizes of its default run: forward, backward, clipping where it
clips, the optimiser's update of everything. irdl has the example's own model; PyTorch its modules and optimisers; JAX one jitted,
donated step.

Results are checked against irdl's step run eagerly by NumPy in float64. Each peer draws its dropout masks from its own generator,
so they are checked with nothing dropped; times are taken as the examples train.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from benchmarks.language_model import Row as LanguageModel
from benchmarks.lstm import Row as Lstm
from benchmarks.measure import Job, Task

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """Necessary floating-point operations of the products of a step, and the dtype that the example trains in."""

    flops: int
    dtype: str = "float32"


def product(rows: int, inputs: int, outputs: int, times: int = 3) -> int:
    """Operations of a product: forward, and to both operands (of a first layer, `times=2`: to the weights alone)."""
    return 2 * times * rows * inputs * outputs


def convolution(size: int, kernel: int, stride: int, channels: int, outputs: int, times: int = 3) -> int:
    """Likewise of a convolution of square images, padded by half its kernel: zeros of the padding need no products."""
    places = range(0, size, stride)
    taps = sum(0 <= place + tap - kernel // 2 < size for place in places for tap in range(kernel))
    return product(IMAGES * taps * taps, channels, outputs, times)


#: images in a batch of both image models
IMAGES = 100
WORDS, CHARACTERS, SIGNS = 2_183, 28, 13
#: characters of a sum, and of its answer, padded with blanks: "16+75  " and "91  "
SUM, ANSWER = 7, 4
PAIRS, EMBEDDING, HIDDEN = 128, 32, 128
SHARED = LanguageModel(30, 20, WORDS, 200, 1)

RESNET = (
    convolution(32, 7, 4, 3, 16, 2)
    + convolution(8, 3, 2, 16, 32)
    + 2 * convolution(4, 3, 1, 32, 32)
    + convolution(4, 3, 2, 32, 64)
    + convolution(2, 3, 2, 64, 128)
    + 2 * convolution(1, 3, 1, 128, 128)
    + product(IMAGES, 128, 128 + 10)
)
TRANSLATOR = (
    sum(Lstm(steps, PAIRS, EMBEDDING, HIDDEN).training_flops for steps in (SUM, ANSWER))
    + product((SUM + ANSWER) * PAIRS, EMBEDDING, 4 * HIDDEN, 1)  # to the embeddings
    + product(PAIRS * SUM, HIDDEN, HIDDEN)
    + 2 * product(PAIRS * ANSWER, HIDDEN, SUM)
    + product(PAIRS * ANSWER, 2 * HIDDEN, HIDDEN)
    + product(PAIRS * ANSWER, HIDDEN, SIGNS)
)
ROWS = {
    "srn": Row(product(3, 2, 2, 2) + 2 * product(3, 2, 2), "float64"),
    "lstm_gates": Row(Lstm(9, 1, 4, 1).training_flops, "float64"),
    "mlp_resnet_mnist": Row(product(IMAGES, 784, 100, 2) + product(IMAGES, 100, 3 * (50 + 50) + 10)),
    "resnet9_cifar10": Row(RESNET),
    "ptb_lm": Row(SHARED.flops),
    "time_machine": Row(product(35 * 32, CHARACTERS, 256, 2) + product(35 * 32, 256, 256) + product(35 * 32, 256, CHARACTERS)),
    "seq2seq": Row(TRANSLATOR),
}
MODES = ("step",)
PEERS = ("irdl", "torch", "jax")

# The optimisers are in the middle of a training when the results are checked: at Adam's first step an update is the sign of a
# gradient and nothing else, which rounding decides where that is tiny. The root of this is about as large as the gradients are.
STEPS_BEFORE = 10
SQUARES = 1e-10
#: how many steps `seq2seq` takes, at the end of which its learning rate is 0
SEQ2SEQ_STEPS = 20 * (45_000 // PAIRS)
#: batches that take turns: with a single one a model would soon have nothing left to learn
BATCHES = 4

# A difference is allowed relative to the largest number of an array, and of a parameter the change is looked at: the parameter
# itself would hardly tell whether there was an update. float32 keeps three digits of a change of 1e-4 of an embedding's numbers,
# and about as many of a bias in front of a batch norm beside its weight.
TOLERANCE = {"float32": 5e-3, "float64": 1e-9}


def work(row: str, mode: str) -> tuple[float, str]:
    return float(ROWS[row].flops), ROWS[row].dtype


def batches(row: str) -> list[tuple[np.ndarray, ...]]:
    """Random data with the shapes and dtypes that the example's loader gives."""
    rng = np.random.default_rng(1)

    def one() -> tuple[np.ndarray, ...]:
        if row == "mlp_resnet_mnist":
            return rng.random((IMAGES, 28, 28, 1), np.float32), rng.integers(0, 10, IMAGES)
        if row == "resnet9_cifar10":
            return rng.random((IMAGES, 3, 32, 32), np.float32), rng.integers(0, 10, IMAGES)
        if row == "ptb_lm":
            return tuple(rng.integers(0, WORDS, (2, SHARED.T, SHARED.B)))
        if row == "time_machine":
            return tuple(rng.integers(0, CHARACTERS, (2, 35, 32)))
        lengths = rng.choice(np.arange(3, SUM + 1), PAIRS, p=[0.001, 0.018, 0.254, 0.475, 0.252])  # as they are among the sums
        source, spoken = rng.integers(0, SIGNS, (PAIRS, SUM)), rng.integers(0, SIGNS, (PAIRS, ANSWER + 1))
        source = np.where(np.arange(SUM) < lengths[:, None], source, 0)
        return source, lengths, np.ascontiguousarray(spoken[:, :-1]), np.ascontiguousarray(spoken[:, 1:])

    return [one() for _ in range(BATCHES)]


class Problem:
    """What all peers begin with.

    Attributes:
        row: the name of the system.
        parameters: with PyTorch's names and shapes; running statistics too.
        batches: of data.
    """

    def __init__(self, row: str, parameters: Arrays, batches: list[tuple[np.ndarray, ...]]) -> None:
        self.row, self.parameters, self.batches = row, parameters, batches

    def arrays(self, value: object, parameters: Arrays) -> list[np.ndarray]:
        """What is checked of a step: its loss, and the change of each array, a layer's bias together with its weight: in front of a
        batch norm a bias has a gradient of nothing but rounding errors."""
        changes = {name: np.ravel(parameters[name].astype(np.float64) - array) for name, array in self.parameters.items()}
        for name in [name for name in changes if name.endswith(".bias")]:
            weight = name.removesuffix("bias") + "weight"
            changes[weight] = np.concatenate([changes[weight], changes.pop(name)])
        return [np.asarray(value), *changes.values()]


def make(task: Task) -> Job:
    from benchmarks.models import with_irdl

    problem = with_irdl.problem(task.row)
    expected = problem.arrays(*with_irdl.eager(problem))
    run, found = import_module(f"benchmarks.models.with_{task.peer}").make(problem, task.threads)
    return Job(run, lambda result: problem.arrays(*found(result)), expected, TOLERANCE[ROWS[task.row].dtype])
