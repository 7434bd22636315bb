"""Scaled dot-product attention, a few images at a time.

The probabilities are kept as exponentials E and the inverse z of their row sums, P = z E: scaling the output's rows (d
long) is cheaper than scaling the probabilities' (one entry a token), and the same holds backward.

Every product has a right operand with contiguous rows (hence the transposed copies of K and V): OpenBLAS runs those
half as fast again as a product with a transposed view. The copies carry the factors that the scores need.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivit.backend.cpu.blocks import Array, exp2, floats, pieces, times_vector
from minivit.backend.cpu.softmax import SAFE, shift_rows
from minivit.backend.pool import empty, empty_like

LOG2_E = math.log2(math.e)

keeps = ("q", "k", "v")
qkv_keeps = ("qkv",)

Saved = tuple[Array, Array, Array]


def accepts(q: Array, k: Array, v: Array, mask: Array | None, *, scale: float) -> bool:
    """float32 or float64, exactly four axes, at least one key."""
    return floats(q, k, v, mask) and q.ndim == 4 and k.shape[2] > 0 and scale != 0


def forward(q: Array, k: Array, v: Array, mask: Array | None, *, scale: float) -> tuple[Array, Saved]:
    """Y = softmax(scale Q K^T + mask) V.   q (B, h, N, d); k, v (B, h, M, d); mask broadcasts to (B, h, N, M)."""
    y = empty((*q.shape[:-1], v.shape[-1]), q.dtype)  # the values may have another width than the keys
    return y, attend(q, k, v, mask, scale, y)


def evaluate(q: Array, k: Array, v: Array, mask: Array | None, *, scale: float) -> Array:
    """The forward's Y, without the probabilities of all examples at once."""
    y = empty((*q.shape[:-1], v.shape[-1]), q.dtype)
    attend(q, k, v, mask, scale, y, saves=False)
    return y


def backward(
    dy: Array, saved: Saved, q: Array, k: Array, v: Array, mask: Any, *, wanted: tuple[bool, ...], scale: float
) -> tuple[Array | None, ...]:
    """Gradients of q, k, v and of the mask."""
    dqkv = empty_like(q), empty_like(k), empty_like(v)
    dmask = empty(saved[0].shape, dy.dtype) if wanted[3] else None
    attend_backward(dy, saved, q, k, v, scale, dqkv, dmask)
    return (*dqkv, None if dmask is None else sum_to(dmask, mask.shape))


def qkv_accepts(qkv: Array, mask: Array | None, *, heads: int, scale: float) -> bool:
    """float32 or float64, at least one token."""
    return floats(qkv, mask) and qkv.ndim == 3 and qkv.shape[1] > 0 and scale != 0


