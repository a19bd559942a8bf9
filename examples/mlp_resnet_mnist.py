"""An MLP of residual blocks, with batch norm and dropout, that reads handwritten digits.

    python examples/mlp_resnet_mnist.py [--data ../shared/data/mnist] [--epochs 5]

`--data` is a folder with MNIST's four files. One compiled step does forward, backward and Adam, and binds batch norm's statistics anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import draw, options, train

import irdl
from irdl import nn, optim
from irdl.data import MNIST, DataLoader

BATCH = 100


def block(size: int, hidden: int, drop: float) -> nn.Module:
    """Of what is added to its input, and rectified."""
    inner = nn.Sequential(
        nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(drop), nn.Linear(hidden, size), nn.BatchNorm1d(size)
    )
    return nn.Sequential(nn.Residual(inner), nn.ReLU())


def resnet(size: int, hidden: int = 100, blocks: int = 3, classes: int = 10, drop: float = 0.1) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(size, hidden),
        nn.ReLU(),
        *(block(hidden, hidden // 2, drop) for _ in range(blocks)),
        nn.Linear(hidden, classes),
    )


def accuracy(model: nn.Module, data: MNIST, backend: str) -> float:
    """The share of images that are read rightly."""
    model.eval()
    read = irdl.jit(lambda model, images: np.argmax(model(images), axis=-1), backend=backend)
    right = sum(int((read(model, images) == labels).sum()) for images, labels in DataLoader(data, BATCH))
    model.train()
    return right / len(data)


def main(arguments: list[str] | None = None) -> float:
    parser = options(__doc__, epochs=5, data="../shared/data/mnist")
    parser.add_argument("--images", type=int, default=60_000, help="how many images are trained on")
    parsed = parser.parse_args(arguments)
    nn.manual_seed(0)
    data, test = MNIST(parsed.data), MNIST(parsed.data, train=False)
    data.arrays = tuple(array[: parsed.images] for array in data.arrays)
    model = resnet(784)
    optimizer = optim.Adam(1e-3, weight_decay=1e-4)
    memory = optimizer.init(model)
    print(model)

    @irdl.jit(backend=parsed.backend, donate_argnums=(0, 1))
    def step(model: nn.Module, memory: Any, images: Any, labels: Any) -> Any:
        value, gradient = irdl.value_and_grad(lambda model: nn.softmax_cross_entropy(model(images), labels))(model)
        updates, memory = optimizer.update(gradient, memory, model)
        return optim.apply_updates(model, updates), memory, value

    loader = DataLoader(data, BATCH, shuffle=True, drop_last=True)

    def take(batch: Any) -> float:
        nonlocal model, memory
        model, memory, value = step(model, memory, *batch)
        return float(value)

    curve = train(parsed.epochs, lambda epoch: loader, take, lambda value: f"loss {value:.4f}")
    draw(curve, parsed.curve, "loss")
    share = accuracy(model, test, parsed.backend)
    print(f"{100 * share:.2f} % of {len(test):,} test images are read rightly")
    return share


if __name__ == "__main__":
    main()
