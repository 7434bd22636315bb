"""Random crops of any size and proportions, resized: the augmentation of photos."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.augment.checks import check_images
from minivit.augment.draws import below
from minivit.backend import Array, array_module
from minivit.backend.random import random_bits

ATTEMPTS = 10
STEPS = 65536
"""Areas and proportions are drawn from as many values, which the host computes: then no device's root or exponential
decides on a pixel."""


def random_resized_crop(
    images: Array,
    *,
    seed: int,
    step: int,
    image_index: Array,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
    size: int = 0,
) -> Array:
    """Cut a box of its own out of each image and resize it (bilinear).

    C. Szegedy et al.: Going deeper with convolutions. CVPR 2015, arXiv:1409.4842, section 6. As torchvision and timm
    draw it (torchvision/transforms/transforms.py, ``RandomResizedCrop``): area and proportions, a box that does not fit
    into the image anew, ten times in all, then the largest central box of such proportions. Their areas are 0.08 to 1.
    The ViT paper's authors fine-tune with 0.05 to 1 (google-research/vision_transformer, vit_jax/input_pipeline.py);
    TensorFlow's function, which they call, draws heights evenly where this draws areas evenly.

    As in TensorFlow the resize is not antialiased: each pixel comes from the four around its place in the box, pixels
    being squares. Bytes are blended in whole numbers, so they are the same on every device.

    Parameters
    ----------
    images : array (B, C, H, W)
        Of uint8, or of a float type.
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.
    area : (float, float)
        Smallest and largest share of the image, evenly distributed.
    aspect : (float, float)
        Smallest and largest width by height; its logarithm is evenly distributed.
    size : int
        Side of the result, up to 1024; 0 leaves it H and W.

    Returns
    -------
    array (B, C, size, size) of the images' dtype

    Raises
    ------
    ValueError
        If a range is none or the size out of range.
    TypeError
        If the images are neither uint8 nor floats.
    """
    xp = array_module(images)
    check_images(images, image_index)
    rows, columns = crop_places(
        xp, images.shape, size, seed=seed, step=step, image_index=image_index, area=area, aspect=aspect
    )
    return blend(images, rows, columns, xp)


@dataclass(frozen=True, eq=False)
class Places:
    """Along one side: the two pixels that each new one lies between.

    Attributes
    ----------
    first, second : array (B, size) of int64
    part : array (B, size) of int64
        How far it is from the first to the second, in parts of `whole`.
    whole : int
    """

    first: Array
    second: Array
    part: Array
    whole: int

    def nearest(self, xp: Any) -> Array:
        """The nearer of the two: array (B, size) of int64."""
        return xp.where(2 * self.part < self.whole, self.first, self.second)

    def mirrored(self, chosen: Array, xp: Any) -> Places:
        """In reverse order for the images `chosen`, an array (B,) of bool."""
        first, second, part = (
            xp.where(chosen[:, None], array[:, ::-1], array) for array in (self.first, self.second, self.part)
        )
        return Places(first, second, part, self.whole)


def crop_places(
    xp: Any,
    shape: tuple[int, ...],
    size: int,
    *,
    seed: int,
    step: int,
    image_index: Array,
    area: tuple[float, float],
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[Places, Places]:
    """Where the rows and columns of `random_resized_crop` come from."""
    H, W = shape[2:]
    if not 0 < area[0] <= area[1] <= 1 or not 0 < aspect[0] <= aspect[1]:
        raise ValueError(f"expected areas from above 0 to 1 and positive aspects, smallest first, got {area}, {aspect}")
    if not 0 <= size <= 1024 or (size == 0 and max(H, W) > 1024):
        raise ValueError(f"expected a size of 1 to 1024, or 0 for images of at most 1024 pixels, got {size}, {H}x{W}")
    words = random_bits(xp, seed, step, "resized crop", image_index, 2 * ATTEMPTS + 2)
    middles = (np.arange(STEPS) + 0.5) / STEPS
    sides = np.sqrt((area[0] + (area[1] - area[0]) * middles) * (H * W)).astype(np.float32)
    roots = np.exp((math.log(aspect[0]) + math.log(aspect[1] / aspect[0]) * middles) / 2)
    side = xp.asarray(sides).take(below(words[:, :ATTEMPTS], STEPS))  # (B, ATTEMPTS)
    proportion = below(words[:, ATTEMPTS : 2 * ATTEMPTS], STEPS)
    widths = xp.rint(side * xp.asarray(roots.astype(np.float32)).take(proportion)).astype(np.int64)
    heights = xp.rint(side * xp.asarray((1 / roots).astype(np.float32)).take(proportion)).astype(np.int64)
    fits = (heights >= 1) & (heights <= H) & (widths >= 1) & (widths <= W)
    first = fits.astype(np.int8).argmax(axis=1)[:, None]
    places = []
    for lengths, whole, central, word in zip(
        (heights, widths), (H, W), _central_box(H, W, aspect), (words[:, -2], words[:, -1]), strict=True
    ):
        length = xp.where(fits.any(axis=1), xp.take_along_axis(lengths, first, axis=1)[:, 0], central)  # (B,)
        # Where no box fits, the first one's length must not give a negative number of places.
        drawn = below(word, xp.maximum(whole - length + 1, 1))
        start = xp.where(fits.any(axis=1), drawn, (whole - central) // 2)
        places.append(_places(xp, start, length, size or whole))
    return places[0], places[1]


def _central_box(height: int, width: int, aspect: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the largest box in an image whose proportions are allowed."""
    if width < aspect[0] * height:
        return min(height, round(width / aspect[0])), width
    if width > aspect[1] * height:
        return height, min(width, round(height * aspect[1]))
    return height, width


