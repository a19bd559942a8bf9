"""Losses, with PyTorch's names and meanings where it has them. Each gives one number, or with `reduction="none"` one for each example."""

from __future__ import annotations

from typing import Any

import numpy as np

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
    losses = np.where(counts, losses, 0)
    if reduction == "mean":
        return np.sum(losses) / np.sum(counts).astype(losses.dtype)
    return _reduced(losses, reduction)


def nll(log_probabilities: Any, labels: Any, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-log_probabilities[label], of (..., classes) and integers (...)."""
    counts = labels != ignore_index
    picked = np.take_along_axis(log_probabilities, np.where(counts, labels, 0)[..., None], axis=-1)[..., 0]
    losses = np.where(counts, -picked, 0)
    if reduction == "mean":
        return np.sum(losses) / np.sum(counts).astype(losses.dtype)
    return _reduced(losses, reduction)


def mse(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """(prediction - target)^2"""
    difference = prediction - target
    return _reduced(difference * difference, reduction)


def binary_cross_entropy_with_logits(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    """-(t log sigmoid(x) + (1 - t) log(1 - sigmoid(x))), without overflow: max(x, 0) - x t + log(1 + exp(-|x|))."""
    return _reduced(np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits))), reduction)
