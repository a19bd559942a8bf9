"""The model of a GPU's time, against what can be worked out by hand from the rates it is given. No GPU is needed, and none was asked."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda.accesses import sectors
from irdl.codegen.cuda.emit import launches
from irdl.codegen.cuda.model import LIMITS, Prediction, predict
from irdl.codegen.cuda.rates import A100, H100, H200, Rates, rates_of
from irdl.codegen.cuda.work import work_of
from irdl.errors import ProgramError
from irdl.loops.language import Barrier, For, Launch, Program
from irdl.loops.target import Gpu
from irdl.loops.walk import bound_nest, nested, walk
from tests.codegen.on_cpu import gpu_program
from tests.codegen.test_cuda import FUNCTIONS, lstm, lstm_gradient, normal, weights

CYCLE = 1 / H200.clock_hz
LAUNCH = H200.launch_seconds


def shaped(*shape: int) -> np.ndarray:
    """An array of that shape, for its type alone."""
    return np.broadcast_to(np.float32(0), shape)


def prediction_of(function, *arguments, gpu: Gpu | None = None, rates: Rates | None = None) -> Prediction:
    gpu = gpu or Gpu()
    return predict(gpu_program(irdl.trace(function)(*arguments), gpu), gpu, rates)


def one_launch(body: str, *, blocks: int, threads: int = 256, shared: str = "", registers: str = "", gpu: Gpu | None = None) -> float:
    """Seconds of a launch that is written down, without what launching takes. It has `x` and `out`, of 2^20 numbers."""
    declared = "".join(f"\n  shared {name} at 0" for name in [shared] if name)
    declared += "".join(f"\n  register {name}" for name in registers.split(", ") if name)
    text = f"""program p arena=0 {{
  input x: f32[1048576]
  output out: f32[1048576]
  launch k blocks={blocks} threads={threads} shared={4096 if shared else 0} {{
    kernel k {{{declared}
      {body}
    }}
  }}
}}"""
    program = irdl.parse(text)
    assert isinstance(program, Program)
    return predict(program, gpu or Gpu()).seconds - LAUNCH


def in_blocks(body: str, blocks: int, warps: int = 8) -> str:
    return f"for b in 0:{blocks} block {{ for w in 0:{warps} warp {{ for l in 0:32 lane {{ {body} }} }} }}"


def test_products_of_small_matrices_take_the_tensor_cores_time() -> None:
    """4096 x 4096 x 4096 multiply-adds, 1,024 at once, on four schedulers of each of 132 multiprocessors, seven cycles each: a product takes
    longer than these alone, and less time than in float32."""
    arguments = shaped(4096, 4096), shaped(4096, 4096)
    graph = irdl.trace(lambda x, y: x @ y)(*arguments)
    found = predict(gpu_program(graph, Gpu(), precision="tf32"), Gpu()).seconds
    alone = 4096**3 / 1024 / (4 * 132) * 7 * CYCLE
    assert alone < found < prediction_of(lambda x, y: x @ y, *arguments).seconds


# Memory.


def test_a_copy_takes_the_way_from_dram_and_back():
    """2^27 numbers there and back are 1.07 GB: 250 us at 4.3 TB/s, to which nothing but a launch and a round trip may come."""
    found = prediction_of(lambda x: x * 2, shaped(2**27))
    moved = 2 * 4 * 2**27
    assert found.limit == "DRAM"
    assert moved / H200.dram_bytes_per_second < found.seconds < 1.02 * moved / H200.dram_bytes_per_second + LAUNCH


def test_what_l2_keeps_does_not_come_from_dram():
    """16 MB of 25 are there from the last call: less than DRAM would take, no less than the way from L2."""
    moved = 2 * 4 * 2**21
    found = prediction_of(lambda x: x * 2, shaped(2**21)).seconds - LAUNCH
    assert moved / H200.l2_bytes_per_second < found < moved / H200.dram_bytes_per_second


def test_numbers_that_lie_apart_bring_whole_sectors():
    """32 lanes bring 128 bytes of neighbours, and 1,024 of numbers that lie 32 bytes apart."""
    assert sectors(4, [(4, 32)]) == 4
    assert sectors(4, [(32, 32)]) == 32
    assert sectors(4, [(8, 32)]) == 8
    assert sectors(4, [(0, 32)]) == 1
    assert sectors(4, [(4, 32), (4096, 10)]) == 40
    # All blocks at once: L2 limits, and gives what it gives to sectors.
    near, apart = (
        one_launch(in_blocks(f"for s in 0:256 {{ out[l] = x[{stride}*l + {32 * stride}*s + w] }}", 1320), blocks=1320) for stride in (1, 8)
    )
    assert apart > 4 * near


def test_banks_of_shared_memory():
    """Lanes that are 32 words apart ask one bank: 32 cycles each, for 8 warps of a block and 256 steps 65,536."""
    program = "for s in 0:256 {{ part[{stride}*l + s] = 1.0f32 }}"
    across, along = (one_launch(in_blocks(program.format(stride=stride), 132), blocks=132, shared="part: f32[1024]") for stride in (32, 1))
    assert across == pytest.approx(8 * 256 * 32 * CYCLE, rel=0.02)
    assert along == pytest.approx(8 * 256 * CYCLE, rel=0.02)


SUM = "for s in 0:1024 {{ \n a0[0] = add(a0[0], x[l + 32*w + {stride}*s]) \n }}"


def test_one_multiprocessor_gets_64_bytes_a_cycle_from_l2():
    """4 MB for the 32 warps of a block, 16 loads of each on their way: 33 us."""
    found = one_launch(in_blocks(SUM.format(stride=1024), 1, 32), blocks=1, threads=1024, registers="a0: f32[1]")
    assert found == pytest.approx(4 * 2**20 / 64 * CYCLE, rel=0.02)


def test_a_warp_waits_for_its_loads():
    """16 steps' loads are on their way at once: 64 round trips, and 1,024 additions of 4 cycles."""
    found = one_launch(in_blocks(SUM.format(stride=1024), 1, 1), blocks=1, threads=32, registers="a0: f32[1]")
    assert found == pytest.approx((64 * H200.l2_latency_cycles + 4 * 1024) * CYCLE, rel=0.02)


