"""ResNet9, a small residual network of convolutions, that tells ten kinds of photographs apart.

    python examples/resnet9_cifar10.py [--data ../shared/data/cifar10] [--epochs 60]

`--data` is a folder with CIFAR-10 in any of the formats of `irdl.data.CIFAR10`; of the 1,000 images in `../shared/data` it learns each by
heart. `--augment` mirrors and moves the images, which the whole set wants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import draw, options, train

import irdl
from irdl import nn, optim
from irdl.data import CIFAR10, DataLoader, RandomCrop, RandomFlipHorizontal


def conv_bn(in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


def resnet9() -> nn.Module:
    return nn.Sequential(
        conv_bn(3, 16, 7, 4),
        conv_bn(16, 32, 3, 2),
        nn.Residual(nn.Sequential(conv_bn(32, 32, 3, 1), conv_bn(32, 32, 3, 1))),
        conv_bn(32, 64, 3, 2),
        conv_bn(64, 128, 3, 2),
        nn.Residual(nn.Sequential(conv_bn(128, 128, 3, 1), conv_bn(128, 128, 3, 1))),
        nn.Flatten(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def main(arguments: list[str] | None = None) -> float:
    parser = options(__doc__, epochs=60, data="../shared/data/cifar10")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--augment", action="store_true", help="mirror and move the images at random")
    parsed = parser.parse_args(arguments)
    nn.manual_seed(0)
    transforms = [RandomFlipHorizontal(), RandomCrop()] if parsed.augment else []
    data, test = CIFAR10(parsed.data, transforms=transforms), CIFAR10(parsed.data, train=False)
    model = resnet9()
    optimizer = optim.Adam(1e-3, weight_decay=1e-3)
    memory = optimizer.init(model)

    @irdl.jit(backend=parsed.backend, donate_argnums=(0, 1))
    def step(model: nn.Module, memory: Any, images: Any, labels: Any) -> Any:
        value, gradient = irdl.value_and_grad(lambda model: nn.softmax_cross_entropy(model(images), labels))(model)
        updates, memory = optimizer.update(gradient, memory, model)
        return optim.apply_updates(model, updates), memory, value

    loader = DataLoader(data, parsed.batch, shuffle=True, drop_last=True)

    def take(batch: Any) -> float:
        nonlocal model, memory
        model, memory, value = step(model, memory, *batch)
        return float(value)

    curve = train(parsed.epochs, lambda epoch: loader, take, lambda value: f"loss {value:.4f}")
    draw(curve, parsed.curve, "loss")
    model.eval()
    tell = irdl.jit(lambda model, images: np.argmax(model(images), axis=-1), backend=parsed.backend)
    right = sum(int((tell(model, images) == labels).sum()) for images, labels in DataLoader(test, parsed.batch))
    print(f"loss {curve[-1]:.4f}; {100 * right / len(test):.1f} % of {len(test):,} test images are told rightly")
    return curve[-1]


if __name__ == "__main__":
    main()
