"""What NVRTC makes of the kernels, where it is installed. No GPU is needed for it, and none runs them here."""

from __future__ import annotations

import re

import pytest

from irdl.codegen.cuda.emit import launches
from irdl.errors import IrdlError
from irdl.runtime.cubin import flags_for
from irdl.runtime.nvrtc import Nvrtc, find_nvrtc
from tests.codegen.on_cpu import collect, gpu_program
from tests.codegen.test_cuda import programs_for
from tests.ops.test_ops import OPS, graph_of


@pytest.fixture(scope="module")
def compiler() -> Nvrtc:
    try:
        return find_nvrtc()
    except IrdlError as error:
        pytest.skip(f"needs NVRTC: there is {error}")


@pytest.mark.parametrize("capability", [80, 90])
def test_functions(compiler: Nvrtc, capability: int) -> None:
    """One cubin of all functions, with code for each launch."""
    programs, _ = programs_for(132)
    cubin = compiler.compile(collect(programs), flags_for(capability))
    assert cubin.startswith(b"\x7fELF")
    found = set(re.findall(rb"\0\.text\.(\w+)", cubin))
    assert found == {f"{launch.name}__{n}".encode() for n, program in enumerate(programs) for launch in launches(program)}


def test_every_op(compiler: Nvrtc) -> None:
    """No op's code needs a header."""
    programs = [gpu_program(graph_of(op, sample)) for op in OPS for sample in op.samples()]
    assert compiler.compile(collect(programs), flags_for(90)).startswith(b"\x7fELF")


def test_errors_and_versions(compiler: Nvrtc) -> None:
    assert re.search(r"release \d+\.\d+, V\d+\.\d+\.\d+", compiler.version)
    with pytest.raises(IrdlError, match=r'(?s)-arch=sm_80 failed with NVRTC_ERROR_COMPILATION:\n.*identifier "oops" is undefined'):
        compiler.compile('extern "C" __global__ void f(int* x) { *x = oops; }', flags_for(80))
    with pytest.raises(IrdlError, match=r"(?s)-arch=sm_10 failed with NVRTC_ERROR_INVALID_OPTION:\n.*invalid value for --gpu-architecture"):
        compiler.compile("", flags_for(10))
