"""Images: MNIST and CIFAR-10 in the formats in which they are published, and what is done to images at random."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irdl.data.loading import ArrayDataset


class RandomFlipHorizontal:
    """An image (H, W, C), mirrored left to right with probability p."""

    def __init__(self, p: float = 0.5, seed: int = 0) -> None:
        self.p = p
        self.generator = np.random.default_rng(seed)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return image[:, ::-1] if self.generator.random() < self.p else image


class RandomCrop:
    """An image (H, W, C), moved by up to `padding` pixels each way; zeros come in."""

    def __init__(self, padding: int = 3, seed: int = 0) -> None:
        self.padding = padding
        self.generator = np.random.default_rng(seed)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        n = self.padding
        padded = np.pad(image, ((n, n), (n, n), *((0, 0),) * (image.ndim - 2)))
        top, left = self.generator.integers(0, 2 * n + 1, 2)
        return padded[top : top + height, left : left + width]


class MNIST(ArrayDataset):
    """Handwritten digits (LeCun et al., 1998): images float32 (28, 28, 1) within 0 and 1, labels int64.

    Args:
        folder: with train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz, or
            the same unpacked.
        train: the 60,000 images for training, or the 10,000 for tests.
        transforms: see `Dataset`.

    Raises:
        FileNotFoundError: a file is missing; says which is to be put where.
        ValueError: a file is cut off or is not of this format.
    """

    def __init__(self, folder: str | os.PathLike[str], train: bool = True, transforms: Sequence[Callable[[Any], Any]] = ()) -> None:
        part = "train" if train else "t10k"
        images = _read_idx(_find(Path(folder), f"{part}-images-idx3-ubyte"), 3)
        labels = _read_idx(_find(Path(folder), f"{part}-labels-idx1-ubyte"), 1)
        if len(images) != len(labels):
            raise ValueError(f"{folder} holds {len(images)} images and {len(labels)} labels")
        super().__init__(images[..., None].astype(np.float32) / np.float32(255), labels.astype(np.int64), transforms=transforms)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.exists():
            return path
    raise FileNotFoundError(f"{folder / name}.gz is missing: put MNIST's four files there (https://yann.lecun.com/exdb/mnist)")


def _read_idx(path: Path, rank: int) -> np.ndarray:
    """An array of bytes in IDX format: a magic number, the extents, big-endian, and the bytes."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is not a whole gzip file: {error}") from error
    head = 4 + 4 * rank
    if len(data) < head or struct.unpack(">I", data[:4])[0] != 0x800 + rank:
        raise ValueError(f"{path} is not an IDX file of bytes with {rank} axes")
    shape = struct.unpack(f">{rank}I", data[4:head])
    if len(data) - head != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path} holds {len(data) - head} bytes, not the {shape} that it tells of")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


class CIFAR10(ArrayDataset):
    """Small photographs of ten kinds (Krizhevsky, 2009): images float32 (3, 32, 32) within 0 and 1, labels int64.

    Args:
        folder: with the files of the version for Python (data_batch_1 to 5, test_batch) or of the binary one (data_batch_1.bin, ..), or a
            .npz with x_train, y_train, x_test, y_test, images of (3072,), (3, 32, 32) or (32, 32, 3).
        train: the images for training, or those for tests.
        transforms: see `Dataset`; they see (32, 32, 3).

    Raises:
        FileNotFoundError: no such file is there; says what is to be put where.
        ValueError: a file is cut off or is not of this format. Of the version for Python nothing but arrays is unpickled.
    """

    def __init__(self, folder: str | os.PathLike[str], train: bool = True, transforms: Sequence[Callable[[Any], Any]] = ()) -> None:
        folder = Path(folder)
        names = [f"data_batch_{number}" for number in range(1, 6)] if train else ["test_batch"]
        archives = sorted(folder.glob("*.npz"))
        if all((folder / f"{name}.bin").exists() for name in names):
            parts = [_read_binary(folder / f"{name}.bin") for name in names]
        elif all((folder / name).exists() for name in names):
            parts = [_read_python(folder / name) for name in names]
        elif archives:
            parts = [_read_npz(archives[0], "train" if train else "test")]
        else:
            raise FileNotFoundError(
                f"{folder / names[0]} is missing: put the files of cifar-10-python.tar.gz or cifar-10-binary.tar.gz there "
                "(https://www.cs.toronto.edu/~kriz/cifar.html)"
            )
        images, labels = (np.concatenate(items) for items in zip(*parts, strict=True))
        super().__init__(images.reshape(-1, 3, 32, 32).astype(np.float32) / np.float32(255), labels.astype(np.int64), transforms=transforms)

    def apply_transforms(self, x: Any) -> Any:
        return super().apply_transforms(x.transpose(1, 2, 0)).transpose(2, 0, 1)


def _read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if not data.size or data.size % 3073:
        raise ValueError(f"{path} holds {data.size} bytes, not images of 3073 each")
    rows = data.reshape(-1, 3073)
    if rows[:, 0].max() > 9:
        raise ValueError(f"{path} holds a label of {rows[:, 0].max()}")
    return rows[:, 1:], rows[:, 0]


class _Arrays(pickle.Unpickler):
    """Unpickles dicts, lists, texts, numbers and NumPy arrays, and nothing else."""

    _KNOWN = (
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in it")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _read_python(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        batch = _Arrays(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        images, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except Exception as error:
        raise ValueError(f"{path} is not a batch of CIFAR-10: {error}") from error
    if images.dtype != np.uint8 or images.shape != (len(labels), 3072):
        raise ValueError(f"{path} holds {images.dtype}{list(images.shape)} for {len(labels)} labels, not images of 3072 bytes")
    return images, labels


def _read_npz(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name.lower(): arrays[name] for name in arrays.files}
    except Exception as error:
        raise ValueError(f"{path} is not a whole .npz file of arrays: {error}") from error
    names = [f"x_{part}", f"y_{part}"]
    if not set(names) <= found.keys():
        raise ValueError(f"{path} holds {', '.join(sorted(found))}, not {' and '.join(names)}")
    images, labels = found[names[0]], found[names[1]].reshape(-1)
    if images.dtype != np.uint8 or images.shape[0] != len(labels) or images.shape[1:] not in ((3072,), (3, 32, 32), (32, 32, 3)):
        raise ValueError(f"{path} holds {images.dtype}{list(images.shape)} for {len(labels)} labels, not images of 3072 bytes")
    if images.shape[-1] == 3:  # colours innermost, as Keras has them
        images = images.transpose(0, 3, 1, 2)
    return images.reshape(-1, 3072), labels
