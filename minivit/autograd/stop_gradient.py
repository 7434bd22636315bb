"""The explicit stop-gradient node."""

from __future__ import annotations

from typing import Any

from minivit.autograd.apply import apply
from minivit.autograd.op import Op
from minivit.autograd.tensor import Tensor, as_tensor


class StopGradient(Op):
    """y = x in the forward, and no gradient in the backward: sg(x) in the literature."""

    primitive = True
    stops = True

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        """The input itself."""
        return F.stop(x)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[None]:
        """Nothing, at every order of differentiation."""
        return (None,)


def stop_gradient(x: Any) -> Tensor:
    """The values of `x` as a constant: gradients stop here.

    The result's node says ``stop_gradient`` and has no arrow to what is behind it, so the activations behind the stop
    can be freed as soon as the forward lets go of them.

    Parameters
    ----------
    x : Tensor
        Any shape.

    Returns
    -------
    Tensor
        Same values; ``requires_grad`` is False.
    """
    return apply(StopGradient, as_tensor(x))
