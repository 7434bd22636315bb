"""Moving a tensor between devices, with its gradient moving back."""

from __future__ import annotations

from typing import Any

from minivit.autograd.op import Op
from minivit.backend import device_of, move


class Move(Op):
    """y = x on another device."""

    primitive = True
    changes_device = True

    @staticmethod
    def forward(F: Any, x: Any, *, device: str) -> Any:
        """Copy to `device`."""
        return move(x, device), device_of(x)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, device: str) -> tuple[Any]:
        """Copy back."""
        return (move(dy, saved) if not hasattr(dy, "node") else dy.to(saved),)
