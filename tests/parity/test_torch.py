"""The same numbers as PyTorch's, with weights loaded by name: outputs, gradients, statistics, optimisers.

Each combination of the recurrent layers' options is compiled by itself, which takes nearly all of the time: by default a few are
tried, such that each pair of options occurs; with `--slow` all are.
"""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pytest

import irdl
from irdl import nn, optim

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

RTOL = {np.float32: 1e-5, np.float64: 1e-10}


def tensor(x: Any, grad: bool = False) -> Any:
    return torch.tensor(np.array(x), requires_grad=grad)


def close(ours: Any, theirs: Any, dtype: Any, what: str = "") -> None:
    theirs = theirs.detach().numpy() if hasattr(theirs, "detach") else theirs
    scale = max(1.0, float(np.abs(theirs).max(initial=0.0)))
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=RTOL[dtype], atol=RTOL[dtype] * scale, err_msg=what)


def flat(result: Any) -> list[Any]:
    return [part for item in result for part in flat(item)] if isinstance(result, (tuple, list)) else [result]


def compare(
    ours: nn.Module,
    theirs: Any,
    inputs: list[Any],
    dtype: Any,
    train: bool = False,
    call: Callable[..., Any] | None = None,
    times: int = 1,
) -> None:
    """Outputs, gradients of a weighted sum of them with respect to parameters and float inputs, and buffers; eager, and compiled.

    With `times` that often, one after the other, as the buffers move on.
    """
    theirs = theirs.to(torch.float64 if dtype is np.float64 else torch.float32)
    theirs.train(train)
    ours.train(train)
    call = call or (lambda model, *inputs: model(*inputs))
    floats = [place for place, x in enumerate(inputs) if x.dtype.kind == "f"]
    weights: list[np.ndarray] = []

    def loss(model: nn.Module, *chosen: Any) -> tuple[Any, Any]:
        whole = list(inputs)
        for place, x in zip(floats, chosen, strict=True):
            whole[place] = x
        results = flat(call(model, *whole))
        return sum((part * w).sum() for part, w in zip(results, weights, strict=True)), results

    argnums = tuple(range(1 + len(floats)))
    both = irdl.value_and_grad(loss, argnums=argnums, has_aux=True)
    functions = (both, irdl.jit(both))
    for _ in range(times):
        before = {name: value.numpy().copy() for name, value in theirs.state_dict().items()}
        theirs.zero_grad()
        given = [tensor(x, grad=place in floats) for place, x in enumerate(inputs)]
        expected = flat(call(theirs, *given))
        weights[:] = weights or [np.cos(np.arange(part.numel()).reshape(part.shape)).astype(dtype) for part in expected]
        sum((part * tensor(w)).sum() for part, w in zip(expected, weights, strict=True)).backward()
        for function in functions:
            ours.load_state_dict(before)
            (_, results), (gradient, *inner) = function(ours, *(inputs[place] for place in floats))
            for ours_part, part in zip(results, expected, strict=True):
                close(ours_part, part, dtype, "an output")
            own = dict(gradient.named_parameters())
            for name, parameter in theirs.named_parameters():
                close(own[name], parameter.grad, dtype, name)
            for place, found in zip(floats, inner, strict=True):
                close(found, given[place].grad, dtype, f"input {place}")
            for name, buffer in theirs.named_buffers():
                close(dict(ours.named_buffers())[name], buffer, dtype, name)


RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _numbers_of_its_own(request: pytest.FixtureRequest) -> None:
    """A test draws the same numbers, whichever ran before it."""
    global RNG
    seed = zlib.crc32(request.node.name.encode())
    RNG = np.random.default_rng(seed)
    torch.manual_seed(seed)


def normal(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "tanh": (nn.RNN, torch.nn.RNN, {}),
    "relu": (nn.RNN, torch.nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTM, torch.nn.LSTM, {}),
    "projected": (nn.LSTM, torch.nn.LSTM, {"proj_size": 3}),
    "gru": (nn.GRU, torch.nn.GRU, {}),
}


