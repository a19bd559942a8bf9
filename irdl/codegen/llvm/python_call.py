"""The native way in from Python: one function, called by the interpreter itself, that checks a call's arguments, makes the
arrays of its results, and runs the code with the interpreter's lock released.

It walks the structure it expects (lists, tuples and dicts of arrays and numbers) and gives `MISS` back at the first thing that
differs, before it has changed anything; the caller then goes the way written in Python. Everything it needs from the process
(types, keys, functions of Python and NumPy, memory) comes in one table of addresses, so the code itself holds none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from irdl.codegen.llvm.call_shape import Argument, CallShape, Same, is_plain
from irdl.codegen.llvm.python_objects import Function, PythonObjects
from irdl.codegen.llvm.python_trees import CHECK_ARRAY, built, results, table_text, tree_functions, walked
from irdl.trace.box import ARRAY, PYTHON, SCALAR
from irdl.trace.reads import Always, AreSame, CellContents, DictItem, HasItem, Read

PYTHON_ENTRY = "irdl_python_call"
_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400
#: so many arguments and captured arrays are checked where they are met
_LONG = 16


class PythonCall(PythonObjects):
    """The text of the function for one signature, and what belongs into its table.

    The table starts with `MISS`, the free arena (0 while it is in use), and three functions in Python: `prepare()`, which gives
    the captured arrays as a tuple, or None where the trace no longer holds; `finish(*leaves)`, which makes the result; and
    `fail(value, code)`, which raises. The fixed addresses follow, then `objects`.
    """

    def __init__(self, shape: CallShape, fixed: int, main: str) -> None:
        super().__init__(fixed)
        self.shape = shape
        self.main = main
        #: what stands for the extents of arrays
        self.shapes: dict[tuple[int, ...], str] = {}
        #: trees are walked and made by functions, so that the text stays short
        self.is_long = len(shape.arguments) + len(shape.captured) + len(shape.outputs) > _LONG
        self.made_items = self.made_count = self.slots = self.items = ""
        self.tables: list[list[int]] = []
        #: the arrays that are donated, by their places
        self.donated: dict[int, str] = {}

    def text(self) -> str:
        b, shape = self.b, self.shape
        count = len(shape.arguments) + len(shape.captured) + len(shape.known)
        places = count + len(shape.outputs) + self.fixed
        slots = self.slots = b.alloca(f"[{max(places, 1)} x ptr]")
        status = b.alloca("[3 x i64]")
        self.held_items, self.held_count = b.alloca(f"[{self._most_held()} x ptr]"), b.alloca("i64")
        b.do(f"store i64 0, ptr {self.held_count}")
        self.made_items, self.made_count = b.alloca(f"[{max(len(shape.outputs), 1)} x ptr]"), b.alloca("i64")
        if self.is_long:
            self.items = b.alloca(f"[{max(count, 1)} x ptr]")
        self.table = b.emit(f"load ptr, ptr {self._field('%self', 'array data')}")
        data = self._arguments()
        if shape.donations:
            self._check_donations(data)
        # No other thread runs Python between this look at the arena and the store that takes it.
        self.arena = self._entry(self.ARENA)
        self._check(b.fresh(f"icmp ne ptr {self.arena}, null"))
        self._set_arena("null")
        prepared = "" if shape.reads_natively else self._prepare(data)
        for place, array in enumerate(shape.known, count - len(shape.known)):
            data[place] = self._load("ptr", self._object(array), "array data")
        for place in range(count):
            if data[place]:
                b.do(f"store ptr {data[place]}, ptr {self._element(slots, place)}")
        for place in range(self.fixed):
            address = self._entry(self.FIXED + place)
            b.do(f"store ptr {address}, ptr {self._element(slots, count + len(shape.outputs) + place)}")
        arrays = self._new_arrays(slots, count)
        for place in range(3):
            b.do(f"store i64 0, ptr {self._number(status, place)}")
        state = b.fresh(f"call ptr {self._function('PyEval_SaveThread')}()")
        b.do(f"call void @{self.main}(ptr {slots}, ptr {self.arena}, ptr {status})")
        b.do(f"call void {self._function('PyEval_RestoreThread')}(ptr {state})")
        self._drop_held()
        if prepared:
            self._drop(prepared)
        self._set_arena(self.arena)
        failed = b.fresh(f"load i64, ptr {status}")
        with self._leaving(b.fresh(f"icmp ne i64 {failed}, 0")):
            self._fail(status)
        b.do(f"ret ptr {self._result(arrays)}")
        b.restore({})
        b.start("miss")
        self._drop_held()
        self._return_miss()
        if self.is_long or len(shape.donations) < len(shape.outputs):
            b.restore({})
            b.start("no_memory")
            self._set_arena(self.arena)
            self._drop_all(self.made_items, b.fresh(f"load i64, ptr {self.made_count}"))
            self._drop_held()
            if prepared:
                self._drop(prepared)
            b.do("ret ptr null")
        text = b.text(f"define ptr @{PYTHON_ENTRY}(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind")
        constants = [table_text(name, shape) for shape, name in self.shapes.items()]
        constants += [table_text(f"@irdl_table{place}", table) for place, table in enumerate(self.tables)]
        functions = [CHECK_ARRAY, tree_functions(self._named_place)] if self.is_long else []
        return "\n".join([*constants, *functions, text])

    def _cursor(self, table: list[int]) -> str:
        """A table of the module's, and a place for how far it is read."""
        cursor = self.b.alloca("ptr")
        self.b.do(f"store ptr @irdl_table{len(self.tables)}, ptr {cursor}")
        self.tables.append(table)
        return cursor

    def _objects(self) -> str:
        return self._element(self.table, self.FIXED + self.fixed)

    def _named_place(self, name: str) -> int:
        known = {"ndarray": np.ndarray, "list": list, "tuple": tuple, "dict": dict}
        return self._place(known[name] if name in known else Function(name, {"PyArray_New": 93, "PyArray_Return": 76}.get(name, 0)))

    def _shape(self, shape: tuple[int, ...]) -> str:
        """The address of the extents; null of none."""
        return self.shapes.setdefault(shape, f"@irdl_shape{len(self.shapes)}") if shape else "null"

    def _most_held(self) -> int:
        def count(tree: Any) -> int:
            parts = tree.values() if type(tree) is dict else tree if type(tree) in (list, tuple) else ()
            return 1 + sum(count(part) for part in parts)

        return count(self.shape.positional) + count(self.shape.keywords) + len(self.shape.captured)

    def _arguments(self) -> dict[int, str]:
        """Check everything; the addresses of the inputs' numbers."""
        b, shape = self.b, self.shape
        data: dict[int, str] = {}
        self._check(b.emit(f"icmp eq i64 %nargs, {len(shape.positional)}"))
        for place, tree in enumerate(shape.positional):
            self._walk(b.emit(f"load ptr, ptr {self._element('%args', place)}"), tree, data, outermost=True)
        self._keywords(data)
        if shape.reads_natively:
            for read, item in shape.guards:
                self._check_guard(read, item)
            for place, (read, argument) in enumerate(shape.captured, len(shape.arguments)):
                item = self._read(read)
                self._hold(item)
                data[place] = self._leaf(item, argument)
        return data

    def _check_guard(self, read: Read, item: Any) -> None:
        b = self.b
        if isinstance(read, AreSame):
            self._check(b.fresh(f"icmp eq ptr {self._read(read.first)}, {self._read(read.second)}"))
        elif isinstance(read, HasItem):
            names, key = self._object(read.names), self._object(read.key)
            found = b.fresh(f"call i32 {self._function('PyDict_Contains')}(ptr {names}, ptr {key})")
            self._check_number("i32", found, int(item))
        elif not isinstance(read, Always):
            self._check_is(self._read(read), item)

    def _check_donations(self, data: dict[int, str]) -> None:
        """What is donated shares no memory with another input."""
        b = self.b
        inputs = [*self.shape.arguments, *(argument for _, argument in self.shape.captured)]
        count, given = len(inputs), list(self.shape.donations.values())
        starts, ends, places = b.alloca(f"[{count} x i64]"), b.alloca(f"[{count} x i64]"), b.alloca(f"[{len(given)} x i64]")
        for place, argument in enumerate(inputs):
            address = data[place] or b.fresh(f"load ptr, ptr {self._element(self.slots, place)}")
            start = b.fresh(f"ptrtoint ptr {address} to i64")
            b.do(f"store i64 {start}, ptr {self._number(starts, place)}")
            b.do(f"store i64 {b.fresh(f'add i64 {start}, {argument.value_type.nbytes}')}, ptr {self._number(ends, place)}")
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
            if self.is_long:
                b.do(f"store ptr {item}, ptr {self._element(self.items, tree)}")
            if tree in self.shape.donations.values():
                self.donated[tree] = item
        elif tree is None:
            self._check_is(item, None)
        elif type(tree) is Same:
            self._check_same(item, tree.item)
        elif type(tree) is dict:
            self._check_type(item, dict)
            size = b.fresh(f"call i64 {self._function('PyDict_Size')}(ptr {item})")
            self._check_number("i64", size, len(tree))
            # In order: the order of a dict's items is part of what the code was made for.
            position, slot_key, slot_item = b.alloca("i64"), b.alloca("ptr"), b.alloca("ptr")
            b.do(f"store i64 0, ptr {position}")
            for key, part in tree.items():
                following = self._function("PyDict_Next")
                more = b.fresh(f"call i32 {following}(ptr {item}, ptr {position}, ptr {slot_key}, ptr {slot_item})")
                self._check(b.emit(f"icmp ne i32 {more}, 0"))
                self._check_is(b.fresh(f"load ptr, ptr {slot_key}"), key)
                self._walk(b.fresh(f"load ptr, ptr {slot_item}"), part, data)
        else:
            self._check_type(item, type(tree))
            self._check_number("i64", self._load("i64", item, "size"), len(tree))
            items = self._field(item, "tuple items") if type(tree) is tuple else self._load("ptr", item, "list items")
            for place, part in enumerate(tree):
                self._walk(b.fresh(f"load ptr, ptr {self._element(items, place)}"), part, data)

    def _is_walkable(self, tree: Any) -> bool:
        """Arrays, and what has to be the very object."""
        if type(tree) is int:
            return self.shape.arguments[tree].kind == ARRAY
        if type(tree) is Same:
            return type(tree.item) not in (int, float, np.ndarray)
        parts = tree.values() if type(tree) is dict else tree if type(tree) in (list, tuple) else ()
        return all(self._is_walkable(part) for part in parts)

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

    def _read(self, read: Read) -> str:
        if isinstance(read, Always):
            return self._object(read.item)
        if isinstance(read, DictItem):
            return self._lookup(self._object(read.names), read.key)
        assert isinstance(read, CellContents)
        found = self._load("ptr", self._object(read.cell), "cell contents")
        self._check(self.b.emit(f"icmp ne ptr {found}, null"))
        return found

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

    def _array(self, item: str, argument: Argument) -> str:
        b, dtype = self.b, argument.value_type.dtype
        if self.is_long:
            numbers = (*self._layout_numbers(argument), argument.value_type.rank)
            parts = [f"ptr {item}", f"ptr {self._object(np.ndarray)}", *(f"i32 {n}" for n in numbers)]
            data = b.fresh(f"call ptr @irdl_check_array({', '.join(parts)}, ptr {self._shape(argument.value_type.shape)})")
            self._check(b.fresh(f"icmp ne ptr {data}, null"))
            return data
        self._check_type(item, np.ndarray)
        description = self._load("ptr", item, "array dtype")
        self._check_number("i32", self._load("i32", description, "dtype number"), dtype.num)
        self._check_number("i8", self._load("i8", description, "dtype byte order"), ord(dtype.byteorder))
        wanted = _CONTIGUOUS | _ALIGNED | (_WRITEABLE if argument.writeable else 0)
        flags = b.emit(f"and i32 {self._load('i32', item, 'array flags')}, {_CONTIGUOUS | _ALIGNED | _WRITEABLE}")
        self._check_number("i32", flags, wanted)
        self._check_number("i32", self._load("i32", item, "array rank"), argument.value_type.rank)
        extents = self._load("ptr", item, "array shape")
        for axis, extent in enumerate(argument.value_type.shape):
            self._check_number("i64", b.fresh(f"load i64, ptr {self._number(extents, axis)}"), extent)
        return self._load("ptr", item, "array data")

    # Results.

    def _new_arrays(self, slots: str, count: int) -> list[str]:
        """Fresh arrays for the results; out of memory leaves with Python's MemoryError."""
        b = self.b
        arrays: list[str] = []
        if self.is_long:
            cursor = self._cursor(results([type_ for type_, _ in self.shape.outputs], self.shape.donations))
            tables = [self._objects(), self.items, self.made_items, self._element(slots, count)]
            wanted = len(self.shape.outputs)
            made = b.fresh(f"call i64 @irdl_new_arrays(ptr {cursor}, i64 {wanted}, {', '.join(f'ptr {t}' for t in tables)})")
            b.do(f"store i64 {made}, ptr {self.made_count}")
            enough = b.label()
            b.do(f"br i1 {b.fresh(f'icmp eq i64 {made}, {wanted}')}, label %{enough}, label %no_memory")
            b.start(enough)
            return arrays
        for place, (type_, _) in enumerate(self.shape.outputs):
            if place in self.shape.donations:
                array = self.donated[self.shape.donations[place]]
                self._keep(array)
            else:
                ndarray = self._object(np.ndarray)
                array = b.fresh(
                    f"call ptr {self._function('PyArray_New', numpy=93)}(ptr {ndarray}, i32 {type_.rank}, ptr {self._shape(type_.shape)}, "
                    f"i32 {type_.dtype.num}, ptr null, ptr null, i32 0, i32 0, ptr null)"
                )
                with self._leaving(b.fresh(f"icmp eq ptr {array}, null")):
                    b.do(f"store i64 {place}, ptr {self.made_count}")
                    b.do("br label %no_memory")
            b.do(f"store ptr {array}, ptr {self._element(self.made_items, place)}")
            b.do(f"store ptr {self._load('ptr', array, 'array data')}, ptr {self._element(slots, count + place)}")
            arrays.append(array)
        return arrays

    def _fail(self, status: str) -> None:
        """Leave with the exception that `fail(value, code)` raises."""
        b = self.b
        self._drop_all(self.made_items, str(len(self.shape.outputs)))
        numbers = []
        for place in (1, 2):
            number = b.fresh(f"load i64, ptr {self._number(status, place)}")
            numbers.append(b.fresh(f"call ptr {self._function('PyLong_FromLongLong')}(i64 {number})"))
        raised = self._call(self._entry(self.FAIL), numbers)
        for number in numbers:
            self._drop(number)
        b.do(f"ret ptr {raised}")

    def _result(self, arrays: Sequence[str]) -> str:
        leaves = []
        if self.is_long and is_plain(self.shape.result) and all(kind != PYTHON for _, kind in self.shape.outputs):
            table = built(self.shape.result, lambda out: self.shape.outputs[out][1] == SCALAR, self._place)
            return self.b.fresh(f"call ptr @irdl_build(ptr {self._cursor(table)}, ptr {self._objects()}, ptr {self.made_items})")
        if self.is_long:
            arrays = [self.b.fresh(f"load ptr, ptr {self._element(self.made_items, out)}") for out in range(len(self.shape.outputs))]
        for array, (_, kind) in zip(arrays, self.shape.outputs, strict=True):
            # PyArray_Return makes a scalar of an array without axes, and takes the array with it.
            leaves.append(array if kind != SCALAR else self.b.fresh(f"call ptr {self._function('PyArray_Return', 76)}(ptr {array})"))
        if is_plain(self.shape.result) and all(kind != PYTHON for _, kind in self.shape.outputs):
            return self._build(self.shape.result, leaves)
        found = self._call(self._entry(self.FINISH), leaves)
        for leaf in leaves:
            self._drop(leaf)
        return found

    def _build(self, tree: Any, leaves: Sequence[str]) -> str:
        """A tree of the leaves; their references go into it. Out of memory here is not handled: the objects are small."""
        b = self.b
        if type(tree) is int:
            return leaves[tree]
        if tree is None:
            none = self._object(None)
            self._keep(none)
            return none
        parts = [self._build(part, leaves) for part in (tree.values() if type(tree) is dict else tree)]
        if type(tree) is dict:
            made = b.fresh(f"call ptr {self._function('PyDict_New')}()")
            for key, part in zip(tree, parts, strict=True):
                b.do(f"call i32 {self._function('PyDict_SetItem')}(ptr {made}, ptr {self._object(key)}, ptr {part})")
                self._drop(part)
            return made
        name = "PyTuple" if type(tree) is tuple else "PyList"
        made = b.fresh(f"call ptr {self._function(f'{name}_New')}(i64 {len(tree)})")
        for place, part in enumerate(parts):
            b.do(f"call i32 {self._function(f'{name}_SetItem')}(ptr {made}, i64 {place}, ptr {part})")
        return made
