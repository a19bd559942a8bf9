"""Texts of graphs with something changed: each is refused with an error of irdl's, or it is a graph that verifies, reads back and means
something."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest

import irdl
from irdl.errors import IrdlError
from irdl.ir.builder import make_node
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph, Value
from irdl.ir.op import Op, registered_ops
from irdl.ir.printer import print_graph
from irdl.ir.verify import verify

TYPES = ["f32[]", "f32[3]", "f64[3,4]", "i64[2]", "bool[3]", "c64[2,2]", "f16[0]", "i64[]"]
#: what NumPy says of numbers, not of types
OF_NUMBERS = (np.linalg.LinAlgError, IndexError)


def samples(op: Op) -> Iterator[Graph]:
    for sample, _ in zip(op.samples(), range(6), strict=False):
        inputs = [Value(type, name=f"x{place}") for place, type in enumerate(sample.types)]
        yield Graph(inputs, make_node(op, inputs, sample.attributes).outputs, "sample")


def _replaced(pattern: str, make: Callable[[random.Random, str], str]) -> Callable[[random.Random, str], str]:
    """One of the places where the pattern is, made something else."""

    def change(rnd: random.Random, text: str) -> str:
        places = list(re.finditer(pattern, text))
        if not places:
            return text
        place = rnd.choice(places)
        return text[: place.start()] + make(rnd, place.group()) + text[place.end() :]

    return change


CHANGES = [
    _replaced(r"\b(bool|[a-z]+\d+)\[[\d,]*\]", lambda rnd, _: rnd.choice(TYPES)),
    _replaced(r"(?<=[(,= ])-?\d+(?=[,) \n])", lambda rnd, _: rnd.choice(["-3", "-1", "0", "1", "2", "5", "99"])),
    _replaced(r", ?\w+", lambda rnd, _: ""),
    _replaced(r", ?\w+(?=[,)])", lambda rnd, found: found * 2),
    _replaced(r" \w+=\(?[^ {\n]*", lambda rnd, _: rnd.choice(["", " axis=1", " axes=(0,)", " axes=(0, 0)"])),
    _replaced(r"%\d+", lambda rnd, _: rnd.choice(["%0", "%1", "x0", "x1"])),
]


def refused_or_meant(graph: Graph, rnd: random.Random) -> None:
    text = print_graph(graph)
    for _ in range(rnd.choice((1, 1, 2))):
        text = rnd.choice(CHANGES)(rnd, text)
    try:
        read = irdl.parse(text)
    except IrdlError:
        return
    verify(read)
    assert irdl.parse(print_graph(read)) == read
    if any(node.op.name == "while" for node in read.all_nodes()):
        return  # it may never end
    with np.errstate(all="ignore"), suppress(*OF_NUMBERS):
        evaluate(read, [np.ones(value.shape, value.dtype) for value in read.inputs])


@pytest.mark.parametrize("op", list(registered_ops()), ids=lambda op: op.name)
def test_ops(op: Op) -> None:
    rnd = random.Random(0)
    for graph in samples(op):
        for _ in range(20):
            refused_or_meant(graph, rnd)


def test_loops_and_branches() -> None:
    def scanned(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return irdl.scan(lambda h, row: (np.tanh(row + h * w), h), w, x, reverse=True)

    def chosen(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        return irdl.cond(w[0] > 0, lambda x, w: x * w, lambda x, w: x - w, x, w)

    def repeated(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return irdl.while_loop(lambda carry: carry[1].sum() < w.sum(), lambda carry: (carry[0] + x, carry[1] + 1 + w * w), (x, w - 1))

    rnd = random.Random(0)
    for f in (scanned, chosen, repeated):
        graph = irdl.trace(f)(np.ones((4, 3), np.float32), np.ones(3, np.float32))
        for _ in range(300):
            refused_or_meant(graph, rnd)
