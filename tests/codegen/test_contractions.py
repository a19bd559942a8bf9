"""Contractions whose axes lie in every order, with last axes too short for a vector."""

from __future__ import annotations

import numpy as np
import pytest

import irdl
from irdl.testing import assert_close

SPECS = (
    "ij,jk->ik",
    "ij,kj->ki",
    "bij,bjk->bik",
    "bij,kj->ibk",
    "ijb,jk->bik",
    "nxic,oci->xno",
    "ai,bj->aibj",
    "eca,edb->acdb",
    "ij,ij->",
    "aij,ij->a",
)
EXTENTS = ((9, 5, 3), (3, 9, 17), (17, 3, 2), (2, 2, 33), (1, 8, 7), (8, 0, 3))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("extents", EXTENTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_same_as_numpy(spec: str, extents: tuple[int, ...], dtype: type) -> None:
    inputs = spec.split("->")[0].split(",")
    labels = sorted(set("".join(inputs)))
    sizes = {label: extents[place % 3] for place, label in enumerate(labels)}
    random = np.random.default_rng(1)
    arrays = [random.integers(-4, 5, [sizes[label] for label in part]).astype(dtype) for part in inputs]
    expected = np.einsum(spec, *arrays)
    assert_close(irdl.jit(lambda x, y: np.einsum(spec, x, y))(*arrays), expected)
    # between other work, and from operands that are views
    turned = [np.ascontiguousarray(array.T) for array in arrays]
    assert_close(irdl.jit(lambda x, y: np.einsum(spec, x.T, y.T) * 2 + 1)(*turned), expected * 2 + 1)
