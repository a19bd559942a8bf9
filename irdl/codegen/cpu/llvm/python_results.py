"""What the native entry hands back: new arrays, stores into old ones, and the tree of the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl.codegen.cpu.llvm.call_shape import FROM_ARGUMENTS, CallShape, is_named_tuple, is_plain
from irdl.codegen.cpu.llvm.python_reads import PythonReads
from irdl.codegen.cpu.llvm.python_trees import built, results
from irdl.codegen.cpu.llvm.status import POLLED, STOPPED
from irdl.tracing.box import PYTHON, SCALAR

#: so many arguments, captured arrays and results are checked and made where they are met; more of them by tables
_LONG = 16


class PythonResults(PythonReads):
    def __init__(self, shape: CallShape, fixed: int) -> None:
        super().__init__(fixed)
        self.shape = shape
        #: what stands for the extents of arrays
        self.shapes: dict[tuple[int, ...], str] = {}
        #: trees are walked and made by functions, so that the text stays short
        self.is_long = len(shape.arguments) + len(shape.captured) + len(shape.outputs) > _LONG
        self.made_items = self.made_count = self.slots = self.items = ""
        self.tables: list[list[int]] = []
        #: the arguments' leaves that were met one by one
        self.leaf_items: dict[int, str] = {}
        #: the arrays that are donated, by their places
        self.donated: dict[int, str] = {}

    def _cursor(self, table: list[int]) -> str:
        """A table of the module's, and a place for how far it is read."""
        cursor = self.b.alloca("ptr")
        self.b.do(f"store ptr @irdl_table{len(self.tables)}, ptr {cursor}")
        self.tables.append(table)
        return cursor

    def _objects(self) -> str:
        return self._element(self.table, self.FIXED + self.fixed)

    def _shape(self, shape: tuple[int, ...]) -> str:
        """The address of the extents; null of none."""
        return self.shapes.setdefault(shape, f"@irdl_shape{len(self.shapes)}") if shape else "null"

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

    def _store(self, slots: str, count: int) -> None:
        """Put the new contents of what is stored into where they belong."""
        b, results = self.b, len(self.shape.outputs) - len(self.shape.stored)
        for out, place in enumerate(self.shape.stored, results):
            if out in self.shape.donations:
                self._drop(b.fresh(f"load ptr, ptr {self._element(self.made_items, out)}"))
                continue
            to, source = (b.fresh(f"load ptr, ptr {self._element(slots, at)}") for at in (place, count + out))
            b.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
            size = self.shape.inputs[place].value_type.nbytes
            b.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")
            self._drop(b.fresh(f"load ptr, ptr {self._element(self.made_items, out)}"))

    def _fail(self, status: str) -> None:
        """Leave with the exception that stopped the call, or that `fail(value, code)` raises, which reads what the code has left in memory
        that belongs to the entry: no other call may have it until then."""
        b = self.b
        self._drop_all(self.made_items, len(self.shape.outputs))
        with self._leaving(b.fresh(f"icmp ne i64 {b.fresh(f'load i64, ptr {self._number(status, STOPPED)}')}, 0")):
            parts = [b.fresh(f"load ptr, ptr {self._number(status, POLLED + place)}") for place in range(3)]
            b.do(f"call void {self._function('PyErr_Restore')}({', '.join(f'ptr {part}' for part in parts)})")
            self._set_arena(self.arena)
            b.do("ret ptr null")
        value, code = (b.fresh(f"load i64, ptr {self._number(status, place)}") for place in (1, 2))
        call, given = self._function("PyObject_CallFunction"), f"ptr {self._entry(self.FAIL)}, ptr @irdl_two_numbers"
        raised = b.fresh(f"call ptr (ptr, ptr, ...) {call}({given}, i64 {value}, i64 {code})")
        self._set_arena(self.arena)
        b.do(f"ret ptr {raised}")

    def _result(self, arrays: Sequence[str]) -> str:
        leaves = []
        outputs = self.shape.outputs[: len(self.shape.outputs) - len(self.shape.stored)]
        if self.is_long and is_plain(self.shape.result) and all(kind != PYTHON for _, kind in outputs):
            table = built(self.shape.result, lambda out: outputs[out][1] == SCALAR, self._place)
            return self.b.fresh(f"call ptr @irdl_build(ptr {self._cursor(table)}, ptr {self._objects()}, ptr {self.made_items})")
        if self.is_long:
            arrays = [self.b.fresh(f"load ptr, ptr {self._element(self.made_items, out)}") for out in range(len(outputs))]
        for array, (_, kind) in zip(arrays, outputs, strict=False):
            # PyArray_Return makes a scalar of an array without axes, and takes the array with it.
            leaves.append(array if kind != SCALAR else self.b.fresh(f"call ptr {self._function('PyArray_Return', 76)}(ptr {array})"))
        if _is_buildable(self.shape.result) and all(kind != PYTHON for _, kind in outputs):
            return self._build(self.shape.result, leaves)
        given: list[str] = []
        if self.shape.result is FROM_ARGUMENTS:
            count = len(self.shape.positional) + len(self.shape.keywords)
            given = [self.b.fresh(f"load ptr, ptr {self._element('%args', place)}") for place in range(count)]
        found = self._call(self._entry(self.FINISH), [*given, *leaves])
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
        if is_named_tuple(tree):
            made = self._call(self._object(type(tree)), parts)
            for part in parts:
                self._drop(part)
            return made
        name = "PyTuple" if type(tree) is tuple else "PyList"
        made = b.fresh(f"call ptr {self._function(f'{name}_New')}(i64 {len(tree)})")
        for place, part in enumerate(parts):
            b.do(f"call i32 {self._function(f'{name}_SetItem')}(ptr {made}, i64 {place}, ptr {part})")
        return made


def _is_buildable(tree: Any) -> bool:
    """Plain containers and named tuples."""
    if is_named_tuple(tree) or type(tree) in (list, tuple):
        return all(_is_buildable(part) for part in tree)
    return is_plain(tree) if type(tree) is not dict else all(type(k) is str and _is_buildable(part) for k, part in tree.items())
