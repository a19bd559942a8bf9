"""Texts: words and characters as numbers, language models' batches, and pairs of sentences."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def _read_text(path: Path, remedy: str) -> str:
    """
    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is no text in UTF-8.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: {remedy}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8: {error}") from error


class Dictionary:
    """Words and their numbers, in the order in which they were met."""

    def __init__(self) -> None:
        self.word2idx: dict[str, int] = {}
        self.idx2word: list[str] = []

    def add_word(self, word: str) -> int:
        """The word's number, a new one if it was not there."""
        if word not in self.word2idx:
            self.word2idx[word] = len(self.idx2word)
            self.idx2word.append(word)
        return self.word2idx[word]

    def __len__(self) -> int:
        return len(self.idx2word)


class Corpus:
    """Texts for training, validation and tests as numbers of words; each line ends in `<eos>`.

    Args:
        folder: with `train.txt`, `valid.txt` and `test.txt`; a missing `valid.txt` is an empty text.
        max_lines: read no more of each.

    Attributes:
        dictionary: of all words.
        train, valid, test: int64 arrays.

    Raises:
        FileNotFoundError: a file is missing; says what is to be put where.
        ValueError: a file is no text in UTF-8.
    """

    prefix = ""

    def __init__(self, folder: str | os.PathLike[str], max_lines: int | None = None) -> None:
        self.dictionary = Dictionary()
        folder = Path(folder)
        remedy = f"put {', '.join(f'{self.prefix}{part}.txt' for part in ('train', 'valid', 'test'))} there, words separated by spaces"
        self.train = self.tokenize(_read_text(folder / f"{self.prefix}train.txt", remedy), max_lines)
        valid = folder / f"{self.prefix}valid.txt"
        self.valid = self.tokenize(_read_text(valid, remedy) if valid.exists() else "", max_lines)
        self.test = self.tokenize(_read_text(folder / f"{self.prefix}test.txt", remedy), max_lines)

    def tokenize(self, text: str, max_lines: int | None = None) -> np.ndarray:
        """The numbers of a text's words."""
        lines = text.splitlines()[:max_lines]
        return np.array([self.dictionary.add_word(word) for line in lines for word in (*line.split(), "<eos>")], np.int64)


class PennTreebank(Corpus):
    """Mikolov's version of the Penn Treebank: a folder with `ptb.train.txt`, `ptb.valid.txt`, `ptb.test.txt`."""

    prefix = "ptb."


def batchify(data: np.ndarray, batch_size: int) -> np.ndarray:
    """A long text as (steps, batch_size): each column a piece of it, what does not fill them left out.

    Raises:
        ValueError: there are fewer numbers than columns.
    """
    steps = len(data) // batch_size
    if not steps:
        raise ValueError(f"{len(data)} numbers do not fill {batch_size} columns")
    return np.ascontiguousarray(data[: steps * batch_size].reshape(batch_size, steps).T)


def get_batch(batches: np.ndarray, start: int, bptt: int) -> tuple[np.ndarray, np.ndarray]:
    """`bptt` steps of `batchify`'s result from `start` on, and what follows each of them."""
    length = min(bptt, len(batches) - 1 - start)
    return batches[start : start + length], batches[start + 1 : start + 1 + length]


class Vocabulary:
    """Tokens and their numbers: `<unk>`, those that are reserved, and the others by how often they come.

    Args:
        tokens: all of a text, or lists of them.
        min_freq: rarer tokens are unknown.
        reserved: tokens that are there in any case.
    """

    def __init__(self, tokens: Iterable[Any], min_freq: int = 0, reserved: Sequence[str] = ()) -> None:
        flat = [token for item in tokens for token in ([item] if isinstance(item, str) else item)]
        counts = sorted(Counter(flat).items(), key=lambda pair: (-pair[1], pair[0]))
        self.token_freqs = counts
        kept = [token for token, count in counts if count >= min_freq and token != "<unk>" and token not in reserved]
        self.idx_to_token = ["<unk>", *reserved, *kept]
        self.token_to_idx = {token: number for number, token in enumerate(self.idx_to_token)}

    def __len__(self) -> int:
        return len(self.idx_to_token)

    def __getitem__(self, tokens: Any) -> Any:
        """The number of a token, or a list of those of several; 0 of unknown ones."""
        return self.token_to_idx.get(tokens, 0) if isinstance(tokens, str) else [self[token] for token in tokens]

    def to_tokens(self, numbers: Any) -> Any:
        """The token of a number, or a list of those of several."""
        if np.ndim(numbers) == 0:
            return self.idx_to_token[int(numbers)]
        return [self.to_tokens(number) for number in numbers]


