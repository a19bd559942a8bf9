"""Text -> Program: reads back what `print_program` writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irdl.ir.dtypes import dtype_of_short_name, is_short_name
from irdl.loops.expressions import Buffer, Variable
from irdl.loops.instructions import INSTRUCTIONS
from irdl.loops.language import (
    KINDS,
    SCOPES,
    Barrier,
    Check,
    CheckIndex,
    Commit,
    Copy,
    For,
    If,
    Kernel,
    Launch,
    Leave,
    Let,
    LoadMatrices,
    Multiply,
    Prefetch,
    Program,
    Statement,
    Store,
    Wait,
    While,
)
from irdl.loops.parse_expressions import Expressions
from irdl.loops.verify import verify_program


def parse_program(text: str, constants: Sequence[np.ndarray] = ()) -> Program:
    """The program that `text` describes.

    Args:
        text: what `print(program)` wrote; comments and spacing do not matter.
        constants: the arrays named `@0`, `@1`, ... in the text (`irdl.loops.text.large_constants`).

    Raises:
        ParseError: the text is not a program; the message names the line.
    """
    parser = _Parser(text, constants)
    return parser.whole(parser.program, verify_program)


class _Parser(Expressions):
    def __init__(self, text: str, constants: Sequence[np.ndarray]) -> None:
        super().__init__(text, constants)
        #: registers and shared memory that several kernels have
        self._outliving: dict[str, Buffer] = {}

    def program(self) -> Program:
        self.expect("program")
        program = Program(self.take("word"), [], [], [], [])
        while not self.accept("{"):
            name = self.take("word")
            self.expect("=")
            if name == "arena":
                program.arena_bytes = self._integer()
            elif name == "threads":
                program.threads = self._integer()
            elif name == "work":
                program.work = float(self.take("number"))
            else:
                raise self.error(f"a program has no {name!r}")
        while self.peek()[0] == "word" and self._declaration(program):
            pass
        program.body = self._body()
        if self.peek()[0] != "end":
            raise self.error(f"unexpected {self.peek()[1]!r} after the program")
        return program

    def _declaration(self, program: Program) -> bool:
        """Read one line about the program as a whole, if the next one is."""
        _, what, _ = self.peek()
        if what == "check" and self.peek(1)[1] == "axis":
            self.skip(2)
            axis = self._integer()
            self.expect("of")
            extent, where, raises = self._integer(), self.take("string")[1:-1], ""
            if self.peek()[1] == "raises":
                self.skip()
                raises = self.take("string")[1:-1]
            program.checks.append(Check(axis, extent, where, raises))
        elif self.peek(1)[0] != "word":
            return False
        elif what == "alias":
            self.skip()
            program.aliased.append((self._buffer(), self._buffer()))
        elif what in ("input", "output"):
            self.skip()
            (program.inputs if what == "input" else program.outputs).append(self._declared(what))
        elif what == "constant":
            self.skip()
            buffer = self._declared("constant")
            self.expect("=")
            program.constants.append((buffer, self._constant(buffer)))
        elif what == "arena":
            self.skip()
            buffer = self._declared("arena")
            self.expect("at")
            buffer.offset = self._integer()
            buffer.depth = self._integer() if self.accept("depth") else 0
        else:
            return False
        return True

    def _declared(self, space: str) -> Buffer:
        name = self.take("word")
        self.expect(":")
        dtype = self.take("word")
        if not is_short_name(dtype):
            raise self.error(f"there is no dtype {dtype!r}")
        self.expect("[")
        buffer = Buffer(name, dtype_of_short_name(dtype), self._integer(), space)
        self.expect("]")
        if name in self._buffers and space not in ("register", "shared"):
            raise self.error(f"the buffer {name} is declared twice")
        self._buffers[name] = buffer
        return buffer

    def _body(self) -> list[Statement]:
        """Statements up to the closing brace."""
        outer = dict(self._variables)
        result = []
        while not self.accept("}"):
            result.append(self._statement())
        self._variables = outer
        return result

    def _statement(self) -> Statement:
        word = self.take("word")
        if word == "for":
            return self._for()
        if word == "let":
            return self._let()
        if word == "if":
            condition = self._expression()
            self.expect("{")
            then = self._body()
            self.expect("else")
            self.expect("{")
            return If(condition, then, self._body())
        if word == "while":
            return self._while()
        if word == "kernel":
            return self._kernel()
        if word == "launch":
            return self._launch()
        if word == "barrier":
            return self._barrier()
        if word == "leave" and self.accept("where"):
            for expected in ("a", "check", "failed"):
                self.expect(expected)
            return Leave()
        if word == "prefetch":
            buffer, index = self._buffer(), self._place()
            self.expect("to")
            kind = self.take("word")
            if kind not in ("read", "write"):
                raise self.error(f"a prefetch is to read or to write, not to {kind}")
            return Prefetch(buffer, index, kind == "write")
        # A buffer may be called `multiply`.
        if word == "multiply" and self.peek()[0] == "word":
            return self._multiply()
        if word in ("copy", "load", "commit", "wait") and self.peek()[1] != "[":
            return self._move(word)
        self.skip(-1)
        buffer, index = self._buffer(), self._place()
        self.expect("=")
        return Store(buffer, index, self._expression())

    def _for(self) -> For:
        loop = For(self.take("word"), 0, 0, 1, "serial", [])
        self.expect("in")
        loop.start = self._integer()
        self.expect(":")
        loop.stop = self._integer()
        if self.accept(":"):
            loop.step = self._integer()
        if self.peek()[1] in KINDS:
            loop.kind = self.take("word")
        if self.accept("of"):
            loop.lanes = self._integer()
        if self.accept("turning"):
            self.expect("with")
            loop.turns = self.take("word")
        self.expect("{")
        loop.body = self._body()
        return loop

    def _let(self) -> Statement:
        name = self.take("word")
        self.expect("=")
        # A variable may be called `check` only where no bracket or operand follows.
        if self.peek()[1] == "check" and self.peek(1)[0] in ("word", "literal"):
            self.skip()
            value = self._expression()
            self.expect("in")
            extent = self._integer()
            self.expect("code")
            variable = self._variables[name] = Variable(name, np.dtype(np.int64))
            return CheckIndex(variable, value, extent, self._integer())
        value = self._expression()
        variable = self._variables[name] = Variable(name, value.dtype)
        return Let(variable, value)

    def _while(self) -> While:
        self.expect("{")
        outer = dict(self._variables)
        before: list[Statement] = []
        while not self.accept("test"):
            before.append(self._statement())
        condition = self._expression()
        self.expect("}")
        self._variables = outer
        self.expect("{")
        return While(before, condition, self._body())

    def _kernel(self) -> Kernel:
        kernel = Kernel(self.take("word"), [], self.accept("independent"))
        kernel.where = self.take("string")[1:-1] if self.peek()[0] == "string" else ""
        self.expect("{")
        while self.peek()[1] in ("register", "shared") and self.peek(1)[0] == "word":
            buffer = self._declared(self.take("word"))
            if buffer.space == "shared":
                self.expect("at")
                buffer.offset = self._integer()
            buffer.copies = self._integer() if self.accept("of") else 1
            if buffer.copies > 1:
                buffer = self._outliving.setdefault(buffer.name, buffer)
                self._buffers[buffer.name] = buffer
        kernel.body = self._body()
        return kernel

    def _launch(self) -> Launch:
        launch = Launch(self.take("word"), 0, 0, [])
        for name in ("blocks", "threads", "shared"):
            self.expect(name)
            self.expect("=")
            setattr(launch, "shared_bytes" if name == "shared" else name, self._integer())
        launch.cooperative = self.accept("cooperative")
        launch.exact = self.accept("exact")
        self.expect("{")
        launch.body = self._body()
        return launch

    def _barrier(self) -> Barrier:
        # A buffer may be called `of`.
        if self.peek()[1] != "of" or self.peek(1)[0] not in ("word", "number"):
            return Barrier()
        self.skip()
        blocks = self._integer() if self.peek()[0] == "number" else 0
        scope = self.take("word")
        if scope not in SCOPES or (scope == "blocks") != bool(blocks):
            raise self.error(f"a barrier is of all, of some blocks, of block or of warp, not of {scope}")
        return Barrier(scope, blocks)

    def _multiply(self) -> Multiply:
        name = self.take("word")
        if name not in INSTRUCTIONS:
            raise self.error(f"there is no instruction {name!r}")
        total, total_index = self._buffer(), self._place()
        self.expect("+")
        self.expect("=")
        left, left_index = self._buffer(), self._place()
        self.expect("@")
        return Multiply(INSTRUCTIONS[name], total, total_index, left, left_index, self._buffer(), self._place())

    def _move(self, word: str) -> Statement:
        if word == "commit":
            self.expect("copies")
            return Commit()
        if word == "wait":
            for expected in ("for", "copies", "but"):
                self.expect(expected)
            return Wait(self._integer())
        if word == "copy":
            count = self._integer()
            self.expect("of")
            source, source_index = self._buffer(), self._place()
            self.expect("to")
            return Copy(self._buffer(), self._place(), source, source_index, count)
        self.expect("matrices")
        to, index = self._buffer(), self._place()
        self.expect("=")
        source, source_index = self._buffer(), self._place()
        self.expect("lines")
        line = self._integer()
        self.expect("steps")
        steps = self._integer(), self._integer()
        return LoadMatrices(to, index, source, source_index, line, steps, self.accept("transposed"))
