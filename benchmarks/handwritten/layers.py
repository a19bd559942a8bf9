"""Layers with `forward`, `backward` and a cache, and networks of objects in lists."""

from __future__ import annotations

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class RNN:
    def __init__(self, Wx, Wh, b):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)]
        self.cache = None

    def forward(self, x, h_prev):
        Wx, Wh, b = self.params
        h_next = np.tanh(np.dot(h_prev, Wh) + np.dot(x, Wx) + b)
        self.cache = (x, h_prev, h_next)
        return h_next

    def backward(self, dh_next):
        Wx, Wh, b = self.params
        x, h_prev, h_next = self.cache
        dt = dh_next * (1 - h_next**2)
        self.grads[0][...] = np.dot(x.T, dt)
        self.grads[1][...] = np.dot(h_prev.T, dt)
        self.grads[2][...] = np.sum(dt, axis=0)
        return np.dot(dt, Wx.T), np.dot(dt, Wh.T)


class LSTM:
    def __init__(self, Wx, Wh, b):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)]
        self.cache = None

    def forward(self, x, h_prev, c_prev):
        Wx, Wh, b = self.params
        N, H = h_prev.shape
        A = np.dot(x, Wx) + np.dot(h_prev, Wh) + b
        f, g, i, o = sigmoid(A[:, :H]), np.tanh(A[:, H : 2 * H]), sigmoid(A[:, 2 * H : 3 * H]), sigmoid(A[:, 3 * H :])
        c_next = f * c_prev + g * i
        h_next = o * np.tanh(c_next)
        self.cache = (x, h_prev, c_prev, i, f, g, o, c_next)
        return h_next, c_next

    def backward(self, dh_next, dc_next):
        Wx, Wh, b = self.params
        x, h_prev, c_prev, i, f, g, o, c_next = self.cache
        tanh_c_next = np.tanh(c_next)
        ds = dc_next + (dh_next * o) * (1 - tanh_c_next**2)
        dc_prev = ds * f
        di, df, do, dg = ds * g, ds * c_prev, dh_next * tanh_c_next, ds * i
        dA = np.hstack((df * f * (1 - f), dg * (1 - g**2), di * i * (1 - i), do * o * (1 - o)))
        self.grads[0][...] = np.dot(x.T, dA)
        self.grads[1][...] = np.dot(h_prev.T, dA)
        self.grads[2][...] = dA.sum(axis=0)
        return np.dot(dA, Wx.T), np.dot(dA, Wh.T), dc_prev


class GRU:
    def __init__(self, Wx, Wh, b):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)]
        self.cache = None

    def forward(self, x, h_prev):
        Wx, Wh, b = self.params
        H = Wh.shape[0]
        Wxz, Wxr, Wxh = Wx[:, :H], Wx[:, H : 2 * H], Wx[:, 2 * H :]
        Whz, Whr, Whh = Wh[:, :H], Wh[:, H : 2 * H], Wh[:, 2 * H :]
        z = sigmoid(np.dot(x, Wxz) + np.dot(h_prev, Whz) + b[:H])
        r = sigmoid(np.dot(x, Wxr) + np.dot(h_prev, Whr) + b[H : 2 * H])
        h_hat = np.tanh(np.dot(x, Wxh) + np.dot(r * h_prev, Whh) + b[2 * H :])
        self.cache = (x, h_prev, z, r, h_hat)
        return (1 - z) * h_prev + z * h_hat

    def backward(self, dh_next):
        Wx, Wh, b = self.params
        H = Wh.shape[0]
        Wxz, Wxr, Wxh = Wx[:, :H], Wx[:, H : 2 * H], Wx[:, 2 * H :]
        Whz, Whr, Whh = Wh[:, :H], Wh[:, H : 2 * H], Wh[:, 2 * H :]
        x, h_prev, z, r, h_hat = self.cache
        dh_hat = dh_next * z
        dh_prev = dh_next * (1 - z)
        dt = dh_hat * (1 - h_hat**2)
        dbh = np.sum(dt, axis=0)
        dWhh = np.dot((r * h_prev).T, dt)
        dhr = np.dot(dt, Whh.T)
        dWxh = np.dot(x.T, dt)
        dx = np.dot(dt, Wxh.T)
        dh_prev += r * dhr
        dz = dh_next * h_hat - dh_next * h_prev
        dt = dz * z * (1 - z)
        dbz, dWhz, dWxz = np.sum(dt, axis=0), np.dot(h_prev.T, dt), np.dot(x.T, dt)
        dh_prev += np.dot(dt, Whz.T)
        dx += np.dot(dt, Wxz.T)
        dr = dhr * h_prev
        dt = dr * r * (1 - r)
        dbr, dWhr, dWxr = np.sum(dt, axis=0), np.dot(h_prev.T, dt), np.dot(x.T, dt)
        dh_prev += np.dot(dt, Whr.T)
        dx += np.dot(dt, Wxr.T)
        self.grads[0][...] = np.hstack((dWxz, dWxr, dWxh))
        self.grads[1][...] = np.hstack((dWhz, dWhr, dWhh))
        self.grads[2][...] = np.hstack((dbz, dbr, dbh))
        return dx, dh_prev


