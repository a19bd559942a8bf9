"""Pieces of rewritten code."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

#: the name that calls go through
FLOW = "__flow__"
#: what the functions are called that blocks become
IS_BLOCK = re.compile(r"__[a-z]+_\d+__")


def placed(node: Any, source: Any) -> Any:
    """A node at the place where another one begins. Where it ends is left out: Python takes calls for being on the last line of their name."""
    node.lineno = node.end_lineno = source.lineno
    node.col_offset = node.end_col_offset = source.col_offset
    return node


def call_of(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(flow(name), list(arguments), [])


def flow(name: str) -> ast.expr:
    return ast.Attribute(ast.Name(FLOW, ast.Load()), name, ast.Load())


def later(expression: ast.expr, *parameters: str) -> ast.Lambda:
    return ast.Lambda(parameters_of(*parameters), expression)


def parameters_of(*names: str) -> ast.arguments:
    return ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])


def read(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def function_of(name: str, parameters: Sequence[str], body: list[ast.stmt]) -> ast.FunctionDef:
    made = ast.FunctionDef(name, parameters_of(*parameters), body, [], None)
    if "type_params" in ast.FunctionDef._fields:
        made.type_params = []  # type: ignore[attr-defined]
    return made
