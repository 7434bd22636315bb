"""Layer normalisation (Ba, Kiros & Hinton 2016, arXiv:1607.06450)."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError


class LayerNorm(Op):
    """y = n * weight + bias, n = (x - mean(x)) r, r = (var(x) + eps)^-1/2.   x (..., D); weight, bias (D,)."""

    keeps = ("weight",)

    @staticmethod
    def forward(F: Any, x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
        centered = x - F.mean(x, -1)  # (..., D)
        r = (F.mean(centered * centered, -1) + eps) ** -0.5  # (..., 1)
        n = centered * r  # (..., D)
        return n * weight + bias, (n, r)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, weight: Any, bias: Any, *, eps: float) -> tuple[Any, Any, Any]:
        n, r = saved
        dn = dy * weight  # y = n * weight + bias
        # n = (x - mean) r: x reaches n directly, through the mean, and through the variance in r
        dx = r * (dn - F.mean(dn, -1) - n * F.mean(dn * n, -1))
        return dx, F.sum_to(dy * n, weight.shape), F.sum_to(dy, bias.shape)


def layer_norm(x: Any, weight: Any, bias: Any, eps: float = 1e-6) -> Tensor:
    """Normalise each vector of the last axis to mean 0 and variance 1, then scale and shift it.

    Parameters
    ----------
    x : Tensor of shape (..., D)
    weight, bias : Tensor of shape (D,)
    eps : float
        Added to the variance (which is divided by D). ViT's reference implementations use 1e-6.

    Returns
    -------
    Tensor of shape (..., D)

    Raises
    ------
    ShapeError
        If weight or bias is not (D,).
    """
    x, weight, bias = as_tensor(x), as_tensor(weight), as_tensor(bias)
    if weight.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        raise ShapeError(
            f"layer_norm of {x.shape} needs weight and bias of shape {x.shape[-1:]}, "
            f"got {weight.shape} and {bias.shape}"
        )
    return apply(LayerNorm, x, weight, bias, eps=float(eps))
