"""Dynamic programming and recurrences over tables, and statistics that run along."""

from __future__ import annotations

import numpy as np

from tests.tracing.long_loops.corpus import program

INF = float("inf")


@program(lambda a: (np.log(a.uniform(3, 3) + 0.1), np.log(a.uniform(a.n, 3) + 0.1)))
def viterbi(transition, emission):
    T, S = emission.shape
    score = np.zeros((T, S))
    back = np.zeros((T, S), dtype=np.int64)
    score[0] = emission[0]
    for t in range(1, T):
        for s in range(S):
            options = score[t - 1] + transition[:, s]
            back[t, s] = np.argmax(options)
            score[t, s] = np.max(options) + emission[t, s]
    path = np.zeros(T, dtype=np.int64)
    path[-1] = np.argmax(score[-1])
    for t in range(T - 2, -1, -1):
        path[t] = back[t + 1, path[t + 1]]
    return path, score[-1]


@program(lambda a: (np.log(a.uniform(3, 3) + 0.1), np.log(a.uniform(a.n, 3) + 0.1)))
def viterbi_with_lists(transition, emission):
    v = emission[0]
    pointers = []
    for e in emission[1:]:
        m = v[:, None] + transition
        pointers.append(m.argmax(0))
        v = m.max(0) + e
    best = [int(np.argmax(v))]
    for p in reversed(pointers):
        best.append(p[best[-1]])
    return np.array(best[::-1]), v


@program(lambda a: (a.uniform(3, 3) + 0.1, a.uniform(a.n, 3) + 0.1), gradient=(0, 1), tolerance=1e-8)
def forward_backward_with_scales(A, B):
    T = len(B)
    A = A / A.sum(1, keepdims=True)
    alpha, beta, scale = np.zeros((T, 3)), np.ones((T, 3)), np.zeros(T)
    for t in range(T):
        alpha[t] = B[t] / 3 if t == 0 else (alpha[t - 1] @ A) * B[t]
        scale[t] = alpha[t].sum()
        alpha[t] /= scale[t]
    for t in range(T - 2, -1, -1):
        beta[t] = A @ (B[t + 1] * beta[t + 1]) / scale[t + 1]
    return alpha * beta, np.log(scale).sum()


@program(lambda a: (a.normal(a.n, 4), a.weights(4, 4), a.integers(4, a.n)), gradient=(0, 1), single=True)
def linear_chain_of_tags(scores, transitions, tags):
    """The logarithm of the sum over all paths, less the score of one."""
    alpha = scores[0]
    gold = scores[0, tags[0]]
    for t in range(1, len(scores)):
        alpha = np.logaddexp.reduce(alpha[:, None] + transitions, axis=0) + scores[t]
        gold = gold + transitions[tags[t - 1], tags[t]] + scores[t, tags[t]]
    return np.logaddexp.reduce(alpha) - gold


