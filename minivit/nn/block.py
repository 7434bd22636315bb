"""The Transformer encoder block (Dosovitskiy et al. 2020, equations 2 and 3)."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Tensor
from minivit.nn.attention import MultiHeadSelfAttention
from minivit.nn.layers import DropPath, LayerNorm
from minivit.nn.mlp import Mlp
from minivit.nn.module import Module


class TransformerBlock(Module):
    """Pre-LN block: attention, then MLP, each on the normalised stream and added to it.

    Parameters
    ----------
    dim, heads, mlp_dim : int
    qkv_bias : bool
    dropout : float
        After the attention's projection and in the MLP.
    drop_path : float
        Probability of leaving out a branch.
    gelu : {"none", "tanh"}
    eps : float
        Of the LayerNorms.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_dim: int,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        gelu: str = "none",
        eps: float = 1e-6,
    ) -> None:
        self.norm1 = LayerNorm(dim, eps)
        self.attn = MultiHeadSelfAttention(dim, heads, qkv_bias, dropout)
        self.norm2 = LayerNorm(dim, eps)
        self.mlp = Mlp(dim, mlp_dim, dropout, gelu)
        self.drop_path1 = DropPath(drop_path)
        self.drop_path2 = DropPath(drop_path)

    def forward(self, x: Tensor, mask: Any = None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x = x + self.drop_path1(self.attn(self.norm1(x), mask))
        return x + self.drop_path2(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]