#: what a recurrent layer may be; `begin`: from given states, and not from zeros
OPTIONS: dict[str, tuple[Any, ...]] = {
    "kind": tuple(KINDS),
    "layers": (1, 2, 3),
    "bidirectional": (False, True),
    "batch_first": (False, True),
    "bias": (True, False),
    "unbatched": (False, True),
    "begin": (False, True),
    "dtype": (np.float64, np.float32),
}
Case: TypeAlias = tuple[Any, ...]
EVERY: list[Case] = list(itertools.product(*OPTIONS.values()))


def pairs(case: Case) -> set[Any]:
    """Of the options of a case, with their places."""
    return set(itertools.combinations(enumerate(case), 2))


def covering(cases: Sequence[Case]) -> list[Case]:
    """Some of the cases, in which each pair occurs that occurs in any: always the one with the most new pairs."""
    missing = {case: pairs(case) for case in cases}
    chosen: list[Case] = []
    while missing:
        chosen.append(max(missing, key=lambda case: len(missing[case])))
        found = missing[chosen[-1]].copy()
        for left in missing.values():
            left -= found
        missing = {case: left for case, left in missing.items() if left}
    return chosen


FEW = covering(random.Random(0).sample(EVERY, len(EVERY)))


def same_recurrence(
    kind: str, layers: int, bidirectional: bool, batch_first: bool, bias: bool, unbatched: bool, begin: bool, dtype: Any
) -> None:
    """A layer with these options is PyTorch's."""
    ours, theirs, options = KINDS[kind]
    sizes = {"input_size": 5, "hidden_size": 6, "num_layers": layers, "bidirectional": bidirectional}
    options = sizes | options | {"batch_first": batch_first, "bias": bias}
    x = normal(*((7, 5) if unbatched else (3, 7, 5) if batch_first else (7, 3, 5)), dtype=dtype)
    rows = (layers * (1 + bidirectional), *(() if unbatched else (3,)))
    inputs, call = [x], None
    if begin:
        inputs.append(normal(*rows, options.get("proj_size", 6), dtype=dtype))
    if begin and ours is nn.LSTM:
        inputs.append(normal(*rows, 6, dtype=dtype))
        call = lambda model, x, h, c: model(x, (h, c))  # noqa: E731
    compare(ours(**options, dtype=dtype), theirs(**options), inputs, dtype, call=call)


@pytest.mark.parametrize("case", FEW, ids=lambda case: "-".join(getattr(part, "__name__", str(part)) for part in case))
def test_recurrent_layers(case: Case) -> None:
    same_recurrence(*case)


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPTIONS["kind"])
@pytest.mark.parametrize("layers", OPTIONS["layers"])
@pytest.mark.parametrize("bidirectional", OPTIONS["bidirectional"])
def test_recurrent_layers_with_all_options(kind: str, layers: int, bidirectional: bool) -> None:
    """Every combination of the others, in float32 those of one layout with biases; what is tried anyway is left out."""
    for case in EVERY:
        _, _, _, batch_first, bias, _, _, dtype = case
        if case[:3] != (kind, layers, bidirectional) or case in FEW or (dtype is np.float32 and (batch_first or not bias)):
            continue
        same_recurrence(*case)


def test_each_pair_of_options_occurs() -> None:
    tried = set().union(*map(pairs, FEW))
    for (first, some), (second, others) in itertools.combinations(enumerate(OPTIONS.values()), 2):
        for one, other in itertools.product(some, others):
            assert ((first, one), (second, other)) in tried


