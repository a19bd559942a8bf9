"""The suite of whole models: a row for each example, and what is measured of irdl is what NumPy computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import models
from benchmarks.measure import Task, check


def test_a_row_for_each_example() -> None:
    """`char_lstm` is the suite `language-model`."""
    examples = {path.stem for path in (Path(__file__).parent.parent / "examples").glob("*.py")}
    assert set(models.ROWS) == examples - {"common", "char_lstm"}
    for row in models.ROWS:
        amount, unit = models.work(row, "step")
        assert amount > 0
        assert unit in models.TOLERANCE


@pytest.mark.parametrize("row", ["srn", "lstm_gates", "mlp_resnet_mnist", "time_machine"])
def test_a_step_is_numpys(row: str) -> None:
    job = models.make(Task("models", row, "step", "irdl", 1))
    check(job)
    for _ in range(2):  # with what is dropped
        assert np.isfinite(job.arrays(job.run())[0])


def test_a_wrong_step_is_found() -> None:
    """A step that leaves out one parameter's update."""
    job = models.make(Task("models", "srn", "step", "irdl", 1))
    value, *changes = job.arrays(job.run())
    with pytest.raises(AssertionError, match="result 2 is off"):
        check(type(job)(lambda: None, lambda _: [value, changes[0], 0 * changes[1], changes[2]], job.expected, job.tolerance))
