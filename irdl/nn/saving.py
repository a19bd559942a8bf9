"""Arrays in files, as safetensors: weights by PyTorch's names, and whole states of training. Nothing is ever unpickled.

A file is written beside its place and moved there when it is complete, so that whatever interrupts it leaves the old one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import irdl
from irdl.nn.module import Module


def save(model: Module | Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a module's `state_dict`, or a dict of arrays.

    Raises:
        ImportError: safetensors is not installed.
        ValueError: an array is complex128, which the format does not have.
        OSError: the file cannot be written; what was there is still there.
    """
    arrays = model.state_dict() if isinstance(model, Module) else dict(model)
    _write({name: np.asarray(array) for name, array in arrays.items()}, Path(path))


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a file, by name, for `model.load_state_dict`.

    Raises:
        ImportError: safetensors is not installed.
        ValueError: it is not a whole safetensors file.
    """
    return _read(Path(path))


def save_checkpoint(path: str | os.PathLike[str], **trees: Any) -> None:
    """Write whole trees, modules with all their buffers among them: `save_checkpoint(path, model=model, state=state, step=step)`.

    Raises:
        As `save`.
    """
    _write({name: np.asarray(leaf) for name, leaf in _named(trees).items()}, Path(path))


def load_checkpoint(path: str | os.PathLike[str], **trees: Any) -> dict[str, Any]:
    """What `save_checkpoint` has written, bit for bit, as trees like those given.

    Raises:
        ImportError: safetensors is not installed.
        KeyError: the file holds other names than the trees have.
        ValueError: an array has another shape or dtype, or the file is not whole.
    """
    arrays, wanted = _read(Path(path)), _named(trees)
    missing, unexpected = sorted(wanted.keys() - arrays.keys()), sorted(arrays.keys() - wanted.keys())
    if missing or unexpected:
        parts = [f"{what}: {', '.join(names)}" for what, names in (("missing", missing), ("left over", unexpected)) if names]
        raise KeyError(f"the checkpoint {path} does not fit; {'; '.join(parts)}")
    leaves = []
    for name, leaf in wanted.items():
        array, own = arrays[name], np.asarray(leaf)
        if (array.shape, array.dtype) != (own.shape, own.dtype):
            raise ValueError(f"{name} in {path} is {array.dtype}{list(array.shape)}, not {own.dtype}{list(own.shape)}")
        is_number = not isinstance(leaf, np.ndarray)
        leaves.append(type(leaf)(array[()]) if is_number else array)
    found: dict[str, Any] = irdl.tree.unflatten(irdl.tree.structure(trees), leaves)
    return found


def _named(trees: Any) -> dict[str, Any]:
    """The leaves of trees by their paths: `model.lstm.weight_ih_l0`."""
    return dict(zip(irdl.tree.paths(trees), irdl.tree.leaves(trees), strict=True))


def _safetensors() -> Any:
    try:
        import safetensors.numpy as library
    except ImportError as error:
        raise ImportError('files of arrays need safetensors: pip install "irdl[files]"') from error
    return library


def _write(arrays: dict[str, np.ndarray], path: Path) -> None:
    library = _safetensors()
    for name, array in arrays.items():
        if array.dtype == np.complex128:
            raise ValueError(f"{name} is complex128, which safetensors has not: save it as complex64, or its .real and .imag")
    data = library.save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    file, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _read(path: Path) -> dict[str, np.ndarray]:
    library = _safetensors()
    data = path.read_bytes()
    try:
        found: dict[str, np.ndarray] = library.load(data)
    except Exception as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    return found
