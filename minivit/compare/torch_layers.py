"""Layers of `minivit.nn` as modules of `torch.nn`: PyTorch's own attention and encoder layer, not transcriptions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from minivit import nn

# Names of parameters, ours: PyTorch's. What is not listed has the same name in both.
ATTENTION = {"qkv.weight": "in_proj_weight", "qkv.bias": "in_proj_bias", "proj": "out_proj"}
BLOCK = {**{f"attn.{ours}": f"self_attn.{theirs}" for ours, theirs in ATTENTION.items()}, "mlp.fc": "linear"}


def torch_twin(layer: nn.Module) -> tuple[Any, dict[str, str]]:
    """A module of PyTorch with the settings and the weights of a layer.

    Parameters
    ----------
    layer : Linear, LayerNorm, Conv2d, ConvTranspose2d, BatchNorm2d, MultiHeadSelfAttention, Mlp, TransformerBlock,
        PatchEmbedding or ConvolutionalStem
        Without dropout and drop-path, whose masks would differ.

    Returns
    -------
    twin : torch.nn.Module
    names : dict of str to str
        For each parameter and buffer of the layer, its name in the twin.

    Raises
    ------
    ValueError
        For another layer.
    """
    import torch

    if type(layer).__name__ not in BUILDERS:
        raise ValueError(f"no twin of {type(layer).__name__} in PyTorch; there are those of {', '.join(BUILDERS)}")
    twin, renamed = BUILDERS[type(layer).__name__](layer)
    state = layer.state_dict()
    names = {name: _renamed(name, renamed) for name in state}
    arrays = {names[name]: torch.from_numpy(np.array(array)) for name, array in state.items()}
    dtype = next(array.dtype for array in arrays.values() if array.is_floating_point())
    twin = twin.to(dtype)
    twin.load_state_dict(arrays)
    return twin.train(layer.training), names


def _renamed(name: str, renamed: dict[str, str]) -> str:
    for ours, theirs in renamed.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _linear(layer: Any) -> tuple[Any, dict[str, str]]:
    from torch import nn as torch_nn

    outer, inner = layer.weight.shape
    return torch_nn.Linear(inner, outer, bias=layer.bias is not None), {}


def _layer_norm(layer: Any) -> tuple[Any, dict[str, str]]:
    from torch import nn as torch_nn

    return torch_nn.LayerNorm(layer.weight.shape[0], eps=layer.eps), {}


def _conv2d(layer: Any) -> tuple[Any, dict[str, str]]:
    from torch import nn as torch_nn

    outer, inner, kernel, _ = layer.weight.shape
    return torch_nn.Conv2d(inner, outer, kernel, layer.stride, layer.padding, bias=layer.bias is not None), {}


def _conv_transpose2d(layer: Any) -> tuple[Any, dict[str, str]]:
    from torch import nn as torch_nn

    inner, outer, kernel, _ = layer.weight.shape
    settings = (layer.stride, layer.padding, layer.output_padding)
    return torch_nn.ConvTranspose2d(inner, outer, kernel, *settings, bias=layer.bias is not None), {}


def _batch_norm(layer: Any) -> tuple[Any, dict[str, str]]:
    from torch import nn as torch_nn

    return torch_nn.BatchNorm2d(len(layer.running_mean), eps=layer.eps, momentum=layer.momentum), {}


def _attention(layer: Any) -> tuple[Any, dict[str, str]]:
    from torch import nn as torch_nn

    class SelfAttention(torch_nn.MultiheadAttention):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return super().forward(x, x, x, need_weights=False)[0]

    return SelfAttention(layer.proj.weight.shape[0], layer.heads, batch_first=True), ATTENTION


def _gelu(kind: str) -> Callable[[Any], Any]:
    from torch.nn import functional

    return lambda x: functional.gelu(x, approximate=kind)


def _mlp(layer: Any) -> tuple[Any, dict[str, str]]:
    from torch import nn as torch_nn

    hidden, dim = layer.fc1.weight.shape
    perceptron = torch_nn.Sequential(
        torch_nn.Linear(dim, hidden), torch_nn.GELU(approximate=layer.gelu), torch_nn.Linear(hidden, dim)
    )
    return perceptron, {"fc1": "0", "fc2": "2"}


def _block(layer: Any) -> tuple[Any, dict[str, str]]:
    from torch import nn as torch_nn

    hidden, dim = layer.mlp.fc1.weight.shape
    block = torch_nn.TransformerEncoderLayer(
        dim,
        layer.attn.heads,
        hidden,
        dropout=0.0,
        activation=_gelu(layer.mlp.gelu),
        layer_norm_eps=layer.norm1.eps,
        batch_first=True,
        norm_first=True,
    )
    return block, BLOCK


def _patch_embedding(layer: Any) -> tuple[Any, dict[str, str]]:
    from torch import nn as torch_nn

    dim, channels, size, _ = layer.proj.weight.shape

    class Patches(torch_nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.proj = torch_nn.Conv2d(channels, dim, size, size)

        def forward(self, images: Any) -> Any:
            return self.proj(images).flatten(2).transpose(1, 2)  # (B, N, D)

    return Patches(), {}


def _stem(layer: Any) -> tuple[Any, dict[str, str]]:
    from torch import nn as torch_nn
    from torch.nn import functional

    widths = [layer.convs[0].weight.shape[1], *(conv.weight.shape[0] for conv in layer.convs)]

    class Stem(torch_nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.convs = torch_nn.ModuleList(torch_nn.Conv2d(c, o, 3, padding=1) for c, o in pairwise(widths))
            self.norm = torch_nn.LayerNorm(widths[-1], eps=layer.norm.eps)
            self.proj = torch_nn.Linear(widths[-1], layer.proj.weight.shape[0])

        def forward(self, images: Any) -> Any:
            x = images
            for number, conv in enumerate(self.convs):
                x = conv(x)
                x = functional.max_pool2d(functional.relu(x) if number < len(self.convs) - 1 else x, 2)
            return self.proj(functional.relu(self.norm(x.flatten(2).transpose(1, 2))))  # (B, N, D)

    return Stem(), {}


BUILDERS: dict[str, Callable[[Any], tuple[Any, dict[str, str]]]] = {
    "Linear": _linear,
    "LayerNorm": _layer_norm,
    "Conv2d": _conv2d,
    "ConvTranspose2d": _conv_transpose2d,
    "BatchNorm2d": _batch_norm,
    "MultiHeadSelfAttention": _attention,
    "Mlp": _mlp,
    "TransformerBlock": _block,
    "PatchEmbedding": _patch_embedding,
    "ConvolutionalStem": _stem,
}
