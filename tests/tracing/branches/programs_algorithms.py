"""Algorithms by hand: sorting, searching, counting, tables of costs."""

from __future__ import annotations

import numpy as np

from tests.tracing.branches.corpus import program

_random = np.random.default_rng(5)


def numbers(n):
    return _random.standard_normal(n)


@program((numbers(6),), (np.arange(6.0),), (np.array([2.0, 2.0, 1.0, 1.0, 0.0, 0.0]),))
def bubble_sort(a):
    """In place, and done when nothing was exchanged."""
    n = len(a)
    passes = 0
    for i in range(n):
        exchanged = False
        for j in range(n - 1 - i):
            if a[j] > a[j + 1]:
                a[j], a[j + 1] = a[j + 1], a[j]
                exchanged = True
        passes += 1
        if not exchanged:
            break
    return passes


@program((numbers(6),), (np.arange(6.0)[::-1].copy(),), (np.array([3, 1, 2, 1, 5, 0]),))
def insertion_sort(x):
    a = x.copy()
    for i in range(1, len(a)):
        key = a[i]
        j = i - 1
        while j >= 0 and a[j] > key:
            a[j + 1] = a[j]
            j -= 1
        a[j + 1] = key
    return a


@program((np.array([5, 2, 9, 1, 7]),), (np.arange(5),))
def selection_sort(a):
    for i in range(len(a)):
        least = i
        for j in range(i + 1, len(a)):
            if a[j] < a[least]:
                least = j
        if least != i:
            a[i], a[least] = a[least], a[i]
    return a


@program((numbers(8),), (np.arange(8.0),), (-np.arange(8.0),))
def running_maximum(x):
    out = np.empty_like(x)
    best, where = -np.inf, -1
    for i, value in enumerate(x):
        if value > best:
            best, where = value, i
        out[i] = best
    return out, where


@program((np.array([1, 1, 0, 1, 1, 1, 0, 0]),), (np.zeros(8, dtype=int),))
def longest_run(bits):
    longest = current = 0
    for bit in bits:
        if bit:
            current += 1
            if current > longest:
                longest = current
        else:
            current = 0
    return longest


@program((np.array([3, 3, 3, 1, 2, 2]),), (np.arange(6),))
def run_length_encode(x):
    """Values and lengths in arrays that are long enough; how many there are."""
    values, lengths = np.zeros_like(x), np.zeros(len(x), dtype=np.int64)
    n = 0
    values[0], lengths[0] = x[0], 1
    for i in range(1, len(x)):
        if x[i] == values[n]:
            lengths[n] += 1
        else:
            n += 1
            values[n] = x[i]
            lengths[n] = 1
    return values, lengths, n + 1


@program((48, 36), (17, 5), (7, 0))
def gcd(a, b):
    while b:
        a, b = b, a % b
    return a


@program((240, 46), (5, 3), (1, 0))
def extended_gcd(a, b):
    x0, x1, y0, y1 = 1, 0, 0, 1
    while b != 0:
        q = a // b
        a, b = b, a - q * b
        x0, x1 = x1, x0 - q * x1
        y0, y1 = y1, y0 - q * y1
    return a, x0, y0


@program((np.arange(0, 30, 3), 12), (np.arange(0, 30, 3), 13), (np.arange(0, 30, 3), -1), (np.arange(0, 30, 3), 27))
def binary_search(a, wanted):
    lo, hi = 0, len(a) - 1
    while lo <= hi:
        mid = (lo + hi) // 2
        if a[mid] == wanted:
            return mid
        if a[mid] < wanted:
            lo = mid + 1
        else:
            hi = mid - 1
    return -1


@program((6,), (1,), (7,))
def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


@program((2, 10, 1000), (3, 13, 7), (5, 0, 11))
def power_modulo(base, exponent, modulus):
    result = 1
    base %= modulus
    while exponent > 0:
        if exponent & 1:
            result = result * base % modulus
        base = base * base % modulus
        exponent >>= 1
    return result


