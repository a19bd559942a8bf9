"""What a trace has done to the things that it captured: effects of the call, or errors where they would happen once."""

from __future__ import annotations

import functools
from collections import deque
from typing import TYPE_CHECKING

from irdl.errors import TraceError
from irdl.tracing.capture.containers import container_effects, delete_attribute, restored, set_attribute, write_into
from irdl.tracing.capture.objects import MISSING, own_dict
from irdl.tracing.capture.outcome import Recipes
from irdl.tracing.capture.reads import Attribute, CellContents, DictItem, generator_state
from irdl.tracing.capture.recipes import Effect, Existing
from irdl.tracing.recorder import Trace

if TYPE_CHECKING:
    from irdl.tracing.capture.capture import Capture


def effects(capture: Capture, recipes: Recipes) -> list[Effect]:
    """The names, attributes, lists and dicts that the trace has bound or changed.

    Raises:
        TraceError: something else was changed, or was bound to what cannot be made anew, which would happen once and not at each
            call.
    """
    for item, state, name in capture.generators:
        if generator_state(item) != state:
            raise TraceError(
                f"the captured generator `{name}` was drawn from while tracing: the same numbers would come back at every "
                "call; use irdl.random with a key"
            )
    for item, contents, name in capture.foreign:
        if restored(item, contents):
            raise TraceError(
                f"`{name}`, a {type(item).__name__}, was changed during the trace: that would happen once, not at each call; use a plain "
                "list or dict, in a closure or on an object"
            )
    changed = capture.classes.changed() or capture.functions.changed()
    if changed is not None:
        raise TraceError(f"{changed} was set during the trace: that would happen once, not at each call; keep it on an object")
    found: list[Effect] = []
    for names, original in capture.functions.globals:
        for name, item in names.written():
            contents = recipes.of(item, name)
            found.append(
                Effect(
                    None,
                    contents,
                    write_into(original.__setitem__, name),
                    name,
                    [(DictItem(original, name), contents)],
                    names.was_read(name),
                )
            )
    for copied in capture.objects:
        owner = Existing(copied.read)
        for key, item in copied.own.items():
            if copied.before.get(key, MISSING) is not item:
                name = f"{copied.name}.{key}"
                contents = recipes.of(item, name)
                is_read = key in copied.before or key in copied.guard.absent
                found.append(Effect(owner, contents, set_attribute(key), name, [(Attribute(copied.read, key), contents)], is_read))
        for key in copied.before.keys() - copied.own.keys():
            found.append(Effect(owner, None, delete_attribute(key), f"{copied.name}.{key}"))
    for variable in capture.functions.bound_variables():
        name, cell = variable.name, variable.original
        contents, write = recipes.of(variable.made.cell_contents, name), write_into(functools.partial(setattr, cell), "cell_contents")
        found.append(Effect(None, contents, write, name, [(CellContents(cell), contents)], variable.is_read))
    return found + [effect for container in capture.containers for effect in container_effects(container, recipes)]


def leaked(capture: Capture, trace: Trace) -> list[str]:
    """What was left as it is and holds arrays of a trace, by name; it gets back what it held."""
    found = [name for name, _, _ in capture.held(trace)]
    if found:
        for item, before, _ in capture.seen:
            if isinstance(item, (list, dict, deque)):
                restored(item, before)
            else:
                own_dict(item).clear()
                own_dict(item).update(before)
    return found
