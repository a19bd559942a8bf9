"""The disk cache: what is there is used, and what is damaged, foreign or stale is built anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import irdl
from irdl.runtime import build, disk_cache

X = np.arange(12.0).reshape(3, 4)
TABLE = np.random.default_rng(0).standard_normal(100)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IRDL_CACHE", "1")
    monkeypatch.setenv("IRDL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def built(monkeypatch):
    """How many times code was made."""
    made = []
    original = build.Build.code

    def code(self):
        made.append(self)
        return original(self)

    monkeypatch.setattr(build.Build, "code", code)
    return made


def compiled():
    def f(x, i):
        return {"y": np.tanh(x)[i] + np.linspace(0, 1, 100)[:4], "s": x.sum()}

    return irdl.compile(f)(X, np.array([2, 0]))


def check(c):
    found = c(X, np.array([2, 0]))
    np.testing.assert_allclose(found["y"], np.tanh(X)[[2, 0]] + np.linspace(0, 1, 100)[:4])
    assert found["s"] == X.sum()
    with pytest.raises(IndexError, match=r"index 9 is out of bounds for axis 0 with size 3.*test_disk_cache"):
        c(X, np.array([9, 0]))


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.irdl"))


def test_a_second_compilation_reads_the_first(folder, built):
    for _ in range(3):
        check(compiled())
    assert len(built) == 1 and len(entries(folder)) == 1
    c = compiled()
    assert len(built) == 1
    assert "program f" in str(c.program) and "define" in c.llvm_ir and c.memory.arena >= 0 and len(c.stages) > 3
    mode = entries(folder)[0].stat().st_mode
    assert mode & 0o077 == 0 and folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "format", "text"])
def test_a_damaged_entry_is_built_anew(folder, built, damage):
    check(compiled())
    (path,) = entries(folder)
    data = path.read_bytes()
    spoiled = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "flipped": data[:-100] + bytes([data[-100] ^ 1]) + data[-99:],
        "format": data.replace(b"irdl-code-1", b"irdl-code-0", 1),
        "text": b"hello\n",
    }[damage]
    path.write_bytes(spoiled)
    check(compiled())
    assert len(built) == 2 and path.read_bytes() == data
    check(compiled())
    assert len(built) == 2


def test_what_code_depends_on_is_in_the_key(folder, built, monkeypatch):
    def compile_for(*arguments, **options):
        return irdl.compile(lambda x: x * 2 + TABLE.size, **options)(*arguments)

    compile_for(X)
    for arguments in ((X.astype(np.float32),), (X[:2],), (2.0,)):
        compile_for(*arguments)
    compile_for(X, donate_argnums=0)
    compile_for(X, disable_passes=("remat",))
    assert len(built) == 6
    irdl.set_num_threads(irdl.num_threads() + 1)
    try:
        compile_for(X)
    finally:
        irdl.set_num_threads(irdl.num_threads() - 1)
    monkeypatch.setattr(build, "host_description", lambda: "another processor")
    compile_for(X)
    monkeypatch.setattr(build, "source_digest", lambda: "another version")
    compile_for(X)
    assert len(built) == 9 and len(entries(folder)) == 9


def test_constants_are_part_of_it(folder, built):
    for table in (np.linspace(0, 1, 200), np.linspace(0, 2, 200)):
        numbers = tuple(table.tolist())

        def f(x, numbers=numbers):
            return x.sum() + np.array(numbers)

        for _ in range(2):
            np.testing.assert_allclose(irdl.compile(f)(X)(X), X.sum() + table)
    assert len(built) == 2


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")
def test_a_foreign_owner(folder, built):
    check(compiled())
    (path,) = entries(folder)
    os.chown(path, 12345, 12345)
    check(compiled())
    assert len(built) == 2
    os.chown(folder, 12345, 12345)
    check(compiled())
    assert len(built) == 3


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX only")
def test_others_may_write(folder, built):
    check(compiled())
    entries(folder)[0].chmod(0o666)
    check(compiled())
    assert len(built) == 2
    folder.chmod(0o777)
    check(compiled())
    assert len(built) == 3


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="POSIX only")
def test_links_are_not_followed(folder, built, tmp_path, monkeypatch):
    check(compiled())
    (path,) = entries(folder)
    moved = tmp_path / "elsewhere"
    path.rename(moved)
    path.symlink_to(moved)
    check(compiled())
    assert len(built) == 2
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.setenv("IRDL_CACHE_DIR", str(tmp_path / "link"))
    check(compiled())
    assert len(built) == 3


def test_no_place_for_it(tmp_path, built, monkeypatch):
    monkeypatch.setenv("IRDL_CACHE", "1")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IRDL_CACHE_DIR", str(tmp_path / "file" / "cache"))
    check(compiled())
    check(compiled())
    assert len(built) == 2
    monkeypatch.setenv("IRDL_CACHE_DIR", str(tmp_path / "good"))
    monkeypatch.setattr(disk_cache.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    check(compiled())
    assert not list((tmp_path / "good").iterdir())


def test_the_oldest_go_first(folder, monkeypatch):
    for size in (1, 2, 3):
        irdl.compile(lambda x: x + 1)(np.zeros(size))
    first, second, third = sorted(entries(folder), key=lambda path: path.stat().st_mtime_ns)
    for age, path in enumerate((third, second, first)):
        os.utime(path, (1000 - age, 1000 - age))
    monkeypatch.setattr(disk_cache, "_MOST", int(2.5 * third.stat().st_size))
    irdl.compile(lambda x: x + 1)(np.zeros(4))
    left = entries(folder)
    assert len(left) == 2 and first not in left and second not in left and third in left


PROGRAM = """
import sys, numpy as np, irdl
from irdl.runtime import build
made = []
original = build.Build.code
build.Build.code = lambda self: made.append(1) or original(self)
x = np.arange(6.0)
for n in range(1, 9):
    assert np.array_equal(irdl.jit(lambda x: x * n)(x), x * n)
