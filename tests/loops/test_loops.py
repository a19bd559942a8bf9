"""Programs as text: read back, and taken through passes, in Python and from the command line."""

from __future__ import annotations

import contextlib
import itertools
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import irdl
from irdl.codegen.cpu.pipeline import CPU_PROGRAM_PASSES
from irdl.errors import ParseError
from irdl.ir.printer import print_graph
from irdl.loops.index import Index
from irdl.loops.interpret import interpret
from irdl.loops.language import Program
from irdl.loops.parse import parse_program
from irdl.loops.rewrite import copy_program
from irdl.loops.text import large_constants
from irdl.passes.manager import Context
from irdl.runtime.build import Build
from irdl.runtime.cpu import Cpu
from tests.programs import Programs, draw_inputs
from tests.teams import team_of
from tests.test_edges import mutated

EVERYTHING = """
program all arena=128 threads=2 work=690.0 {
  input x: f64[8]
  output out0: f64[8]
  output out1: bool[1]
  constant c0: i64[3] = [1, -2, 3]
  constant c1: f64[1] = [-inf]
  arena go: bool[1] at 64
  arena a0: f64[8] at 0 depth 1
  alias x out0
  check axis 0 of 8 "model.py:3"
  while {
    kernel test_1 {
      go[0] = less(x[0], c1[0])
    }
    barrier
    test go[0]
  } {
    kernel body_2 independent {
      register r: f64[4]
      for i in 0:2 parallel {
        for l in 0:4 vector of 4 {
          r[l] = mul(x[4*i + l], 2.5f64)
        }
        prefetch x[4*i] to write
        for u in 1:4:2 unrolled turning with i {
          let k = check c0[u + -1] in 8 code 0
          let t = cast.f64(index(k + 3*u))
          a0[k] = fma(r[u], t, nanf64)
        }
      }
    }
  }
  if go[0] {
    kernel then_3 {
      out1[0] = True
    }
  } else {
    kernel else_4 {
      for b in 0:2 abreast {
        out0[b] = select(go[0], a0[b], neg(a0[b]))
      }
    }
  }
}
"""


def test_every_statement_reads_back() -> None:
    program = irdl.parse(EVERYTHING)
    assert isinstance(program, Program)
    assert str(program) == EVERYTHING.lstrip()
    copy = copy_program(program)
    assert copy == program
    copy.body.pop()
    assert copy != program and str(program) == EVERYTHING.lstrip()


@pytest.mark.parametrize("threads", [1, 3])
def test_passes_need_nothing_but_the_text(threads: int) -> None:
    """Each pass, on what was read back of the stage before, gives the stage after; and all mean the same."""
    passes = {item.name: item for item in CPU_PROGRAM_PASSES}
    for seed in range(40):
        graph = Programs(random.Random(seed)).graph()
        arguments = draw_inputs(graph, np.random.default_rng(seed))
        with team_of(threads):
            build = Build(graph, Cpu())
            programs = list(build.programs(copy_program))
            for before, after in itertools.pairwise(programs):
                again = parse_program(str(before.code), large_constants(before.code))
                assert passes[after.name](again, Context(build.target)) == after.code, (seed, after.name)
        if sum(node.outputs[0].type.size for node in graph.all_nodes() if node.outputs) < 100:
            # Before memory is planned, all of the arena lies at 0.
            planned = [step.code for step in programs if step.name in ("memory", "alternate", "parallel", "barriers")]
            first, *others = [interpret(program, arguments) for program in planned]
            for results in others:
                for x, y in zip(results, first, strict=True):
                    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("line", "damaged", "message"),
    [
        ("cast.f64(index(k", "cast.f64(index(t", "uses t outside its loop"),
        ("out1[0] = True", "out1[0] = 1i64", r"a store of int64 into out1 \(bool\)"),
        ("x[4*i + l]", "x[4*j + l]", "uses j outside its loop"),
        ("barrier", "fence", "there is no buffer 'fence'"),
        ("neg(", "negate(", "there is no op named 'negate'"),
        ("cast.f64(index(k", "neg.f64(index(k", r"there is no op named 'neg\.f64'"),
        ("cast.f64(index(k", "cast(index(k", "a cast says what it casts to"),
        ("of 4 {", "of {", "line 22: expected a number"),
        ("= [1, -2, 3]", "= [1, -2]", "2 numbers for a constant of 3"),
        ("turning with i", "turning with q", "turns with q outside its loop"),
    ],
)
def test_errors_name_the_line(line: str, damaged: str, message: str) -> None:
    assert EVERYTHING.count(line) == 1
    with pytest.raises(ParseError, match=message) as error:
        irdl.parse(EVERYTHING.replace(line, damaged))
    assert str(error.value).startswith("line ")