class Time:
    """A layer over time, [N, T, D], its own state kept between calls or not."""

    def __init__(self, layer, Wx, Wh, b, stateful=False):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)]
        self.kind, self.layers = layer, None
        self.h, self.c, self.dh = None, None, None
        self.stateful = stateful

    def forward(self, xs):
        Wx, Wh, b = self.params
        N, T, D = xs.shape
        H = Wh.shape[0]
        self.layers = []
        hs = np.empty((N, T, H))
        if not self.stateful or self.h is None:
            self.h = np.zeros((N, H))
        if not self.stateful or self.c is None:
            self.c = np.zeros((N, H))
        for t in range(T):
            layer = self.kind(*self.params)
            if self.kind is LSTM:
                self.h, self.c = layer.forward(xs[:, t, :], self.h, self.c)
            else:
                self.h = layer.forward(xs[:, t, :], self.h)
            hs[:, t, :] = self.h
            self.layers.append(layer)
        return hs

    def backward(self, dhs):
        Wx, Wh, b = self.params
        N, T, H = dhs.shape
        D = Wx.shape[0]
        dxs = np.empty((N, T, D))
        dh, dc = 0, 0
        grads = [0, 0, 0]
        for t in reversed(range(T)):
            layer = self.layers[t]
            if self.kind is LSTM:
                dx, dh, dc = layer.backward(dhs[:, t, :] + dh, dc)
            else:
                dx, dh = layer.backward(dhs[:, t, :] + dh)
            dxs[:, t, :] = dx
            for i, grad in enumerate(layer.grads):
                grads[i] += grad
        for i, grad in enumerate(grads):
            self.grads[i][...] = grad
        self.dh = dh
        return dxs

    def step(self, xs, dhs):
        self.forward(xs)
        dxs = self.backward(dhs)
        for param, grad in zip(self.params, self.grads):
            param -= 0.01 * grad
        return dxs


def _time(layer, gates, stateful):
    def make(sizes, random):
        N, T, D, H, _ = sizes
        weights = [0.1 * random.standard_normal(shape) for shape in ((D, gates * H), (H, gates * H), (gates * H,))]
        made = Time(layer, *weights, stateful)
        return made.step, (random.standard_normal((N, T, D)), random.standard_normal((N, T, H)))

    return make


# One sample at a time; the state of each step is an object in a list.


class LstmParam:
    def __init__(self, mem_cell_ct, x_dim, random):
        self.mem_cell_ct, self.x_dim = mem_cell_ct, x_dim
        concat_len = x_dim + mem_cell_ct
        for gate in "gifo":
            setattr(self, "w" + gate, random.uniform(-0.1, 0.1, (mem_cell_ct, concat_len)))
            setattr(self, "b" + gate, random.uniform(-0.1, 0.1, mem_cell_ct))
            setattr(self, f"w{gate}_diff", np.zeros((mem_cell_ct, concat_len)))
            setattr(self, f"b{gate}_diff", np.zeros(mem_cell_ct))

    def apply_diff(self, lr=1):
        for gate in "gifo":
            for kind in "wb":
                name = kind + gate
                setattr(self, name, getattr(self, name) - lr * getattr(self, name + "_diff"))
                setattr(self, name + "_diff", np.zeros_like(getattr(self, name)))


class LstmState:
    def __init__(self, mem_cell_ct, x_dim):
        self.g, self.i, self.f, self.o = (np.zeros(mem_cell_ct) for _ in range(4))
        self.s, self.h = np.zeros(mem_cell_ct), np.zeros(mem_cell_ct)
        self.bottom_diff_h, self.bottom_diff_s = np.zeros_like(self.h), np.zeros_like(self.s)


