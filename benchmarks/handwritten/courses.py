"""Recurrent networks in the manner of two well-known courses and of a well-known gist: functions, dicts of parameters, caches."""

from __future__ import annotations

import numpy as np

# A character model: lists of Python ints, dicts by step, all gradients by hand, Adagrad.


def loss_fun(inputs, targets, hprev, Wxh, Whh, Why, bh, by):
    vocab_size = Why.shape[0]
    xs, hs, ys, ps = {}, {}, {}, {}
    hs[-1] = np.copy(hprev)
    loss = 0
    for t in range(len(inputs)):
        xs[t] = np.zeros((vocab_size, 1))
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]) + bh)
        ys[t] = np.dot(Why, hs[t]) + by
        ps[t] = np.exp(ys[t]) / np.sum(np.exp(ys[t]))
        loss += -np.log(ps[t][targets[t], 0])
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby = np.zeros_like(bh), np.zeros_like(by)
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dWhy += np.dot(dy, hs[t].T)
        dby += dy
        dh = np.dot(Why.T, dy) + dhnext
        dhraw = (1 - hs[t] * hs[t]) * dh
        dbh += dhraw
        dWxh += np.dot(dhraw, xs[t].T)
        dWhh += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(Whh.T, dhraw)
    for dparam in [dWxh, dWhh, dWhy, dbh, dby]:
        np.clip(dparam, -5, 5, out=dparam)
    return loss, dWxh, dWhh, dWhy, dbh, dby, hs[len(inputs) - 1]


def character_parameters(sizes, random):
    h, v = sizes.hidden, sizes.vocabulary
    weights = [random.standard_normal(shape) * 0.01 for shape in ((h, v), (h, h), (v, h))]
    return [*weights, np.zeros((h, 1)), np.zeros((v, 1))]


def character_loss(sizes, random):
    inputs, targets = (random.integers(0, sizes.vocabulary, sizes.steps) for _ in range(2))
    return loss_fun, (inputs, targets, np.zeros((sizes.hidden, 1)), *character_parameters(sizes, random))


def train_step(inputs, targets, hprev, params, mem, smooth_loss, learning_rate):
    loss, *grads, hprev = loss_fun(inputs, targets, hprev, *params)
    smooth_loss = smooth_loss * 0.999 + loss * 0.001
    for param, dparam, m in zip(params, grads, mem):
        m += dparam * dparam
        param += -learning_rate * dparam / np.sqrt(m + 1e-8)
    return hprev, smooth_loss


def character_training(sizes, random):
    inputs, targets = (random.integers(0, sizes.vocabulary, sizes.steps) for _ in range(2))
    params = character_parameters(sizes, random)
    return train_step, (inputs, targets, np.zeros((sizes.hidden, 1)), params, [np.zeros_like(p) for p in params], 100.0, 0.1)


# Steps and sequences, [N, T, D], with caches in lists.


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    next_h = np.tanh(np.dot(x, Wx) + np.dot(prev_h, Wh) + b)
    cache = (x, Wx, Wh, prev_h, next_h)
    return next_h, cache


def rnn_step_backward(dnext_h, cache):
    x, Wx, Wh, prev_h, next_h = cache
    dtanh = dnext_h * (1 - next_h**2)
    return dtanh.dot(Wx.T), dtanh.dot(Wh.T), x.T.dot(dtanh), prev_h.T.dot(dtanh), dtanh.sum(axis=0)


def rnn_forward(x, h0, Wx, Wh, b):
    N, T, D = x.shape
    _, H = h0.shape
    h, cache = np.zeros((N, T, H)), []
    prev_h = h0
    for t in range(T):
        prev_h, c = rnn_step_forward(x[:, t, :], prev_h, Wx, Wh, b)
        h[:, t, :] = prev_h
        cache.append(c)
    return h, cache


def rnn_backward(dh, cache):
    N, T, H = dh.shape
    D = cache[0][0].shape[1]
    dx, dWx, dWh, db = np.zeros((N, T, D)), np.zeros((D, H)), np.zeros((H, H)), np.zeros(H)
    dprev_h = np.zeros((N, H))
    for t in reversed(range(T)):
        dx_t, dprev_h, dWx_t, dWh_t, db_t = rnn_step_backward(dh[:, t, :] + dprev_h, cache[t])
        dx[:, t, :] = dx_t
        dWx += dWx_t
        dWh += dWh_t
        db += db_t
    return dx, dprev_h, dWx, dWh, db


