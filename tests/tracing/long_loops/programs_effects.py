"""What a step does to objects of Python's that hold no arrays: it does so in every step."""

from __future__ import annotations

import bisect
import functools
import heapq
import io
import itertools
import math
import random
from array import array
from collections import OrderedDict

import numpy as np

from tests.tracing.long_loops.corpus import either, program


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def iterator_moved_on(x):
    weights = iter([1.0 + 0.1 * n for n in range(len(x))])
    s = 0.0
    for v in x:
        s = 0.5 * s + v * next(weights)
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def cycle_moved_on(x):
    signs = itertools.cycle([1.0, -1.0, 0.5])
    s = 0.0
    for v in x:
        s = 0.5 * s + v * next(signs)
    return s


def numbers_in_turn(n):
    last = 1.0
    for _ in range(n):
        last = -0.9 * last
        yield last


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def generator_moved_on(x):
    weights = numbers_in_turn(len(x))
    s = 0.0
    for v in x:
        s = 0.5 * s + v * next(weights)
    return s


def averages():
    """Is sent numbers, and gives what they are on average."""
    total, count = 0.0, 0
    value = yield 0.0
    while True:
        total += value
        count += 1
        value = yield total / count


@program(lambda a: (a.normal(a.n),))
def generator_that_is_sent_numbers(x):
    average = averages()
    next(average)
    s = 0.0
    for n, v in enumerate(x):
        s = 0.5 * s + v * average.send(n % 5)
    return s


class Falling:
    """An iterator of one's own, of known numbers."""

    def __init__(self):
        self.level = 1.0

    def __iter__(self):
        return self

    def __next__(self):
        self.level *= 0.97
        return self.level


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def iterator_of_ones_own_moved_on(x):
    falling = Falling()
    s = 0.0
    for v in x:
        s = 0.5 * s + v * next(falling)
    return s, falling.level


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def iterators_of_tools_moved_on(x):
    some = itertools.islice(itertools.cycle([1.0, -1.0, 2.0]), 2 * len(x))
    sums = itertools.accumulate(itertools.chain([1.0, 2.0], itertools.repeat(0.1)))
    numbers = iter(range(3, 3 + len(x)))
    rows = iter(np.linspace(0, 1, len(x)))
    s = 0.0
    for v in x:
        s = 0.5 * s + v * next(some) - 0.01 * next(sums) + next(numbers) * next(rows)
    return s


@program(lambda a: (a.normal(2 * a.n),), gradient=(0,))
def two_items_in_each_step(x):
    """The iterator that the loop goes through, moved on in its body."""
    items = iter(x)
    s = 0.0
    for v in items:
        s = 0.5 * s + v * next(items)
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def lines_read(x):
    lines = io.StringIO("\n".join(str(n * n % 7) for n in range(len(x))))
    s = 0.0
    for v in x:
        s = 0.5 * s + v * float(lines.readline())
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def numbers_out_of_a_count(x):
    ids = itertools.count(10)
    s = 0.0
    for v in x:
        s = 0.5 * s + v / next(ids)
    return s, next(ids)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def generator_of_numpy_made_inside(x):
    rng = np.random.default_rng(3)
    s = 0.0
    for v in x:
        s = 0.5 * s + v + 0.1 * rng.standard_normal()
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def rows_out_of_a_generator_of_numpy(x):
    rng = np.random.default_rng(3)
    out = np.zeros((len(x), 2))
    for n in range(len(x)):
        out[n] = x[n] * rng.uniform(size=2)
    return out


@program(lambda a: (a.normal(a.n),))
def generator_of_python_made_inside(x):
    rng = random.Random(5)
    s = 0.0
    for v in x:
        s = 0.5 * s + v * rng.random()
    return s


@program(lambda a: (a.normal(a.n),))
def text_that_grows(x):
    trace = ""
    s = 0.0
    for n, v in enumerate(x):
        s = 0.5 * s + v
        trace += "."
        if n % 10 == 0:
            trace += "|"
    return s, trace


@program(lambda a: (a.normal(a.n),))
def text_written(x):
    text = io.StringIO()
    s = 0.0
    for v in x:
        s = 0.5 * s + v
        text.write("x")
    return s, text.getvalue()


@program(lambda a: (a.normal(a.n),))
def set_that_is_added_to(x):
    seen = set()
    s = 0.0
    for n, v in enumerate(x):
        seen.add(n % 5)
        s = 0.5 * s + v * len(seen)
    return s, sorted(seen)


@program(lambda a: (a.normal(a.n),))
def bytes_that_grow(x):
    b = bytearray()
    numbers = array("d")
    s = 0.0
    for n, v in enumerate(x):
        b.append(n % 250)
        numbers.append(0.5 * n)
        s = 0.5 * s + v
    return s, len(b), sum(b), sum(numbers)


@program(lambda a: (a.normal(a.n),))
def heap_of_known_numbers(x):
    heap = [(0.0, 0), (0.5, 1), (0.7, 2)]
    s = 0.0
    for v in x:
        when, who = heapq.heappop(heap)
        s = 0.5 * s + v * (who + 1)
        heapq.heappush(heap, (when + 1.0 + 0.1 * who, who))
    return s


