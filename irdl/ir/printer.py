"""Graph -> text. The text reads like mathematics with types, and `irdl.parse` reads it back."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from typing import Any

import numpy as np

from irdl.ir.builder import CONSTANT
from irdl.ir.dtypes import is_bool, is_complex, is_float, short_name
from irdl.ir.graph import Graph, Location, Node, Value
from irdl.ir.op import attribute_items
from irdl.ir.types import TensorType

#: Constants of more elements go into the sidecar.
INLINE_LIMIT = 64
_COMMENT_COLUMN = 80
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")


def print_graph(graph: Graph, locations: bool = True) -> str:
    """The dump of a graph. Large constants are named `@0`, `@1`, ...: see `sidecar`."""
    printer = _Printer(locations)
    printer.graph(graph)
    return "\n".join(printer.lines) + "\n"


def sidecar(graph: Graph) -> list[np.ndarray]:
    """The constants too large for the text, in the order of their names."""
    printer = _Printer(False)
    printer.graph(graph)
    return printer.constants


def format_location(location: Location) -> str:
    ordered = sorted(location, key=lambda line: (line.file, line.number, line.caller or (), line.layer or ()))
    shown = []
    for file, number, caller, layer in ordered[:3]:
        beside = f" from {os.path.basename(caller[0])}:{caller[1]}" if caller else ""
        inside = f" in {layer[0]}:{layer[1]}" if layer else ""
        shown.append(f"{os.path.basename(file)}:{number}{beside}{inside}")
    return ", ".join(shown) + (", ..." if len(ordered) > 3 else "")


def at_location(location: Location) -> str:
    """` (at model.py:12)`, for the end of an error message."""
    return f" (at {format_location(location)})" if location else ""


def identifier(name: str | None, otherwise: str) -> str:
    """The name, if it is one that text can hold."""
    return name if name and _IDENTIFIER.match(name) else otherwise


class _Printer:
    def __init__(self, locations: bool) -> None:
        self.lines: list[str] = []
        self.constants: list[np.ndarray] = []
        self._locations = locations
        self._next = 0

    def graph(self, graph: Graph) -> None:
        names = self._input_names(graph)
        inputs = ", ".join(f"{names[value]}: {value.type}" for value in graph.inputs)
        outputs = ", ".join(str(type) for type in graph.output_types)
        title = identifier(graph.name, "main")
        self.lines.append(f"graph {title}({inputs}) -> ({outputs}) {{")
        self._body(graph, names, 1)
        self.lines.append("}")

    def _input_names(self, graph: Graph) -> dict[Value, str]:
        names: dict[Value, str] = {}
        used: set[str] = set()
        for position, value in enumerate(graph.inputs):
            name = identifier(value.name, f"in{position}")
            base, count = name, 1
            while name in used:
                name = f"{base}_{count}"
                count += 1
            used.add(name)
            names[value] = name
        return names

    def _body(self, graph: Graph, names: dict[Value, str], depth: int) -> None:
        indent = "  " * depth
        for node in graph.nodes:
            for value in node.outputs:
                names[value] = f"%{self._next}"
                self._next += 1
            left = ", ".join(f"{names[value]}: {value.type}" for value in node.outputs)
            text = f"{indent}{left} = {self._application(node, names)}"
            comment = f"# {format_location(node.location)}" if self._locations and node.location else ""
            if node.regions:
                text += " {"
            self.lines.append(f"{text:<{_COMMENT_COLUMN}} {comment}" if comment else text)
            for region in node.regions:
                inner = self._input_names(region)
                inputs = ", ".join(f"{inner[value]}: {value.type}" for value in region.inputs)
                self.lines.append(f"{indent}  ({inputs}) {{")
                self._body(region, inner, depth + 2)
                self.lines.append(f"{indent}  }}")
            if node.regions:
                self.lines.append(f"{indent}}}")
        self.lines.append(f"{indent}return {', '.join(names[value] for value in graph.outputs)}".rstrip())

    def _application(self, node: Node, names: dict[Value, str]) -> str:
        if node.op is CONSTANT:
            return f"constant {self._constant(node.attributes.value)}"
        operands = ", ".join(names[value] for value in node.operands)
        text = f"{node.op.name}({operands})"
        defaults = {field.name: field.default for field in fields(node.attributes)}
        for name, value in attribute_items(node.attributes):
            if value is defaults[name]:
                continue
            text += f" {name}={format_attribute(value)}"
        return text

    def _constant(self, array: np.ndarray) -> str:
        if not fits_in_text(array):
            self.constants.append(array)
            return f"@{len(self.constants) - 1}"
        return format_array(array)


def format_attribute(value: Any) -> str:
    if isinstance(value, np.dtype):
        return short_name(value)
    if isinstance(value, TensorType):
        return str(value)
    if isinstance(value, str):
        return '"' + value + '"'
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(format_attribute(item) for item in value) + ("," if len(value) == 1 else "") + ")"
    return str(value)


def fits_in_text(array: np.ndarray) -> bool:
    """Whether a constant stands in a dump; others are named there (see `sidecar`)."""
    return array.size <= INLINE_LIMIT or is_uniform(array)


def is_uniform(array: np.ndarray) -> bool:
    """Two elements or more, all the same bits."""
    if array.size < 2 or array.flat[0].tobytes() != array.flat[-1].tobytes():
        return False
    size = min(array.itemsize, 8)
    bits = np.ascontiguousarray(array).reshape(-1).view(f"u{size}").reshape(array.size, -1)
    return bool((bits == bits[0]).all())


def format_array(array: np.ndarray) -> str:
    if array.ndim == 0:
        return format_number(array[()])
    if is_uniform(array):
        return "full " + format_number(array.reshape(-1)[0])
    return "[" + ", ".join(format_number(item) for item in array.reshape(-1)) + "]"


def format_number(number: Any) -> str:
    if is_complex(number.dtype):
        return f"({format_number(number.real)}, {format_number(number.imag)})"
    if is_float(number.dtype):
        return repr(float(number)) if number.dtype == np.float64 else str(number)
    if is_bool(number.dtype):
        return "True" if number else "False"
    return str(int(number))