def sigmoid(x):
    pos_mask = x >= 0
    neg_mask = x < 0
    z = np.zeros_like(x)
    z[pos_mask] = np.exp(-x[pos_mask])
    z[neg_mask] = np.exp(x[neg_mask])
    top = np.ones_like(x)
    top[neg_mask] = z[neg_mask]
    return top / (1 + z)


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    H = prev_h.shape[1]
    a = x.dot(Wx) + prev_h.dot(Wh) + b
    i, f, o = sigmoid(a[:, :H]), sigmoid(a[:, H : 2 * H]), sigmoid(a[:, 2 * H : 3 * H])
    g = np.tanh(a[:, 3 * H :])
    next_c = f * prev_c + i * g
    tanh_c = np.tanh(next_c)
    next_h = o * tanh_c
    return next_h, next_c, (x, prev_h, prev_c, Wx, Wh, i, f, o, g, tanh_c)


def lstm_step_backward(dnext_h, dnext_c, cache):
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, tanh_c = cache
    dnext_c = dnext_c + dnext_h * o * (1 - tanh_c**2)
    di, df, do, dg = dnext_c * g, dnext_c * prev_c, dnext_h * tanh_c, dnext_c * i
    da = np.hstack((di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)))
    return da.dot(Wx.T), da.dot(Wh.T), dnext_c * f, x.T.dot(da), prev_h.T.dot(da), da.sum(axis=0)


def lstm_forward(x, h0, Wx, Wh, b):
    N, T, D = x.shape
    H = h0.shape[1]
    h, cache = np.zeros((N, T, H)), []
    prev_h, prev_c = h0, np.zeros((N, H))
    for t in range(T):
        prev_h, prev_c, c = lstm_step_forward(x[:, t, :], prev_h, prev_c, Wx, Wh, b)
        h[:, t, :] = prev_h
        cache.append(c)
    return h, cache


def lstm_backward(dh, cache):
    N, T, H = dh.shape
    D = cache[0][0].shape[1]
    dx, dWx, dWh, db = np.zeros((N, T, D)), np.zeros((D, 4 * H)), np.zeros((H, 4 * H)), np.zeros(4 * H)
    dprev_h, dprev_c = np.zeros((N, H)), np.zeros((N, H))
    for t in reversed(range(T)):
        dx_t, dprev_h, dprev_c, dWx_t, dWh_t, db_t = lstm_step_backward(dh[:, t, :] + dprev_h, dprev_c, cache[t])
        dx[:, t, :] = dx_t
        dWx += dWx_t
        dWh += dWh_t
        db += db_t
    return dx, dprev_h, dWx, dWh, db


def _sequence(sizes, random, gates):
    N, T, D, H, _ = sizes
    return [0.3 * random.standard_normal(shape) for shape in ((N, T, D), (N, H), (D, gates * H), (H, gates * H), (gates * H,))]


def rnn_forward_alone(sizes, random):
    return rnn_forward, tuple(_sequence(sizes, random, 1))


def rnn_backward_alone(sizes, random):
    h, cache = rnn_forward(*_sequence(sizes, random, 1))
    return rnn_backward, (random.standard_normal(h.shape), cache)


def lstm_forward_alone(sizes, random):
    return lstm_forward, tuple(_sequence(sizes, random, 4))


def lstm_backward_alone(sizes, random):
    h, cache = lstm_forward(*_sequence(sizes, random, 4))
    return lstm_backward, (random.standard_normal(h.shape), cache)


def lstm_both(x, h0, Wx, Wh, b, dh):
    h, cache = lstm_forward(x, h0, Wx, Wh, b)
    return h, lstm_backward(dh, cache)


def lstm_forward_and_backward(sizes, random):
    return lstm_both, (*_sequence(sizes, random, 4), random.standard_normal((sizes.batch, sizes.steps, sizes.hidden)))


# [n_x, m, T] with the time last, parameters and gradients in dicts, caches in a list of tuples.


def softmax(x):
    e_x = np.exp(x - np.max(x))
    return e_x / e_x.sum(axis=0)


