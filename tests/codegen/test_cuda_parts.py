"""Reductions of few results from many terms: blocks share the terms, and add up what they have found in a fixed order."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda.emit import launches
from irdl.codegen.cuda.model import predict
from irdl.loops.target import Gpu
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.codegen.test_cuda import check_functions, check_interpreted, check_that_barriers_are_missed, check_that_nothing_spills, normal

F32 = np.float32


def loss(y, t):
    return ((y - t) ** 2).mean()


FUNCTIONS = [
    (np.sum, np.arange(1 << 18) % 97 - 48),
    (loss, normal(3, 331, 211), normal(3, 331, 211)),
    # A prime number of them, of which the last part has fewer.
    (lambda x, y: x @ y, np.sin(np.arange(140_009)).astype(F32), np.cos(np.arange(140_009)).astype(F32) / 100),
    (lambda x: (x.min(), x.max(), np.exp(x.max())), normal(200_003)),
    (lambda x: (x.sum(0), x.max(0)), normal(20_000, 7)),
    (lambda x: x.mean(0) * 2, normal(9_001, 40)),
    (lambda x: x.mean(1), normal(3, 140_001)),
    (lambda x, w: (x[:, :, None] * w).mean((0, 1)), normal(70, 99), normal(99, 33)),
    (lambda x: (x > 4.9).any(), normal(300_007)),
    (lambda x: x.argmax(), normal(150_000)),
    (irdl.grad(lambda b, x: (np.tanh(x + b) ** 2).mean()), normal(5), normal(3, 7_001, 5)),
    (lambda x: x[:0].sum(0) + x.sum(), normal(140_000, 1)),
    (lambda x: x.sum((1, 2)), normal(1, 400, 401)),
]


@pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
@pytest.mark.parametrize("multiprocessors", [132, 3])
def test_functions(tmp_path, multiprocessors):
    check_functions(multiprocessors, tmp_path, FUNCTIONS)


SMALL = (lambda x: (x**2).mean(0), normal(5_003, 3))


def test_interpreted(few_terms):
    check_interpreted(*SMALL)


def test_a_missing_barrier_is_found(few_terms):
    """Of those within a block, which takes several parts in turn. (Between blocks a launch ends.)"""
    check_that_barriers_are_missed(*SMALL, blocks=2)


@pytest.fixture
def few_terms(monkeypatch):
    """Terms are shared where there are few of them, too."""
    monkeypatch.setattr("irdl.codegen.cuda.parts._WORTH_A_LAUNCH", 8)
    monkeypatch.setattr("irdl.codegen.cuda.parts._LEFT", 2)
    assert len(launches(gpu_program(irdl.trace(SMALL[0])(SMALL[1])))) == 2


def test_the_same_bits_at_every_run(tmp_path):
    """However threads come, and however many blocks there are."""
    program = gpu_program(irdl.trace(loss)(*FUNCTIONS[1][1:]))
    kernels = OnCpu([program], tmp_path)
    found = {kernels(0, FUNCTIONS[1][1:], blocks=blocks, order=order)[0].tobytes() for blocks in (1, 2, 9) for order in range(3)}
    assert len(found) == 1


def test_who_shares():
    """A large sum is all multiprocessors'; one more launch is not worth it for a small one, nor where there are threads enough."""
    for shape, count in (((4096, 1024), 2), ((64, 64), 1), ((64, 100_000), 1)):
        for axis in (0, None):
            program = gpu_program(irdl.trace(lambda x, axis=axis: x.sum(axis))(np.broadcast_to(F32(0), shape)))
            found = launches(program)
            assert len(found) == (count if axis == 0 or shape[1] < 100_000 else 2)
            assert len(found) == 1 or found[0].blocks >= 128


def test_a_sum_takes_about_as_long_as_a_copy():
    """Of 16 MB from L2: one block would need half a millisecond."""
    x = np.broadcast_to(F32(0), (4096, 1024))
    seconds = predict(gpu_program(irdl.trace(np.sum)(x)), Gpu()).seconds
    assert x.size * 4 / 6.65e12 < seconds < predict(gpu_program(irdl.trace(lambda x: x * 2)(x)), Gpu()).seconds + 3e-6


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize(("multiprocessors", "capability"), [pytest.param(132, 80, marks=pytest.mark.slow), (132, 90), (3, 90)])
def test_nvcc_compiles_it_without_spills(tmp_path, multiprocessors, capability):
    check_that_nothing_spills(multiprocessors, capability, tmp_path, FUNCTIONS)
