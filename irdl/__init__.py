"""irdl: a compiler for models written in NumPy."""

from irdl import errors, ops, random, testing
from irdl.ir.graph import Graph
from irdl.ir.parser import parse
from irdl.runtime.compiled import Compiled
from irdl.runtime.jit import compile, jit, trace
from irdl.runtime.threads import num_threads, set_num_threads
from irdl.trace import protocol as _protocol
from irdl.trace.control import cond, scan, while_loop
from irdl.transforms.api import grad, jvp, value_and_grad, vjp, vmap
from irdl.transforms.checkpoint import checkpoint
from irdl.transforms.custom import custom_vjp, stop_gradient

__version__ = "0.1.0"
__all__ = [
    "Compiled",
    "Graph",
    "checkpoint",
    "compile",
    "cond",
    "custom_vjp",
    "errors",
    "grad",
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
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]
del _protocol
