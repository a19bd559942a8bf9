"""Capsules of DLPack between irdl and PyTorch, of the CPU's memory: the structures are the same as a GPU's."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from irdl.ir.dtypes import BFLOAT16, DTYPES
from irdl.runtime.dlpack import Borrowed
from tests.runtime.test_dlpack import Owned, Owner

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
BOTH = pytest.mark.parametrize("versioned", [False, True])


@BOTH
def test_pytorch_takes_what_is_made(versioned: bool) -> None:
    for dtype in DTYPES:
        for shape in ((), (5,), (2, 3, 4), (0,), (3, 0, 2)):
            array = np.asarray(np.random.default_rng(0).integers(0, 2, shape)).astype(dtype)
            found = torch.from_dlpack(Owner(array, versioned))
            assert found.dtype == getattr(torch, dtype.name) and tuple(found.shape) == shape
            assert not array.size or found.data_ptr() == array.ctypes.data
            # PyTorch makes no NumPy arrays of bfloat16.
            numbers = (found.float().numpy(), array.astype(np.float32)) if dtype == BFLOAT16 else (found.numpy(), array)
            np.testing.assert_array_equal(*numbers)
            del numbers
            view = found[...]
            del found
            assert len(Owned.living) == 1
            del view
            gc.collect()
            assert not Owned.living


@BOTH
def test_pytorchs_are_read(versioned: bool) -> None:
    asked: dict[str, Any] = {"max_version": (1, 0)} if versioned else {}
    x = torch.arange(12.0).reshape(3, 4)
    for tensor, strides in ((x, (4, 1)), (x.T, (1, 4)), (x[1:], (4, 1))):
        found = Borrowed(tensor.__dlpack__(**asked))
        assert (found.device, found.dtype, found.address) == ((1, 0), "float32", tensor.data_ptr())
        assert (found.shape, found.strides, found.is_contiguous) == (tuple(tensor.shape), strides, tensor.is_contiguous())
    for name in ("bool", "uint8", "int64", "float16", "bfloat16", "complex64"):
        assert Borrowed(torch.zeros(2, dtype=getattr(torch, name)).__dlpack__(**asked)).dtype == name
