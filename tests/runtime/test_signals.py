"""A signal ends a long call: long before its own end, with the exception of its handler, and everything works on."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest

import irdl
from irdl.codegen.cpu.llvm import status
from irdl.codegen.cpu.llvm.team_layout import COUNT, HEADER, PER_THREAD
from irdl.runtime.executable import Executable
from irdl.runtime.team import the_team
from tests.teams import team_of

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")

#: Seconds: a loaded machine may take some of them to end a call, and each of these programs takes several times as many.
_SOON = 20

WEIGHTS = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32) * np.float32(0.05)
ROWS = np.linspace(-1, 1, 128 * 64, dtype=np.float32).reshape(128, 64)


def forever(x: Any) -> Any:
    return irdl.while_loop(lambda s: s < np.inf, lambda s: s + 0 * x, x)


def in_registers(x: Any) -> Any:
    return irdl.fori_loop(0, 10**12, lambda i, s: s * 0.5 + x, x)


def with_threads(x: Any) -> Any:
    return irdl.fori_loop(0, 10**9, lambda i, h: np.tanh(h @ WEIGHTS + x), x)


def nested_loops(x: Any) -> Any:
    """The inner loop is left at once."""
    return irdl.fori_loop(0, 10**10, lambda i, s: irdl.while_loop(lambda s: np.min(s) < -9, lambda s: s + 1, s * 0.5 + x), x)


def one_kernel(x: Any) -> Any:
    return np.exp(np.sin(np.broadcast_to(x, (100_000_000, 128, 64)))).sum(axis=0)


PROGRAMS: list[tuple[Callable[[Any], Any], np.ndarray]] = [
    (forever, np.array(1.0)),
    (in_registers, np.ones(16, np.float32)),
    (with_threads, ROWS),
    (nested_loops, ROWS),
    (one_kernel, ROWS),
]


class Rang(Exception):
    pass


@contextmanager
def alarm(seconds: float, handler: Callable[[], None]) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ring() -> None:
    raise Rang


def stops(call: Callable[[], Any], after: float = 0.05) -> None:
    with pytest.raises(Rang), alarm(after, ring):
        start = time.perf_counter()
        call()
    assert time.perf_counter() - start < after + _SOON


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("function", "x"), PROGRAMS, ids=lambda item: getattr(item, "__name__", ""))
def test_a_signal_ends_a_long_call(function: Callable[[Any], Any], x: np.ndarray, threads: int) -> None:
    with team_of(threads):
        compiled, plain = irdl.compile(function)(x), Executable(irdl.trace(function)(x))
        for _ in range(3):
            stops(lambda: compiled(x))
            stops(lambda: plain([x, WEIGHTS][: len(plain.graph.inputs)]))


def test_a_team_works_on_after_signals() -> None:
    """A vector's step needs all of the one before: the threads meet at each."""
    x = ROWS[0]

    def rnn(x: Any, steps: int) -> Any:
        return irdl.fori_loop(0, steps, lambda i, h: np.tanh(h @ WEIGHTS + x), x)

    def states(x: Any) -> Any:
        return irdl.scan(lambda h, _: (np.tanh(h @ WEIGHTS + x), h), x, None, length=50)[1]

    generator = np.random.default_rng(1)
    with team_of(2), mock.patch.object(status, "BETWEEN_LOOKS", 1_000_000):
        long, short, gradient = (
            irdl.compile(lambda x: rnn(x, 10**9))(x),
            irdl.jit(states),
            irdl.jit(irdl.grad(lambda x: (states(x) ** 2).sum())),
        )
        expected, slope = states(x), gradient(x)
        team = the_team()
        for _ in range(30):
            stops(lambda: long(x), after=generator.uniform(0.001, 0.02))
            # All wait for each other again, and from the same barrier on.
            assert [team._word(HEADER + thread * PER_THREAD + COUNT).value for thread in range(2)] == [team.barriers()] * 2
            for _ in range(3):
                np.testing.assert_allclose(short(x), expected, rtol=2e-4, atol=1e-6)
            np.testing.assert_allclose(gradient(x), slope, rtol=1e-5, atol=1e-6)


def test_handlers_that_return_run_during_the_call() -> None:
    """And may call compiled functions themselves, the same one too."""
    short = irdl.jit(lambda x, n: irdl.while_loop(lambda s: s[1] < n, lambda s: (s[0] * 0.5 + x, s[1] + 1), (x, 0))[0])
    x, rings, found = np.ones(3), [], []
    short(x, 5)

    def count() -> None:
        rings.append(1)
        found.append(short(x, 4))
        if len(rings) == 3:
            raise Rang
        signal.setitimer(signal.ITIMER_REAL, 0.02)

    with pytest.raises(Rang), alarm(0.02, count):
        short(x, 10**12)
    assert len(rings) == 3
    for result in found:
        np.testing.assert_array_equal(result, short(x, 4))


def test_calls_of_other_threads_are_not_stopped() -> None:
    endless = irdl.jit(lambda x, n: irdl.while_loop(lambda s: s < n, lambda s: s + x, x))
    endless(1.0, 2.0)
    results: list[Any] = []
    other = threading.Thread(target=lambda: results.append(endless(1.0, 5e8)))
    other.start()
    with pytest.raises(Rang), alarm(0.05, ring):
        endless(1.0, 1e300)
    other.join()
    assert results == [5e8]


def test_control_c() -> None:
    """In a process of its own, whose state is intact afterwards."""
    program = textwrap.dedent("""
        import irdl, numpy as np
        f = irdl.jit(lambda x, n: irdl.while_loop(lambda s: s < n, lambda s: s + x, x))
        f(1.0, 2.0)
        print("ready", flush=True)
        try:
            f(1.0, 1e300)
        except KeyboardInterrupt:
            print("interrupted", f(1.0, 5.0), flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    start = time.perf_counter()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted 5.0\n"
    assert time.perf_counter() - start < _SOON
    assert process.wait() == 0
