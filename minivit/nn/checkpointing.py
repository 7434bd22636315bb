"""Activation checkpointing (Chen et al. 2016, arXiv:1604.06174): keep a module's input, recompute its inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minivit.autograd import Op, Tensor, apply, enable_grad, grad, no_grad
from minivit.autograd.errors import GradientError
from minivit.nn.batch_norm import frozen_running_statistics
from minivit.nn.module import Module
from minivit.nn.randomness import current_keys, restored_keys


class Checkpoint(Op):
    """y = function(x), of which only x is kept; the backward runs the function again, recording this time.

    The parameters are inputs so that their gradients have somewhere to go.
    """

    keeps = ("x",)

    @staticmethod
    def forward(F: Any, x: Any, *parameters: Any, function: Callable[[Tensor], Tensor]) -> Any:
        """The function's output, without a graph (with one where the input is a Tensor)."""
        if isinstance(x, Tensor):
            return function(x)
        with no_grad():
            return function(Tensor(x)).data

    @staticmethod
    def backward(
        F: Any,
        dy: Any,
        saved: Any,
        x: Any,
        *parameters: Any,
        function: Callable[[Tensor], Tensor],
        wanted: tuple[bool, ...],
    ) -> tuple[Any, ...]:
        """Gradients of x and the parameters, through a graph that lives only here."""
        function.check_mode()  # type: ignore[attr-defined]
        differentiable = isinstance(x, Tensor)
        again = x if differentiable else Tensor(x, requires_grad=True)
        with enable_grad(), frozen_running_statistics():
            y = function(again)
        targets = [again, *function.parameters]  # type: ignore[attr-defined]
        chosen = [target for target, want in zip(targets, wanted, strict=True) if want]
        found = iter(grad(y, chosen, dy, create_graph=differentiable, allow_unused=True))
        gradients = [next(found) if want else None for want in wanted]
        return tuple(g if g is None or differentiable else g.data for g in gradients)


class _Recomputable:
    """A module's forward that draws the same masks every time it runs."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.keys = current_keys().copy()
        self.training = module.training

    def check_mode(self) -> None:
        """Raise if the module would now compute something else."""
        if self.module.training is not self.training:
            raise GradientError(
                f"checkpoint: {type(self.module).__name__} ran with training={self.training} and is now switched to "
                f"{self.module.training}, so recomputing it gives other values; run backward before train() or eval()"
            )

    def __call__(self, x: Tensor) -> Tensor:
        with restored_keys(self.keys):
            y: Tensor = self.module(x)
            self.keys_after = current_keys().next_op
        return y


def checkpoint(module: Module, x: Tensor) -> Tensor:
    """`module(x)`, keeping only `x` for the backward.

    Parameters
    ----------
    module : Module
        Of one input and one output.
    x : Tensor

    Returns
    -------
    Tensor
    """
    function = _Recomputable(module)
    y = apply(Checkpoint, x, *function.parameters, function=function)
    current_keys().next_op = function.keys_after  # the layers behind draw what they would have drawn
    return y