@pytest.mark.parametrize("kind", ["tanh", "lstm", "gru"])
def test_lengths_are_packed_sequences(kind: str) -> None:
    ours, theirs, _ = KINDS[kind]
    model, other = ours(5, 6, 2, bidirectional=True, dtype=np.float64), theirs(5, 6, 2, bidirectional=True).double()
    model.load_state_dict(other.state_dict())
    compiled = irdl.jit(lambda model, x, lengths: model(x, lengths=lengths))
    for _ in range(50):
        lengths = RNG.integers(1, 8, 4)
        x = normal(8, 4, 5)
        packed = torch.nn.utils.rnn.pack_padded_sequence(tensor(x), torch.tensor(lengths), enforce_sorted=False)
        y, state = other(packed)
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=8)
        for function in (model, lambda x, lengths: compiled(model, x, lengths)):
            found, last = function(x, lengths=lengths) if function is model else function(x, lengths)
            close(found, y, np.float64)
            for a, b in zip(flat(last), flat(state), strict=True):
                close(a, b, np.float64)


CELLS = [(nn.RNNCell, torch.nn.RNNCell, {}), (nn.LSTMCell, torch.nn.LSTMCell, {}), (nn.GRUCell, torch.nn.GRUCell, {})]


@pytest.mark.parametrize(("ours", "theirs", "options"), CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_cells(ours: Any, theirs: Any, options: dict[str, Any], bias: bool) -> None:
    for x in (normal(3, 5), normal(5)):
        compare(ours(5, 6, bias, dtype=np.float64, **options), theirs(5, 6, bias), [x], np.float64)


LAYERS: dict[str, tuple[Any, Any, list[Any]]] = {
    "linear": (nn.Linear(5, 4), torch.nn.Linear(5, 4), [(3, 5)]),
    "linear without bias": (nn.Linear(5, 4, bias=False), torch.nn.Linear(5, 4, bias=False), [(2, 3, 5)]),
    "embedding": (nn.Embedding(7, 4), torch.nn.Embedding(7, 4), [np.array([[1, 0, 6], [1, 1, 2]])]),
    "padded embedding": (nn.Embedding(7, 4, padding_idx=1), torch.nn.Embedding(7, 4, padding_idx=1), [np.array([1, 0, 6, 1])]),
    "layer norm": (nn.LayerNorm(5), torch.nn.LayerNorm(5), [(3, 5)]),
    "layer norm of two axes": (nn.LayerNorm((4, 5), eps=1e-3), torch.nn.LayerNorm((4, 5), eps=1e-3), [(3, 4, 5)]),
    "rms norm": (nn.RMSNorm(5), torch.nn.RMSNorm(5), [(3, 5)]),
    "batch norm": (nn.BatchNorm1d(5), torch.nn.BatchNorm1d(5), [(6, 5)]),
    "batch norm over time": (nn.BatchNorm1d(5, momentum=None), torch.nn.BatchNorm1d(5, momentum=None), [(6, 5, 3)]),
    "batch norm of images": (nn.BatchNorm2d(3, affine=False), torch.nn.BatchNorm2d(3, affine=False), [(4, 3, 5, 2)]),
    "batch norm untracked": (
        nn.BatchNorm2d(3, track_running_stats=False),
        torch.nn.BatchNorm2d(3, track_running_stats=False),
        [(4, 3, 5, 2)],
    ),
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1), torch.nn.Conv1d(4, 6, 3, stride=2, padding=1), [(2, 4, 9)]),
    "conv1d dilated": (nn.Conv1d(4, 6, 3, dilation=2, groups=2), torch.nn.Conv1d(4, 6, 3, dilation=2, groups=2), [(2, 4, 9)]),
    "conv2d": (nn.Conv2d(3, 5, (3, 2), 2, (1, 0)), torch.nn.Conv2d(3, 5, (3, 2), 2, (1, 0)), [(2, 3, 7, 8)]),
    "conv2d same": (nn.Conv2d(3, 6, 4, padding="same", bias=False), torch.nn.Conv2d(3, 6, 4, padding="same", bias=False), [(2, 3, 7, 6)]),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, padding=1), torch.nn.Conv2d(4, 8, 3, groups=4, padding=1), [(2, 4, 5, 5)]),
    "max pool": (nn.MaxPool2d(3, 2, 1), torch.nn.MaxPool2d(3, 2, 1), [(2, 3, 7, 8)]),
    "average pool": (nn.AvgPool2d((2, 3), padding=1), torch.nn.AvgPool2d((2, 3), padding=1), [(2, 3, 8, 7)]),
    "relu": (nn.ReLU(), torch.nn.ReLU(), [(3, 5)]),
    "silu": (nn.SiLU(), torch.nn.SiLU(), [(3, 5)]),
    "gelu": (nn.GELU(), torch.nn.GELU(), [(3, 5)]),
    "gelu by tanh": (nn.GELU("tanh"), torch.nn.GELU("tanh"), [(3, 5)]),
    "softmax": (nn.Softmax(1), torch.nn.Softmax(1), [(3, 5, 2)]),
    "sequential": (
        nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Residual(nn.Linear(4, 4)), nn.Sigmoid(), nn.Flatten()),
        None,
        [(3, 5)],
    ),
}


