"""Functions that walk and build trees of many arrays by a table, so that the entry's text does not grow with them.

A table is a list of 64-bit numbers, one node after the other:

    walked tree = 0, place, dtype number, byte order, flags, rank, extents...        an array
                | 1, is a list, items, tree...                                       a list or tuple
                | 2, items, (key, tree)...                                           a dict; keys are places among the objects
                | 3, object                                                          this very object
    built tree  = 0, place, is a scalar | 1, is a list, items, tree... | 2, items, (key, tree)... | 3, object
    results     = (the donated argument's place or -1, dtype number, rank, extents...)...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from irdl.codegen.cpu.llvm.python_objects import LAYOUTS
from irdl.ir.types import TensorType

#: NumPy's flags that count: contiguous, aligned, writeable
FLAGS = 0x1 | 0x100 | 0x400
#: the address of an array's numbers; null where it is not as asked for
CHECK_ARRAY = f"""
define internal ptr @irdl_check_array(ptr %item, ptr %ndarray, i32 %number, i32 %order, i32 %wanted, i32 %rank, ptr %extents) nounwind noinline {{
  %at_type = getelementptr i8, ptr %item, i64 {LAYOUTS["type"]}
  %type = load ptr, ptr %at_type
  %is_array = icmp eq ptr %type, %ndarray
  br i1 %is_array, label %array, label %no
array:
  %at_dtype = getelementptr i8, ptr %item, i64 {LAYOUTS["array dtype"]}
  %dtype = load ptr, ptr %at_dtype
  %at_number = getelementptr i8, ptr %dtype, i64 {LAYOUTS["dtype number"]}
  %own_number = load i32, ptr %at_number
  %same_number = icmp eq i32 %own_number, %number
  %at_order = getelementptr i8, ptr %dtype, i64 {LAYOUTS["dtype byte order"]}
  %own_order = load i8, ptr %at_order
  %wide_order = zext i8 %own_order to i32
  %same_order = icmp eq i32 %wide_order, %order
  %at_flags = getelementptr i8, ptr %item, i64 {LAYOUTS["array flags"]}
  %all_flags = load i32, ptr %at_flags
  %flags = and i32 %all_flags, {FLAGS}
  %same_flags = icmp eq i32 %flags, %wanted
  %at_rank = getelementptr i8, ptr %item, i64 {LAYOUTS["array rank"]}
  %own_rank = load i32, ptr %at_rank
  %same_rank = icmp eq i32 %own_rank, %rank
  %same_kind = and i1 %same_number, %same_order
  %same_form = and i1 %same_flags, %same_rank
  %same = and i1 %same_kind, %same_form
  br i1 %same, label %start, label %no
start:
  %at_shape = getelementptr i8, ptr %item, i64 {LAYOUTS["array shape"]}
  %shape = load ptr, ptr %at_shape
  br label %head
head:
  %axis = phi i32 [ 0, %start ], [ %following, %equal ]
  %more = icmp ult i32 %axis, %rank
  br i1 %more, label %compare, label %yes
compare:
  %at_own = getelementptr i64, ptr %shape, i32 %axis
  %own = load i64, ptr %at_own
  %at_extent = getelementptr i64, ptr %extents, i32 %axis
  %extent = load i64, ptr %at_extent
  %same_extent = icmp eq i64 %own, %extent
  br i1 %same_extent, label %equal, label %no
equal:
  %following = add i32 %axis, 1
  br label %head
yes:
  %at_data = getelementptr i8, ptr %item, i64 {LAYOUTS["array data"]}
  %data = load ptr, ptr %at_data
  ret ptr %data
no:
  ret ptr null
}}
"""

ARRAY_NODE, SEQUENCE_NODE, DICT_NODE, OBJECT_NODE = range(4)


def walked(tree: Any, leaf: Callable[[int], Sequence[int]], object_place: Callable[[Any], int]) -> list[int]:
    """The table of a tree to be checked; `leaf(place)` gives the dtype number, byte order, flags, rank and extents."""
    if type(tree) is int:
        return [ARRAY_NODE, tree, *leaf(tree)]
    return _node(tree, lambda part: walked(part, leaf, object_place), object_place)


def built(tree: Any, is_scalar: Callable[[int], bool], object_place: Callable[[Any], int]) -> list[int]:
    """The table of a tree to be made."""
    if type(tree) is int:
        return [ARRAY_NODE, tree, int(is_scalar(tree))]
    return _node(tree, lambda part: built(part, is_scalar, object_place), object_place)


def _node(tree: Any, part_table: Callable[[Any], list[int]], object_place: Callable[[Any], int]) -> list[int]:
    if type(tree) is dict:
        return [DICT_NODE, len(tree), *(n for key, part in tree.items() for n in (object_place(key), *part_table(part)))]
    if type(tree) in (list, tuple):
        return [SEQUENCE_NODE, int(type(tree) is list), len(tree), *(n for part in tree for n in part_table(part))]
    return [OBJECT_NODE, object_place(tree)]


def results(types: Sequence[TensorType], donations: Mapping[int, int]) -> list[int]:
    """The table of the arrays to be made, or to be taken from the arguments."""
    return [n for out, type in enumerate(types) for n in (donations.get(out, -1), type.dtype.num, type.rank, *type.shape)]


def table_text(name: str, numbers: Sequence[int]) -> str:
    return f"{name} = private constant [{len(numbers)} x i64] [{', '.join(f'i64 {n}' for n in numbers)}]"


def tree_functions(place: Callable[[str], int]) -> str:
    """The functions' text; `place` gives the places of Python's functions and types among the objects."""
    names: tuple[str, ...] = (
        "ndarray",
        "list",
        "tuple",
        "dict",
        "Py_IncRef",
        "PyDict_Size",
        "PyDict_Next",
        "PyArray_New",
        "PyArray_Return",
    )
    names += ("PyList_New", "PyTuple_New", "PyList_SetItem", "PyTuple_SetItem", "PyDict_New", "PyDict_SetItem", "Py_DecRef")
    text = _FUNCTIONS.format(**{name: place(name) for name in names}, **{key.replace(" ", "_"): at for key, at in LAYOUTS.items()})
    return _OBJECT.sub(_OBJECT_TEXT, _NEXT.sub(_NEXT_TEXT, text))


#: what the functions below write as a call: the number at the cursor, which moves on, and the object at a place
_NEXT = re.compile(r"  (%\w+) = call i64 @irdl_next\(ptr %cursor\)")
_NEXT_TEXT = r"""  \1.at = load ptr, ptr %cursor
  \1 = load i64, ptr \1.at
  \1.after = getelementptr i64, ptr \1.at, i64 1
  store ptr \1.after, ptr %cursor"""
_OBJECT = re.compile(r"  (%\w+) = call ptr @irdl_object\(ptr %objects, i64 (%?\w+)\)")
_OBJECT_TEXT = r"""  \1.at = getelementptr ptr, ptr %objects, i64 \2
  \1 = load ptr, ptr \1.at"""


_FUNCTIONS = """
; Checks an item against the table at the cursor; holds what it meets, and stores each array and the address of its numbers.
define internal i1 @irdl_walk(ptr %item, ptr %cursor, ptr %objects, ptr %held, ptr %count, ptr %items, ptr %slots) nounwind noinline {{
start:
  %position = alloca i64
  %key_slot = alloca ptr
  %item_slot = alloca ptr
  %keep = call ptr @irdl_object(ptr %objects, i64 {Py_IncRef})
  call void %keep(ptr %item)
  %have = load i64, ptr %count
  %at_held = getelementptr ptr, ptr %held, i64 %have
  store ptr %item, ptr %at_held
  %more_held = add i64 %have, 1
  store i64 %more_held, ptr %count
  %at_type = getelementptr i8, ptr %item, i64 {type}
  %type = load ptr, ptr %at_type
  %kind = call i64 @irdl_next(ptr %cursor)
  switch i64 %kind, label %object [ i64 0, label %array
                                    i64 1, label %sequence
                                    i64 2, label %dict ]
array:
  %place = call i64 @irdl_next(ptr %cursor)
  %number = call i64 @irdl_next(ptr %cursor)
  %order = call i64 @irdl_next(ptr %cursor)
  %flags = call i64 @irdl_next(ptr %cursor)
  %rank = call i64 @irdl_next(ptr %cursor)
  %extents = load ptr, ptr %cursor
  %after_extents = getelementptr i64, ptr %extents, i64 %rank
  store ptr %after_extents, ptr %cursor
  %ndarray = call ptr @irdl_object(ptr %objects, i64 {ndarray})
  %number32 = trunc i64 %number to i32
  %order32 = trunc i64 %order to i32
  %flags32 = trunc i64 %flags to i32
  %rank32 = trunc i64 %rank to i32
  %data = call ptr @irdl_check_array(ptr %item, ptr %ndarray, i32 %number32, i32 %order32, i32 %flags32, i32 %rank32, ptr %extents)
  %at_item = getelementptr ptr, ptr %items, i64 %place
  store ptr %item, ptr %at_item
  %at_slot = getelementptr ptr, ptr %slots, i64 %place
  store ptr %data, ptr %at_slot
  %is_array = icmp ne ptr %data, null
  ret i1 %is_array
object:
  %wanted_place = call i64 @irdl_next(ptr %cursor)
  %wanted = call ptr @irdl_object(ptr %objects, i64 %wanted_place)
  %is_it = icmp eq ptr %item, %wanted
  ret i1 %is_it
sequence:
  %is_list64 = call i64 @irdl_next(ptr %cursor)
  %length = call i64 @irdl_next(ptr %cursor)
  %is_list = trunc i64 %is_list64 to i1
  %list = call ptr @irdl_object(ptr %objects, i64 {list})
  %tuple = call ptr @irdl_object(ptr %objects, i64 {tuple})
  %sequence_type = select i1 %is_list, ptr %list, ptr %tuple
  %is_sequence = icmp eq ptr %type, %sequence_type
  br i1 %is_sequence, label %sized, label %no
sized:
  %at_size = getelementptr i8, ptr %item, i64 {size}
  %size = load i64, ptr %at_size
  %is_long = icmp eq i64 %size, %length
  br i1 %is_long, label %find, label %no
find:
  %own_items = getelementptr i8, ptr %item, i64 {tuple_items}
  br i1 %is_list, label %of_list, label %found
of_list:
  %at_items = getelementptr i8, ptr %item, i64 {list_items}
  %list_items = load ptr, ptr %at_items
  br label %found
found:
  %parts = phi ptr [ %own_items, %find ], [ %list_items, %of_list ]
  br label %head
head:
  %i = phi i64 [ 0, %found ], [ %next_i, %part_fits ]
  %more = icmp ult i64 %i, %length
  br i1 %more, label %part, label %yes
part:
  %at_part = getelementptr ptr, ptr %parts, i64 %i
  %one = load ptr, ptr %at_part
  %fits = call i1 @irdl_walk(ptr %one, ptr %cursor, ptr %objects, ptr %held, ptr %count, ptr %items, ptr %slots)
  br i1 %fits, label %part_fits, label %no
part_fits:
  %next_i = add i64 %i, 1
  br label %head
dict:
  %entries = call i64 @irdl_next(ptr %cursor)
  %dict_type = call ptr @irdl_object(ptr %objects, i64 {dict})
  %is_dict = icmp eq ptr %type, %dict_type
  br i1 %is_dict, label %counted, label %no
counted:
  %size_of = call ptr @irdl_object(ptr %objects, i64 {PyDict_Size})
  %own_entries = call i64 %size_of(ptr %item)
  %as_many = icmp eq i64 %own_entries, %entries
  br i1 %as_many, label %begin, label %no
begin:
  store i64 0, ptr %position
  %step = call ptr @irdl_object(ptr %objects, i64 {PyDict_Next})
  br label %dict_head
dict_head:
  %j = phi i64 [ 0, %begin ], [ %next_j, %entry_fits ]
  %more_entries = icmp ult i64 %j, %entries
  br i1 %more_entries, label %entry, label %yes
entry:
  %key_place = call i64 @irdl_next(ptr %cursor)
  %wanted_key = call ptr @irdl_object(ptr %objects, i64 %key_place)
  %got = call i32 %step(ptr %item, ptr %position, ptr %key_slot, ptr %item_slot)
  %is_there = icmp ne i32 %got, 0
  br i1 %is_there, label %named, label %no
named:
  %key = load ptr, ptr %key_slot
  %same_key = icmp eq ptr %key, %wanted_key
  br i1 %same_key, label %value, label %no
value:
  %entry_item = load ptr, ptr %item_slot
  %entry_ok = call i1 @irdl_walk(ptr %entry_item, ptr %cursor, ptr %objects, ptr %held, ptr %count, ptr %items, ptr %slots)
  br i1 %entry_ok, label %entry_fits, label %no
entry_fits:
  %next_j = add i64 %j, 1
  br label %dict_head
yes:
  ret i1 true
no:
  ret i1 false
}}

