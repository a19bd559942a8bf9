"""What the machine itself can do, measured in the run it is compared with: multiply-adds per second, and bytes per second."""

from __future__ import annotations

import ctypes
import time

import numpy as np

from irdl.codegen.cpu.llvm.machine import LoadedObject, compile_object
from irdl.codegen.cpu.llvm.processor import host_target

_ACCUMULATORS = 24


def _function(text: str):
    code = LoadedObject(compile_object(text), exports=("work",))
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(code.addresses["work"])
    call.code = code
    return call


def _best(run, amount: float) -> float:
    """`amount` per second of the fastest of some runs."""
    run()
    times = []
    for _ in range(15):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return amount / min(times)


def peak(dtype: str) -> float:
    """Floating-point operations per second of one core: independent multiply-adds in registers, and nothing else."""
    scalar = {"float32": "float", "float64": "double"}[dtype]
    lanes = host_target().lanes(np.dtype(dtype))
    vector = f"<{lanes} x {scalar}>"
    suffix = f"v{lanes}f{np.dtype(dtype).itemsize * 8}"
    places = range(min(_ACCUMULATORS, host_target().registers - 4))
    text = [f"declare {vector} @llvm.fma.{suffix}({vector}, {vector}, {vector})", "define void @work(ptr %out, i64 %n) {", "entry:"]
    text += [f"  %x = load {vector}, ptr %out, align 64", "  br label %loop", "loop:", "  %i = phi i64 [ 0, %entry ], [ %j, %loop ]"]
    text += [f"  %a{k} = phi {vector} [ %x, %entry ], [ %b{k}, %loop ]" for k in places]
    text += [f"  %b{k} = call {vector} @llvm.fma.{suffix}({vector} %a{k}, {vector} %x, {vector} %x)" for k in places]
    text += ["  %j = add i64 %i, 1", "  %more = icmp ult i64 %j, %n", "  br i1 %more, label %loop, label %end", "end:"]
    total = "%b0"
    for k in places[1:]:
        text.append(f"  %s{k} = fadd {vector} {total}, %b{k}")
        total = f"%s{k}"
    text += [f"  store {vector} {total}, ptr %out, align 64", "  ret void", "}"]
    work = _function("\n".join(text))
    memory = np.zeros(64, np.float64)
    address = -(-memory.ctypes.data // 64) * 64
    steps = 100_000
    return _best(lambda: work(address, steps), 2.0 * lanes * len(places) * steps)


def bandwidth(size: int) -> float:
    """Bytes per second at which one core reads `size` bytes again and again."""
    lanes = host_target().lanes(np.dtype(np.float32))
    vector, step = f"<{lanes} x float>", 8
    text = ["define void @work(ptr %p, i64 %n) {", "entry:", "  br label %loop", "loop:"]
    text += ["  %i = phi i64 [ 0, %entry ], [ %j, %loop ]"]
    text += [f"  %a{k} = phi {vector} [ zeroinitializer, %entry ], [ %b{k}, %loop ]" for k in range(step)]
    for k in range(step):
        text += [f"  %o{k} = add i64 %i, {k * lanes}", f"  %p{k} = getelementptr float, ptr %p, i64 %o{k}"]
        text += [f"  %l{k} = load {vector}, ptr %p{k}, align 64", f"  %b{k} = fadd {vector} %a{k}, %l{k}"]
    text += [f"  %j = add i64 %i, {step * lanes}", "  %more = icmp ult i64 %j, %n", "  br i1 %more, label %loop, label %end", "end:"]
    total = "%b0"
    for k in range(1, step):
        text.append(f"  %s{k} = fadd {vector} {total}, %b{k}")
        total = f"%s{k}"
    text += [f"  store {vector} {total}, ptr %p, align 64", "  ret void", "}"]
    work = _function("\n".join(text))
    memory = np.zeros(size // 4 + 64, np.float32)
    address = -(-memory.ctypes.data // 64) * 64
    repeat = max(1, (1 << 24) // size)

    def run():
        for _ in range(repeat):
            work(address, size // 4)

    return _best(run, float(size * repeat))
