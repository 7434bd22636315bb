"""Stochastic gradient descent with momentum, in PyTorch's form (Sutskever et al. 2013)."""

from __future__ import annotations

from typing import Any

from minivit.nn import Module
from minivit.optim.optimizer import Optimizer


class SGD(Optimizer):
    """g = gradient + decay p,  b = momentum b + g,  p = p - lr b   (Nesterov: p = p - lr (g + momentum b)).

    Parameters
    ----------
    module : Module
    learning_rate : float
    momentum : float
        0 remembers no gradient: b in the formula is then g.
    nesterov : bool
    weight_decay : float
        Added to the gradient (L2), as in PyTorch's SGD.
    **options
        `decays`, `learning_rate_scale`: see `Optimizer`.
    """

    state_names = ("momentum",)

    def __init__(
        self,
        module: Module,
        learning_rate: float = 0.1,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        **options: Any,
    ) -> None:
        if not 0.0 <= momentum < 1.0 or (nesterov and momentum == 0.0):
            raise ValueError(f"SGD: momentum must lie in [0, 1), above 0 with nesterov; got {momentum}")
        super().__init__(module, learning_rate, weight_decay, **options)
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, part: slice, learning_rate: float, weight_decay: float, count: int) -> None:  # noqa: ARG002
        """One step of the formula above, in place."""
        p, g, buffer = self.flat.data[part], self.flat.grad[part], self.state["momentum"][part]
        if weight_decay:
            g = g + weight_decay * p
        if self.momentum:
            buffer *= self.momentum
            buffer += g
            g = (g + self.momentum * buffer) if self.nesterov else buffer
        p -= learning_rate * g
