"""Python's objects in LLVM IR: their fields, references to them, checks, and calls of the interpreter's functions.

Where the fields of objects lie is CPython's and NumPy's business: `LAYOUTS` says what is taken for granted here, and
`irdl.runtime.entry` verifies it before any of this is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

from irdl.codegen.cpu.llvm.ir_builder import IRBuilder

#: Where fields lie, in bytes from the start of an object.
LAYOUTS = {
    "type": 8,
    "size": 16,  # of a tuple or list
    "tuple items": 24,
    "list items": 24,
    "cell contents": 16,
    "float value": 16,
    "scalar value": 16,  # of NumPy's scalars of up to 8 bytes
    "array data": 16,
    "array rank": 24,
    "array shape": 32,
    "array strides": 40,
    "array dtype": 56,
    "array flags": 64,
    "dtype byte order": 26,
    "dtype number": 28,
}

#: lets go of objects of a table, by a function that does so of one
DROP_ALL = """
define internal void @irdl_drop_all(ptr %drop, ptr %items, i64 %count) nounwind noinline {
  br label %head
head:
  %at = phi i64 [ 0, %0 ], [ %following, %inside ]
  %more = icmp ult i64 %at, %count
  br i1 %more, label %inside, label %after
inside:
  %place = getelementptr ptr, ptr %items, i64 %at
  %item = load ptr, ptr %place
  call void %drop(ptr %item)
  %following = add i64 %at, 1
  br label %head
after:
  ret void
}"""


@dataclass(frozen=True)
class Function:
    """An entry of the table: a function of Python or, where `numpy` is its number, of NumPy's C interface."""

    name: str
    numpy: int = 0


