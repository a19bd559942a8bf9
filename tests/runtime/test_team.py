"""The team's protocol: whom a caller waits for, and what those it left behind still need. Threads run Python functions here, which
make each other late as a busy machine would."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import irdl
from irdl.codegen.cpu.llvm.team_layout import BARRIER, BASE, LEAVE, RUN
from irdl.codegen.cpu.llvm.trust import ACCOUNT, NEVER
from irdl.runtime.team import Team, sweep, the_team
from tests.teams import team_of

_WORK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
#: Seconds: long for a caller to wait, and longer than any pause of a thread that is ready to go on.
_LATE, _LONG = 0.1, 0.4
_PATIENCE = 5_000_000_000


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def team() -> Iterator[Team]:
    """The process's, all workers at home before and after."""
    before = irdl.num_threads()
    found = the_team()
    until(found.at_home)
    found.trust()
    yield found
    until(found.at_home)
    irdl.set_num_threads(before)


class Thread:
    """What a thread does in a call: `self.meet()` is a barrier, as in compiled programs."""

    def __init__(self, team: Team, number: int, threads: int) -> None:
        self.team, self.number, self.threads = team, number, threads
        self.count = ctypes.c_int64(team.barriers())

    def meet(self) -> bool:
        """Whether the thread takes part in what follows."""
        barrier = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p, ctypes.c_int64] * 2)(self.team._code.addresses[BARRIER])
        barrier.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
        self.threads = barrier(self.team.address, self.number, self.threads, ctypes.addressof(self.count))
        return self.number < self.threads


#: Workers may be inside for as long as the process lives.
_kept = []


def call(team: Team, work: Callable[[Thread], None], account: np.ndarray | None = None) -> list[int]:
    """Run `work` with the team; how many threads the caller saw. The account is of a program whose calls alone were not timed, if it
    is not given."""
    seen = []
    account = np.array([0] * (ACCOUNT - 1) + [NEVER], np.int64) if account is None else account

    def function(_: int, number: int, threads: int) -> bool:
        thread = Thread(team, number, threads)
        if number == 0:
            seen.append(threads)
        work(thread)
        if number == 0 and threads > 1:
            team._word(BASE).value = thread.count.value
        return False

    function = _WORK(function)
    _kept.extend([function, account])
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, _WORK, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)(team._code.addresses[RUN])
    run(team.address, function, None, _PATIENCE, account.ctypes.data)
    return seen


def leave_behind(team: Team, number: int, threads: int) -> threading.Event:
    """A call whose caller goes on alone, and returns while a thread is still on its way out, until the event is set."""
    go, wrong = threading.Event(), []

    def work(thread: Thread) -> None:
        if thread.number:
            time.sleep(_LATE)
        thread.meet()
        wrong.append(thread.meet() != (thread.number == 0))
        if thread.number == number:
            go.wait(20)

    irdl.set_num_threads(threads)
    assert call(team, work) == [threads]
    assert team._word(LEAVE).value == team.barriers()
    until(lambda: len(wrong) == threads)
    assert not any(wrong)
    assert not team.at_home()
    return go


def test_a_caller_waits_for_all(team):
    """Long for the first of them, and still for the next."""
    done = []

    def work(thread: Thread) -> None:
        time.sleep((0, _LATE, _LONG)[thread.number])
        done.append(thread.number)

    irdl.set_num_threads(3)
    assert call(team, work) == [3]
    assert done == [0, 1, 2]


def test_a_team_that_is_held_up_is_left_alone_for_a_while(team):
    """One call that takes a multiple of one alone: the next ones are alone, for twice as long each time, the machine's account as before.
    Calls of a team that work well count against that."""
    second = 1_000_000_000
    alone = second // 20
    account = np.array([0, 0, 0, alone, NEVER, 0, 0, NEVER], np.int64)
    irdl.set_num_threads(2)
    assert call(team, lambda thread: None, account) == [2]
    account[:] = 0, 0, 0, alone, NEVER, 0, 0, NEVER  # the machine may have held up that one
    for stays in (second // 20, second // 10):
        assert call(team, lambda thread: time.sleep(_LATE * 2), account) == [2]
        assert account[1] == stays
        assert call(team, lambda thread: None, account) == [1]
        account[0], account[3], account[7] = 0, alone, NEVER
    for left in (second // 10, 0):
        assert call(team, lambda thread: time.sleep(0.06), account) == [2]
        assert account[1] == left


def test_a_caller_that_waits_at_its_end_sends_nobody_home(team):
    """A thread may be reading who is to leave, at the last barrier."""
    seen = []

    def work(thread: Thread) -> None:
        thread.meet()
        time.sleep((0, _LATE, _LONG)[thread.number])
        seen.append(team._word(LEAVE).value)

    irdl.set_num_threads(3)
    assert call(team, work) == [3]
    assert seen == [NEVER] * 3
    assert team._word(LEAVE).value == NEVER


@pytest.mark.parametrize("threads", [2, 3])
def test_who_is_to_leave_at_a_barrier_that_never_comes_is_waited_for(threads, team):
    done = []

    def work(thread: Thread) -> None:
        if thread.number:
            time.sleep(_LATE)
        thread.meet()
        if thread.number:
            time.sleep(_LONG)
        done.append(thread.number)

    irdl.set_num_threads(threads)
    base = team.barriers()
    assert call(team, work) == [threads]
    assert team._word(LEAVE).value == base + 2, "the caller waited long"
    assert sorted(done) == list(range(threads))


def test_a_worker_left_behind_is_out_before_the_team_works_again(team):
    """Even one that would take no part any more."""
    go = leave_behind(team, 2, 3)
    try:
        irdl.set_num_threads(2)
        team.trust()
        assert call(team, lambda thread: None) == [1]
    finally:
        go.set()
    until(team.at_home)
    team.trust()
    assert call(team, lambda thread: None) == [2]


def dropped_code() -> weakref.ref:
    """The machine code of a program for two threads that is gone."""
    with team_of(2):
        compiled = irdl.compile(lambda a: np.tanh(a) @ a)(np.ones((8, 8)))
    assert compiled.program.threads == 2
    code = weakref.ref(compiled._executable.loaded._loaded._tracker)
    assert code() is not None
    del compiled
    gc.collect()
    return code


def test_code_goes_with_its_program(team):
    assert dropped_code()() is None


def test_code_stays_while_a_worker_left_behind_may_be_inside(team):
    go = leave_behind(team, 1, 3)
    try:
        first, second = dropped_code(), dropped_code()
        assert first() is not None
        assert second() is not None
    finally:
        go.set()
    until(team.at_home)
    assert dropped_code()() is None
    assert first() is None, "it goes with the next"
    assert second() is None


def test_code_goes_though_the_team_is_always_at_work(team):
    """A call that began after the program had gone found all workers at home."""
    go = leave_behind(team, 1, 2)
    code = dropped_code()
    go.set()
    until(team.at_home)
    team.trust()
    inside, looked = [], threading.Event()

    def work(thread: Thread) -> None:
        if thread.number == 0:
            sweep()
            inside.append((team.at_home(), code()))
            looked.set()
        looked.wait(20)

    assert code() is not None
    assert call(team, work) == [2]
    assert inside == [(False, None)]
