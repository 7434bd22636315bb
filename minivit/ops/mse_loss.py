"""Squared error, as of a reconstruction."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError
from minivit.ops.shaping import broadcast_to


class MseLoss(Op):
    """l = w d^2, d = pred - target, for each number.   pred, target (...); w (...) or None, for 1.

    dl/dpred = 2 w d = -dl/dtarget, dl/dw = d^2.
    """

    keeps = ("weight",)

    @staticmethod
    def forward(F: Any, pred: Any, target: Any, weight: Any) -> Any:
        d = pred - target
        return d * d if weight is None else d * d * weight, (d,)

    @staticmethod
    def backward(
        F: Any, dy: Any, saved: Any, pred: Any, target: Any, weight: Any, *, wanted: tuple[bool, ...]
    ) -> tuple[Any, Any, Any]:
        (d,) = saved
        dpred = dtarget = None
        if wanted[0] or wanted[1]:
            dpred = 2.0 * (dy if weight is None else dy * weight) * d
            dtarget = -dpred if wanted[1] else None
        return dpred if wanted[0] else None, dtarget, dy * d * d if wanted[2] else None


def mse_loss(pred: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """Squared error between what is predicted and what is true: by default its mean, the MSE.

    Parameters
    ----------
    pred, target : Tensor of one shape
        Gradients go to both.
    weight : Tensor, optional
        Factor of each number's squared error, of the same shape or one that broadcasts to it: 0 leaves a number out.
    reduction : {"mean", "sum", "none"}
        "mean" divides the (weighted) sum by how many numbers there are, or by the sum of their weights where they are
        given.

    Returns
    -------
    Tensor of shape (), or of the shape of pred for "none"

    Raises
    ------
    ShapeError
        If target or weight do not fit pred.
    ValueError
        For an unknown reduction.
    """
    pred, target = as_tensor(pred), as_tensor(target)
    if pred.shape != target.shape:
        raise ShapeError(f"mse_loss: pred and target must have one shape, got {pred.shape} and {target.shape}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'mse_loss: reduction must be "mean", "sum" or "none", got {reduction!r}')
    if weight is not None:
        weight = _of_each_number(as_tensor(weight), pred.shape)
    losses = apply(MseLoss, pred, target, weight)  # (...)
    if reduction == "none":
        return losses
    if reduction == "mean" and weight is None:
        return losses.mean()
    return losses.sum() / weight.sum() if reduction == "mean" else losses.sum()


def _of_each_number(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    fits = weight.ndim <= len(shape) and all(
        w in (1, n) for w, n in zip(reversed(weight.shape), reversed(shape), strict=False)
    )
    if not fits:
        raise ShapeError(f"mse_loss: the weight of {shape} must broadcast to that shape, got {weight.shape}")
    return weight if weight.shape == shape else broadcast_to(weight, shape)