def rnn_cell_forward(xt, a_prev, parameters):
    Wax, Waa, Wya = parameters["Wax"], parameters["Waa"], parameters["Wya"]
    ba, by = parameters["ba"], parameters["by"]
    a_next = np.tanh(np.dot(Waa, a_prev) + np.dot(Wax, xt) + ba)
    yt_pred = softmax(np.dot(Wya, a_next) + by)
    return a_next, yt_pred, (a_next, a_prev, xt, parameters)


def course_forward(x, a0, parameters):
    caches = []
    n_x, m, T_x = x.shape
    n_y, n_a = parameters["Wya"].shape
    a, y_pred = np.zeros((n_a, m, T_x)), np.zeros((n_y, m, T_x))
    a_next = a0
    for t in range(T_x):
        a_next, yt_pred, cache = rnn_cell_forward(x[:, :, t], a_next, parameters)
        a[:, :, t] = a_next
        y_pred[:, :, t] = yt_pred
        caches.append(cache)
    return a, y_pred, (caches, x)


def rnn_cell_backward(da_next, cache):
    a_next, a_prev, xt, parameters = cache
    Wax, Waa = parameters["Wax"], parameters["Waa"]
    dtanh = (1 - a_next**2) * da_next
    return {
        "dxt": np.dot(Wax.T, dtanh),
        "dWax": np.dot(dtanh, xt.T),
        "da_prev": np.dot(Waa.T, dtanh),
        "dWaa": np.dot(dtanh, a_prev.T),
        "dba": np.sum(dtanh, 1, keepdims=True),
    }


def course_backward(da, caches):
    caches, x = caches
    n_a, m, T_x = da.shape
    n_x, m = caches[0][2].shape
    dx, dWax, dWaa = np.zeros((n_x, m, T_x)), np.zeros((n_a, n_x)), np.zeros((n_a, n_a))
    dba, da_prevt = np.zeros((n_a, 1)), np.zeros((n_a, m))
    for t in reversed(range(T_x)):
        gradients = rnn_cell_backward(da[:, :, t] + da_prevt, caches[t])
        da_prevt = gradients["da_prev"]
        dx[:, :, t] = gradients["dxt"]
        dWax += gradients["dWax"]
        dWaa += gradients["dWaa"]
        dba += gradients["dba"]
    return {"dx": dx, "da0": da_prevt, "dWax": dWax, "dWaa": dWaa, "dba": dba}


def _course(sizes, random):
    N, T, D, H, V = sizes
    shapes = {"Wax": (H, D), "Waa": (H, H), "Wya": (V, H), "ba": (H, 1), "by": (V, 1)}
    parameters = {name: 0.1 * random.standard_normal(shape) for name, shape in shapes.items()}
    return random.standard_normal((D, N, T)), random.standard_normal((H, N)), parameters


def course_forward_alone(sizes, random):
    return course_forward, _course(sizes, random)


def course_backward_alone(sizes, random):
    a, _, caches = course_forward(*_course(sizes, random))
    return course_backward, (random.standard_normal(a.shape), caches)


def course_both(x, a0, parameters, da):
    a, y, caches = course_forward(x, a0, parameters)
    return a, y, course_backward(da, caches)


def course_forward_and_backward(sizes, random):
    return course_both, (*_course(sizes, random), random.standard_normal((sizes.hidden, sizes.batch, sizes.steps)))


# One row of inputs and states side by side for each step, gates in buffers: everything preallocated, and views of it stored into.


def batched_forward(X, WLSTM, c0, h0):
    n, b, input_size = X.shape
    d = WLSTM.shape[1] // 4
    xphpb = WLSTM.shape[0]
    Hin, Hout = np.zeros((n, b, xphpb)), np.zeros((n, b, d))
    IFOG, IFOGf = np.zeros((n, b, d * 4)), np.zeros((n, b, d * 4))
    C, Ct = np.zeros((n, b, d)), np.zeros((n, b, d))
    for t in range(n):
        prevh = Hout[t - 1] if t > 0 else h0
        Hin[t, :, 0] = 1
        Hin[t, :, 1 : input_size + 1] = X[t]
        Hin[t, :, input_size + 1 :] = prevh
        IFOG[t] = Hin[t].dot(WLSTM)
        IFOGf[t, :, : 3 * d] = 1.0 / (1.0 + np.exp(-IFOG[t, :, : 3 * d]))
        IFOGf[t, :, 3 * d :] = np.tanh(IFOG[t, :, 3 * d :])
        prevc = C[t - 1] if t > 0 else c0
        C[t] = IFOGf[t, :, :d] * IFOGf[t, :, 3 * d :] + IFOGf[t, :, d : 2 * d] * prevc
        Ct[t] = np.tanh(C[t])
        Hout[t] = IFOGf[t, :, 2 * d : 3 * d] * Ct[t]
    cache = {"WLSTM": WLSTM, "Hout": Hout, "IFOGf": IFOGf, "C": C, "Ct": Ct, "Hin": Hin, "c0": c0}
    return Hout, C[n - 1], Hout[n - 1], cache


