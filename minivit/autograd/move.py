"""Moving a tensor between devices, with its gradient moving back."""

from __future__ import annotations

from typing import Any

from minivit.autograd.op import Op
from minivit.autograd.tensor import Tensor
from minivit.backend import device_of, move


class Move(Op):
    """y = x on another device."""

    primitive = True
    changes_device = True

    @staticmethod
    def forward(F: Any, x: Any, *, device: str) -> Any:
        """Copy to `device`."""
        if isinstance(x, Tensor):
            return x.to(device), x.device
        return move(x, device), device_of(x)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, device: str) -> tuple[Any]:
        """Copy back."""
        return (dy.to(saved) if isinstance(dy, Tensor) else move(dy, saved),)
