"""Expressions that Python branches in, as calls: `and`, `or`, `not`, `a if c else b`, `a < b < c`, `in`, `is`, and the patterns of `match`."""

from __future__ import annotations

import ast
from collections.abc import Callable

from irdl.tracing.branches.nodes import call_of, later, placed, read
from irdl.tracing.branches.scopes import SUSPENDS, holds


def matches(pattern: ast.pattern, subject: str) -> ast.expr | None:
    """Whether a subject matches a pattern of plain values; None of others."""
    if isinstance(pattern, ast.MatchValue):
        return ast.Compare(read(subject), [ast.Eq()], [pattern.value])
    if isinstance(pattern, ast.MatchSingleton):
        return ast.Compare(read(subject), [ast.Is()], [ast.Constant(pattern.value)])
    if isinstance(pattern, ast.MatchAs) and pattern.name is None:
        return ast.Constant(True)
    if isinstance(pattern, ast.MatchOr):
        tests = [matches(part, subject) for part in pattern.patterns]
        return None if None in tests else ast.BoolOp(ast.Or(), [test for test in tests if test is not None])
    return None


class Expressions(ast.NodeTransformer):
    """The expressions of a function's own scope, and of the lambdas in it."""

    def __init__(self, first_parameter: str | None, new_name: Callable[[str], str], grows: bool = False) -> None:
        """`first_parameter`: the function's, which is a method's object. `new_name` gives names that nobody has. `grows`: whether lists
        may grow in loops that are traced once."""
        self._grows = grows
        self._first_parameter = first_parameter
        self._new_name = new_name

    def visit_List(self, node: ast.List) -> ast.AST:
        self.generic_visit(node)
        return self._growing(node) if isinstance(node.ctx, ast.Load) and not node.elts else node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        node.value = self._growing(node.value)
        if isinstance(node.value, ast.Tuple):
            node.value.elts = [self._growing(part) for part in node.value.elts]
        return node

    def _growing(self, node: ast.expr) -> ast.expr:
        return placed(call_of("GrownList", node), node) if self._grows and isinstance(node, ast.List) else node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if holds(node.values[1:], (ast.NamedExpr, *SUSPENDS)):  # it would be bound elsewhere
            return node
        name = "both" if isinstance(node.op, ast.And) else "either"
        found = node.values[-1]
        for value in reversed(node.values[:-1]):
            found = placed(call_of(name, value, later(found)), node)
        return found

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if holds([node.body, node.orelse], (ast.NamedExpr, *SUSPENDS)):
            return node
        return placed(call_of("choose", node.test, later(node.body), later(node.orelse)), node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return placed(call_of("negate", node.operand), node) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) == 1 and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            found = placed(call_of("within", node.left, node.comparators[0]), node)
            return found if isinstance(node.ops[0], ast.In) else placed(call_of("negate", found), node)
        if len(node.ops) == 1 and isinstance(node.ops[0], (ast.Is, ast.IsNot)) and not isinstance(node.comparators[0], ast.Constant):
            found = placed(call_of("same", node.left, node.comparators[0]), node)
            return found if isinstance(node.ops[0], ast.Is) else placed(call_of("negate", found), node)
        if len(node.ops) == 1 or holds(node.comparators, (ast.NamedExpr, *SUSPENDS)):
            return node
        return self._chain(node.left, node, 0)

    def _chain(self, left: ast.expr, node: ast.Compare, place: int) -> ast.expr:
        """`a < b < c`: b is computed once, c only where the first holds."""
        right, op = node.comparators[place], node.ops[place]
        if place == len(node.ops) - 1:
            return placed(ast.Compare(left, [op], [right]), node)
        names = self._new_name("left"), self._new_name("right")
        rest = self._chain(read(names[1]), node, place + 1)
        both = placed(call_of("both", ast.Compare(read(names[0]), [op], [read(names[1])]), later(rest)), node)
        return placed(ast.Call(later(both, *names), [left, right], []), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args and self._first_parameter is not None:
            node.args = [read("__class__"), read(self._first_parameter)]  # a block is no method
        return node
