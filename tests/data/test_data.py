"""Data sets in small files of the published formats, and in the real ones where they are; batches, orders, threads; damaged files."""

from __future__ import annotations

import gzip
import pickle
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irdl import data

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
RNG = np.random.default_rng(0)


def real(name: str) -> Path:
    if not (REAL / name).exists():
        pytest.skip(f"{name} is not at hand")
    return REAL / name


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    for part, count in (("train", 7), ("t10k", 3)):
        images, labels = RNG.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_mnist(mnist: Path) -> None:
    train, test = data.MNIST(mnist), data.MNIST(mnist, train=False)
    assert (len(train), len(test)) == (7, 3)
    image, label = train[2]
    assert (image.shape, image.dtype, label) == ((28, 28, 1), np.float32, 2)
    assert 0 <= image.min() <= image.max() <= 1


@pytest.mark.parametrize("damage", ["cut gzip", "cut bytes", "another magic", "no gzip", "missing"])
def test_damaged_mnist(mnist: Path, damage: str) -> None:
    path = mnist / "train-images-idx3-ubyte.gz"
    whole = gzip.decompress(path.read_bytes())
    content = {
        "cut gzip": path.read_bytes()[:-20],
        "cut bytes": gzip.compress(whole[:-1]),
        "another magic": gzip.compress(b"\0\0\x08\x01" + whole[4:]),
        "no gzip": b"<html>",
    }
    if damage == "missing":
        path.unlink()
        with pytest.raises(FileNotFoundError, match="put MNIST's four files there"):
            data.MNIST(mnist)
        return
    path.write_bytes(content[damage])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz"):
        data.MNIST(mnist)


class Evil:
    def __reduce__(self) -> Any:
        return print, ("unpickled",)


def test_cifar10(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = RNG.integers(0, 256, (4, 3072), np.uint8), [3, 1, 0, 9]
    with pytest.raises(FileNotFoundError, match=r"put the files of cifar-10-python\.tar\.gz"):
        data.CIFAR10(tmp_path)
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        (tmp_path / name).write_bytes(pickle.dumps({b"data": images, b"labels": labels, b"batch_label": b"x"}, protocol=2))
    python = data.CIFAR10(tmp_path)
    image, label = python[1]
    assert (len(python), image.shape, image.dtype, label) == (20, (3, 32, 32), np.float32, 1)
    np.testing.assert_array_equal(np.rint(image * 255).astype(np.uint8).ravel(), images[1])
    binary = tmp_path / "binary"
    binary.mkdir()
    rows = np.concatenate([np.array(labels, np.uint8)[:, None], images], 1)
    (binary / "test_batch.bin").write_bytes(rows.tobytes())
    np.testing.assert_array_equal(data.CIFAR10(binary, train=False).arrays[0], data.CIFAR10(tmp_path, train=False).arrays[0])
    (binary / "test_batch.bin").write_bytes(rows.tobytes()[:-1])
    with pytest.raises(ValueError, match="not images of 3073 each"):
        data.CIFAR10(binary, train=False)
    (tmp_path / "test_batch").write_bytes(pickle.dumps({b"data": images, b"labels": Evil()}))
    with pytest.raises(ValueError, match=r"builtins\.print has no place in it"):
        data.CIFAR10(tmp_path, train=False)
    assert not capsys.readouterr().out
    archive = tmp_path / "archive"
    archive.mkdir()
    np.savez(archive / "some.npz", x_train=images, y_train=np.array(labels), x_test=images[:2], y_test=np.array(labels[:2]))
    assert len(data.CIFAR10(archive, train=False)) == 2


def _archive(folder: Path, **arrays: np.ndarray) -> Path:
    folder.mkdir()
    np.savez(folder / "some.npz", **arrays)
    return folder


def test_archives_of_cifar10(tmp_path: Path) -> None:
    """Images as rows, with the colours outermost, and innermost with labels in a column, as Keras has them."""
    images, labels = RNG.integers(0, 256, (4, 3, 32, 32), np.uint8), np.array([3, 1, 0, 9])
    forms = {"rows": (images.reshape(4, -1), labels), "outer": (images, labels), "inner": (images.transpose(0, 2, 3, 1), labels[:, None])}
    for name, (x, y) in forms.items():
        found = data.CIFAR10(_archive(tmp_path / name, x_train=x, y_train=y)).arrays
        np.testing.assert_array_equal(np.rint(found[0] * 255).astype(np.uint8), images)
        np.testing.assert_array_equal(found[1], labels)
    with pytest.raises(ValueError, match=r"holds x_train, y_train, not x_test and y_test"):
        data.CIFAR10(tmp_path / "rows", train=False)
    for name, x in {"floats": images / 255, "short": images[:3], "wide": images.reshape(4, 32, 96)}.items():
        with pytest.raises(ValueError, match="for 4 labels, not images of 3072 bytes"):
            data.CIFAR10(_archive(tmp_path / name, x_train=x, y_train=labels))
    (tmp_path / "rows" / "some.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"not a whole \.npz file"):
        data.CIFAR10(tmp_path / "rows")


def test_labels_that_do_not_fit(mnist: Path, tmp_path: Path) -> None:
    (mnist / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(6, np.uint8)))
    with pytest.raises(ValueError, match="holds 7 images and 6 labels"):
        data.MNIST(mnist)
    folder = tmp_path / "cifar"
    folder.mkdir()
    (folder / "test_batch.bin").write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(ValueError, match="holds a label of 10"):
        data.CIFAR10(folder, train=False)
    (folder / "test_batch.bin").unlink()
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, protocol=2))
    with pytest.raises(ValueError, match="for 1 labels, not images of 3072 bytes"):
        data.CIFAR10(folder, train=False)


