"""Random programs in plain NumPy, as source: views, stores, memory orders, dtypes. Each statement is tried in NumPy as it is drawn,
so a program is one that NumPy runs."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np

DTYPES = ("float64", "float32", "int64", "int32", "uint8", "bool", "int8", "uint64")
VIEWS = (
    "{a}.T",
    "{a}[::2]",
    "{a}[::-1]",
    "{a}[1:]",
    "{a}[:, 1]",
    "{a}[..., ::-1]",
    "{a}[0]",
    "{a}[-1:]",
    "{a}[None]",
    "{a}[..., None]",
    "{a}[...]",
    "{a}.reshape(-1)",
    "{a}.reshape({a}.shape[::-1])",
    "{a}.reshape(2, -1)",
    "{a}.ravel()",
    "np.ravel({a})",
    "np.swapaxes({a}, 0, -1)",
    "np.moveaxis({a}, 0, -1)",
    "np.squeeze({a})",
    "np.expand_dims({a}, 1)",
    "np.flip({a}, 0)",
    "np.diagonal({a})",
    "np.lib.stride_tricks.sliding_window_view({a}, 2, -1)",
    "np.lib.stride_tricks.sliding_window_view({a}, 2, 0)[::2]",
    "np.einsum('ij->ji', {a})",
    "np.einsum('ii->i', {a}[:2, :2])",
    "np.broadcast_to({a}, (2, *{a}.shape))",
    "np.atleast_2d({a})",
    "np.split({a}, [1])[0]",
    "np.split({a}, [1], -1)[1]",
    "np.asarray({a})",
    "np.ascontiguousarray({a})",
    "np.asfortranarray({a})",
    "np.matrix_transpose({a})",
)
COPIES = (
    "{a}.copy()",
    "{a}.copy('F')",
    "np.copy({a})",
    "np.array({a})",
    "np.array({a}, order='F')",
    "{a}.flatten()",
    "{a}.astype('{d}')",
    "{a}.astype({a}.dtype, copy=False)",
    "+{a}",
    "{a} + 1",
    "{a} * 2",
    "{a} + {b}",
    "{a} - {b}.astype('float64')",
    "{a} * {b}",
    "np.maximum({a}, {b})",
    "np.minimum({a}, 1)",
    "{a} == {b}",
    "{a} < 2",
    "~({a} > 0)",
    "np.abs({a})",
    "np.floor({a})",
    "np.round({a})",
    "np.round({a} / 4, 1)",
    "np.sign({a})",
    "{a} // 2",
    "{a} % 3",
    "{a} ** 2",
    "np.square({a})",
    "np.where({a} > 0, {a}, {b})",
    "np.where({a} > 0, {a}, 1)",
    "np.clip({a}, 0, 2)",
    "np.sum({a}, axis=0)",
    "{a}.sum(-1, keepdims=True)",
    "np.max({a}, axis=0)",
    "{a}.min(-1)",
    "np.mean({a}, axis=0)",
    "np.prod({a}, axis=-1, dtype='float64')",
    "np.any({a}, axis=0)",
    "np.argmax({a}, axis=-1)",
    "np.sort({a}, axis=0)",
    "np.argsort({a}, kind='stable')",
    "np.median({a}, axis=-1)",
    "np.cumsum({a}, axis=0)",
    "np.cumsum({a})",
    "np.count_nonzero({a}, axis=0)",
    "np.concatenate([{a}, {a}])",
    "np.concatenate([{a}, {b}], axis=-1)",
    "np.stack([{a}, {a}], axis=-1)",
    "np.stack([{a}, {b}])",
    "np.array([{a}, {b}])",
    "np.vstack([{a}, {a}])",
    "np.tile({a}, 2)",
    "np.repeat({a}, 2, axis=0)",
    "np.roll({a}, 1, axis=-1)",
    "np.roll({a}, 1)",
    "np.pad({a}, 1)",
    "np.tril({a})",
    "np.diag({a})",
    "np.diff({a}, axis=0)",
    "np.take({a}, [0, 1], axis=-1)",
    "{a}[[0, 1]]",
    "{a}[:, [1, 0]]",
    "{a}[..., [1, 0]]",
    "{a}[[0, 1], [1, 0]]",
    "{a}[np.argmax({a}, axis=0)]",
    "np.take_along_axis({a}, np.argmax({a}, axis=-1)[..., None], -1)",
    "np.zeros_like({a})",
    "np.ones_like({a}, order='C')",
    "np.full_like({a}, 2)",
    "np.zeros_like({a}.T)",
    "np.zeros((2, 3), '{d}')",
    "np.ones((3, 2), '{d}', order='F')",
    "np.arange(6, dtype='float32').reshape(2, 3)",
    "np.full((2, 2), 3)",
    "{a} @ {b}.T",
    "np.dot({a}, {b}.T)",
    "np.outer({a}, [1, 2])",
    "np.tensordot({a}, {a}, 1)",
    "np.linalg.norm({a}, axis=-1)",
    "np.meshgrid({a}[0], {b}[0])[0]",
    "np.array([{a}.sum(), 1])",
    "np.array([{a}[0, 0], -1, 0.5])",
    "{a}.mean()[None]",
    "np.select([{a} > 1, {a} > 0], [{a}, {b}], 0)",
    "np.nan_to_num({a})",
    "np.bitwise_and({a}, 3)",
    "{a} << 1",
    "np.logical_or({a}, {b})",
    "np.add({a}, {b}, dtype='float64')",
    "np.add.outer({a}, [1, 2])",
    "np.maximum.reduce({a}, axis=-1)",
    "np.add.accumulate({a}, axis=-1)",
    "divmod({a}, 2)[1]",
)
STORES = (
    "{a}[...] = {b}",
    "{a}[...] = 7",
    "{a}[0] = 3",
    "{a}[:, 1] = {b}[:, 0]",
    "{a}[::2] = {a}[::-2]",
    "{a}[[0, 1]] = 5",
    "{a}[..., 0] += 1",
    "{a}[0, 1] = {b}[0, 0]",
    "{a}[{a} > 2] = 0",
    "{a}[{a} > 2] -= 1",
    "{a} += 1",
    "{a} *= 2",
    "{a} -= {b}",
    "{a} //= 2",
    "{a}[1:] += {a}[:-1]",
    "np.add({a}, 1, out={a})",
    "np.copyto({a}, {b} + 0)",
    "np.copyto({a}, 1, where={a} > 1)",
    "{a}.fill(4)",
    "{a}.sort(0)",
    "np.add.at({a}, [0, 0], 1)",
    "np.put_along_axis({a}, np.argmax({a}, axis=-1)[..., None], 2, -1)",
    "{a}.T[0] = 9",
    "{a}.reshape(-1)[0] = 6",
    "{a}.ravel()[0] = 8",
    "np.multiply({a}, 2, out={a}, where={a} > 0)",
)


def draw(seed: int, statements: int = 8) -> tuple[str, list[np.ndarray]]:
    """The source of a function `program(x, y)`, and its arguments."""
    rnd = random.Random(seed)
    arguments = [_argument(rnd), _argument(rnd)]
    scope: dict[str, Any] = {"np": np, "x": _copied(arguments[0]), "y": _copied(arguments[1])}
    lines: list[str] = []
    tries = 0
    while len(lines) < statements and tries < 60:
        tries += 1
        names = [name for name in scope if name != "np"]
        recent = names[-3:] if rnd.random() < 0.6 else names
        parts = {"a": rnd.choice(recent), "b": rnd.choice(names), "d": rnd.choice(DTYPES)}
        kind = rnd.random()
        if kind < 0.35:
            line = rnd.choice(STORES).format(**parts)
        else:
            line = f"v{len(lines)} = " + rnd.choice(VIEWS if kind < 0.68 else COPIES).format(**parts)
        trial = dict(scope)
        before = {name: item.copy() for name, item in scope.items() if isinstance(item, np.ndarray)}
        try:
            exec(line, trial)
        except Exception:
            for name, item in before.items():
                if scope[name].flags.writeable:
                    scope[name][...] = item
            continue
        made = trial.get(f"v{len(lines)}")
        if made is not None and (not isinstance(made, np.ndarray) or made.size > 200 or made.ndim > 4 or made.size == 0):
            continue
        if any(not _is_tame(item) for item in trial.values() if isinstance(item, np.ndarray)):
            break
        trial.pop("__builtins__", None)
        scope = trial
        lines.append(line)
    results = [name for name in scope if name != "np"]
    body = "".join(f"    {line}\n" for line in lines)
    return f"def program(x, y):\n{body}    return [{', '.join(results)}]\n", arguments


def run(source: str, arguments: list[np.ndarray]) -> Any:
    """The program's results in NumPy."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function_of(source)(*arguments)