def batched_backward(dHout_in, cache):
    WLSTM, Hout, IFOGf, C, Ct, Hin, c0 = (cache[key] for key in ("WLSTM", "Hout", "IFOGf", "C", "Ct", "Hin", "c0"))
    n, b, d = Hout.shape
    input_size = WLSTM.shape[0] - d - 1
    dIFOG, dIFOGf = np.zeros(IFOGf.shape), np.zeros(IFOGf.shape)
    dWLSTM, dHin, dC = np.zeros(WLSTM.shape), np.zeros(Hin.shape), np.zeros(C.shape)
    dX, dh0, dc0 = np.zeros((n, b, input_size)), np.zeros((b, d)), np.zeros((b, d))
    dHout = dHout_in.copy()
    for t in reversed(range(n)):
        tanhCt = Ct[t]
        dIFOGf[t, :, 2 * d : 3 * d] = tanhCt * dHout[t]
        dC[t] += (1 - tanhCt**2) * (IFOGf[t, :, 2 * d : 3 * d] * dHout[t])
        if t > 0:
            dIFOGf[t, :, d : 2 * d] = C[t - 1] * dC[t]
            dC[t - 1] += IFOGf[t, :, d : 2 * d] * dC[t]
        else:
            dIFOGf[t, :, d : 2 * d] = c0 * dC[t]
            dc0 = IFOGf[t, :, d : 2 * d] * dC[t]
        dIFOGf[t, :, :d] = IFOGf[t, :, 3 * d :] * dC[t]
        dIFOGf[t, :, 3 * d :] = IFOGf[t, :, :d] * dC[t]
        dIFOG[t, :, 3 * d :] = (1 - IFOGf[t, :, 3 * d :] ** 2) * dIFOGf[t, :, 3 * d :]
        y = IFOGf[t, :, : 3 * d]
        dIFOG[t, :, : 3 * d] = (y * (1.0 - y)) * dIFOGf[t, :, : 3 * d]
        dWLSTM += np.dot(Hin[t].transpose(), dIFOG[t])
        dHin[t] = dIFOG[t].dot(WLSTM.transpose())
        dX[t] = dHin[t, :, 1 : input_size + 1]
        if t > 0:
            dHout[t - 1, :] += dHin[t, :, input_size + 1 :]
        else:
            dh0 += dHin[t, :, input_size + 1 :]
    return dX, dWLSTM, dc0, dh0


def _batched(sizes, random):
    N, T, D, H, _ = sizes
    return [0.1 * random.standard_normal(shape) for shape in ((T, N, D), (D + H + 1, 4 * H), (N, H), (N, H))]


def batched_forward_alone(sizes, random):
    return batched_forward, tuple(_batched(sizes, random))


def batched_backward_alone(sizes, random):
    h, _, _, cache = batched_forward(*_batched(sizes, random))
    return batched_backward, (random.standard_normal(h.shape), cache)


PROGRAMS = {
    "character RNN: loss and gradients": character_loss,
    "character RNN: training step": character_training,
    "RNN forward: caches in a list": rnn_forward_alone,
    "RNN backward over a list of caches": rnn_backward_alone,
    "LSTM forward: masked sigmoid": lstm_forward_alone,
    "LSTM backward over a list of caches": lstm_backward_alone,
    "LSTM forward and backward": lstm_forward_and_backward,
    "RNN forward: time last": course_forward_alone,
    "RNN backward: time last": course_backward_alone,
    "RNN forward and backward: time last": course_forward_and_backward,
    "batched LSTM forward: buffers": batched_forward_alone,
    "batched LSTM backward: buffers": batched_backward_alone,
}
