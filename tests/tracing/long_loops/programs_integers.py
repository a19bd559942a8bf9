"""Integers of all kinds: generators of random numbers, checksums, counters, bits, bytes that wrap."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from tests.tracing.long_loops.corpus import program


@program(lambda a: (np.arange(1, 5), a.n), static=(1,))
def fibonacci_modulo(seeds, steps):
    a, b = 0, 1
    out = np.zeros(steps, dtype=np.int64)
    for i in range(steps):
        a, b = b, (a + b) % 1000007
        out[i] = a + seeds[i % 4]
    return out


@program(lambda a: (12345, a.n), static=(1,))
def congruences_in_python_ints(seed, steps):
    out = np.zeros(steps)
    for i in range(steps):
        seed = (1103515245 * seed + 12345) % 2**31
        out[i] = seed / 2**31
    return out, seed


@program(lambda a: (np.uint32(7), a.n), static=(1,))
def congruences_in_uint32(state, steps):
    a, c = np.uint32(1664525), np.uint32(1013904223)
    out = np.zeros(steps, dtype=np.uint32)
    for i in range(steps):
        state = a * state + c
        out[i] = state
    return out


@program(lambda a: (np.uint64(88172645463325252), a.n), static=(1,))
def xorshift_in_uint64(x, steps):
    values = []
    for _ in range(steps):
        x = x ^ (x << np.uint64(13))
        x = x ^ (x >> np.uint64(7))
        x = x ^ (x << np.uint64(17))
        values.append(x)
    return np.array(values)


@program(lambda a: (a.integers(256, a.n, dtype=np.uint8),))
def crc_of_bytes(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= int(byte)
        for _ in range(8):
            if crc & 1:
                crc = (crc >> 1) ^ 0xA001
            else:
                crc >>= 1
    return crc


@program(lambda a: (a.integers(256, a.n),))
def adler(data):
    a, b = 1, 0
    for i in range(len(data)):
        a = (a + data[i]) % 65521
        b = (b + a) % 65521
    return (b << 16) | a


@program(lambda a: (a.integers(2, a.n, dtype=np.uint8),))
def bits_to_a_number(bits):
    value = 0
    for bit in bits[:50]:
        value = 2 * value + int(bit)
    parity = np.uint8(0)
    for bit in bits:
        parity ^= bit
    return value % 1000003, parity


@program(lambda a: (a.integers(6, a.n), a.normal(a.n)), gradient=(1,))
def histogram_with_weights(bins, weights):
    h = np.zeros(6)
    count = np.zeros(6, dtype=np.int32)
    for n in range(len(bins)):
        h[bins[n]] += weights[n]
        count[bins[n]] += 1
    return h, count


@program(lambda a: (a.integers(5, a.n),))
def counting_sort(x):
    counts = np.zeros(6, dtype=np.int64)
    for v in x:
        counts[v + 1] += 1
    places = np.cumsum(counts)
    out = np.zeros_like(x)
    for v in x:
        out[places[v]] = v
        places[v] += 1
    return out


@program(lambda a: (a.integers(3, a.n), a.integers(3, a.n)))
def confusion_matrix(predicted, actual):
    m = np.zeros((3, 3), int)
    for p, q in zip(predicted, actual):
        m[p, q] += 1
    return m, np.trace(m) / len(predicted)


@program(lambda a: (a.integers(100, a.n, dtype=np.int8),))
def accumulated_in_int8(x):
    total = np.int8(0)
    out = np.zeros(len(x), dtype=np.int8)
    for i in range(len(x)):
        total += x[i]
        out[i] = total
    return out


@program(lambda a: (a.integers(200, a.n, dtype=np.uint8), a.integers(9, a.n, low=-9)))
def mixed_integers(small, large):
    s = 0
    out = np.zeros(len(small), dtype=np.int16)
    for i in range(len(small)):
        s = s * 3 % 101 + small[i] - large[i]
        out[i] = s // 2
    return out, s


@program(lambda a: (a.integers(4, a.n, low=1), 3))
def integers_that_count_other_than_the_loop(x, start):
    k = start
    total = 0
    for i in range(len(x)):
        k += 2
        total += x[i] * k - (k // 3) * i
    return total, k


@program(lambda a: (a.integers(10, a.n, low=-10),))
def floor_division_and_remainder(x):
    q, r = 0, 1
    for v in x:
        q = (q * 7 + v) // 3 % 1009
        r = (r + v) % -13
    return q, r


@program(lambda a: (a.integers(2**20, a.n),))
def population_counts(x):
    out = np.zeros_like(x)
    for i in range(len(x)):
        v = x[i]
        c = 0
        for _ in range(20):
            c += v & 1
            v >>= 1
        out[i] = c
    return out


@program(lambda a: (a.integers(2, a.n).astype(bool), a.integers(2, a.n).astype(bool)))
def logic_carried(p, q):
    seen, toggle, both = False, True, 0
    for n in range(len(p)):
        seen = seen | p[n]
        toggle = toggle ^ q[n]
        both += bool(p[n] and q[n] and toggle)
    return seen, toggle, both


@program(lambda a: (a.n,), static=(0,))
def sums_of_digits_of_the_counter(limit):
    total = 0
    out = []
    for n in range(1, limit + 1):
        digits = n % 10 + n // 10 % 10 + n // 100
        total += digits
        out.append(total)
    return np.array(out)


@program(lambda a: (a.n,), static=(0,))
def perfect_squares_and_powers_of_the_counter(limit):
    s = 0
    f = np.zeros(limit)
    for n in range(limit):
        s += n * n - (n << 1)
        f[n] = n**2 / 3 + 1 / (n + 1) + (-1) ** n + 2.0 ** (-n)
    return s, f


@program(lambda a: (a.n,), static=(0,))
def sieve(limit):
    prime = np.ones(limit + 1, dtype=bool)
    prime[:2] = False
    for p in range(2, limit + 1):
        if p * p > limit:
            break
        prime[p * p :: p] = prime[p * p :: p] & ~prime[p]
    return prime


@program(lambda a: (a.n,), static=(0,), sizes=(3, 40, 150))
def gcds_with_the_counter(limit):
    out = []
    for n in range(1, limit + 1):
        a, b = 360, n
        while b:
            a, b = b, a % b
        out.append(a)
    return np.array(out)


@program(lambda a: (a.integers(4, a.n).tolist(),), static=(0,))
def counted_in_a_dict(words):
    counts = {}
    for w in words:
        counts[w] = counts.get(w, 0) + 1
    return counts


@program(lambda a: (a.integers(4, a.n).tolist(), a.normal(a.n)), static=(0,))
def sums_in_a_defaultdict(keys, values):
    sums = defaultdict(float)
    seen = Counter()
    for k, v in zip(keys, values):
        sums[k] += v
        seen[k] += 1
    return dict(sums), dict(seen)


@program(lambda a: (a.integers(4, a.n),))
def union_find(pairs):
    parent = np.arange(5)
    for i in range(len(pairs)):
        a, b = pairs[i], (i * 3) % 5
        ra, rb = parent[a], parent[b]
        parent = np.where(parent == ra, rb, parent)
    return parent
