"""The native way in from Python: one function, called by the interpreter itself, that checks a call's arguments, makes the
arrays of its results, and runs the code, with the interpreter's lock released unless it is short.

It walks the structure it expects (lists, tuples and dicts of arrays and numbers) and gives `MISS` back at the first thing that
differs, before it has changed anything; the caller then goes the way written in Python. Everything it needs from the process
(types, keys, functions of Python and NumPy, memory) comes in one table of addresses, so the code itself holds none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from irdl.codegen.cpu.llvm.call_shape import Argument, CallShape, Same, is_object
from irdl.codegen.cpu.llvm.python_objects import DROP_ALL, LAYOUTS, Function
from irdl.codegen.cpu.llvm.python_reads import SAME_MEMBERS, most_made
from irdl.codegen.cpu.llvm.python_results import PythonResults
from irdl.codegen.cpu.llvm.python_trees import CHECK_ARRAY, table_text, tree_functions, walked
from irdl.codegen.cpu.llvm.status import FAILED, POLL, STOPPED, WORDS
from irdl.ir.types import TensorType
from irdl.tracing.box import ARRAY
from irdl.tracing.capture.decisions import Decision
from irdl.tracing.capture.reads import ArrayLayout

PYTHON_ENTRY = "irdl_python_call"
_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400


class PythonCall(PythonResults):
    """The text of the function for one signature, and what belongs into its table.

    The table starts with `MISS`, the free arena (0 while it is in use), and three functions in Python: `prepare()`, which gives
    the captured arrays as a tuple, or None where the trace no longer holds; `finish(*leaves)`, which makes the result; and
    `fail(value, code)`, which raises; then what is asked whether to stop (see `status`). The fixed addresses follow, then `objects`.

    `short`: the code runs with the interpreter's lock held.
    """

    def __init__(self, shape: CallShape, fixed: int, main: str, short: bool = False) -> None:
        super().__init__(shape, fixed)
        self.main = main
        self.short = short

    def text(self) -> str:
        b, shape = self.b, self.shape
        count = len(shape.arguments) + len(shape.captured) + len(shape.prepared)
        places = count + len(shape.outputs) + self.fixed
        slots = self.slots = b.alloca(f"[{max(places, 1)} x ptr]")
        status = b.alloca(f"[{WORDS} x i64]")
        self.held_items, self.held_count = b.alloca(f"[{self._most_held()} x ptr]"), b.alloca("i64")
        b.do(f"store i64 0, ptr {self.held_count}")
        self.made_items, self.made_count = b.alloca(f"[{max(len(shape.outputs), 1)} x ptr]"), b.alloca("i64")
        if self.is_long:
            self.items = b.alloca(f"[{max(count, 1)} x ptr]")
        self.table = b.emit(f"load ptr, ptr {self._field('%self', 'array data')}")
        data = self._arguments()
        if shape.donations or shape.stored:
            self._check_written(data)
        # No other thread runs Python between this look at the arena and the store that takes it.
        self.arena = self._entry(self.ARENA)
        self._check(b.fresh(f"icmp ne ptr {self.arena}, null"))
        self._set_arena("null")
        prepared = "" if shape.reads_natively else self._prepare(data)
        for place, array in enumerate(shape.prepared, count - len(shape.prepared)):
            data[place] = self._load("ptr", self._object(array), "array data")
        for place in range(count):
            if data[place]:
                b.do(f"store ptr {data[place]}, ptr {self._element(slots, place)}")
        for place in range(self.fixed):
            address = self._entry(self.FIXED + place)
            b.do(f"store ptr {address}, ptr {self._element(slots, count + len(shape.outputs) + place)}")
        arrays = self._new_arrays(slots, count)
        for place in (FAILED, STOPPED):
            b.do(f"store i64 0, ptr {self._number(status, place)}")
        b.do(f"store ptr {self._entry(self.POLL)}, ptr {self._number(status, POLL)}")
        self._run(slots, status)
        self._drop_held()
        if prepared:
            self._drop(prepared)
        failed = b.fresh(f"load i64, ptr {status}")
        with self._leaving(b.fresh(f"icmp ne i64 {failed}, 0")):
            self._fail(status)
        self._set_arena(self.arena)
        self._store(slots, count)
        b.do(f"ret ptr {self._result(arrays)}")
        b.restore({})
        b.start("miss")
        self._drop_held()
        self._return_miss()
        if self.is_long or len(shape.donations) < len(shape.outputs):
            self._no_memory(prepared)
        # Loads, comparisons and calls in a straight line: made better, they take the same time, and three times as long to compile.
        text = b.text(f"define ptr @{PYTHON_ENTRY}(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind noinline optnone")
        constants = [table_text(name, shape) for shape, name in self.shapes.items()]
        constants.append('@irdl_two_numbers = private constant [3 x i8] c"LL\\00"')
        constants += [table_text(f"@irdl_table{place}", table) for place, table in enumerate(self.tables)]
        functions = [CHECK_ARRAY, tree_functions(self._named_place)] if self.is_long else []
        functions += [DROP_ALL] if self.drops_many else []
        functions += [SAME_MEMBERS] if self.compares_members else []
        return "\n".join([*constants, *functions, text])

    def _run(self, slots: str, status: str) -> None:
        b = self.b
        run = f"call void @{self.main}(ptr {slots}, ptr {self.arena}, ptr {status})"
        let_go, take = self._function("PyEval_SaveThread"), self._function("PyEval_RestoreThread")  # the table is one for both
        if self.short:
            b.do(run)
        else:
            state = b.fresh(f"call ptr {let_go}()")
            b.do(run)
            b.do(f"call void {take}(ptr {state})")

    def _no_memory(self, prepared: str) -> None:
        """Where an array of a result could not be made. `prepared`: what Python gave for the captured arrays, if it was asked."""
        b = self.b
        b.restore({})
        b.start("no_memory")
        self._set_arena(self.arena)
        if len(self.shape.outputs) > 1:  # the first was not made
            self._drop_all(self.made_items, b.fresh(f"load i64, ptr {self.made_count}"))
        self._drop_held()
        if prepared:
            self._drop(prepared)
        b.do("ret ptr null")

    def _named_place(self, name: str) -> int:
        names = {"ndarray": np.ndarray, "list": list, "tuple": tuple, "dict": dict}
        return self._place(names[name] if name in names else Function(name, {"PyArray_New": 93, "PyArray_Return": 76}.get(name, 0)))

    def _most_held(self) -> int:
        def count(tree: Any) -> int:
            return 2 + sum(count(part) for part in _parts(tree))

        copied = sum(argument.strides is not None for argument in self.shape.inputs)
        made = most_made(self.shape.guards)
        return count(self.shape.positional) + count(self.shape.keywords) + len(self.shape.captured) + copied + made

    def _arguments(self) -> dict[int, str]:
        """Check everything; the addresses of the inputs' numbers."""
        b, shape = self.b, self.shape
        data: dict[int, str] = {}
        if shape.reads_natively:
            for read, item in shape.guards:
                if isinstance(read, Decision):
                    self.check_decision(read, item)
        self._check(b.emit(f"icmp eq i64 %nargs, {len(shape.positional)}"))
        for place, tree in enumerate(shape.positional):
            self._walk(b.emit(f"load ptr, ptr {self._element('%args', place)}"), tree, data, outermost=True)
        self._keywords(data)
        self._check_aliases()
        if shape.reads_natively:
            for read, item in shape.guards:
                if isinstance(read, ArrayLayout):
                    self._check_layout(read, *item)
                elif not isinstance(read, Decision):
                    self.check_guard(read, item)
            for place, (read, argument) in enumerate(shape.captured, len(shape.arguments)):
                item = self.read(read)
                self._hold(item)
                data[place] = self._leaf(item, argument)
                self._keep_item(place, item)
        return data

    def _check_aliases(self) -> None:
        b, pairs = self.b, self.shape.aliases
        if not self.is_long:
            for place, first in pairs:
                self._check(b.emit(f"icmp eq ptr {self.leaf_items[place]}, {self.leaf_items[first]}"))
        elif pairs:
            table = f"@irdl_table{len(self.tables)}"
            self.tables.append([number for pair in pairs for number in pair])
            with self._repeated(len(pairs)) as i:
                found = []
                for part in range(2):
                    at = b.fresh(f"getelementptr [2 x i64], ptr {table}, i64 {i}, i64 {part}")
                    leaf = b.fresh(f"load i64, ptr {at}")
                    found.append(b.fresh(f"load ptr, ptr {b.fresh(f'getelementptr ptr, ptr {self.items}, i64 {leaf}')}"))
                self._check(b.fresh(f"icmp eq ptr {found[0]}, {found[1]}"))

    def _check_layout(self, read: ArrayLayout, dtype: str, extents: tuple[int, ...], writeable: bool, strides: Any) -> None:
        """Of a captured array that the code does not read."""
        type_ = TensorType(np.dtype(dtype), extents)
        self._array(self.read(read.read), Argument(type_, ARRAY, np.ndarray, writeable, strides), copies=False)

    def _check_written(self, data: dict[int, str]) -> None:
        """What is donated or stored into shares no memory with another input."""
        b = self.b
        inputs, again = self.shape.inputs, {place for place, _ in self.shape.aliases}
        given = list({**dict.fromkeys(self.shape.donations.values()), **dict.fromkeys(self.shape.stored)})
        count = len(inputs)
        starts, ends, places = b.alloca(f"[{count} x i64]"), b.alloca(f"[{count} x i64]"), b.alloca(f"[{len(given)} x i64]")
        for place, argument in enumerate(inputs):
            address = data[place] or b.fresh(f"load ptr, ptr {self._element(self.slots, place)}")
            start = b.fresh(f"ptrtoint ptr {address} to i64")
            b.do(f"store i64 {start}, ptr {self._number(starts, place)}")
            size = argument.value_type.nbytes if place not in again else 0
            b.do(f"store i64 {b.fresh(f'add i64 {start}, {size}')}, ptr {self._number(ends, place)}")
        for number, place in enumerate(given):
            b.do(f"store i64 {place}, ptr {self._number(places, number)}")

        def at(array: str, place: str) -> str:
            return b.fresh(f"load i64, ptr {b.fresh(f'getelementptr i64, ptr {array}, i64 {place}')}")

        with self._repeated(len(given)) as i:
            own = at(places, i)
            with self._repeated(count) as j:
                below = b.fresh(f"icmp ult i64 {at(starts, j)}, {at(ends, own)}")
                above = b.fresh(f"icmp ult i64 {at(starts, own)}, {at(ends, j)}")
                overlap = b.fresh(f"and i1 {b.fresh(f'and i1 {below}, {above}')}, {b.fresh(f'icmp ne i64 {own}, {j}')}")
                self._check(b.fresh(f"xor i1 {overlap}, true"))

    def _prepare(self, data: dict[int, str]) -> str:
        """The captured arrays, found in Python."""
        b = self.b
        found = self._call(self._entry(self.PREPARE), [])
        with self._leaving(b.fresh(f"icmp eq ptr {found}, null")):
            self._set_arena(self.arena)
            self._drop_held()
            b.do("ret ptr null")
        with self._leaving(b.fresh(f"icmp eq ptr {found}, {self._object(None)}")):
            self._set_arena(self.arena)
            self._drop(found)
            self._drop_held()
            self._return_miss()
        for place in range(len(self.shape.captured)):
            item = b.fresh(f"load ptr, ptr {self._element(self._field(found, 'tuple items'), place)}")
            data[len(self.shape.arguments) + place] = self._load("ptr", item, "array data")
        return found

    # Arguments.

    def _keywords(self, data: dict[int, str]) -> None:
        b, names = self.b, list(self.shape.keywords)
        if not names:
            self._check(b.emit("icmp eq ptr %names, null"))
            return
        self._check(b.emit("icmp ne ptr %names, null"))
        self._check_number("i64", self._load("i64", "%names", "size"), len(names))
        for place, name in enumerate(names):
            found = b.emit(f"load ptr, ptr {self._element(self._field('%names', 'tuple items'), place)}")
            self._check_is(found, name)
            item = b.emit(f"load ptr, ptr {self._element('%args', len(self.shape.positional) + place)}")
            self._walk(item, self.shape.keywords[name], data, outermost=True)

    def _walk(self, item: str, tree: Any, data: dict[int, str], outermost: bool = False) -> None:
        """Check that `item` is a tree like `tree`; `data` gets the address of each leaf's numbers."""
        b = self.b
        if outermost and self.is_long and self._is_walkable(tree):
            return self._walk_by_table(item, tree, data)
        if tree is not None and not outermost:
            self._hold(item)
        if type(tree) is int:
            data[tree] = self._leaf(item, self.shape.arguments[tree])
            self.leaf_items[tree] = item
            self._keep_item(tree, item)
        elif tree is None:
            self._check_is(item, None)
        elif type(tree) is Same:
            self._check_same(item, tree.item)
        elif type(tree) is dict:
            self._check_type(item, dict)
            for part, found in zip(tree.values(), self._entries_of(item, tree), strict=True):
                self._walk(found, part, data)
        elif not isinstance(tree, (list, tuple)):
            self._check_type(item, type(tree))
            parts = vars(tree)
            for part, found in zip(parts.values(), self._entries_of(self._attributes_of(item), parts), strict=True):
                self._walk(found, part, data)
        else:
            self._check_type(item, type(tree))
            self._check_number("i64", self._load("i64", item, "size"), len(tree))
            items = self._load("ptr", item, "list items") if type(tree) is list else self._field(item, "tuple items")
            for place, part in enumerate(tree):
                self._walk(b.fresh(f"load ptr, ptr {self._element(items, place)}"), part, data)

    def _keep_item(self, place: int, item: str) -> None:
        """An input's object, for where a result takes its place."""
        if self.is_long:
            self.b.do(f"store ptr {item}, ptr {self._element(self.items, place)}")
        if place in self.shape.donations.values():
            self.donated[place] = item

    def _is_walkable(self, tree: Any) -> bool:
        """Arrays, and what has to be the very object."""
        if type(tree) is int:
            return self.shape.arguments[tree].kind == ARRAY and self.shape.arguments[tree].strides is None
        if type(tree) is Same:
            return type(tree.item) not in (int, float, np.ndarray)
        return (tree is None or type(tree) in (dict, list, tuple)) and all(self._is_walkable(part) for part in _parts(tree))

    def _walk_by_table(self, item: str, tree: Any, data: dict[int, str]) -> None:
        def leaf(place: int) -> list[int]:
            argument = self.shape.arguments[place]
            data[place] = ""  # its address is stored where it belongs
            return [*self._layout_numbers(argument), argument.value_type.rank, *argument.value_type.shape]

        def place_of(found: Any) -> int:
            return self._place(found.item if type(found) is Same else found)

        cursor = self._cursor(walked(tree, leaf, place_of))
        tables = [cursor, self._objects(), self.held_items, self.held_count, self.items, self.slots]
        fits = self.b.fresh(f"call i1 @irdl_walk(ptr {item}, {', '.join(f'ptr {t}' for t in tables)})")
        self.held = True
        self._check(fits)

    @staticmethod
    def _layout_numbers(argument: Argument) -> list[int]:
        dtype = argument.value_type.dtype
        return [dtype.num, ord(dtype.byteorder), _CONTIGUOUS | _ALIGNED | (_WRITEABLE if argument.writeable else 0)]

    def _check_same(self, item: str, expected: Any) -> None:
        if type(expected) is float:
            self._check_type(item, float)
            (bits,) = struct.unpack("<q", struct.pack("<d", expected))
            self._check_number("i64", self._load("i64", item, "float value"), bits)
        elif type(expected) is int and -(2**63) <= expected < 2**63:
            self._check_type(item, int)
            self._check_number("i64", self._integer(item), expected)
        else:
            self._check_is(item, expected)
            if type(expected) is np.ndarray:
                flags = self.b.emit(f"and i32 {self._load('i32', item, 'array flags')}, {_WRITEABLE}")
                self._check_number("i32", flags, 0)

    def _integer(self, item: str) -> str:
        b, overflow = self.b, self.b.alloca("i32")
        value = b.fresh(f"call i64 {self._function('PyLong_AsLongLongAndOverflow')}(ptr {item}, ptr {overflow})")
        self._check_number("i32", b.fresh(f"load i32, ptr {overflow}"), 0)
        return value

    def _leaf(self, item: str, argument: Argument) -> str:
        """The address of the leaf's numbers."""
        b = self.b
        if argument.kind == ARRAY:
            return self._array(item, argument)
        if argument.python_type is bool:
            is_true = b.emit(f"icmp eq ptr {item}, {self._object(True)}")
            is_false = b.emit(f"icmp eq ptr {item}, {self._object(False)}")
            self._check(b.emit(f"or i1 {is_true}, {is_false}"))
            slot = b.alloca("i8")
            b.do(f"store i8 {b.emit(f'zext i1 {is_true} to i8')}, ptr {slot}")
            return slot
        self._check_type(item, argument.python_type)
        if argument.python_type is float:
            return self._field(item, "float value")
        if argument.python_type is int:
            slot = b.alloca("i64")
            b.do(f"store i64 {self._integer(item)}, ptr {slot}")
            return slot
        return self._field(item, "scalar value")

    def _array(self, item: str, argument: Argument, copies: bool = True) -> str:
        b, dtype = self.b, argument.value_type.dtype
        if self.is_long and argument.strides is None:
            numbers = (*self._layout_numbers(argument), argument.value_type.rank)
            parts = [f"ptr {item}", f"ptr {self._object(np.ndarray)}", *(f"i32 {n}" for n in numbers)]
            data = b.fresh(f"call ptr @irdl_check_array({', '.join(parts)}, ptr {self._shape(argument.value_type.shape)})")
            self._check(b.fresh(f"icmp ne ptr {data}, null"))
            return data
        self._check_type(item, np.ndarray)
        description = self._load("ptr", item, "array dtype")
        wanted = (_CONTIGUOUS if argument.strides is None else 0) | _ALIGNED | (_WRITEABLE if argument.writeable else 0)
        flags = b.emit(f"and i32 {self._load('i32', item, 'array flags')}, {_CONTIGUOUS | _ALIGNED | _WRITEABLE}")
        rank = ("i32", self._load("i32", item, "array rank"), argument.value_type.rank)
        self._check_numbers([self._kind(description, dtype), ("i32", flags, wanted), rank])
        extents = self._load("ptr", item, "array shape")
        self._check_numbers(self._elements(extents, argument.value_type.shape))
        if argument.strides is not None:
            self._check_numbers(self._elements(self._load("ptr", item, "array strides"), argument.strides))
            if copies:
                item = b.fresh(f"call ptr {self._function('PyArray_NewCopy', numpy=85)}(ptr {item}, i32 0)")
                with self._leaving(b.emit(f"icmp eq ptr {item}, null")):
                    b.do(f"call void {self._function('PyErr_Clear')}()")
                    b.do("br label %miss")
                self._adopt(item)
        return self._load("ptr", item, "array data")

    def _kind(self, description: str, dtype: np.dtype) -> tuple[str, str, int]:
        """What a dtype's number and byte order have to be, which lie in one word."""
        first = LAYOUTS["dtype byte order"] // 8 * 8
        mask = wanted = 0
        for name, bits, number in (("dtype number", 32, dtype.num), ("dtype byte order", 8, ord(dtype.byteorder))):
            shift = 8 * (LAYOUTS[name] - first)
            mask, wanted = mask | ((1 << bits) - 1) << shift, wanted | number << shift
        word = self.b.fresh(f"load i64, ptr {self.b.emit(f'getelementptr i8, ptr {description}, i64 {first}')}")
        return "i64", self.b.emit(f"and i64 {word}, {mask - (mask >> 63 << 64)}"), wanted

    def _elements(self, array: str, numbers: Sequence[int]) -> list[tuple[str, str, int]]:
        """What the elements of an array have to be."""
        return [("i64", self.b.fresh(f"load i64, ptr {self._number(array, place)}"), number) for place, number in enumerate(numbers)]


def _parts(tree: Any) -> Iterable[Any]:
    if isinstance(tree, dict):
        return tree.values()
    return tree if isinstance(tree, (list, tuple)) else vars(tree).values() if is_object(tree) else ()
