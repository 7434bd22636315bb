"""Vision Transformers on a hand-written autograd engine over NumPy and CuPy."""

from minivit import augment, data, inspect, interop, models, nn, ops, optim
from minivit.autograd import (
    Op,
    Tensor,
    check_gradients,
    enable_grad,
    grad,
    no_grad,
    prove,
    stop_gradient,
    tensor,
    unrolled,
)
from minivit.nn import manual_seed
from minivit.version import __version__

__all__ = [
    "Op",
    "Tensor",
    "__version__",
    "augment",
    "check_gradients",
    "data",
    "enable_grad",
    "grad",
    "inspect",
    "interop",
    "manual_seed",
    "models",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "prove",
    "stop_gradient",
    "tensor",
    "unrolled",
]