def function_of(source: str) -> Any:
    scope: dict[str, Any] = {"np": np, "__name__": "numpy_program"}
    exec(compile(source, "<numpy program>", "exec"), scope)
    return scope["program"]


def _is_tame(array: np.ndarray) -> bool:
    """Small enough for sums in any order to be the same."""
    return array.dtype.kind not in "fiu" or bool(np.all(np.isfinite(array)) and np.all(np.abs(array.astype(np.float64)) < 1e6))


def _argument(rnd: random.Random) -> np.ndarray:
    shape = rnd.choice([(3, 4), (2, 3), (3, 3), (4,), (2, 3, 4), (1, 3), (2, 2)])
    dtype = rnd.choice(DTYPES)
    numbers = np.array([rnd.randrange(0, 9) for _ in range(int(np.prod(shape)))])
    if dtype.startswith("f"):
        numbers = numbers / 4 - 1
    elif dtype == "bool":
        numbers = numbers > 4
    array = numbers.reshape(shape).astype(dtype)
    form = rnd.randrange(4)
    if form == 1:
        array = np.asfortranarray(array)
    elif form == 2:
        wide = np.zeros((*shape[:-1], shape[-1] * 2), dtype)
        wide[..., ::2] = array
        array = wide[..., ::2]
    elif form == 3:
        array = array[::-1].copy()[::-1]
    return array


def _copied(array: np.ndarray) -> np.ndarray:
    """The same numbers in the same layout."""
    room = np.zeros(sum(abs(s) * (n - 1) for s, n in zip(array.strides, array.shape, strict=True)) + array.itemsize, np.uint8)
    low = sum(s * (n - 1) for s, n in zip(array.strides, array.shape, strict=True) if s < 0)
    made = np.ndarray(array.shape, array.dtype, room.data, -low, array.strides)
    made[...] = array
    return made


copied = _copied
