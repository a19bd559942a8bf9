"""How the native entry finds captured state again: the reads of `irdl.tracing.capture.reads`, and what has to be as it was.

Each object is reached once: what hangs on it is read from there. A container's outline, or an object's attributes, are checked before
anything in it is read.
"""

from __future__ import annotations

import gc
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from irdl.codegen.cpu.llvm.python_objects import PythonObjects
from irdl.tracing.capture.decisions import Decision
from irdl.tracing.capture.reads import (
    Always,
    AreSame,
    ArrayLayout,
    Attribute,
    Attributes,
    CellContents,
    ClassMembers,
    DefaultFactory,
    Defaults,
    DictItem,
    HasItem,
    Item,
    KeywordDefaults,
    Outline,
    Read,
)

#: Python's integers of which there is one object each, and its number for `==`
_SMALL, _EQUAL = range(-5, 257), 2
#: dicts that Python has functions of its own for
_DICTS = (dict, OrderedDict, defaultdict)


def is_native_read(read: Read) -> bool:
    if isinstance(read, AreSame):
        return is_native_read(read.first) and is_native_read(read.second)
    if isinstance(read, (Item, Outline)):
        if isinstance(read.owner, (Defaults, KeywordDefaults)):
            return True
        container = read.owner()
        is_tuple = isinstance(container, tuple) and type(container).__iter__ is tuple.__iter__
        return (is_tuple or type(container) in (list, *_DICTS, deque)) and is_native_read(read.owner)
    if isinstance(read, DefaultFactory):
        return is_native_read(read.owner)
    if isinstance(read, (Attribute, Attributes)):
        item = read.owner()
        return not isinstance(item, type) and type(vars(item)) is dict and is_native_read(read.owner)  # type: ignore[comparison-overlap]
    if isinstance(read, ArrayLayout):
        array = read.read()
        return type(array) is np.ndarray and array.dtype.isnative and is_native_read(read.read)
    if isinstance(read, ClassMembers):
        return dict_of(read.cls) is not None
    return isinstance(read, (Always, DictItem, CellContents, HasItem, Defaults, KeywordDefaults, Decision))


def dict_of(cls: type) -> dict[str, Any] | None:
    """The dict behind a class's view of it."""
    found = [item for item in gc.get_referents(vars(cls)) if type(item) is dict]
    return found[0] if len(found) == 1 and found[0].keys() == vars(cls).keys() else None


def most_made(guards: Iterable[tuple[Read, Any]]) -> int:
    """How many objects the interpreter makes for checking these, or gives references to, at most."""
    made = 0
    for read, form in guards:
        if isinstance(read, Outline):
            made += form[1] if form[0] is deque else form[0] is OrderedDict
        else:
            made += isinstance(read, (Attributes, DefaultFactory))
    return made


