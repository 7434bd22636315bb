"""Whole models from random weights: logits and every gradient against PyTorch and JAX.

Gradients of ViT-Ti/16 are compared at its full size; of the others in a narrow version, of the same depth, heads,
patches and image size, so that it takes seconds. The forward of the others at full size has to be asked for: it takes
minutes and, for ViT-H/14, many gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minivit import models, nn
from minivit.compare.modules import COMPUTED_BY, by_minivit, randomise
from minivit.compare.rows import DTYPES, Computed, Row, Skip, row

TOLERANCES = {"float32": 3e-5, "float64": 2e-13}

FULL_SIZE = (
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "vit_base_patch32_224",
    "vit_large_patch16_224",
    "vit_huge_patch14_224",
    "resnet50",
)
HEAD_WIDTH = 4  # of the narrow versions; 64 or 80 at full size


@dataclass(frozen=True)
class ModelCase:
    """A model to compare.

    Attributes
    ----------
    name : str
        In `minivit.models`.
    note : str
        What differs from the named model.
    overrides : dict
        Of its settings.
    batch_size : int
    image_size : int
    gradients : bool
        Or the forward alone.
    training : bool
        With the statistics of the batch in batch normalisation.
    """

    name: str
    note: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 1
    image_size: int = 224
    gradients: bool = True
    training: bool = False

    def create(self, seed: int = 0) -> nn.Module:
        """The model, with random weights."""
        options = {"seed": seed, **self.overrides}
        return randomise(models.create(self.name, **options), seed).train(self.training)


def narrow(name: str) -> ModelCase:
    """A Vision Transformer of the depth, heads, patches and image size of a named one, a few numbers wide a head."""
    settings = models.find(name).settings
    dim = HEAD_WIDTH * settings["heads"]
    overrides = {"dim": dim, "mlp_dim": 4 * dim, "num_classes": 10}
    return ModelCase(name, f"{dim} wide", overrides)


def model_cases() -> list[ModelCase]:
    """Those whose gradients are compared."""
    residual = {"width": 8, "num_classes": 10}
    return [
        ModelCase("vit_tiny_patch16_224"),
        *(narrow(name) for name in FULL_SIZE if name.startswith("vit")),
        ModelCase("resnet50", "an eighth as wide, training", residual, 4, 64, training=True),
        ModelCase("resnet50", "an eighth as wide, evaluation", residual, 4, 64),
    ]


def full_cases() -> list[ModelCase]:
    """Those whose forward is compared at full size."""
    return [ModelCase(name, "full size", gradients=False) for name in FULL_SIZE]


def model_rows(
    references: Sequence[str], dtypes: Iterable[str] = DTYPES, chosen: Sequence[ModelCase] | None = None
) -> list[Row]:
    """A row for every model, reference and dtype.

    Parameters
    ----------
    references : sequence of {"PyTorch", "JAX"}
    dtypes : iterable of {"float32", "float64"}
    chosen : sequence of ModelCase, optional
        Those of `model_cases` by default.

    Returns
    -------
    list of Row
    """
    every = model_cases() if chosen is None else chosen
    return [found for case in every for dtype in dtypes for found in _case_rows(case, dtype, references)]


def full_skips() -> list[Skip]:
    """What is left out where full sizes are not asked for."""
    return [Skip(f"{name} at full size", "all", "takes minutes: ask for it with --full") for name in FULL_SIZE]


def _case_rows(case: ModelCase, dtype: str, references: Sequence[str]) -> Iterator[Row]:
    model = case.create().astype(dtype)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((case.batch_size, 3, case.image_size, case.image_size)).astype(dtype)
    cotangent = None
    if case.gradients:
        classes = model.config["num_classes"]  # type: ignore[attr-defined]
        cotangent = rng.standard_normal((case.batch_size, classes)).astype(dtype)
    ours: Computed | None = None
    for reference in references:
        theirs = COMPUTED_BY[reference](model, x, cotangent)
        ours = by_minivit(model, x, cotangent) if ours is None else ours
        yield row("model", case.name, reference, ours, theirs, TOLERANCES[dtype], note=case.note)