def qkv_forward(qkv: Array, mask: Array | None, *, heads: int, scale: float) -> tuple[Array, Saved]:
    """Attention of every head from one packed projection.   qkv (B, N, 3D), in the order q, k, v; y (B, N, D)."""
    B, N, packed = qkv.shape
    y = empty((B, N, packed // 3), qkv.dtype)
    return y, attend(*split_heads(qkv, heads), mask, scale, per_head(y, heads))


def qkv_evaluate(qkv: Array, mask: Array | None, *, heads: int, scale: float) -> Array:
    """The forward's y, without the probabilities of all examples at once."""
    B, N, packed = qkv.shape
    y = empty((B, N, packed // 3), qkv.dtype)
    attend(*split_heads(qkv, heads), mask, scale, per_head(y, heads), saves=False)
    return y


def qkv_backward(
    dy: Array, saved: Saved, qkv: Array, mask: Any, *, wanted: tuple[bool, ...], heads: int, scale: float
) -> tuple[Array, Array | None]:
    """Gradients of the packed projection and of the mask."""
    dqkv = empty(qkv.shape, dy.dtype)
    dmask = empty(saved[0].shape, dy.dtype) if wanted[1] else None
    attend_backward(per_head(dy, heads), saved, *split_heads(qkv, heads), scale, split_heads(dqkv, heads), dmask)
    return dqkv, None if dmask is None else sum_to(dmask, mask.shape)


def split_heads(qkv: Array, heads: int) -> tuple[Array, Array, Array]:
    """(B, N, 3D) -> three views (B, h, N, d)."""
    B, N, packed = qkv.shape
    q, k, v = qkv.reshape(B, N, 3, heads, packed // (3 * heads)).transpose(2, 0, 3, 1, 4)
    return q, k, v


def per_head(y: Array, heads: int) -> Array:
    """(B, N, D) -> (B, h, N, d), a view."""
    B, N, D = y.shape
    return y.reshape(B, N, heads, D // heads).transpose(0, 2, 1, 3)


def attend(q: Array, k: Array, v: Array, mask: Array | None, scale: float, y: Array, saves: bool = True) -> Saved:
    """Write Y = z E V, E = exp(scale Q K^T + mask - c), z = 1 / rowsum(E), to `y`; return E, z and y.

    q, y (B, h, N, d); k, v (B, h, M, d); E (B, h, N, M); z (B, h, N, 1). c is one number a row. Without `saves`, E is
    there for a few examples at a time, and None is returned for it.
    """
    B, h, N, _ = q.shape
    M = k.shape[2]
    e = empty((B, h, N, M), q.dtype) if saves else None
    z = np.empty((B, h, N, 1), q.dtype)
    ones = np.ones(M, q.dtype)
    if mask is not None:
        mask = np.broadcast_to(mask, (B, h, N, M))
    for part in pieces(B, h * N * M * q.itemsize):
        scores = empty((part.stop - part.start, h, N, M), q.dtype) if e is None else e[part]
        rows = scores.reshape(-1, M)
        if mask is None:
            np.matmul(q[part], scaled_transpose(k[part], scale * LOG2_E), out=scores)
            shift_rows(rows, SAFE * LOG2_E)
            exp2(rows)
        else:  # in natural units: a mask may hold the lowest finite number
            np.matmul(q[part], scaled_transpose(k[part], scale), out=scores)
            scores += mask[part]
            shift_rows(rows)
            np.exp(rows, out=rows)
        np.divide(1.0, times_vector(rows, ones), out=z[part].reshape(-1))
        np.matmul(scores, v[part], out=y[part])
        y[part] *= z[part]
    return e, z, y


def attend_backward(
    dy: Array,
    saved: Saved,
    q: Array,
    k: Array,
    v: Array,
    scale: float,
    out: tuple[Array, Array, Array],
    dscores: Array | None,
) -> None:
    """Write the gradients of q, k, v to `out`, and that of the scores to `dscores` where it is wanted.

    With dY' = z dY: dV = E^T dY', dS = E * (dY' V^T - rowsum(dY' * Y)), dQ = scale dS K, dK = scale dS^T Q.
    """
    e, z, y = saved
    dq, dk, dv = out
    B, h, N, M = e.shape
    for part in pieces(B, h * N * M * e.itemsize):
        dy_z = np.multiply(dy[part], z[part], out=empty(dy[part].shape, dy.dtype))
        np.matmul(e[part].swapaxes(-1, -2), dy_z, out=dv[part])  # Y = z E V
        ds = np.matmul(dy_z, scaled_transpose(v[part], scale), out=empty(e[part].shape, e.dtype))
        through_sum = np.vecdot(dy_z, y[part])  # E is divided by its row's sum
        through_sum *= scale
        ds -= through_sum[..., None]
        ds *= e[part]  # scale dS
        np.matmul(ds, k[part], out=dq[part])  # S = scale Q K^T + mask
        np.matmul(ds.swapaxes(-1, -2), q[part], out=dk[part])
        if dscores is not None:
            np.multiply(ds, 1 / scale, out=dscores[part])


def scaled_transpose(k: Array, scale: float) -> Array:
    """scale K^T.   (B, h, M, d) -> (B, h, d, M), contiguous."""
    B, h, M, d = k.shape
    return np.multiply(k.swapaxes(-1, -2), scale, out=empty((B, h, d, M), k.dtype))


def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes that broadcasting `shape` to `x.shape` repeats."""
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    repeated = tuple(axis for axis, size in enumerate(shape) if size == 1 and x.shape[axis] != 1)
    return x.sum(axis=repeated, keepdims=True) if repeated else x