@program((np.log(_random.dirichlet(np.ones(3), 3)), np.log(_random.dirichlet(np.ones(3), 5))))
def viterbi(transition, emission):
    T, N = emission.shape
    score = np.zeros((T, N))
    back = np.zeros((T, N), dtype=int)
    score[0] = emission[0]
    for t in range(1, T):
        for j in range(N):
            best, which = -np.inf, 0
            for i in range(N):
                s = score[t - 1, i] + transition[i, j]
                if s > best:
                    best, which = s, i
            score[t, j] = best + emission[t, j]
            back[t, j] = which
    path = np.zeros(T, dtype=int)
    path[-1] = np.argmax(score[-1])
    for t in range(T - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path, score[-1].max()


@program((np.array([1, 2, 3, 4]), np.array([1, 3, 3, 4, 4])), (np.array([1, 1, 1, 1]), np.array([2, 2, 2, 2, 2])))
def edit_distance(a, b):
    d = np.zeros((len(a) + 1, len(b) + 1), dtype=np.int64)
    d[:, 0] = np.arange(len(a) + 1)
    d[0, :] = np.arange(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            if a[i - 1] == b[j - 1]:
                d[i, j] = d[i - 1, j - 1]
            else:
                d[i, j] = 1 + min(d[i - 1, j], d[i, j - 1], d[i - 1, j - 1])
    return d[-1, -1]


@program((np.array([1, 3, 5, 8, 11]), 13), (np.array([1, 3, 5, 8, 11]), 7), (np.array([1, 3, 5, 8, 11]), 100))
def two_pointers(a, total):
    i, j = 0, len(a) - 1
    while i < j:
        s = a[i] + a[j]
        if s == total:
            return i, j
        elif s < total:
            i += 1
        else:
            j -= 1
    return -1, -1


@program((-0.5, 0.5), (0.4, 0.4), (2.0, 2.0))
def mandelbrot(re, im):
    z_re = z_im = 0.0
    for n in range(20):
        z_re, z_im = z_re * z_re - z_im * z_im + re, 2 * z_re * z_im + im
        if z_re * z_re + z_im * z_im > 4:
            return n
    return 20


@program((0.3 + 0.5j,), (1 + 1j,))
def mandelbrot_complex(c):
    z, n = 0j, 0
    while abs(z) <= 2 and n < 20:
        z = z * z + c
        n += 1
    return n, z


@program((np.array([-2.0, 1, -3, 4, -1, 2, 1, -5, 4]),), (-np.arange(1.0, 10),))
def kadane(x):
    best, current, start, ends = x[0], x[0], 0, (0, 0)
    for i in range(1, len(x)):
        if current < 0:
            current, start = x[i], i
        else:
            current = current + x[i]
        if current > best:
            best, ends = current, (start, i)
    return best, ends


@program((np.array([5.0, 1, 3, 9, 2]),), (np.array([9.0, 8, 1, 2, 3]),), (np.arange(5.0),))
def two_largest(x):
    first, second = -np.inf, -np.inf
    for value in x:
        if value > first:
            first, second = value, first
        elif value > second:
            second = value
    return first, second


@program((np.array([2, 2, 1, 3, 2]),), (np.array([1, 2, 3, 4, 5]),))
def majority(x):
    """Boyer and Moore's vote."""
    candidate, count = -1, 0
    for value in x:
        if count == 0:
            candidate, count = value, 1
        elif value == candidate:
            count += 1
        else:
            count -= 1
    return candidate if np.sum(x == candidate) > len(x) // 2 else -1


@program((np.array([7, 1, 5, 3, 6, 4]),), (np.array([7, 6, 4, 3, 1, 0]),))
def best_profit(prices):
    least, profit = prices[0], 0
    for p in prices[1:]:
        least = p if p < least else least
        profit = p - least if p - least > profit else profit
    return profit


@program((np.array([0, 1, 0, 2, 1, 0, 3, 1]),), (np.array([3, 0, 0, 2, 0, 4, 0, 1]),))
def trapped_water(height):
    left, right, water = 0, len(height) - 1, 0
    highest_left = highest_right = 0
    while left < right:
        if height[left] < height[right]:
            if height[left] >= highest_left:
                highest_left = height[left]
            else:
                water += highest_left - height[left]
            left += 1
        else:
            if height[right] >= highest_right:
                highest_right = height[right]
            else:
                water += highest_right - height[right]
            right -= 1
    return water


@program((np.array([5, 4, 3]), np.array([10, 5, 2]), 7), (np.array([1, 2, 3]), np.array([10, 15, 40]), 6))
def knapsack(weights, values, capacity):
    table = np.zeros(11, dtype=int)
    for w, v in zip(weights, values):
        for c in range(10, -1, -1):
            if c >= w and c <= capacity:
                candidate = table[c - w] + v
                if candidate > table[c]:
                    table[c] = candidate
    return table.max()


@program((np.array([[0, 4, np.inf], [1, 0, 2], [np.inf, 1, 0]]),), (np.array([[0, 1, 5], [1, 0, 1], [5, 1, 0.0]]),))
def floyd_warshall(d):
    n = len(d)
    via = np.full((n, n), -1)
    for k in range(n):
        for i in range(n):
            for j in range(n):
                if d[i, k] + d[k, j] < d[i, j]:
                    d[i, j] = d[i, k] + d[k, j]
                    via[i, j] = k
    return d, via


@program((np.array([[0, 1, 4, 0], [1, 0, 2, 6], [4, 2, 0, 3], [0, 6, 3, 0.0]]), 0), (np.diag(np.ones(3), 1), 1))
def dijkstra(weights, source):
    n = len(weights)
    distance = np.full(n, np.inf)
    distance[source] = 0.0
    done = np.zeros(n, dtype=bool)
    for _ in range(n):
        u, least = -1, np.inf
        for i in range(n):
            if not done[i] and distance[i] < least:
                u, least = i, distance[i]
        if u < 0:
            break
        done[u] = True
        for v in range(n):
            if weights[u, v] > 0 and distance[u] + weights[u, v] < distance[v]:
                distance[v] = distance[u] + weights[u, v]
    return distance


@program((np.array([0.1, 2.0, 0.3]), np.array([1.0, 2.1, 0.2])), (np.arange(3.0), 5 + np.arange(3.0)))
def time_warp(a, b):
    """Dynamic time warping, and how often it went straight on."""
    cost = np.full((4, 4), np.inf)
    cost[0, 0] = 0
    straight = 0
    for i in range(1, 4):
        for j in range(1, 4):
            d = abs(a[i - 1] - b[j - 1])
            if cost[i - 1, j - 1] <= cost[i - 1, j] and cost[i - 1, j - 1] <= cost[i, j - 1]:
                cost[i, j] = d + cost[i - 1, j - 1]
                straight += 1
            elif cost[i - 1, j] < cost[i, j - 1]:
                cost[i, j] = d + cost[i - 1, j]
            else:
                cost[i, j] = d + cost[i, j - 1]
    return cost[-1, -1], straight


@program((29,), (15,), (2,), (1,))
def is_prime(n):
    if n < 2:
        return False
    d = 2
    while d * d <= n:
        if n % d == 0:
            return False
        d += 1
    return True


@program((30,), (2,))
def sieve(limit):
    composite = np.zeros(31, dtype=bool)
    count = 0
    for i in range(2, 31):
        if i > limit:
            break
        if not composite[i]:
            count += 1
            composite[i * i :: i] = True
    return count


@program((np.array([0.2, 0.5, 0.3]), 0.1), (np.array([0.2, 0.5, 0.3]), 0.6), (np.array([0.2, 0.5, 0.2]), 0.95))
def draw(p, u):
    total = 0.0
    for i in range(len(p)):
        total += p[i]
        if u < total:
            return i
    return len(p) - 1


@program((np.array([1.0, 3.0, 5.0]), np.array([2.0, 3.0, 9.0])), (np.array([7.0, 8.0, 9.0]), np.array([1.0, 2.0, 3.0])))
def merge(a, b):
    out = np.empty(len(a) + len(b))
    i = j = 0
    for k in range(len(out)):
        if i < len(a) and (j >= len(b) or a[i] <= b[j]):
            out[k] = a[i]
            i += 1
        else:
            out[k] = b[j]
            j += 1
    return out