def test_images_are_moved_and_mirrored() -> None:
    image = np.arange(32 * 32 * 3, dtype=np.float32).reshape(32, 32, 3) + 1
    np.testing.assert_array_equal(data.RandomFlipHorizontal(p=1.0)(image), image[:, ::-1])
    np.testing.assert_array_equal(data.RandomFlipHorizontal(p=0.0)(image), image)
    crop = data.RandomCrop(2, seed=1)
    for _ in range(20):
        moved = crop(image)
        assert moved.shape == image.shape
        inner = moved[2:-2, 2:-2]
        assert inner.all()
        assert np.ptp(np.diff(inner[:, :, 0], axis=1)) == 0
    dataset = data.ArrayDataset(np.stack([image] * 3), np.arange(3), transforms=[lambda x: x * 2])
    np.testing.assert_array_equal(dataset.batch([0, 2])[0], np.stack([image * 2] * 2))


def test_batches() -> None:
    x, y = np.arange(20).reshape(10, 2), np.arange(10)
    dataset = data.ArrayDataset(x, y)
    for prefetch in (0, 1, 3):
        loader = data.DataLoader(dataset, 4, prefetch=prefetch)
        batches = list(loader)
        assert [len(b) for _, b in batches] == [4, 4, 2]
        assert len(loader) == 3
        np.testing.assert_array_equal(np.concatenate([a for a, _ in batches]), x)
        assert len(list(data.DataLoader(dataset, 4, drop_last=True, prefetch=prefetch))) == 2
    orders = []
    for _ in range(2):
        loader = data.DataLoader(dataset, 3, shuffle=True, seed=5)
        orders.append([np.concatenate([b for _, b in loader]).tolist() for _ in range(2)])
    assert orders[0] == orders[1]
    assert orders[0][0] != orders[0][1]
    assert sorted(orders[0][0]) == list(range(10))
    with pytest.raises(ValueError, match="at least one example"):
        data.DataLoader(dataset, 0)
    with pytest.raises(ValueError, match=r"\[10, 3\] rows"):
        data.ArrayDataset(x, y[:3])


def test_threads_end_and_errors_arrive() -> None:
    class Failing(data.Dataset):
        def __len__(self) -> int:
            return 100

        def __getitem__(self, place: int) -> Any:
            if place == 50:
                raise RuntimeError("example 50")
            return np.full(2, place)

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="example 50"):
        list(data.DataLoader(Failing(), 10))
    for _ in range(20):
        for batch in data.DataLoader(Failing(), 10):
            assert batch.shape == (10, 2)
            break
    assert threading.active_count() == before


