"""irdl: a compiler for models written in NumPy."""

from typing import TYPE_CHECKING, Any

from irdl import debug, errors, ops, random, tree
from irdl.ir.graph import Graph
from irdl.loading import load
from irdl.runtime.jit import ShapeDtype, compile, eval_shape, jit, trace
from irdl.runtime.threads import num_threads, set_num_threads
from irdl.tracing.control import cond, scan, while_loop
from irdl.tracing.loops import associative_scan, fori_loop
from irdl.tracing.numpy import protocol as _protocol
from irdl.transforms.api import grad, jvp, value_and_grad, vjp, vmap
from irdl.transforms.checkpoint import checkpoint
from irdl.transforms.custom import custom_vjp, stop_gradient
from irdl.transforms.derivatives import custom_jvp, hessian, jacfwd, jacrev

if TYPE_CHECKING:
    from irdl import testing
    from irdl.dumps import parse
    from irdl.exporting.exported import Exported, export
    from irdl.runtime.compiled import Compiled
    from irdl.runtime.device_array import DeviceArray, device_get, device_put

__version__ = "0.1.0"
__all__ = [
    "Compiled",
    "DeviceArray",
    "Exported",
    "Graph",
    "ShapeDtype",
    "associative_scan",
    "checkpoint",
    "compile",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "debug",
    "device_get",
    "device_put",
    "errors",
    "eval_shape",
    "export",
    "fori_loop",
    "grad",
    "hessian",
    "jacfwd",
    "jacrev",
    "jit",
    "jvp",
    "num_threads",
    "ops",
    "parse",
    "random",
    "scan",
    "set_num_threads",
    "stop_gradient",
    "testing",
    "trace",
    "tree",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]
del _protocol

#: loaded when they are first asked for: modules, and names of modules
_LATER = {
    "data": "",
    "nn": "",
    "optim": "",
    "testing": "",
    "Compiled": "runtime.compiled",
    "DeviceArray": "runtime.device_array",
    "parse": "dumps",
    **dict.fromkeys(("device_get", "device_put"), "runtime.device_array"),
    **dict.fromkeys(("Exported", "export"), "exporting.exported"),
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        module = load(f"irdl.{_LATER[name] or name}")
        return getattr(module, name) if _LATER[name] else module
    raise AttributeError(f"module 'irdl' has no attribute {name!r}")
