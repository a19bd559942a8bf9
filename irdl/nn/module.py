"""`Module`: a tree of arrays with a function.

A float array among a module's attributes, or in a list, tuple or dict of arrays and modules there, is a parameter, unless it was
registered as a buffer; arrays of other dtypes are buffers; modules are children; everything else is static. Modules are pytrees: they may
be arguments and results of compiled functions, and the gradient with respect to one is a module of the same form that holds None for the
buffers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from irdl.ir.dtypes import is_inexact


class Module:
    """A layer, or a model of layers. Subclasses set attributes in `__init__` and define `forward`, or `__call__` itself.

    A module that is called inside a compiled function or a gradient may bind its buffers anew (`self.running_mean = ...`): the object
    that the caller has is bound to the new arrays when the call has ended.
    """

    #: whether it is used for training (dropout, statistics of batches); set by `train` and `eval`
    training: bool = True

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.forward(*arguments, **options)

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """What the module computes.

        Raises:
            NotImplementedError: the subclass does not say.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def register_buffer(self, name: str, array: Any, persistent: bool = True) -> None:
        """Keep an array that is no parameter: it has no gradient, and optimisers leave it alone.

        Args:
            name: of the attribute.
            array: NumPy array.
            persistent: whether it is part of `state_dict`.
        """
        buffers = dict(vars(self).get("_buffers", {}))
        buffers[name] = persistent
        self._buffers = buffers
        setattr(self, name, array)

    def train(self, mode: bool = True) -> Module:
        """Set `training` here and in all children; the module itself."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """`train(False)`."""
        return self.train(False)

    # As a tree.

    def tree_flatten(self) -> tuple[list[Any], Any]:
        """The parameters, buffers and children, and what is static."""
        parts = {name: item for name, item in vars(self).items() if _is_part(self, name, item)}
        static = tuple((name, item) for name, item in vars(self).items() if name not in parts)
        return list(parts.values()), _Static(tuple(parts), static)

    @classmethod
    def tree_unflatten(cls, rest: Any, parts: Any) -> Module:
        """A module of these parts."""
        module = object.__new__(cls)
        vars(module).update(rest.items)
        vars(module).update(zip(rest.names, parts, strict=True))
        return module

    def tree_names(self) -> tuple[str, ...]:
        """What the parts are called."""
        return tuple(name for name, item in vars(self).items() if _is_part(self, name, item))

    def tree_trainable(self) -> list[bool]:
        """Which of the parts have gradients: all but the buffers."""
        buffers = vars(self).get("_buffers", ())
        return [
            name not in buffers and not (isinstance(item, np.ndarray) and not is_inexact(item.dtype))
            for name, item in vars(self).items()
            if _is_part(self, name, item)
        ]

    # What it holds.

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below, with their paths."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below; those in lists, tuples and dicts with their places."""
        for name, item in vars(self).items():
            yield from _modules_in(name, item)

    def named_parameters(self) -> Iterator[tuple[str, np.ndarray]]:
        """All parameters, with their paths: `layers.0.weight`."""
        for prefix, module in self.named_modules():
            for name, array in _own_parameters(module):
                yield f"{prefix}.{name}" if prefix else name, array

    def named_buffers(self) -> Iterator[tuple[str, np.ndarray]]:
        """All buffers, with their paths."""
        for prefix, module in self.named_modules():
            for name in vars(module).get("_buffers", ()):
                yield f"{prefix}.{name}" if prefix else name, getattr(module, name)

    def parameters(self) -> list[np.ndarray]:
        """All parameters."""
        return [array for _, array in self.named_parameters()]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the parameters and the persistent buffers, by path, as PyTorch names them."""
        return {path: np.array(owner[key]) for path, owner, key in self._slots()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take the arrays of a state dict, of NumPy or PyTorch, in place of the module's own, in the dtypes of those.

        Args:
            state: by path.
            strict: whether paths that are missing or left over are an error.

        Raises:
            KeyError: paths are missing or left over.
            ValueError: an array has another shape; nothing is changed.
        """
        slots = {path: (owner, key) for path, owner, key in self._slots()}
        missing, unexpected = sorted(slots.keys() - state.keys()), sorted(state.keys() - slots.keys())
        if strict and (missing or unexpected):
            parts = [f"{what}: {', '.join(paths)}" for what, paths in (("missing", missing), ("left over", unexpected)) if paths]
            raise KeyError(f"the state dict does not fit {type(self).__name__}; {'; '.join(parts)}")
        arrays = {path: _as_array(state[path]) for path in slots.keys() & state.keys()}
        for path, array in arrays.items():
            owner, key = slots[path]
            if array.shape != np.shape(owner[key]):
                raise ValueError(f"{path} has shape {array.shape}, not {np.shape(owner[key])}")
        for path, array in arrays.items():
            owner, key = slots[path]
            owner[key] = array.astype(owner[key].dtype)

    def _slots(self) -> Iterator[tuple[str, Any, Any]]:
        """Where the arrays of the state dict are: path, dict or list, key."""
        for prefix, module in self.named_modules():
            buffers = vars(module).get("_buffers", {})
            before = f"{prefix}." if prefix else ""
            for name, item in vars(module).items():
                if buffers.get(name, False):
                    yield before + name, vars(module), name
                elif name not in buffers:
                    yield from ((before + path, owner, key) for path, owner, key in _places(name, item, vars(module), name))

    def extra_repr(self) -> str:
        """What `repr` shows of the module itself."""
        return ""

    def __repr__(self) -> str:
        """The tree of modules, with the shapes of their parameters, and how many numbers those hold."""
        count = sum(array.size for array in self.parameters())
        return "\n".join(_lines(self, "")) + f"\n{count:,} parameters"


