"""LLVM IR text -> machine code for this CPU: one position-independent object, loaded by ORC."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm

from irdl import config
from irdl.forks import hold_while_forking
from irdl.loops.target import Target

_lock = threading.RLock()
_count = itertools.count()


#: llvmlite's own: whoever holds it when the process forks is gone in the child
_llvmlite_lock = getattr(llvm.ffi.lib, "_lock", None)


def _before_fork() -> None:
    """No other thread is inside LLVM while the process forks."""
    _lock.acquire()
    if _llvmlite_lock is not None:
        _llvmlite_lock.__enter__()


def _after_fork(_: None) -> None:
    if _llvmlite_lock is not None:
        _llvmlite_lock.__exit__(None, None, None)
    _lock.release()


hold_while_forking(_before_fork, _after_fork)


#: What the baselines that IRDL_TARGET may name have beyond the one before (of what code is made with here).
_BASELINES = {
    "x86-64": {"sse2"},
    "x86-64-v2": {"ssse3", "sse4.2", "popcnt"},
    "x86-64-v3": {"avx2", "fma", "bmi2"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
}


@dataclass(frozen=True)
class _Processor:
    """What code is made for: LLVM's name and features, and the scheduler's view."""

    name: str
    features: str
    target: Target


@lru_cache(maxsize=8)
def _processor(chosen: str) -> _Processor:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    here = {feature for feature, has in llvm.get_host_cpu_features().items() if has}
    if chosen == "native":
        return _Processor(llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), _target(here))
    needed: set[str] = set()
    for name, more in _BASELINES.items():
        needed |= more
        if name == chosen:
            break
    if not needed <= here:
        raise ValueError(f"IRDL_TARGET is {chosen!r}, but this processor has no {', '.join(sorted(needed - here))}")
    return _Processor(chosen, "", _target(needed))


def _target(features: Collection[str]) -> Target:
    if "avx512f" in features:
        return Target(64, 32, avx512=True)
    if "aarch64" in llvm.get_default_triple():
        return Target(16, 32)
    return Target(32 if "avx2" in features else 16, 16, fma="fma" in features)


def host_target() -> Target:
    """The scheduler's view of the processor that code is made for.

    Raises:
        ValueError: IRDL_TARGET names what this processor does not run.
    """
    return _processor(config.TARGET.value).target


def host_description() -> str:
    """The processor that code is made for, and its features."""
    processor = _processor(config.TARGET.value)
    return f"{processor.name} {processor.features}"


def _target_machine(processor: _Processor) -> llvm.TargetMachine:
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=processor.name, features=processor.features, opt=1, reloc="pic", codemodel="small")


#: used by one thread at a time
_kept_machine = lru_cache(maxsize=8)(_target_machine)


def _optimised(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """The IR is vectors in SSA form already: promoting the stack slots is all it needs, and letting go of functions that nothing calls."""
    module = llvm.parse_assembly(text)
    module.triple = llvm.get_default_triple()
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(machine, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_aggressive_dce_pass()
    passes.run(module, builder)
    module.verify()
    return module


def compile_object(text: str) -> bytes:
    """The object file of a module."""
    with _lock:
        machine = _kept_machine(_processor(config.TARGET.value))
        return machine.emit_object(_optimised(text, machine))


def assembly(text: str) -> str:
    """The assembly of a module, for reading."""
    with _lock:
        machine = _kept_machine(_processor(config.TARGET.value))
        return machine.emit_assembly(_optimised(text, machine))


class LoadedObject:
    """Machine code in memory, and the addresses of the functions it exports."""

    def __init__(self, image: bytes, exports: Sequence[str]) -> None:
        with _lock:
            self._jit = _jit()
            library = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
            for name in exports:
                library = library.export_symbol(name)
            self._tracker = library.link(self._jit, f"irdl{next(_count)}")
            self.addresses: dict[str, int] = {name: self._tracker[name] for name in exports}

    def hand_over(self, taker: Callable[[Any], None]) -> None:
        """When nothing refers to this any more, give the code to `taker`: it stays in memory for as long as that keeps it."""
        weakref.finalize(self, taker, self._tracker).atexit = False


@lru_cache(maxsize=1)
def _jit() -> llvm.LLJIT:
    return llvm.create_lljit_compiler(_target_machine(_processor(config.TARGET.value)))
