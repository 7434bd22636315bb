"""Multi-head self-attention (Vaswani et al. 2017, section 3.2.2)."""

from __future__ import annotations

from typing import Any

from minivit import ops
from minivit.autograd import Tensor
from minivit.nn.layers import Dropout, Linear
from minivit.nn.module import Module


class MultiHeadSelfAttention(Module):
    """Every token asks all tokens, in several heads at once.

    Parameters
    ----------
    dim : int
        D, a multiple of `heads`.
    heads : int
    qkv_bias : bool
    dropout : float
        After the output projection.
    """

    def __init__(self, dim: int, heads: int, qkv_bias: bool = True, dropout: float = 0.0) -> None:
        if dim % heads:
            raise ValueError(f"MultiHeadSelfAttention: dim {dim} is not a multiple of {heads} heads")
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = Linear(dim, dim)
        self.proj_drop = Dropout(dropout)

    def forward(self, x: Tensor, mask: Any = None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        y = ops.qkv_attention(self.qkv(x), self.heads, mask)  # (B, N, 3D) -> (B, N, D)
        return self.proj_drop(self.proj(y))  # type: ignore[no-any-return]

    def describe(self) -> str:
        """The layer's settings."""
        return f"heads={self.heads}"
