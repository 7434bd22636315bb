"""Initial weights, always drawn on the host, so that a seed means the same weights on every device."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Initializer = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def zeros(_: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """All zeros."""
    return np.zeros(shape, np.float32)


def ones(_: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """All ones."""
    return np.ones(shape, np.float32)


def normal(std: float) -> Initializer:
    """Normal with mean 0."""

    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        values = generator.standard_normal(shape, np.float32)
        values *= np.float32(std)
        return values

    return draw


def uniform(limit: float) -> Initializer:
    """Uniform in [-limit, limit)."""
    return lambda generator, shape: generator.uniform(-limit, limit, shape).astype(np.float32)


def truncated_normal(std: float, low: float = -2.0, high: float = 2.0) -> Initializer:
    """Normal with mean 0, redrawn outside [low, high] (absolute bounds, as timm's and PyTorch's `trunc_normal_`)."""

    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        values = normal(std)(generator, shape)
        if values.size and (values.min() < low or values.max() > high):  # rare where the bounds are many std away
            outside = (values < low) | (values > high)
            while outside.any():
                values[outside] = normal(std)(generator, (int(outside.sum()),))
                outside = (values < low) | (values > high)
        return values

    return draw


def lecun_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Truncated normal with variance 1/fan_in (LeCun et al. 1998), as Flax draws kernels by default."""
    fan_in = math.prod(shape[1:])
    # A normal cut off at two standard deviations has a standard deviation of 0.87962566 of the uncut one.
    std = math.sqrt(1.0 / fan_in) / 0.87962566103423978
    return truncated_normal(std, -2 * std, 2 * std)(generator, shape)


def xavier_uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    receptive = math.prod(shape[2:])
    limit = math.sqrt(6.0 / ((shape[0] + shape[1]) * receptive))
    return uniform(limit)(generator, shape)


def kaiming_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal with variance 2/fan_out (He et al. 2015), what ResNets use for convolutions."""
    fan_out = shape[0] * math.prod(shape[2:])
    return (generator.standard_normal(shape) * math.sqrt(2.0 / fan_out)).astype(np.float32)


def fan_in_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Truncated normal of standard deviation fan_in^-1/2: a layer's output is as large as its input."""
    return truncated_normal(math.prod(shape[1:]) ** -0.5)(generator, shape)


def kaiming_normal_fan_in(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal with variance 2/fan_in (He et al. 2015, equation 10): keeps the size of activations through ReLUs."""
    return (generator.standard_normal(shape) * math.sqrt(2.0 / math.prod(shape[1:]))).astype(np.float32)


def kaiming_uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in +-sqrt(1 / fan_in): PyTorch's default for linear and convolutional weights."""
    return uniform(math.sqrt(1.0 / math.prod(shape[1:])))(generator, shape)