def test_what_is_read_ahead_is_waited_for_while_nothing_else_is_done():
    """A step reads what the next one uses: it takes a round trip, or as long as a chain of so many multiply-adds, if that is longer."""
    there = "for w in 0:8 warp {{ for l in 0:32 lane {{ {} }} }}"
    use = there.format("a0[0] = add(a0[0], ahead[32*w + l])")
    fetch = there.format("ahead[32*w + l] = x[l + 32*w + 256*k]")
    for terms, cycles in ((1, H200.l2_latency_cycles), (1000, 4000)):
        step = f"{use} {fetch} {there.format(multiply_adds(1, terms))}"
        found = one_launch(
            f"for b in 0:132 block {{ {fetch.replace('256*k', '0')} for k in 0:500 {{ {step} }} }}",
            blocks=132,
            registers="a0: f32[1], ahead: f32[256] of 256",
        )
        assert 500 * cycles * CYCLE <= found < 500 * (cycles + 90) * CYCLE


def test_a_place_that_is_loaded_is_waited_for_too():
    """An index has to be there before what it points at."""
    trip = H200.l2_latency_cycles * CYCLE
    taken = prediction_of(lambda x, i: x[i], shaped(64), np.zeros(64, np.int64)).parts["latency"]
    alone = prediction_of(lambda x: x + 1, shaped(64)).parts["latency"]
    assert alone == pytest.approx(trip)
    assert taken == pytest.approx(2 * trip)


def accesses(body: str) -> float:
    """Those of a thread that adds up, in cycles of the first-level cache."""
    program = irdl.parse(f"""program p arena=0 {{
  input x: f32[1048576]
  output out: f32[1048576]
  launch k blocks=1 threads=32 shared=0 {{
    kernel k {{
      register a0: f32[1]
      register r: f32[4]
      for l in 0:32 lane {{ for s in 0:1024 {{ \n {body} \n }} }}
    }}
  }}
}}""")
    assert isinstance(program, Program)
    (lane,) = [s for s in walk(program.body) if isinstance(s, For) and s.kind == "lane"]
    return work_of(lane.body, [lane], [], set(), 1e6, 4).near


def test_what_leads_from_place_to_place_is_waited_for_each_time():
    """Steps whose places are known load at once; where a step says where the next one looks, one load waits for the other."""
    steps = "for s in 0:16 {{ at[0] = cast.i64(x[{}]) }} out[l] = cast.f32(at[0])"
    known, led = (in_blocks(steps.format(place), 1, 1) for place in ("l + 32*s", "p"))
    led = led.replace("at[0] = cast", "let p = at[0] at[0] = cast")
    found = [one_launch(body, blocks=1, threads=32, registers="at: i64[1]") / CYCLE / H200.l2_latency_cycles for body in (known, led)]
    assert found[0] < 2 < 16 < found[1] < 18


