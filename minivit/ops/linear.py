"""Linear layer: y = x W^T + b, PyTorch's layout of the weight."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError


def flat_linear(F: Any, x: Any, weight: Any, bias: Any) -> Any:
    """x W^T + b through one two-dimensional product.   x (..., I), weight (O, I), bias (O,) or None."""
    rows = F.reshape(x, (F.size(x.shape[:-1]), x.shape[-1]))  # (R, I)
    y = rows @ F.swapaxes(weight, 0, 1)  # (R, O)
    if bias is not None:
        y = y + bias
    return F.reshape(y, (*x.shape[:-1], weight.shape[0]))  # (..., O)


def flat_linear_backward(F: Any, dy: Any, x: Any, weight: Any, wanted: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """Gradients of x, weight and bias."""
    dy_rows = F.reshape(dy, (F.size(dy.shape[:-1]), dy.shape[-1]))  # (R, O)
    dx = F.reshape(dy_rows @ weight, x.shape) if wanted[0] else None  # y = x W^T
    dweight = dbias = None
    if wanted[1]:
        rows = F.reshape(x, (F.size(x.shape[:-1]), x.shape[-1]))  # (R, I)
        dweight = F.swapaxes(dy_rows, 0, 1) @ rows  # (O, I)
    if wanted[2]:
        dbias = F.sum_to(dy_rows, dy.shape[-1:])  # (O,): b is added to every row
    return dx, dweight, dbias


class Linear(Op):
    """y = x W^T + b.   x (..., I), weight (O, I), bias (O,) or None, y (..., O)."""

    keeps = ("x", "weight")

    @staticmethod
    def forward(F: Any, x: Any, weight: Any, bias: Any) -> Any:
        return flat_linear(F, x, weight, bias)

    @staticmethod
    def backward(
        F: Any, dy: Any, saved: Any, x: Any, weight: Any, bias: Any, *, wanted: tuple[bool, ...]
    ) -> tuple[Any, Any, Any]:
        return flat_linear_backward(F, dy, x, weight, wanted)


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """x W^T + b.

    Parameters
    ----------
    x : Tensor of shape (..., I)
    weight : Tensor of shape (O, I)
    bias : Tensor of shape (O,), optional

    Returns
    -------
    Tensor of shape (..., O)

    Raises
    ------
    ShapeError
        If the lengths do not fit.
    """
    x, weight = as_tensor(x), as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    inner, shape = x.shape[-1:], weight.shape
    if not inner or len(shape) != 2 or inner != shape[1:]:
        raise ShapeError(f"linear: x must be (..., I) and the weight (O, I), got {x.shape} and {shape}")
    if bias is not None and bias.shape != shape[:1]:
        raise ShapeError(f"linear: weight {shape} needs a bias {shape[:1]}, got {bias.shape}")
    return apply(Linear, x, weight, bias)
