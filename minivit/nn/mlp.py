"""The perceptron of a Transformer block."""

from __future__ import annotations

from minivit import ops
from minivit.autograd import Tensor
from minivit.nn.layers import Dropout, Linear
from minivit.nn.module import Module


class Mlp(Module):
    """Linear, GELU, linear.

    Parameters
    ----------
    dim, mlp_dim : int
        Width outside and inside.
    dropout : float
        After each linear layer.
    gelu : {"none", "tanh"}
        Exact or approximate GELU.
    """

    def __init__(self, dim: int, mlp_dim: int, dropout: float = 0.0, gelu: str = "none") -> None:
        self.fc1 = Linear(dim, mlp_dim)
        self.fc2 = Linear(mlp_dim, dim)
        self.drop1 = Dropout(dropout)
        self.drop2 = Dropout(dropout)
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        if self.training and self.drop1.rate > 0.0:
            hidden = self.drop1(ops.gelu(self.fc1(x), self.gelu))  # (..., M)
            return self.drop2(self.fc2(hidden))  # type: ignore[no-any-return]
        return ops.mlp(x, self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias, self.gelu)

    def describe(self) -> str:
        """The GELU's kind."""
        return f"gelu={self.gelu!r}"