@program(lambda a: (a.integers(4, a.n), a.integers(4, 5)), sizes=(3, 20, 100))
def levenshtein_long_outside(a, b):
    d = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    d[:, 0] = np.arange(len(a) + 1)
    d[0, :] = np.arange(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            cost = 0 if a[i - 1] == b[j - 1] else 1
            d[i, j] = min(d[i - 1, j] + 1, d[i, j - 1] + 1, d[i - 1, j - 1] + cost)
    return d[-1, -1]


@program(lambda a: (a.integers(4, 4), a.integers(4, a.n)), sizes=(3, 20, 100))
def levenshtein_by_rows_long_inside(a, b):
    previous = list(range(len(b) + 1))
    for i in range(len(a)):
        current = [i + 1]
        for j in range(len(b)):
            substitution = previous[j] + (a[i] != b[j])
            current.append(min(substitution, previous[j + 1] + 1, current[j] + 1))
        previous = current
    return previous[-1]


@program(lambda a: (a.normal(a.n), a.normal(6)), gradient=(0, 1), sizes=(3, 20, 100))
def dynamic_time_warping(x, y):
    D = np.full((len(x) + 1, len(y) + 1), np.inf)
    D[0, 0] = 0
    for i in range(len(x)):
        for j in range(len(y)):
            D[i + 1, j + 1] = abs(x[i] - y[j]) + min(D[i, j], D[i, j + 1], D[i + 1, j])
    return D[-1, -1]


@program(lambda a: (a.integers(3, a.n), a.integers(3, a.n)), sizes=(3, 8, 24))
def longest_common_subsequence_long_in_long(a, b):
    L = np.zeros((len(a) + 1, len(b) + 1), dtype=np.int32)
    for i, u in enumerate(a, 1):
        for j, v in enumerate(b, 1):
            if u == v:
                L[i, j] = L[i - 1, j - 1] + 1
            else:
                L[i, j] = max(L[i - 1, j], L[i, j - 1])
    return L


@program(lambda a: (a.integers(6, 4, low=1).tolist(), a.normal(4), a.n), static=(0, 2))
def knapsack(weights, values, capacity):
    best = np.zeros(capacity + 1)
    for w, v in zip(weights, values):
        for c in range(capacity, w - 1, -1):
            best[c] = np.maximum(best[c], best[c - w] + v)
    return best


@program(lambda a: (a.n,), static=(0,))
def ways_to_make_change(amount):
    ways = np.zeros(amount + 1, dtype=np.int64)
    ways[0] = 1
    for coin in (1, 2, 5):
        for k in range(coin, amount + 1):
            ways[k] += ways[k - coin]
    return ways


@program(lambda a: (a.normal(a.n),))
def best_sum_of_neighbours(x):
    best = current = x[0]
    start = 0
    for i in range(1, len(x)):
        if current < 0:
            current = x[i]
            start = i
        else:
            current += x[i]
        best = max(best, current)
    return best, start


@program(lambda a: (a.normal(a.n, 3),), gradient=(0,))
def cheapest_path_down(costs):
    total = costs[0]
    for row in costs[1:]:
        left = np.concatenate([[INF], total[:-1]])
        right = np.concatenate([total[1:], [INF]])
        total = row + np.minimum(total, np.minimum(left, right))
    return total.min()


@program(lambda a: (a.normal(a.n, 3), a.integers(3, 2)), gradient=(0,), tolerance=1e-8)
def connectionist_temporal_classification(logits, labels):
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    alpha = np.zeros((len(p), 3))
    alpha[0, 0] = p[0, 0]
    alpha[0, 1] = p[0, labels[0]]
    loss = 0.0
    for t in range(1, len(p)):
        alpha[t, 0] = alpha[t - 1, 0] * p[t, 0]
        alpha[t, 1] = (alpha[t - 1, 1] + alpha[t - 1, 0]) * p[t, labels[0]]
        alpha[t, 2] = (alpha[t - 1, 2] + alpha[t - 1, 1]) * p[t, labels[1]]
        c = alpha[t].sum()
        alpha[t] /= c
        loss -= np.log(c)
    return loss


@program(lambda a: (a.normal(a.n),), gradient=(0,), single=True)
def welford(x):
    mean, m2 = 0.0, 0.0
    means, variances = np.zeros_like(x), np.zeros_like(x)
    for n, v in enumerate(x, start=1):
        delta = v - mean
        mean += delta / n
        m2 += delta * (v - mean)
        means[n - 1] = mean
        variances[n - 1] = m2 / n
    return means, variances


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def running_sum_maximum_and_product(x):
    sums, tops, products = [], [], []
    s, m, p = 0.0, -INF, 1.0
    for v in x:
        s += v
        m = max(m, v)
        p *= 1 + 0.1 * v
        sums.append(s)
        tops.append(m)
        products.append(p)
    return np.array([sums, tops, products])


@program(lambda a: (a.normal(a.n),))
def running_maximum_and_its_place(x):
    best, where = x[0], 0
    for i in range(len(x)):
        if x[i] > best:
            best, where = x[i], i
    return best, where


@program(lambda a: (a.normal(a.n) * 0.01, 1e-5, 0.1, 0.85), gradient=(0, 2, 3))
def garch(returns, omega, alpha, beta):
    sigma2 = np.zeros(len(returns))
    sigma2[0] = returns.var()
    likelihood = 0.0
    for t in range(1, len(returns)):
        sigma2[t] = omega + alpha * returns[t - 1] ** 2 + beta * sigma2[t - 1]
        likelihood -= 0.5 * (np.log(sigma2[t] + 1e-6) + returns[t] ** 2 / (sigma2[t] + 1e-6))
    return likelihood / 100, sigma2


@program(lambda a: (np.cumsum(a.uniform(a.n)), 0.5, 0.4, 1.3), gradient=(0, 1, 2, 3))
def hawkes(times, mu, alpha, beta):
    A, loglik = 0.0, np.log(mu)
    for i in range(1, len(times)):
        A = np.exp(-beta * (times[i] - times[i - 1])) * (1 + A)
        loglik += np.log(mu + alpha * A)
    return loglik - mu * times[-1]


@program(lambda a: (a.uniform(a.n), a.uniform(a.n)), gradient=(0, 1))
def queue_of_customers(gaps, services):
    arrival, free = 0.0, 0.0
    waits = []
    for gap, service in zip(gaps, services):
        arrival += gap
        start = max(arrival, free)
        waits.append(start - arrival)
        free = start + service
    return np.array(waits), free


@program(lambda a: (a.normal(a.n) * 50, 100.0, 0.001), gradient=(0, 1))
def bank_balance(flows, balance, rate):
    history = np.zeros(len(flows))
    fees = 0
    for month in range(len(flows)):
        balance = balance * (1 + rate) + flows[month]
        if balance < 0:
            balance -= 5.0
            fees += 5
        history[month] = balance
    return history, fees


@program(lambda a: (a.normal(a.n, 2),))
def random_walk_with_walls(noise):
    position = np.zeros(2)
    path = np.empty((len(noise) + 1, 2))
    path[0] = position
    hits = 0
    for i, step in enumerate(noise):
        position = position + step
        if np.any(np.abs(position) > 2):
            position = np.clip(position, -2, 2)
            hits += 1
        path[i + 1] = position
    return path, hits


@program(lambda a: (a.normal(a.n), 0.3), single=True, gradient=(0, 1))
def exponential_average_as_a_series(x, alpha):
    ema = [x[0]]
    for price in x[1:]:
        ema.append(alpha * price + (1 - alpha) * ema[-1])
    return np.array(ema)


@program(lambda a: (a.normal(a.n), a.uniform(a.n), 0.0))
def metropolis(proposals, uniforms, x):
    accepted = 0
    samples = np.zeros(len(proposals))
    for i in range(len(proposals)):
        candidate = x + proposals[i]
        if np.log(uniforms[i]) < 0.5 * (x**2 - candidate**2):
            x = candidate
            accepted += 1
        samples[i] = x
    return samples, accepted


@program(lambda a: (a.uniform(a.n), a.integers(4, a.n), a.uniform(a.n)))
def q_learning(rewards, visits, exploring):
    q = np.zeros((4, 2))
    state = 0
    for t in range(len(rewards)):
        action = np.argmax(q[state]) if exploring[t] > 0.3 else t % 2
        following = visits[t]
        q[state, action] += 0.1 * (rewards[t] + 0.9 * q[following].max() - q[state, action])
        state = following
    return q


@program(lambda a: (a.uniform(a.n, 3), np.ones(3) / 3), gradient=(0,), single=True)
def bayes_filter(likelihoods, belief):
    stay = 0.9 * np.eye(3, dtype=belief.dtype) + 0.1 / 3
    for likelihood in likelihoods:
        belief = likelihood * (stay.astype(belief.dtype) @ belief)
        belief = belief / belief.sum()
    return belief
