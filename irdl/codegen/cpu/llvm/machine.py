"""LLVM IR text -> machine code: an object file, and for this processor what ORC loads."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm

from irdl.codegen.cpu.llvm.processor import Processor, host, parse_for
from irdl.forks import hold_while_forking

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


def _target_machine(processor: Processor) -> llvm.TargetMachine:
    target = llvm.Target.from_triple(processor.triple)
    return target.create_target_machine(
        cpu=processor.name, features=processor.features, opt=1, reloc=processor.relocation, codemodel="small"
    )


#: used by one thread at a time
_kept_machine = lru_cache(maxsize=8)(_target_machine)


def _optimised(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """The IR is vectors in SSA form already: promoting the stack slots is all it needs, and letting go of functions that nothing calls."""
    module = parse_for(machine, text)
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


def compile_object(text: str, processor: Processor | None = None) -> bytes:
    """The object file of a module, for this processor unless another is named."""
    with _lock:
        machine = _kept_machine(processor or host())
        return machine.emit_object(_optimised(text, machine))


def assembly(text: str, processor: Processor | None = None) -> str:
    """The assembly of a module, for reading."""
    with _lock:
        machine = _kept_machine(processor or host())
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
    return llvm.create_lljit_compiler(_target_machine(host()))
