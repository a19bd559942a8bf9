"""Accesses of 16 bytes: what threads of a GPU have of neighbours, they load and store at once, wherever it may begin there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda.dealing import WIDEST
from irdl.codegen.cuda.emit import emit_cuda, launches
from irdl.codegen.cuda.registers import copied_at_once
from irdl.codegen.cuda.vectors import make_vectors
from irdl.errors import ProgramError
from irdl.ir.evaluate import evaluate
from irdl.loops.expressions import Load
from irdl.loops.interpret import interpret
from irdl.loops.language import Barrier, For, Program, Store
from irdl.loops.target import Gpu
from irdl.loops.walk import expressions, subexpressions, walk
from irdl.runtime.cubin import flags_for
from tests.codegen.cuda import launching
from tests.codegen.nvcc import stacks_and_spills
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, calls_of, collect, gpu_program
from tests.codegen.test_cuda import layer_norm, normal, softmax
from tests.codegen.watched import Watched

F32 = np.float32
needs_compiler = pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
#: so small that a few thousand elements are runs for all of its threads, and some of them ahead
SMALL = Gpu(multiprocessors=1)


def numbers(dtype, *shape):
    dtype = np.dtype(dtype)
    drawn = np.random.default_rng(sum(shape)).integers(-9, 9, shape)
    return drawn.astype(dtype) if dtype.kind != "f" else (drawn / 4).astype(dtype)


def twice(x):
    return x + x


def positive(x):
    return x > 0


def either(x, y):
    return x | y


def mixed(x, y):
    """Of 8 bytes and of 4."""
    return np.where(x > y, x * 2, y), x < y


def biased(x, b):
    return np.maximum(x * 2 + b, 0)


def without_ends(x):
    """Neighbours that begin anywhere."""
    return x[1:-1] * x[2:] - x[:-2]


def padded(x):
    return np.concatenate([x[:, 4:], x[:, :4] * 2], axis=1)


def chosen(table, places):
    return table[places] * 2


def turned(x):
    return x.T * 2


def counted(x):
    return x * np.arange(x.shape[-1])


def summed(x):
    return (x * x).sum(-1), x.max(-1)


SIZES = (0, 1, 3, 4, 5, 511, 512, 513, 515, 2049, 16400, 40003)
MAPS = [
    *((twice, numbers(dtype, size)) for size in SIZES for dtype in ("float32", "float64", "int8")),
    *((positive, numbers(dtype, size)) for size in (3, 2049, 40003) for dtype in ("float32", "float64", "int16")),
    *((either, numbers("bool", size), numbers("bool", size)) for size in (1, 17, 4099, 40003)),
    *((mixed, numbers("float64", size), numbers("float32", size)) for size in (5, 1026, 8199)),
    *((biased, normal(rows, columns), normal(columns)) for rows, columns in ((3, 700), (8, 640), (9, 641), (6, 642), (64, 132))),
    (biased, normal(37, 60), normal(37, 1)),
    (without_ends, normal(2000)),
    (padded, normal(40, 36)),
    (chosen, normal(9, 128), np.array([3, -1, 0, 8, 5])),
    (turned, normal(64, 36)),
    (counted, normal(16, 64)),
    (lambda x, y: (x + y, (x + y).sum(0), x * y), normal(30, 64), normal(64)),
]
ROWS = [
    *((softmax, normal(3, columns)) for columns in (64, 65, 66, 68, 100, 128, 130, 200, 252, 256, 1000, 1030)),
    *((softmax, numbers("float64", 5, columns)) for columns in (64, 67, 130, 512)),
    *((layer_norm, normal(9, columns), normal(columns), normal(columns)) for columns in (96, 300, 384, 1028)),
    *((summed, numbers(dtype, 3, columns)) for dtype in ("float32", "int8", "float64") for columns in (68, 256, 1001)),
    (lambda x: x.sum(), normal(40000)),
    (lambda x: (x[:, 1:].sum(-1), softmax(x[:, 1:])), normal(4, 129)),
    (lambda x, mask: softmax(np.where(mask, x, F32(-9))), normal(4, 256), numbers("bool", 4, 256)),
]

#: rows, columns and terms that runs of four, of two and of none divide, whole tiles and others, along either axis
CONTRACTIONS = [
    *(
        (np.matmul, normal(m, k), normal(k, n))
        for m, k, n in ((64, 64, 64), (68, 20, 132), (66, 18, 70), (65, 17, 67), (128, 40, 128), (72, 23, 68))
    ),
    *((lambda x, y: x.T @ y.T, normal(k, m), normal(n, k)) for m, k, n in ((64, 32, 64), (132, 20, 68), (70, 34, 66), (67, 33, 65))),
    (np.matmul, numbers("float64", 66, 20), numbers("float64", 20, 68)),
    (np.matmul, numbers("int8", 64, 32), numbers("int8", 32, 64)),
    (lambda x, y, b: np.maximum((x * 2) @ np.exp(y) + b, 0), normal(64, 36), normal(36, 132), normal(132)),
    (lambda x, y: x[:, 1:] @ y[:, 4:], normal(64, 33), normal(32, 68)),
    (lambda x, y: x[:, :34] @ y[:, :66], normal(64, 36), normal(34, 68)),
    (lambda x, y: np.einsum("bij,bjk->bik", x, y), normal(2, 65, 20), normal(2, 20, 68)),
    (lambda x, y: np.einsum("ijk,kjl->il", x, y), normal(68, 3, 20), normal(20, 3, 64)),
    (lambda x, w: np.split(x @ w, 4, axis=-1), normal(128, 36), normal(36, 4 * 64)),
]

#: terms that one thread goes through, as there are few, from the first of a run or another
SHORT = [
    *((summed, numbers(dtype, 700, terms)) for dtype in ("float32", "float64", "int8") for terms in (2, 3, 4, 5, 8, 11, 16)),
    (lambda x: x[:, 3:14].sum(-1), normal(700, 16)),
    (lambda x: x[:, 1:].sum(-1) + x[:, :-1].max(-1), normal(700, 12)),
    (lambda x, y: (x[:, 1:] * y).sum(-1), normal(700, 8), normal(700, 7)),
    (np.matmul, normal(300, 12), normal(12, 40)),
    (lambda x: x.cumsum(1), normal(300, 12)),
    (lambda x: np.exp(x).cumsum(1) * x.sum(1, keepdims=True), normal(300, 9)),
]


def check(functions, folder, gpu):
    """They give what NumPy does, with several numbers of blocks, threads in several orders."""
    graphs = [irdl.trace(f)(*arguments) for f, *arguments in functions]
    kernels = OnCpu([gpu_program(graph, gpu) for graph in graphs], folder)
    for number, ((function, *arguments), graph) in enumerate(zip(functions, graphs, strict=True)):
        exact = evaluate(graph, arguments)
        for blocks, order in ((1, 0), (3, 1), (5, 7)):
            for result, expected in zip(kernels(number, arguments, blocks=blocks, order=order), exact, strict=True):
                where = f"{number}: {function.__name__}, {arguments[0].dtype}{arguments[0].shape}, order {order}"
                np.testing.assert_allclose(result.reshape(expected.shape), expected, rtol=2e-5, atol=2e-5, err_msg=where)


@needs_compiler
@pytest.mark.parametrize("multiprocessors", [132, pytest.param(4, marks=pytest.mark.slow), 1])
@pytest.mark.parametrize("functions", [MAPS, ROWS, CONTRACTIONS, SHORT], ids=["maps", "rows", "contractions", "short"])
def test_functions(tmp_path, functions, multiprocessors):
    check(functions, tmp_path, Gpu(multiprocessors=multiprocessors))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (twice, [numbers("float32", 515)]),
        (twice, [numbers("float64", 519)]),
        (mixed, [numbers("float64", 515), numbers("float32", 515)]),
        (biased, [normal(8, 68), normal(68)]),
        (softmax, [normal(2, 136)]),
        (summed, [numbers("int8", 3, 136)]),
        (np.matmul, [normal(64, 20), normal(20, 64)]),
        (lambda x: x[:, 3:14].sum(-1), [normal(40, 16)]),
    ],
)
def test_interpreted(function, arguments):
    """What it means does not hang on there being a GPU: its loops are loops. No threads touch the same place, and its text holds it."""
    graph = irdl.trace(function)(*arguments)
    program = gpu_program(graph, SMALL)
    assert runs_of(program)
    assert irdl.parse(str(program)) == program
    for result, exact in zip(Watched(program, 2).call(arguments), evaluate(graph, arguments), strict=True):
        np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=2e-5, atol=2e-5)


def runs_of(program: Program) -> dict[str, int]:
    """Of buffers that are accessed so: the bytes of an access."""
    found = {}
    for loop in (s for s in walk(program.body) if isinstance(s, For) and s.kind == "vector"):
        copy = copied_at_once(loop)
        assert copy is not None
        (side,) = [side for side in copy if side.buffer.space != "register"]
        found[side.buffer.name] = loop.stop * side.buffer.dtype.itemsize
    return found


def single(program: Program) -> set[str]:
    """Those that are accessed element by element somewhere."""
    inside = {id(inner) for s in walk(program.body) if isinstance(s, For) and s.kind == "vector" for inner in s.body}
    places = [s for s in walk(program.body) if id(s) not in inside]
    loads = [item.buffer for s in places for e in expressions(s) for item in subexpressions(e) if isinstance(item, Load)]
    stores = [s.buffer for s in places if isinstance(s, Store)]
    return {buffer.name for buffer in (*loads, *stores) if buffer.space not in ("register", "shared")}


def program_of(function, *arguments, gpu=SMALL) -> Program:
    return gpu_program(irdl.trace(function)(*arguments), gpu)


def test_what_is_accessed_at_once():
    """All of a map whose size is right; of others all but the rest."""
    for dtype, nbytes in (("float32", 16), ("float64", 16), ("int8", 16), ("int16", 16), ("int64", 16)):
        whole = program_of(twice, numbers(dtype, 1 << 14))
        assert runs_of(whole) == {"x": nbytes, "out0": nbytes} and not single(whole)
        rest = program_of(twice, numbers(dtype, (1 << 14) + 1))
        assert runs_of(rest) == runs_of(whole) and len(launches(rest)) == 1
    assert runs_of(program_of(mixed, numbers("float64", 4096), numbers("float32", 4096))) == {"x": 16, "y": 8, "out0": 16, "out1": 2}
    assert runs_of(program_of(chosen, normal(9, 128), np.zeros(40, np.int64))) == {"table": 16, "out0": 16}
    assert runs_of(program_of(biased, normal(64, 64), normal(64))) == {"x": 16, "b": 16, "out0": 16}


def test_what_is_not():
    """Neighbours that begin anywhere, or lie across; threads that would be too few."""
    assert not runs_of(program_of(without_ends, normal(1 << 14)))
    assert not runs_of(program_of(biased, normal(64, 63), normal(63)))
    assert not runs_of(program_of(turned, normal(64, 64)))
    assert not runs_of(program_of(twice, normal(500)))
    assert not runs_of(program_of(twice, normal(1 << 14), gpu=Gpu()))


def test_four_are_on_their_way():
    """All loads of four runs stand before the first store."""
    program = program_of(lambda x, y: x * y, normal(1 << 16), normal(1 << 16))
    copies = [copied_at_once(s) for s in walk(program.body) if isinstance(s, For) and s.kind == "vector"]
    assert copies[0][0].buffer.size == 4 * 4
    assert [copy[0].buffer.space == "register" for copy in copies if copy is not None] == [True, True, False]


def test_rows_are_accessed_at_once():
    """Each element once, of rows whose length is right."""
    rows, row = np.broadcast_to(F32(0), (8000, 1000)), normal(1000)
    for function, arguments in ((softmax, [rows]), (layer_norm, [rows, row, row])):
        program = program_of(function, *arguments, gpu=Gpu())
        assert set(runs_of(program).values()) == {WIDEST} and not single(program)
        (launch,) = launches(program)
        assert {s.scope for s in walk(launch.body) if isinstance(s, Barrier)} == {"warp"}
    assert not runs_of(program_of(softmax, normal(64, 1001), gpu=Gpu()))


def test_tiles_are_accessed_at_once():
    """Operands along either axis, what is around the product, and results along the tile's columns; of each what begins at multiples of
    a run."""

    def layer(x, y, b):
        return np.maximum(x @ y + b, 0)

    program = program_of(layer, normal(64, 64), normal(64, 64), normal(64))
    assert runs_of(program) == dict.fromkeys(("x", "y", "b", "out0"), WIDEST) and not single(program)
    assert runs_of(program_of(lambda x, y: x.T @ y.T, normal(64, 64), normal(64, 64))) == {"x": 16, "y": 16}
    found = runs_of(program_of(layer, normal(64, 33), normal(33, 68), normal(68)))
    assert found == {"y": 16, "b": 16, "out0": 16}
    assert runs_of(program_of(layer, normal(64, 34), normal(34, 67), normal(67))) == {"x": 8}
    # Rows that begin there, and end elsewhere.
    assert runs_of(program_of(lambda x, y: x[:, :34] @ y, normal(64, 36), normal(34, 64))) == {"x": 8, "y": 16, "out0": 16}


def test_maps_that_follow_each_other_meet_as_rarely():
    """Threads have the same elements of all maps of a size, at once or not: nobody has to wait."""

    def several(x):
        y = np.exp(x)
        return y.cumsum(0), np.sin(y) * x

    for size in ((1 << 14) + 3, 500):
        assert len(launches(program_of(lambda x: several(x)[1], normal(size)))) == 1


def test_what_is_stored_and_read_again_stays():
    """In the order in which it was: another name of it is another's argument."""
    text = """program p arena=0 {
  input x: f32[4096]
  output y: f32[4096]
  output z: f32[4096]
  alias x y
  kernel k {
    for i in 0:4096 grid {
      y[i] = mul(x[i], 2.0f32)
      z[i] = %s[i]
    }
  }
}"""
    for source, changes in (("x", False), ("y", False)):
        before, after = (irdl.parse(text % source) for _ in range(2))
        assert isinstance(before, Program) and isinstance(after, Program)
        assert (str(make_vectors(after, SMALL)) != str(before)) == changes


