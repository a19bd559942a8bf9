"""A graph that runs on arrays: flat inputs in, flat outputs out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.codegen.cpu.llvm.call_shape import CallShape
from irdl.errors import DonationError
from irdl.ir.graph import Graph, Value
from irdl.loops.language import Program
from irdl.runtime.backends import find_backend
from irdl.runtime.build import Build, real_view
from irdl.runtime.device_array import DeviceArray
from irdl.tracing.raised import Errors

if TYPE_CHECKING:
    from irdl.codegen.cuda.model import Prediction


class Executable:
    """A compiled graph.

    Args:
        graph: what to compile.
        donated: positions of inputs whose memory results may take.
        stored: output position -> the input that is stored into, whose new contents it is.
        disable: optional passes to leave out.
        shape: the signature to make a native entry for; see `entry`.
        static_arrays: arrays for the graph's last inputs, which calls leave out.
        backend: the name of what runs it.
        precision: how contractions may round what they multiply; see `jit`.
        errors: those that the graph's last outputs are for, which calls leave out.
    """

    def __init__(
        self,
        graph: Graph,
        donated: Collection[int] = (),
        disable: Collection[str] = (),
        shape: CallShape | None = None,
        static_arrays: Sequence[np.ndarray] = (),
        backend: str = "cpu",
        precision: str | None = None,
        stored: Mapping[int, int] | None = None,
        errors: Errors | None = None,
    ) -> None:
        self.graph = graph
        #: output position -> donated input position, whether or not the code itself works in place
        hidden = errors.hidden if errors is not None else 0
        self._shown = len(graph.outputs) - hidden
        self.donations = match_donations(graph, donated, [*(stored or ()), *range(self._shown, len(graph.outputs))])
        found = find_backend(backend)
        shape = shape if found.has_entry else None
        stored = stored if found.stores_in_place else None
        self.build = Build(graph, found, self.donations, disable, shape, static_arrays, precision=precision, stored=stored, errors=errors)
        self.loaded = found.load(self.build)
        self.build.forget()
        self._inputs = graph.inputs[: len(graph.inputs) - len(static_arrays)]
        self._types = [(value.shape, value.dtype) for value in graph.outputs]

    @property
    def stages(self) -> list[tuple[str, Any]]:
        """`(name, Graph or Program)` after each step."""
        return self.build.stages

    @property
    def program(self) -> Program:
        return self.build.program

    @property
    def arena_bytes(self) -> int:
        return self.loaded.arena_bytes

    @property
    def constant_bytes(self) -> int:
        """The constants, and what was prepared from static arrays."""
        return self.loaded.constant_bytes + sum(array.nbytes for array in self.build.prepared)

    @property
    def llvm_ir(self) -> str:
        return self.build.llvm_ir

    @property
    def cuda_source(self) -> str:
        """The graph as CUDA C; see `codegen/cuda`."""
        return self.build.cuda_source

    @property
    def cuda_prediction(self) -> Prediction:
        """How long that should take, by a model."""
        return self.build.cuda_prediction

    @property
    def asm(self) -> str:
        """The machine code as assembly text."""
        return self.build.asm

    def entry(self, prepare: Callable[..., Any], finish: Callable[..., Any]) -> Any:
        """The builtin function for the signature that was asked for, or None, as where a donated
        array is not what the code itself works in; for the arguments see `PythonCall`."""
        return self.loaded.entry(prepare, finish) if self.donations.items() <= self.loaded.in_place.items() else None

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run on arrays of the graph's input types, static ones left out.

        Raises:
            IndexError: an index was out of range; the message names the axis and the user's line.
            BaseException: the function raises it; or a signal came, and its handler raised this: KeyboardInterrupt, for Ctrl-C. What the call stores into or
                was given as donated holds anything.
        """
        arrays = [np.require(a, value.dtype, ("C", "A")) for a, value in zip(inputs, self._inputs, strict=True)]
        in_place = self.loaded.in_place
        for place in in_place.values():
            # Whoever stores into it afterwards raises what NumPy raises.
            arrays[place] = arrays[place] if arrays[place].flags.writeable else arrays[place].copy()
        outputs = []
        for place, (shape, dtype) in enumerate(self._types):
            outputs.append(arrays[in_place[place]] if place in in_place else np.empty(shape, dtype))
        self.loaded.run([*map(real_view, arrays), *self.build.prepared], list(map(real_view, outputs)))
        for out, place in self.donations.items():
            if out not in in_place:
                np.copyto(inputs[place], outputs[out])
                outputs[out] = inputs[place]
        return outputs[: self._shown]

    def call_on_device(self, inputs: Sequence[np.ndarray | DeviceArray]) -> list[DeviceArray]:
        """As a call, on arrays of which some are on a GPU, where results stay. Donated ones that are there are gone afterwards.

        Raises:
            DonationError: a donated array is passed twice.
        """
        for place in self.donations.values():
            if isinstance(inputs[place], DeviceArray) and sum(item is inputs[place] for item in inputs) > 1:
                raise DonationError(f"donated argument {place} is passed twice: pass a copy")
        arrays = [
            item if isinstance(item, DeviceArray) else np.require(item, value.dtype, ("C", "A"))
            for item, value in zip(inputs, self._inputs, strict=True)
        ]
        outputs = self.loaded.run_on_device([*arrays, *self.build.prepared], self._types)
        for out, place in self.donations.items():
            donated = inputs[place]
            if isinstance(donated, DeviceArray):
                donated.free()
            else:
                np.copyto(donated, np.asarray(outputs[out]))
        return outputs[: self._shown]


def match_donations(graph: Graph, donated: Collection[int], stored: Collection[int] = ()) -> dict[int, int]:
    """Each output takes the donated input of its type that it is made of, element by element, and so can be computed in the place of;
    else the first of its type. None is taken twice, and none by the new contents of what is stored into, which are `stored`."""
    places = {graph.inputs[place]: place for place in donated}
    results = [(out, value) for out, value in enumerate(graph.outputs) if out not in stored]
    matched: dict[int, int] = {}
    for out, value in results:
        found = next((source for source in _elementwise_sources(value) if source in places and source.type == value.type), None)
        if found is not None:
            matched[out] = places.pop(found)
    for out, value in results:
        found = next((source for source in places if source.type == value.type), None) if out not in matched else None
        if found is not None:
            matched[out] = places.pop(found)
    return dict(sorted(matched.items()))


#: how far back elementwise operations are followed
_LOOK_BACK = 24


def _elementwise_sources(value: Value) -> Iterator[Value]:
    """The value, and what it is made of by elementwise operations, the nearest first."""
    waiting = [value]
    for place in range(_LOOK_BACK):
        if place == len(waiting):
            return
        item = waiting[place]
        yield item
        if item.node is not None and item.node.op.is_elementwise:
            waiting += [operand for operand in item.node.operands if operand.shape == value.shape and operand not in waiting]
