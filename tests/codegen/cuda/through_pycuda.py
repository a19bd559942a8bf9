"""Launches a kernel through pycuda on the stand-in driver.

usage: python -m tests.codegen.cuda.through_pycuda LIBCUDA KERNELS NAME ARRAYS RESULT

ARRAYS (npz) holds what the kernel takes, in order; RESULT gets the same arrays as they are afterwards.
"""

from __future__ import annotations

import ctypes
import sys

import numpy as np


def main(libcuda: str, kernels: str, name: str, arrays: str, result: str) -> None:
    ctypes.CDLL(libcuda, mode=ctypes.RTLD_GLOBAL)  # pycuda then finds it by its soname
    import pycuda.autoprimaryctx  # noqa: F401
    import pycuda.driver as cuda

    from tests.codegen.cuda.driver_extras import CooperativeKernel

    with open(kernels, "rb") as file:
        kernel = CooperativeKernel(file.read(), name, "P" * len(np.load(arrays).files))
    given = [np.ascontiguousarray(array) for array in np.load(arrays).values()]
    memory = [cuda.mem_alloc(max(1, array.nbytes)) for array in given]
    for place, array in zip(memory, given, strict=True):
        cuda.memcpy_htod(place, array)
    stream = cuda.Stream()
    kernel((4, 1, 1), (64, 1, 1), stream, *map(int, memory))
    stream.synchronize()
    for place, array in zip(memory, given, strict=True):
        cuda.memcpy_dtoh(array, place)
    np.savez(result, *given)


if __name__ == "__main__":
    main(*sys.argv[1:])
