"""Vision Transformers on a hand-written autograd engine over NumPy and CuPy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from minivit import autograd, nn, ops, optim
from minivit.autograd import (
    Op,
    Tensor,
    enable_grad,
    grad,
    no_grad,
    stop_gradient,
    tensor,
    unrolled,
)
from minivit.nn import manual_seed
from minivit.version import __version__

if TYPE_CHECKING:
    from minivit import augment, data, inspect, interop, models
    from minivit.autograd import check_gradients, prove

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

# What `import minivit` does not wait for: it is loaded on its first use.
_ROOMS = ("augment", "data", "inspect", "interop", "models")
_PROOFS = ("check_gradients", "prove")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")  # which sets the attribute: the next use does not come here
    if name in _PROOFS:
        return getattr(autograd, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