def test_damaged_programs_are_parse_errors() -> None:
    rnd = random.Random(0)
    texts = [EVERYTHING, *(str(Build(Programs(random.Random(n)).graph(), Cpu()).program) for n in range(20))]
    for _ in range(2000):
        with contextlib.suppress(ParseError):
            parse_program(mutated(rnd.choice(texts), rnd))


def opt(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "irdl", "opt", *arguments], input=text, capture_output=True, text=True, check=False)


def test_passes_from_the_command_line(tmp_path: Path) -> None:
    graph = "graph f(x: f64[5]) -> (f64[5]) {\n%0: f64[5] = neg(x)\n%1: f64[5] = neg(%0)\n%2: f64[5] = exp(x)\n"
    graph += "%3: f64[5] = add(%1, %2)\nreturn %3\n}"
    file = tmp_path / "graph.txt"
    file.write_text(graph)
    simplified = opt("--passes", "simplify,prune", str(file))
    assert simplified.returncode == 0 and "neg" not in simplified.stdout
    program = opt("--passes", "inline,simplify,fuse,lower", "--time", "--print-after-each", "-", text=graph)
    assert program.stdout.count("# after") == 4 and program.stderr.count(" ms") == 4
    text = program.stdout[program.stdout.index("# after lower") :]
    planned = opt("--passes", "merge,memory", "-", text=text)
    (expected,) = [np.ones(5) + np.exp(np.ones(5))]
    np.testing.assert_allclose(interpret(irdl.parse(planned.stdout), [np.ones(5)])[0], expected)


def test_mistakes_on_the_command_line() -> None:
    text = print_graph(irdl.trace(lambda x: x + 1)(np.ones(5)))
    for arguments, message in (
        (["--passes", "memory", "-"], "there is no pass 'memory' of a graph: it has inline, complex"),
        (["--passes", "inline,fuse,lower,simplify", "-"], "there is no pass 'simplify' of a program"),
        (["nowhere.txt"], "No such file"),
    ):
        result = opt(*arguments, text=text)
        assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
    assert "line 1" in opt("-", text="nonsense").stderr


def test_places_put_into_places() -> None:
    """An index means the same number whether its variables are known before or after others are put in their place."""
    rng = np.random.default_rng(0)

    def drawn(names: str) -> Index:
        terms = [(name, int(rng.integers(-3, 4))) for name in names if rng.random() < 0.7]
        return Index(int(rng.integers(-5, 6)), tuple(term for term in terms if term[1]))

    for _ in range(300):
        index, other, numbers = drawn("abcd"), drawn("abcd"), {name: int(rng.integers(-9, 10)) for name in "abcd"}
        values: dict[str, Index | int] = {name: drawn("abcd") if rng.random() < 0.6 else 7 for name in "abcd" if rng.random() < 0.6}
        inner = {name: (value if isinstance(value, int) else value.substitute(numbers).constant) for name, value in values.items()}
        for found in (index.substitute(values), index + other, index * 3, index * 0):
            assert list(found.terms) == sorted(found.terms) and all(coefficient for _, coefficient in found.terms)
            assert not found.substitute(numbers).terms
        assert index.substitute(values).substitute(numbers) == index.substitute({**numbers, **inner})
        assert (index + other).substitute(numbers) == index.substitute(numbers) + other.substitute(numbers)
