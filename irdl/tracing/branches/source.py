"""Functions that branch on traced values, rewritten from their source (`rewrite`).

A function is traced as it is; only where it asks for the truth of a value that the trace does not know, it is rewritten, and traced
again. What is found in the source has to compile to the very code that runs: of a file that has changed since, or of code that a tool
has rewritten, nothing is made.
"""

from __future__ import annotations

import ast
import linecache
import re
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from irdl.errors import TraceError
from irdl.tracing.branches import rewrite
from irdl.tracing.branches.nodes import IS_BLOCK
from irdl.tracing.long_loops.plans import LongLoop, Plan, planning
from irdl.tracing.recorder import trace_stack
from irdl.tracing.users import is_users

_Result = TypeVar("_Result")
_WITHIN_BLOCK = re.compile(rf"\.<locals>\.{IS_BLOCK.pattern}(?=\.<locals>\.)")
#: what Python says where a variable of a function around is not set
_UNSET = re.compile(r"cannot access free variable ('\w+') where it is not associated with a value in enclosing scope")
#: what Python says where an object's `__bool__` gives a traced truth value, which goes by the name of an array
_NO_BOOL = "__bool__ should return bool, returned ndarray"
_NO_SOURCE = "Both sides of such a branch are recorded where the source of the function is at hand; this one's is not, or is not what runs"
_lock = threading.RLock()


def traced(attempt: Callable[[], _Result]) -> _Result:
    """What `attempt` gives, which traces a whole function. Where that branches on a traced value, or goes through a long loop, it is
    rewritten and traced again."""
    if trace_stack():
        return attempt()
    with planning() as plan:
        while True:
            try:
                return attempt()
            except Exception as error:
                if not _goes_on(error, plan):
                    print(getattr(error, "printed", ""), end="")
                    reason = _reason(error)
                    if reason and isinstance(error, TraceError):
                        raise TraceError(f"{error}. {reason}") from None
                    if type(error) is NameError and (name := _unset_variable(error)):
                        error = UnboundLocalError(f"cannot access local variable {name} where it is not associated with a value")
                        raise error.with_traceback(sys.exc_info()[2]) from None
                    raise
                error.__traceback__ = None  # of what it holds on to, the traced arrays, nothing is needed any more


def _goes_on(error: Exception, plan: Plan) -> bool:
    """Whether another attempt is going to be another one."""
    if plan.is_new:
        plan.is_new = False
        return True
    if isinstance(error, LongLoop):
        if error.branching is None or _let_branch(error.branching, error.site.line) is not None:
            plan.by_steps.add(error.site)
        return True
    if isinstance(error, (TraceError, TypeError)) and (code := _branching(error)) is not None and _let_branch(code) is None:
        return True
    return plan.gives_up()


def _reason(error: Exception) -> str | None:
    """Why a branch could not be rewritten, if that is what the error is about."""
    code = _branching(error) if isinstance(error, (TraceError, TypeError)) else None
    return None if code is None else _let_branch(code)


def _unset_variable(error: NameError) -> str | None:
    """The name of a function's variable that a block of it has found without a value."""
    frames = traceback.extract_tb(error.__traceback__)
    found = _UNSET.match(str(error))
    return found[1] if found and frames and IS_BLOCK.fullmatch(frames[-1].name) else None


def _branching(error: TraceError | TypeError) -> types.CodeType | None:
    """The code that asked for the truth of a traced value, where that is what the error is about."""
    if isinstance(error, TraceError):
        return error.branching
    if str(error) != _NO_BOOL:
        return None
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else trace.tb_frame.f_code


def code_of(code: types.CodeType) -> types.CodeType:
    """The code of a function as it is traced: rewritten where it, or a function in it, branches on traced values."""
    file = _files.get(code.co_filename)
    return code if file is None else file.rewritten(code)


def _let_branch(code: types.CodeType, loop: int | None = None) -> str | None:
    """Have a function rewritten from now on, with the loop at this line; else why that cannot be done, or nothing where it has been."""
    if not is_users(code.co_filename):
        return ""
    with _lock:
        file = _files.get(code.co_filename)
        if file is None or not (file.knows(code) or file.is_current()):
            file = _files[code.co_filename] = _File(code.co_filename)
        return file.let_branch(code, loop)


