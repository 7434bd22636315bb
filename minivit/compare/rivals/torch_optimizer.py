"""A configuration's optimiser, clipping and averaging in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minivit.nn import Module
from minivit.optim import decays_matrices
from minivit.optim.muon import ITERATIONS, QUINTIC, is_hidden_matrix
from minivit.recipes.config import TrainConfig


class TorchOptimizer:
    """What follows the backward in a training step: clip, update, average.

    Parameters
    ----------
    twin : torch.nn.Module
    model : Module
        Ours, whose parameters have the twin's names: it says which of them decay and which Muon takes.
    config : TrainConfig
        With a preset filled in.

    Raises
    ------
    ValueError
        For layer-wise learning rates, which it does not have.
    """

    def __init__(self, twin: Any, model: Module, config: TrainConfig) -> None:
        import torch

        if config.layer_decay not in (None, 1.0):
            raise ValueError(f"TorchOptimizer: layer_decay has to be 1, got {config.layer_decay}")
        self.config, self.parameters = config, list(twin.parameters())
        ours, muon = dict(model.named_parameters()), config.optimizer == "muon"
        decay = config.weight_decay or 0.0
        groups: dict[tuple[bool, float], list[Any]] = {}
        for name, parameter in twin.named_parameters():
            hidden = muon and is_hidden_matrix(name, ours[name])
            groups.setdefault((hidden, decay if decays_matrices(name, ours[name]) else 0.0), []).append(parameter)
        others = [{"params": p, "weight_decay": d} for (hidden, d), p in groups.items() if not hidden]
        matrices = [{"params": p, "weight_decay": d} for (hidden, d), p in groups.items() if hidden]
        rate = config.learning_rate or 0.0
        self.optimizers: list[tuple[Any, float]] = []  # with the factor of the learning rate
        if config.optimizer == "sgd":
            nesterov = config.nesterov is not False
            self.optimizers.append((torch.optim.SGD(others, rate, momentum=0.9, nesterov=nesterov, fused=True), 1.0))
        else:
            self.optimizers.append((torch.optim.AdamW(others, rate, fused=True), 1.0))
        if matrices:
            self.optimizers.append((make_muon(matrices), (config.matrix_learning_rate or 0.0) / rate))
        self.averages = [p.detach().clone() for p in self.parameters] if config.ema else []
        self.steps = 0

    def step(self, learning_rate: float) -> None:
        """Clip, update with the gradients that are there, drop them, and take the weights into the average."""
        import torch
        from torch.optim.swa_utils import get_ema_multi_avg_fn

        self.steps += 1
        if self.config.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip, foreach=True)
        for optimizer, factor in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.averages:
            decay = min(self.config.ema or 0.0, (1 + self.steps) / (10 + self.steps))
            get_ema_multi_avg_fn(decay)(self.averages, self.parameters, self.steps)


def make_muon(groups: list[dict[str, Any]]) -> Any:
    """`torch.optim.Muon`, but for its iteration in bfloat16: this one computes in the dtype of the weights, as ours."""
    import torch

    class Muon(torch.optim.Optimizer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(groups, {"lr": 0.02, "weight_decay": 0.0, "momentum": 0.95})

        @torch.no_grad()  # type: ignore[untyped-decorator]
        def step(self, closure: Callable[[], Any] | None = None) -> None:  # noqa: ARG002
            for group in self.param_groups:
                for p in group["params"]:
                    state, momentum = self.state[p], group["momentum"]
                    if not state:
                        state["momentum"] = torch.zeros_like(p)
                    average = state["momentum"].lerp_(p.grad, 1 - momentum)
                    u = orthogonalize(p.grad.lerp(average, momentum))
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(u, alpha=-group["lr"] * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)

    return Muon()


def orthogonalize(matrix: Any) -> Any:
    """U V^T of a matrix U S V^T, roughly: see `minivit.optim.muon.orthogonalize`; the products as in torch.optim."""
    import torch

    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
