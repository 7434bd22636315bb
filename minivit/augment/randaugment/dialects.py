"""Four implementations of RandAugment: the operations and values that each draws from.

RandAugment: E. Cubuk, B. Zoph, J. Shlens, Q. Le, arXiv:1909.13719. The values are computed as the reference
implementations do, in the same order of the same floating-point operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

REFERENCE_SIDE = 32
"""Side of the images for which UDA and FixMatch state their pixels."""


@dataclass(frozen=True, eq=False)
class Dialect:
    """What an implementation of RandAugment draws from.

    Attributes
    ----------
    values : dict of str to array (levels, 2) of float64
        For each operation its value at each level, with both signs. All levels, and both signs, are equally likely.
    num_ops : int
        Operations of an image, one after the other, each drawn from all.
    probability : float
        Of each of them to be applied.
    fill : tuple of 3 ints
        The color that comes in from outside the image.
    blank_reset : frozenset of str, optional
        Where the pixels from outside are to become the training mean: the operations after which pixels that were
        blank so far no longer are.
    interpolated : bool
        Whether affine transforms are bilinear or bicubic, as a coin falls, and not nearest.
    cutout : int
        Side of the square that every image loses at the end; 0 for none.
    cut_color : tuple of 3 ints
        What a cutout leaves.
    crop_first : bool
        Whether the images come cropped and flipped.
    """

    values: dict[str, np.ndarray]
    num_ops: int
    probability: float
    fill: tuple[int, int, int]
    blank_reset: frozenset[str] | None = None
    interpolated: bool = False
    cutout: int = 0
    cut_color: tuple[int, int, int] = (0, 0, 0)
    crop_first: bool = True


def _signed(levels: Sequence[float], value: Callable[[float], float]) -> np.ndarray:
    """The values and their negatives: array (levels, 2)."""
    return np.array([(value(level), -value(level)) for level in levels], np.float64)


def _unsigned(levels: Sequence[float], value: Callable[[float], float]) -> np.ndarray:
    """The same value twice: array (levels, 2)."""
    return np.array([(value(level), value(level)) for level in levels], np.float64)


def uda(height: int, width: int, *, num_ops: int = 2, probability: float = 0.5, cutout_size: int = 16) -> Dialect:
    """The RandAugment of the experiments of "Unsupervised data augmentation" on images (Q. Xie et al., NeurIPS 2020).

    github.com/google-research/uda: image/randaugment/policies.py and augmentation_transforms.py. Two of 15 operations
    at a level of 1 to 9, each applied with a probability of one half, and always a cutout of 16 pixels, all before the
    crop. Images travel with an alpha channel: what an affine transform brings in and what a cutout leaves is
    transparent, and becomes the training mean in the end. Five operations work on RGB only and return an opaque image:
    the black, or the grey of a cutout, below transparent pixels comes to light, changed by the operation like any
    color. All others go on changing the colors below.

    Pixels are stated for images of 32x32; they grow with the image.
    """
    levels = range(1, 10)
    nothing = _unsigned(levels, lambda _: 0.0)
    shear = _signed(levels, lambda level: level * 0.3 / 10)
    enhance = _unsigned(levels, lambda level: level * 1.8 / 10 + 0.1)
    side = min(height, width)

    def pixels(most: int, side: int) -> Callable[[float], float]:
        return lambda level: int(level * most * side / (10 * REFERENCE_SIDE))

    values = {
        "Invert": nothing,
        "Cutout": _unsigned(levels, pixels(20, side)),
        "Sharpness": enhance,
        "AutoContrast": nothing,
        "Posterize": _unsigned(levels, lambda level: 4 - int(level * 4 / 10)),
        "ShearX": shear,
        "TranslateX": _signed(levels, pixels(10, width)),
        "TranslateY": _signed(levels, pixels(10, height)),
        "ShearY": shear,
        "Rotate": _signed(levels, lambda level: int(level * 30 / 10)),
        "Equalize": nothing,
        "Contrast": enhance,
        "Color": enhance,
        "Solarize": _unsigned(levels, lambda level: 256 - int(level * 256 / 10)),
        "Brightness": enhance,
    }
    return Dialect(
        values,
        num_ops,
        probability,
        fill=(0, 0, 0),
        blank_reset=frozenset({"Invert", "AutoContrast", "Equalize", "Posterize", "Solarize"}),
        cutout=cutout_size * side // REFERENCE_SIDE,
        cut_color=(125, 122, 113),
        crop_first=False,
    )


DIALECTS: dict[str, Callable[..., Dialect]] = {"uda": uda}
