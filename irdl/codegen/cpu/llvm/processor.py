"""What machine code is made for: this processor, a baseline of it, or another one by LLVM's names for it."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import llvmlite.binding as llvm

from irdl import config
from irdl.loops.target import Target

#: What the baselines that IRDL_TARGET may name have beyond the one before (of what code is made with here).
_BASELINES = {
    "x86-64": {"sse2"},
    "x86-64-v2": {"ssse3", "sse4.1", "sse4.2", "popcnt"},
    "x86-64-v3": {"avx2", "fma", "bmi2", "f16c"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
}
#: vector registers by the first part of a triple; x86 has twice as many with AVX-512
_REGISTERS = {"x86_64": 16, "aarch64": 32, "arm64": 32, "riscv64": 32, "riscv32": 32}
#: systems, as triples name them, that load programs where there is room
_LOADERS = {"linux", "darwin", "macos", "macosx", "ios", "windows", "freebsd", "openbsd", "netbsd", "android"}


@dataclass(frozen=True)
class Processor:
    """What code is made for: the machine in LLVM's names, the scheduler's view, and how what is linked finds its addresses."""

    name: str
    features: str
    target: Target
    triple: str
    relocation: str = "pic"
    is_native: bool = False

    def __str__(self) -> str:
        name = f"native ({self.name})" if self.is_native else self.name
        features = "" if self.is_native else self.features
        return " ".join(part for part in (self.triple, name, features) if part)


def host() -> Processor:
    """This processor, or the baseline that IRDL_TARGET names.

    Raises:
        ValueError: IRDL_TARGET names what this processor does not run.
    """
    return _host(config.TARGET.value)


def host_target() -> Target:
    """The scheduler's view of the processor that code is made for."""
    return host().target


def host_description() -> str:
    """The processor that code is made for, and its features."""
    return f"{host().name} {host().features}"


@lru_cache(maxsize=8)
def _host(chosen: str) -> Processor:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    here = {feature for feature, has in llvm.get_host_cpu_features().items() if has}
    triple = llvm.get_default_triple()
    if chosen == "native":
        return Processor(llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), _target(here), triple, is_native=True)
    needed: set[str] = set()
    for name, more in _BASELINES.items():
        needed |= more
        if name == chosen:
            break
    if not needed <= here:
        raise ValueError(f"IRDL_TARGET is {chosen!r}, but this processor has no {', '.join(sorted(needed - here))}")
    return Processor(chosen, "", _target(needed), triple)


def _target(features: Collection[str]) -> Target:
    if "avx512f" in features:
        return Target(64, 32, avx512=True)
    if "aarch64" in llvm.get_default_triple():
        return Target(16, 32)
    rounds, halves = "sse4.1" in features, "f16c" in features
    return Target(32 if "avx2" in features else 16, 16, fma="fma" in features, rounds=rounds, halves=halves)


@lru_cache(maxsize=32)
def find_processor(triple: str | None = None, cpu: str | None = None, features: str = "") -> Processor:
    """Any processor that LLVM makes code for.

    Args:
        triple: the machine, as `aarch64-linux-gnu` or `thumbv7em-none-eabihf`; by default this one's.
        cpu: LLVM's name of the processor (as clang's -mcpu, or -march of x86); this very one where nothing is named at all, else by
            default the architecture's least.
        features: more of LLVM's features, as `+neon,-fma`.

    Raises:
        ValueError: LLVM does not know the triple, the processor or a feature; or numbers lie the other way round there.
    """
    # LLVM ends the process at what is none.
    wrong = next((part for part in features.split(",") if features and not re.fullmatch(r"[+-][\w.+-]+", part, re.ASCII)), None)
    if wrong is not None:
        raise ValueError(
            f"features={features!r}: {wrong!r} is none of LLVM's, which begin with + or -, with commas between, as '+neon,-fma'"
        )
    if triple is None and cpu is None and not features:
        return host()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = _with_vendor(triple or llvm.get_default_triple())
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError as error:
        raise ValueError(f"LLVM knows no target {triple!r}: {str(error).strip()}") from None
    # Where nothing loads programs, they are linked at fixed addresses.
    relocation = "pic" if _LOADERS.intersection(re.split(r"[-\d.]", triple)) else "static"
    with _complaints() as said:
        machine = target.create_target_machine(cpu=cpu or "", features=features, opt=1, reloc=relocation, codemodel="small")
    complaint = "".join(said)
    if "not a recognized" in complaint:
        raise ValueError(f"of {triple}, LLVM says: {complaint.splitlines()[0]}")
    if not str(machine.target_data).startswith("e"):
        raise ValueError(f"{triple} keeps the high byte of numbers first, which irdl makes no code for")
    return Processor(cpu or "", features, _probed(machine), triple, relocation)


