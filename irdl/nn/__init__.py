"""Layers, cells, losses and initial values: written with irdl's public names and NumPy, with PyTorch's names and parameters."""

from irdl.nn import functional, init
from irdl.nn.attention import MultiheadAttention
from irdl.nn.cells import Cell, CoupledLSTMCell, GRUCell, LayerNormLSTMCell, LSTMCell, MinGRUCell, PeepholeLSTMCell, RNNCell
from irdl.nn.convolution import AvgPool2d, Conv1d, Conv2d, MaxPool2d
from irdl.nn.functional import one_hot
from irdl.nn.init import manual_seed
from irdl.nn.layers import (
    GELU,
    Dropout,
    Embedding,
    Flatten,
    Identity,
    Linear,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from irdl.nn.losses import binary_cross_entropy_with_logits, ctc, mse, nll, softmax_cross_entropy
from irdl.nn.module import Module
from irdl.nn.normalization import BatchNorm1d, BatchNorm2d, LayerNorm, LayerNorm1d, RMSNorm
from irdl.nn.recurrent import GRU, LSTM, RNN, Recurrent
from irdl.nn.saving import load, load_checkpoint, save, save_checkpoint
from irdl.nn.seq2seq import Seq2Seq

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Cell",
    "Conv1d",
    "Conv2d",
    "CoupledLSTMCell",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "Identity",
    "LSTMCell",
    "LayerNorm",
    "LayerNorm1d",
    "LayerNormLSTMCell",
    "Linear",
    "MaxPool2d",
    "MinGRUCell",
    "Module",
    "MultiheadAttention",
    "PeepholeLSTMCell",
    "RMSNorm",
    "RNNCell",
    "ReLU",
    "Recurrent",
    "Residual",
    "Seq2Seq",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "binary_cross_entropy_with_logits",
    "ctc",
    "functional",
    "init",
    "load",
    "load_checkpoint",
    "manual_seed",
    "mse",
    "nll",
    "one_hot",
    "save",
    "save_checkpoint",
    "softmax_cross_entropy",
]
