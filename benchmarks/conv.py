"""Single convolutions and their gradients: ResNet9's, larger ones of the usual networks, 1x1, over sequences, depthwise.

Each is measured with channels second and, as the peers `-nhwc`, with arrays whose channels are innermost, as one layer hands them to the
next inside a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import irdl
from benchmarks.measure import Job, Task, seconds
from irdl import nn


@dataclass(frozen=True)
class Layer:
    """`size` is that of the input; kernel, stride and padding are the same along all of its axes."""

    batch: int
    inputs: int
    outputs: int
    size: tuple[int, ...]
    kernel: int
    stride: int
    padding: int
    groups: int = 1

    @property
    def rank(self) -> int:
        return len(self.size)

    @property
    def places(self) -> tuple[int, ...]:
        """The size of the output."""
        return tuple((n + 2 * self.padding - self.kernel) // self.stride + 1 for n in self.size)

    @property
    def flops(self) -> float:
        """Of each mode; taps that fall on padding count."""
        taps = self.inputs // self.groups * self.kernel**self.rank
        return 2.0 * self.batch * math.prod(self.places) * self.outputs * taps


def _resnet9(batch: int) -> dict[str, Layer]:
    return {
        "r1": Layer(batch, 3, 16, (32, 32), 7, 4, 3),
        "r2": Layer(batch, 16, 32, (8, 8), 3, 2, 1),
        "r3": Layer(batch, 32, 32, (4, 4), 3, 1, 1),
        "r4": Layer(batch, 32, 64, (4, 4), 3, 2, 1),
        "r5": Layer(batch, 64, 128, (2, 2), 3, 2, 1),
        "r6": Layer(batch, 128, 128, (1, 1), 3, 1, 1),
    }


#: how often ResNet9 has each
_IN_RESNET9 = ("r1", "r2", "r3", "r3", "r4", "r5", "r6", "r6")

#: The layers that a row runs one after another, each in a call of its own.
ROWS: dict[str, tuple[Layer, ...]] = {
    **{f"{name} {batch}": (layer,) for batch in (8, 128) for name, layer in _resnet9(batch).items()},
    **{f"resnet9 {batch}": tuple(_resnet9(batch)[name] for name in _IN_RESNET9) for batch in (8, 128)},
    "h1": (Layer(8, 64, 64, (56, 56), 3, 1, 1),),
    "h2": (Layer(8, 256, 256, (14, 14), 3, 1, 1),),
    "h3": (Layer(8, 512, 512, (7, 7), 3, 1, 1),),
    "h4": (Layer(8, 128, 128, (56, 56), 3, 2, 1),),
    "h5": (Layer(2, 3, 64, (224, 224), 7, 2, 3),),
    "p1": (Layer(8, 256, 64, (56, 56), 1, 1, 0),),
    "p2": (Layer(8, 256, 1024, (14, 14), 1, 1, 0),),
    "c1": (Layer(16, 64, 64, (1000,), 3, 1, 1),),
    "d1": (Layer(8, 64, 64, (56, 56), 3, 1, 1, 64),),
    "d2": (Layer(8, 256, 256, (14, 14), 3, 1, 1, 256),),
}
#: dx: the gradient with respect to the input, dw: with respect to the weights, each of a given gradient of the output
MODES = ("forward", "dx", "dw")
#: jax: the faster of both layouts, layer by layer
PEERS = ("irdl", "irdl-nhwc", "torch", "torch-nhwc", "jax")
#: NumPy's products are for the check alone: its idle threads would go on spinning on a core that a peer is timed on.
ENVIRONMENT = {peer: {"OPENBLAS_NUM_THREADS": "1"} for peer in PEERS}


def _layers(row: str, mode: str) -> tuple[Layer, ...]:
    # Nobody takes the gradient of a network with respect to its images.
    return ROWS[row][1:] if mode == "dx" and len(ROWS[row]) > 1 else ROWS[row]


def work(row: str, mode: str) -> tuple[float, str]:
    return sum(layer.flops for layer in _layers(row, mode)), "float32"


def make(task: Task) -> Job:
    peer = {"irdl": _irdl, "torch": _torch, "jax": _jax}[task.peer.removesuffix("-nhwc")]
    jobs = [peer(layer, task) for layer in _layers(task.row, task.mode)]
    if len(jobs) == 1:
        return jobs[0]
    runs = [job.run for job in jobs]

    def arrays(results):
        return [array for job, result in zip(jobs, results, strict=True) for array in job.arrays(result)]

    return Job(lambda: [run() for run in runs], arrays, [array for job in jobs for array in job.expected])


def data(layer: Layer) -> dict[str, np.ndarray]:
    """Input, weights and the output's gradient, channels second."""
    rng = np.random.default_rng(0)
    taps = (layer.kernel,) * layer.rank
    shapes = {
        "x": (layer.batch, layer.inputs, *layer.size),
        "w": (layer.outputs, layer.inputs // layer.groups, *taps),
        "gy": (layer.batch, layer.outputs, *layer.places),
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def expected(layer: Layer, mode: str) -> np.ndarray:
    """NumPy's result in float64: a product for each tap."""
    x, w, gy = (array.astype(np.float64) for array in data(layer).values())
    groups = (layer.groups,) if layer.groups > 1 else ()
    x, gy = (a.reshape(layer.batch, *groups, -1, *a.shape[2:]) for a in (x, gy))
    w = w.reshape(*groups, -1, *w.shape[1:])
    pads = [(0, 0)] * (x.ndim - layer.rank) + [(layer.padding, layer.padding)] * layer.rank
    x = np.pad(x, pads)
    windows = sliding_window_view(x, w.shape[-layer.rank :], tuple(range(x.ndim - layer.rank, x.ndim)))
    dx, dw, y = np.zeros_like(x), np.zeros_like(w), np.zeros_like(gy)
    g, places = "g" if groups else "", "hw"[: layer.rank]
    steps = (..., *(slice(None, None, layer.stride),) * layer.rank)
    for tap in np.ndindex(*w.shape[-layer.rank :]):
        seen = windows[(..., *tap)][steps]
        if mode == "forward":
            y += np.einsum(f"n{g}c{places},{g}oc->n{g}o{places}", seen, w[(..., *tap)], optimize=True)
        elif mode == "dw":
            dw[(..., *tap)] = np.einsum(f"n{g}c{places},n{g}o{places}->{g}oc", seen, gy, optimize=True)
        else:
            ends = [at + layer.stride * (n - 1) + 1 for at, n in zip(tap, layer.places, strict=True)]
            part = (..., *(slice(at, end, layer.stride) for at, end in zip(tap, ends, strict=True)))
            dx[part] += np.einsum(f"n{g}o{places},{g}oc->n{g}c{places}", gy, w[(..., *tap)], optimize=True)
    inside = (..., *(slice(layer.padding, layer.padding + n) for n in layer.size))
    result = {"forward": y, "dx": dx[inside], "dw": dw}[mode]
    return result.reshape(data(layer)[{"forward": "gy", "dx": "x", "dw": "w"}[mode]].shape)


def arguments(layer: Layer, channels_inner: bool) -> list[np.ndarray]:
    """The data, channels of input and gradient where they are wanted."""
    x, w, gy = data(layer).values()
    return [np.ascontiguousarray(np.moveaxis(x, 1, -1)), w, np.ascontiguousarray(np.moveaxis(gy, 1, -1))] if channels_inner else [x, w, gy]


def function(layer: Layer, mode: str, channels_inner: bool) -> Callable[..., Any]:
    """Of input, weights and the output's gradient: what `nn.Conv1d` and `nn.Conv2d` do, whose weights lie as the layers hold them."""
    kind = {1: nn.Conv1d, 2: nn.Conv2d}[layer.rank]

    def forward(x, w):
        options = {"groups": layer.groups, "bias": False, "key": irdl.random.key(0)}
        module = kind(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding, **options)
        module.weight = w
        return np.moveaxis(module(np.moveaxis(x, -1, 1)), 1, -1) if channels_inner else module(x)

    return {
        "forward": lambda x, w, gy: forward(x, w),
        "dx": lambda x, w, gy: irdl.vjp(lambda x: forward(x, w), x)[1](gy)[0],
        "dw": lambda x, w, gy: irdl.vjp(lambda w: forward(x, w), w)[1](gy)[0],
    }[mode]


def _irdl(layer: Layer, task: Task) -> Job:
    channels_inner = task.peer == "irdl-nhwc"
    compiled = irdl.jit(function(layer, task.mode, channels_inner))
    x, w, gy = arguments(layer, channels_inner)

    def arrays(result):
        return [np.moveaxis(result, -1, 1) if channels_inner and task.mode != "dw" else result]

    return Job(lambda: compiled(x, w, gy), arrays, [expected(layer, task.mode)])


def _torch(layer: Layer, task: Task) -> Job:
    """The operations behind its layers and their gradients, without its tape."""
    import torch

    torch.set_num_threads(task.threads)
    one, padding = (1,) * layer.rank, (layer.padding,) * layer.rank
    tensors = [torch.from_numpy(array) for array in data(layer).values()]
    stride = (layer.stride,) * layer.rank
    if task.peer == "torch-nhwc":
        if layer.rank == 1:  # There is such a layout for images only.
            one, stride, padding = (1, 1), (1, *stride), (0, *padding)
            tensors = [tensor[:, :, None] for tensor in tensors]
        tensors = [tensor.to(memory_format=torch.channels_last) for tensor in tensors]
    x, w, gy = tensors
    options = (stride, padding, one, False, (0,) * len(one), layer.groups)
    run: Callable[[], Any]
    if task.mode == "forward":
        run = lambda: torch.ops.aten.convolution(x, w, None, *options)  # noqa: E731
    else:
        wanted = [task.mode == "dx", task.mode == "dw", False]
        place = wanted.index(True)
        run = lambda: torch.ops.aten.convolution_backward(gy, x, w, None, *options, wanted)[place]  # noqa: E731
    reference = expected(layer, task.mode)
    return Job(run, lambda y: [y.numpy().reshape(reference.shape)], [reference])


def _jax(layer: Layer, task: Task) -> Job:
    jobs = [_jax_in(layer, task.mode, channels_inner) for channels_inner in (False, True)]
    return min(jobs, key=lambda job: seconds(job.run, 0.05))


def _jax_in(layer: Layer, mode: str, channels_inner: bool) -> Job:
    import jax

    places = "HW"[: layer.rank]
    x, w, gy = arguments(layer, channels_inner)
    if channels_inner:
        w = np.moveaxis(w, (0, 1), (-1, -2))
    letters = (f"N{places}C", f"{places}IO", f"N{places}C") if channels_inner else (f"NC{places}", f"OI{places}", f"NC{places}")
    padding = ((layer.padding, layer.padding),) * layer.rank

    def forward(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (layer.stride,) * layer.rank, padding, dimension_numbers=letters, feature_group_count=layer.groups
        )

    function = jax.jit(
        {
            "forward": lambda x, w, gy: forward(x, w),
            "dx": lambda x, w, gy: jax.vjp(lambda x: forward(x, w), x)[1](gy)[0],
            "dw": lambda x, w, gy: jax.vjp(lambda w: forward(x, w), w)[1](gy)[0],
        }[mode]
    )
    device = [jax.numpy.asarray(array) for array in (x, w, gy)]

    def arrays(result):
        array = np.asarray(result)
        if not channels_inner:
            return [array]
        return [np.moveaxis(array, (-1, -2), (0, 1)) if mode == "dw" else np.moveaxis(array, -1, 1)]

    return Job(lambda: function(*device).block_until_ready(), arrays, [expected(layer, mode)])
