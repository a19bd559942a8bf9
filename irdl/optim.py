"""Optimisers as pairs of pure functions over trees, whose numbers are PyTorch's, step by step.

    optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.Adam(1e-3))
    state = optimizer.init(params)
    updates, state = optimizer.update(gradients, state, params)
    params = optim.apply_updates(params, updates)

Parameters may be any tree or an `nn.Module`, whose buffers are passed by: their gradients and updates are None. A complex parameter is
stepped as its parts, two real ones, against the conjugate of what `irdl.grad` gives, which is df/dx - i df/dy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import irdl
from irdl.tracing.tree import trainable

#: a learning rate, or a function from the number of the step, from 0, to one
Rate: TypeAlias = float | Callable[[Any], Any]


class Optimizer:
    """A change of gradients: `init` gives its state, `update` changes them and the state."""

    def init(self, params: Any) -> Any:
        """The first state, a tree of arrays."""
        return {"step": np.zeros((), np.int64), **{name: self._like(params) for name in self._kept()}}

    def update(self, gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """
        Args:
            gradients: as `irdl.grad` gives them: a tree like `params`.
            state: of the step before.
            params: as they are now.

        Returns:
            What is to be added to the parameters, and the next state.
        """
        marks = trainable(params)
        values, form = irdl.tree.flatten(params)
        own = [value for value, mark in zip(values, marks, strict=True) if mark]
        given = irdl.tree.leaves(gradients)
        if len(given) != len(own):
            raise ValueError(f"there are {len(given)} gradients for {len(own)} parameters")
        number = state["step"]
        kept = {name: state[name] for name in self._kept()}
        found: list[Any] = []
        new: dict[str, list[Any]] = {name: [] for name in kept}
        for place, (parameter, gradient) in enumerate(zip(own, given, strict=True)):
            value = parameter
            if np.iscomplexobj(parameter):
                value, gradient = _in_parts(parameter), _in_parts(np.conj(gradient))
            delta, after = self._step(value, gradient, {name: kept[name][place] for name in kept}, number)
            delta = delta.astype(value.dtype)
            found.append(_of_parts(delta) if np.iscomplexobj(parameter) else delta)
            for name, array in after.items():
                new[name].append(array.astype(value.dtype))
        deltas = iter(found)
        updates = irdl.tree.unflatten(form, [next(deltas) if mark else None for mark in marks])
        return updates, {"step": np.asarray(number + 1), **new}

    def _kept(self) -> tuple[str, ...]:
        """What is kept of each parameter."""
        return ()

    def _begin(self, value: Any) -> Any:
        return np.zeros_like(value)

    def _like(self, params: Any) -> list[Any]:
        leaves = irdl.tree.leaves(params)
        return [self._begin(_in_parts(leaf)) for leaf, mark in zip(leaves, trainable(params), strict=True) if mark]

    def _step(self, value: Any, gradient: Any, kept: dict[str, Any], number: Any) -> tuple[Any, dict[str, Any]]:
        """The change of one parameter, and what is kept of it."""
        raise NotImplementedError


def _in_parts(value: Any) -> Any:
    """Complex numbers as real ones, with a last axis of two; others as they are."""
    return np.stack([value.real, value.imag], axis=-1) if np.iscomplexobj(value) else value


def _of_parts(value: Any) -> Any:
    return value[..., 0] + value.dtype.type(1) * 1j * value[..., 1]


def apply_updates(params: Any, updates: Any) -> Any:
    """The parameters with the updates added, those that are None left as they are."""
    values, form = irdl.tree.flatten(params)
    deltas = iter(irdl.tree.leaves(updates))
    return irdl.tree.unflatten(form, [v + next(deltas) if mark else v for v, mark in zip(values, trainable(params), strict=True)])


def _rate(rate: Rate, number: Any) -> Any:
    return rate(number) if callable(rate) else rate


def _power(base: float, number: Any) -> Any:
    """base ** number, as float64."""
    return np.exp(number.astype(np.float64) * math.log(base)) if base else np.where(number == 0, 1.0, 0.0)


def _as(number: Any, value: Any) -> Any:
    """A number that multiplies `value`, in its dtype: float64 would promote it."""
    return number.astype(value.dtype) if isinstance(number, (np.ndarray, np.generic)) else number


@dataclass(frozen=True)
class SGD(Optimizer):
    """p -= lr * d, with d = g + weight_decay * p; with momentum d = b = momentum * b + (1 - dampening) * d, at first b = d; with nesterov
    d + momentum * b (Sutskever et al., 2013)."""

    lr: Rate = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if self.nesterov and (self.momentum <= 0 or self.dampening):
            raise ValueError("nesterov needs a momentum and no dampening")

    def _kept(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def _step(self, value: Any, gradient: Any, kept: dict[str, Any], number: Any) -> tuple[Any, dict[str, Any]]:
        d = gradient + self.weight_decay * value if self.weight_decay else gradient
        rate = _as(_rate(self.lr, number), value)
        if not self.momentum:
            return -rate * d, {}
        b = np.where(number == 0, d, self.momentum * kept["momentum"] + (1 - self.dampening) * d)
        return -rate * (d + self.momentum * b if self.nesterov else b), {"momentum": b}


@dataclass(frozen=True)
class Adam(Optimizer):
    """p -= lr * m / (sqrt(v) + eps), m and v the corrected means of g and g^2 (Kingma and Ba, 2015); g has weight_decay * p added."""

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def _kept(self) -> tuple[str, ...]:
        return ("mean", "square")

    def _step(self, value: Any, gradient: Any, kept: dict[str, Any], number: Any) -> tuple[Any, dict[str, Any]]:
        return self._adam(value, gradient + self.weight_decay * value if self.weight_decay else gradient, kept, number)

    def _adam(self, value: Any, g: Any, kept: dict[str, Any], number: Any) -> tuple[Any, dict[str, Any]]:
        b1, b2 = self.betas
        m = b1 * kept["mean"] + (1 - b1) * g
        v = b2 * kept["square"] + (1 - b2) * (g * g)
        rate = _as(_rate(self.lr, number) / (1 - _power(b1, number + 1)), value)
        root = _as(np.sqrt(1 - _power(b2, number + 1)), value)
        return -rate * m / (np.sqrt(v) / root + self.eps), {"mean": m, "square": v}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with p -= lr * weight_decay * p beside it, and not in the gradient (Loshchilov and Hutter, 2019)."""

    weight_decay: float = 1e-2

    def _step(self, value: Any, gradient: Any, kept: dict[str, Any], number: Any) -> tuple[Any, dict[str, Any]]:
        decay = _as(_rate(self.lr, number) * self.weight_decay, value)
        delta, after = self._adam(value, gradient, kept, number)
        return delta - decay * value, after


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """p -= lr * g / (sqrt(mean of g^2) + eps) (Hinton, 2012); centred: the variance of g in place of the mean of g^2."""

    lr: Rate = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def _kept(self) -> tuple[str, ...]:
        return ("square", *(("mean",) if self.centered else ()), *(("momentum",) if self.momentum else ()))

    def _step(self, value: Any, gradient: Any, kept: dict[str, Any], number: Any) -> tuple[Any, dict[str, Any]]:
        g = gradient + self.weight_decay * value if self.weight_decay else gradient
        after = {"square": self.alpha * kept["square"] + (1 - self.alpha) * (g * g)}
        spread = after["square"]
        if self.centered:
            after["mean"] = self.alpha * kept["mean"] + (1 - self.alpha) * g
            spread = spread - after["mean"] * after["mean"]
        d = g / (np.sqrt(spread) + self.eps)
        if self.momentum:
            d = after["momentum"] = self.momentum * kept["momentum"] + d
        return -_as(_rate(self.lr, number), value) * d, after


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """p -= lr / (1 + step * lr_decay) * g / (sqrt(sum of g^2) + eps) (Duchi et al., 2011)."""

    lr: Rate = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    def _kept(self) -> tuple[str, ...]:
        return ("sum",)

    def _begin(self, value: Any) -> Any:
        return np.full_like(value, self.initial_accumulator_value)

    def _step(self, value: Any, gradient: Any, kept: dict[str, Any], number: Any) -> tuple[Any, dict[str, Any]]:
        g = gradient + self.weight_decay * value if self.weight_decay else gradient
        total = kept["sum"] + g * g
        rate = _as(_rate(self.lr, number) / (1 + number * self.lr_decay), value)
        return -rate * g / (np.sqrt(total) + self.eps), {"sum": total}


