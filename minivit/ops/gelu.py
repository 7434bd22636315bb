"""Gaussian error linear unit (Hendrycks & Gimpel 2016, arXiv:1606.08415), exact and in the tanh approximation."""

from __future__ import annotations

import math
from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor

CUBIC = 0.044715  # of the tanh approximation, section 2 of the paper


def gelu_and_slope(F: Any, x: Any, approximate: str) -> tuple[Any, Any]:
    """gelu(x) and d gelu / dx.

    Exact: y = x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2, y' = Phi(x) + x phi(x), phi the normal density.
    Tanh: y = x (1 + t) / 2, t = tanh(u), u = sqrt(2/pi) (x + 0.044715 x^3), y' = (1 + t) / 2 + x (1 - t^2) u' / 2.
    """
    if approximate == "none":
        cdf = 0.5 * (1.0 + F.erf(x * math.sqrt(0.5)))
        return x * cdf, cdf + x * (F.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi)))
    scale = math.sqrt(2.0 / math.pi)
    square = x * x
    t = F.tanh(scale * (x + CUBIC * square * x))
    half = 0.5 * (1.0 + t)
    return x * half, half + 0.5 * x * (1.0 - t * t) * (scale * (1.0 + 3.0 * CUBIC * square))


class Gelu(Op):
    """y = x Phi(x)."""

    keeps = ("x",)

    @staticmethod
    def forward(F: Any, x: Any, *, approximate: str) -> Any:
        return gelu_and_slope(F, x, approximate)[0]

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, approximate: str) -> tuple[Any]:
        return (dy * gelu_and_slope(F, x, approximate)[1],)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x times the probability that a standard normal variable is below x.

    Parameters
    ----------
    x : Tensor
    approximate : {"none", "tanh"}
        "none" is exact (timm, DeiT, Hugging Face); "tanh" is what JAX's reference ViT uses. They differ by up to
        4.7e-4, at x = -2.7.

    Raises
    ------
    ValueError
        For another `approximate`.
    """
    return apply(Gelu, as_tensor(x), approximate=check_approximate(approximate))


def check_approximate(approximate: str) -> str:
    """`approximate` itself, if there is such a form of GELU."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate must be "none" (exact, erf) or "tanh", got {approximate!r}')
    return approximate
