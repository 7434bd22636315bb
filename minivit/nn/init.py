"""Initial weights, always drawn on the host, so that a seed means the same weights on every device."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from minivit.autograd.errors import MinivitError
from minivit.backend.random import generator as keyed_generator

if TYPE_CHECKING:
    from minivit.nn.module import Module
    from minivit.nn.parameter import Parameter

Initializer: TypeAlias = "Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]"


class _Deferral(threading.local):
    active = False


_DEFERRAL = _Deferral()
_LAYERS: list[np.random.Generator] = []  # the one that layers draw from, once it is needed


class TooManyParametersError(MinivitError, ValueError):
    """More parameters than are allowed: see `at_most`."""


class _Allowance(threading.local):
    left: float = math.inf


_ALLOWANCE = _Allowance()


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Let this thread make parameters of no more than so many values inside the block.

    For settings that come from a file: they may ask for more than any memory holds. The parameter that is too much
    raises a `TooManyParametersError`.
    """
    before = _ALLOWANCE.left
    _ALLOWANCE.left = count
    try:
        yield
    finally:
        _ALLOWANCE.left = before


def spend(shape: tuple[int, ...]) -> None:
    """Take a parameter of this shape off what `at_most` allows."""
    _ALLOWANCE.left -= _affordable(shape)


def _affordable(shape: tuple[int, ...]) -> int:
    size = math.prod(shape)
    if size > _ALLOWANCE.left:
        raise TooManyParametersError(
            f"a parameter of shape {shape} is more than the {_ALLOWANCE.left} values that are left"
        )
    return size


def seed_layers(seed: int) -> None:
    """Start anew the numbers that layers draw their initial weights from where they are given no generator."""
    _LAYERS[:] = [keyed_generator(seed, "layers")]


@contextmanager
def deferred() -> Iterator[None]:
    """Let layers start at zero inside the block: for a model that draws or loads all its weights afterwards."""
    before = _DEFERRAL.active
    _DEFERRAL.active = True
    try:
        yield
    finally:
        _DEFERRAL.active = before


def layer_weight(shape: tuple[int, ...], generator: np.random.Generator | None) -> np.ndarray:
    """Initial weight of a layer: uniform in +-fan_in^-1/2, or zeros inside `deferred`."""
    _affordable(shape)
    if _DEFERRAL.active and generator is None:
        return blank(shape)
    if generator is None and not _LAYERS:
        seed_layers(0)
    return kaiming_uniform(generator or _LAYERS[0], shape)


def blank(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros, as float32; nothing is allocated if `at_most` does not allow so many."""
    _affordable(shape)
    return np.zeros(shape, np.float32)


def draw(module: Module, initializer: Callable[[str], Initializer], seed: int) -> None:
    """Draw every parameter of a module anew.

    Each has a stream of random numbers of its own, so none depends on another, nor on the number of threads.

    Parameters
    ----------
    module : Module
    initializer : callable
        Full name of a parameter -> what draws it.
    seed : int
    """
    from concurrent.futures import ThreadPoolExecutor

    def fill(named: tuple[str, Parameter]) -> None:
        path, parameter = named
        parameter.assign(initializer(path)(keyed_generator(seed, "weights", path), parameter.shape))

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(fill, module.named_parameters()):
            pass


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


def xavier_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal with variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010)."""
    receptive = math.prod(shape[2:])
    return normal(math.sqrt(2.0 / ((shape[0] + shape[1]) * receptive)))(generator, shape)


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
