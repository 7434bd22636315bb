"""Every layer with parameters against PyTorch's own module and JAX: output, gradients of the input and of weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from minivit import nn
from minivit.compare.modules import COMPUTED_BY, by_minivit, randomise
from minivit.compare.rows import DTYPES, Row, Skip, row

TOLERANCES = {"float32": 2e-5, "float64": 2e-14}

IMAGES = (4, 3, 8, 8)
TOKENS = (2, 5, 12)
WITHOUT_TWIN = {
    "Dropout": "an identity in evaluation; its mask is an input of the op dropout, which is compared",
    "DropPath": "an identity in evaluation; its mask is an input of the op drop_path, which is compared",
}


def layers() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """For each name a layer, with the shape of what it takes: new objects at each call, the same numbers each time."""
    rng = np.random.default_rng(5)
    found: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "Linear": (nn.Linear(12, 7, generator=rng), TOKENS),
        "Linear without bias": (nn.Linear(12, 7, bias=False, generator=rng), TOKENS),
        "LayerNorm": (nn.LayerNorm(12), TOKENS),
        "Conv2d": (nn.Conv2d(3, 5, 3, stride=2, padding=1, generator=rng), IMAGES),
        "ConvTranspose2d": (nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1, generator=rng), IMAGES),
        "BatchNorm2d in training": (nn.BatchNorm2d(3).train(), IMAGES),
        "BatchNorm2d in evaluation": (nn.BatchNorm2d(3).eval(), IMAGES),
        "MultiHeadSelfAttention": (nn.MultiHeadSelfAttention(12, 3), TOKENS),
        "Mlp": (nn.Mlp(12, 20), TOKENS),
        "Mlp with tanh GELU": (nn.Mlp(12, 20, gelu="tanh"), TOKENS),
        "TransformerBlock": (nn.TransformerBlock(12, 3, 20), TOKENS),
        "PatchEmbedding": (nn.PatchEmbedding(3, 10, 4), IMAGES),
        "ConvolutionalStem": (nn.ConvolutionalStem(3, (5, 6), 10), IMAGES),
    }
    for layer, _ in found.values():
        state = {name: 0.4 * rng.standard_normal(p.shape) for name, p in layer.named_parameters() if p.ndim > 1}
        layer.load_state_dict(state, strict=False)  # drawn here, not by the generator that `manual_seed` seeds
        randomise(layer, seed=6)
    return found


def layer_rows(references: Sequence[str], dtypes: Iterable[str] = DTYPES) -> tuple[list[Row], list[Skip]]:
    """A row for every layer, reference and dtype, and what has no counterpart.

    Parameters
    ----------
    references : sequence of {"PyTorch", "JAX"}
    dtypes : iterable of {"float32", "float64"}
    """
    rows, skips = [], [Skip(name, "all", reason) for name, reason in WITHOUT_TWIN.items()]
    for name, (layer, shape) in layers().items():
        for dtype in dtypes:
            module = layer.astype(dtype)
            rng = np.random.default_rng(7)
            x = rng.standard_normal(shape).astype(dtype)
            value, _ = by_minivit(module, x)
            cotangent = rng.standard_normal(value.shape).astype(dtype)
            ours = by_minivit(module, x, cotangent)
            for reference in references:
                theirs = COMPUTED_BY[reference](module, x, cotangent)
                rows.append(row("layer", name, reference, ours, theirs, TOLERANCES[dtype]))
    return rows, skips
