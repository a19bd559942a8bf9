"""A C program that calls an exported function and compares what it gives with NumPy's results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irdl.exporting.header import c_type
from irdl.exporting.interface import ALIGNMENT, Interface, Place, parts_of

#: how far results may be from NumPy's, by the bits of a fraction
_TOLERANCES = {"float64": 1e-9, "complex128": 1e-9, "float32": 1e-4, "complex64": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
#: of C's, by how results are read
_READ = {"float16": "half", "bfloat16": "brain"}

_HALF = """
static double number_half_(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double size = exponent == 31 ? (fraction ? NAN : INFINITY)
                : exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return bits >> 15 ? -size : size;
}
"""
_BRAIN = """
static double number_brain_(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float found;
    memcpy(&found, &wide, sizeof found);
    return found;
}
"""
_DIFFERS = """
static int differs_(double found, double expected, double tolerance) {
    if (isnan(expected)) return !isnan(found);
    if (isinf(expected)) return found != expected;
    return !(fabs(found - expected) <= tolerance * (1 + fabs(expected)));
}
"""


def c_test(interface: Interface, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> str:
    """The program's text: it prints what differs, and ends with how many results do.

    Args:
        inputs: the arguments, then what is kept at first.
        outputs: what NumPy gives.
    """
    name = interface.name
    expected = _homes(interface, outputs)
    dtypes = {output.dtype.name for output in expected.values() if output.size}
    lines = ["#include <math.h>", "#include <stdio.h>", "#include <string.h>", "", f'#include "{name}.h"']
    lines += [_HALF] * ("float16" in dtypes) + [_BRAIN] * ("bfloat16" in dtypes) + [_DIFFERS] * any(map(_TOLERANCES.get, dtypes))
    # Names of the C function and its parameters don't end with an underscore.
    lines.append(f"static unsigned char memory_[{interface.memory_bytes + ALIGNMENT}];")
    calls: list[str] = ["&state_"] if interface.members else []
    for position, parameter in enumerate(interface.parameters):
        kind, count = c_type(parameter.type.dtype), max(1, parameter.type.size * parts_of(parameter.type.dtype))
        given = f" = {_numbers(inputs[position])}" if parameter.reads else ""
        lines.append(f"static {kind} given_{parameter.name}_[{count}]{given};")
        calls.append(f"given_{parameter.name}_[0]" if parameter.by_value else f"given_{parameter.name}_")
    if interface.members:
        lines.append(f"static {interface.state}_state state_;")
    found = {Place("parameter", position): f"given_{parameter.name}_" for position, parameter in enumerate(interface.parameters)}
    found |= {
        Place("state", m.offset): f"state_.{m.name}" if m.type.shape or parts_of(m.type.dtype) == 2 else f"&state_.{m.name}"
        for m in interface.members
    }
    body: list[str] = []
    for number, (place, output) in enumerate(expected.items()):
        body += _comparison(number, found[place], output, lines)
    lines += ["", "int main(void) {", "    int wrong_ = 0;"]
    if interface.members:
        lines.append(f"    state_ = {interface.state}_initial;")
    calls.append(f"memory_ + (-(uintptr_t)memory_ & {ALIGNMENT - 1})")
    lines.append(f"    int code_ = {name}({', '.join(calls)});")
    lines += ["    if (code_) {", f'        printf("{name} returned %d\\n", code_);', "        return 1;", "    }", *body]
    lines += [f'    printf("{name}: %d of {len(expected)} results differ from NumPy\'s\\n", wrong_);', "    return wrong_;", "}", ""]
    return "\n".join(lines)


def _homes(interface: Interface, outputs: Sequence[np.ndarray]) -> dict[Place, np.ndarray]:
    """What is where when the call has ended, where the caller sees it."""
    found = dict(zip(interface.outputs, outputs, strict=False))
    found |= {target: found[source] for source, target, _ in interface.copies}
    return {place: output for place, output in found.items() if place.kind != "memory"}


def _numbers(array: np.ndarray) -> str:
    """An initializer."""
    return "{" + (", ".join(_literals(array)) or "0") + "}"


def _literals(array: np.ndarray) -> list[str]:
    if array.dtype.name in _READ:
        return [str(bits) for bits in np.ascontiguousarray(array).reshape(-1).view(np.uint16)]
    if array.dtype.kind == "c":
        array = np.ascontiguousarray(array).reshape(-1).view(array.real.dtype)
    if array.dtype.kind == "b":
        return [str(int(item)) for item in array.reshape(-1)]
    if array.dtype.kind in "iu":
        suffix = {"int64": "LL", "uint64": "ULL"}.get(array.dtype.name, "")
        least = int(np.iinfo(array.dtype).min)  # C has no such literal
        return [f"{item}{suffix}" if item > least or not item else f"{item + 1}{suffix} - 1" for item in map(int, array.reshape(-1))]
    return [_float(float(item)) for item in array.reshape(-1)]


def _float(item: float) -> str:
    if np.isnan(item):
        return "NAN"
    return f"{'-' if item < 0 else ''}INFINITY" if np.isinf(item) else item.hex()


def _comparison(number: int, found: str, output: np.ndarray, lines: list[str]) -> list[str]:
    """The lines that compare one result; what is expected becomes a constant."""
    dtype = output.dtype
    kind, count = c_type(dtype), output.size * parts_of(dtype)
    if not count:
        return []
    lines.append(f"static const {kind} expected_{number}_[{count}] = {_numbers(output)};")
    if dtype.kind in "biu":
        condition = f"({found})[i] != expected_{number}_[i]"
    else:
        read = f"number_{_READ[dtype.name]}_" if dtype.name in _READ else ""
        condition = f"differs_({read}(({found})[i]), {read}(expected_{number}_[i]), {_TOLERANCES[dtype.name]})"
    label = found.lstrip("&").removeprefix("given_").removeprefix("state_.").removesuffix("_")
    return [
        f"    for (long i = 0; i < {count}; i++)",
        f"        if ({condition}) {{",
        f'            printf("{label}[%ld] differs\\n", i);',
        "            wrong_++;",
        "            break;",
        "        }",
    ]