def _lines(module: Module, name: str) -> list[str]:
    shapes = [f"{key}{list(array.shape)}" for key, array in _own_parameters(module)]
    inside = ", ".join(part for part in (module.extra_repr(), *shapes) if part)
    lines = [f"{f'{name}: ' if name else ''}{type(module).__name__}({inside})"]
    for key, child in module.named_children():
        lines += [f"  {line}" for line in _lines(child, key)]
    return lines


def _modules_in(name: str, item: Any) -> Iterator[tuple[str, Module]]:
    if isinstance(item, Module):
        yield name, item
    elif isinstance(item, (list, tuple)):
        for place, part in enumerate(item):
            yield from _modules_in(f"{name}.{place}", part)
    elif isinstance(item, dict):
        for key, part in item.items():
            yield from _modules_in(f"{name}.{key}", part)


def _places(path: str, item: Any, owner: Any, key: Any) -> Iterator[tuple[str, Any, Any]]:
    """Where float and complex arrays are in an attribute, modules left out: path, what holds it, under which key."""
    if isinstance(item, np.ndarray) and is_inexact(item.dtype):
        yield path, owner, key
    elif isinstance(item, (list, tuple)):
        for place, part in enumerate(item):
            yield from _places(f"{path}.{place}", part, item, place)
    elif isinstance(item, dict):
        for name, part in item.items():
            yield from _places(f"{path}.{name}", part, item, name)


def _own_parameters(module: Module) -> Iterator[tuple[str, np.ndarray]]:
    buffers = vars(module).get("_buffers", ())
    for name, item in vars(module).items():
        if name not in buffers:
            yield from ((path, owner[key]) for path, owner, key in _places(name, item, vars(module), name))


def _is_tree(item: Any) -> bool:
    """An array or a module, or a container that holds some and nothing else."""
    if isinstance(item, (list, tuple)):
        return bool(item) and all(_is_tree(part) for part in item)
    if isinstance(item, dict):
        return bool(item) and all(_is_tree(part) for part in item.values())
    return isinstance(item, (Module, np.ndarray))


def _is_part(module: Module, name: str, item: Any) -> bool:
    return name in vars(module).get("_buffers", ()) or _is_tree(item)


class _Static:
    """What is static in a module: equal where everything in it is, and was when it was looked at."""

    __slots__ = ("form", "items", "names")

    def __init__(self, names: tuple[str, ...], items: tuple[tuple[str, Any], ...]) -> None:
        self.names = names
        self.items = items
        self.form = tuple((name, _frozen(item)) for name, item in items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.names == other.names and self.form == other.form

    def __hash__(self) -> int:
        return hash(self.names)


def _frozen(item: Any) -> Any:
    """An object as it is now, comparable: what lists, dicts and plain objects hold may change."""
    if isinstance(item, np.ndarray):
        raise TypeError(
            f"an array ({item.dtype}{list(item.shape)}) beside other things in a list, tuple, dict or object of a module is neither a "
            "parameter nor static: make it an attribute of its own"
        )
    if isinstance(item, (list, tuple)):
        return type(item), tuple(_frozen(part) for part in item)
    if isinstance(item, dict):
        return dict, tuple((key, _frozen(part)) for key, part in item.items())
    if hasattr(item, "__dict__") and not isinstance(item, type) and not callable(item):
        return type(item), tuple((key, _frozen(part)) for key, part in vars(item).items())
    return type(item), repr(item) if isinstance(item, float) else item  # 1, 1.0 and True differ, and so do zeros of different signs


def _as_array(item: Any) -> np.ndarray:
    """A NumPy array of an array or a PyTorch tensor."""
    if hasattr(item, "detach"):
        item = item.detach().cpu().numpy()
    return np.asarray(item)
