"""The C header of an exported function."""

from __future__ import annotations

import numpy as np

import irdl
from irdl.errors import CODE, out_of_bounds
from irdl.exporting.interface import ALIGNMENT, Interface, Member, Parameter, parts_of
from irdl.ir.types import TensorType

_C_TYPES = {"float32": "float", "float64": "double", "complex64": "float", "complex128": "double", "bool": "bool"}
_WIDTH = 100


def c_type(dtype: np.dtype) -> str:
    """What C calls the numbers of an array: of complex ones the parts, which take turns, of 16-bit floats the bits."""
    if dtype.name in ("float16", "bfloat16"):
        return "uint16_t"
    return _C_TYPES.get(dtype.name, f"{dtype.name}_t")


def c_header(interface: Interface, source: str, target: str) -> str:
    """The header's text. `source`: where the function is written; `target`: what the code is made for."""
    name, guard = interface.name, f"IRDL_{interface.name.upper()}_H"
    lines = [
        f"/* {source}, compiled by irdl {irdl.__version__}",
        f"   for {target}. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#include <stdbool.h>",
        "#include <stdint.h>",
        *([f'#include "{interface.state}.h"'] if interface.state != name else []),
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"/* Scratch memory of a call, which keeps nothing from one to the next: so many bytes, aligned to {ALIGNMENT}. */",
        f"#define {name.upper()}_MEMORY_BYTES {interface.memory_bytes}",
        "",
    ]
    if interface.members and interface.state == name:
        lines.append("/* What is kept from call to call, and what it is at first. */")
        lines += ["typedef struct {", *(f"    {_member(member)}" for member in interface.members), f"}} {name}_state;", ""]
        lines += [f"extern const {name}_state {name}_initial;", ""]
    lines += ["/* Arrays lie in C's order, and those that are written overlap no others.", " *"]
    lines += [f" *     {line}" for line in _table(interface)]
    lines += [" *", *(f" * {line}" for line in _outcome(interface)), " */", *_declaration(interface), ""]
    lines += ["#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {guard} */", ""]
    return "\n".join(lines)


def _table(interface: Interface) -> list[str]:
    """What each parameter is, in columns."""
    rows = []
    for parameter in interface.parameters:
        use = f"read, and overwritten by {parameter.written_by}" if parameter.reads and parameter.writes else parameter.written_by
        python_name = parameter.python_name if parameter.reads and parameter.python_name != parameter.name else ""
        rows.append((parameter.name, _shape(parameter.type), ", ".join(part for part in (python_name, use) if part)))
    if interface.members:
        rows.insert(0, ("state", f"{interface.state_bytes} bytes", "read, and overwritten by its new contents"))
    rows.append(("memory", f"{interface.memory_bytes} bytes", ""))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{first:{widths[0]}}  {second:{widths[1]}}  {third}".rstrip() for first, second, third in rows]


def _shape(type_: TensorType) -> str:
    extents = ", ".join(map(str, type_.shape)) + ("," if len(type_.shape) == 1 else "")
    note = {"complex64": ", two floats each", "complex128": ", two doubles each", "float16": ", as bits", "bfloat16": ", as bits"}
    return f"{type_.dtype.name} ({extents})" + note.get(type_.dtype.name, "") if type_.shape else type_.dtype.name


def _outcome(interface: Interface) -> list[str]:
    if not interface.checks:
        return ["Returns 0."]
    lines = ["Returns 0, or what was wrong, after which results and state hold anything:"]
    for code, check in enumerate(interface.checks, 1):
        message = str(out_of_bounds(0, *check)).replace("index 0 is", "an index is")
        if check.axis == CODE:
            message = check.raises
        message = message.replace("*/", "* /")
        lines.append(f"    {code}  {message}")
    return lines


def _member(member: Member) -> str:
    return f"{c_type(member.type.dtype)} {member.name}{_extents(member.type)};"


def _extents(type_: TensorType) -> str:
    """An array's, in one: of as many numbers."""
    parts = parts_of(type_.dtype)
    return f"[{type_.size * parts}]" if type_.shape or parts == 2 else ""


def _parameter(parameter: Parameter) -> str:
    kind = c_type(parameter.type.dtype)
    if parameter.by_value:
        return f"{kind} {parameter.name}"
    return f"{'' if parameter.writes else 'const '}{kind} *{parameter.name}"


def _declaration(interface: Interface) -> list[str]:
    parts = [*map(_parameter, interface.parameters), "void *memory"]
    if interface.members:
        parts.insert(0, f"{interface.state}_state *state")
    start = f"int {interface.name}("
    lines = [start]
    for place, part in enumerate(parts):
        text = part + (", " if place + 1 < len(parts) else ");")
        if len(lines[-1]) + len(text) > _WIDTH and lines[-1] != start:
            lines[-1] = lines[-1].rstrip()
            lines.append(" " * len(start))
        lines[-1] += text
    return [line.rstrip() for line in lines]
