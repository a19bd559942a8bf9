"""The encoder and decoder: lengths, attention, decoding."""

from __future__ import annotations

import numpy as np
import pytest

import irdl
from irdl import nn
from irdl.testing import check_gradient

LENGTHS = np.array([5, 2, 0, 3])
BEGIN, END = 1, 2


@pytest.fixture(params=[(1, False), (1, True), (2, True)], ids=["plain", "attention", "two layers"])
def model(request: pytest.FixtureRequest) -> nn.Seq2Seq:
    layers, attention = request.param
    nn.manual_seed(1)
    return nn.Seq2Seq(7, 5, 3, 6, layers, attention=attention, dtype=np.float64)


@pytest.fixture
def tokens() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 7, (4, 5)), random.integers(0, 5, (4, 3))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_forward(model: nn.Seq2Seq, tokens: tuple[np.ndarray, np.ndarray], lengths: np.ndarray | None) -> None:
    source, target = tokens
    expected = model(source, target, lengths)
    assert expected.shape == (4, 3, 5)
    found = irdl.jit(lambda model, *rest: model(*rest))(model, source, target, lengths)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    check_gradient(lambda model: nn.softmax_cross_entropy(model(source, target, lengths), target), model)


def test_padding_is_not_looked_at(model: nn.Seq2Seq, tokens: tuple[np.ndarray, np.ndarray]) -> None:
    source, target = tokens
    found = model(source, target, LENGTHS)
    for row, length in enumerate(LENGTHS):
        if length:
            alone = model(source[row : row + 1, :length], target[row : row + 1])
            np.testing.assert_allclose(found[row], alone[0], rtol=1e-12)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_greedy_decoding_says_what_is_likeliest(
    model: nn.Seq2Seq, tokens: tuple[np.ndarray, np.ndarray], lengths: np.ndarray | None
) -> None:
    source, _ = tokens
    said = model.decode(source, BEGIN, END, 6, lengths)
    assert said.shape == (4, 6)
    assert said.dtype == np.int64
    np.testing.assert_array_equal(
        irdl.jit(lambda model, *rest: model.decode(rest[0], BEGIN, END, 6, rest[1]))(model, source, lengths), said
    )
    fed = np.concatenate([np.full((4, 1), BEGIN), said[:, :-1]], axis=1)
    likeliest = np.argmax(model(source, fed, lengths), axis=-1)
    ended = np.cumsum(fed == END, axis=1) > 0
    np.testing.assert_array_equal(said, np.where(ended, END, likeliest))


def test_decoding_stops_where_all_have_ended(model: nn.Seq2Seq, tokens: tuple[np.ndarray, np.ndarray]) -> None:
    model.out.bias = np.where(np.arange(5) == END, 1e3, 0.0)
    steps = []
    say = model._say
    object.__setattr__(model, "_say", lambda *rest: (steps.append(1), say(*rest))[1])
    assert (model.decode(tokens[0], BEGIN, END, 50) == END).all()
    assert len(steps) == 1


def test_sampling(model: nn.Seq2Seq, tokens: tuple[np.ndarray, np.ndarray]) -> None:
    source, _ = tokens
    sample = irdl.jit(lambda model, source, key: model.decode(source, BEGIN, END, 6, key=key))
    found = [sample(model, source, irdl.random.key(seed)) for seed in range(3)]
    np.testing.assert_array_equal(found[0], model.decode(source, BEGIN, END, 6, key=irdl.random.key(0)))
    assert any((found[0] != other).any() for other in found[1:])
    cold = model.decode(source, BEGIN, END, 6, key=irdl.random.key(0), temperature=1e-6)
    np.testing.assert_array_equal(cold, model.decode(source, BEGIN, END, 6))