def test_corpora(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"put train\.txt, valid\.txt, test\.txt there"):
        data.Corpus(tmp_path)
    (tmp_path / "train.txt").write_text("the cat sat\non the mat\n")
    (tmp_path / "test.txt").write_text("the dog")
    corpus = data.Corpus(tmp_path)
    assert corpus.train.tolist() == [0, 1, 2, 3, 4, 0, 5, 3]
    assert corpus.test.tolist() == [0, 6, 3]
    assert len(corpus.valid) == 0
    assert corpus.dictionary.idx2word == ["the", "cat", "sat", "<eos>", "on", "mat", "dog"]
    assert data.Corpus(tmp_path, max_lines=1).train.tolist() == [0, 1, 2, 3]
    batches = data.batchify(np.arange(11), 3)
    np.testing.assert_array_equal(batches, [[0, 3, 6], [1, 4, 7], [2, 5, 8]])
    x, y = data.get_batch(batches, 1, 5)
    np.testing.assert_array_equal(x, [[1, 4, 7]])
    np.testing.assert_array_equal(y, [[2, 5, 8]])
    with pytest.raises(ValueError, match="do not fill"):
        data.batchify(np.arange(2), 3)
    for part in ("train", "valid", "test"):
        (tmp_path / f"ptb.{part}.txt").write_text(part)
    assert data.PennTreebank(tmp_path).dictionary.idx2word == ["train", "<eos>", "valid", "test"]
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match=r"train\.txt is not a text in UTF-8"):
        data.Corpus(tmp_path)


def test_time_machine(tmp_path: Path) -> None:
    (tmp_path / "timemachine.txt").write_text("The Time Machine, by H. G. Wells [1898]\n\nI\n" * 20)
    words = data.TimeMachine(tmp_path, "word")
    assert words.vocab.to_tokens(words.corpus[:8]) == ["the", "time", "machine", "by", "h", "g", "wells", "i"]
    text = data.TimeMachine(tmp_path, max_tokens=200)
    assert len(text) == 200
    assert text.vocab["<unk>"] == 0
    assert text.vocab[["t", "%"]] == [text.vocab["t"], 0]
    last = None
    for x, y in text.sequential(3, 5):
        assert x.shape == y.shape == (3, 5)
        np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
        if last is not None:
            np.testing.assert_array_equal(x[:, 0], last)
        last = y[:, -1]
    assert len(list(text.sequential(3, 5, seed=1))) in (12, 13)
    pieces = list(text.random(2, 7))
    for x, y in pieces:
        np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    assert len(pieces) == (200 - 7) // 7 // 2
    with pytest.raises(ValueError, match="token is 'char' or 'word'"):
        data.TimeMachine(tmp_path, "line")
    with pytest.raises(FileNotFoundError, match="put the text there"):
        data.TimeMachine(tmp_path / "elsewhere")


def test_translation_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("Go.\tVa !\tnobody\nGo now.\tVa maintenant\u202f!\tnobody\n", encoding="utf-8")
    pairs = data.TranslationPairs(path, num_steps=5, min_freq=1)
    assert pairs.source_vocab.to_tokens(pairs.source) == [["go", ".", "<eos>", "<pad>", "<pad>"], ["go", "now", ".", "<eos>", "<pad>"]]
    assert pairs.target_vocab.to_tokens(pairs.target[1]) == ["<bos>", "va", "maintenant", "!", "<eos>"]
    assert (pairs.source_lengths.tolist(), pairs.target_lengths.tolist()) == ([3, 4], [4, 5])
    assert data.TranslationPairs(path, num_steps=3, num_examples=1).target.shape == (1, 3)
    path.write_text("Go.\tVa !\nno pair\n")
    with pytest.raises(ValueError, match="line 2: there is no tab"):
        data.TranslationPairs(path)


def test_the_real_files() -> None:
    digits = data.MNIST(real("mnist"))
    assert len(digits) == 60_000
    assert digits.arrays[1][:5].tolist() == [5, 0, 4, 1, 9]
    assert len(data.CIFAR10(real("cifar10"))) == 1000
    book = data.TimeMachine(real("text"))
    assert (len(book), len(book.vocab)) == (170_580, 28)
    assert len(data.TranslationPairs(real("translation/eng-fra-5000.txt"))) == 5000
