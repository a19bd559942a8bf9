"""Machine code kept on disk from one process to the next.

An entry is one file: a line that names the format and the digest of the rest, a line of JSON, the object file, the constants.
Nothing is unpickled. A file appears whole or not at all (written beside, then renamed); one that is damaged, of another owner
or reachable by others is passed over and the code built anew. Trouble with the disk is never an error of the caller's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from irdl import config
from irdl.loops.language import Check
from irdl.runtime.build import Build, Code

Kept = TypeVar("Kept")

_FORMAT = b"irdl-code-1"
#: Bytes that the folder may hold; the files used longest ago go first.
_MOST = 512 * 1024 * 1024
#: How files begin that are being written, and seconds after which their writer is gone.
_NEW, _UNFINISHED = "irdl-new-", 3600


def cached_code(build: Build) -> Code:
    """The code of a build: from the disk, or made now and kept there."""
    return _cached(build.key, _decode, build.code, _encode)


def cached_image(key: Callable[[], str], make: Callable[[], bytes]) -> bytes:
    """A file's bytes: from the disk, or made now and kept there. `key`: a digest of all that they depend on."""
    return _cached(key, bytes, make, bytes)


def _cached(key: Callable[[], str], decode: Callable[[bytes], Kept], make: Callable[[], Kept], encode: Callable[[Kept], bytes]) -> Kept:
    folder = _folder()
    if folder is None:
        return make()
    path = folder / f"{key()}.irdl"
    found = _read(path, decode)
    if found is None:
        found = make()
        _write(path, encode(found))
    if "cache" in config.LOG.value:
        print(f"irdl: {path}", file=sys.stderr)
    return found


def _folder() -> Path | None:
    """The cache's folder, made if it is not there; None where there is none to be trusted, or it is switched off."""
    if config.CACHE.value == "0":
        return None
    chosen = config.CACHE_DIR.value
    try:
        if chosen:
            folder = Path(chosen).expanduser()
        else:
            folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "irdl"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if _is_private(os.lstat(folder), stat.S_ISDIR) else None
    except (OSError, RuntimeError):
        return None


def _is_private(status: os.stat_result, kind: Callable[[int], bool]) -> bool:
    """Of the expected kind (no link), this user's own, and writable by nobody else."""
    own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return kind(status.st_mode) and own and not status.st_mode & 0o022


def _read(path: Path, decode: Callable[[bytes], Kept]) -> Kept | None:
    try:
        # Without O_NONBLOCK, a pipe in the file's place would be waited for.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not _is_private(status, stat.S_ISREG) or status.st_size > _MOST:
                return None
            data = file.read()
        found = decode(_checked(data))
        os.utime(path)
        return found
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError, MemoryError):
        return None


def _write(path: Path, payload: bytes) -> None:
    with contextlib.suppress(OSError):
        descriptor, name = tempfile.mkstemp(prefix=_NEW, dir=path.parent)
        try:
            with open(descriptor, "wb") as file:
                file.write(_FORMAT + b" " + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
            os.replace(name, path)
        except OSError:
            os.unlink(name)
            raise
        _shrink(path.parent)


def _shrink(folder: Path) -> None:
    """Remove the files used longest ago, where there are too many bytes, and what killed processes left."""
    own = [entry for entry in os.scandir(folder) if entry.name.endswith(".irdl") or entry.name.startswith(_NEW)]
    files = sorted(((entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in own), reverse=True)
    total = 0
    for used, size, name in files:
        total += size
        if total > _MOST or (os.path.basename(name).startswith(_NEW) and used < time.time() - _UNFINISHED):
            os.unlink(name)


def _encode(code: Code) -> bytes:
    header = {
        "arena_bytes": code.arena_bytes,
        "threads": code.threads,
        "looks": code.looks,
        "in_place": sorted(code.in_place.items()),
        "checks": code.checks,
        "image": len(code.image),
        "constants": [[array.dtype.str, array.shape] for array in code.constants],
    }
    return b"".join([json.dumps(header).encode(), b"\n", code.image, *(array.tobytes() for array in code.constants)])


def _checked(data: bytes) -> bytes:
    """What follows the first line.

    Raises:
        ValueError: it is not what was written.
    """
    first, _, payload = data.partition(b"\n")
    if first != _FORMAT + b" " + hashlib.sha256(payload).hexdigest().encode():
        raise ValueError("damaged")
    return payload


def _decode(payload: bytes) -> Code:
    text, _, rest = payload.partition(b"\n")
    header = json.loads(text)
    place = header["image"]
    constants = []
    for dtype, shape in header["constants"]:
        array = np.frombuffer(rest, np.dtype(dtype), int(np.prod(shape, dtype=np.int64)), place).reshape(shape).copy()
        constants.append(array)
        place += array.nbytes
    checks = [Check(int(axis), int(extent), *map(str, said)) for axis, extent, *said in header["checks"]]
    in_place = {int(out): int(place) for out, place in header["in_place"]}
    return Code(
        rest[: header["image"]], int(header["arena_bytes"]), int(header["threads"]), bool(header["looks"]), in_place, checks, constants
    )
