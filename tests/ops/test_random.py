"""Random numbers: the published test vectors, the same bits eager and compiled, and plain statistics."""

from __future__ import annotations

import numpy as np
import pytest

import irdl
from irdl import random
from irdl.ir.dtypes import BFLOAT16
from irdl.testing import check


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        # kat_vectors of Random123, philox4x32-10.
        (0, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ],
)
def test_known_answers(counter: int, key: tuple[int, int], expected: tuple[int, ...]) -> None:
    words = random._philox(np.array(key, np.uint32), np.array([counter], np.uint64), 0)
    assert tuple(int(word[0]) for word in words) == expected


def test_same_bits_eager_and_compiled() -> None:
    key = random.key(2**40 + 7)
    for f in (
        lambda k: random.bits(k, (3, 5)),
        lambda k: random.split(k, 3),
        lambda k: random.fold_in(k, 9),
        lambda k: random.randint(k, 11, -3, 12),
        lambda k: random.permutation(k, 33),
        lambda k: random.bernoulli(k, 0.3, (40,)),
        lambda k: random.uniform(k, (7,)),
        lambda k: random.uniform(k, 7, np.float64, -1.0, 2.0),
    ):
        eager, compiled = f(key), irdl.jit(f)(key)
        assert eager.dtype == compiled.dtype
        np.testing.assert_array_equal(eager, compiled)
    check(lambda k: random.normal(k, (50,)), key, grad=False)
    check(lambda k, x: random.permutation(k, x), key, np.arange(10.0))


def test_fold_in_takes_traced_steps() -> None:
    key = random.key(0)
    steps = np.arange(4)
    keys = irdl.jit(lambda k, n: irdl.scan(lambda c, i: (c, random.fold_in(k, i)), 0, n)[1])(key, steps)
    np.testing.assert_array_equal(keys, [random.fold_in(key, int(n)) for n in steps])
    counted = irdl.jit(lambda k: irdl.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, random.fold_in(c[1], c[0])), (0, k))[1])(key)
    np.testing.assert_array_equal(counted, random.fold_in(random.fold_in(random.fold_in(key, 0), 1), 2))


def test_statistics() -> None:
    key = random.key(1)
    u = random.uniform(key, 100_000)
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 5e-3 and abs(u.var() - 1 / 12) < 2e-3
    z = random.normal(random.fold_in(key, 1), 100_000)
    assert abs(z.mean()) < 0.015 and abs(z.std() - 1) < 0.01
    assert sorted(random.permutation(key, 100)) == list(range(100))
    assert len({tuple(k) for k in random.split(key, 100)}) == 100


def test_integers_that_the_dtype_does_not_hold() -> None:
    key = random.key(3)
    for dtype, low, high in ((np.int8, -128, 128), (np.uint8, 0, 256), (np.uint32, 0, 2**32), (np.int64, 2**63 - 9, 2**63)):
        drawn = random.randint(key, 1000, low, high, dtype)
        assert drawn.dtype == dtype
        assert low <= int(drawn.min()) <= int(drawn.max()) < high
        for bounds in ((low - 1, high - 1), (low + 1, high + 1)):
            if bounds[0] < np.iinfo(dtype).min or bounds[1] > np.iinfo(dtype).max + 1:
                with pytest.raises(ValueError, match=f"{np.dtype(dtype)} does not hold all integers"):
                    random.randint(key, 5, *bounds, dtype)
    for low, high in ((3, 3), (0, 2**32 + 1)):
        with pytest.raises(ValueError, match=r"0 < high - low <= 2\*\*32"):
            random.randint(key, 5, low, high)


