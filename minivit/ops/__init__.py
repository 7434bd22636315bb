"""Differentiable operations: one lesson a file, each with its forward and its hand-derived backward."""

from minivit.autograd import Tensor as _Tensor
from minivit.autograd.apply import set_tensor_namespace as _set_tensor_namespace
from minivit.ops.activations import leaky_relu, relu, sigmoid
from minivit.ops.arithmetic import add, divide, multiply, negative, power, subtract
from minivit.ops.attention import attention, qkv_attention
from minivit.ops.batch_norm import batch_norm
from minivit.ops.conv2d import conv2d
from minivit.ops.conv_transpose2d import conv_transpose2d
from minivit.ops.cross_entropy import cross_entropy
from minivit.ops.dropout import drop_path, dropout
from minivit.ops.elementwise import (
    absolute,
    astype,
    clip,
    cos,
    erf,
    exp,
    log,
    maximum,
    minimum,
    sin,
    sqrt,
    tanh,
    where,
)
from minivit.ops.embedding import embed_tokens, embedding
from minivit.ops.gelu import gelu
from minivit.ops.indexing import place, take
from minivit.ops.kl_divergence import kl_divergence
from minivit.ops.layer_norm import layer_norm
from minivit.ops.linear import linear
from minivit.ops.matmul import matmul
from minivit.ops.methods import attach as _attach
from minivit.ops.mlp import mlp
from minivit.ops.mse_loss import mse_loss
from minivit.ops.namespace import TensorNamespace as _TensorNamespace
from minivit.ops.patchify import patchify, unpatchify
from minivit.ops.pooling import avg_pool2d, max_pool2d
from minivit.ops.reductions import argmax, argmin, logsumexp, max, mean, min, sum, var
from minivit.ops.shaping import (
    broadcast_to,
    concatenate,
    expand_dims,
    flatten,
    pad,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
)
from minivit.ops.softmax import log_softmax, softmax
from minivit.ops.windows import fold, unfold

_attach(_Tensor)
_set_tensor_namespace(_TensorNamespace())

__all__ = [
    "absolute",
    "add",
    "argmax",
    "argmin",
    "astype",
    "attention",
    "avg_pool2d",
    "batch_norm",
    "broadcast_to",
    "clip",
    "concatenate",
    "conv2d",
    "conv_transpose2d",
    "cos",
    "cross_entropy",
    "divide",
    "drop_path",
    "dropout",
    "embed_tokens",
    "embedding",
    "erf",
    "exp",
    "expand_dims",
    "flatten",
    "fold",
    "gelu",
    "kl_divergence",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log",
    "log_softmax",
    "logsumexp",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mlp",
    "mse_loss",
    "multiply",
    "negative",
    "pad",
    "patchify",
    "place",
    "power",
    "qkv_attention",
    "relu",
    "reshape",
    "sigmoid",
    "sin",
    "softmax",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "subtract",
    "sum",
    "swapaxes",
    "take",
    "tanh",
    "transpose",
    "unfold",
    "unpatchify",
    "var",
    "where",
]
