"""Register tiles of contractions whose operands both have the vector's axis: the numbers are NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import irdl
from tests.teams import team_of

RNG = np.random.default_rng(0)


def windows(x: Any) -> Any:
    return sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (1, 2))


@pytest.mark.parametrize("channels", [1, 5, 16, 21, 37])
def test_depthwise(channels: int) -> None:
    """Forward in rows of one vector, the weights' gradient in a tile of all taps."""

    def f(x: Any, w: Any) -> Any:
        return np.einsum("nxycij,ijc->nxyc", windows(x), w)

    def to_weights(x: Any, gy: Any) -> Any:
        return np.einsum("nxycij,nxyc->ijc", windows(x), gy) * 2

    x, w, gy = (RNG.standard_normal((*shape, channels)) for shape in ((3, 10, 9), (3, 3), (3, 10, 9)))
    for threads in (1, 2):
        with team_of(threads):
            np.testing.assert_allclose(irdl.jit(f)(x, w), f(x, w), rtol=1e-12, atol=1e-13)
            np.testing.assert_allclose(irdl.jit(to_weights)(x, gy), to_weights(x, gy), rtol=1e-12, atol=1e-12)
