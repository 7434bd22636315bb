"""The two-layer perceptron of a Transformer block as one op: linear, GELU, linear."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError
from minivit.ops.gelu import check_approximate, gelu_and_slope
from minivit.ops.linear import flat_linear, flat_linear_backward


class Mlp(Op):
    """y = gelu(x W1^T + b1) W2^T + b2.   x (..., D); W1 (M, D), b1 (M,); W2 (D, M), b2 (D,)."""

    keeps = ("x", "fc1_weight", "fc2_weight")

    @staticmethod
    def forward(
        F: Any, x: Any, fc1_weight: Any, fc1_bias: Any, fc2_weight: Any, fc2_bias: Any, *, approximate: str
    ) -> Any:
        hidden = flat_linear(F, x, fc1_weight, fc1_bias)  # (..., M)
        activation, slope = gelu_and_slope(F, hidden, approximate)
        return flat_linear(F, activation, fc2_weight, fc2_bias), (activation, slope)

    @staticmethod
    def backward(
        F: Any,
        dy: Any,
        saved: Any,
        x: Any,
        fc1_weight: Any,
        fc1_bias: Any,
        fc2_weight: Any,
        fc2_bias: Any,
        *,
        approximate: str,
        wanted: tuple[bool, ...],
    ) -> tuple[Any, ...]:
        activation, slope = saved
        # y = activation W2^T + b2
        dactivation, dfc2_weight, dfc2_bias = flat_linear_backward(
            F, dy, activation, fc2_weight, (True, wanted[3], wanted[4])
        )
        dhidden = dactivation * slope  # activation = gelu(hidden)
        # hidden = x W1^T + b1
        dx, dfc1_weight, dfc1_bias = flat_linear_backward(F, dhidden, x, fc1_weight, wanted[:3])
        return dx, dfc1_weight, dfc1_bias, dfc2_weight, dfc2_bias


def mlp(x: Any, fc1_weight: Any, fc1_bias: Any, fc2_weight: Any, fc2_bias: Any, approximate: str = "none") -> Tensor:
    """gelu(x W1^T + b1) W2^T + b2.

    Parameters
    ----------
    x : Tensor of shape (..., D)
    fc1_weight, fc1_bias : Tensor of shape (M, D) and (M,)
    fc2_weight, fc2_bias : Tensor of shape (O, M) and (O,)
    approximate : {"none", "tanh"}
        The GELU, see `minivit.ops.gelu`.

    Returns
    -------
    Tensor of shape (..., O)
    """
    x, w1, b1, w2, b2 = (as_tensor(t) for t in (x, fc1_weight, fc1_bias, fc2_weight, fc2_bias))
    if (
        x.shape[-1:] != w1.shape[1:]
        or w1.shape[:1] != w2.shape[1:]
        or b1.shape != w1.shape[:1]
        or b2.shape != w2.shape[:1]
    ):
        raise ShapeError(
            f"mlp: x {x.shape} needs fc1 (M, {x.shape[-1]}), (M,) and fc2 (O, M), (O,); "
            f"got {w1.shape}, {b1.shape} and {w2.shape}, {b2.shape}"
        )
    return apply(Mlp, x, w1, b1, w2, b2, approximate=check_approximate(approximate))
