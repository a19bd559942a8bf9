"""Exported functions, called from C: a program that compares with NumPy, and state from call to call."""

from __future__ import annotations

import copy
import ctypes
import functools
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.tracing.checks import check
from tests.exporting.programs import CASES, descent

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
STRICT = ["-Wall", "-Wextra", "-Werror", "-std=c11"]


def built(folder: Path, source: str, *objects: str) -> Path:
    """A C program, linked with object files."""
    subprocess.run(["gcc", *STRICT, source, *objects, "-lm", "-o", "program"], cwd=folder, check=True)
    return folder / "program"


def run(exported: irdl.Exported, folder: Path) -> subprocess.CompletedProcess[str]:
    exported.save(folder, test=True)
    return subprocess.run([built(folder, f"{exported.name}_test.c", f"{exported.name}.o")], capture_output=True, text=True)


def loaded(exported: irdl.Exported, folder: Path) -> ctypes.CDLL:
    """The function in a library, for Python to call."""
    path = exported.save(folder)
    subprocess.run(["gcc", "-shared", path.name, "-lm", "-o", "library.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "library.so"))


def scratch(exported: irdl.Exported) -> Any:
    memory = np.empty(exported.memory_bytes + 64, np.uint8)
    return ctypes.c_void_p(-(-memory.ctypes.data // 64) * 64), memory


@needs_compiler
@pytest.mark.parametrize("case", CASES)
def test_programs(case: str, tmp_path: Path) -> None:
    function, arguments, options = CASES[case]
    done = run(irdl.export(function, **options)(*arguments), tmp_path)
    assert done.returncode == 0, done.stdout
    assert re.search(r": 0 of [1-9]\d* results differ", done.stdout) or case == "empty"


@needs_compiler
@pytest.mark.parametrize("case", ["dense", "complex", "halves", "whole_numbers", "descent"])
def test_the_test_finds_what_differs(case: str, tmp_path: Path) -> None:
    function, arguments, options = CASES[case]
    exported = irdl.export(function, **options)(*arguments)
    exported.save(tmp_path, test=True)
    source = tmp_path / f"{exported.name}_test.c"
    text = source.read_text()
    found = re.findall(r"static const \w+ (expected_\d+_)\[\d+\] = \{([^,}]*)", text)
    for name, first in found:
        number = "16000" if case == "halves" else "0" if first.startswith("1") else "1"
        source.write_text(text.replace(f"{name}[{text.split(name + '[')[1].split(']')[0]}] = {{{first}", f"{name}[] = {{{number}", 1))
        assert subprocess.run([built(tmp_path, source.name, f"{exported.name}.o")]).returncode == 1, name
    assert found


def test_the_header(tmp_path: Path) -> None:
    _, arguments, options = CASES["descent"]
    header = irdl.export(descent, name="step", **options)(*arguments).header
    assert "descent, programs.py:" in header
    assert re.search(r"params_W +float32 \(\d+, \d+\) +params\.W, read, and overwritten by result\[0\]\['W'\]\n", header)
    declared = re.sub(r"\s+", " ", header)
    assert "int step(float *params_U, float *params_W, float *params_b, const float *x, const float *gy, float *out_1, " in declared
    assert max(map(len, header.splitlines())) <= 120
    (tmp_path / "step.h").write_text(header)
    if shutil.which("g++"):
        subprocess.run(["g++", "-Wall", "-Wextra", "-Werror", "-x", "c++", "-fsyntax-only", "step.h"], cwd=tmp_path, check=True)


def test_names() -> None:
    def odd(double: Any, café: Any, int: Any, memory: Any) -> Any:
        return {"a b": double + café, "a-b": int + 1, "": memory + 1}

    one = np.ones(2)
    header = re.sub(r"\s+", " ", irdl.export(odd, name="odd")(one, one, int=one, memory=one).header)
    assert "const double *double_2, const double *caf, const double *int_2, const double *memory_2" in header
    assert "double *out, double *out_a_b, double *out_a_b_2" in header
    assert irdl.export(lambda x: x)(one).name == "lambda"
    for wrong in ("9lives", "a-b", "int", "", "main", "memcpy", "sinf", "NULL", "int32_t", "ends_"):
        with pytest.raises(ValueError, match="can't be the name of a C function"):
            irdl.export(odd, name=wrong)


class Scaled:
    @functools.partial(irdl.jit, static_argnames="times", donate_argnums=1)
    def __call__(self, x: Any, times: int) -> Any:
        return x * times if times else x


@pytest.mark.parametrize(
    "function", [Scaled().__call__, irdl.jit(lambda x, times: x * times if times else x, static_argnums=1, donate_argnums=0)]
)
def test_jit_was_told(function: Any) -> None:
    """Static and donated arguments."""
    assert "int scaled(double *x, void *memory);" in irdl.export(function, name="scaled")(np.ones(3), 2).header


@needs_compiler
def test_names_that_mean_something_elsewhere(tmp_path: Path) -> None:
    """The C library's functions, macros, types, what the test program uses, and kernels of the code."""

    def exp(NULL: Any, uint8_t: Any, INFINITY: Any, linux: Any, errno: Any, exp: Any, text: Any) -> Any:
        return NULL + uint8_t + INFINITY + linux + errno + np.exp(exp) + text["/*"] + text["*/\n\\"] + text["café"]

    one = np.ones((2, 3), np.uint8)
    exported = irdl.export(exp)(one, one, one, one, one, one, {"/*": one, "*/\n\\": one, "café": one})
    assert exported.name == "exp_2"
    assert run(exported, tmp_path).returncode == 0
    kernel = re.search(r"@(\w+_\d+)\(", irdl.export(lambda x: np.sort(x), name="f")(np.ones(9)).llvm_ir)
    for name in ("code", "wrong", "differs", "given_x", "expected_0", "step", *([kernel[1]] if kernel else [])):
        assert run(irdl.export(lambda x: np.sort(x) / 3, name=name)(np.ones(9)), tmp_path).returncode == 0


def test_saving(tmp_path: Path) -> None:
    exported = irdl.export(lambda x: x + 1, name="plus")(np.ones(3))
    path = exported.save(tmp_path / "not" / "there")
    assert path == tmp_path / "not" / "there" / "plus.o" and path.read_bytes() == exported.object_file
    assert sorted(item.name for item in path.parent.iterdir()) == ["plus.h", "plus.o"]
    assert "plus:" in exported.asm and "define i32 @plus(" in exported.llvm_ir


@needs_compiler
def test_several_in_one_program(tmp_path: Path) -> None:
    weights = np.arange(6.0)
    for name, factor in (("first", 2), ("second", 3)):
        irdl.export(lambda x, factor=factor: x @ (weights * factor), name=name, static_argnames="factor")(np.ones(6)).save(tmp_path)
    (tmp_path / "both.c").write_text(
        '#include "first.h"\n#include "second.h"\n'
        "int main(void) { double x[6] = {1, 1, 1, 1, 1, 1}, a, b; return first(x, &a, 0) || second(x, &b, 0) || a != 30 || b != 45; }\n"
    )
    assert subprocess.run([built(tmp_path, "both.c", "first.o", "second.o")]).returncode == 0


@needs_compiler
def test_captured_arrays_are_constants(tmp_path: Path) -> None:
    """With the numbers that they hold when the function is exported."""
    weights, fixed = np.arange(12.0).reshape(3, 4), np.full(4, 0.5)
    fixed.flags.writeable = False
    exported = irdl.export(lambda bias, x: np.tanh(x @ weights) + bias, name="layer", static_argnums=0)(fixed, np.ones((2, 3)))
    expected = np.tanh(np.ones((2, 3)) @ weights) + fixed
    weights[...] = 0
    done = run(exported, tmp_path)
    assert done.returncode == 0, done.stdout
    x, out = np.ones((2, 3)), np.empty((2, 4))
    memory, _ = scratch(exported)
    assert loaded(exported, tmp_path).layer(x.ctypes, out.ctypes, memory) == 0
    np.testing.assert_allclose(out, expected, rtol=1e-12)


@needs_compiler
def test_indices_out_of_range(tmp_path: Path) -> None:
    def pick(x: Any, i: Any, a: Any) -> Any:
        return x[i], np.linalg.inv(a)

    x, i, a = np.arange(5.0), np.array([1, 4]), np.eye(2)
    exported = irdl.export(pick)(x, i, a)
    library, (memory, _) = loaded(exported, tmp_path), scratch(exported)
    out, inverse = np.empty(2), np.empty((2, 2))

    def outcome(i: list[int], a: np.ndarray) -> str:
        code = library.pick(x.ctypes, np.array(i).ctypes, a.ctypes, out.ctypes, inverse.ctypes, memory)
        found = re.search(rf"^ \*     {code}  (.*)$", exported.header, re.MULTILINE)
        return found[1] if found else str(code)

    assert outcome([0, -1], a) == "0"
    np.testing.assert_array_equal(out, [0, 4])
    assert "an index is out of bounds for axis 0 with size 5" in outcome([0, 5], a)
    assert "an index is out of bounds for axis 0 with size 5" in outcome([-6, 0], a)
    assert "Singular matrix" in outcome([0, 1], np.zeros((2, 2)))
    assert outcome([0, 1], a) == "0"


# What is kept from call to call.


class Keeper:
    """Keeps arrays, a tuple of them, a dict, a list, a ring and numbers of Python's."""

    def __init__(self) -> None:
        self.weights = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
        self.h = np.zeros((2, 4), np.float32)
        self.pair = (np.ones(3), np.zeros((), np.int64))
        self.named = {"mean": np.zeros(4, np.float32), "never": np.ones(1)}
        self.row = [np.zeros(2, np.int8), np.ones(2)]
        self.ring = np.zeros(5)
        self.place, self.gain = 0, 1.0

    def step(self, x: Any) -> Any:
        self.h = np.tanh(x @ self.weights + self.h)
        first, count = self.pair
        self.pair = (first[::-1] * 0.5, count + 1)
        self.named["mean"] = self.named["mean"] * np.float32(0.9) + self.h.mean(0)
        self.row[0] = self.row[0] + np.int8(100)
        self.ring[self.place % 5] = self.gain
        self.place += 1
        self.gain = self.gain * 0.5 + 1
        self.last = x
        return self.h, self.ring.sum() + self.place


@needs_compiler
def test_state(tmp_path: Path) -> None:
    keeper = Keeper()
    exported = irdl.export(keeper.step)(np.ones((2, 3), np.float32))
    assert run(exported, tmp_path).returncode == 0
    members = re.search(r"typedef struct \{(.*)\} step_state;", exported.header, re.DOTALL)[1]
    assert sorted(re.findall(r"(\w+ \w+)(?:\[\d+\])?;", members)) == [
        *("double gain", "double pair_0", "double ring", "float h", "float named_mean"),
        *("int64_t pair_1", "int64_t place", "int8_t row_0"),
    ]
    library, (memory, _) = loaded(exported, tmp_path), scratch(exported)
    state = ctypes.create_string_buffer(exported.state_bytes)
    ctypes.memmove(state, ctypes.addressof(ctypes.c_char.in_dll(library, "step_initial")), exported.state_bytes)
    h, total = np.empty((2, 4), np.float32), np.empty(())
    twin = copy.deepcopy(keeper)
    for call in range(8):
        x = np.full((2, 3), call / 8, np.float32)
        assert library.step(state, x.ctypes, h.ctypes, total.ctypes, memory) == 0
        expected = twin.step(x)
        np.testing.assert_allclose(h, expected[0], rtol=1e-6)
        np.testing.assert_allclose(total, expected[1], rtol=1e-12)
    np.testing.assert_array_equal(keeper.h, 0)  # exporting it has not run it


def test_state_of_closures_and_globals() -> None:
    level = np.zeros(3)

    def follow(x: Any) -> Any:
        nonlocal level
        global _SEEN
        level = level * 0.9 + x
        _SEEN = _SEEN + x.sum()
        return level

    header = irdl.export(follow)(np.ones(3)).header
    assert "double level[3];" in header and "double SEEN[2];" in header


_SEEN = np.zeros(2)


@needs_compiler
def test_what_is_only_bound_is_no_state(tmp_path: Path) -> None:
    keeper = Keeper()

    def remember(x: Any) -> Any:
        keeper.cache = (x, x * 2)
        return x + 1

    exported = irdl.export(remember)(np.ones(3))
    assert exported.state_bytes == 0 and run(exported, tmp_path).returncode == 0


@needs_compiler
def test_state_that_trades_places(tmp_path: Path) -> None:
    """New contents that are made of each other's old ones, and may be results too."""
    pair = {"a": np.arange(4.0), "b": np.arange(4.0) * 2}

    def trade(x: Any) -> Any:
        pair["a"], pair["b"] = pair["b"] + x, pair["a"][::-1]
        return x.sum()

    def show(x: Any) -> Any:
        return trade(x), pair["a"], pair["b"]

    for function in (trade, show):
        done = run(irdl.export(function)(np.ones(4)), tmp_path)
        assert done.returncode == 0, done.stdout


class Recorder:
    """Keeps what each step made, and returns the last of it."""

    def __init__(self) -> None:
        self.U, self.last = np.linspace(-1, 1, 16).reshape(4, 4), np.zeros(4)

    def forward(self, xs: Any) -> Any:
        self.hs = []
        h = self.last
        for x in xs:
            h = np.tanh(x + h @ self.U)
            self.hs.append(h)
        self.last = h
        return h, self.hs[2]


@needs_compiler
def test_results_that_are_rows_of_a_stack(tmp_path: Path) -> None:
    recorder, xs = Recorder(), np.linspace(-1, 1, 80).reshape(20, 4)
    exported = irdl.export(recorder.forward)(xs)
    assert "double last[4];" in exported.header and "double *out_0, double *out_1, void *memory" in exported.header
    library, (memory, _) = loaded(exported, tmp_path), scratch(exported)
    state, last, third = np.zeros(4), np.empty(4), np.empty(4)
    for _ in range(3):
        expected = recorder.forward(xs)
        library.forward(state.ctypes, xs.ctypes, last.ctypes, third.ctypes, memory)
        np.testing.assert_allclose([last, third, state], [*expected, expected[0]], rtol=1e-12)


class Holder:
    def __init__(self, **items: Any) -> None:
        vars(self).update(items)


def _not_yet(holder: Any, x: Any) -> Any:
    if holder.h is None:
        holder.h = np.zeros(3)
    holder.h = holder.h + x
    return holder.h


def _has_none(holder: Any, x: Any) -> Any:
    if not hasattr(holder, "h"):
        holder.h = np.zeros(3)
    holder.h = holder.h + x
    return holder.h


def _grows(holder: Any, x: Any) -> Any:
    holder.h = np.concatenate([holder.h, x])
    return holder.h


def _both(holder: Any, x: Any) -> Any:
    holder.h, holder.c = holder.h + x, holder.c * x
    return holder.h


def _appends(holder: Any, x: Any) -> Any:
    holder.h.append(x)
    return x


def _prints(holder: Any, x: Any) -> Any:
    print(x.sum())
    return x


def _deletes(holder: Any, x: Any) -> Any:
    y = holder.h + x
    del holder.h
    return y


def _mode(holder: Any, x: Any) -> Any:
    y = x if holder.h == "a" else -x
    holder.h = "b" if holder.h == "a" else "a"
    return y


def _function(holder: Any, x: Any) -> Any:
    y = holder.h(x)
    holder.h = np.cos
    return y


def _longer_list(holder: Any, x: Any) -> Any:
    holder.h = [*holder.h, x]
    return x * len(holder.h)


def _trades_objects(holder: Any, x: Any) -> Any:
    holder.a.h = holder.a.h + x
    holder.a, holder.b = holder.b, holder.a
    return holder.a.h * 1


def _also_reads(holder: Any, x: Any) -> Any:
    holder.h = holder.h + x + holder.c
    return holder.h


def _view() -> tuple[np.ndarray, np.ndarray]:
    whole = np.zeros(6)
    return whole, whole[:3]


def _stores(holder: Any, x: Any) -> Any:
    holder.h[3:] = x
    return holder.c + x


def _remembers(holder: Any, x: Any) -> Any:
    holder.h[...] = holder.h + x
    y = holder.c + x
    holder.c = holder.h
    return y


def _rebinds(holder: Any, x: Any) -> Any:
    y = holder.h + x
    holder.h = "gone"
    return y


def _becomes_numpys(holder: Any, x: Any) -> Any:
    y = x * holder.h
    holder.h = np.sin(holder.h)
    return y


@pytest.mark.parametrize(
    ("function", "items", "message"),
    [
        (_becomes_numpys, {"h": 1.0}, r"`holder.h` is a number of Python's now.*let it be one from the start, np.float64\(1.0\)"),
        (_not_yet, {"h": None}, r"`holder.h` is not there yet.*call the function once before you export it"),
        (_has_none, {}, r"`holder.h` is not there yet.*call the function once before you export it"),
        (_grows, {"h": np.zeros(3)}, r"`holder.h` is f64\[3\] now, and .* binds it to f64\[6\]: .*one dtype and one shape"),
        (_both, dict.fromkeys("hc", np.zeros(3)), r"`holder.[hc]` and `holder.[hc]` are one array now.*make each an array of its own"),
        (_appends, {"h": []}, r"changes holder.h, which there is none of in C"),
        (_prints, {}, r"changes what is printed, which there is none of in C"),
        (_deletes, {"h": np.zeros(3)}, r"changes holder.h, which there is none of in C"),
        (_rebinds, {"h": np.zeros(3)}, r"depends on `holder.h`, of type ndarray now, and binds it to 'gone'"),
        (_mode, {"h": "a"}, r"depends on `holder.h`, 'a' now, and binds it to 'b'"),
        (_function, {"h": np.sin}, r"depends on `holder.h`, of type ufunc now, and binds it to <ufunc 'cos'>"),
        (_longer_list, {"h": [np.zeros(3)]}, r"depends on `holder.h`, of type list now, and binds it to a list of other parts"),
        (_trades_objects, {"a": Holder(h=np.zeros(3)), "b": Holder(h=np.ones(3))}, r"depends on `holder.a`, of type Holder now"),
        (_also_reads, dict.fromkeys("hc", np.zeros(3)), r"`holder.h` and `holder.c` are one array now"),
        (_stores, dict(zip("hc", _view(), strict=True)), r"stores into `holder.h`, which shares its memory with `holder.c`"),
        (_remembers, {"h": np.zeros(3), "c": np.zeros(3)}, r"leaves one array at `holder.c` and `holder.h`, and stores into it"),
    ],
)
def test_state_that_cannot_be_kept(function: Any, items: dict[str, Any], message: str) -> None:
    holder = Holder(**items)
    with pytest.raises(TraceError, match=message):
        irdl.export(lambda x: function(holder, x), name="f")(np.ones(3))


def test_decisions_by_what_is_kept(tmp_path: Path) -> None:
    """Both sides are in the code: which one is taken is decided at each call."""
    holder = Holder(count=0)

    def every_other(x: Any) -> Any:
        holder.count += 1
        return x if holder.count % 2 else -x

    exported = irdl.export(every_other)(np.ones(3))
    assert "int64_t holder_count" in exported.header
    assert run(exported, tmp_path).returncode == 0
    assert holder.count == 0


def _counting() -> Any:
    count, last, seen = 0, None, "never"

    def step(x: Any) -> Any:
        nonlocal count, last, seen
        count, last, seen = count + 1, x, "once"
        return x * count

    return step


def _asking() -> Any:
    last = None

    def step(x: Any) -> Any:
        nonlocal last
        y = x if last is None else x + last
        last = y
        return y

    return step


def test_variables_of_closures() -> None:
    """Two of one name are two members; what is bound and never read is none."""
    first, second = _counting(), _counting()
    header = irdl.export(lambda x: first(x) + second(second(x)), name="counted")(np.ones(3)).header
    assert re.search(r"typedef struct \{\s+int64_t count;\s+int64_t count_2;\s+\}", header)
    with pytest.raises(TraceError, match="`last` is not there yet"):
        irdl.export(_asking())(np.ones(3))


def _resets(holder: Any, x: Any) -> Any:
    y = x * holder.count + np.where(holder.flag, 1.0, 2.0)
    holder.count, holder.flag, holder.same = 0, False, 4
    return y * holder.same


@needs_compiler
def test_numbers_bound_to_constants(tmp_path: Path) -> None:
    holder = Holder(count=3, flag=True, same=4)
    exported = irdl.export(lambda x: _resets(holder, x), name="resets")(np.ones(3))
    assert sorted(re.findall(r"    (\w+ \w+);", exported.header)) == ["bool holder_flag", "int64_t holder_count"]
    assert run(exported, tmp_path).returncode == 0


class Numbers:
    """Numbers of Python's in dicts, lists and tuples."""

    def __init__(self) -> None:
        self.named: dict[str, Any] = {"gain": 1.0, "count": 0, "on": False}
        self.row, self.pair, self.deep = [0, 1.0, np.float32(2), [5, True]], (1, 2.0), {0: {"x": 3}}

    def numbers(self, x: Any) -> Any:
        named, row = self.named, self.row
        y = x * named["gain"] + np.where(named["on"], 1.0, 2.0) + self.pair[0] * self.pair[1] + self.deep[0]["x"]
        named["gain"] *= 0.5
        named["count"] += 1
        named["on"] = named["count"] > 2
        row[0], row[1], row[2] = row[0] + 2, row[1] / 3, row[2] + np.float32(1)
        row[3][0] += 1
        row[3][1] = not row[3][1]
        self.pair = (self.pair[0] + 1, self.pair[1] * 2)
        self.deep[0]["x"] += 1
        return y + row[0] + row[1] + row[2] + row[3][0] + np.where(row[3][1], 1.0, 2.0)


@needs_compiler
def test_numbers_in_containers(tmp_path: Path) -> None:
    exported = irdl.export(Numbers().numbers)(np.ones(3))
    members = re.search(r"typedef struct \{(.*)\} numbers_state;", exported.header, re.DOTALL)[1]
    assert sorted(re.findall(r"(\w+) (\w+);", members)) == [
        *(
            ("bool", "named_on"),
            ("bool", "row_3_1"),
            ("double", "named_gain"),
            ("double", "pair_1"),
            ("double", "row_1"),
            ("float", "row_2"),
        ),
        *(("int64_t", "deep_0_x"), ("int64_t", "named_count"), ("int64_t", "pair_0"), ("int64_t", "row_0"), ("int64_t", "row_3_0")),
    ]
    assert run(exported, tmp_path).returncode == 0
    library, (memory, _) = loaded(exported, tmp_path), scratch(exported)
    state, y, twin = ctypes.create_string_buffer(exported.state_bytes), np.empty(3), Numbers()
    ctypes.memmove(state, ctypes.addressof(ctypes.c_char.in_dll(library, "numbers_initial")), exported.state_bytes)
    for call in range(6):
        x = np.full(3, call / 4)
        assert library.numbers(state, x.ctypes, y.ctypes, memory) == 0
        np.testing.assert_allclose(y, twin.numbers(x), rtol=1e-6)


def test_what_cannot_be_returned() -> None:
    holder = Holder(h=np.zeros(3))

    def named(x: Any) -> Any:
        holder.h = holder.h + x
        return x, f"{x.sum()}"

    with pytest.raises(TraceError, match=r"result\[1\] of `named` is no array or number"):
        irdl.export(named)(np.ones(3))


@dataclass
class State:
    h: Any
    count: Any


def _renew(state: Any, named: Any, x: Any) -> Any:
    state.h = state.h * 2 + x
    state.count = state.count + 1
    named["rows"][1] = named["rows"][0] = named["rows"][1] + x
    return state.h.sum(), state


@needs_compiler
def test_changed_arguments(tmp_path: Path) -> None:
    exported = irdl.export(_renew)(State(np.ones(3), 2), {"rows": [np.zeros(3), np.ones(3)]}, np.arange(3.0))
    declared = re.sub(r"\s+", " ", exported.header)
    assert "double *state_h, int64_t *state_count, double *named_rows_0, double *named_rows_1, const double *x, double *out_0" in declared
    done = run(exported, tmp_path)
    assert done.returncode == 0, done.stdout
    library, (memory, _) = loaded(exported, tmp_path), scratch(exported)
    h, count, first, second, x = np.ones(3), np.full((), 2), np.zeros(3), np.ones(3), np.arange(3.0)
    results = [np.empty(()), np.empty(3), np.empty((), np.int64)]
    library.renew(*(array.ctypes for array in (h, count, first, second, x, *results)), memory)
    for found, expected in zip((h, count, first, second, *results), ([2, 3, 4], 3, [1, 2, 3], [1, 2, 3], 9, [2, 3, 4], 3), strict=True):
        np.testing.assert_array_equal(found, expected)


def _new_key(state: Any, x: Any) -> Any:
    state["new"] = x + 1
    return x


def _longer(state: Any, x: Any) -> Any:
    state["h"] = np.concatenate([state["h"], x])
    return x


@pytest.mark.parametrize(
    ("function", "message"),
    [(_new_key, "changes argument 0, .*return what else is new"), (_longer, r"argument 0.* is f64\[3\], .* binds it to f64\[6\]")],
)
def test_arguments_that_cannot_be_changed(function: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        irdl.export(function)({"h": np.zeros(3)}, np.ones(3))


@needs_compiler
def test_errors_behind_indices(tmp_path: Path) -> None:
    def pick(x: Any, i: Any) -> Any:
        y = x[i]
        check(y > 8, AssertionError)
        check(y < 2, ValueError(f"{y} is low"))
        return y * x[i - 1]

    x, out = np.arange(10.0), np.empty(())
    exported = irdl.export(pick)(x, np.int64(5))
    library, (memory, _) = loaded(exported, tmp_path), scratch(exported)
    line = pick.__code__.co_firstlineno + 2
    for i, message in (
        (5, None),
        (9, f"AssertionError (at test_export.py:{line})"),
        (1, f"ValueError: ... is low (at test_export.py:{line + 1})"),
    ):
        code = library.pick(x.ctypes, ctypes.c_int64(i), out.ctypes, memory)
        assert (code == 0) is (message is None)
        assert message is None or f"     {code}  {message}\n" in exported.header
    assert (
        "index is out of bounds"
        in exported.header.split(f"     {library.pick(x.ctypes, ctypes.c_int64(10), out.ctypes, memory)}  ")[1].split("\n")[0]
    )


@needs_compiler
def test_errors_that_are_raised(tmp_path: Path) -> None:
    """Each has a number, which the call returns; the header has their texts."""

    class Filter:
        def __init__(self) -> None:
            self.last = np.float64(0.5)

        def step(self, x: Any, a: Any) -> Any:
            check(np.logical_or(a <= 0, a > 1), ValueError(f'"a" is {a}, */ and not in (0, 1]'))
            out = []
            for t in range(len(x)):
                self.last = self.last + a * (x[t] - self.last)
                check(np.abs(self.last) > 10, OverflowError(f"step {t}: {self.last:.2f}"))
                out.append(self.last)
            return np.stack(out)

    x = np.linspace(-1, 1, 9)
    exported = irdl.export(Filter().step, name="filter")(x, 0.5)
    assert re.search(r"1  ValueError: 'a' is \.\.\., \* / and not in \(0, 1\] \(at test_export\.py:\d+", exported.header)
    assert re.search(r"2  OverflowError: step \.\.\. \(at test_export\.py", exported.header)
    assert run(exported, tmp_path).returncode == 0
    library, (memory, _) = loaded(exported, tmp_path), scratch(exported)
    state, out = np.array([0.5]), np.empty(9)
    for a, scale, code in ((0.5, 1, 0), (0.0, 1, 1), (2.0, 100, 1), (1.0, 100, 2), (0.5, 1, 0)):
        assert library.filter(state.ctypes, (x * scale).ctypes, ctypes.c_double(a), out.ctypes, memory) == code