def of_a_thread(statement: str, start: int, stop: int) -> Program:
    """A loop of each lane."""
    text = f"""program p arena=0 {{
  input x: f32[1024]
  output y: f32[1024]
  launch k blocks=1 threads=32 shared=0 {{
    kernel k {{
      register a: f32[1]
      for l in 0:32 lane {{
        a[0] = 0.0f32
        for s in {start}:{stop} {{ {statement} }}
        y[l + 512] = a[0]
      }}
    }}
  }}
}}"""
    program = irdl.parse(text)
    assert isinstance(program, Program)
    return program


@pytest.mark.parametrize(("start", "stop"), [(0, 16), (1, 16), (2, 11), (3, 8), (0, 3), (5, 7), (4, 4)])
def test_steps_of_a_thread(start, stop):
    """So many at once, what they are of the same in their order; those left over one by one."""
    x = normal(1024)
    for statement in ("a[0] = add(a[0], x[16*l + s])", "y[16*l + s] = mul(x[16*l + s], 2.0f32)", "a[0] = fma(x[16*l + s + 3], x[s], a[0])"):
        before = of_a_thread(statement, start, stop)
        after = make_vectors(of_a_thread(statement, start, stop), SMALL)
        assert bool(runs_of(after)) == (stop - start >= 5)
        np.testing.assert_array_equal(interpret(after, [x])[0], interpret(before, [x])[0])


