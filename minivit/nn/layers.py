"""The small layers: they hold parameters (or a rate) and call an op."""

from __future__ import annotations

import math

import numpy as np

from minivit import ops
from minivit.autograd import Tensor
from minivit.nn import init
from minivit.nn.module import Module
from minivit.nn.parameter import Parameter
from minivit.nn.randomness import keep_mask


class Linear(Module):
    """y = x W^T + b.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    generator : numpy Generator, optional
        Draws the initial weight, uniform in +-in_features^-1/2; by default the one that `manual_seed` seeds.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, generator: np.random.Generator | None = None
    ) -> None:
        shape = (out_features, in_features)
        self.weight = Parameter(init.layer_weight(shape, generator))
        self.bias = Parameter(init.blank((out_features,))) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        return ops.linear(x, self.weight, self.bias)

    def describe(self) -> str:
        """The layer's sizes."""
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}, bias={self.bias is not None}"


class LayerNorm(Module):
    """Layer normalisation of the last axis, with scale and shift.

    Parameters
    ----------
    dim : int
    eps : float
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        self.weight = Parameter(1 + init.blank((dim,)))
        self.bias = Parameter(init.blank((dim,)))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        return ops.layer_norm(x, self.weight, self.bias, self.eps)

    def describe(self) -> str:
        """The layer's settings."""
        return f"{self.weight.shape[0]}, eps={self.eps:g}"


class Conv2d(Module):
    """Two-dimensional convolution.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
    stride, padding : int
    bias : bool
    generator : numpy Generator, optional
        Draws the initial weight, uniform in +-fan_in^-1/2; by default the one that `manual_seed` seeds.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        generator: np.random.Generator | None = None,
    ) -> None:
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = Parameter(init.layer_weight(shape, generator))
        self.bias = Parameter(init.blank((out_channels,))) if bias else None
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, O, H', W')."""
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def describe(self) -> str:
        """The layer's settings."""
        o, c, kernel, _ = self.weight.shape
        return f"{c}, {o}, kernel_size={kernel}, stride={self.stride}, padding={self.padding}"


class ConvTranspose2d(Module):
    """Transposed two-dimensional convolution: the adjoint of one from `out_channels` to `in_channels`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
    stride, padding, output_padding : int
        As for `minivit.ops.conv_transpose2d`.
    bias : bool
    generator : numpy Generator, optional
        Draws the initial weight (in_channels, out_channels, kernel_size, kernel_size), uniform in
        +-(out_channels kernel_size^2)^-1/2 as PyTorch's; by default the one that `manual_seed` seeds.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        bias: bool = True,
        generator: np.random.Generator | None = None,
    ) -> None:
        shape = (in_channels, out_channels, kernel_size, kernel_size)
        self.weight = Parameter(init.layer_weight(shape, generator))
        self.bias = Parameter(init.blank((out_channels,))) if bias else None
        self.stride, self.padding, self.output_padding = stride, padding, output_padding

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, O, H', W'), H' = (H - 1) stride - 2 padding + kernel_size + output_padding."""
        return ops.conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding, self.output_padding)

    def describe(self) -> str:
        """The layer's settings."""
        c, o, kernel, _ = self.weight.shape
        more = f", output_padding={self.output_padding}" if self.output_padding else ""
        return f"{c}, {o}, kernel_size={kernel}, stride={self.stride}, padding={self.padding}{more}"


class Dropout(Module):
    """Zero single elements with probability `rate` while training.

    Parameters
    ----------
    rate : float in [0, 1)
    """

    def __init__(self, rate: float = 0.0) -> None:
        self.rate = _check_rate(self, rate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        if not self.training or self.rate == 0.0:
            return x
        return ops.dropout(x, keep_mask(x, self.rate, math.prod(x.shape[1:])).reshape(x.shape), self.rate)

    def describe(self) -> str:
        """The rate."""
        return f"{self.rate:g}"


class DropPath(Module):
    """Leave out a residual branch of a whole image with probability `rate` while training (stochastic depth).

    Parameters
    ----------
    rate : float in [0, 1)
    """

    def __init__(self, rate: float = 0.0) -> None:
        self.rate = _check_rate(self, rate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        if not self.training or self.rate == 0.0:
            return x
        return ops.drop_path(x, keep_mask(x, self.rate, 1).reshape(-1), self.rate)

    def describe(self) -> str:
        """The rate."""
        return f"{self.rate:g}"


def _check_rate(layer: Module, rate: float) -> float:
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"{type(layer).__name__}: the rate must lie in [0, 1), got {rate}")
    return rate
