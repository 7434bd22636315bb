"""One layer or model with the same weights in minivit, PyTorch and JAX: its output and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minivit import models, nn
from minivit.autograd import Tensor, no_grad
from minivit.compare import torch_layers, torch_resnet, torch_vit
from minivit.compare.against_jax import FAST_TO_COMPILE
from minivit.compare.jax_modules import jax_function
from minivit.compare.rows import Computed

INPUT = "input"


def by_minivit(module: nn.Module, inputs: Any, cotangent: Any = None) -> Computed:
    """Output of a module and its gradients.

    Parameters
    ----------
    module : Module
    inputs : array
        In the dtype of the parameters.
    cotangent : array of the output's shape, optional
        Without it only the forward runs.

    Returns
    -------
    value : array
    gradients : dict of str to array
        Of the input, named ``"input"``, and of each parameter.
    """
    if cotangent is None:
        with no_grad():
            return module(Tensor(inputs)).numpy(), {}
    module.zero_grad()
    x = Tensor(inputs, requires_grad=True)
    output = module(x)
    output.backward(cotangent)
    return output.numpy(), {INPUT: x.grad, **{name: p.grad for name, p in module.named_parameters()}}


def torch_twin(module: nn.Module) -> tuple[Any, dict[str, str]]:
    """The same layer or model in PyTorch, and its names of our parameters.

    Raises
    ------
    ValueError
        For a module or settings without a twin.
    """
    if isinstance(module, models.VisionTransformer):
        twin = torch_vit.torch_twin(module)
    elif isinstance(module, models.ResNet | models.WideResNet):
        twin = torch_resnet.torch_twin(module)
    else:
        return torch_layers.torch_twin(module)
    return twin.train(module.training), {name: name for name in twin.state_dict()}


def by_torch(module: nn.Module, inputs: Any, cotangent: Any = None) -> Computed:
    """The same by PyTorch: see `by_minivit`."""
    import torch

    twin, names = torch_twin(module)
    x = torch.from_numpy(np.array(inputs))
    if cotangent is None:
        with torch.inference_mode():
            return twin(x).numpy(), {}
    x.requires_grad_()
    output = twin(x)
    output.backward(torch.from_numpy(np.array(cotangent)))
    parameters = dict(twin.named_parameters())
    ours = [name for name, _ in module.named_parameters()]
    gradients = {INPUT: x.grad.numpy(), **{name: parameters[names[name]].grad.numpy() for name in ours}}
    return output.detach().numpy(), gradients


def by_jax(module: nn.Module, inputs: Any, cotangent: Any = None) -> Computed:
    """The same by JAX, in the dtype of the inputs: see `by_minivit`."""
    import jax

    function = jax_function(module)
    state = module.state_dict()
    parameters = {name: state[name] for name, _ in module.named_parameters()}
    statistics = {name: array for name, array in state.items() if name not in parameters}

    def value_and_gradients(parameters: Any, x: Any) -> Any:
        if cotangent is None:
            return function({**parameters, **statistics}, x), {}
        value, pullback = jax.vjp(lambda p, x: function({**p, **statistics}, x), parameters, x)
        gradients, along_input = pullback(jax.numpy.asarray(cotangent))
        return value, {INPUT: along_input, **gradients}

    # A stack of blocks is compiled once for all, and what compiles fast runs slowly.
    small = not isinstance(module, models.VisionTransformer) and module.count_parameters() < 1_000_000
    options = FAST_TO_COMPILE if small else None
    with jax.enable_x64(True):  # JAX computes in float32 otherwise, whatever comes in
        value, found = jax.jit(value_and_gradients, compiler_options=options)(parameters, inputs)
    return np.asarray(value), {name: np.asarray(gradient) for name, gradient in found.items()}


COMPUTED_BY: dict[str, Callable[..., Computed]] = {"PyTorch": by_torch, "JAX": by_jax}


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """Add noise to what is drawn as ones or zeros: biases, scales, tokens, positions, running statistics.

    A bias of zero would hide that it is left out, a scale of one that it is applied twice. Returns the module.
    """
    rng = np.random.default_rng(seed)
    matrices = {name for name, p in module.named_parameters() if p.ndim > 1 and name not in ("cls_token", "pos_embed")}
    state = module.state_dict()
    for name, array in state.items():
        if name not in matrices and array.dtype.kind == "f":
            noise = rng.standard_normal(array.shape)
            state[name] = array * np.exp(0.1 * noise) if name.endswith("running_var") else array + 0.1 * noise
    module.load_state_dict(state)
    return module
