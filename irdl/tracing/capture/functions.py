"""The user's functions as the trace sees them: copies whose globals, closures and defaults give traced arrays in place of real ones."""

from __future__ import annotations

import types
from collections import deque
from typing import TYPE_CHECKING, Any

from irdl.tracing.branches import source
from irdl.tracing.capture.namespaces import Globals
from irdl.tracing.capture.reads import CellContents, Defaults, Item, KeywordDefaults, Read
from irdl.tracing.capture.variables import Variable
from irdl.tracing.users import Owner, is_users, owner_of

if TYPE_CHECKING:
    from irdl.tracing.capture.capture import Capture


def _wraps_users(function: types.FunctionType) -> bool:
    """A library's wrapper around a user's function, which says so."""
    wrapped = getattr(function, "__wrapped__", None)
    return isinstance(wrapped, types.FunctionType) and is_users(wrapped.__code__.co_filename)


class Functions:
    """The functions of one trace."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        #: globals as the trace sees them, and what they stand for
        self.globals: list[tuple[Globals, dict[str, Any]]] = []
        self._variables: dict[int, Variable] = {}
        #: copies, and the attributes of what they stand for
        self._attributes: list[tuple[types.FunctionType, dict[str, Any]]] = []

    def copy(self, function: types.FunctionType, read: Read) -> types.FunctionType:
        """A copy of a user's function that sees traced arrays; of irdl's own wrappers and a library's, as of `contextlib.contextmanager`, one
        around such copies."""
        capture = self._capture
        if (met := capture.met(function)) is not None:
            return met
        file = function.__code__.co_filename
        users = is_users(file)
        if not users and not (function.__closure__ and (owner_of(file) in (Owner.IRDL, Owner.TRACER) or _wraps_users(function))):
            return function
        new: list[Variable] = []
        code, cells = source.code_of(function.__code__) if users else function.__code__, None
        if function.__closure__ is not None:
            closure = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))
            cells = tuple(self._variable(closure[name], name, code, new) for name in code.co_freevars)
        names = self.globals_of(function.__globals__) if users else function.__globals__
        made = types.FunctionType(code, names, function.__name__, function.__defaults__, cells)
        if function.__kwdefaults__:
            defaults = KeywordDefaults(function)
            capture.guards.append((defaults, function.__kwdefaults__))
            made.__kwdefaults__ = {key: capture.replace(item, Item(defaults, key), key) for key, item in function.__kwdefaults__.items()}
        made.__qualname__ = function.__qualname__
        self._share_attributes(function, made)
        capture.remember(function, made, read)
        if function.__defaults__:
            capture.guards.append((Defaults(function), function.__defaults__))
            made.__defaults__ = tuple(
                capture.replace(item, Item(Defaults(function), i), f"default{i}") for i, item in enumerate(function.__defaults__)
            )
        for variable in new:
            try:
                contents = variable.original.cell_contents
            except ValueError:
                continue
            variable.before = variable.made.cell_contents = capture.replace(contents, CellContents(variable.original), variable.name)
        return made

    def _variable(self, original: types.CellType, name: str, code: types.CodeType, new: list[Variable]) -> types.CellType:
        """What stands for a variable of a closure: one for all functions that share it. One that was not met before is put into `new`."""
        variable = self._variables.get(id(original))
        if variable is None:
            variable = self._variables[id(original)] = Variable(original, types.CellType(), name)
            new.append(variable)
        variable.codes.append(code)
        return variable.made

    @property
    def variables(self) -> list[Variable]:
        """Those of closures."""
        return list(self._variables.values())

    def bound_variables(self) -> list[Variable]:
        """Those that the trace has bound to something else."""
        return [variable for variable in self._variables.values() if variable.is_bound]

    def _share_attributes(self, function: types.FunctionType, made: types.FunctionType) -> None:
        """What is set on the copy of a function that runs at each call is set on the function."""
        own, capture = function.__dict__, self._capture
        if capture.functions_only:
            made.__dict__ = own
            capture.seen.append((function, dict(own), function.__name__))
            return
        made.__dict__.update(own)
        self._attributes.append((made, own))
        capture.foreign += [
            (item, item.copy(), f"{function.__name__}.{key}") for key, item in own.items() if type(item) in (list, dict, set, deque)
        ]

    def changed(self) -> str | None:
        """An attribute of a function that the trace has set, by name."""
        for made, before in self._attributes:
            for key in {**before, **made.__dict__}:
                if key not in before or made.__dict__.get(key, before) is not before[key]:
                    return f"{made.__name__}.{key}"
        return None

    def globals_of(self, names: dict[str, Any]) -> Globals:
        for made, original in self.globals:
            if original is names:
                return made
        made = Globals(self._capture, names)
        self.globals.append((made, names))
        return made