def test_steps_that_need_each_other_stay():
    for statement in ("y[16*l + s] = add(y[16*l + s + -1], x[16*l + s])", "y[16*l + s] = x[16*l + s]\n y[16*l + s + 1] = 0.0f32"):
        program = of_a_thread(statement, 4, 12)
        assert str(make_vectors(program, SMALL)) == str(of_a_thread(statement, 4, 12))


@needs_compiler
def test_what_is_misaligned_is_refused(tmp_path):
    """By what stands in for a GPU, as by one."""
    program = program_of(twice, normal(4096))
    kernels = OnCpu([program], tmp_path)
    arrays, (call,) = calls_of(program, 0, [normal(4096)])
    launching.launch(kernels.library, call, arrays, 0)
    wider = np.zeros(4096 + 8, F32)
    start = (-wider.ctypes.data % WIDEST) // 4 + 1
    arrays[0] = wider[start : start + 4096]
    with pytest.raises(RuntimeError, match="an access of 16 bytes at a misaligned address"):
        launching.launch(kernels.library, call, arrays, 0)


def test_a_vector_loop_is_a_copy():
    """Of a thread of a GPU, it is nothing else."""
    text = """program p arena=0 {
  input x: f32[128]
  output out: f32[128]
  launch k blocks=1 threads=32 shared=0 {
    kernel k {
      register r: f32[4]
      for l in 0:32 lane {
        for v in 0:4 vector of 4 { %s }
        out[l] = r[0]
      }
    }
  }
}"""
    program = irdl.parse(text % "r[v] = x[4*l + v]")
    assert isinstance(program, Program)
    assert "irdl::load<4>(&r[0], &in0_x[4*l]);" in emit_cuda(program)
    for wrong in ("r[v] = exp(x[4*l + v])", "r[v] = x[l + 32*v]", "out[4*l + v] = x[4*l + v]"):
        program = irdl.parse(text % wrong)
        assert isinstance(program, Program)
        with pytest.raises(ProgramError, match="the loop v is vector"):
            emit_cuda(program)


