"""PyTorch: its modules, eager, fused optimisers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks import models
from benchmarks.models import Arrays, Problem

PAD = -100


class Residual(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return x + self.fn(x)


def mlp_resnet() -> nn.Module:
    def block() -> nn.Module:
        first = nn.Linear(100, 50), nn.BatchNorm1d(50), nn.ReLU(), nn.Dropout(0.1)
        return nn.Sequential(Residual(nn.Sequential(*first, nn.Linear(50, 100), nn.BatchNorm1d(100))), nn.ReLU())

    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), block(), block(), block(), nn.Linear(100, 10))


def resnet9() -> nn.Module:
    def conv_bn(channels: int, outputs: int, kernel: int, stride: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels, outputs, kernel, stride, padding=kernel // 2), nn.BatchNorm2d(outputs), nn.ReLU())

    return nn.Sequential(
        conv_bn(3, 16, 7, 4),
        conv_bn(16, 32, 3, 2),
        Residual(nn.Sequential(conv_bn(32, 32, 3, 1), conv_bn(32, 32, 3, 1))),
        conv_bn(32, 64, 3, 2),
        conv_bn(64, 128, 3, 2),
        Residual(nn.Sequential(conv_bn(128, 128, 3, 1), conv_bn(128, 128, 3, 1))),
        nn.Flatten(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


class WordModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(models.WORDS, 200)
        self.rnn = nn.LSTM(200, 200)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(200, models.WORDS)

    def forward(self, tokens, state):
        hs, state = self.rnn(self.dropout(self.embedding(tokens)), state)
        return self.out(self.dropout(hs)), state


class CharacterModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(models.CHARACTERS, 256)
        self.out = nn.Linear(256, models.CHARACTERS)

    def forward(self, tokens, state):
        hs, state = self.rnn(functional.one_hot(tokens, models.CHARACTERS).float(), state)
        return self.out(hs), state


class Seq2Seq(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(models.SIGNS, models.EMBEDDING)
        self.target_embedding = nn.Embedding(models.SIGNS, models.EMBEDDING)
        self.encoder = nn.LSTM(models.EMBEDDING, models.HIDDEN, batch_first=True)
        self.decoder = nn.LSTM(models.EMBEDDING, models.HIDDEN, batch_first=True)
        self.score = nn.Linear(models.HIDDEN, models.HIDDEN, bias=False)
        self.combine = nn.Linear(2 * models.HIDDEN, models.HIDDEN)
        self.out = nn.Linear(models.HIDDEN, models.SIGNS)

    def forward(self, source, target, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(self.source_embedding(source), lengths, batch_first=True, enforce_sorted=False)
        read, state = self.encoder(packed)
        memory, _ = nn.utils.rnn.pad_packed_sequence(read, batch_first=True, total_length=source.shape[1])
        hs, _ = self.decoder(self.target_embedding(target), state)
        scores = hs @ self.score(memory).mT
        there = torch.arange(source.shape[1]) < lengths[:, None]
        scores = scores.masked_fill(~there[:, None], torch.finfo(scores.dtype).min)
        seen = torch.softmax(scores, dim=-1) @ memory
        return self.out(torch.tanh(self.combine(torch.cat([seen, hs], dim=-1))))


class Srn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(2, 2, bias=False)
        self.out = nn.Linear(2, 2, bias=False)

    def forward(self, xs):
        return self.out(self.rnn(xs)[0])


MODELS: dict[str, Callable[[], nn.Module]] = {
    "srn": lambda: Srn().double(),
    "lstm_gates": lambda: nn.LSTM(4, 1, bias=False).double(),
    "mlp_resnet_mnist": mlp_resnet,
    "resnet9_cifar10": resnet9,
    "ptb_lm": WordModel,
    "time_machine": CharacterModel,
    "seq2seq": Seq2Seq,
}
#: the suite's names for the weights of the two small systems; those of the first are transposed
SMALL = {
    "srn": {"W": "rnn.weight_ih_l0", "U": "rnn.weight_hh_l0", "V": "out.weight"},
    "lstm_gates": {"weight_ih": "weight_ih_l0", "weight_hh": "weight_hh_l0"},
}


def _translated(row: str, arrays: Arrays) -> Arrays:
    """Arrays by the suite's names, from those by PyTorch's or the other way round."""
    if row not in SMALL:
        return arrays
    there = SMALL[row] if arrays.keys() == SMALL[row].keys() else {theirs: ours for ours, theirs in SMALL[row].items()}
    return {there[name]: array.T if row == "srn" else array for name, array in arrays.items()}


def _optimiser(row: str, parameters: list[nn.Parameter]) -> tuple[torch.optim.Optimizer, float | None]:
    """And the norm at which gradients are clipped."""
    if row in ("srn", "lstm_gates", "time_machine"):
        rate, limit = (1.0, 1.0) if row == "time_machine" else (0.1, None)
        return torch.optim.SGD(parameters, rate, fused=True), limit
    decay = {"mlp_resnet_mnist": 1e-4, "resnet9_cifar10": 1e-3}.get(row, 0.0)
    rate = {"ptb_lm": 2e-3, "seq2seq": 1e-2}.get(row, 1e-3)
    optimiser = torch.optim.Adam(parameters, rate, weight_decay=decay, fused=True)
    for p in parameters:
        moments = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.full_like(p, models.SQUARES)}
        optimiser.state[p] = {"step": torch.tensor(float(models.STEPS_BEFORE)), **moments}
    return optimiser, {"ptb_lm": 0.5, "seq2seq": 1.0}.get(row)


def make(problem: Problem, threads: int) -> tuple[Callable[[], Any], Callable[[Any], tuple[Any, Arrays]]]:
    torch.set_num_threads(threads)
    row = problem.row
    model = MODELS[row]()
    start = {name: torch.tensor(array) for name, array in _translated(row, problem.parameters).items()}
    model.load_state_dict(start, strict=False)  # the counts of batches are missing
    parameters = list(model.parameters())
    optimiser, limit = _optimiser(row, parameters)
    batches = [tuple(torch.tensor(array) for array in batch) for batch in problem.batches]
    layout = torch.channels_last if row == "resnet9_cifar10" else torch.contiguous_format
    if row == "resnet9_cifar10":
        model = model.to(memory_format=layout)
        batches = [(images.to(memory_format=layout), labels) for images, labels in batches]
    scheduler = None
    if row == "seq2seq":
        # the group's rate is where the schedule begins, however many steps there were
        optimiser.param_groups[0]["initial_lr"] = 1e-2
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, models.SEQ2SEQ_STEPS, last_epoch=models.STEPS_BEFORE)
    losses: dict[str, Callable[..., Any]] = {
        "srn": lambda xs, target: functional.mse_loss(model(xs), target),
        "lstm_gates": lambda xs, target: functional.mse_loss(model(xs)[0], target),
        "seq2seq": lambda source, lengths, target, labels: functional.cross_entropy(
            model(source, target, lengths).flatten(0, 1), labels.flatten(), ignore_index=PAD
        ),
    }
    zeros = {"ptb_lm": (torch.zeros(1, 20, 200),) * 2, "time_machine": torch.zeros(1, 32, 256)}
    state = zeros.get(row)

    def carried(tokens, targets):
        nonlocal state
        logits, after = model(tokens, state)
        state = tuple(part.detach() for part in after) if isinstance(after, tuple) else after.detach()
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def told(images, labels):
        return functional.cross_entropy(model(images), labels)

    loss = losses.get(row, carried if row in zeros else told)
    layers = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    shares = [module.p for module in layers]
    for module in layers:
        module.p = 0.0
    turns = cycle(batches)
    checked = False

    def run() -> Any:
        nonlocal checked
        optimiser.zero_grad()
        value = loss(*next(turns))
        value.backward()
        if limit is not None:
            nn.utils.clip_grad_norm_(parameters, limit)
        optimiser.step()
        if scheduler is not None:
            scheduler.step()
        if not checked:
            checked = True
            for module, share in zip(layers, shares, strict=True):
                module.p = share
        return value

    def found(value: Any) -> tuple[Any, Arrays]:
        arrays = {name: array.detach().contiguous().numpy() for name, array in model.state_dict().items()}
        arrays = {name: array for name, array in arrays.items() if not name.endswith("num_batches_tracked")}
        return value.detach().numpy(), _translated(row, arrays)

    return run, found