def test_a_bad_key_is_an_error() -> None:
    with pytest.raises(TypeError, match="key"):
        random.bits(np.zeros(2), 3)


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
def test_numbers_of_16_bits(dtype):
    """Uniform ones have as many bits as are never rounded to 1; the others are float32's, rounded."""
    k, count = irdl.random.key(3), 20_000
    uniform = irdl.jit(lambda k: irdl.random.uniform(k, count, dtype))(k)
    np.testing.assert_array_equal(uniform, irdl.random.uniform(k, count, dtype))
    exact = uniform.astype(np.float64)
    assert uniform.dtype == dtype and exact.min() >= 0 and exact.max() < 1 and abs(exact.mean() - 0.5) < 0.01
    assert len(np.unique(exact)) == (2048 if dtype == np.float16 else 256)
    for draw in (irdl.random.normal, irdl.random.gumbel, lambda k, shape, dtype: irdl.random.truncated_normal(k, -1, 2, shape, dtype)):
        found = irdl.jit(lambda k, draw=draw: draw(k, count, dtype))(k)
        wide = draw(k, count, np.float32)
        assert found.dtype == dtype
        assert np.abs(found.astype(np.float64) - wide).max() <= 2.0 ** (-11 if dtype == np.float16 else -8) * np.abs(wide).max()
    with pytest.raises(TypeError, match="uniform gives float16, bfloat16, float32 or float64, not int32"):
        irdl.random.uniform(k, 3, np.int32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_more_distributions(dtype):
    """Moments and frequencies; and the same numbers compiled."""
    key, count = irdl.random.key(3), 40_000
    draws = {
        "gumbel": (lambda k: irdl.random.gumbel(k, count, dtype), 0.57722, np.pi**2 / 6),
        "truncated": (lambda k: irdl.random.truncated_normal(k, -1.0, 2.0, count, dtype), 0.22964, 0.51986),
    }
    for f, mean, variance in draws.values():
        found = f(key)
        assert found.dtype == dtype and abs(found.mean() - mean) < 0.02 and abs(found.var() - variance) < 0.04
        np.testing.assert_allclose(irdl.jit(f)(key), found, rtol=1e-5, atol=1e-6)
    truncated = draws["truncated"][0](key)
    assert truncated.min() >= -1 and truncated.max() <= 2
    probabilities = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]], dtype)
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities)
    categorical = lambda k, logits: irdl.random.categorical(k, logits, shape=(count, 2))  # noqa: E731
    found = categorical(key, logits)
    assert found.shape == (count, 2) and found.dtype == np.int64
    for place in range(2):
        np.testing.assert_allclose(np.bincount(found[:, place], minlength=3) / count, probabilities[place], atol=0.01)
    assert (irdl.jit(categorical)(key, logits) == found).mean() > 0.999
    assert irdl.random.categorical(key, logits.T, axis=0).shape == (2,)
    with pytest.raises(ValueError, match="does not end with"):
        irdl.random.categorical(key, logits, shape=(3,))


def test_choice():
    key = irdl.random.key(1)
    found = irdl.random.choice(key, 5, (4, 1000))
    assert found.shape == (4, 1000) and set(np.unique(found)) == set(range(5))
    without = irdl.random.choice(key, 50, (30,), replace=False)
    assert len(set(without.tolist())) == 30
    rows = np.arange(20.0).reshape(10, 2)
    weights = np.array([0.0, 0.9, 0.1] + [0.0] * 7)
    with np.errstate(divide="ignore"):
        picked = irdl.random.choice(key, rows, (1000,), p=weights)
        two = irdl.random.choice(key, rows, (2,), replace=False, p=weights)
        compiled = irdl.jit(lambda k: irdl.random.choice(k, rows, (1000,), p=weights))(key)
    assert set(picked[:, 0]) == {2.0, 4.0} and 850 < (picked[:, 0] == 2).sum() < 950
    assert set(two[:, 0]) == {2.0, 4.0}
    np.testing.assert_array_equal(compiled, picked)
    with pytest.raises(ValueError, match="without replacement"):
        irdl.random.choice(key, 3, (4,), replace=False)


@pytest.mark.parametrize("seed", [0, 3, -1, 2**40 + 5, np.uint32(7), np.int8(-2)])
def test_keys_of_traced_seeds(seed):
    expected, found = irdl.random.key(seed), irdl.jit(irdl.random.key)(seed)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    draw = lambda seed: irdl.random.normal(irdl.random.key(seed), (3,))  # noqa: E731
    np.testing.assert_allclose(irdl.jit(draw)(seed), draw(seed), rtol=1e-6)