COMPILED = [
    (twice, np.broadcast_to(F32(0), (1 << 24) + 1)),
    (twice, np.broadcast_to(np.float64(0), 1 << 24)),
    (either, np.broadcast_to(np.bool_(0), 1 << 24), np.broadcast_to(np.bool_(0), 1 << 24)),
    (softmax, np.broadcast_to(F32(0), (4096, 1024))),
    (biased, np.broadcast_to(F32(0), (4096, 1024)), np.broadcast_to(F32(0), 1024)),
]


@needs_nvcc
@pytest.mark.parametrize("capability", [pytest.param(80, marks=pytest.mark.slow), 90])
def test_nvcc_makes_one_instruction_of_an_access(tmp_path: Path, capability):
    """In PTX, of which ptxas makes LDG.E.128 and STG.E.128; in machine code where nvdisasm is there."""
    programs = [program_of(function, *arguments, gpu=Gpu()) for function, *arguments in COMPILED]
    assert not [found for found in stacks_and_spills(programs, capability, tmp_path) if found[1] or found[2]]
    source = tmp_path / "kernels.cu"
    source.write_text(collect(programs))
    subprocess.run(["nvcc", "-ptx", *flags_for(capability), str(source), "-o", str(tmp_path / "kernels.ptx")], check=True)
    wide = r"{}\.global\S*\.v(4\.(f32|u32|b32)|2\.(f64|u64|b64))"
    for entry in (tmp_path / "kernels.ptx").read_text().split(".entry")[1:]:
        assert re.search(wide.format("ld"), entry) and re.search(wide.format("st"), entry), entry[:100]
    if (disassembler := shutil.which("nvdisasm")) is not None:
        done = subprocess.run([disassembler, "-c", str(tmp_path / "kernels.cubin")], capture_output=True, text=True, check=True)
        for section in done.stdout.split(".section\t.text.")[1:]:
            assert "LDG.E.128" in section and "STG.E.128" in section, section[:100]
