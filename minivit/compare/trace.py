"""Layer by layer: where does a model first compute something else than its twin in PyTorch?

Both run on the same input with the same weights. Of every module that both have, what went in and came out is kept, and
then the gradients of these with a random cotangent. A module is suspected if it was given the same and made something
else of it; of suspected modules one of which contains the other, the inner one is guilty. Where all outputs agree, the
gradients are followed in the same way, backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.autograd import Hook, Tensor, grad
from minivit.autograd.hooks import hooked
from minivit.compare.distance import Distance, distance, largest
from minivit.compare.modules import torch_twin
from minivit.nn import Module

TOLERANCES = {"float32": 1e-4, "float64": 1e-10}  # relative: far above rounding, far below any fault


@dataclass(frozen=True)
class Step:
    """One module on the way.

    Attributes
    ----------
    name, kind : str
        Full name and class; the model's own name is empty.
    given, made : Distance
        What went in and what came out.
    gradient_given, gradient_made : Distance
        In the backward: the gradient of what came out, which goes in there, and of what went in, which comes out.
    parameters : Distance
        Gradients of the module's parameters, and of those of all modules below it.
    """

    name: str
    kind: str
    given: Distance
    made: Distance
    gradient_given: Distance
    gradient_made: Distance
    parameters: Distance

    def deviates(self, tolerance: float) -> bool:
        """Whether it made something else of the same."""
        return self.given.relative <= tolerance < self.made.relative

    def deviates_backward(self, tolerance: float) -> bool:
        """Whether it handed back something else for the same gradient."""
        found = max(self.gradient_made.relative, self.parameters.relative)
        return self.gradient_given.relative <= tolerance < found


@dataclass(frozen=True)
class Trace:
    """Every module that both models ran, in the order in which they finished.

    Attributes
    ----------
    steps : tuple of Step
    tolerance : float
    """

    steps: tuple[Step, ...]
    tolerance: float

    @property
    def guilty(self) -> Step | None:
        """The module where the two first part; None if they agree everywhere."""
        return self._innermost(Step.deviates, self.steps) or self._innermost(Step.deviates_backward, self.steps[::-1])

    def _innermost(self, deviates: Callable[[Step, float], bool], ordered: Sequence[Step]) -> Step | None:
        suspected = [step for step in ordered if deviates(step, self.tolerance)]
        for step in suspected:
            if not any(is_below(other.name, step.name) for other in suspected):
                return step
        return None

    @property
    def verdict(self) -> str:
        """What was found, in a sentence."""
        step = self.guilty
        if step is None:
            return "no deviation: every module's output and gradients agree"
        name = f"{step.name} ({step.kind})" if step.name else f"the model itself ({step.kind}), between its modules"
        if step.deviates(self.tolerance):
            return f"first deviation: {name} makes something else of the same input"
        return f"first deviation: {name} makes the same output, but hands back other gradients"


def is_below(name: str, other: str) -> bool:
    """Whether one module's full name lies below another's."""
    return name != other and (not other or name.startswith(f"{other}."))


def trace(model: Module, inputs: Any, reference: Module | None = None, seed: int = 0) -> Trace:
    """Follow a model and its twin in PyTorch through one forward and one backward.

    Parameters
    ----------
    model : Module
        One that has a twin: a VisionTransformer, ResNet or WideResNet.
    inputs : array
        In the dtype of its parameters.
    reference : Module, optional
        The model whose twin is taken, where `model` is a changed copy of it.
    seed : int
        Of the cotangent.

    Returns
    -------
    Trace

    Raises
    ------
    ValueError
        For a model without a twin.
    """
    ours = _by_minivit(model, inputs, seed)
    theirs = _by_torch(model if reference is None else reference, inputs, seed)
    kinds = {path: type(module).__name__.removeprefix("_") for path, module in model.named_modules()}
    names = [name for name in ours.modules if _shapes(ours, name) == _shapes(theirs, name)]
    apart = {name: distance(dp, theirs.parameters[name]) for name, dp in ours.parameters.items()}
    steps = []
    for name in names:
        (given, made, from_made, from_given), (g, m, fm, fg) = ours.modules[name], theirs.modules[name]
        steps.append(
            Step(
                name,
                kinds[name],
                distance(given, g),
                distance(made, m),
                distance(from_made, fm),
                distance(from_given, fg),
                largest(apart[parameter] for parameter in apart if is_below(parameter, name)),
            )
        )
    return Trace(tuple(steps), TOLERANCES[str(np.asarray(inputs).dtype)])


@dataclass(frozen=True)
class _Run:
    """By module: what it was given, what it made, the gradients of what it made and of what it was given."""

    modules: Mapping[str, tuple[Any, Any, Any, Any]]
    parameters: Mapping[str, Any]


def _shapes(run: _Run, name: str) -> list[tuple[int, ...]] | None:
    """Of what a module was given and made; a convolution over patches and a linear map of them are not compared."""
    return [array.shape for array in run.modules[name][:2]] if name in run.modules else None


class _Recorder(Hook):
    """Writes down what each module was given and the last thing computed in it, which is what it returns."""

    def __init__(self, model: Module) -> None:
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.running: list[tuple[Tensor, Tensor | None]] = []
        self.last: Tensor | None = None
        self.found: dict[str, tuple[Tensor, Tensor]] = {}

    def after_forward(self, op: Any, inputs: Any, output: Tensor, attributes: Any) -> None:  # noqa: ARG002
        """An op has run."""
        self.last = output

    def before_module(self, module: Module, inputs: tuple[Any, ...]) -> None:  # noqa: ARG002
        """A module begins."""
        self.running.append((inputs[0], self.last))

    def after_module(self, module: Module) -> None:
        """A module has finished; one in which no op ran is an identity, and left out."""
        given, before = self.running.pop()
        if self.last is not None and self.last is not before:
            self.found[self.paths[id(module)]] = given, self.last


def _by_minivit(model: Module, inputs: Any, seed: int) -> _Run:
    images = Tensor(inputs, requires_grad=True)
    recorder = _Recorder(model)
    with hooked(recorder):
        output = model(images)
    parameters = dict(model.named_parameters())
    tensors = [tensor for pair in recorder.found.values() for tensor in pair]
    wanted = [*tensors, *parameters.values()]
    gradients: Sequence[Any] = grad(output, wanted, _cotangent(output, seed), allow_unused=True)
    arrays = [np.zeros(x.shape, x.dtype) if dx is None else dx.numpy() for x, dx in zip(wanted, gradients, strict=True)]
    along = iter(arrays)
    modules = {}
    for name, (given, made) in recorder.found.items():
        from_given, from_made = next(along), next(along)
        modules[name] = given.numpy(), made.numpy(), from_made, from_given
    return _Run(modules, dict(zip(parameters, along, strict=True)))


def _by_torch(model: Module, inputs: Any, seed: int) -> _Run:
    import torch

    twin, names = torch_twin(model)
    found: dict[str, tuple[Any, Any]] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(_: Any, given: tuple[Any, ...], made: Any) -> None:
            found[name] = given[0], made

        return hook

    for name, module in twin.named_modules():
        module.register_forward_hook(record(name))
    images = torch.from_numpy(np.array(inputs)).requires_grad_()
    output = twin(images)
    theirs = dict(twin.named_parameters())
    parameters = {name: theirs[names[name]] for name, _ in model.named_parameters()}
    tensors = [tensor for pair in found.values() for tensor in pair]
    cotangent = torch.from_numpy(_cotangent(output, seed))
    gradients = torch.autograd.grad(output, [*tensors, *parameters.values()], cotangent, allow_unused=True)
    along = iter(gradients)
    modules = {}
    for name, (given, made) in found.items():
        from_given, from_made = next(along), next(along)
        modules[name] = tuple(
            torch.zeros_like(x).numpy() if dx is None else dx.detach().numpy()
            for x, dx in ((given, given), (made, made), (made, from_made), (given, from_given))
        )
    return _Run(modules, {name: g.numpy() for name, g in zip(parameters, along, strict=True)})


def _cotangent(output: Any, seed: int) -> Any:
    dtype = str(output.dtype).removeprefix("torch.")
    return np.random.default_rng(seed).standard_normal(tuple(output.shape)).astype(dtype)
