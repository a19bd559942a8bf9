"""Code for other machines: what LLVM says of them, that it makes code, and, where an emulator is at hand, what that gives."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import irdl
from irdl.codegen.cpu.llvm.processor import find_processor, host
from irdl.loops.target import Target
from tests.exporting.programs import CASES

ARM = {"target": "armv7-linux-gnueabihf", "cpu": "cortex-a7"}
MICROCONTROLLER = {"target": "thumbv7em-none-eabihf", "cpu": "cortex-m4"}
WASM = {"target": "wasm32-unknown-unknown", "features": "+simd128"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"triple": "x86_64-linux-gnu", "cpu": "x86-64"}, Target(16, 16, fma=False, rounds=False, halves=False)),
        ({"triple": "x86_64-pc-windows-msvc", "cpu": "x86-64-v3"}, Target(32, 16)),
        ({"triple": "x86_64-linux-gnu", "cpu": "skylake-avx512"}, Target(64, 32, avx512=True)),
        ({"triple": "arm64-apple-macosx11", "cpu": "apple-m1"}, Target(16, 32)),
        ({"triple": "aarch64-linux-gnu"}, Target(16, 32)),
        ({"triple": ARM["target"], "cpu": ARM["cpu"]}, Target(16, 16, rounds=False)),
        ({"triple": MICROCONTROLLER["target"], "cpu": MICROCONTROLLER["cpu"]}, Target(16, 8, rounds=False)),
        ({"triple": "thumbv7m-none-eabi", "cpu": "cortex-m3"}, Target(16, 8, fma=False, rounds=False, halves=False)),
        ({"triple": "riscv64-linux-gnu", "features": "+m,+a,+f,+d,+v"}, Target(16, 32, halves=False)),
        ({"triple": "riscv64-linux-gnu", "features": "+m,+a,+f,+d"}, Target(16, 8, halves=False)),
        ({"triple": WASM["target"], "features": WASM["features"]}, Target(16, 16, fma=False, halves=False)),
    ],
    ids=lambda item: " ".join(item.values()) if isinstance(item, dict) else "",
)
def test_what_processors_have(options: dict[str, str], expected: Target) -> None:
    assert find_processor(**options).target == expected


def test_this_processor() -> None:
    assert find_processor() is host()
    if host().is_native:
        assert find_processor(cpu=host().name).target == host().target


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "pdp11-unknown-unix"}, "LLVM knows no target 'pdp11-unknown-unix'"),
        ({"target": "aarch64-linux-gnu", "cpu": "cortex-a99"}, "'cortex-a99' is not a recognized processor"),
        ({"features": "+wings"}, r"'\+wings' is not a recognized feature"),
        ({"features": "neon"}, "'neon' is none of LLVM's, which begin with"),
        ({"features": "+fma, +avx2"}, r"' \+avx2' is none of LLVM's"),
        ({"target": "mips-linux-gnu"}, "keeps the high byte of numbers first"),
    ],
)
def test_unknown_machines(options: dict[str, str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=message):
        irdl.export(lambda x: x, **options)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "magic"),
    [
        ({"cpu": "x86-64"}, b"\x7fELF\x02"),
        ({"target": "x86_64-pc-windows-msvc"}, b"\x64\x86"),
        ({"target": "arm64-apple-macosx11"}, b"\xcf\xfa\xed\xfe"),
        (MICROCONTROLLER, b"\x7fELF\x01"),
        (WASM, b"\0asm"),
    ],
    ids=lambda item: " ".join(item.values()) if isinstance(item, dict) else "",
)
def test_object_files(options: dict[str, Any], magic: bytes) -> None:
    function, arguments, more = CASES["descent"]
    exported = irdl.export(function, **more, **options)(*arguments)
    assert exported.object_file.startswith(magic)
    # One thread needs none of the functions that stand for atomic instructions.
    assert "__atomic" not in exported.asm and "__sync" not in exported.asm and "roundeven" not in exported.asm


#: of the programs, those that differ most from each other
CHOSEN = ("complex", "dense", "descent", "filtered", "functions_single", "halves", "scalars", "solve", "sorted", "whole_numbers")


class Emulated(NamedTuple):
    options: dict[str, str]
    compiler: str
    emulator: str


EMULATED = {
    "aarch64": Emulated({"target": "aarch64-linux-gnu"}, "aarch64-linux-gnu-gcc", "qemu-aarch64"),
    "arm": Emulated(ARM, "arm-linux-gnueabihf-gcc", "qemu-arm"),
    "arm-without-fma": Emulated({"target": "armv7-linux-gnueabihf"}, "arm-linux-gnueabihf-gcc", "qemu-arm"),
    "riscv": Emulated({"target": "riscv64-linux-gnu", "features": "+m,+a,+f,+d,+c"}, "riscv64-linux-gnu-gcc", "qemu-riscv64"),
    "x86-64": Emulated({"cpu": "x86-64"}, "gcc", "env"),
}


@pytest.mark.parametrize("machine", EMULATED)
def test_programs_elsewhere(machine: str, tmp_path: Path) -> None:
    options, compiler, emulator = EMULATED[machine]
    if shutil.which(compiler) is None or shutil.which(emulator) is None:
        pytest.skip(f"needs {compiler} and {emulator}")
    for name in CHOSEN:
        function, arguments, more = CASES[name]
        exported = irdl.export(function, **more, **options)(*arguments)
        path = exported.save(tmp_path, test=True)
        source = path.with_name(f"{exported.name}_test.c")
        subprocess.run([compiler, "-std=c11", "-static", source, path, "-lm", "-o", tmp_path / name], check=True)
        done = subprocess.run([emulator, tmp_path / name], capture_output=True, text=True)
        assert done.returncode == 0, (name, done.stdout)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_without_an_instruction(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the nearest whole number, ties to even, as the instruction does."""
    from irdl.runtime import cpu

    bits = np.finfo(dtype).nmant
    numbers = [
        0.0,
        0.5,
        1.5,
        2.5,
        0.49999997,
        2.0**bits - 0.5,
        2.0**bits,
        2.0**bits + 1,
        2.0 ** (bits - 1) + 0.5,
        1e30,
        np.inf,
        np.nan,
        1e-40,
    ]
    x = np.array([*numbers, *(-number for number in numbers)], dtype)
    monkeypatch.setattr(cpu, "host_target", lambda: Target(16, 16, fma=False, rounds=False, halves=False))
    found = irdl.jit(np.rint)(x)
    expected = np.rint(x)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