def _places(xp: Any, start: Array, length: Array, size: int) -> Places:
    """`length` pixels from `start` on, resized to `size`; arrays (B,)."""
    whole = 2 * size
    # New pixel i has its centre at (i + 1/2) length/size, an old one at its number + 1/2; in parts of `whole`:
    place = (2 * xp.arange(size) + 1) * length[:, None] - size  # (B, size)
    place = xp.clip(place, 0, (length[:, None] - 1) * whole)  # beyond the outer centres: the outer pixel
    before = place // whole
    first = start[:, None] + before
    second = start[:, None] + xp.minimum(before + 1, length[:, None] - 1)
    return Places(first, second, place - before * whole, whole)


def blend(images: Array, rows: Places, columns: Places, xp: Any) -> Array:
    """Each pixel out of the four around its place, along the columns first: array (B, C, S, T) of the images' dtype."""
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise TypeError(f"expected images of uint8 or a float type, got {images.dtype}")
    weights = images.dtype if images.dtype.kind == "f" else np.dtype(np.int32)
    B, C, H, W = images.shape
    S, T = rows.first.shape[1], columns.first.shape[1]

    def lines(source: Array) -> Array:
        plane = (xp.arange(B * C) * H).reshape(B, C, 1)
        return images.reshape(-1, W).take((plane + source[:, None, :]).reshape(-1), axis=0)

    down = xp.broadcast_to(rows.part[:, None, :], (B, C, S)).reshape(-1, 1).astype(weights)
    blended = lines(rows.first) * (rows.whole - down) + lines(rows.second) * down  # (B C S, W)

    def pixels(source: Array) -> Array:
        line = (xp.arange(B * C * S) * W).reshape(B, C * S, 1)
        return blended.reshape(-1).take(line + source[:, None, :])  # (B, C S, T)

    across = columns.part[:, None, :].astype(weights)  # (B, 1, T)
    total = pixels(columns.first) * (columns.whole - across) + pixels(columns.second) * across
    total = total.reshape(B, C, S, T)
    scale = rows.whole * columns.whole
    if images.dtype.kind == "f":
        return total / scale
    return ((total + scale // 2) // scale).astype(np.uint8)  # 255 * 2048 * 2048 + 2048 * 2048 / 2 < 2**31
