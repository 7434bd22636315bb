"""Vision Transformers on a hand-written autograd engine over NumPy and CuPy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from minivit import nn, ops, optim
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

if TYPE_CHECKING:
    from minivit import augment, data, inspect, interop, models

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

_ON_FIRST_USE = ("augment", "data", "inspect", "interop", "models")  # `import minivit` does not wait for them


def __getattr__(name: str) -> Any:
    if name in _ON_FIRST_USE:
        return import_module(f"minivit.{name}")  # which makes it an attribute: the next use does not come here
    raise AttributeError(f"module 'minivit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_FIRST_USE})