@program(lambda a: (a.normal(a.n),))
def list_kept_in_order(x):
    keys = []
    s = 0.0
    for n, v in enumerate(x):
        bisect.insort(keys, (7 * n) % 11)
        s = 0.5 * s + v * keys[len(keys) // 2]
    return s, keys[0]


@program(lambda a: (a.normal(a.n),))
def cache_of_the_least_recently_used(x):
    cache = OrderedDict()
    hits = 0
    for n in range(len(x)):
        key = n * n % 7
        if key in cache:
            hits += 1
            cache.move_to_end(key)
        else:
            cache[key] = x[n]
            if len(cache) > 3:
                cache.popitem(last=False)
    return hits, list(cache), sum(cache.values())


@functools.lru_cache
def binomial(n, k):
    return 1 if k in (0, n) else binomial(n - 1, k - 1) + binomial(n - 1, k)


@program(lambda a: (a.normal(a.n),), gradient=(0,), sizes=(3, 12, 30))
def function_that_remembers(x):
    s = 0.0
    for n in range(len(x)):
        s = 0.5 * s + x[n] / binomial(n + 2, 2)
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,), sizes=(3, 12, 30))
def memory_in_a_dict(x):
    memory = {0: 1.0, 1: 1.0}

    def f(n):
        if n not in memory:
            memory[n] = 0.5 * f(n - 1) + 0.3 * f(n - 2) + x[n]
        return memory[n]

    return np.array([f(n) for n in range(len(x))])


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def functions_of_whole_numbers(x):
    s = 0.0
    for n in range(len(x)):
        s = 0.5 * s + x[n] * math.gcd(n, 12) / math.isqrt(n + 1) + math.floor(n / 3) + pow(3, n, 7)
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,), sizes=(3, 12, 20))
def factorials_of_the_counter(x):
    s = 0.0
    for n in range(len(x)):
        s += x[n] * 0.3**n / math.factorial(n) + math.comb(n, 2) * 1e-3
    return s


class Node:
    def __init__(self, value, rest):
        self.value, self.rest = value, rest


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def chain_of_objects(x):
    head = None
    for v in x:
        head = Node(v, head)
    total, weight = 0.0, 1.0
    while head is not None:
        total += weight * head.value
        weight *= 0.9
        head = head.rest
    return total


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def tuples_in_tuples(x):
    t = ()
    for v in x:
        t = (v, t)
    s = 0.0
    while t:
        v, t = t
        s = 0.5 * s + v
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,), sizes=(3, 20, 60))
def functions_in_functions(x):
    f = lambda u: u
    for v in x:
        f = lambda u, g=f, v=v: 0.5 * g(u) + v
    return f(1.0)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def functions_of_each_step_kept(x):
    fs = []
    for v in x:
        fs.append(lambda u: u * v)
    return fs[0](2.0) + fs[-1](1.0)


class Counted:
    total = 0

    def __init__(self, v):
        Counted.total += 1
        self.v, self.number = v, Counted.total


@either(lambda a: (a.normal(a.n),))
def counted_on_the_class(x):
    s = 0.0
    Counted.total = 0
    for v in x:
        c = Counted(v)
        s = 0.5 * s + c.v * c.number
    return s, Counted.total


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def default_that_is_a_list(x):
    def push(v, kept=[0.0]):
        kept[0] = 0.5 * kept[0] + v
        return kept[0]

    return np.array([push(v) for v in x]), push(0.0)


@program(lambda a: (a.normal(a.n),))
def events_in_a_list_of_texts(x):
    events = []
    s = 0.0
    for n, v in enumerate(x):
        s = 0.5 * s + v
        events.append(f"step {n}")
    return s, events[-1], len(events)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def dict_that_loses_and_gets_keys(x):
    table = {"a": 1.0, "b": 2.0}
    for v in x:
        a = table.pop("a")
        table["a"] = 0.5 * a + v
        table.update(b=table["b"] * 0.9 + a)
        table.setdefault("c", a)
    return table


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def list_turned_around_in_each_step(x):
    pair = [1.0, 2.0, 3.0]
    for v in x:
        pair.reverse()
        pair[0] += v
        pair[1:] = [pair[2] * 0.5, pair[1]]
    return pair


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def attributes_by_name(x):
    node = Node(0.0, 1.0)
    for n, v in enumerate(x):
        name = ("value", "rest")[n % 2]
        setattr(node, name, 0.5 * getattr(node, name) + v)
    return node.value, node.rest


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def objects_that_change_places(x):
    one, two = Node(0.0, None), Node(1.0, None)
    for v in x:
        one, two = two, one
        one.value = 0.5 * one.value + v
    return one.value, two.value


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def a_new_object_in_each_step(x):
    state = Node(0.0, None)
    for v in x:
        before = state
        state = Node(0.5 * before.value + v, before.value)
        before.value = 100.0
    return state.value, state.rest


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def object_remembered_from_some_step(x):
    best = None
    for n, v in enumerate(x):
        node = Node(v, n)
        if n % 10 == 1:
            best = node
        node.value = node.value + 1
    return best.value, best.rest
