"""Other machines than this one: narrower vectors and fewer registers run here too, NEON is compiled for."""

from __future__ import annotations

import random
import re
from unittest import mock

import llvmlite.binding as llvm
import numpy as np
import pytest

import irdl
from irdl.codegen.cpu.llvm import processor
from irdl.codegen.cpu.llvm.processor import host_target
from irdl.ir.evaluate import evaluate
from irdl.loops.target import Target
from irdl.runtime import cpu
from irdl.runtime.executable import Executable
from tests.codegen import test_vector_math as functions
from tests.covering import covering
from tests.models import lstm_data, lstm_loss
from tests.programs import Programs, draw_inputs
from tests.test_fuzz import compare

AVX2, SSE, NEON, SCALAR = Target(32, 16), Target(16, 16), Target(16, 32), Target(4, 8)


@pytest.mark.parametrize("target", [AVX2, SSE, SCALAR, Target(32, 16, threads=2)], ids=str)
def test_programs_of_narrower_targets(target):
    def f(params, x, gy):
        value, gradients = irdl.value_and_grad(lstm_loss)(params, x, gy)
        return value, gradients["W"], gradients["U"], gradients["b"]

    with mock.patch.object(cpu, "host_target", lambda: target), mock.patch.object(cpu, "num_threads", lambda: target.threads):
        for shape in ((5, 3, 7, 13), (4, 1, 16, 32), (3, 32, 8, 64)):
            arguments = lstm_data(*shape, dtype=np.float64)
            for result, expected in zip(irdl.jit(f)(*arguments), f(*arguments), strict=True):
                np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-10)
        for seed in range(25):
            graph = Programs(random.Random(seed)).graph()
            arguments = draw_inputs(graph, np.random.default_rng(seed))
            compare(Executable(graph)(arguments), evaluate(graph, arguments), str(target), True)


BASELINES = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")


@pytest.fixture(params=BASELINES)
def baseline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Code for a baseline of x86-64, by the scheduler and by LLVM."""
    monkeypatch.setenv("IRDL_TARGET", request.param)
    try:
        host_target()
    except ValueError as error:
        pytest.skip(str(error))
    return request.param


def test_programs_of_baselines(baseline: str) -> None:
    for seed in range(25):
        graph = Programs(random.Random(seed + 100)).graph()
        arguments = draw_inputs(graph, np.random.default_rng(seed))
        compare(Executable(graph)(arguments), evaluate(graph, arguments), baseline, True)


@pytest.mark.parametrize(("baseline", "name"), covering(BASELINES, list(functions.FUNCTIONS)), indirect=["baseline"])
def test_vector_functions_of_baselines(baseline: str, name: str) -> None:
    """As exact as elsewhere, without fused multiply-adds too; and made of instructions, not of calls for each lane."""
    assert functions.worst(name, 8191) <= functions.SINGLE
    functions.test_float64(name)
    code = irdl.compile(functions.FUNCTIONS[name][0])(np.ones(64)).asm
    assert not re.search(r"fmaf?@PLT", code)
    assert name == "erf" or ("vfm" in code) == (baseline >= "x86-64-v3")


def test_a_baseline_beyond_this_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRDL_TARGET", "x86-64-v4")
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: llvm.FeatureMap({"sse2": True}))
    processor._host.cache_clear()
    with pytest.raises(ValueError, match=r"x86-64-v4.*this processor has no avx2"):
        irdl.jit(lambda x: x + 1)(np.ones(3))
    monkeypatch.setenv("IRDL_TARGET", "pentium")
    with pytest.raises(ValueError, match="IRDL_TARGET='pentium': it knows native, x86-64"):
        irdl.jit(lambda x: x + 1)(np.ones(3))
    processor._host.cache_clear()


def test_neon_code():
    """The same text becomes ARM's fused multiply-adds."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    with mock.patch.object(cpu, "host_target", lambda: NEON), mock.patch.object(cpu, "num_threads", lambda: 1):
        text = irdl.compile(lstm_loss)(*lstm_data(5, 8, 16, 32)).llvm_ir
    neon = llvm.Target.from_triple("aarch64-linux-gnu").create_target_machine(cpu="neoverse-n1", opt=1, reloc="pic")
    module = llvm.parse_assembly(text)
    module.triple = "aarch64-linux-gnu"
    module.data_layout = str(neon.target_data)
    assert neon.emit_assembly(module).count("fmla\tv") > 100