class TimeMachine:
    """H. G. Wells's The Time Machine, cleaned as in Dive into Deep Learning: letters alone, lower case.

    Args:
        path: of the text, or of a folder with `timemachine.txt`.
        token: "char" or "word".
        max_tokens: take no more of them; -1 for all.

    Attributes:
        vocab: a `Vocabulary` of the whole text.
        corpus: the tokens' numbers, int64.

    Raises:
        FileNotFoundError: it is missing; says what is to be put where.
        ValueError: it is no text in UTF-8, or `token` is something else.
    """

    def __init__(self, path: str | os.PathLike[str], token: str = "char", max_tokens: int = -1) -> None:
        if token not in ("char", "word"):
            raise ValueError(f"token is 'char' or 'word', not {token!r}")
        path = Path(path)
        path = path / "timemachine.txt" if path.is_dir() or not path.suffix else path
        text = _read_text(path, "put the text there (https://www.gutenberg.org/ebooks/35)")
        lines = [re.sub("[^A-Za-z]+", " ", line).strip().lower() for line in text.splitlines()]
        tokens = [part for line in lines for part in (line if token == "char" else line.split())]
        self.vocab = Vocabulary(tokens)
        self.corpus = np.array(self.vocab[tokens][: None if max_tokens < 0 else max_tokens], np.int64)

    def __len__(self) -> int:
        return len(self.corpus)

    def sequential(self, batch_size: int, num_steps: int, seed: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pieces (batch_size, num_steps) and what follows them, each batch going on where the one before has ended; with a seed the
        first begins a random few tokens later."""
        offset = 0 if seed is None else int(np.random.default_rng(seed).integers(0, num_steps))
        count = (len(self.corpus) - offset - 1) // batch_size * batch_size
        x = self.corpus[offset : offset + count].reshape(batch_size, -1)
        y = self.corpus[offset + 1 : offset + 1 + count].reshape(batch_size, -1)
        for start in range(0, x.shape[1] // num_steps * num_steps, num_steps):
            yield x[:, start : start + num_steps], y[:, start : start + num_steps]

    def random(self, batch_size: int, num_steps: int, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same with pieces in a random order, which do not overlap."""
        generator = np.random.default_rng(seed)
        corpus = self.corpus[int(generator.integers(0, num_steps)) :]
        starts = generator.permutation((len(corpus) - 1) // num_steps) * num_steps
        for first in range(0, len(starts) // batch_size * batch_size, batch_size):
            rows = starts[first : first + batch_size, None] + np.arange(num_steps)
            yield corpus[rows], corpus[rows + 1]


class TranslationPairs:
    """Sentences in two languages, a pair a line, separated by a tab (what comes behind a second one is left out), as numbers of words.

    Punctuation stands alone, letters are lower case. Rows are as long as `num_steps`: cut, or filled with `<pad>` behind their `<eos>`;
    targets begin with `<bos>`.

    Args:
        path: of the text.
        num_steps: tokens of a row.
        num_examples: read no more pairs; None for all.
        min_freq: rarer words are unknown.

    Attributes:
        source_vocab, target_vocab: `Vocabulary`, with `<pad>`, `<bos>`, `<eos>`.
        source, target: int64 (pairs, num_steps); source_lengths, target_lengths: int64 (pairs,), of what is no padding.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is no text in UTF-8, or a line holds no pair.
    """

    reserved = ("<pad>", "<bos>", "<eos>")

    def __init__(self, path: str | os.PathLike[str], num_steps: int = 10, num_examples: int | None = None, min_freq: int = 2) -> None:
        path = Path(path)
        text = _read_text(path, "put pairs of sentences there, separated by tabs (https://www.manythings.org/anki)")
        pairs = []
        for number, line in enumerate(text.splitlines()[:num_examples], 1):
            parts = line.split("\t")
            if len(parts) < 2:
                raise ValueError(f"{path}, line {number}: there is no tab between two sentences")
            pairs.append([self.words(part) for part in parts[:2]])
        sources, targets = ([pair[side] for pair in pairs] for side in (0, 1))
        self.source_vocab, self.target_vocab = (Vocabulary(side, min_freq, self.reserved) for side in (sources, targets))
        self.source, self.source_lengths = self._rows(sources, self.source_vocab, num_steps, begins=False)
        self.target, self.target_lengths = self._rows(targets, self.target_vocab, num_steps, begins=True)

    def __len__(self) -> int:
        return len(self.source)

    @staticmethod
    def words(sentence: str) -> list[str]:
        """A sentence's words and punctuation."""
        text = sentence.replace("\u202f", " ").replace("\xa0", " ").lower()
        return re.sub(r"(?<=[^ ])([,.!?])", r" \1", text).split()

    @staticmethod
    def _rows(sentences: list[list[str]], vocab: Vocabulary, num_steps: int, begins: bool) -> tuple[np.ndarray, np.ndarray]:
        rows = np.full((len(sentences), num_steps), vocab["<pad>"], np.int64)
        lengths = np.zeros(len(sentences), np.int64)
        for place, words in enumerate(sentences):
            numbers = vocab[[*(["<bos>"] if begins else []), *words, "<eos>"]][:num_steps]
            rows[place, : len(numbers)] = numbers
            lengths[place] = len(numbers)
        return rows, lengths