def _with_vendor(triple: str) -> str:
    """A triple with its vendor, which many leave out: LLVM would take the system for it."""
    architecture, *rest = triple.split("-")
    return "-".join([architecture, "unknown", *rest]) if rest and rest[0] in ("linux", "none", "windows", "wasi") else triple


def parse_for(machine: llvm.TargetMachine, text: str) -> llvm.ModuleRef:
    """A module for a machine. Its layout comes first: it says how pointers are aligned, of which the text says nothing."""
    return llvm.parse_assembly(f'target datalayout = "{machine.target_data}"\ntarget triple = "{machine.triple}"\n{text}')


#: sixteen sums, and what there may be one instruction for, of which the assembly tells what the processor has
_PROBE = """
define void @sum(ptr %x, ptr %y) {
  %a = load <16 x float>, ptr %x
  %b = load <16 x float>, ptr %y
  %c = fadd <16 x float> %a, %b
  store <16 x float> %c, ptr %x
  ret void
}
define float @fused(float %x, float %y, float %z) {
  %r = call float @llvm.fma.f32(float %x, float %y, float %z)
  ret float %r
}
define float @rounded(float %x) {
  %r = call float @llvm.roundeven.f32(float %x)
  ret float %r
}
define double @rounded_too(double %x) {
  %r = call double @llvm.roundeven.f64(double %x)
  ret double %r
}
define void @half(ptr %x, ptr %y) {
  %h = load half, ptr %x
  %r = fpext half %h to float
  store float %r, ptr %y
  ret void
}
declare float @llvm.fma.f32(float, float, float)
declare float @llvm.roundeven.f32(float)
declare double @llvm.roundeven.f64(double)
"""
#: functions that LLVM calls where it has no instruction: to multiply and add, to round, to convert
_CALLED = ("fmaf", "roundevenf?", "__extendhfsf2|__gnu_h2f_ieee|__aeabi_h2f")
_SUM = re.compile(r"^\s+(?:v?addps|v?addss|vadd\.f32|fadd(?:\.s)?|vfadd\.vv|f32x4\.add|f32\.add)\b.*", re.MULTILINE)


def _probed(machine: llvm.TargetMachine) -> Target:
    """The scheduler's view, from what LLVM makes of a few lines."""
    code = machine.emit_assembly(parse_for(machine, _PROBE))
    sums = _SUM.findall(code)
    fma, rounds, halves = (not re.search(rf"\b({name})\b", code) for name in _CALLED)
    avx512 = any("zmm" in line for line in sums)
    groups = any("vfadd.vv" in line for line in sums)  # one instruction for several registers
    width = 16 if groups else 64 // len(sums) if sums else 4
    if width < 16:  # numbers one by one, in registers that would hold so many vectors of four
        return Target(16, 8, False, fma, rounds, halves)
    return Target(width, 32 if avx512 else _REGISTERS.get(machine.triple.split("-")[0], 16), avx512, fma, rounds, halves)


_one_at_a_time = threading.Lock()


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What LLVM, which raises nothing, writes to the standard error meanwhile."""
    found: list[str] = []
    sys.stderr.flush()
    with _one_at_a_time, tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield found
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            found.append(file.read().decode(errors="replace"))
