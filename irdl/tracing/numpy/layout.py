"""How NumPy lays a result out in memory: NumPy itself is asked, on tiny arrays whose axes have the same order.

What a traced program can see of a layout is which reshapes are views, so the order of the axes is what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_supported
from irdl.ir.graph import Value
from irdl.tracing.box import ARRAY, PYTHON, Box, is_box, wrap, wrap_result
from irdl.tracing.layout import fresh_strides, shadow_array, tiny
from irdl.tracing.lines import user_line
from irdl.tracing.recorder import current_trace, open_trace


def lay_out(result: Any, function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """Give the new arrays in `result` the layouts that `function` gives its own, for arguments laid out like these."""
    if function in _UNTRIED:
        return result
    boxes = boxes_in((arguments, options))
    cells = {id(box.cell) for box in boxes}
    new = [box for box in _parts(result) if is_box(box) and box.type.rank > 1 and box._shadow is None and id(box.cell) not in cells]
    if not new or (all(_is_plain(box) for box in boxes) and not any(_is_order(part) for part in _parts((arguments, options)))):
        return result
    try:
        with np.errstate(all="ignore"):
            answer = function(*_tiny_parts(arguments), **_tiny_parts(options))
    except Exception:  # its numbers go with the extents, as those of np.split: such results are laid out plainly
        return result
    for box, made in zip(_parts(result), _parts(answer), strict=False):
        if any(box is item for item in new) and isinstance(made, np.ndarray) and made.ndim == box.ndim:
            box._shadow = shadow_array(box.shape, box.dtype, fresh_strides(made, box.shape, box.itemsize))
    return result


#: functions that are told how large their result shall be: not to be tried
_SIZED = (np.tile, np.repeat, np.pad, np.zeros_like, np.ones_like, np.full_like, np.empty_like, np.broadcast_to, np.resize)

#: those that warn of few elements, or of two, take lists that go with the extents, or call the user's functions
_UNTRIED = (np.average, np.cross, np.cov, np.corrcoef, np.piecewise, np.apply_along_axis, np.apply_over_axes, np.polyfit)


def ask(function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]) -> None:
    """Let NumPy itself look at the arguments, but for the extents: raises where it finds a wrong type, cast or axis.

    Raises:
        TypeError, AxisError: NumPy's own.
    """
    if (
        function in _SIZED
        or function in _UNTRIED
        or any(isinstance(part, np.ndarray) and not is_box(part) for part in _parts((arguments, options)))
    ):
        return  # real arrays may be axes or places
    try:
        with np.errstate(all="ignore"):
            function(*_tiny_parts(arguments), **_tiny_parts(options))
    except (TypeError, np.exceptions.AxisError) as error:
        if isinstance(error, np.exceptions.AxisError):
            if any(is_box(part) and part.kind != ARRAY for part in _parts((arguments, options))):
                return  # it may be the axis, which the rule refuses
            raise np.exceptions.AxisError(f"{error}{user_line()}") from None
        raise TypeError(f"{error}{user_line()}") from None
    except Exception:
        return  # what goes with the extents is the rule's to find


def laid_out_like(value: Value, made: np.ndarray) -> Any:
    """A result box whose axes have the order of those of `made`."""
    box = wrap_result(value)
    if value.type.rank > 1:
        box._shadow = shadow_array(value.shape, value.dtype, fresh_strides(made, value.shape, value.dtype.itemsize))
    return box


def copied(box: Box, value: Value, order: str) -> Any:
    """A new box for `value`, laid out as a copy of `box` in this order."""
    if value.type.rank < 2 or order == "C":
        return wrap_result(value)
    if order == "A":
        order = "F" if box.shadow.flags.fnc else "C"
    return laid_out_like(value, tiny(box.shadow).copy(order))  # type: ignore[arg-type]


def has_order(box: Box, order: str | None) -> bool:
    """Whether NumPy would find `box` in the order asked for, and not copy it."""
    if order == "A":
        return box.shadow.flags.forc
    return order in ("K", None) or (box.shadow.flags.c_contiguous if order == "C" else box.shadow.flags.f_contiguous)


def own(value: Value, array: np.ndarray) -> Box:
    """A new array box laid out as `array`, whose numbers `value` holds."""
    box = wrap(value)
    if not array.flags.c_contiguous:
        box._shadow = shadow_array(array.shape, value.dtype, array.strides)
    return box


def all_known(result: Any) -> Any:
    """The real arrays in a function's result as boxes of the trace that is open, their values known."""
    if isinstance(result, (tuple, list)) and any(type(part) is np.ndarray for part in result):
        parts = [all_known(part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    if current_trace() is None or type(result) is not np.ndarray or not is_supported(result.dtype):
        return result
    return own(open_trace().constant(result), result)


def computed(function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """What a function without a rule makes of arrays that the trace knows, as boxes whose values are known.

    Raises:
        TraceError: it changes its arguments or gives views of them, and they would be copies; or a derivative
            would be lost.
    """
    if function not in _CHANGING and not {"out", "copy"} & options.keys():
        given = known_arrays((tuple(arguments), options))
        result = function(*given[0], **given[1])
        arrays = [part for part in _parts(given) if isinstance(part, np.ndarray)]
        made = [part for part in _parts(result) if isinstance(part, np.ndarray)]
        if not any(np.may_share_memory(one, other) for one in made for other in arrays):
            return all_known(result)
    raise without_rule(function)


#: what to do without some functions that have no rule
INSTEAD: dict[Callable[..., Any], str] = {}


def without_rule(function: Callable[..., Any]) -> TraceError:
    name = f"{getattr(function, '__module__', 'numpy')}.{getattr(function, '__name__', function)}".replace("numpy", "np", 1)
    return TraceError(f"{name} has no rule in irdl: {INSTEAD.get(function, 'write it with functions that have one')}{user_line()}")


_CHANGING = (np.put, np.place, np.putmask, np.put_along_axis, np.fill_diagonal, np.copyto)


def are_known(boxes: Sequence[Any]) -> bool:
    """There are such, and the trace knows what they hold."""
    return bool(boxes) and all(box.known is not None for box in boxes)


def known_arrays(item: Any) -> Any:
    """Arguments with copies of the arrays that the known boxes among them hold.

    Raises:
        TraceError: a derivative would be lost.
    """
    if is_box(item):
        return np.asarray(item).item() if item.kind != ARRAY else np.asarray(item)
    if type(item) in (list, tuple):
        return type(item)(known_arrays(part) for part in item)
    if type(item) is dict:
        return {key: known_arrays(part) for key, part in item.items()}
    return item


def _is_order(item: Any) -> bool:
    return isinstance(item, str) and item in ("F", "A", "K")


def boxes_in(item: Any) -> list[Any]:
    return [part for part in _parts(item) if is_box(part)]


def _is_plain(box: Any) -> bool:
    return box.kind != ARRAY or box._shadow is None or box._shadow.flags.c_contiguous


def _parts(item: Any) -> list[Any]:
    if isinstance(item, (list, tuple)):
        return [part for each in item for part in _parts(each)]
    if isinstance(item, dict):
        return [part for each in item.values() for part in _parts(each)]
    return [item]


def _tiny_parts(item: Any) -> Any:
    if is_box(item):
        if item.kind == ARRAY:
            return tiny(item.shadow)
        number = item.dtype.type(1)
        return number.item() if item.kind == PYTHON else number
    if isinstance(item, np.ndarray):
        return tiny(item)
    if isinstance(item, (list, tuple)):
        return type(item)(_tiny_parts(part) for part in item) if type(item) in (list, tuple) else item
    if isinstance(item, dict):
        return {key: _tiny_parts(part) for key, part in item.items()}
    return item
