"""Where things lie in a team's memory (see `team`), and a worker's states.

A team's memory, in bytes:

    0 addresses of `irdl_team_run`, `irdl_barrier`; 16 how many workers take part, 24 how many there are
    64 whether a call is using them
    128 the work: function, its argument, how many threads
    192 the number of the barrier that the caller passes alone
    256 how many barriers the caller has passed in earlier calls
    320 the caller's account of this call, in nanoseconds: when it began, how long it has waited
    384 the machine's account (see `trust`)

and from `HEADER` on for each thread: 0 its state, 8 whether it sleeps, 16 its number in this call, 64 how many barriers the
thread of that number has passed, 128 a mutex, 192 a condition variable.
"""

from __future__ import annotations

#: Bytes of a team of n threads: `HEADER + n * PER_THREAD`.
HEADER, PER_THREAD = 512, 256
COUNT, MUTEX, CONDITION = 64, 128, 192
RUN, BARRIER, WORKER = "irdl_team_run", "irdl_barrier", "irdl_team_worker"
BARRIER_PLACE, WORKERS, HIRED, FUNCTION, ARGUMENT, THREADS, LEAVE, BASE = 8, 16, 24, 128, 136, 144, 192, 256
BEGAN, WAITED, MACHINE = 320, 328, 384

#: A worker's states, in the order they follow each other.
OFFERED, ACCEPTED, STARTED, IDLE = range(4)
