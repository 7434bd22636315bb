"""Named models."""

from __future__ import annotations

import difflib
import inspect
from typing import Any, NamedTuple

from minivit.models.resnet import ResNet
from minivit.models.vit import VisionTransformer
from minivit.models.wide_resnet import WideResNet
from minivit.nn import Module


class Config(NamedTuple):
    """A named model.

    Attributes
    ----------
    family : type of Module
    settings : dict
        What the family's constructor is given.
    """

    family: type[Module]
    settings: dict[str, Any]


# Width, depth, heads and perceptron of the published sizes: Dosovitskiy et al. 2020, table 1 (Base, Large, Huge);
# Touvron et al. 2021, arXiv:2012.12877, table 1 (Tiny, Small).
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"dim": 192, "depth": 12, "heads": 3, "mlp_dim": 768},
    "small": {"dim": 384, "depth": 12, "heads": 6, "mlp_dim": 1536},
    "base": {"dim": 768, "depth": 12, "heads": 12, "mlp_dim": 3072},
    "large": {"dim": 1024, "depth": 24, "heads": 16, "mlp_dim": 4096},
    "huge": {"dim": 1280, "depth": 32, "heads": 16, "mlp_dim": 5120},
}

PUBLISHED_PATCHES = {"tiny": (16,), "small": (8, 16, 32), "base": (8, 16, 32), "large": (14, 16, 32), "huge": (14,)}

CIFAR: dict[str, Any] = {"image_size": 32, "patch_size": 4, "num_classes": 10}

VISION_TRANSFORMERS: dict[str, dict[str, Any]] = {
    f"vit_{size}_patch{patch}_224": {**SIZES[size], "image_size": 224, "patch_size": patch, "num_classes": 1000}
    for size, patches in PUBLISHED_PATCHES.items()
    for patch in patches
} | {
    "vit_tiny_cifar": {**SIZES["tiny"], **CIFAR},
    "vit_small_cifar": {**SIZES["small"], **CIFAR},
    # Hassani et al. 2021, arXiv:2104.05704: ViT-Lite-7/4; Lee et al. 2021, arXiv:2112.13492: width 192, depth 9.
    "vit_lite_cifar": {**CIFAR, "dim": 256, "depth": 7, "heads": 4, "mlp_dim": 512},
    "vit_192x9_cifar": {**CIFAR, "dim": 192, "depth": 9, "heads": 12, "mlp_dim": 384},
    # Plain ViT for minutes on a CPU.
    "vit_micro_cifar": {
        **CIFAR,
        "dim": 96,
        "depth": 6,
        "heads": 3,
        "mlp_dim": 192,
        "pool": "sequence",
        "initialization": "fan_in",
    },
    # For many passes in minutes: `examples/vit_or_resnet.py`.
    "vit_nano_cifar": {
        **CIFAR,
        "dim": 64,
        "depth": 4,
        "heads": 2,
        "mlp_dim": 128,
        "pool": "sequence",
        "initialization": "fan_in",
    },
    # The model that Google's code is tested with.
    "vit_testing": {
        "dim": 10,
        "depth": 1,
        "heads": 2,
        "mlp_dim": 10,
        "image_size": 224,
        "patch_size": 16,
        "num_classes": 1000,
    },
}

# He et al. 2015, table 1.
RESNETS: dict[str, dict[str, Any]] = {
    "resnet18": {"block": "basic", "layers": (2, 2, 2, 2)},
    "resnet34": {"block": "basic", "layers": (3, 4, 6, 3)},
    "resnet50": {"block": "bottleneck", "layers": (3, 4, 6, 3)},
}
SMALL_IMAGES: dict[str, Any] = {"stem": "cifar", "num_classes": 10}
RESNETS |= {f"{name}_cifar": {**settings, **SMALL_IMAGES} for name, settings in RESNETS.items()} | {
    # As large as vit_micro_cifar: 480,026 parameters for its 460,810, 35,046,656 multiply-adds for its 33,338,304.
    "resnet_micro_cifar": {**SMALL_IMAGES, "block": "basic", "layers": (2, 2, 3, 1), "width": 16},
    # As large as vit_nano_cifar: 126,834 parameters for its 141,962, 11,231,872 multiply-adds for its 10,691,200.
    "resnet_nano_cifar": {**SMALL_IMAGES, "block": "basic", "layers": (3, 3, 3, 1), "width": 8},
}

# Zagoruyko & Komodakis 2016, table 4; 28-2 is the CIFAR-10 model of UDA and FixMatch, 28-8 FixMatch's for CIFAR-100.
WIDE_RESNETS: dict[str, dict[str, Any]] = {
    f"wrn_{depth}_{widen}_cifar": {"depth": depth, "widen": widen, "num_classes": 10}
    for depth, widen in ((16, 4), (28, 2), (28, 8), (28, 10))
}

CONFIGS: dict[str, Config] = {
    name: Config(family, settings)
    for family, named in (
        (VisionTransformer, VISION_TRANSFORMERS),
        (ResNet, RESNETS),
        (WideResNet, WIDE_RESNETS),
    )
    for name, settings in named.items()
}


def create(name: str, **overrides: Any) -> Module:
    """Make a named model.

    Parameters
    ----------
    name : str
        See `list`.
    **overrides
        Settings of the model's class that replace the named ones, such as ``num_classes=100`` or ``seed=1``.

    Returns
    -------
    Module

    Raises
    ------
    ValueError
        For an unknown name, with the nearest ones, or a setting that the model's class does not have.
    """
    config = find(name)
    unknown = sorted(overrides.keys() - settings(config.family))
    if unknown:
        raise ValueError(
            f"{name} is a {config.family.__name__}, which has no {', '.join(unknown)}; "
            f"it has {', '.join(settings(config.family))}"
        )
    return config.family(**{**config.settings, **overrides})


def find(name: str) -> Config:
    """Class and settings of a named model.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest ones.
    """
    if name not in CONFIGS:
        near = difflib.get_close_matches(name, CONFIGS, n=3, cutoff=0.4)
        nearest = f"; did you mean {', '.join(near)}?" if near else "."
        raise ValueError(f"unknown model {name!r}{nearest} All models: {', '.join(CONFIGS)}")
    return CONFIGS[name]


def settings(family: type[Module]) -> tuple[str, ...]:
    """Names of the settings that a class of models has."""
    return tuple(inspect.signature(family).parameters)


def list() -> tuple[str, ...]:
    """Names that `create` knows."""
    return tuple(CONFIGS)
