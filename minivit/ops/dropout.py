"""Dropout (Srivastava et al. 2014) and drop-path (stochastic depth, Huang et al. 2016, arXiv:1603.09382).

The mask is an input: a forward is a pure function, so recomputing it gives the same numbers. Layers in `minivit.nn`
draw the masks.
"""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError


class Dropout(Op):
    """y = x keep / (1 - rate): zero with probability `rate`, unchanged on average. `keep` holds zeros and ones."""

    keeps = ("keep",)

    @staticmethod
    def forward(F: Any, x: Any, keep: Any, *, rate: float) -> Any:
        return x * (keep * (1.0 / (1.0 - rate)))

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, keep: Any, *, rate: float) -> tuple[Any, None]:
        return dy * (keep * (1.0 / (1.0 - rate))), None


def dropout(x: Any, keep: Any, rate: float) -> Tensor:
    """Drop single elements.

    Parameters
    ----------
    x : Tensor
    keep : Tensor that broadcasts to the shape of x
        1 (or True) where an element is kept.
    rate : float in [0, 1)
        The probability with which the mask was drawn to be 0.
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"dropout: rate must lie in [0, 1), got {rate}")
    x, keep = as_tensor(x), as_tensor(keep)
    if keep.dtype != x.dtype:
        keep = Tensor(keep.data.astype(x.dtype))
    return apply(Dropout, x, keep, rate=float(rate))


def drop_path(x: Any, keep: Any, rate: float) -> Tensor:
    """Drop whole examples of a residual branch.

    Parameters
    ----------
    x : Tensor of shape (B, ...)
    keep : Tensor of shape (B,)
        1 (or True) for an example whose branch is kept.
    rate : float in [0, 1)
        The probability with which an example is dropped.
    """
    x, keep = as_tensor(x), as_tensor(keep)
    if keep.shape != x.shape[:1]:
        raise ShapeError(f"drop_path: x {x.shape} needs a mask {x.shape[:1]}, got {keep.shape}")
    return dropout(x, keep.reshape(-1, *(1,) * (x.ndim - 1)), rate)