class TorchResidual(torch.nn.Module):
    def __init__(self, fn: Any) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Any) -> Any:
        return x + self.fn(x)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("train", [False, True])
def test_layers(name: str, train: bool) -> None:
    ours, theirs, shapes = LAYERS[name]
    if theirs is None:
        t = torch.nn
        theirs = t.Sequential(t.Linear(5, 4), t.Tanh(), TorchResidual(t.Linear(4, 4)), t.Sigmoid(), t.Flatten())
    for path, owner, key in list(ours._slots()):
        if owner[key].dtype.kind == "f":
            owner[key] = owner[key].astype(np.float64)
        assert path in theirs.state_dict()
    inputs = [shape if isinstance(shape, np.ndarray) else normal(*shape) for shape in shapes]
    compare(ours, theirs, inputs, np.float64, train, times=3 if dict(theirs.named_buffers()) else 1)


@pytest.mark.parametrize("batch_first", [False, True])
def test_attention(batch_first: bool) -> None:
    ours = nn.MultiheadAttention(8, 2, batch_first=batch_first, dtype=np.float64)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=batch_first)
    q, k = normal(*((3, 5, 8) if batch_first else (5, 3, 8))), normal(*((3, 6, 8) if batch_first else (6, 3, 8)))
    compare(ours, theirs, [q, k, k.copy()], np.float64)
    mask = np.triu(np.ones((5, 6), bool), 2)
    padding = np.zeros((3, 6), bool)
    padding[1, 4:] = True
    compare(
        ours,
        theirs,
        [q, k],
        np.float64,
        call=lambda m, q, k: (
            m(q, k, k, attn_mask=torch.tensor(mask), key_padding_mask=torch.tensor(padding))
            if isinstance(m, torch.nn.Module)
            else m(q, k, k, attn_mask=mask, key_padding_mask=padding)
        ),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(reduction: str) -> None:
    logits, labels = normal(6, 4), np.array([0, 3, -100, 1, 1, 2])
    f = torch.nn.functional
    for smoothing in (0.0, 0.1):
        ours = irdl.jit(lambda x, y: nn.softmax_cross_entropy(x, y, label_smoothing=smoothing, reduction=reduction))(logits, labels)
        theirs = f.cross_entropy(tensor(logits), tensor(labels), label_smoothing=smoothing, reduction=reduction)
        close(ours, theirs, np.float64)
    logs = np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    close(nn.nll(logs, labels, reduction=reduction), f.nll_loss(tensor(logs), tensor(labels), reduction=reduction), np.float64)
    x, y = normal(3, 4), normal(3, 4)
    close(nn.mse(x, y, reduction), f.mse_loss(tensor(x), tensor(y), reduction=reduction), np.float64)
    y = (y > 0).astype(np.float64)
    theirs = f.binary_cross_entropy_with_logits(tensor(x), tensor(y), reduction=reduction)
    close(nn.binary_cross_entropy_with_logits(x, y, reduction), theirs, np.float64)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc(reduction: str) -> None:
    x = normal(12, 5, 6)
    rest = (RNG.integers(1, 6, (5, 4)), RNG.integers(8, 13, 5), RNG.integers(0, 5, 5))

    def ours(x: Any) -> Any:
        return nn.ctc(nn.functional.log_softmax(x), *rest, reduction=reduction)

    there = tensor(x).requires_grad_()
    theirs = torch.nn.functional.ctc_loss(torch.log_softmax(there, -1), *map(tensor, rest), reduction=reduction)
    close(irdl.jit(ours)(x), theirs.detach(), np.float64)
    theirs.sum().backward()
    close(irdl.grad(lambda x: np.sum(ours(x)))(x), there.grad, np.float64)


OPTIMISERS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "sgd": (optim.SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": (
        optim.SGD(0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, 0.1, 0.9, 0.1, 0.01),
    ),
    "nesterov": (optim.SGD(0.1, momentum=0.9, nesterov=True), lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True)),
    "adam": (optim.Adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
    "adam with decay": (optim.Adam(0.01, (0.8, 0.9), 1e-6, 0.1), lambda p: torch.optim.Adam(p, 0.01, (0.8, 0.9), 1e-6, 0.1)),
    "adamw": (optim.AdamW(0.01), lambda p: torch.optim.AdamW(p, 0.01)),
    "rmsprop": (optim.RMSprop(0.01), lambda p: torch.optim.RMSprop(p, 0.01)),
    # A small eps would let a difference in the last bit grow to 1e-6 in a hundred steps, between two runs of PyTorch as well.
    "centred": (
        optim.RMSprop(0.01, 0.9, 1e-2, 0.1, 0.5, True),
        lambda p: torch.optim.RMSprop(p, 0.01, 0.9, 1e-2, 0.1, 0.5, True),
    ),
    "adagrad": (optim.Adagrad(0.1, 0.01, 0.1, 0.5), lambda p: torch.optim.Adagrad(p, 0.1, 0.01, 0.1, 0.5)),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_over_a_hundred_steps(name: str) -> None:
    ours, make = OPTIMISERS[name]
    params = {"w": normal(3, 4), "b": normal(4)}
    theirs = {key: tensor(value, True) for key, value in params.items()}
    optimiser, state = make(list(theirs.values())), ours.init(params)
    x, y = normal(20, 3), normal(20, 4)

    @irdl.jit
    def step(params: Any, state: Any) -> Any:
        def loss(p: Any) -> Any:
            return np.mean((np.tanh(x @ p["w"] + p["b"]) - y) ** 2)

        updates, state = ours.update(irdl.grad(loss)(params), state, params)
        return optim.apply_updates(params, updates), state

    for _ in range(100):
        params, state = step(params, state)
        optimiser.zero_grad()
        ((torch.tanh(tensor(x) @ theirs["w"] + theirs["b"]) - tensor(y)) ** 2).mean().backward()
        optimiser.step()
        for key in params:  # what differs in the last place grows from step to step
            np.testing.assert_allclose(params[key], theirs[key].detach().numpy(), rtol=1e-8, atol=1e-8, err_msg=key)


def test_clipping() -> None:
    gradients = {"a": normal(3, 4) * 5, "b": normal(4)}
    theirs = [tensor(np.zeros_like(g), True) for g in gradients.values()]
    for t, g in zip(theirs, gradients.values(), strict=True):
        t.grad = tensor(g)
    torch.nn.utils.clip_grad_norm_(theirs, 1.5)
    clipped, _ = optim.clip_by_global_norm(1.5).update(gradients, ())
    for t, g in zip(theirs, clipped.values(), strict=True):
        close(g, t.grad, np.float64)