class _Stateless(Optimizer):
    """A change of the gradients alone."""

    def init(self, params: Any) -> Any:
        return ()

    def update(self, gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return self._change(gradients), ()

    def _change(self, gradients: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class clip_by_global_norm(_Stateless):
    """Gradients times max_norm / (norm + 1e-6), norm being that of all of them together, where that is below 1; as PyTorch's
    `clip_grad_norm_`."""

    max_norm: float

    def _change(self, gradients: Any) -> Any:
        scale = np.minimum(self.max_norm / (global_norm(gradients) + 1e-6), 1.0)
        return irdl.tree.map(lambda g: g * _as(scale, g), gradients)


@dataclass(frozen=True)
class clip_by_value(_Stateless):
    """Gradients within -limit and limit.

    Raises:
        TypeError: one is complex: the order that NumPy gives these limits real parts alone.
    """

    limit: float

    def _change(self, gradients: Any) -> Any:
        return irdl.tree.map(self._clipped, gradients)

    def _clipped(self, gradient: Any) -> Any:
        if np.iscomplexobj(gradient):
            raise TypeError("clip_by_value is of real gradients: clip complex ones by clip_by_global_norm")
        return np.clip(gradient, -self.limit, self.limit)


def global_norm(tree: Any) -> Any:
    """The square root of the sum of the squares of all numbers in a tree, of complex ones of their sizes."""
    return np.sqrt(sum(np.sum(np.real(leaf * np.conj(leaf))) for leaf in irdl.tree.leaves(tree)))


class chain(Optimizer):
    """One change after the other."""

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts

    def init(self, params: Any) -> Any:
        return tuple(part.init(params) for part in self.parts)

    def update(self, gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
        after = []
        for part, own in zip(self.parts, state, strict=True):
            gradients, new = part.update(gradients, own, params)
            after.append(new)
        return gradients, tuple(after)


# Schedules: functions from the number of the step.


def exponential_decay(rate: float, decay: float, every: int = 1) -> Callable[[Any], Any]:
    """rate * decay ** (step / every)"""
    return lambda step: rate * np.exp((step / every) * math.log(decay))


def step_decay(rate: float, boundaries: Sequence[int], factor: float = 0.1) -> Callable[[Any], Any]:
    """The rate times `factor` for each boundary that has been reached."""
    return lambda step: rate * np.exp(sum((step >= boundary) * 1.0 for boundary in boundaries) * math.log(factor))


def cosine_decay(rate: float, steps: int, end: float = 0.0) -> Callable[[Any], Any]:
    """Half a cosine from `rate` to `end` over so many steps (Loshchilov and Hutter, 2017)."""
    return lambda step: end + (rate - end) * 0.5 * (1 + np.cos(math.pi * np.minimum(step / steps, 1.0)))


def warmup(steps: int, then: Rate) -> Callable[[Any], Any]:
    """From nothing up to `then` over so many steps, in equal parts."""
    return lambda step: np.minimum((step + 1) / steps, 1.0) * _rate(then, step)
