"""What a build knows of a program."""

import numpy as np

import irdl
from irdl.runtime.backends import find_backend
from irdl.runtime.build import Build
from tests.teams import team_of


def test_only_short_calls_hold_the_interpreters_lock():
    def is_short(f, *arguments):
        return Build(irdl.trace(f)(*arguments), find_backend("cpu")).is_short

    small, large = np.ones((8, 8)), np.ones((100, 100))
    steps = lambda x: irdl.scan(lambda c, _: (np.tanh(c @ x), None), x, None, length=1000)[0]  # noqa: E731
    no_end = lambda x: irdl.while_loop(lambda c: c.sum() < 1000, lambda c: c + 1, x)  # noqa: E731
    assert is_short(lambda x: x @ x, small)
    assert not is_short(lambda x: x @ x, large)
    assert not is_short(steps, small)
    assert not is_short(no_end, small)
    with team_of(2):
        assert not is_short(lambda x: x @ x, small)  # other threads work too, for as long as it takes
