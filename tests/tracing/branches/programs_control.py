"""Simulation and control: neurons that spike, controllers that saturate, agents, queues and walks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.tracing.branches.corpus import method, program

_random = np.random.default_rng(4)


def uniform(*shape):
    return _random.uniform(size=shape)


@program((np.full(20, 1.5), 3), (np.full(20, 0.2), 0), (3 * uniform(20), 1))
def integrate_and_fire(current, refractory):
    v, wait = -65.0, 0
    spikes = np.zeros(len(current), dtype=bool)
    trace = np.empty(len(current))
    for t in range(len(current)):
        if wait > 0:
            wait -= 1
        else:
            v += 0.5 * (-65.0 - v) + 10 * current[t]
            if v >= -50.0:
                spikes[t] = True
                v = -70.0
                wait = refractory
        trace[t] = v
    return spikes, trace


@method("step", (np.full(3, 5.0),), (np.array([9.0, 0.0, 30.0]),), (np.array([0.0, 20.0, 0.0]),), (np.zeros(3),))
class Layer:
    """Neurons one by one, each with a state of its own."""

    def __init__(self):
        self.v = np.zeros(3)
        self.spikes = 0

    def step(self, current):
        out = np.zeros(3)
        for k in range(3):
            self.v[k] = 0.9 * self.v[k] + current[k]
            if self.v[k] > 10:
                self.v[k] = 0
                out[k] = 1
                self.spikes += 1
        return out


@program((np.full(25, 10.0), 0.02, 0.2, -65.0, 8.0), (np.full(25, 25.0), 0.1, 0.2, -50.0, 2.0))
def izhikevich(current, a, b, c, d):
    v, u = -65.0, b * -65.0
    fired = []
    for i in current:
        if v >= 30:
            v = c
            u = u + d
            fired.append(1)
        else:
            fired.append(0)
        v = v + 0.5 * (0.04 * v**2 + 5 * v + 140 - u + i)
        v = v + 0.5 * (0.04 * v**2 + 5 * v + 140 - u + i)
        u = u + a * (b * v - u)
    return np.array(fired), v


@method("update", (1.0,), (9.0,), (10.0,), (-20.0,), (0.1,), (-30.0,), made=(2.0, 0.5, 0.1))
class PID:
    """The integral only grows while the output does not saturate."""

    def __init__(self, kp, ki, kd):
        self.kp, self.ki, self.kd = kp, ki, kd
        self.integral = 0.0
        self.previous = None

    def update(self, error):
        derivative = 0.0 if self.previous is None else error - self.previous
        self.previous = error
        output = self.kp * error + self.ki * (self.integral + error) + self.kd * derivative
        if output > 10.0:
            return 10.0
        if output < -10.0:
            return -10.0
        self.integral += error
        return output


@program((5.0, 0.0, 0.8), (0.0, 0.0, 0.5), (1.0, 9.0, 0.2))
def bouncing_ball(height, speed, restitution):
    bounces = 0
    heights = np.zeros(20)
    for t in range(20):
        speed -= 9.81 * 0.1
        height += speed * 0.1
        if height < 0:
            height = 0.0
            speed = -speed * restitution
            bounces += 1
            if abs(speed) < 0.5:
                speed = 0.0
        heights[t] = height
    return heights, bounces


@program((np.array([0, 1, 1, 3, 0, 0, 2, 0]), 2), (np.array([5, 0, 0, 0, 0, 0, 0, 0]), 2), (np.zeros(8, dtype=int), 1))
def queue(arrivals, served):
    waiting, lost, idle = 0, 0, 0
    longest = 0
    for n in arrivals:
        waiting += n
        if waiting > 4:
            lost += waiting - 4
            waiting = 4
        if waiting == 0:
            idle += 1
        elif waiting < served:
            waiting = 0
        else:
            waiting -= served
        longest = max(longest, waiting)
    return waiting, lost, idle, longest


@program((0.01, 0.9, 0.1), (0.3, 0.2, 0.2), (0.001, 0.2, 0.3))
def epidemic(infected, beta, gamma):
    """A lockdown above one threshold, until it is below another; ends when hardly anybody is ill."""
    s, i, locked = 1 - infected, infected, False
    days_locked = 0
    curve = np.zeros(30)
    for day in range(30):
        if not locked and i > 0.1:
            locked = True
        elif locked and i < 0.05:
            locked = False
        rate = beta * 0.2 if locked else beta
        if locked:
            days_locked += 1
        new = rate * s * i
        s, i = s - new, i + new - gamma * i
        curve[day] = i
        if i < 1e-4:
            break
    return curve, days_locked


@program((uniform(5, 5) > 0.5,), (np.zeros((5, 5), dtype=bool),))
def game_of_life(cells):
    grid = cells.astype(int)
    for _ in range(2):
        new = grid.copy()
        for i in range(5):
            for j in range(5):
                around = grid[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].sum() - grid[i, j]
                if grid[i, j] == 1 and (around < 2 or around > 3):
                    new[i, j] = 0
                elif grid[i, j] == 0 and around == 3:
                    new[i, j] = 1
        grid = new
    return grid


@program((np.array([0, 0, 0, 1, 0, 0, 0, 0]), 30), (np.array([1, 0, 1, 1, 0, 1, 0, 0]), 110))
def cellular_automaton(cells, rule):
    for _ in range(3):
        new = np.zeros_like(cells)
        for i in range(len(cells)):
            code = 4 * cells[i - 1] + 2 * cells[i] + cells[(i + 1) % len(cells)]
            if (rule >> code) & 1:
                new[i] = 1
        cells = new
    return cells


@program((np.array([1.0, 3.0, 2.0]), 0.05, 0.9), (np.array([1.0, 3.0, 2.0]), 0.5, 0.4), (np.array([7.0, 3.0, 2.0]), 0.5, 0.99))
def epsilon_greedy(q, u, v):
    if u < 0.1:
        action = int(v * len(q))
    else:
        action = int(np.argmax(q))
    reward = 1.0 if action == 0 else -0.5
    q[action] += 0.1 * (reward - q[action])
    return action, q


@program((uniform(20), uniform(20), 2), (np.full(20, 0.9), uniform(20), 0), (np.full(20, 0.05), np.full(20, 0.2), 3))
def q_learning(explore, choices, start):
    """A corridor of five places; the last one pays and ends the episode."""
    q = np.zeros((5, 2))
    state, episodes = start, 0
    for t in range(len(explore)):
        if explore[t] < 0.3:
            action = 1 if choices[t] < 0.5 else 0
        else:
            action = 0 if q[state, 0] > q[state, 1] else 1
        following = min(state + 1, 4) if action == 1 else max(state - 1, 0)
        done = following == 4
        reward = 1.0 if done else -0.01
        target = reward if done else reward + 0.9 * q[following].max()
        q[state, action] += 0.5 * (target - q[state, action])
        if done:
            state = start
            episodes += 1
        else:
            state = following
    return q, episodes


@program((uniform(25), 2), (np.full(25, 0.9), 0), (np.full(25, 0.1), 1))
def walk_with_barriers(u, position):
    """Reflected at the left; ends at the right."""
    steps = 0
    for draw in u:
        steps += 1
        position += 1 if draw < 0.5 else -1
        if position < 0:
            position = 1
        if position == 5:
            break
    return position, steps


@program((_random.standard_normal(15), uniform(15), 0.0), (5 * _random.standard_normal(15), uniform(15), 4.0))
def metropolis(proposals, uniforms, x):
    log_p = lambda z: -0.5 * z * z
    samples = np.zeros(len(proposals))
    accepted = 0
    for t in range(len(proposals)):
        candidate = x + proposals[t]
        if np.log(uniforms[t]) < log_p(candidate) - log_p(x):
            x = candidate
            accepted += 1
        samples[t] = x
    return samples, accepted


@dataclass
class Particle:
    x: np.ndarray
    v: np.ndarray


@program(
    (Particle(np.array([0.1, 0.9]), np.array([-0.3, 0.4])), 12),
    (Particle(np.array([0.5, 0.5]), np.array([0.05, 0.01])), 12),
)
def box_of_walls(p, _):
    hits = 0
    for _ in range(6):
        p.x = p.x + p.v
        for axis in range(2):
            if p.x[axis] < 0:
                p.x[axis] = -p.x[axis]
                p.v[axis] = -p.v[axis]
                hits += 1
            elif p.x[axis] > 1:
                p.x[axis] = 2 - p.x[axis]
                p.v[axis] *= -1
                hits += 1
    return p.x, hits


@program((uniform(4, 2), 0.2 * uniform(4, 2) - 0.1), (np.array([[0.0, 0.0], [0.05, 0.0], [1.0, 1.0], [2.0, 2.0]]), np.eye(4, 2)))
def collisions(position, velocity):
    """Two that are near and come nearer exchange velocities."""
    count = 0
    for i in range(4):
        for j in range(i + 1, 4):
            d = position[i] - position[j]
            if d @ d < 0.25:
                if d @ (velocity[i] - velocity[j]) >= 0:
                    continue
                velocity[i], velocity[j] = velocity[j].copy(), velocity[i].copy()
                count += 1
    return position + 0.1 * velocity, count


@program((18.0, np.array([15.0, 15.0, 30.0, 30.0] * 3)), (25.0, np.full(12, 10.0)))
def thermostat(temperature, outside):
    heating = False
    switched = 0
    course = []
    for o in outside:
        before = heating
        heating = temperature < 19 or (heating and temperature < 21)
        if heating != before:
            switched += 1
        temperature += 0.2 * (o - temperature) + (1.5 if heating else 0.0)
        course.append(temperature)
    return np.array(course), switched


@method("step", (0.2, True), (0.5, False), (1.5, True), (3.0, True), (0.0, False), (0.7, True), (0.1, True), (0.2, True))
class TrafficLight:
    RED, GREEN, YELLOW = 0, 1, 2

    def __init__(self):
        self.phase = self.RED
        self.time = 0.0
        self.passed = 0

    def step(self, seconds, waiting):
        self.time += seconds
        if self.phase == self.RED:
            if waiting and self.time > 0.6:
                self.phase, self.time = self.GREEN, 0.0
        elif self.phase == self.GREEN:
            self.passed += 1
            if self.time > 1.0:
                self.phase, self.time = self.YELLOW, 0.0
        else:
            self.phase, self.time = self.RED, 0.0
        return self.phase


@method("update", (np.array([1.0, 2.0]),), (np.array([50.0, 2.0]),), (np.array([np.nan, 2.0]),), (np.array([1.1, 2.1]),))
class Kalman:
    """Measurements that are missing or too far off only let the uncertainty grow."""

    def __init__(self):
        self.x, self.P = np.zeros(2), np.eye(2)
        self.rejected = 0

    def update(self, z):
        self.P = self.P + 0.1 * np.eye(2)
        if np.isnan(z).any():
            return self.x
        y = z - self.x
        S = self.P + 0.5 * np.eye(2)
        if y @ np.linalg.solve(S, y) > 20:
            self.rejected += 1
            return self.x
        K = np.linalg.solve(S, self.P)
        self.x = self.x + K @ y
        self.P = self.P - K @ self.P
        return self.x


@program((10.0, 2.0, 5.0), (1.0, 0.0, 0.0), (10.0, 2.0, 0.1), (9.0, -4.0, 2.0), (4.0, 0.005, 2.0), gradient=(0, 1))
def stick_slip(force, speed, mass):
    """Friction of a block: it sticks, or it slips one way or the other."""
    for _ in range(3):
        if mass < 1:
            mass = mass + 1
        if abs(speed) < 0.01 and abs(force) < 3:
            friction = -force
        elif speed > 0:
            friction = -2.0 - 0.1 * speed
        else:
            friction = 2.0 - 0.1 * speed
        speed = speed + 0.1 * (force + friction) / mass
    return speed


@program((uniform(12), 100.0), (-uniform(12) * 0.1, 100.0), (np.array([0.3, -0.5, -0.4, 0.1] * 3), 50.0))
def trading(returns, cash):
    """Buys after a rise, sells at a loss or a gain, pays for each."""
    held, entry, trades = 0.0, 0.0, 0
    price = 10.0
    for r in returns:
        price *= 1 + 0.1 * r
        if held == 0:
            if r > 0:
                held, entry, cash = cash / price, price, 0.0
                trades += 1
        elif price < 0.97 * entry or price > 1.1 * entry:
            cash = held * price * 0.999
            held = 0.0
            trades += 1
    return cash + held * price, trades


@program(
    (np.array([2.0, -0.1]), np.array([0.0, 0.3])),
    (np.array([-1.0, 0.1]), np.array([2.0, 0.0])),
    (np.array([0.1, 0.0]), np.zeros(2)),
    (np.array([0.1, 3.0]), np.zeros(2)),
)
def pendulum_swing_up(state, limits):
    """Energy control far from the top, linear control near it; the torque saturates."""
    theta, omega = state[0], state[1]
    used = 0
    for _ in range(10):
        energy = 0.5 * omega**2 + np.cos(theta) - 1
        if abs(theta) < 0.6 and abs(omega) < 2:
            torque = -5 * theta - 2 * omega
            used += 1
        else:
            torque = -2 * energy * (1.0 if omega > 0 else -1.0)
        if not -1.5 < torque < 1.5:
            torque = np.sign(torque) * 1.5
        omega += 0.1 * (np.sin(theta) + torque) + limits[0] * 0.01
        theta += 0.1 * omega + limits[1] * 0.01
    return np.array([theta, omega]), used
