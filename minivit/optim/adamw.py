"""AdamW: Adam (Kingma & Ba 2015, arXiv:1412.6980) with decoupled weight decay (Loshchilov & Hutter 2019)."""

from __future__ import annotations

from typing import Any

from minivit.backend import array_module
from minivit.nn import Module
from minivit.optim.optimizer import Optimizer


class AdamW(Optimizer):
    """AdamW, in PyTorch's form.

    m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,
    p = p (1 - lr decay) - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps),
    where t counts the updates of each parameter: the steps in which it had a gradient.

    Parameters
    ----------
    module : Module
    learning_rate : float
    betas : (float, float)
    eps : float
    weight_decay : float
    **options
        `decays`, `learning_rate_scale`: see `Optimizer`.
    """

    state_names = ("m", "v")

    def __init__(
        self,
        module: Module,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.05,
        **options: Any,
    ) -> None:
        if not (0.0 <= betas[0] < 1.0 and 0.0 <= betas[1] < 1.0):
            raise ValueError(f"AdamW: betas must lie in [0, 1), got {betas}")
        if not eps > 0.0:
            raise ValueError(f"AdamW: eps must be positive, got {eps}")
        super().__init__(module, learning_rate, weight_decay, **options)
        self.betas, self.eps = betas, eps

    def update(self, part: slice, learning_rate: float, weight_decay: float, count: int) -> None:
        """One step of the formula above, in place."""
        p, g = self.flat.data[part], self.flat.grad[part]
        m, v = self.state["m"][part], self.state["v"][part]
        (b1, b2), t = self.betas, count
        xp = array_module(p)
        m *= b1
        m += (1.0 - b1) * g
        v *= b2
        v += (1.0 - b2) * (g * g)
        denominator = xp.sqrt(v)
        denominator *= (1.0 - b2**t) ** -0.5
        denominator += self.eps
        if weight_decay:
            p *= 1.0 - learning_rate * weight_decay
        p -= (learning_rate / (1.0 - b1**t)) * (m / denominator)
