"""Losses, with PyTorch's names and meanings where it has them. Each gives one number, or with `reduction="none"` one for each example."""

from __future__ import annotations

from typing import Any

import numpy as np

import irdl
from irdl.nn.functional import log_softmax


def _reduced(values: Any, reduction: str) -> Any:
    """
    Raises:
        ValueError: the reduction is not one of mean, sum, none.
    """
    if reduction == "mean":
        return np.mean(values)
    if reduction == "sum":
        return np.sum(values)
    if reduction != "none":
        raise ValueError(f"reduction is 'mean', 'sum' or 'none', not {reduction!r}")
    return values


def _counted(losses: Any, counts: Any, reduction: str) -> Any:
    """Those of labels that count; the mean is over them."""
    losses = np.where(counts, losses, 0)
    if reduction == "mean":
        return np.sum(losses) / np.sum(counts).astype(losses.dtype)
    return _reduced(losses, reduction)


def softmax_cross_entropy(logits: Any, labels: Any, ignore_index: int = -100, label_smoothing: float = 0.0, reduction: str = "mean") -> Any:
    """-log softmax(logits)[label]; the mean is over those that count.

    Args:
        logits: floats (..., classes).
        labels: integers (...).
        ignore_index: examples with this label count for nothing.
        label_smoothing: this much of the target is spread evenly over all classes (Szegedy et al., 2016).
        reduction: mean, sum or none.
    """
    logs = log_softmax(logits)
    counts = labels != ignore_index
    picked = np.take_along_axis(logs, np.where(counts, labels, 0)[..., None], axis=-1)[..., 0]
    losses = -picked
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * np.mean(logs, axis=-1)
    return _counted(losses, counts, reduction)


def nll(log_probabilities: Any, labels: Any, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-log_probabilities[label], of (..., classes) and integers (...)."""
    counts = labels != ignore_index
    picked = np.take_along_axis(log_probabilities, np.where(counts, labels, 0)[..., None], axis=-1)[..., 0]
    return _counted(-picked, counts, reduction)


def mse(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """(prediction - target)^2"""
    difference = prediction - target
    return _reduced(difference * difference, reduction)


def binary_cross_entropy_with_logits(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    """-(t log sigmoid(x) + (1 - t) log(1 - sigmoid(x))), without overflow: max(x, 0) - x t + log(1 + exp(-|x|))."""
    return _reduced(np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits))), reduction)


#: a logarithm of nothing that sums and gradients can be taken of
_NOTHING = -1e30


def ctc(log_probabilities: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: str = "mean") -> Any:
    """-log of the probability that a sequence says a target, over all the ways in which its labels can be spread over the steps, with
    blanks between and repeats (connectionist temporal classification; Graves et al., 2006, by the forward variables in logarithms).

    Args:
        log_probabilities: floats (steps, batch, classes).
        targets: integers (batch, labels); those behind a target's length count for nothing.
        input_lengths, target_lengths: integers (batch,).
        blank: the class that says nothing.
        reduction: mean (each loss by its target's length first, as in PyTorch), sum or none. A target that does not fit its sequence
            costs infinity, and has no gradient.
    """
    steps, batch, _ = log_probabilities.shape
    count = targets.shape[1]
    # the states of a target: a blank, its first label, a blank, its second, ..., a blank
    states = np.full((batch, 2 * count + 1), blank)
    states[:, 1::2] = np.where(np.arange(count) < target_lengths[:, None], targets, blank)
    two = np.full((batch, 2), _NOTHING, log_probabilities.dtype)
    places = np.arange(2 * count + 1)
    skips = (places >= 2) & (states != blank) & (states != np.roll(states, 2, axis=1))

    def step(before: Any, now: Any) -> tuple[Any, None]:
        time, logs = now
        behind = np.concatenate([two, before], axis=1)
        reached = np.logaddexp(before, behind[:, 1:-1])
        reached = np.logaddexp(reached, np.where(skips, behind[:, :-2], _NOTHING))
        after = reached + np.take_along_axis(logs, states, axis=1)
        return np.where((time < input_lengths)[:, None], after, before), None

    start = np.full((batch, 2 * count + 1), _NOTHING, log_probabilities.dtype)
    start[:, 0] = 0  # as if a blank had been said before the first step
    reached, _ = irdl.scan(step, start, (np.arange(steps), log_probabilities))
    ends = np.stack([2 * target_lengths, np.maximum(2 * target_lengths - 1, 0)], axis=1)
    last = np.take_along_axis(reached, ends, axis=1)
    total = np.logaddexp(last[:, 0], np.where(target_lengths > 0, last[:, 1], _NOTHING))
    losses = np.where(total > _NOTHING / 2, -total, np.inf)
    if reduction == "mean":
        losses = losses / np.maximum(target_lengths, 1)
    return _reduced(losses, reduction)