class PythonReads(PythonObjects):
    def __init__(self, fixed: int) -> None:
        super().__init__(fixed)
        #: what reads have found
        self._found: dict[int, str] = {}
        #: what dicts hold: by what reads the owner (an object's dict, or a dict itself), and key
        self._entries: dict[tuple[int, Any], str] = {}
        #: whether the function below is needed
        self.compares_members = False

    def check_guard(self, read: Read, item: Any) -> None:
        b = self.b
        if isinstance(read, AreSame):
            self._check(b.fresh(f"icmp eq ptr {self.read(read.first)}, {self.read(read.second)}"))
        elif isinstance(read, HasItem):
            names, key = self._object(read.names), self._object(read.key)
            found = b.fresh(f"call i32 {self._function('PyDict_Contains')}(ptr {names}, ptr {key})")
            self._check_number("i32", found, int(item))
        elif isinstance(read, ClassMembers):
            self._check_members(read)
        elif isinstance(read, Outline):
            self._check_outline(read, *item)
        elif isinstance(read, Attributes):
            self._check_attributes(read)
        elif not isinstance(read, Always):
            self._check_plain(self.read(read), item)

    def _check_plain(self, found: str, item: Any) -> None:
        """That it is what it was, or a number that is the same: one that is computed at each call is another object each time."""
        b = self.b
        if type(item) is not float and (type(item) is not int or item in _SMALL):
            return self._check_is(found, item)
        other, same = b.label(), b.label()
        b.do(f"br i1 {b.emit(f'icmp eq ptr {found}, {self._object(item)}')}, label %{same}, label %{other}")
        b.start(other)
        before = b.remembered()
        self._check_type(found, type(item))
        if type(item) is float:
            self._check_number("i64", self._load("i64", found, "float value"), int(np.float64(item).view(np.int64)))
        else:
            compare = self._function("PyObject_RichCompareBool")
            self._check_number("i32", b.fresh(f"call i32 {compare}(ptr {found}, ptr {self._object(item)}, i32 {_EQUAL})"), 1)
        b.do(f"br label %{same}")
        b.restore(before)
        b.start(same)

    def check_decision(self, read: Decision, outcome: bool) -> None:
        """By a call into Python, before anything else: other threads may run in it, and change what is held by reads so far."""
        b = self.b
        found = self._call(self._object(read), [])
        with self._leaving(b.fresh(f"icmp eq ptr {found}, null")):
            b.do("ret ptr null")
        self._drop(found)  # it is one of the objects that last
        self._check_is(found, outcome)

    def read(self, read: Read) -> str:
        """The object, which its owner keeps alive."""
        if id(read) not in self._found:
            self._found[id(read)] = self._read(read)
        return self._found[id(read)]

    def _read(self, read: Read) -> str:
        b = self.b
        if isinstance(read, Always):
            return self._object(read.item)
        if isinstance(read, DictItem):
            return self._lookup(self._object(read.names), read.key)
        if isinstance(read, CellContents):
            found = self._load("ptr", self._object(read.cell), "cell contents")
        elif isinstance(read, Defaults):
            found = b.fresh(f"call ptr {self._function('PyFunction_GetDefaults')}(ptr {self._object(read.function)})")
        elif isinstance(read, KeywordDefaults):
            found = b.fresh(f"call ptr {self._function('PyFunction_GetKwDefaults')}(ptr {self._object(read.function)})")
        elif isinstance(read, DefaultFactory):
            name = self._object("default_factory")
            return self._made(b.fresh(f"call ptr {self._function('PyObject_GetAttr')}(ptr {self.read(read.owner)}, ptr {name})"))
        elif isinstance(read, Attribute):
            return self._entries[id(read.owner), read.name]
        else:
            assert isinstance(read, Item)
            if (id(read.owner), read.key) in self._entries:
                return self._entries[id(read.owner), read.key]
            owner = self.read(read.owner)
            if isinstance(read.owner, KeywordDefaults):
                return self._lookup(owner, read.key)
            kind = tuple if isinstance(read.owner, Defaults) else type(read.owner())
            if kind is deque:
                found = b.fresh(f"call ptr {self._function('PySequence_GetItem')}(ptr {owner}, i64 {read.key})")
                self._entries[id(read.owner), read.key] = self._made(found)
                return found
            is_list = kind is list
            items = self._load("ptr", owner, "list items") if is_list else self._field(owner, "tuple items")
            return b.fresh(f"load ptr, ptr {self._element(items, read.key)}")
        self._check(b.emit(f"icmp ne ptr {found}, null"))
        return found

    def _check_outline(self, read: Outline, type_: type, form: Any) -> None:
        item = self.read(read.owner)
        self._check_type(item, type_)
        if type_ is OrderedDict:
            # The order is its own, which `move_to_end` changes: its dict has another.
            keys = self._made(self.b.fresh(f"call ptr {self._function('PySequence_Tuple')}(ptr {item})"))
            self._check_number("i64", self._load("i64", keys, "size"), len(form))
            items = self._field(keys, "tuple items")
            for place, key in enumerate(form):
                self._check_is(self.b.fresh(f"load ptr, ptr {self._element(items, place)}"), key)
                self._entries[id(read.owner), key] = self._lookup(item, key)
        elif type_ in _DICTS:
            self._check_entries(item, id(read.owner), form)
        elif type_ is deque:
            self._check_number("i64", self.b.fresh(f"call i64 {self._function('PyObject_Size')}(ptr {item})"), form)
        else:
            self._check_number("i64", self._load("i64", item, "size"), form)

    def _check_attributes(self, read: Attributes) -> None:
        b, item = self.b, self.read(read.owner)
        self._check_type(item, read.cls)
        names = self._attributes_of(item)
        if read.names is not None:
            self._check_entries(names, id(read.owner), read.names)
            return
        for name in read.present:
            self._entries[id(read.owner), name] = self._lookup(names, name)
        for name in sorted(read.absent):
            found = b.fresh(f"call i32 {self._function('PyDict_Contains')}(ptr {names}, ptr {self._object(name)})")
            self._check_number("i32", found, 0)

    def _attributes_of(self, item: str) -> str:
        """An object's dict."""
        return self._made(self.b.fresh(f"call ptr {self._function('PyObject_GenericGetDict')}(ptr {item}, ptr null)"))

    def _made(self, found: str) -> str:
        """An object that the interpreter has given a reference to."""
        self._check(self.b.emit(f"icmp ne ptr {found}, null"))
        self._adopt(found)
        return found

    def _check_entries(self, names: str, owner: int, keys: tuple[Any, ...]) -> None:
        for key, item in zip(keys, self._entries_of(names, keys), strict=True):
            self._entries[owner, key] = item

    def _entries_of(self, names: str, keys: Any) -> list[str]:
        """What a dict holds, which has these keys in this order: the order is part of what the code was made for."""
        b = self.b
        self._check_number("i64", b.fresh(f"call i64 {self._function('PyDict_Size')}(ptr {names})"), len(keys))
        position, slot_key, slot_item = b.alloca("i64"), b.alloca("ptr"), b.alloca("ptr")
        b.do(f"store i64 0, ptr {position}")
        found = []
        for key in keys:
            following = self._function("PyDict_Next")
            more = b.fresh(f"call i32 {following}(ptr {names}, ptr {position}, ptr {slot_key}, ptr {slot_item})")
            self._check(b.emit(f"icmp ne i32 {more}, 0"))
            self._check_is(b.fresh(f"load ptr, ptr {slot_key}"), key)
            found.append(b.fresh(f"load ptr, ptr {slot_item}"))
        return found

    def _check_members(self, read: ClassMembers) -> None:
        """The class's dict against a tuple of its keys and values, by a loop: there may be many."""
        b = self.b
        names = dict_of(read.cls)
        assert names is not None
        wanted = tuple(part for pair in read.members.items() for part in pair)
        own, flat = self._object(names), self._object(wanted)
        self._check_number("i64", b.fresh(f"call i64 {self._function('PyDict_Size')}(ptr {own})"), len(read.members))
        step, items = self._function("PyDict_Next"), self._field(flat, "tuple items")
        same = b.fresh(f"call i1 @irdl_same_members(ptr {own}, ptr {items}, i64 {len(read.members)}, ptr {step})")
        self.compares_members = True
        self._check(same)