def test_what_a_loop_does_not_move_is_loaded_once():
    """Not if it may be stored into meanwhile: inputs are not, an output is."""
    assert accesses("a0[0] = add(a0[0], x[l + 32*s])") == 1024
    assert accesses("a0[0] = add(a0[0], x[l])") == 1
    assert accesses("out[l + 32*s] = x[l]") == 1025
    assert accesses("out[l + 32*s] = out[l]") == 2048


def test_a_run_is_one_access():
    """Of 512 bytes of a warp, four lines: as many as four accesses of 128 bytes, and four times as few as these where lanes lie apart."""
    run = "for v in 0:4 {kind} {{ r[v] = x[4*l + 128*s + v] }}"
    assert accesses(run.format(kind="vector of 4")) == 4 * 1024
    assert accesses(run.format(kind="unrolled")) == 16 * 1024
    apart, together = (
        one_launch(in_blocks(f"for s in 0:1024 {{ {run.format(kind=kind)} }}", 132), blocks=132, registers="r: f32[4]")
        for kind in ("unrolled", "vector of 4")
    )
    assert apart > 3 * together


def test_a_guard_keeps_lanes_from_memory():
    """Ten of them: 160 bytes, two lines."""
    assert accesses("if less(index(l), 10i64) { for v in 0:4 vector of 4 { r[v] = x[4*l + 128*s + v] } } else { }") == 2 * 1024


# Arithmetic.


def multiply_adds(accumulators: int, steps: int) -> str:
    body = " \n ".join(f"a{n}[0] = fma(a{n}[0], a{n}[0], a{n}[0])" for n in range(accumulators))
    return f"for s in 0:{steps} {{ \n {body} \n }}"


def test_a_chain_of_operations_waits_for_itself():
    """One warp, 10,000 multiply-adds that each need the one before: four cycles each."""
    found = one_launch(in_blocks(multiply_adds(1, 10_000), 1, 1), blocks=1, threads=32, registers="a0: f32[1]")
    assert found == pytest.approx(40_000 * CYCLE, rel=0.01)


def test_independent_operations_reach_the_peak():
    """8 warps of each of 132 blocks, 16 chains: 67 TFLOP/s, less what the loop takes, 3 in 35 instructions."""
    registers = ", ".join(f"a{n}: f32[1]" for n in range(16))
    found = one_launch(in_blocks(multiply_adds(16, 10_000), 132), blocks=132, registers=registers)
    floor = 16 * 10_000 * 132 * 256 / (132 * 128 * H200.clock_hz)
    assert floor < found < floor * 35 / 32 * 1.01


def test_a_matrix_product_is_bound_by_what_is_issued():
    """4096^3 multiply-adds take 2.05 ms at one for each lane and cycle. The loop adds 4 loads of 16 bytes to 64 of them, and for 1,024 of
    them 32 loads and stores bring in the next steps; no less than 75% of the instructions are multiply-adds. 1,024 tiles are 7.76 for
    each multiprocessor, of which some get 8."""
    found = prediction_of(lambda x, y: x @ y, shaped(4096, 4096), shaped(4096, 4096))
    peak = 4096**3 / (132 * 128 * H200.clock_hz)
    assert found.limit == "issue"
    assert peak * 8 / 7.76 * 68 / 64 < found.seconds < peak / 0.75


def test_an_older_gpu_is_as_much_slower_as_it_multiplies_less():
    """108 multiprocessors of 64 lanes at 1.41 GHz: 3.4 times fewer multiply-adds, which limit it, and not what is issued."""
    arguments = (lambda x, y: x @ y, shaped(4096, 4096), shaped(4096, 4096))
    old = prediction_of(*arguments, gpu=Gpu(capability=80, multiprocessors=108, shared_bytes=163 * 1024))
    assert old.rates is A100 and old.limit == "float32"
    assert old.seconds == pytest.approx(4096**3 / (108 * 64 * A100.clock_hz) * 10 / (1024 / 108), rel=0.1)