print(len(made))
"""


def start(folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "IRDL_CACHE": "1", "IRDL_CACHE_DIR": str(folder)}
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True)


def test_two_processes_on_one_cache(tmp_path):
    first, second = start(tmp_path / "cache"), start(tmp_path / "cache")
    assert first.wait(60) == 0 and second.wait(60) == 0
    assert len(entries(tmp_path / "cache")) == 8
    third = start(tmp_path / "cache")
    assert third.communicate(timeout=60)[0].strip() == "0"


def test_a_process_killed_while_writing(tmp_path):
    folder = tmp_path / "cache"
    killed = start(folder)
    while not folder.exists() or not list(folder.iterdir()):
        assert killed.poll() is None
    killed.kill()
    killed.wait()
    (folder / "irdl-new-left-behind").write_bytes(b"half an entry")
    os.utime(folder / "irdl-new-left-behind", (1, 1))
    (folder / "irdl-new-in-the-making").write_bytes(b"half an entry")
    assert start(folder).wait(60) == 0
    assert (folder / "irdl-new-in-the-making").exists() and not (folder / "irdl-new-left-behind").exists()
    again = start(folder)
    assert again.communicate(timeout=60)[0].strip() == "0"


def test_nans_of_different_signs_are_different_constants(folder):
    for nan in (np.float64("nan"), -np.float64("nan")):
        constant = (nan,) * 4
        np.testing.assert_array_equal(irdl.jit(lambda x, c=constant: np.copysign(x, np.array(c)))(X[0]), np.copysign(X[0], nan))


def test_other_files_in_the_folder_stay(folder, monkeypatch):
    folder.mkdir(mode=0o700)
    (folder / "thesis.txt").write_bytes(b"x" * 1000)
    os.utime(folder / "thesis.txt", (1, 1))
    monkeypatch.setattr(disk_cache, "_MOST", 10)
    check(compiled())
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
