"""Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, equation 1)."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError
from minivit.backend import array_module
from minivit.ops.softmax import stable_softmax


def attend(F: Any, q: Any, k: Any, v: Any, mask: Any, scale: float) -> tuple[Any, Any]:
    """Y = P V with P = softmax(scale Q K^T + mask), and P.   q, k, v (B, h, N, d); P (B, h, N, N)."""
    scores = (q @ F.swapaxes(k, -1, -2)) * scale  # (B, h, N, N)
    if mask is not None:
        scores = scores + mask
    p = stable_softmax(F, scores, -1)  # (B, h, N, N)
    return p @ v, p  # (B, h, N, d)


def attend_backward(F: Any, dy: Any, q: Any, k: Any, v: Any, p: Any, scale: float) -> tuple[Any, Any, Any, Any]:
    """Gradients of q, k, v and of the scores."""
    dv = F.swapaxes(p, -1, -2) @ dy  # Y = P V
    dp = dy @ F.swapaxes(v, -1, -2)  # (B, h, N, N)
    dscores = p * (dp - F.sum(dp * p, -1))  # P = softmax(scores), row by row
    dq = (dscores @ k) * scale  # scores = scale Q K^T
    dk = (F.swapaxes(dscores, -1, -2) @ q) * scale
    return dq, dk, dv, dscores


class Attention(Op):
    """Y = softmax(scale Q K^T + mask) V.   q, k, v (B, h, N, d); mask broadcasts to (B, h, N, N), or None."""

    keeps = ("q", "k", "v")

    @staticmethod
    def forward(F: Any, q: Any, k: Any, v: Any, mask: Any, *, scale: float) -> Any:
        return attend(F, q, k, v, mask, scale)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, q: Any, k: Any, v: Any, mask: Any, *, scale: float) -> tuple[Any, ...]:
        dq, dk, dv, dscores = attend_backward(F, dy, q, k, v, saved, scale)
        return dq, dk, dv, None if mask is None else F.sum_to(dscores, mask.shape)


class QkvAttention(Op):
    """Attention of every head from one packed projection.   qkv (B, N, 3D), in the order q, k, v; y (B, N, D)."""

    keeps = ("qkv",)

    @staticmethod
    def forward(F: Any, qkv: Any, mask: Any, *, heads: int, scale: float) -> Any:
        q, k, v = _split_heads(F, qkv, heads)  # (B, h, N, d) each
        y, p = attend(F, q, k, v, mask, scale)
        b, h, n, d = q.shape
        return F.reshape(F.transpose(y, (0, 2, 1, 3)), (b, n, h * d)), p  # (B, N, D)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, qkv: Any, mask: Any, *, heads: int, scale: float) -> tuple[Any, Any]:
        q, k, v = _split_heads(F, qkv, heads)
        b, h, n, d = q.shape
        dy = F.transpose(F.reshape(dy, (b, n, h, d)), (0, 2, 1, 3))  # (B, h, N, d)
        dq, dk, dv, dscores = attend_backward(F, dy, q, k, v, saved, scale)
        dqkv = F.transpose(F.stack([dq, dk, dv], 0), (1, 3, 0, 2, 4))  # (3, B, h, N, d) -> (B, N, 3, h, d)
        return F.reshape(dqkv, qkv.shape), None if mask is None else F.sum_to(dscores, mask.shape)


def _split_heads(F: Any, qkv: Any, heads: int) -> tuple[Any, Any, Any]:
    b, n, packed = qkv.shape
    parts = F.transpose(F.reshape(qkv, (b, n, 3, heads, packed // (3 * heads))), (2, 0, 3, 1, 4))  # (3, B, h, N, d)
    return F.take(parts, 0), F.take(parts, 1), F.take(parts, 2)


def attention(q: Any, k: Any, v: Any, mask: Any = None, scale: float | None = None) -> Tensor:
    """Scaled dot-product attention.

    Parameters
    ----------
    q : Tensor of shape (..., N, d)
    k, v : Tensor of shape (..., M, d)
    mask : Tensor that broadcasts to (..., N, M), optional
        Added to the scores; or booleans, True where attention is allowed.
    scale : float, optional
        d^-1/2 by default.

    Returns
    -------
    Tensor of shape (..., N, d)

    Raises
    ------
    ShapeError
        If the shapes do not fit together.
    """
    q, k, v = as_tensor(q), as_tensor(k), as_tensor(v)
    if q.shape[-1] != k.shape[-1] or k.shape[:-1] != v.shape[:-1] or q.shape[:-2] != k.shape[:-2]:
        raise ShapeError(
            f"attention: q {q.shape}, k {k.shape}, v {v.shape} must be (..., N, d), (..., M, d), (..., M, d)"
        )
    return apply(
        Attention, q, k, v, additive_mask(mask, q), scale=float(q.shape[-1] ** -0.5 if scale is None else scale)
    )


def qkv_attention(qkv: Any, heads: int, mask: Any = None, scale: float | None = None) -> Tensor:
    """Multi-head attention from packed queries, keys and values.

    Parameters
    ----------
    qkv : Tensor of shape (B, N, 3D)
        The projection, in timm's order: all queries, all keys, all values; heads contiguous in each.
    heads : int
        Divides D.
    mask, scale
        As for `attention`; the mask broadcasts to (B, heads, N, N).

    Returns
    -------
    Tensor of shape (B, N, D)
    """
    qkv = as_tensor(qkv)
    if qkv.ndim != 3 or qkv.shape[-1] % (3 * heads):
        raise ShapeError(f"qkv_attention: expected (B, N, 3D) with D a multiple of {heads} heads, got {qkv.shape}")
    width = qkv.shape[-1] // (3 * heads)
    return apply(
        QkvAttention, qkv, additive_mask(mask, qkv), heads=heads, scale=float(width**-0.5 if scale is None else scale)
    )


def additive_mask(mask: Any, like: Tensor) -> Tensor | None:
    """A boolean mask (True = allowed) as numbers to add to scores: 0, or the lowest finite number.

    Not -infinity: a row that allows nothing then becomes uniform in place of NaN.
    """
    if mask is None:
        return None
    allowed = as_tensor(mask)
    if allowed.dtype.kind != "b":
        return allowed
    xp = array_module(allowed.data)
    lowest = float(xp.finfo(like.dtype).min) / 2
    return Tensor(xp.where(allowed.data, xp.zeros((), like.dtype), xp.full((), lowest, like.dtype)))
