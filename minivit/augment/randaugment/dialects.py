"""Four implementations of RandAugment: the operations and values that each draws from.

RandAugment: E. Cubuk, B. Zoph, J. Shlens, Q. Le, arXiv:1909.13719. The values are computed as the reference
implementations do, in the same order of the same floating-point operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from minivit.augment.randaugment.squares import centered_square, filled_square
from minivit.backend import Array

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
        The colour that comes in from outside the image.
    blank_reset : frozenset of str, optional
        Where the pixels from outside are to become the training mean: the operations after which pixels that were
        blank so far no longer are.
    interpolated : bool
        Whether affine transforms are bilinear or bicubic, as a coin falls, and not nearest.
    cutout : int
        Side of the square that every image loses at the end; 0 for none.
    cut_color : tuple of 3 ints
        What a cutout leaves.
    square : callable
        (words (B, 2), size, height, width) -> array (B, 1, height, width) of bool: what that cutout leaves out.
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
    square: Callable[[Array, int, int, int], Array] = centered_square
    crop_first: bool = True

    def __post_init__(self) -> None:
        if self.num_ops < 1:
            raise ValueError(f"expected at least 1 operation for each image, got num_ops={self.num_ops}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"expected a probability from 0 to 1, got {self.probability}")
        if self.cutout < 0:
            raise ValueError(f"expected a cutout of at least 0 pixels, got {self.cutout}")


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
    colour. All others go on changing the colours below.

    Pixels are stated for images of 32x32; they grow with the image. One thing is not reproduced: there the bytes are
    normalised and brought back before the operations, and are cut off and not rounded, so that about one value in
    thirteen comes out one level darker.
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


def torchvision(
    height: int,
    width: int,
    *,
    num_ops: int = 2,
    magnitude: int = 9,
    num_magnitude_bins: int = 31,
    fill: tuple[int, int, int] = (0, 0, 0),
) -> Dialect:
    """The RandAugment of torchvision.

    github.com/pytorch/vision: torchvision/transforms/autoaugment.py. Two of 14 operations, one of which does nothing,
    always applied and all at the same magnitude: bin 9 of 31, from no change to the strongest. Enhancements are drawn
    to the poorer image as often as away from it. Invert is missing.
    """
    if not 0 <= magnitude < num_magnitude_bins:
        raise ValueError(f"expected a magnitude of bins 0 to {num_magnitude_bins - 1}, got {magnitude}")
    bins = num_magnitude_bins

    def linear(end: float, start: float = 0.0) -> float:
        """``torch.linspace(start, end, bins)[magnitude]``, which is float32 and counts from the nearer end."""
        step = np.float32(end - start) / np.float32(max(bins - 1, 1))
        if magnitude < bins // 2 or bins == 1:
            return float(np.float32(start) + step * np.float32(magnitude))
        return float(np.float32(end) - step * np.float32(bins - 1 - magnitude))

    one = [float(magnitude)]
    nothing = _unsigned(one, lambda _: 0.0)
    shear = _signed(one, lambda _: linear(0.3))
    enhance = 1.0 + _signed(one, lambda _: linear(0.9))
    steps = np.rint(np.float32(magnitude) / np.float32(max(bins - 1, 1) / 4))
    values = {
        "Identity": nothing,
        "ShearX": shear,
        "ShearY": shear,
        "TranslateX": -_signed(one, lambda _: int(linear(150.0 / 331.0 * width))),
        "TranslateY": -_signed(one, lambda _: int(linear(150.0 / 331.0 * height))),
        "Rotate": _signed(one, lambda _: linear(30.0)),
        "Brightness": enhance,
        "Color": enhance,
        "Contrast": enhance,
        "Sharpness": enhance,
        "Posterize": _unsigned(one, lambda _: 8 - int(steps)),
        "Solarize": _unsigned(one, lambda _: linear(0.0, start=255.0)),
        "AutoContrast": nothing,
        "Equalize": nothing,
    }
    return Dialect(values, num_ops, 1.0, fill=fill)


QUANTILES = 1024
"""Levels that stand for a normal distribution: its quantiles in the middle of as many equal parts."""


def timm(
    height: int,
    width: int,
    *,
    num_ops: int = 2,
    magnitude: float = 9.0,
    magnitude_std: float = 0.5,
    increasing: bool = True,
    probability: float = 0.5,
    fill: tuple[int, int, int] = (128, 128, 128),
) -> Dialect:
    """The RandAugment of timm; the defaults are its ``"rand-m9-n2-mstd0.5-inc1"``.

    github.com/huggingface/pytorch-image-models: timm/data/auto_augment.py. Two of 15 operations, each applied with a
    probability of one half, at a magnitude out of 10 that is drawn anew each time from a normal distribution, cut off
    at 0 and 10. Affine transforms are bilinear or bicubic, as a coin falls.

    Parameters
    ----------
    height, width : int
        Of the images.
    num_ops : int
    magnitude : float
        Mean of the magnitudes, 0 to 10.
    magnitude_std : float
        Their standard deviation; 0 for all the same.
    increasing : bool
        Whether all operations grow stronger with the magnitude. In the other of timm's two sets Posterize and Solarize
        grow weaker, and enhancements go from the poorer image at 0 past the image itself at 5.
    probability : float
    fill : tuple of 3 ints
        What comes from outside the image. timm's training takes the mean of the training images, rounded.
    """
    if not 0 <= magnitude <= 10:
        raise ValueError(f"expected a magnitude from 0 to 10, got {magnitude}")
    if magnitude_std < 0:
        raise ValueError(f"expected a magnitude_std of at least 0, got {magnitude_std}")
    levels = [float(magnitude)]
    if magnitude_std:
        normal = NormalDist(magnitude, magnitude_std)
        levels = [min(max(normal.inv_cdf((k + 0.5) / QUANTILES), 0.0), 10.0) for k in range(QUANTILES)]
    nothing = _unsigned(levels, lambda _: 0.0)
    shear = _signed(levels, lambda level: level / 10 * 0.3)
    if increasing:
        enhance = np.maximum(0.1, 1.0 + _signed(levels, lambda level: level / 10 * 0.9))
        posterize = _unsigned(levels, lambda level: 4 - int(level / 10 * 4))
        solarize = _unsigned(levels, lambda level: 256 - int(level / 10 * 256))
    else:
        enhance = _unsigned(levels, lambda level: level / 10 * 1.8 + 0.1)
        posterize = _unsigned(levels, lambda level: int(level / 10 * 4))
        solarize = _unsigned(levels, lambda level: int(level / 10 * 256))
    values = {
        "AutoContrast": nothing,
        "Equalize": nothing,
        "Invert": nothing,
        "Rotate": _signed(levels, lambda level: level / 10 * 30.0),
        "Posterize": posterize,
        "Solarize": solarize,
        "SolarizeAdd": _unsigned(levels, lambda level: int(level / 10 * 110)),
        "Color": enhance,
        "Contrast": enhance,
        "Brightness": enhance,
        "Sharpness": enhance,
        "ShearX": shear,
        "ShearY": shear,
        "TranslateX": _signed(levels, lambda level: level / 10 * 0.45 * width),
        "TranslateY": _signed(levels, lambda level: level / 10 * 0.45 * height),
    }
    return Dialect(values, num_ops, probability, fill=fill, interpolated=True)


def fixmatch(height: int, width: int, *, num_ops: int = 2, magnitude: int = 10, cutout_size: int = 16) -> Dialect:
    """The RandAugment of FixMatch (K. Sohn et al., NeurIPS 2020) in its best-known PyTorch version.

    github.com/kekmodel/FixMatch-pytorch: dataset/randaugment.py, `RandAugmentMC`. Two of 14 operations, one of which
    does nothing, at a level from 1 to `magnitude` - 1, each applied with a probability of one half, and always a
    cutout that leaves grey. Enhancements only ever go towards the poorer image; Posterize keeps 4 bits or more.

    The cutout is stated for images of 32x32; it grows with the image.
    """
    if not 2 <= magnitude <= 11:
        raise ValueError(f"expected a magnitude from 2 to 11, for levels from 1 to 10 at most, got {magnitude}")
    levels = range(1, magnitude)
    nothing = _unsigned(levels, lambda _: 0.0)
    shear = _signed(levels, lambda level: level * 0.3 / 10)
    enhance = _unsigned(levels, lambda level: level * 0.9 / 10 + 0.05)
    values = {
        "AutoContrast": nothing,
        "Brightness": enhance,
        "Color": enhance,
        "Contrast": enhance,
        "Equalize": nothing,
        "Identity": nothing,
        "Posterize": _unsigned(levels, lambda level: int(level * 4 / 10) + 4),
        "Rotate": _signed(levels, lambda level: int(level * 30 / 10)),
        "Sharpness": enhance,
        "ShearX": shear,
        "ShearY": shear,
        "Solarize": _unsigned(levels, lambda level: 256 - int(level * 256 / 10)),
        "TranslateX": _signed(levels, lambda level: int(level * 0.3 / 10 * width)),
        "TranslateY": _signed(levels, lambda level: int(level * 0.3 / 10 * height)),
    }
    return Dialect(
        values,
        num_ops,
        0.5,
        fill=(0, 0, 0),
        cutout=cutout_size * min(height, width) // REFERENCE_SIDE,
        cut_color=(127, 127, 127),
        square=filled_square,
    )


DIALECTS: dict[str, Callable[..., Dialect]] = {
    "uda": uda,
    "torchvision": torchvision,
    "timm": timm,
    "fixmatch": fixmatch,
}
"""For each style the function that makes its `Dialect`, for images of a height and width; its keywords are options."""