class LstmNode:
    def __init__(self, lstm_param, lstm_state):
        self.state, self.param = lstm_state, lstm_param
        self.xc = None

    def bottom_data_is(self, x, s_prev=None, h_prev=None):
        if s_prev is None:
            s_prev = np.zeros_like(self.state.s)
        if h_prev is None:
            h_prev = np.zeros_like(self.state.h)
        self.s_prev, self.h_prev = s_prev, h_prev
        xc = np.hstack((x, h_prev))
        self.state.g = np.tanh(np.dot(self.param.wg, xc) + self.param.bg)
        self.state.i = sigmoid(np.dot(self.param.wi, xc) + self.param.bi)
        self.state.f = sigmoid(np.dot(self.param.wf, xc) + self.param.bf)
        self.state.o = sigmoid(np.dot(self.param.wo, xc) + self.param.bo)
        self.state.s = self.state.g * self.state.i + s_prev * self.state.f
        self.state.h = self.state.s * self.state.o
        self.xc = xc

    def top_diff_is(self, top_diff_h, top_diff_s):
        ds = self.state.o * top_diff_h + top_diff_s
        do = self.state.s * top_diff_h
        di, dg, df = self.state.g * ds, self.state.i * ds, self.s_prev * ds
        di_input = (1.0 - self.state.i) * self.state.i * di
        df_input = (1.0 - self.state.f) * self.state.f * df
        do_input = (1.0 - self.state.o) * self.state.o * do
        dg_input = (1.0 - self.state.g**2) * dg
        self.param.wi_diff += np.outer(di_input, self.xc)
        self.param.wf_diff += np.outer(df_input, self.xc)
        self.param.wo_diff += np.outer(do_input, self.xc)
        self.param.wg_diff += np.outer(dg_input, self.xc)
        self.param.bi_diff += di_input
        self.param.bf_diff += df_input
        self.param.bo_diff += do_input
        self.param.bg_diff += dg_input
        dxc = np.zeros_like(self.xc)
        dxc += np.dot(self.param.wi.T, di_input)
        dxc += np.dot(self.param.wf.T, df_input)
        dxc += np.dot(self.param.wo.T, do_input)
        dxc += np.dot(self.param.wg.T, dg_input)
        self.state.bottom_diff_s = ds * self.state.f
        self.state.bottom_diff_h = dxc[self.param.x_dim :]


class LstmNetwork:
    def __init__(self, lstm_param):
        self.lstm_param = lstm_param
        self.lstm_node_list = []
        self.x_list = []

    def y_list_is(self, y_list):
        idx = len(self.x_list) - 1
        pred = self.lstm_node_list[idx].state.h
        loss = (pred[0] - y_list[idx]) ** 2
        diff_h = np.zeros_like(pred)
        diff_h[0] = 2 * (pred[0] - y_list[idx])
        self.lstm_node_list[idx].top_diff_is(diff_h, np.zeros(self.lstm_param.mem_cell_ct))
        idx -= 1
        while idx >= 0:
            node = self.lstm_node_list[idx]
            loss += (node.state.h[0] - y_list[idx]) ** 2
            diff_h = np.zeros_like(node.state.h)
            diff_h[0] = 2 * (node.state.h[0] - y_list[idx])
            diff_h += self.lstm_node_list[idx + 1].state.bottom_diff_h
            node.top_diff_is(diff_h, self.lstm_node_list[idx + 1].state.bottom_diff_s)
            idx -= 1
        return loss

    def x_list_add(self, x):
        self.x_list.append(x)
        if len(self.x_list) > len(self.lstm_node_list):
            lstm_state = LstmState(self.lstm_param.mem_cell_ct, self.lstm_param.x_dim)
            self.lstm_node_list.append(LstmNode(self.lstm_param, lstm_state))
        idx = len(self.x_list) - 1
        if idx == 0:
            self.lstm_node_list[idx].bottom_data_is(x)
        else:
            before = self.lstm_node_list[idx - 1].state
            self.lstm_node_list[idx].bottom_data_is(x, before.s, before.h)

    def train(self, xs, ys):
        self.x_list = []
        for x in xs:
            self.x_list_add(x)
        loss = self.y_list_is(ys)
        self.lstm_param.apply_diff(lr=0.1)
        return loss


def states_in_a_list(sizes, random):
    network = LstmNetwork(LstmParam(sizes.hidden, sizes.inputs, random))
    return network.train, (random.standard_normal((sizes.steps, sizes.inputs)), random.uniform(-1, 1, sizes.steps))


PROGRAMS = {
    "layers over time: RNN": _time(RNN, 1, False),
    "layers over time: LSTM": _time(LSTM, 4, True),
    "layers over time: GRU": _time(GRU, 3, False),
    "states that are objects in a list": states_in_a_list,
}
