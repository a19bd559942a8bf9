"""LLVM IR text -> machine code for this CPU: one position-independent object, loaded by ORC."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Sequence
from functools import lru_cache

import llvmlite.binding as llvm

from irdl.passes.target import Target

_lock = threading.RLock()
_count = itertools.count()


#: llvmlite's own: whoever holds it when the process forks is gone in the child
_llvmlite_lock = getattr(llvm.ffi.lib, "_lock", None)


def _before_fork() -> None:
    """No other thread is inside LLVM while the process forks."""
    _lock.acquire()
    if _llvmlite_lock is not None:
        _llvmlite_lock.__enter__()


def _after_fork() -> None:
    if _llvmlite_lock is not None:
        _llvmlite_lock.__exit__(None, None, None)
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


@lru_cache(maxsize=1)
def _host() -> tuple[str, str]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@lru_cache(maxsize=1)
def host_target() -> Target:
    """The scheduler's view of this CPU."""
    _host()
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return Target(64, 32, avx512=True)
    if features.get("avx2"):
        return Target(32, 16)
    return Target(16, 32 if "aarch64" in llvm.get_default_triple() else 16)


def host_description() -> str:
    """The processor that code is made for, and its features."""
    return " ".join(_host())


def _target_machine() -> llvm.TargetMachine:
    cpu, features = _host()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=cpu, features=features, opt=1, reloc="pic", codemodel="small")


def _optimised(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """The IR is vectors in SSA form already: promoting the stack slots is all it needs."""
    module = llvm.parse_assembly(text)
    module.triple = llvm.get_default_triple()
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(machine, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_aggressive_dce_pass()
    passes.run(module, builder)
    module.verify()
    return module


def compile_object(text: str) -> bytes:
    """The object file of a module."""
    with _lock:
        machine = _target_machine()
        return machine.emit_object(_optimised(text, machine))


def assembly(text: str) -> str:
    """The assembly of a module, for reading."""
    with _lock:
        machine = _target_machine()
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


@lru_cache(maxsize=1)
def _jit() -> llvm.LLJIT:
    _host()
    return llvm.create_lljit_compiler(_target_machine())
