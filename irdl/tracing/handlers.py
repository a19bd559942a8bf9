"""The `except` that an error would come to: compiled code raises it when the call runs, and Python's handlers are gone then."""

from __future__ import annotations

import ast
import builtins
import linecache
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from irdl.tracing.branches.nodes import IS_BLOCK
from irdl.tracing.users import Owner, owner_of, short_path

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class _Handler(NamedTuple):
    """Of the lines of a function from `first` to `last`, what is caught there: an expression; None of everything."""

    first: int
    last: int
    classes: ast.expr | None
    line: int


def depth() -> int:
    """How many frames there are around the caller's."""
    frame: Any = sys._getframe(1)
    found = 0
    while frame is not None:
        frame, found = frame.f_back, found + 1
    return found


def catches(error: type[BaseException], outermost: int) -> str:
    """The line of a handler that would catch an error raised here, further in than the frame of depth `outermost`: model.py:12. Nothing
    where there is none, or none whose source can be read."""
    frame: Any = sys._getframe(1)
    for _ in range(depth() - 1 - outermost):
        code, number = frame.f_code, frame.f_lineno
        if owner_of(code.co_filename) in (Owner.USER, Owner.LAYER, Owner.LIBRARY):
            for handler in _handlers(code.co_filename, code.co_firstlineno, code.co_name):
                if handler.first <= number <= handler.last and _is_caught(error, handler.classes, frame):
                    return f"{short_path(code.co_filename)}:{handler.line}"
        frame = frame.f_back
    return ""


def _is_caught(error: type[BaseException], classes: ast.expr | None, frame: Any) -> bool:
    """Whether it is one of the classes; so is what only running code could tell."""
    if classes is None:
        return True
    try:
        return issubclass(error, _found(classes, frame))
    except Exception:
        return True


def _found(expression: ast.expr, frame: Any) -> Any:
    """What an expression of names is, which a traced function's may only give when they are asked for."""
    if isinstance(expression, ast.Tuple):
        return tuple(_found(part, frame) for part in expression.elts)
    if isinstance(expression, ast.Attribute):
        return getattr(_found(expression.value, frame), expression.attr)
    if not isinstance(expression, ast.Name):
        raise LookupError
    for names in (frame.f_locals, frame.f_globals):
        try:
            return names[expression.id]
        except KeyError:
            continue
    return getattr(builtins, expression.id)


@lru_cache(maxsize=1024)
def _handlers(file: str, line: int, name: str) -> tuple[_Handler, ...]:
    """Those of the function of this name that begins at a line, as far as its source is there. (Code is no key: that of two files may be
    equal.)"""
    if IS_BLOCK.match(name):  # a part of the function around it
        around = [node for node in _functions(file) if node.lineno <= line <= node.end_lineno]
        return tuple(_within(max(around, key=lambda node: node.lineno))) if around else ()
    for function in _functions(file):
        first = min([function.lineno, *(item.lineno for item in getattr(function, "decorator_list", ()))])
        if first == line and getattr(function, "name", "<lambda>") == name:
            return tuple(_within(function))
    return ()


@lru_cache(maxsize=64)
def _functions(file: str) -> tuple[Any, ...]:
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS))


def _within(node: ast.AST) -> Iterator[_Handler]:
    """The handlers in a function, but for those in functions within, and all that is in these."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _FUNCTIONS):
            continue
        if isinstance(child, (ast.Try, ast.TryStar)):
            for handler in child.handlers:
                yield _Handler(child.body[0].lineno, child.body[-1].end_lineno or 0, handler.type, handler.lineno)
        if isinstance(child, (ast.With, ast.AsyncWith)):
            for call in (item.context_expr for item in child.items):
                if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] == "suppress":
                    yield _Handler(child.body[0].lineno, child.body[-1].end_lineno or 0, ast.Tuple(call.args, ast.Load()), call.lineno)
        yield from _within(child)
