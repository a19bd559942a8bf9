"""What a function's own scope binds, how its blocks are left, and what is in it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
#: what waits in the middle of a function
SUSPENDS = (ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFor, ast.AsyncWith)


def own_nodes(node: ast.AST | Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of a scope, but for what is within the functions and classes in it; of those what is evaluated outside."""
    waiting = [node] if isinstance(node, ast.AST) else list(node)
    while waiting:
        part = waiting.pop()
        yield part
        if isinstance(part, ast.Lambda):
            waiting += [*part.args.defaults, *filter(None, part.args.kw_defaults)]
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting += [*part.decorator_list, *part.args.defaults, *filter(None, part.args.kw_defaults)]
        elif isinstance(part, ast.ClassDef):
            waiting += [*part.decorator_list, *part.bases]
        else:
            waiting += ast.iter_child_nodes(part)


def bound_names(statements: Sequence[ast.stmt]) -> set[str]:
    """The names that statements bind in their scope."""
    found: set[str] = set()
    inner: set[ast.AST] = set()
    for node in own_nodes(statements):
        if isinstance(node, _COMPREHENSIONS):  # its variables are its own
            inner.update(part for clause in node.generators for part in ast.walk(clause.target))
    for node in own_nodes(statements):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load) and node not in inner:
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            found.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found.add(node.rest)
    return found


def leaves_block(statements: Iterable[ast.AST]) -> bool:
    """Whether what is behind the statements may be left out: they return, or break or continue a loop around them."""
    for node in statements:
        if isinstance(node, (ast.Return, ast.Break, ast.Continue)):
            return True
        if isinstance(node, _SCOPES):
            continue
        if isinstance(node, _LOOPS):
            if any(isinstance(part, ast.Return) for part in own_nodes(node.body)) or leaves_block(node.orelse):
                return True
        elif leaves_block(ast.iter_child_nodes(node)):
            return True
    return False


def holds(node: ast.AST | Iterable[ast.AST], kinds: type | tuple[type, ...]) -> bool:
    return any(isinstance(part, kinds) for part in own_nodes(node))