class _File:
    """A file of source: its code as it is, and with some functions rewritten."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._text = _text_of(name)
        #: where the functions begin that are rewritten
        self._places: set[tuple[int, int]] = set()
        #: where the loops begin that are
        self._loops: set[tuple[int, int]] = set()
        self._original: types.CodeType | None = None
        self._whole: types.CodeType | None = None
        self._made: dict[types.CodeType, types.CodeType] = {}
        #: what each code that was made stands for; None of blocks
        self._stands_for: dict[types.CodeType, types.CodeType | None] = {}

    def is_current(self) -> bool:
        return _text_of(self._name) == self._text

    def knows(self, code: types.CodeType) -> bool:
        return code in self._stands_for or self._original_of(code) is not None

    def let_branch(self, code: types.CodeType, loop: int | None = None) -> str | None:
        """As `_let_branch`."""
        original = self._stands_for.get(code, code)
        if original is None and loop is not None:
            original = self._around(code)
        if original is None:
            return ""
        try:
            tree = ast.parse(self._text)
            if self._original is None:
                self._original = compile(tree, self._name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return _NO_SOURCE
        if self._original_of(original) is None:
            return _NO_SOURCE
        node = _node_of(tree, _without_comprehensions(original, self._original))
        is_rewritten = node is not None and any(node in ast.walk(part) for part in _outermost(tree, self._places))
        if loop is not None:
            found = node and rewrite.loop_at(node, loop)
            if found is None or (is_rewritten and _place(found) in self._loops):
                return ""
            self._loops.add(_place(found))
        elif node is None or is_rewritten:
            return ""
        if not is_rewritten:
            self._places.add(_place(node))
        for part in _outermost(tree, self._places):
            rewrite.rewrite(part, self._loops)
        self._whole = compile(tree, self._name, "exec", dont_inherit=True)
        self._made = {}
        return None

    def _around(self, block: types.CodeType) -> types.CodeType | None:
        """The function that a block is of."""
        name, line = _plain_name(block, whole=True), block.co_firstlineno
        found = [code for code in _all_codes(self._original) if code.co_qualname == name] if self._original else []
        return next((code for code in found if _range(code)[0][0] <= line <= _range(code)[1][0]), None)

    def _original_of(self, code: types.CodeType) -> types.CodeType | None:
        """The same code, compiled from this source."""
        return next((other for other in _all_codes(self._original) if _is_same(other, code)), None) if self._original else None

    def rewritten(self, code: types.CodeType) -> types.CodeType:
        found = self._made.get(code)
        if found is None:
            with _lock:
                found = self._made[code] = self._find(code)
        return found

    def _find(self, code: types.CodeType) -> types.CodeType:
        """What has become of a function's code; the code itself where nothing has, or it is not from this source."""
        if self._whole is None or self._original_of(code) is None:
            return code
        other = _in_place_of(code, self._whole)
        if other is None or _is_same(other, code) or sorted(other.co_freevars) != sorted(code.co_freevars):
            return code
        self._stands_for.update(dict.fromkeys(_all_codes(other)))
        for part in _all_codes(code):
            if (made := _in_place_of(part, other)) is not None:
                self._stands_for[made] = part
        return other


_files: dict[str, _File] = {}


def _text_of(name: str) -> str:
    linecache.checkcache(name)
    return "".join(linecache.getlines(name))


def _all_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code, and those of the functions in it."""
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _all_codes(part)


def _plain_name(code: types.CodeType, whole: bool = False) -> str:
    """Its qualified name, without the blocks that have become functions; `whole`: nor the one that it is."""
    return (
        (_WITHIN_BLOCK.sub("", f"{code.co_qualname}.<locals>.")).removesuffix(".<locals>.")
        if whole
        else _WITHIN_BLOCK.sub("", code.co_qualname)
    )


def _is_same(a: types.CodeType, b: types.CodeType) -> bool:
    """They run the same, at the same lines."""
    if (a.co_qualname, a.co_firstlineno, a.co_code, a.co_names) != (b.co_qualname, b.co_firstlineno, b.co_code, b.co_names):
        return False
    if (a.co_varnames, a.co_freevars, a.co_cellvars) != (b.co_varnames, b.co_freevars, b.co_cellvars) or _range(a) != _range(b):
        return False
    pairs = list(zip(a.co_consts, b.co_consts, strict=False))
    return len(a.co_consts) == len(b.co_consts) and all(_is_same_constant(*pair) for pair in pairs)


def _is_same_constant(a: Any, b: Any) -> bool:
    if isinstance(a, types.CodeType) and isinstance(b, types.CodeType):
        return _is_same(a, b)
    return type(a) is type(b) and (a == b or repr(a) == repr(b))


def _without_comprehensions(code: types.CodeType, whole: types.CodeType) -> types.CodeType:
    """The function that a comprehension's code, which is one of its own before Python 3.12, is in."""
    while code.co_name in ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"):
        code = next(other for other in _all_codes(whole) if any(_is_code(part) and _is_same(part, code) for part in other.co_consts))
    return code


def _is_code(part: Any) -> bool:
    return isinstance(part, types.CodeType)


def _in_place_of(code: types.CodeType, whole: types.CodeType) -> types.CodeType | None:
    """The code in `whole`, which may be rewritten, of the function that a code is of."""
    for other in _all_codes(whole):
        is_there = (_plain_name(other), other.co_firstlineno) == (_plain_name(code), code.co_firstlineno)
        if is_there and (code.co_name != "<lambda>" or _is_within(_range(other), _range(code))):
            return other
    return None


_Range = tuple[tuple[int, int], tuple[int, int]]


def _range(code: types.CodeType) -> _Range:
    """From where to where in the source its instructions come."""
    begin = end = (code.co_firstlineno, 0)
    places = []
    for line, last_line, column, last_column in code.co_positions():
        if line is None or last_line is None or column is None or not last_column or line < code.co_firstlineno:
            continue  # nowhere in particular
        places.append(((line, column), (last_line, last_column)))
    if places:
        begin, end = min(first for first, _ in places), max(last for _, last in places)
    return begin, end


def _is_within(inner: _Range, outer: _Range) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))


def _place(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _outermost(node: ast.AST, places: set[tuple[int, int]]) -> Iterator[ast.AST]:
    """The functions that begin at these places, but for those within others."""
    for part in list(ast.iter_child_nodes(node)):
        if _is_function(part) and _place(part) in places:
            yield part
        else:
            yield from _outermost(part, places)


def _node_of(tree: ast.AST, code: types.CodeType) -> Any:
    """The function in the source that a code is of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda) and code.co_name == "<lambda>" and node.lineno == code.co_firstlineno:
            body = node.body
            assert body.end_lineno is not None and body.end_col_offset is not None
            if _is_within(_range(code), ((body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset))):
                return node
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            first = min([node.lineno, *(part.lineno for part in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None
