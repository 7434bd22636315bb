"""Tensor, node, the backward walk, stop_gradient, grad, hooks and errors; no op's mathematics."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from minivit.autograd.apply import apply, apply_with_saved, check_devices
from minivit.autograd.backward import backward, grad
from minivit.autograd.hooks import Hook, hooked
from minivit.autograd.node import Node
from minivit.autograd.op import Op, Placeholder
from minivit.autograd.state import enable_grad, is_grad_enabled, no_grad, unrolled
from minivit.autograd.stop_gradient import stop_gradient
from minivit.autograd.tensor import Tensor, as_tensor, is_scalar, tensor

if TYPE_CHECKING:
    from minivit.autograd.check import GradientReport, check_gradients
    from minivit.autograd.proof import Proof, prove
    from minivit.autograd.rung import Rung

__all__ = [
    "GradientReport",
    "Hook",
    "Node",
    "Op",
    "Placeholder",
    "Proof",
    "Rung",
    "Tensor",
    "apply",
    "apply_with_saved",
    "as_tensor",
    "backward",
    "check_devices",
    "check_gradients",
    "enable_grad",
    "grad",
    "hooked",
    "is_grad_enabled",
    "is_scalar",
    "no_grad",
    "prove",
    "stop_gradient",
    "tensor",
    "unrolled",
]

_ON_FIRST_USE = {  # what proves gradients: `import minivit` does not wait for it
    "GradientReport": "check",
    "check_gradients": "check",
    "Proof": "proof",
    "prove": "proof",
    "Rung": "rung",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_ON_FIRST_USE[name]}"), name)
    return value
