"""RandAugment for whole batches."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import numpy as np

from minivit.augment.checks import check_images
from minivit.augment.draws import below, unit
from minivit.augment.randaugment.dialects import DIALECTS, Dialect
from minivit.augment.randaugment.operations import Application, Plan, application, apply
from minivit.augment.randaugment.paint import paint
from minivit.backend import Array, array_module, device_of
from minivit.backend.random import random_bits

WORDS = 8  # random words for each operation of an image: a whole number of Philox counters


def randaugment(style: str, *, seed: int, image_size: int | tuple[int, int] = 32, **options: Any) -> RandAugment:
    """A random augmentation of bytes in one of four dialects.

    Parameters
    ----------
    style : {"uda", "torchvision", "timm", "fixmatch"}
        Whose operations, ranges and probabilities; `minivit.augment.randaugment.dialects` has a function for each.
    seed : int
        Two policies whose draws are to be independent take two seeds.
    image_size : int or (height, width)
        Of the images to come. Values that a reference states in pixels of its 32x32 images grow with it.
    **options
        Those of the dialect's function: how many operations, how strong.

    Returns
    -------
    RandAugment

    Raises
    ------
    ValueError
        If there is no such style, or a value is out of its range.
    TypeError
        If the style has no such option.
    """
    if style not in DIALECTS:
        raise ValueError(f"expected a style of {', '.join(DIALECTS)}, got {style!r}")
    known = list(inspect.signature(DIALECTS[style]).parameters)[2:]
    for name in options:
        if name not in known:
            raise TypeError(f"RandAugment in the style of {style} has no option {name!r}; it has {', '.join(known)}")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return RandAugment(DIALECTS[style](height, width, **options), seed=seed, image_size=(height, width))


class RandAugment:
    """Every image of a batch through a few operations of its own; made by `randaugment`.

    Parameters
    ----------
    dialect : Dialect
        For images of that size.
    seed : int
    image_size : (height, width)

    Attributes
    ----------
    dialect : Dialect
    crop_first : bool
        Whether this style is given images that have been cropped and flipped.
    """

    def __init__(self, dialect: Dialect, *, seed: int, image_size: tuple[int, int]) -> None:
        self.dialect, self.seed, self.image_size = dialect, seed, image_size
        self.crop_first = dialect.crop_first
        self.tracked = dialect.blank_reset is not None
        self.levels = len(next(iter(dialect.values.values())))
        applications = [
            application(name, value, *image_size)
            for name, values in dialect.values.items()
            for pair in values.tolist()
            for value in pair
        ]
        plan = Plan.of([*applications, Application()])  # the last one for images that are left as they are
        resets = [name in (dialect.blank_reset or ()) for name in dialect.values for _ in range(2 * self.levels)]
        keeps = np.array([not reset for reset in resets] + [True], np.uint8)
        self._tables = {}
        for channels in (1, 3):
            colors = (_channels(color, channels, self.tracked) for color in (dialect.fill, dialect.cut_color))
            self._tables["cpu", channels] = _Tables(plan, keeps, *colors)

    def __call__(self, images: Array, step: int | Array, image_index: Array) -> tuple[Array, Array | None]:
        """Augment a batch, or any part of it.

        Parameters
        ----------
        images : array (B, C, H, W) of uint8
            One channel or three (red, green, blue).
        step : int
            Of training: another step augments the same image in another way.
        image_index : array (B,) of an integer type
            The images' numbers in the dataset. All choices are keyed by seed, step and these.

        Returns
        -------
        images : array (B, C, H, W) of uint8
        blank : array (B, 1, H, W) of bool, or None
            In the style of UDA, the pixels that are to become the training mean; what the images hold there is only
            a stopgap. Other styles fill such pixels with a colour.

        Raises
        ------
        TypeError
            If the images are not uint8.
        ValueError
            If their shape is not that of the policy, or there is not one index for each.
        """
        xp = array_module(images)
        check_images(images, image_index)
        B, C, H, W = images.shape
        if images.dtype != np.uint8:
            raise TypeError(f"expected images of uint8, got {images.dtype}; augment before they are normalised")
        if self.image_size != (H, W) or C not in (1, 3):
            raise ValueError(
                f"expected images of 1 or 3 channels and {self.image_size[0]}x{self.image_size[1]} pixels, got "
                f"{images.shape}; the policy is for one image_size"
            )
        dialect = self.dialect
        plan, keeps, fill, cut_color = self._tables_for(images)
        words = random_bits(xp, self.seed, step, "randaugment", image_index, WORDS * dialect.num_ops + 2)
        # What is blank is one more channel: it moves with the pixels.
        extra = [xp.zeros((B, 1, H, W), np.uint8)] if self.tracked else []
        state = xp.concatenate([images, *extra], axis=1)
        for first in range(0, WORDS * dialect.num_ops, WORDS):
            which, level, applied, sign, filtering = (words[:, first + k] for k in range(5))
            rows = (below(which, len(dialect.values)) * self.levels + below(level, self.levels)) * 2 + below(sign, 2)
            rows = xp.where(unit(applied) < dialect.probability, rows, len(plan.kind) - 1)
            if self.tracked:
                state[:, C] &= keeps.take(rows)[:, None, None]
            apply(
                state,
                C,
                rows,
                plan,
                fill=fill,
                cut_color=cut_color,
                place=words[:, first + 6 : first + 8],
                cubic=below(filtering, 2) == 1 if dialect.interpolated else None,
            )
        if dialect.cutout:
            paint(state, dialect.square(words[:, -2:], dialect.cutout, H, W), cut_color)
        return (state[:, :C], state[:, C:] != 0) if self.tracked else (state, None)

    def _tables_for(self, images: Array) -> _Tables:
        key = device_of(images), images.shape[1]
        if key not in self._tables:
            xp = array_module(images)
            plan, *arrays = self._tables["cpu", key[1]]
            self._tables[key] = _Tables(plan.on(xp), *(xp.asarray(array) for array in arrays))
        return self._tables[key]


class _Tables(NamedTuple):
    """What a policy looks up on a device, for images of so many channels."""

    plan: Plan
    keeps: Array
    """(R,) of uint8: 0 for the rows of the plan that reset blank pixels."""
    fill: Array
    cut_color: Array


def _channels(color: tuple[int, int, int], channels: int, tracked: bool) -> np.ndarray:
    """A colour as (C,) or, with the mark of a blank pixel, (C + 1,) of uint8; for one channel its luma."""
    red, green, blue = color
    values = list(color) if channels == 3 else [(19595 * red + 38470 * green + 7471 * blue + 32768) >> 16]
    return np.array(values + [1] * tracked, np.uint8)
