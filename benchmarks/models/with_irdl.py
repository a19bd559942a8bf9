"""The examples' models, and their step as they compile it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

import irdl
from benchmarks import models
from benchmarks.models import Arrays, Problem
from irdl import nn, optim


def example(name: str) -> Any:
    """A module of `examples/`, which are scripts beside one another."""
    folder = str(Path(__file__).resolve().parents[2] / "examples")
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module(name)


# The two systems that the examples do not train: the networks with their weights as an argument, in plain NumPy. The weights are
# not those of the examples, which are all alike, or shut the gates so tightly that the gradients are 0.


def srn(parameters: Any, xs: Any) -> Any:
    """`with_tanh` of the example."""
    h, outputs = np.zeros(2, xs.dtype), []
    for x in xs:
        h = np.tanh(x @ parameters["W"] + h @ parameters["U"])
        outputs.append(h @ parameters["V"])
    return np.stack(outputs)


def lstm_gates(parameters: Any, xs: Any) -> Any:
    """`run` of the example, with recurrent weights that are learnt too."""
    sigmoid = example("lstm_gates").sigmoid
    h, c, outputs = np.zeros(1, xs.dtype), 0.0, []
    for x in xs:
        i, f, g, o = parameters["weight_ih"] @ x + parameters["weight_hh"] @ h
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = np.reshape(sigmoid(o) * np.tanh(c), 1)
        outputs.append(h)
    return np.stack(outputs)


def problem(row: str) -> Problem:
    if row == "srn":
        random = np.random.default_rng(0).uniform
        target = np.array([[0.5, -0.5], [0.25, 1], [-1, 0.75]])
        return Problem(row, {name: random(-1, 1, (2, 2)) for name in "WUV"}, [(example("srn").INPUTS, target)])
    if row == "lstm_gates":
        gates = example("lstm_gates")
        target = gates.run(gates.WEIGHTS, gates.SEQUENCE)[:, None]
        weights = {"weight_ih": gates.WEIGHTS / 20, "weight_hh": np.full((4, 1), 0.1)}
        return Problem(row, weights, [(gates.SEQUENCE, target)])
    state = system(row)[0].state_dict()
    # how many batches there were is PyTorch's and irdl's own, and needed for nothing here
    return Problem(row, {name: array for name, array in state.items() if array.dtype == np.float32}, models.batches(row))


def system(row: str) -> tuple[Any, optim.Optimizer, Callable[..., Any]]:
    """Its model as the example builds it, its optimiser, and its loss with what is carried on to the next step."""
    nn.manual_seed(0)
    if row in ("srn", "lstm_gates"):
        outputs = {"srn": srn, "lstm_gates": lstm_gates}[row]
        return None, optim.SGD(0.1), lambda parameters, xs, target: (nn.mse(outputs(parameters, xs), target), ())
    if row == "ptb_lm":
        model = example(row).Model(models.WORDS, 200, 200, "LSTM", dropout=0.3)
        optimizer = optim.chain(optim.clip_by_global_norm(0.5), optim.Adam(2e-3))
    elif row == "time_machine":
        model = example(row).Model(models.CHARACTERS)
        optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.SGD(example(row).RATE))
    elif row == "seq2seq":
        model = nn.Seq2Seq(models.SIGNS, models.SIGNS, models.EMBEDDING, models.HIDDEN, attention=True)
        optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.Adam(optim.cosine_decay(1e-2, models.SEQ2SEQ_STEPS)))
        return model, optimizer, _pairs_loss
    else:
        mlp = row == "mlp_resnet_mnist"
        model = example(row).resnet(784) if mlp else example(row).resnet9()
        optimizer = optim.Adam(1e-3, weight_decay=1e-4 if mlp else 1e-3)
        return model, optimizer, lambda model, images, labels: (nn.softmax_cross_entropy(model(images), labels), ())
    return model, optimizer, _carried_loss


def _carried_loss(model: Any, tokens: Any, targets: Any, state: Any) -> tuple[Any, Any]:
    logits, after = model(tokens, state)
    return nn.softmax_cross_entropy(logits, targets), after


def _pairs_loss(model: Any, source: Any, lengths: Any, target: Any, labels: Any) -> tuple[Any, Any]:
    return nn.softmax_cross_entropy(model(source, target, lengths), labels, ignore_index=example("seq2seq").PAD), ()


def first_state(row: str, dtype: Any = np.float32) -> tuple[Any, ...]:
    """What a system that carries a state on begins with, as the last of its arguments."""
    if row == "ptb_lm":
        return ((np.zeros((1, 20, 200), dtype), np.zeros((1, 20, 200), dtype)),)
    return (np.zeros((1, 32, 256), dtype),) if row == "time_machine" else ()


def whole(optimizer: optim.Optimizer, loss: Callable[..., Any]) -> Callable[..., Any]:
    def step(model: Any, memory: Any, *batch: Any) -> Any:
        (value, after), gradient = irdl.value_and_grad(loss, has_aux=True)(model, *batch)
        updates, memory = optimizer.update(gradient, memory, model)
        return optim.apply_updates(model, updates), memory, after, value

    return step


def _warm(memory: Any) -> Any:
    """An optimiser's state in the middle of a training."""
    if isinstance(memory, tuple):
        return tuple(_warm(part) for part in memory)
    squares = {"square": [np.full_like(array, models.SQUARES) for array in memory["square"]]} if "square" in memory else {}
    return {**memory, "step": np.array(models.STEPS_BEFORE), **squares}


def _dropping(model: Any, share: float | None) -> Any:
    """The model with this dropout."""
    for _, module in model.named_modules() if isinstance(model, nn.Module) else ():
        if isinstance(module, nn.Dropout) and share is not None:
            module.p = share
    return model


def _share(model: Any) -> float | None:
    modules = [module for _, module in model.named_modules()] if isinstance(model, nn.Module) else []
    return next((module.p for module in modules if isinstance(module, nn.Dropout)), None)


def _wide(tree: Any) -> Any:
    return irdl.tree.map(lambda array: array.astype(np.float64) if array.dtype == np.float32 else array, tree)


def _named(model: Any) -> Arrays:
    return model.state_dict() if isinstance(model, nn.Module) else model


def _start(problem: Problem) -> Any:
    model = system(problem.row)[0]
    return {name: array.copy() for name, array in problem.parameters.items()} if model is None else model


def eager(problem: Problem) -> tuple[Any, Arrays]:
    """The loss and the parameters after one step in NumPy, in float64."""
    _, optimizer, loss = system(problem.row)
    model = _dropping(_wide(_start(problem)), 0.0)
    batch, state = _wide(problem.batches[0]), first_state(problem.row, np.float64)
    model, _, _, value = whole(optimizer, loss)(model, _warm(optimizer.init(model)), *batch, *state)
    return value, _named(model)


def make(problem: Problem, threads: int) -> tuple[Callable[[], Any], Callable[[Any], tuple[Any, Arrays]]]:
    irdl.set_num_threads(threads)
    _, optimizer, loss = system(problem.row)
    step = irdl.jit(whole(optimizer, loss), donate_argnums=(0, 1))
    model = _start(problem)
    share = _share(model)
    held = [_dropping(model, 0.0), _warm(optimizer.init(model)), first_state(problem.row)]
    turns = cycle(problem.batches)
    checked = False

    def run() -> Any:
        nonlocal checked
        model, memory, after, value = step(held[0], held[1], *next(turns), *held[2])
        if not checked:
            model, checked = _dropping(model, share), True
        held[:] = model, memory, (after,) if held[2] else ()
        return value, model

    return run, lambda result: (result[0], _named(result[1]))