class PythonObjects:
    """Instructions on objects for one function. What they need from the process comes in one table of addresses: first a fixed
    part (see `PythonCall`), then `objects`. A check that fails leaves for the block `miss`."""

    MISS, ARENA, PREPARE, FINISH, FAIL, POLL, FIXED = range(7)

    def __init__(self, fixed: int) -> None:
        #: how many addresses the code takes behind its outputs (constants, the team)
        self.fixed = fixed
        #: objects whose addresses the table holds behind the fixed part
        self.objects: list[Any] = []
        #: whether the function holds references during the call, in a table of its own
        self.held = False
        #: whether the module needs `DROP_ALL`
        self.drops_many = False
        self._places: dict[Any, int] = {}
        self.b = IRBuilder()
        self.table = self.arena = self.held_items = self.held_count = ""

    # Memory.

    def _field(self, item: str, name: str) -> str:
        return self.b.emit(f"getelementptr i8, ptr {item}, i64 {LAYOUTS[name]}")

    def _load(self, type: str, item: str, name: str) -> str:
        return self.b.fresh(f"load {type}, ptr {self._field(item, name)}")

    def _element(self, array: str, place: int) -> str:
        return self.b.emit(f"getelementptr ptr, ptr {array}, i64 {place}")

    def _number(self, array: str, place: int) -> str:
        return self.b.emit(f"getelementptr i64, ptr {array}, i64 {place}")

    def _entry(self, place: int) -> str:
        return self.b.fresh(f"load ptr, ptr {self._element(self.table, place)}")

    def _set_arena(self, arena: str) -> None:
        self.b.do(f"store ptr {arena}, ptr {self._element(self.table, self.ARENA)}")

    def _place(self, item: Any) -> int:
        """The place of an object (or of a `Function`) of this process among the objects."""
        key = item if isinstance(item, Function) else id(item)
        if key not in self._places:
            self._places[key] = len(self.objects)
            self.objects.append(item)
        return self._places[key]

    def _object(self, item: Any) -> str:
        """The address of an object (or of a `Function`) of this process, which the table holds unchanged."""
        return self.b.emit(f"load ptr, ptr {self._element(self.table, self.FIXED + self.fixed + self._place(item))}")

    def _function(self, name: str, numpy: int = 0) -> str:
        return self._object(Function(name, numpy))

    # References.

    def _keep(self, item: str) -> None:
        self.b.do(f"call void {self._function('Py_IncRef')}(ptr {item})")

    def _drop(self, item: str) -> None:
        self.b.do(f"call void {self._function('Py_DecRef')}(ptr {item})")

    def _hold(self, item: str) -> None:
        """Own a reference to something that only a list, a dict or a global of the caller's keeps alive: other threads run while
        the lock is released."""
        self._keep(item)
        self._adopt(item)

    def _adopt(self, item: str) -> None:
        """Own a reference that has been given: it is let go of with the others."""
        b = self.b
        have = b.fresh(f"load i64, ptr {self.held_count}")
        b.do(f"store ptr {item}, ptr {b.fresh(f'getelementptr ptr, ptr {self.held_items}, i64 {have}')}")
        b.do(f"store i64 {b.fresh(f'add i64 {have}, 1')}, ptr {self.held_count}")
        self.held = True

    def _drop_held(self) -> None:
        """Let go of what is held so far: at a miss, how much that is depends on where it happened."""
        if self.held:
            self._drop_all(self.held_items, self.b.fresh(f"load i64, ptr {self.held_count}"))

    def _drop_all(self, items: str, count: str | int) -> None:
        """Let go of the first `count` objects of a table."""
        if count == 1:
            self._drop(self.b.fresh(f"load ptr, ptr {items}"))
        elif count:
            self.drops_many = True
            self.b.do(f"call void @irdl_drop_all(ptr {self._function('Py_DecRef')}, ptr {items}, i64 {count})")

    # Checks: each continues in a new block, or leaves.

    def _check(self, condition: str) -> None:
        label = self.b.label()
        self.b.do(f"br i1 {condition}, label %{label}, label %miss")
        self.b.start(label)

    def _check_is(self, found: str, item: Any) -> None:
        self._check(self.b.emit(f"icmp eq ptr {found}, {self._object(item)}"))

    def _check_number(self, type: str, found: str, number: int) -> None:
        self._check(self.b.emit(f"icmp eq {type} {found}, {number}"))

    def _check_numbers(self, wanted: Sequence[tuple[str, str, int]]) -> None:
        """Each type, value and number. All at once: a block takes longer to compile than what it compares."""
        b, differences = self.b, list[str]()
        for type, found, number in wanted:
            difference = b.emit(f"xor {type} {found}, {number}") if number else found
            differences.append(difference if type == "i64" else b.emit(f"zext {type} {difference} to i64"))
        if differences:
            together = reduce(lambda all, one: b.emit(f"or i64 {all}, {one}"), differences)
            self._check(b.emit(f"icmp eq i64 {together}, 0"))

    def _check_type(self, item: str, expected: type) -> None:
        self._check_is(self._load("ptr", item, "type"), expected)

    @contextmanager
    def _leaving(self, condition: str) -> Iterator[None]:
        """A block for where `condition` holds; it has to return."""
        b = self.b
        inside, after = b.label(), b.label()
        b.do(f"br i1 {condition}, label %{inside}, label %{after}")
        b.start(inside)
        before = b.remembered()
        yield
        b.restore(before)
        b.start(after)

    @contextmanager
    def _repeated(self, count: int) -> Iterator[str]:
        """A loop of `count` steps, at least one."""
        b = self.b
        place, head, end = b.alloca("i64"), b.label(), b.label()
        b.do(f"store i64 0, ptr {place}")
        b.do(f"br label %{head}")
        b.start(head)
        step = b.fresh(f"load i64, ptr {place}")
        yield step
        following = b.fresh(f"add i64 {step}, 1")
        b.do(f"store i64 {following}, ptr {place}")
        b.do(f"br i1 {b.fresh(f'icmp ult i64 {following}, {count}')}, label %{head}, label %{end}")
        b.start(end)

    def _return_miss(self) -> None:
        miss = self._entry(self.MISS)
        self._keep(miss)
        self.b.do(f"ret ptr {miss}")

    # Calls.

    def _lookup(self, names: str, key: str) -> str:
        b = self.b
        found = b.fresh(f"call ptr {self._function('PyDict_GetItemWithError')}(ptr {names}, ptr {self._object(key)})")
        with self._leaving(b.emit(f"icmp eq ptr {found}, null")):
            # Another key of the same hash may have refused to be compared.
            b.do(f"call void {self._function('PyErr_Clear')}()")
            self.b.do("br label %miss")
        return found

    def _call(self, callable_: str, arguments: Sequence[str]) -> str:
        b = self.b
        vector = b.alloca(f"[{max(1, len(arguments))} x ptr]")
        for place, argument in enumerate(arguments):
            b.do(f"store ptr {argument}, ptr {self._element(vector, place)}")
        function = self._function("PyObject_Vectorcall")
        return b.fresh(f"call ptr {function}(ptr {callable_}, ptr {vector}, i64 {len(arguments)}, ptr null)")
