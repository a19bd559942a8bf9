"""A function's branches and loops as calls, so that both sides of a branch can be recorded (`flow` has what is called).

    if x > 0:                       def __true_1__():
        y = x                           nonlocal y
    else:                               y = x
        y = -x              ->      def __false_2__():
                                        nonlocal y
                                        y = -x
                                    __flow__.branch(x > 0, __true_1__, __false_2__)

Each block is a function of its own, which shares the variables. It gives what leaves it early: `return v` is `return
__flow__.leave(v)`, `break` is `return __flow__.BREAK`. What follows such an `if` in its block is a function too, `__rest_3__`, called
where nothing has left. The lines and columns are those of the source, so that errors and dumps name them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Sequence
from typing import Any

from irdl.tracing.branches.expressions import Expressions, matches
from irdl.tracing.branches.nodes import call_of, flow, function_of, later, placed, read
from irdl.tracing.branches.scopes import SUSPENDS, bound_names, holds, leaves_block, own_nodes

#: statements whose blocks stay blocks
_LEFT_ALONE = (ast.Match, ast.TryStar, ast.AsyncFor, ast.AsyncWith)


def rewrite(node: ast.AST, loops: Collection[tuple[int, int]] = ()) -> None:
    """Rewrite a function (a def or a lambda) in place, with the functions in it.

    Args:
        loops: where the `for` loops begin whose steps become calls too.
    """
    names = _Numbers(loops)
    if isinstance(node, ast.Lambda):
        node.body = _Function(node, names).expression(node.body)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        _Function(node, names).rewrite()
    ast.fix_missing_locations(node)


def loop_at(node: ast.AST, line: int) -> ast.For | None:
    """The `for` loop that begins at a line, if its steps can become calls: none of them waits."""
    for part in ast.walk(node):
        if isinstance(part, ast.For) and part.lineno <= line <= (part.iter.end_lineno or part.lineno):
            return None if holds(part, SUSPENDS) else part
    return None


class _Numbers:
    """Names that nobody has, `__true_1__`; and which loops become calls."""

    def __init__(self, loops: Collection[tuple[int, int]]) -> None:
        self._last = 0
        self.loops = loops

    def __call__(self, kind: str) -> str:
        self._last += 1
        return f"__{kind}_{self._last}__"


class _Function:
    """One function on its way."""

    def __init__(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, names: _Numbers) -> None:
        self._node = node
        self._name = names
        own = node.body if isinstance(node.body, list) else [node.body]
        self._globals = {name for part in own_nodes(own) if isinstance(part, ast.Global) for name in part.names}
        self._outer = {name for part in own_nodes(own) if isinstance(part, ast.Nonlocal) for name in part.names}
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        self._parameters = [argument.arg for argument in every if argument is not None]
        #: a generator's blocks stay where they are if they leave, or wait
        self._suspends = holds(own, SUSPENDS)
        self._shared: set[str] = set()

    def rewrite(self) -> None:
        assert not isinstance(self._node, ast.Lambda)
        statements = self._node.body
        first = 1 if ast.get_docstring(self._node, clean=False) is not None else 0
        body = self._block(statements[first:], self._returned)
        # A name that only blocks bind is a variable of this function all the same.
        names = sorted(self._shared - self._globals - self._outer - set(self._parameters))
        declared: list[ast.stmt] = [ast.AnnAssign(ast.Name(name, ast.Store()), ast.Constant(None), None, 1) for name in names]
        for statement in declared:
            placed(statement, self._node)
        self._node.body = [*statements[:first], *declared, *body] or [ast.Pass()]

    # How a block is left: from the function itself, from a block that is a function.

    @staticmethod
    def _returned(outcome: ast.expr) -> ast.stmt:
        return ast.Return(call_of("result", outcome))

    @staticmethod
    def _handed_on(outcome: ast.expr) -> ast.stmt:
        return ast.Return(outcome)

    # Statements.

    def _block(self, statements: Sequence[ast.stmt], finish: Callable[[ast.expr], ast.stmt]) -> list[ast.stmt]:
        """`finish`: how the block gives what leaves it."""
        found: list[ast.stmt] = []
        statements = [part for statement in statements for part in self._as_ifs(statement)]
        for place, statement in enumerate(statements):
            if isinstance(statement, ast.Return) and finish is self._handed_on:
                value = self.expression(statement.value) if statement.value else ast.Constant(None)
                return [*found, placed(ast.Return(call_of("leave", value)), statement)]
            if isinstance(statement, (ast.Break, ast.Continue)) and finish is self._handed_on:
                return [*found, placed(ast.Return(flow(type(statement).__name__.upper())), statement)]
            if isinstance(statement, _LEFT_ALONE) or (isinstance(statement, ast.Try) and leaves_block(statement.finalbody)):
                found.append(statement if finish is self._returned else _LeavesBlock(self).visit(statement))
                continue
            made, outcome = self._statement(statement, statements[place + 1 :])
            for part in made:
                placed(part, statement)
            found += made
            if outcome is not None:
                return [*found, placed(finish(outcome), statement)]
        return found

    def _statement(self, statement: ast.stmt, behind: Sequence[ast.stmt]) -> tuple[list[ast.stmt], ast.expr | None]:
        """What becomes of a statement, and what leaves it and all that is `behind`; None of one that is left at its end."""
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._header(statement)
            _Function(statement, self._name).rewrite()
            return [statement], None
        if isinstance(statement, ast.ClassDef):
            for part in ast.walk(statement):
                if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    _Function(part, self._name).rewrite()
            return [statement], None
        leaves = leaves_block([statement])  # before anything in it has become something else
        if self._suspends and (leaves or holds(statement, SUSPENDS)):
            return [statement], None
        if isinstance(statement, ast.If):
            return self._if(statement, behind, leaves)
        if isinstance(statement, ast.While):
            return self._while(statement, behind, leaves)
        if isinstance(statement, ast.For):
            return self._for(statement, behind, leaves)
        if isinstance(statement, ast.With):
            return self._with(statement, behind, leaves)
        if isinstance(statement, ast.Try):
            return self._try(statement, behind, leaves)
        if isinstance(statement, ast.Assert):
            return self._assert(statement)
        return [self._expressions.visit(statement)], None

    def _as_ifs(self, statement: ast.stmt) -> list[ast.stmt]:
        """A `match` of plain values as `if` and `elif`; every other statement as it is."""
        if not isinstance(statement, ast.Match):
            return [statement]
        subject = self._name("subject")
        chain: list[ast.stmt] = []
        for case in reversed(statement.cases):
            test = matches(case.pattern, subject)
            if test is None:
                return [statement]
            if case.guard is not None:
                test = ast.BoolOp(ast.And(), [test, case.guard])
            chain = [placed(ast.If(test, case.body, chain), case.pattern)]
        begin = placed(ast.Assign([ast.Name(subject, ast.Store())], statement.subject), statement)
        return [ast.fix_missing_locations(part) for part in (begin, *chain)]

    def _header(self, statement: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """What is evaluated where the function is made."""
        statement.decorator_list = [self.expression(part) for part in statement.decorator_list]
        statement.args.defaults = [self.expression(part) for part in statement.args.defaults]
        statement.args.kw_defaults = [part and self.expression(part) for part in statement.args.kw_defaults]

    def _define(self, kind: str, statements: Sequence[ast.stmt], *parameters: str, first: Sequence[ast.stmt] = ()) -> ast.FunctionDef:
        """A block as a function. `first`: what it begins with, as it will stand there."""
        names = bound_names([*first, *statements])
        self._shared |= names - self._globals
        header: list[ast.stmt] = []
        if shared := sorted(names - self._globals):
            header.append(ast.Nonlocal(shared))
        if outside := sorted(names & self._globals):
            header.append(ast.Global(outside))
        body = [*header, *first, *self._block(statements, self._handed_on)] or [ast.Pass()]
        return function_of(self._name(kind), parameters, body)

    def _rest(self, behind: Sequence[ast.stmt]) -> tuple[list[ast.stmt], ast.expr]:
        """What follows, as a function."""
        if not behind:
            return [], ast.Constant(None)
        rest = self._define("rest", behind)
        return [placed(rest, behind[0])], read(rest.name)

    def _part(self, kind: str, statements: Sequence[ast.stmt]) -> tuple[list[ast.stmt], ast.expr]:
        """A block that may be missing, as a function."""
        if not statements:
            return [], flow("nothing")
        block = self._define(kind, statements)
        return [placed(block, statements[0])], read(block.name)

    def _if(self, statement: ast.If, behind: Sequence[ast.stmt], leaves: bool) -> tuple[list[ast.stmt], ast.expr | None]:
        test = self.expression(statement.test)
        on_true, true = self._part("true", statement.body)
        on_false, false = self._part("false", statement.orelse)
        sides = [*on_true, *on_false]
        if not leaves:
            return [*sides, ast.Expr(placed(call_of("branch", test, true, false), statement))], None
        rest, name = self._rest(behind)
        return [*sides, *rest], placed(call_of("branch", test, true, false, name), statement.test)

    def _while(self, statement: ast.While, behind: Sequence[ast.stmt], leaves: bool) -> tuple[list[ast.stmt], ast.expr | None]:
        names = bound_names([ast.Expr(statement.test)])
        self._shared |= names - self._globals
        header: list[ast.stmt] = [ast.Nonlocal(sorted(names - self._globals))] if names - self._globals else []
        test = function_of(self._name("test"), (), [*header, placed(ast.Return(self.expression(statement.test)), statement.test)])
        body = self._define("body", statement.body)
        orelse, name = self._part("else", statement.orelse)
        outcome = placed(call_of("repeat", read(test.name), read(body.name), name), statement)
        return self._loop_then([test, body, *orelse], outcome, behind, leaves)

    def _loop_then(
        self, blocks: list[ast.stmt], outcome: ast.expr, behind: Sequence[ast.stmt], leaves: bool
    ) -> tuple[list[ast.stmt], ast.expr | None]:
        """What follows a loop: where the function may have returned from it, only what is not behind that."""
        if not leaves:
            return [*blocks, ast.Expr(outcome)], None
        rest, name = self._rest(behind)
        return [*blocks, *rest], call_of("then", outcome, name)

    def _for(self, statement: ast.For, behind: Sequence[ast.stmt], leaves: bool) -> tuple[list[ast.stmt], ast.expr | None]:
        if (statement.lineno, statement.col_offset) in self._name.loops:
            return self._each(statement, behind, leaves)
        statement.iter = self.expression(statement.iter)
        if not leaves_block(statement.body) or holds(statement, SUSPENDS):
            statement.body = self._block(statement.body, self._handed_on)
            statement.orelse = self._block(statement.orelse, self._handed_on)
            return [statement], None
        item, loop = self._name("item"), self._name("loop")
        target = placed(ast.Assign([statement.target], read(item)), statement.target)
        body = self._define("body", statement.body, item, first=[target])
        orelse, name = self._part("else", statement.orelse)
        step = ast.Call(ast.Attribute(read(loop), "step", ast.Load()), [read(body.name), read(item)], [])
        each = ast.For(ast.Name(item, ast.Store()), statement.iter, [ast.If(step, [ast.Break()], [])], [])
        begin = ast.Assign([ast.Name(loop, ast.Store())], call_of("loop"))
        outcome = ast.Call(ast.Attribute(read(loop), "finish", ast.Load()), [name], [])
        return self._loop_then([body, *orelse, begin, placed(each, statement)], outcome, behind, leaves)

    def _each(self, statement: ast.For, behind: Sequence[ast.stmt], leaves: bool) -> tuple[list[ast.stmt], ast.expr | None]:
        """A loop that may be traced once."""
        items, name = self._items(statement.iter), self._name("item")
        target = placed(ast.Assign([statement.target], read(name)), statement.target)
        body = self._define("body", statement.body, name, first=[target])
        orelse, otherwise = self._part("else", statement.orelse)
        call = placed(call_of("each", items, read(body.name), otherwise, ast.Constant(statement.lineno)), statement)
        return self._loop_then([body, *orelse], call, behind, leaves)

    def _items(self, node: ast.expr) -> ast.expr:
        """What a loop goes over; of Python's own that put iterables together, each for itself."""
        is_known = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("zip", "enumerate", "reversed")
        if not is_known or any(isinstance(part, ast.Starred) for part in node.args):  # type: ignore[attr-defined]
            return self.expression(node)
        assert isinstance(node, ast.Call)
        keywords = [ast.keyword(part.arg, self.expression(part.value)) for part in node.keywords]
        return placed(ast.Call(flow("items"), [node.func, *map(self._items, node.args)], keywords), node)

    def _with(self, statement: ast.With, behind: Sequence[ast.stmt], leaves: bool) -> tuple[list[ast.stmt], ast.expr | None]:
        for item in statement.items:
            item.context_expr = self.expression(item.context_expr)
        if not leaves:
            statement.body = self._block(statement.body, self._handed_on)
            return [statement], None
        body, outcome = self._define("with", statement.body), self._name("outcome")
        statement.body = [ast.Assign([ast.Name(outcome, ast.Store())], ast.Call(read(body.name), [], []))]
        rest, name = self._rest(behind)
        # What leaves nothing, as a context that hides an error does.
        begin = ast.Assign([ast.Name(outcome, ast.Store())], ast.Constant(None))
        return [body, *rest, begin, statement], call_of("then", read(outcome), name)

    def _try(self, statement: ast.Try, behind: Sequence[ast.stmt], leaves: bool) -> tuple[list[ast.stmt], ast.expr | None]:
        """A try statement, in which what leaves is kept until its end."""
        if not leaves:
            statement.body = self._block(statement.body, self._handed_on)
            for handler in statement.handlers:
                handler.body = self._block(handler.body, self._handed_on)
            statement.orelse = self._block(statement.orelse, self._handed_on)
            statement.finalbody = self._block(statement.finalbody, self._handed_on)
            return [statement], None
        outcome = self._name("outcome")

        def kept(block: ast.FunctionDef) -> list[ast.stmt]:
            return [ast.Assign([ast.Name(outcome, ast.Store())], ast.Call(read(block.name), [], []))]

        blocks: list[ast.stmt] = []
        body = self._define("try", statement.body)
        blocks.append(body)
        statement.body = kept(body)
        for handler in statement.handlers:
            block = self._define("except", handler.body)
            blocks.append(block)
            handler.body = kept(block)
        if statement.orelse:
            block = self._define("else", statement.orelse)
            blocks.append(block)
            statement.orelse = [ast.Assign([ast.Name(outcome, ast.Store())], call_of("then", read(outcome), read(block.name)))]
        statement.finalbody = self._block(statement.finalbody, self._handed_on)
        begin = ast.Assign([ast.Name(outcome, ast.Store())], ast.Constant(None))
        rest, name = self._rest(behind)
        return [*blocks, *rest, begin, statement], call_of("then", read(outcome), name)

    def _assert(self, statement: ast.Assert) -> tuple[list[ast.stmt], ast.expr | None]:
        arguments = [self.expression(statement.test)]
        if statement.msg is not None:
            arguments.append(later(self.expression(statement.msg)))
        return [ast.Expr(call_of("assert_", *arguments))], None

    # Expressions.

    def expression(self, node: ast.expr) -> ast.expr:
        found: ast.expr = self._expressions.visit(node)
        return found

    @property
    def _expressions(self) -> Expressions:
        return Expressions(self._parameters[0] if self._parameters else None, self._name, bool(self._name.loops))


class _LeavesBlock(ast.NodeTransformer):
    """Of a statement that stays as it is, in a block that has become a function: how it leaves that."""

    def __init__(self, function: _Function, within_loop: bool = False) -> None:
        self._function = function
        self._within_loop = within_loop

    def _leave_alone(self, node: ast.AST) -> ast.AST:
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = visit_ClassDef = _leave_alone

    def _loop(self, node: Any) -> ast.AST:
        inner = _LeavesBlock(self._function, True)
        node.body = [inner.visit(part) for part in node.body]
        node.orelse = [self.visit(part) for part in node.orelse]
        return node

    visit_For = visit_AsyncFor = visit_While = _loop

    def visit_Return(self, node: ast.Return) -> ast.AST:
        return placed(ast.Return(call_of("leave", node.value or ast.Constant(None))), node)

    def visit_Break(self, node: ast.Break) -> ast.AST:
        return node if self._within_loop else placed(ast.Return(flow("BREAK")), node)

    def visit_Continue(self, node: ast.Continue) -> ast.AST:
        return node if self._within_loop else placed(ast.Return(flow("CONTINUE")), node)
