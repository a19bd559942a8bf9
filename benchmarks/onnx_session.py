"""ONNX Runtime as a peer: a model of a few nodes as a function without arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def session(nodes: Sequence[Any], constants: Sequence[Any], result: str, shape: Sequence[int], x: np.ndarray, threads: int) -> Callable:
    """Runs the nodes on the float32 input `x`; gives `result`, which has `shape`. `constants` are ONNX tensors."""
    import onnx.helper as helper
    import onnxruntime
    from onnx import TensorProto

    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    wanted = [helper.make_tensor_value_info(result, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "model", given, wanted, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    made = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: made.run(None, {"x": x})[0]
