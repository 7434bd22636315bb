"""AdamW: Adam (Kingma & Ba 2015, arXiv:1412.6980) with decoupled weight decay (Loshchilov & Hutter 2019)."""

from __future__ import annotations

from typing import Any

from minivit.backend import backend_of
from minivit.backend.kernels import find_adamw
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
        """One step of the formula above, in place: by a kernel where there is one, else by the text below."""
        p, g = self.flat.data[part], self.flat.grad[part]
        m, v = self.state["m"][part], self.state["v"][part]
        b1, b2 = self.betas
        c1, c2 = 1.0 - b1**count, 1.0 - b2**count
        backend = backend_of(p)
        fused = find_adamw(backend.name)
        if fused is not None:
            fused(
                p, g, m, v,
                learning_rate=learning_rate, betas=self.betas, eps=self.eps, weight_decay=weight_decay,
                bias_corrections=(c1, c2),
            )  # fmt: skip
            return
        m *= b1
        m += (1.0 - b1) * g
        v *= b2
        v += (1.0 - b2) * (g * g)
        denominator = backend.module.sqrt(v)
        denominator *= c2**-0.5
        denominator += self.eps
        if weight_decay:
            p *= 1.0 - learning_rate * weight_decay
        p -= (learning_rate / c1) * (m / denominator)
