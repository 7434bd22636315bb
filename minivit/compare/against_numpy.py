"""Every op as a plain NumPy transcription of its formula: no care for speed, overflow or gradients.

Where ours is one clever movement of memory or one matrix product, here it is the loop that the formula describes.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

exp, log, sqrt, sin, cos, tanh = np.exp, np.log, np.sqrt, np.sin, np.cos, np.tanh
absolute, maximum, minimum, where = np.absolute, np.maximum, np.minimum, np.where
add, subtract, multiply, divide, negative, matmul = np.add, np.subtract, np.multiply, np.divide, np.negative, np.matmul
sum, mean, max, min = np.sum, np.mean, np.max, np.min
reshape, transpose, swapaxes, broadcast_to = np.reshape, np.transpose, np.swapaxes, np.broadcast_to
expand_dims, squeeze = np.expand_dims, np.squeeze


def erf(x: Any) -> Any:
    return np.array([math.erf(value) for value in x.flat]).reshape(x.shape)


def clip(x: Any, low: float = -np.inf, high: float = np.inf) -> Any:
    return np.clip(x, low, high)


def relu(x: Any) -> Any:
    return np.maximum(x, 0.0)


def leaky_relu(x: Any, slope: float) -> Any:
    return np.maximum(x, 0.0) + slope * np.minimum(x, 0.0)


def sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


def gelu(x: Any, approximate: str) -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1.0 + erf(x / np.sqrt(2.0)))


def dropout(x: Any, keep: Any, rate: float) -> Any:
    return np.where(keep, x / (1.0 - rate), 0.0)


def drop_path(x: Any, keep: Any, rate: float) -> Any:
    return np.stack([row / (1.0 - rate) if kept else np.zeros_like(row) for row, kept in zip(x, keep, strict=True)])


def power(x: Any, exponent: float) -> Any:
    return np.power(x, exponent)


def var(x: Any, axis: Any, correction: int = 0) -> Any:
    return np.var(x, axis=axis, ddof=correction)


def logsumexp(x: Any, axis: Any) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis))


def flatten(x: Any, start_axis: int) -> Any:
    return x.reshape(*x.shape[:start_axis], -1)


def concatenate(*xs: Any, axis: int) -> Any:
    return np.concatenate(xs, axis)


def stack(*xs: Any, axis: int) -> Any:
    return np.stack(xs, axis)


def split(x: Any, parts: int, axis: int, part: int) -> Any:
    return np.split(x, parts, axis)[part]


def pad(x: Any, widths: Any, value: float) -> Any:
    return np.pad(x, widths, constant_values=value)


def take(x: Any, key: Any) -> Any:
    return x[key]


def place(x: Any, key: Any, shape: Any) -> Any:
    y = np.zeros(shape)
    for position, value in zip(zip(*key, strict=True), x, strict=True):
        y[position] += value
    return y


def patchify(images: Any, patch_size: int) -> Any:
    p, (height, width) = patch_size, images.shape[2:]
    patches = [images[:, :, i : i + p, j : j + p] for i in range(0, height, p) for j in range(0, width, p)]
    return np.stack([patch.reshape(len(images), -1) for patch in patches], axis=1)


def unpatchify(patches: Any, patch_size: int, shape: Any) -> Any:
    p, (channels, height, width) = patch_size, shape
    images = np.zeros((len(patches), *shape))
    for n, (i, j) in enumerate(itertools.product(range(0, height, p), range(0, width, p))):
        images[:, :, i : i + p, j : j + p] = patches[:, n].reshape(-1, channels, p, p)
    return images


def embed_tokens(patches: Any, class_token: Any, positions: Any) -> Any:
    rows = []
    for example in patches:
        tokens = example if class_token is None else np.vstack([class_token[0], example])
        rows.append(tokens if positions is None else tokens + positions[0])
    return np.stack(rows)


def embedding(indices: Any, weight: Any) -> Any:
    return np.array([weight[index] for index in indices.flat]).reshape(*indices.shape, -1)


def softmax(x: Any, axis: int = -1) -> Any:
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


def log_softmax(x: Any, axis: int = -1) -> Any:
    return np.log(softmax(x, axis))


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


def linear(x: Any, weight: Any, bias: Any) -> Any:
    return np.einsum("...i,oi->...o", x, weight) + (0.0 if bias is None else bias)


def mlp(x: Any, fc1_weight: Any, fc1_bias: Any, fc2_weight: Any, fc2_bias: Any, approximate: str) -> Any:
    return linear(gelu(linear(x, fc1_weight, fc1_bias), approximate), fc2_weight, fc2_bias)


def attention(q: Any, k: Any, v: Any, mask: Any = None, scale: float | None = None) -> Any:
    scores = np.einsum("...nd,...md->...nm", q, k) * (1.0 / np.sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    return np.einsum("...nm,...md->...nd", softmax(scores), v)


def qkv_attention(qkv: Any, mask: Any = None, *, heads: int) -> Any:
    q, k, v = np.split(qkv, 3, axis=-1)
    width = q.shape[-1] // heads
    columns = [slice(h * width, (h + 1) * width) for h in range(heads)]
    return np.concatenate([attention(q[..., c], k[..., c], v[..., c], mask) for c in columns], axis=-1)


def cross_entropy(
    logits: Any, labels: Any, weights: Any = None, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:
    classes = logits.shape[1]
    targets = np.eye(classes)[labels] if labels.dtype.kind == "i" else labels
    targets = (1.0 - label_smoothing) * targets + label_smoothing / classes
    losses = -(targets * np.log(softmax(logits))).sum(-1)
    w = np.ones(len(losses)) if weights is None else weights
    if reduction == "none":
        return losses * w
    return (losses * w).sum() / (w.sum() if reduction == "mean" else 1.0)


def kl_divergence(target: Any, pred: Any, temperature: float = 1.0) -> Any:
    p, q = softmax(target / temperature), softmax(pred)
    return (p * np.log(p / q)).sum(-1)


def mse_loss(pred: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    w = np.ones(pred.shape) if weight is None else np.broadcast_to(weight, pred.shape)
    losses = w * (pred - target) ** 2
    if reduction == "none":
        return losses
    return losses.sum() / (w.sum() if reduction == "mean" else 1.0)


def batch_norm(
    x: Any, weight: Any = None, bias: Any = None, mean: Any = None, variance: Any = None, *, eps: float
) -> Any:
    y = np.zeros_like(x)
    for c in range(x.shape[1]):
        m = x[:, c].mean() if mean is None else mean[c]
        v = x[:, c].var() if variance is None else variance[c]
        y[:, c] = (x[:, c] - m) / np.sqrt(v + eps) * (1.0 if weight is None else weight[c])
        y[:, c] += 0.0 if bias is None else bias[c]
    return y


def conv2d(x: Any, weight: Any, bias: Any, stride: Any = 1, padding: Any = 0) -> Any:
    (sh, sw), (ph, pw), (kh, kw) = _pair(stride), _pair(padding), weight.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    rows, columns = (x.shape[2] - kh) // sh + 1, (x.shape[3] - kw) // sw + 1
    y = np.zeros((len(x), len(weight), rows, columns))
    for i, j in itertools.product(range(rows), range(columns)):
        window = x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
        y[:, :, i, j] = np.einsum("bcij,ocij->bo", window, weight)
    return y if bias is None else y + bias[:, None, None]


def conv_transpose2d(x: Any, weight: Any, bias: Any, stride: Any = 1, padding: Any = 0, output_padding: Any = 0) -> Any:
    (sh, sw), (ph, pw), (eh, ew) = _pair(stride), _pair(padding), _pair(output_padding)
    (rows, columns), (kh, kw) = x.shape[2:], weight.shape[2:]
    y = np.zeros((len(x), weight.shape[1], sh * (rows - 1) + kh + eh, sw * (columns - 1) + kw + ew))
    for r, t in itertools.product(range(rows), range(columns)):
        y[:, :, sh * r : sh * r + kh, sw * t : sw * t + kw] += np.einsum("bc,coij->boij", x[:, :, r, t], weight)
    y = y[:, :, ph : y.shape[2] - ph, pw : y.shape[3] - pw]
    return y if bias is None else y + bias[:, None, None]


def max_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    return _pool(np.max, -np.inf, x, kernel_size, stride, padding)


def avg_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    return _pool(np.mean, 0.0, x, kernel_size, stride, padding)


def unfold(x: Any, kernel_size: Any, stride: Any) -> Any:
    (kh, kw), (sh, sw) = kernel_size, stride
    rows, columns = (x.shape[2] - kh) // sh + 1, (x.shape[3] - kw) // sw + 1
    y = np.zeros((*x.shape[:2], kh, kw, rows, columns))
    for i, j in itertools.product(range(rows), range(columns)):
        y[..., i, j] = x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
    return y


def fold(windows: Any, shape: Any, stride: Any) -> Any:
    (kh, kw, rows, columns), (sh, sw) = windows.shape[2:], stride
    x = np.zeros(shape)
    for i, j in itertools.product(range(rows), range(columns)):
        x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw] += windows[..., i, j]
    return x


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _pool(reduce: Any, border: float, x: Any, kernel_size: Any, stride: Any, padding: Any) -> Any:
    (kh, kw), (ph, pw) = _pair(kernel_size), _pair(padding)
    sh, sw = (kh, kw) if stride is None else _pair(stride)
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=border)
    rows, columns = (x.shape[2] - kh) // sh + 1, (x.shape[3] - kw) // sw + 1
    return np.array(
        [
            [reduce(x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw], axis=(2, 3)) for j in range(columns)]
            for i in range(rows)
        ]
    ).transpose(2, 3, 0, 1)
