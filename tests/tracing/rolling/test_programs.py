"""Programs with loops: into how many scans they are rolled, that these are what was traced, and that they run as NumPy does."""

from __future__ import annotations

import pytest

from .programs import PROGRAMS
from .rolled import limits, rolled, runs, scans

#: scans made where all that can be rolled is, those that pay, and those found without marks
SCANS = {
    "lstm_forward": (1, 1, 1),
    "lstm_gradient": (1, 1, 1),
    "cs231n_forward": (1, 1, 1),
    "cs231n_both": (2, 2, 2),
    "store_and_read_back": (1, 1, 1),
    "course_style": (2, 2, 2),
    "min_char_rnn": (2, 2, 2),
    "min_char_rnn_arrays": (2, 2, 2),
    "layers_then_time": (2, 2, 2),
    "time_then_layers": (1, 1, 1),
    "time_then_range_of_layers": (1, 1, 1),
    "first_step_differs": (1, 1, 1),
    "first_and_last_differ": (1, 1, 1),
    "middle_differs": (2, 0, 2),
    "every_other": (1, 1, 1),
    "strided": (1, 0, 1),
    "two_steps_before": (1, 1, 1),
    "blocks": (1, 1, 1),
    "depends_on_t": (1, 1, 1),
    "while_and_list": (2, 2, 2),
    "rows_and_zip": (1, 1, 1),
    "comprehension": (1, 1, 1),
    "attention": (4, 3, 5),
    "convolution": (2, 1, 1),
    "edit_distance": (3, 3, 4),
    "gradient_steps": (2, 2, 2),
    "adagrad": (0, 0, 0),
    "deep": (1, 0, 1),
    "horner": (1, 0, 1),
    "growing": (0, 0, 0),
    "overlap_add": (1, 1, 1),
    "elimination": (1, 1, 1),
    "comb": (3, 1, 5),
    "plucked": (4, 7, 7),
    "echo": (4, 7, 7),
    "backwards": (4, 6, 6),
    "gradient_of_comb": (3, 2, 5),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_rolled_is_what_was_traced(name: str) -> None:
    f, arguments = PROGRAMS[name]
    every, paying, found = SCANS[name]
    with limits():
        assert scans(rolled(f, *arguments)) == every
        assert scans(rolled(f, *arguments, marked=False)) == found
    assert scans(rolled(f, *arguments)) == paying


@pytest.mark.parametrize("name", PROGRAMS)
def test_runs_as_numpy(name: str) -> None:
    f, arguments = PROGRAMS[name]
    runs(f, *arguments)
    with limits():
        runs(f, *arguments)