SAME_MEMBERS = """
define internal i1 @irdl_same_members(ptr %names, ptr %wanted, i64 %count, ptr %next) nounwind noinline {
start:
  %position = alloca i64
  %key_slot = alloca ptr
  %item_slot = alloca ptr
  store i64 0, ptr %position
  br label %head
head:
  %i = phi i64 [ 0, %start ], [ %next_i, %entry_item ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %entry, label %yes
entry:
  %got = call i32 %next(ptr %names, ptr %position, ptr %key_slot, ptr %item_slot)
  %there = icmp ne i32 %got, 0
  br i1 %there, label %entry_key, label %no
entry_key:
  %at = mul i64 %i, 2
  %at_key = getelementptr ptr, ptr %wanted, i64 %at
  %at_item = getelementptr ptr, ptr %at_key, i64 1
  %key = load ptr, ptr %key_slot
  %wanted_key = load ptr, ptr %at_key
  %item = load ptr, ptr %item_slot
  %wanted_item = load ptr, ptr %at_item
  %same_key = icmp eq ptr %key, %wanted_key
  %same_item = icmp eq ptr %item, %wanted_item
  %same = and i1 %same_key, %same_item
  br i1 %same, label %entry_item, label %no
entry_item:
  %next_i = add i64 %i, 1
  br label %head
yes:
  ret i1 true
no:
  ret i1 false
}
"""
