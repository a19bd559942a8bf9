"""NumPy's functions of complex numbers: their parts, which are views, the angle, and questions about them."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_complex
from irdl.ops.elementwise import COMPLEX
from irdl.ops.shape import BROADCAST, BroadcastAttributes
from irdl.tracing.box import ARRAY, PYTHON, Box, is_box, to_value, wrap, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.table import TABLE, as_box, traced
from irdl.tracing.operations import apply, cast
from irdl.tracing.views import PartStep


def _part(box: Box, imaginary: bool) -> Any:
    """A part of complex numbers: of an array a view of it."""
    step = PartStep(imaginary)
    if box.kind == ARRAY:
        return box.through([step], step.view(box.shadow))
    value = apply("imag" if imaginary else "real", [box.value])
    return wrap(value, PYTHON) if box.kind == PYTHON else wrap_result(value)


@traced(np.real)
def real(val: Any) -> Any:
    box = as_box(val)
    return _part(box, False) if is_complex(box.dtype) else val


@traced(np.imag)
def imag(val: Any) -> Any:
    """Of real numbers zeros, which cannot be stored into."""
    box = as_box(val)
    if is_complex(box.dtype):
        return _part(box, True)
    zeros = np.zeros_like(box)
    if box.kind == PYTHON:
        return wrap(zeros.value, PYTHON)
    return wrap(zeros.value, box.kind, "the imaginary part of real numbers is 0")


def store_real(self: Box, value: Any) -> None:
    """`z.real = x`"""
    _store(real(self), "real", value)


def store_imag(self: Box, value: Any) -> None:
    """`z.imag = x`"""
    if not is_complex(self.dtype):
        raise TypeError(f"array does not have imaginary part to set{user_line()}")
    _store(imag(self), "imag", value)


def _store(target: Any, name: str, value: Any) -> None:
    if target.kind != ARRAY:
        raise AttributeError(f"attribute {name!r} of a number is not writable{user_line()}")
    new = cast(to_value(value), target.dtype)
    target.store(apply(BROADCAST, [new], BroadcastAttributes(target.shape)) if new.shape != target.shape else new)


def join_parts(re: Any, im: Any) -> Any:
    """The complex numbers of these parts, floats of one dtype: re + 1j * im has nans and signs of zeros of its own."""
    return wrap_result(apply(COMPLEX, [to_value(re), to_value(im)]), (re, im))


@traced(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    box = as_box(z)
    if is_complex(box.dtype):
        result = np.arctan2(imag(box), real(box))
    else:
        result = np.arctan2(0, box)
    return result * (180 / np.pi) if deg else result


TABLE[np.iscomplexobj] = lambda x: is_complex(as_box(x).dtype)
TABLE[np.isrealobj] = lambda x: not is_complex(as_box(x).dtype)
TABLE[np.isreal] = lambda x: imag(as_box(x)) == 0
TABLE[np.iscomplex] = lambda x: imag(as_box(x)) != 0


@traced(np.real_if_close)
def real_if_close(a: Any, tol: Any = 100) -> Any:
    if is_box(a) and not is_complex(a.dtype):
        return a
    raise TraceError(f"np.real_if_close gives a real or a complex array, depending on its numbers: take .real{user_line()}")
