"""Data sets, and batches of them: shuffled by a seed, transformed, and made in a thread while the one before is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np


class Dataset:
    """Examples by number: subclasses define `__len__` and `__getitem__`, which gives an array or a tuple of arrays and numbers.

    Args:
        transforms: what happens, one after the other, to the first part of each example.
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]] = ()) -> None:
        self.transforms = tuple(transforms)

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} does not say how many examples it has")

    def __getitem__(self, place: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not give examples")

    def apply_transforms(self, x: Any) -> Any:
        for transform in self.transforms:
            x = transform(x)
        return x

    def batch(self, places: Sequence[int]) -> Any:
        """Several examples: each part stacked along a new first axis."""
        examples = [self[int(place)] for place in places]
        if not isinstance(examples[0], tuple):
            return np.stack(examples)
        return tuple(np.stack(parts) for parts in zip(*examples, strict=True))


class ArrayDataset(Dataset):
    """Arrays with one first extent: example i is row i of each.

    Raises:
        ValueError: the extents differ.
    """

    def __init__(self, *arrays: np.ndarray, transforms: Sequence[Callable[[Any], Any]] = ()) -> None:
        super().__init__(transforms)
        if len({len(array) for array in arrays}) != 1:
            raise ValueError(f"the arrays have {[len(array) for array in arrays]} rows: one number is needed")
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, place: int) -> Any:
        first, *rest = (array[place] for array in self.arrays)
        first = self.apply_transforms(first)
        return (first, *rest) if rest else first

    def batch(self, places: Sequence[int]) -> Any:
        if self.transforms:
            return super().batch(places)
        rows = tuple(array[np.asarray(places)] for array in self.arrays)
        return rows if len(rows) > 1 else rows[0]


class DataLoader:
    """Batches of a data set, once through at each iteration.

    Args:
        dataset: has `__len__` and `batch`, or is indexed like a `Dataset`.
        batch_size: examples in a batch.
        shuffle: another order at each iteration, which follows from `seed` and how many there were.
        seed: of the orders.
        drop_last: leave the last batch out if it is smaller.
        prefetch: how many batches are made ahead, in a thread; 0 makes each when it is asked for.

    Raises:
        ValueError: batch_size is not positive.
    """

    def __init__(
        self, dataset: Any, batch_size: int = 1, shuffle: bool = False, seed: int = 0, drop_last: bool = False, prefetch: int = 2
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"a batch holds at least one example, not {batch_size}")
        self.dataset, self.batch_size, self.shuffle, self.seed = dataset, batch_size, shuffle, seed
        self.drop_last, self.prefetch = drop_last, prefetch
        self.epoch = 0

    def __len__(self) -> int:
        """How many batches an iteration has."""
        count = len(self.dataset)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(order)
        self.epoch += 1
        places = [order[start * self.batch_size : (start + 1) * self.batch_size] for start in range(len(self))]
        batches = (self.dataset.batch(part) for part in places)
        return _ahead(batches, self.prefetch) if self.prefetch else batches


def _ahead(items: Iterator[Any], count: int) -> Iterator[Any]:
    """The items, made in a thread, at most `count` of them in advance; an error there is raised here."""
    made: queue.Queue[tuple[str, Any]] = queue.Queue(count)
    stopped = threading.Event()

    def put(item: tuple[str, Any]) -> None:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(("item", item))
                if stopped.is_set():
                    return
            put(("end", None))
        except BaseException as error:
            put(("error", error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, item = made.get()
            if kind == "end":
                return
            if kind == "error":
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