; The arrays of the results, in a table and by the address of their numbers; how many there are, fewer than asked for without memory.
define internal i64 @irdl_new_arrays(ptr %cursor, i64 %count, ptr %objects, ptr %items, ptr %made, ptr %slots) nounwind noinline {{
start:
  %new = call ptr @irdl_object(ptr %objects, i64 {PyArray_New})
  %ndarray = call ptr @irdl_object(ptr %objects, i64 {ndarray})
  %keep = call ptr @irdl_object(ptr %objects, i64 {Py_IncRef})
  br label %head
head:
  %i = phi i64 [ 0, %start ], [ %next_i, %enter ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %donated = call i64 @irdl_next(ptr %cursor)
  %number = call i64 @irdl_next(ptr %cursor)
  %rank = call i64 @irdl_next(ptr %cursor)
  %extents = load ptr, ptr %cursor
  %after = getelementptr i64, ptr %extents, i64 %rank
  store ptr %after, ptr %cursor
  %is_new = icmp slt i64 %donated, 0
  br i1 %is_new, label %fresh, label %taken
fresh:
  %number32 = trunc i64 %number to i32
  %rank32 = trunc i64 %rank to i32
  %array = call ptr %new(ptr %ndarray, i32 %rank32, ptr %extents, i32 %number32, ptr null, ptr null, i32 0, i32 0, ptr null)
  %is_there = icmp ne ptr %array, null
  br i1 %is_there, label %enter, label %end
taken:
  %at_item = getelementptr ptr, ptr %items, i64 %donated
  %item = load ptr, ptr %at_item
  call void %keep(ptr %item)
  br label %enter
enter:
  %result = phi ptr [ %array, %fresh ], [ %item, %taken ]
  %at_made = getelementptr ptr, ptr %made, i64 %i
  store ptr %result, ptr %at_made
  %at_data = getelementptr i8, ptr %result, i64 {array_data}
  %data = load ptr, ptr %at_data
  %at_slot = getelementptr ptr, ptr %slots, i64 %i
  store ptr %data, ptr %at_slot
  %next_i = add i64 %i, 1
  br label %head
end:
  ret i64 %i
}}

; A tree of the results; their references go into it.
define internal ptr @irdl_build(ptr %cursor, ptr %objects, ptr %made) nounwind noinline {{
start:
  %kind = call i64 @irdl_next(ptr %cursor)
  switch i64 %kind, label %object [ i64 0, label %array
                                    i64 1, label %sequence
                                    i64 2, label %dict ]
array:
  %place = call i64 @irdl_next(ptr %cursor)
  %is_scalar = call i64 @irdl_next(ptr %cursor)
  %at_made = getelementptr ptr, ptr %made, i64 %place
  %result = load ptr, ptr %at_made
  %is_array = icmp eq i64 %is_scalar, 0
  br i1 %is_array, label %whole, label %scalar
whole:
  ret ptr %result
scalar:
  %return = call ptr @irdl_object(ptr %objects, i64 {PyArray_Return})
  %number = call ptr %return(ptr %result)
  ret ptr %number
object:
  %object_place = call i64 @irdl_next(ptr %cursor)
  %given = call ptr @irdl_object(ptr %objects, i64 %object_place)
  %keep = call ptr @irdl_object(ptr %objects, i64 {Py_IncRef})
  call void %keep(ptr %given)
  ret ptr %given
sequence:
  %is_list64 = call i64 @irdl_next(ptr %cursor)
  %length = call i64 @irdl_next(ptr %cursor)
  %is_list = trunc i64 %is_list64 to i1
  %new_list = call ptr @irdl_object(ptr %objects, i64 {PyList_New})
  %new_tuple = call ptr @irdl_object(ptr %objects, i64 {PyTuple_New})
  %set_list = call ptr @irdl_object(ptr %objects, i64 {PyList_SetItem})
  %set_tuple = call ptr @irdl_object(ptr %objects, i64 {PyTuple_SetItem})
  %new = select i1 %is_list, ptr %new_list, ptr %new_tuple
  %set = select i1 %is_list, ptr %set_list, ptr %set_tuple
  %items = call ptr %new(i64 %length)
  br label %head
head:
  %i = phi i64 [ 0, %sequence ], [ %next_i, %part ]
  %more = icmp ult i64 %i, %length
  br i1 %more, label %part, label %end
part:
  %one = call ptr @irdl_build(ptr %cursor, ptr %objects, ptr %made)
  %done = call i32 %set(ptr %items, i64 %i, ptr %one)
  %next_i = add i64 %i, 1
  br label %head
end:
  ret ptr %items
dict:
  %entries = call i64 @irdl_next(ptr %cursor)
  %new_dict = call ptr @irdl_object(ptr %objects, i64 {PyDict_New})
  %set_entry = call ptr @irdl_object(ptr %objects, i64 {PyDict_SetItem})
  %drop = call ptr @irdl_object(ptr %objects, i64 {Py_DecRef})
  %names = call ptr %new_dict()
  br label %dict_head
dict_head:
  %j = phi i64 [ 0, %dict ], [ %next_j, %entry ]
  %more_entries = icmp ult i64 %j, %entries
  br i1 %more_entries, label %entry, label %dict_end
entry:
  %key_place = call i64 @irdl_next(ptr %cursor)
  %key = call ptr @irdl_object(ptr %objects, i64 %key_place)
  %value = call ptr @irdl_build(ptr %cursor, ptr %objects, ptr %made)
  %entered = call i32 %set_entry(ptr %names, ptr %key, ptr %value)
  call void %drop(ptr %value)
  %next_j = add i64 %j, 1
  br label %dict_head
dict_end:
  ret ptr %names
}}
"""
