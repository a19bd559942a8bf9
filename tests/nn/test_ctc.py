"""Connectionist temporal classification against the sum over every way to say a target."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import irdl
from irdl import nn
from irdl.testing import check_gradient


def by_every_path(probabilities: np.ndarray, target: tuple[int, ...], blank: int) -> float:
    """The probability of the paths that are the target once repeats, then blanks, are left out."""
    steps, classes = probabilities.shape
    total = 0.0
    for path in itertools.product(range(classes), repeat=steps):
        said = tuple(label for label, _ in itertools.groupby(path) if label != blank)
        if said == target:
            total += float(np.prod([probabilities[step, label] for step, label in enumerate(path)]))
    return total


@pytest.mark.parametrize("blank", [0, 2])
def test_same_as_every_path(blank: int) -> None:
    random = np.random.default_rng(0)
    logits = random.standard_normal((5, 7, 3))
    one, other = (label for label in range(3) if label != blank)
    targets = np.array([[one, other, one], [one, one, other], [one, one, one], [other, -1, -1], [-1, -1, -1], [-1, -1, -1], [one, -1, -1]])
    target_lengths, input_lengths = np.array([3, 3, 3, 1, 0, 0, 1]), np.array([5, 4, 5, 2, 3, 0, 0])
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    ways = [
        by_every_path(np.exp(logs[:length, row]), tuple(targets[row, :count]), blank)
        for row, (length, count) in enumerate(zip(input_lengths, target_lengths, strict=True))
    ]
    with np.errstate(divide="ignore"):
        expected = -np.log(ways)
    assert np.isinf(expected).sum() == 1  # a label in no step
    rest = (targets, input_lengths, target_lengths)
    np.testing.assert_allclose(nn.ctc(logs, *rest, blank, "none"), expected, rtol=1e-12)
    np.testing.assert_allclose(irdl.jit(lambda *all: nn.ctc(*all, blank, "none"))(logs, *rest), expected, rtol=1e-12)
    fits = slice(0, 6)
    rest = (targets[fits], input_lengths[fits], target_lengths[fits])
    check_gradient(lambda x: nn.ctc(nn.functional.log_softmax(x), *rest, blank), logits[:, fits])
    gradient = irdl.grad(lambda x: nn.ctc(x, targets, input_lengths, target_lengths, blank, "sum"))(logs)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("steps", "batch", "labels"), [(0, 2, 2), (1, 1, 1), (6, 0, 2), (9, 3, 0), (30, 5, 8)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes(steps: int, batch: int, labels: int, dtype: type) -> None:
    random = np.random.default_rng(1)
    logs = nn.functional.log_softmax(random.standard_normal((steps, batch, 9)).astype(dtype))
    rest = (random.integers(1, 9, (batch, labels)), random.integers(0, steps + 1, batch), random.integers(0, labels + 1, batch))
    expected = nn.ctc(logs, *rest, reduction="none")
    assert expected.dtype == dtype
    assert expected.shape == (batch,)
    found = irdl.jit(lambda *all: nn.ctc(*all, reduction="none"))(logs, *rest)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype is np.float32 else 1e-12)