def test_blocks_share_multiprocessors():
    """As many blocks as multiprocessors take as long as one does; one more, or one multiprocessor, as many times longer as follow."""
    registers = ", ".join(f"a{n}: f32[1]" for n in range(16))

    def seconds(blocks, multiprocessors):
        body = in_blocks(multiply_adds(16, 1000), blocks)
        return one_launch(body, blocks=blocks, registers=registers, gpu=Gpu(multiprocessors=multiprocessors))

    assert seconds(132, 132) == pytest.approx(seconds(1, 132))
    assert seconds(133, 132) == pytest.approx(2 * seconds(1, 132), rel=0.01)
    assert seconds(132, 1) == pytest.approx(132 * seconds(1, 132), rel=0.01)
    # The same work in one block.
    assert seconds(132, 132) < one_launch(in_blocks(multiply_adds(16, 132_000), 1), blocks=1, registers=registers) / 100


def test_blocks_that_wait_for_themselves_fill_each_others_gaps():
    """Two blocks of 1,024 threads are on a multiprocessor at once, in which one warp works: four of them take twice as long as two."""

    def seconds(blocks):
        return one_launch(in_blocks(multiply_adds(1, 10_000), blocks, 1), blocks=blocks, threads=1024, registers="a0: f32[1]")

    assert seconds(264) == pytest.approx(seconds(1))
    assert seconds(528) == pytest.approx(2 * seconds(1))


# Loops over time.


def recurrent(length):
    def function(h, w):
        return irdl.scan(lambda h, _: (np.tanh(h @ w), None), h, None, length=length)[0]

    return prediction_of(function, shaped(32, 256), shaped(256, 256)).seconds


def test_twice_the_steps_take_twice_the_time():
    once, twice, four_times = map(recurrent, (100, 200, 400))
    assert four_times - twice == pytest.approx(2 * (twice - once))
    around = 2 * once - twice  # launches, and what is before and behind the loop
    assert LAUNCH < around < 10e-6


def step_of(program: Program) -> list[tuple[Launch, For]]:
    return [(launch, s) for launch in launches(program) for s in launch.body if isinstance(s, For) and s.kind == "serial"]


def test_a_step_of_an_lstm():
    """32 rows, 256 units. No less than 32 x 1,024 x 256 multiply-adds on 132 x 128 lanes and 8 blocks that meet (1.05 us); no more than
    8 warps' 490 instructions, which nvcc makes of it, one after the other on four schedulers, a meeting, and 6 round trips of 0.25 us
    (2.8 us). The design's own model says 1.3 us."""

    def seconds(steps):
        arguments = normal(steps, 32, 8), *weights(8, 256, 4)
        return prediction_of(lstm, *arguments).launches[-1][1]

    step = (sum(seconds(30).values()) - sum(seconds(10).values())) / 20
    fewest = 32 * 1024 * 256 / (132 * 128) * CYCLE + H200.exchange(8)
    assert fewest < step < 490 * 8 / 4 * CYCLE + H200.exchange(8) + 6 * 500 * CYCLE
    meeting = seconds(30)["barriers"] - seconds(10)["barriers"]
    assert meeting / 20 == pytest.approx(H200.exchange(8) + 2 * H200.block_barrier_cycles * CYCLE)


