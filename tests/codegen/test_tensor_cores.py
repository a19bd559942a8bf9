"""Products of small matrices by warps: what lanes hold, what rounding is, and the stand-in that does on a CPU what they do."""

from __future__ import annotations

import numpy as np
import pytest

import irdl
from irdl.errors import ParseError, ProgramError
from irdl.loops.instructions import INSTRUCTIONS, round_to_tf32
from irdl.loops.interpret import interpret
from irdl.loops.language import Program
from irdl.loops.rewrite import copy_program
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu
from tests.codegen.watched import Watched

F32 = np.float32
#: two warps, each with a product of its own; the first operand transposed in memory
PRODUCT = """
program product arena=0 {
  input x: f32[256]
  input y: f32[128]
  output out0: f32[256]
  launch product blocks=1 threads=64 shared=0 {
    kernel product_1 {
      register left: f32[256] of 64
      register acc: f32[256] of 64
      register right: f32[128] of 64
      for w in 0:2 warp {
        for g in 0:8 lane {
          for q in 0:4 lane {
            for r in 0:2 unrolled {
              for c in 0:2 unrolled {
                left[c + 16*g + 4*q + 2*r + 128*w] = tf32(x[8*c + g + 16*q + 64*r + 128*w])
                acc[c + 16*g + 4*q + 2*r + 128*w] = 1.0f32
              }
              right[8*g + 2*q + r + 64*w] = tf32(y[g + 8*q + 32*r + 64*w])
            }
          }
        }
        multiply m16n8k8_tf32 acc[128*w] += left[128*w] @ right[64*w]
        for g in 0:8 lane {
          for q in 0:4 lane {
            for r in 0:2 unrolled {
              for c in 0:2 unrolled {
                out0[c + 8*g + 2*q + 64*r + 128*w] = acc[c + 16*g + 4*q + 2*r + 128*w]
              }
            }
          }
        }
      }
    }
  }
}
"""


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(F32)


def product_program() -> Program:
    program = irdl.parse(PRODUCT)
    assert isinstance(program, Program)
    return program


def test_the_text_reads_back() -> None:
    program = product_program()
    assert str(program) == PRODUCT.lstrip()
    assert copy_program(program) == program


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_lanes_hold_each_element_once(name: str) -> None:
    instruction = INSTRUCTIONS[name]
    for fragment in (instruction.total, instruction.left, instruction.right):
        held = sorted(fragment.at(lane, slot) for lane in range(32) for slot in range(len(fragment.places)))
        assert held == sorted(np.ndindex(fragment.shape))


def test_rounding() -> None:
    """To the nearest of the numbers with ten bits of fraction, ties away from zero."""
    ulp = F32(2**-10)
    exact = np.array([1, -1, 1 + ulp, 0, -0.0, np.inf, -np.inf, 2**-126, 2**-136, 3.0e38], F32)
    exact = exact[round_to_tf32(exact) == exact]
    assert len(exact) >= 9
    below = [1 + ulp / 2 - F32(2**-23), 1 + ulp / 2, -(1 + ulp / 2), 1 + ulp * F32(1.5), np.finfo(F32).max]
    assert round_to_tf32(np.array(below, F32)).tolist() == [1, 1 + ulp, -(1 + ulp), 1 + 2 * ulp, np.inf]
    assert np.isnan(round_to_tf32(np.array([np.nan, -np.nan, np.uint32(0x7FFFFFFF).view(F32)], F32))).all()
    x = draw(10_000) * np.exp2(draw(10_000) * 20)
    rounded = round_to_tf32(x)
    assert not (rounded.view(np.uint32) & 0x1FFF).any()
    # `rint` breaks ties to even: none is among them.
    fraction, exponent = np.frexp(x.astype(np.float64))
    np.testing.assert_array_equal(rounded, np.ldexp(np.rint(fraction * 2**11), exponent - 11))


def test_product_interpreted() -> None:
    """Watched too: nothing but registers passes between lanes."""
    x, y = draw(2, 8, 16), draw(2, 8, 8)
    expected = 1 + np.einsum("wki,wkj->wij", round_to_tf32(x).astype(np.float64), round_to_tf32(y))
    for run in (lambda p, a: interpret(p, a), lambda p, a: Watched(p).call(a)):
        (result,) = run(product_program(), [x, y])
        np.testing.assert_allclose(result.reshape(2, 16, 8), expected, rtol=0, atol=9 * 2**-24 * np.abs(x).max() * np.abs(y).max() * 8)


@pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
def test_product_on_the_stand_in(tmp_path) -> None:
    """The same bits as the interpreter's, nan and infinities among them, whatever the order of threads."""
    x, y = draw(2, 8, 16), draw(2, 8, 8)
    x[0, 0, 0], x[0, 1, 1], y[1, 3, 3], y[1, 0, 0] = np.inf, np.nan, -np.inf, F32(2**-140)
    program = product_program()
    (expected,) = interpret(program, [x, y])
    kernels = OnCpu([program], tmp_path)
    for order in (0, 1, 7):
        np.testing.assert_array_equal(kernels(0, [x, y], order=order)[0], expected)


@pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
def test_operands_have_to_be_rounded(tmp_path) -> None:
    """On a GPU, what is left of the fraction may be cut off."""
    program = irdl.parse(PRODUCT.replace("tf32(y[g + 8*q + 32*r + 64*w])", "y[g + 8*q + 32*r + 64*w]"))
    arguments = [draw(2, 8, 16), draw(2, 8, 8)]
    with pytest.raises(ProgramError, match="right holds numbers that tf32 has not rounded"):
        interpret(program, arguments)
    assert np.isnan(OnCpu([program], tmp_path)(0, arguments)[0]).all()
    rounded = [draw(2, 8, 16), round_to_tf32(draw(2, 8, 8))]
    assert not np.isnan(interpret(program, rounded)[0]).any()


@pytest.mark.parametrize(
    ("text", "damaged", "error", "message"),
    [
        ("m16n8k8_tf32", "m16n8k8_tf16", ParseError, "there is no instruction 'm16n8k8_tf16'"),
        ("+= left[", "+= x[", ParseError, "m16n8k8_tf32 takes 4 registers of each lane, which x is not"),
        ("@ right[64*w]", "@ right[64*v]", ParseError, "uses v outside its loop"),
        ("acc[128*w] += left[128*w]", "acc[128*w] += right[64*w]", ParseError, "takes 4 registers of each lane, which right is not"),
        ("register acc: f32[256] of 64", "register acc: f32[256]", ParseError, "which acc is not"),
        ("register acc: f32[256] of 64", "register acc: f64[256] of 64", ParseError, "float64"),
    ],
)
def test_damaged(text: str, damaged: str, error: type[Exception], message: str) -> None:
    assert text in PRODUCT
    with pytest.raises(error, match=message):
        irdl.parse(PRODUCT.replace(text, damaged))
