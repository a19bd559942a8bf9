"""The loop language: what a graph becomes once it is scheduled, and what a backend prints.

    program    = program name arena=bytes [threads=n work=cycles] { declaration* statement* }
    declaration = (input | output) buffer
               | constant buffer = numbers
               | arena buffer at offset [depth n]
               | alias buffer buffer                                    they share memory
               | check axis n of extent "where" [raises "error"]        what a failing check says, by its code; of axis -1, which
                                                                        is none, it has found the code of an error of the user's
    statement  = for v in start:stop[:step] [kind] [turning with v] { statement* }
               | let x = expression
               | let x = check expression in extent code n              made non-negative; out of range reports, and binds 0
               | buffer[index] = expression
               | if expression { statement* } else { statement* }
               | while { statement* test expression } { statement* }
               | kernel name [independent] ["where"] { (register buffer [of n] | shared buffer at offset [of n])* statement* }
               | launch name blocks=n threads=n shared=bytes [cooperative] [exact] { statement* }
               | barrier [of n blocks | of block | of warp]
               | leave where a check failed
               | prefetch buffer[index] to (read | write)
               | multiply instruction buffer[index] += buffer[index] @ buffer[index]
               | load matrices buffer[index] = buffer[index] lines n steps n n [transposed]
               | copy n of buffer[index] to buffer[index]
               | commit copies
               | wait for copies but n
    kind       = unrolled | abreast | vector of lanes | parallel | grid | block | warp | lane
    expression = literal | variable | index(index) | buffer[index] | op(expression, ...)
    index      = integer + integer * variable + ...
    buffer     = name: dtype[size] where it is declared, else its name

Spaces of buffers: `input`, `output`, `constant` and `status` come with each call, `arena` is scratch memory, and
`register` is a tile that lives in registers (its indices are constants once unrolled, plus the lane of a vector loop;
a load may be of some lanes further on).
A vector loop runs its steps, at most `lanes`, as one; its variable is the lane. The steps of a loop `abreast` are
independent: it is unrolled, and their instructions take turns. A loop that turns with an outer variable runs backwards
where that is odd.

On a CPU all threads of a team run the program. Each takes its share of the steps of a parallel loop, in any order; a kernel without
one is the first thread's; a barrier lets none pass before all have come. After a barrier there may be fewer: a caller that has
waited for long goes on alone. All leave the program together, before any goes on, where a check has failed.

On a GPU a program is a list of launches, whose threads all run their bodies. A loop of kind `grid` deals its steps out to all threads,
one of kind `block` to the blocks, `warp` to the warps of a block, `lane` to the lanes of a warp: round robin, the steps of a perfect
nest of one kind as one flat sequence. Stores are inside of such loops, so that one thread does each. `shared` is the memory of a block,
anew in every step of the outermost block loop around; a register belongs to a thread, and is anew in each step of the bound loops
(those four kinds) around all of its uses. A buffer `of n` outlives that: it holds what n threads, or blocks, have, one after the other,
and is indexed in full. A barrier lets no thread pass before all others of the launch, of a run of blocks, of its block, or of its warp have
come; blocks may wait for each other only in a cooperative launch.
A vector loop is one thread's, and copies neighbours between its registers and memory in one access of up to 16 bytes, at a multiple of its
size: `for l in 0:4 vector of 4 { r[l] = x[4*i + l] }`. Arrays begin at multiples of 16 bytes.

A `multiply` is one instruction of a warp (`irdl/loops/instructions.py`), outside of loops over lanes and inside of one over warps. Its
buffers are registers `of n` threads; the indices are those of the first element that lane 0 holds, a lane's elements follow each other,
and the other lanes' lie as far on as a thread has registers of the buffer. The operands hold rounded numbers: `tf32(x)` gives them. What
they hold of 16 bits may come from shared memory by `load matrices`, of a warp as well.

A `copy` into shared memory is only begun: `commit copies` makes a batch of what a thread has begun to copy since the last, and `wait for
copies but n` waits for all of its own batches but the last n. All threads of a block do both, outside of its loops over warps. Between
its beginning and its end nobody touches what a copy writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from irdl.loops.expressions import Buffer, Expression, Load, Variable
from irdl.loops.index import Index
from irdl.loops.instructions import Fragment, Instruction

#: the levels of a GPU that loops are dealt out to, from the widest
BOUND = ("grid", "block", "warp", "lane")
KINDS = ("serial", "unrolled", "abreast", "vector", "parallel", *BOUND)
SCOPES = ("all", "blocks", "block", "warp")
#: bytes that a `Copy` copies
COPIED = 16


@dataclass
class For:
    variable: str
    start: int
    stop: int
    step: int
    kind: str
    body: list[Statement]
    #: of a vector loop: the machine's lanes, of which it uses the first `stop`
    lanes: int = 0
    #: an outer loop's variable: backwards where it is odd
    turns: str = ""

    def steps(self, outer: Mapping[str, Any]) -> range:
        """The values the variable takes, in order, given those of the outer variables."""
        steps = range(self.start, self.stop, self.step)
        return steps[::-1] if self.turns and int(outer[self.turns]) % 2 else steps


@dataclass
class Let:
    variable: Variable
    value: Expression


@dataclass
class Store:
    buffer: Buffer
    index: Index
    value: Expression


@dataclass
class CheckIndex:
    """Bind `variable` to `value` made non-negative for an axis of `extent`; out of range reports `code` and binds 0."""

    variable: Variable
    value: Expression
    extent: int
    code: int


@dataclass
class If:
    condition: Expression
    then: list[Statement]
    otherwise: list[Statement]


@dataclass
class While:
    """Run `before`; leave if `condition` fails; run `body`; again."""

    before: list[Statement]
    condition: Expression
    body: list[Statement]


@dataclass
class Kernel:
    """A named piece of work that a backend makes one function of.

    `independent`: its statements write different elements, and none reads what another writes. `where`: the user's line.
    """

    name: str
    body: list[Statement]
    independent: bool = False
    where: str = ""


@dataclass
class Launch:
    """One run of a function on a GPU, of so many threads in each block.

    `blocks`: as many as have work; there may be fewer, unless it is `exact`: then each does one step of a nest of blocks, and keeps its
    shared memory from one nest to the next. `cooperative`: all of them run at once.
    """

    name: str
    blocks: int
    threads: int
    body: list[Statement]
    shared_bytes: int = 0
    cooperative: bool = False
    exact: bool = False


@dataclass
class Barrier:
    """Every thread of the scope waits here for all others. `blocks`: of an exact launch, so many blocks that follow each other."""

    scope: str = "all"
    blocks: int = 0


@dataclass
class Leave:
    """The program ends here where an index check has failed."""


@dataclass
class Prefetch:
    """Bring what lies there near, without waiting for it. A hint: it counts neither as reading nor as writing."""

    buffer: Buffer
    index: Index
    write: bool = False


@dataclass
class Multiply:
    """A warp adds the product of two matrices to a third, each in registers of its lanes.

    Of each buffer, the index is where lane 0's elements begin.
    """

    instruction: Instruction
    total: Buffer
    total_index: Index
    left: Buffer
    left_index: Index
    right: Buffer
    right_index: Index

    @property
    def operands(self) -> tuple[tuple[Fragment, Buffer, Index], ...]:
        """The sum first, which is read too."""
        instruction = self.instruction
        return (
            (instruction.total, self.total, self.total_index),
            (instruction.left, self.left, self.left_index),
            (instruction.right, self.right, self.right_index),
        )


@dataclass
class LoadMatrices:
    """A warp loads four matrices of 8 x 8 numbers of 16 bits from shared memory: lane `4 * i + j` gets the numbers `2 * j` and `2 * j + 1` of
    line `i` of each, or, `transposed`, those of its column `i` (PTX's ldmatrix).

    Attributes:
        index: where lane 0's eight numbers begin, in registers `of n` threads.
        source_index: the first number of the first matrix.
        line: from one line of a matrix to the next, whose eight numbers are neighbours.
        steps: from the first matrix to the second, and to the third; so far they are from the third, and the second, to the fourth.
    """

    buffer: Buffer
    index: Index
    source: Buffer
    source_index: Index
    line: int
    steps: tuple[int, int]
    transposed: bool = False

    def spelled_out(self) -> For:
        """The same, number by number, by lanes."""
        line, pair = "<line", "<pair"  # as no other variable is called
        second, third = self.steps
        lane = (Index.variable(line, 4) + Index.variable(pair)) * (self.buffer.size // self.buffer.copies)
        body: list[Statement] = []
        for slot in range(8):
            inside = Index.variable(pair, 2) + slot % 2
            across = (inside, Index.variable(line)) if self.transposed else (Index.variable(line), inside)
            place = self.source_index + (slot // 2 % 2 * second + slot // 4 * third) + across[0] * self.line + across[1]
            body.append(Store(self.buffer, self.index + lane + slot, Load(self.source, place)))
        return For(line, 0, 8, 1, "lane", [For(pair, 0, 4, 1, "lane", body)])


@dataclass
class Copy:
    """Begin to copy `count` neighbours, 16 bytes, into shared memory."""

    buffer: Buffer
    index: Index
    source: Buffer
    source_index: Index
    count: int

    def spelled_out(self) -> For:
        """The same, number by number, at once."""
        place = Index.variable("<copied")  # as no other variable is called
        copy = Store(self.buffer, self.index + place, Load(self.source, self.source_index + place))
        return For("<copied", 0, self.count, 1, "vector", [copy], self.count)


@dataclass
class Commit:
    """What a thread has begun to copy since the last one is a batch."""


@dataclass
class Wait:
    """Each thread waits for its own copies, but for those of its last `pending` batches."""

    pending: int


Statement: TypeAlias = (
    For
    | Let
    | Store
    | CheckIndex
    | If
    | While
    | Kernel
    | Launch
    | Barrier
    | Leave
    | Prefetch
    | Multiply
    | LoadMatrices
    | Copy
    | Commit
    | Wait
)


class Check(NamedTuple):
    """What a failing index check says: the axis, its extent, and the user's line; or the error that it stands for."""

    axis: int
    extent: int
    where: str
    raises: str = ""


@dataclass(eq=False, repr=False)
class Program:
    """Buffers and statements. `checks` explains the codes that index checks report.

    `threads`: how many it was divided for; 1 means that no loop is parallel; `work`: the cycles, roughly, that are divided.
    `aliased` pairs buffers that share memory (a donated input and its output).
    """

    name: str
    inputs: list[Buffer]
    outputs: list[Buffer]
    constants: list[tuple[Buffer, np.ndarray]]
    body: list[Statement]
    checks: list[Check] = field(default_factory=list)
    arena_bytes: int = 0
    threads: int = 1
    work: float = 0
    aliased: list[tuple[Buffer, Buffer]] = field(default_factory=list)

    def __str__(self) -> str:
        from irdl.loops.text import print_program  # which imports this

        return print_program(self)

    def __repr__(self) -> str:
        return f"<program {self.name}, {len(self.inputs)} inputs, {len(self.outputs)} outputs, an arena of {self.arena_bytes} bytes>"

    def __eq__(self, other: object) -> bool:
        """The same text, and the same constants."""
        if not isinstance(other, Program):
            return NotImplemented
        mine, others = ([array for _, array in program.constants] for program in (self, other))
        same = all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(mine, others, strict=False))
        return len(mine) == len(others) and same and str(self) == str(other)