def instructions_of_a_step(loop: For) -> tuple[float, float]:
    """Of the first warp, which takes part in everything: all, and those of float32."""

    def phases(body):
        for statement in body:
            if isinstance(statement, For) and statement.kind == "warp":
                yield statement
            else:
                for part in nested(statement):
                    yield from phases(part)

    issued = float32 = 0.0
    for phase in phases(loop.body):
        warps = bound_nest(phase)
        lanes = bound_nest(warps[-1].body[0])
        work = work_of(lanes[-1].body, lanes, warps, set(), 1e6, 4)
        turns = -(-math.prod(warp.stop for warp in warps) // 8)
        issued, float32 = issued + turns * work.issued, float32 + turns * work.float32
    return issued, float32


def test_instructions_are_those_that_nvcc_makes():
    """nvcc 13.0 for sm_90 makes 490 of the forward step and 451 of the backward one, 280 and 256 of them multiply-adds alone."""
    arguments = normal(5, 32, 8), *weights(8, 256, 4)
    (forward,) = [instructions_of_a_step(loop) for _, loop in step_of(gpu_program(irdl.trace(lstm)(*arguments)))]
    backward = [instructions_of_a_step(loop) for _, loop in step_of(gpu_program(irdl.trace(lstm_gradient)(*arguments)))][-1]
    assert forward[0] == pytest.approx(490, rel=0.12) and forward[1] > 280
    assert backward[0] == pytest.approx(451, rel=0.12) and backward[1] > 256


def test_what_a_step_reads_ahead_is_not_waited_for():
    """Only the state is, which other blocks have written."""
    ((_, loop),) = step_of(gpu_program(irdl.trace(lstm)(normal(5, 32, 8), *weights(8, 256, 4))))
    waits = {}
    for kernel in loop.body:
        for phase in (s for s in walk([kernel]) if isinstance(s, For) and s.kind == "lane"):
            waits.setdefault(kernel.name.split("_")[0], []).append(work_of(phase.body, [phase], [], set(), 1e6, 4).waits)
    assert waits == {"ahead": [0], "dot": [1, 0, 0]}


def test_a_barrier_less_takes_less():
    """Of a loop, in every step; what it has kept apart then overlaps, in which other units are busy."""
    steps, arguments = 5, (normal(5, 32, 8), *weights(8, 256, 4))
    graph = irdl.trace(lstm)(*arguments)
    whole = predict(gpu_program(graph), Gpu())
    count = sum(isinstance(s, Barrier) for s in walk(gpu_program(graph).body))
    assert count == 3
    for number in range(count):
        program = gpu_program(graph)
        parts = [part for s in walk(program.body) for part in nested(s)]
        part, barrier = [(part, s) for part in parts for s in part if isinstance(s, Barrier)][number]
        part[:] = [s for s in part if s is not barrier]
        cost = {"blocks": H200.exchange(8), "block": H200.block_barrier_cycles * CYCLE}[barrier.scope]
        saved = whole.seconds - predict(program, Gpu()).seconds
        assert steps * cost * (1 - 1e-9) <= saved < steps * (cost + 500 * CYCLE)


# All programs, and what is said of them.


@pytest.mark.parametrize("gpu", [Gpu(), Gpu(80, 108, 163 * 1024), Gpu(multiprocessors=4)], ids=["H200", "A100", "small"])
def test_every_function(gpu):
    for number, (function, *arguments) in enumerate(FUNCTIONS):
        program = gpu_program(irdl.trace(function)(*arguments), gpu)
        found = predict(program, gpu)
        assert math.isfinite(found.seconds), number
        assert found.seconds >= len(launches(program)) * found.rates.launch_seconds, number
        assert found.parts.keys() <= set(LIMITS) and all(seconds >= 0 for seconds in found.parts.values()), number
        assert [name for name, _ in found.launches] == [launch.name for launch in launches(program)]


def test_of_a_compiled_function():
    compiled = irdl.compile(lambda x, y: x @ y)(normal(256, 256), normal(256, 256))
    found = compiled.cuda_prediction
    assert found.rates is H200
    assert found.seconds == prediction_of(lambda x, y: x @ y, normal(256, 256), normal(256, 256)).seconds
    text = str(found)
    assert text.startswith(f"{1e6 * found.seconds:.1f} us on H200 by a model, not measured\n  dot_")
    assert f"{found.limit} " in text
    with pytest.raises(ProgramError, match="not one of launches"):
        predict(compiled.program, Gpu())


def test_rates_by_name_and_architecture():
    assert rates_of(Gpu(name="NVIDIA H100 80GB HBM3")) is H100
    assert rates_of(Gpu(name="NVIDIA H200")) is H200
    assert rates_of(Gpu(80)) is A100
    assert rates_of(Gpu(100, name="NVIDIA B200")) is H200


def test_measured_rates_take_the_place_of_others(tmp_path):
    file = tmp_path / "gpu.json"
    file.write_text(json.dumps([{"row": "d2l", "seconds": {}}, {"row": "machine", "seconds": {}, "rates": {"launch_seconds": 5e-6}}]))
    rates = H200.measured(file)
    assert rates.launch_seconds == 5e-6 and rates.clock_hz == H200.clock_hz
    longer = prediction_of(lambda x: x + 1, shaped(32), rates=rates).seconds - prediction_of(lambda x: x + 1, shaped(32)).seconds
    assert longer == pytest.approx(5e-6 - LAUNCH)
    file.write_text(json.dumps([{"row": "machine", "seconds": {}, "rates": {"lunch_seconds": 1}}]))
    with pytest.raises(ValueError, match="does not know: lunch_seconds"):
        H200.measured(file)
    file.write_text("[]")
    with pytest.raises(ValueError, match="holds no rates of a GPU"):
        H200.measured(file)
