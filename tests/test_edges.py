"""Where new users bump their heads: pickling, forks, settings, the command line, names in errors, damaged dumps."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irdl
from irdl import config
from irdl.errors import ParseError, TraceError
from irdl.ir.printer import print_graph
from tests.programs import Programs


def plain(x: Any) -> Any:
    return np.tanh(x) * 2


@irdl.jit
def decorated(x: Any) -> Any:
    return x + 1


wrapped = irdl.jit(plain)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "IRDL_CACHE": "0", **environment}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=settings, capture_output=True, text=True, timeout=120, check=False
    )


def test_jitted_functions_pickle_as_functions_do() -> None:
    x = np.arange(3.0)
    for f in (decorated, wrapped):
        np.testing.assert_allclose(pickle.loads(pickle.dumps(f))(x), f(x))
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_allclose(pool.map(wrapped, [x])[0], wrapped(x))


def test_what_cannot_be_pickled_says_so() -> None:
    for item in (irdl.compile(plain)(np.ones(3)), irdl.trace(plain)(np.ones(3))):
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(item)


def test_a_child_forked_while_another_thread_compiles() -> None:
    code = """
        import os, threading, time, warnings
        import numpy as np, irdl
        warnings.simplefilter("ignore")
        def work(n):
            for k in range(n, n + 40):
                irdl.jit(lambda x: np.tanh(x + k) @ x.T)(np.ones((k % 7 + 2, 5)))
        thread = threading.Thread(target=work, args=(0,)); thread.start()
        for _ in range(6):
            time.sleep(0.03)
            child = os.fork()
            if not child:
                irdl.jit(lambda x: x * 3)(np.ones(3)); os._exit(0)
            end = time.time() + 20
            while os.waitpid(child, os.WNOHANG)[0] == 0:
                assert time.time() < end, "the child hangs"
                time.sleep(0.01)
        thread.join()
    """
    result = run(code)
    assert result.returncode == 0, result.stderr


def test_without_a_home(tmp_path: Path) -> None:
    code = """
        import os, pathlib, sys
        def nowhere(): raise RuntimeError("Could not determine home directory.")
        pathlib.Path.home = classmethod(lambda cls: nowhere())
        import numpy as np, irdl
        assert irdl.jit(lambda x: x + 1)(np.ones(2))[0] == 2
        print(len(os.listdir(sys.argv[1])) if len(sys.argv) > 1 else 0)
    """
    for folder in ("", str(tmp_path)):
        result = run(code, IRDL_CACHE="1", IRDL_CACHE_DIR=folder, XDG_CACHE_HOME="", HOME="")
        assert result.returncode == 0, result.stderr
    assert any(name.endswith(".irdl") for name in os.listdir(tmp_path))


def test_a_pipe_in_place_of_a_cache_entry(tmp_path: Path) -> None:
    code = """
        import os, numpy as np, irdl
        folder = os.environ["IRDL_CACHE_DIR"]
        irdl.jit(lambda x: x + 1)(np.ones(2))
        (name,) = [n for n in os.listdir(folder) if n.endswith(".irdl")]
        os.unlink(os.path.join(folder, name)); os.mkfifo(os.path.join(folder, name), 0o600)
        assert irdl.jit(lambda x: x + 1)(np.ones(2))[0] == 2
    """
    result = run(code, IRDL_CACHE="1", IRDL_CACHE_DIR=str(tmp_path))
    assert result.returncode == 0, result.stderr


def test_settings_that_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("IRDL_LOG", "bogus"), ("IRDL_CACHE_SIZE", "many"), ("IRDL_VERIFY", "yes")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ValueError, match=name):
                irdl.jit(lambda x: x + 1)(np.ones(2))


def test_empty_settings_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for flag in config.FLAGS:
        monkeypatch.setenv(flag.name, "")
        assert flag.value == flag.default
    np.testing.assert_allclose(irdl.jit(lambda x: np.log(x) @ x)(np.arange(1.0, 65)), np.log(np.arange(1.0, 65)) @ np.arange(1.0, 65))


def test_the_command_line() -> None:
    for arguments, text in (([], "usage"), (["version"], irdl.__version__), (["config"], "IRDL_CACHE_DIR")):
        result = subprocess.run([sys.executable, "-m", "irdl", *arguments], capture_output=True, text=True, check=True)
        assert text in result.stdout


def test_import_loads_no_code_generation() -> None:
    code = """
    import sys, irdl
    print([name for name in sys.modules if name.startswith(("irdl.codegen", "irdl.loops", "irdl.nn", "llvmlite", "networkx"))])
    print(irdl.Compiled.__name__, irdl.parse.__name__, irdl.testing.__name__)
    """
    result = run(code)
    assert result.stdout.splitlines() == ["[]", "Compiled parse irdl.testing"], result.stderr


def test_the_readmes_code_runs_as_pasted() -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text()
    code = "\n".join(block.split("```")[0] for block in text.split("```python\n")[1:])
    result = run(code)
    assert result.returncode == 0, result.stderr
    assert "scan" in result.stdout and "<string>:" in result.stdout


class Tensor:
    def numpy(self) -> Any:
        return np.ones(3)


def test_arguments_are_called_by_their_names() -> None:
    f = irdl.jit(lambda params, mode=None: params["w"])
    with pytest.raises(TraceError, match=r"argument `params\['w'\]\[1\]` is a str.*static_argnums"):
        f({"w": [np.ones(2), "text"]})
    with pytest.raises(TraceError, match=r"argument `mode` is a str"):
        f({"w": np.ones(2)}, mode="train")
    with pytest.raises(TraceError, match=r"argument `params\['w'\]` is a Tensor.*x\.numpy\(\)"):
        f({"w": Tensor()})


def mutated(text: str, rnd: random.Random) -> str:
    for _ in range(rnd.randint(1, 3)):
        at = rnd.randrange(len(text))
        what = rnd.randrange(5)
        if what == 0:
            text = text[:at] + text[at + rnd.randint(1, 6) :]
        elif what == 1:
            text = (
                text[:at]
                + rnd.choice(["(", ")", "%1", "7", ", ", "-1", "f64[3]", "inf", "[", "]", "{", "}", "axis", "9999999999"])
                + text[at:]
            )
        elif what == 2:
            other = rnd.randrange(len(text))
            text = text[:at] + text[other : other + rnd.randint(1, 12)] + text[at:]
        elif what == 3:
            digits = [i for i, c in enumerate(text) if c.isdigit()]
            place = rnd.choice(digits)
            text = text[:place] + rnd.choice("0123456789") + text[place + 1 :]
        else:
            text = text[:at] + text[at:].replace(
                rnd.choice(["f64", "i64", "bool", "(0,", "(1,"]), rnd.choice(["f32", "u8", "(-1,", "()", "(5, 6,"]), 1
            )
        if not text:
            return " "
    return text


def check_dumps(count: int, seed: int) -> None:
    rnd = random.Random(seed)
    texts = [print_graph(Programs(random.Random(n)).graph()) for n in range(60)]
    deadline = time.time() + 600
    for _ in range(count):
        text = mutated(rnd.choice(texts), rnd)
        with contextlib.suppress(ParseError):
            irdl.parse(text)
        assert time.time() < deadline


def test_damaged_dumps_are_parse_errors() -> None:
    check_dumps(3000, 0)
    for text in (
        "graph f() -> (f64[99999999999]) {\n %0: f64[99999999999] = constant full 1\n return %0\n}",
        "graph f() -> (" + "f64[2]," * 3,
        "graph f(x: f64[3]) -> (f64[3]) {\n %0: f64[3] = transpose(x) permutation=(0, 0)\n return %0\n}",
        "",
    ):
        with pytest.raises(ParseError):
            irdl.parse(text)


@pytest.mark.slow
def test_many_damaged_dumps() -> None:
    check_dumps(100_000, 1)
