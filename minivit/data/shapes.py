"""Shapes: procedural pictures whose class is a shape, as many as one likes, with no download.

The class is the outline alone. Area, colours, position, rotation, background, clutter and noise are drawn without
regard to it, so that no single pixel, colour or area gives it away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from minivit.backend.random import random_bits, uniform
from minivit.data.dataset import Dataset, Images, Indices, Labels, Splits, channel_statistics

Floats: TypeAlias = Any  # arrays of float32

SIZE = 32
_SPLIT_STRIDE = 10**9  # numbers per split, a multiple of 10: training starts at 0, validation at 1 stride, test at 2
_CHUNK = 256  # images drawn at once: their fields stay in the cache
_UNIFORMS = 39
SOURCE = "drawn by minivit/data/shapes.py; no rights reserved"

# A shape is a signed distance: (x, y) -> distance to the outline, negative inside. Exact or nearly so at the outline,
# which is where it is used: the covered part of a pixel is 1/2 - distance, clipped. After I. Quilez, "2D distance
# functions", https://iquilezles.org/articles/distfunctions2d


def _circle(x: Floats, y: Floats) -> Floats:
    return np.hypot(x, y) - 1


def _ring(x: Floats, y: Floats) -> Floats:
    return np.abs(np.hypot(x, y) - 0.78) - 0.22


def _semicircle(x: Floats, y: Floats) -> Floats:
    return np.maximum(np.hypot(x, y + 0.42) - 1, -(y + 0.42))


def _crescent(x: Floats, y: Floats) -> Floats:
    return np.maximum(np.hypot(x, y) - 1, 0.78 - np.hypot(x - 0.52, y))


def _triangle(x: Floats, y: Floats) -> Floats:
    x = np.abs(x)
    return np.maximum(-0.5 - y, (math.sqrt(3) / 2) * x + 0.5 * y - 0.5)


def _square(x: Floats, y: Floats) -> Floats:
    return np.maximum(np.abs(x), np.abs(y)) - math.sqrt(0.5)


def _cross(x: Floats, y: Floats) -> Floats:
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 0.94, y - 0.3), np.maximum(x - 0.3, y - 0.94))


def _star(x: Floats, y: Floats) -> Floats:
    """Five points: fold the plane into half a point, a wedge of 36 degrees, whose outline is one straight edge."""
    angle = np.abs(np.mod(np.arctan2(x, y) + math.pi / 5, 2 * math.pi / 5) - math.pi / 5)
    radius = np.hypot(x, y)
    u, v = radius * np.cos(angle), radius * np.sin(angle)
    tip, dent = (1.0, 0.0), (0.42 * math.cos(math.pi / 5), 0.42 * math.sin(math.pi / 5))
    edge = dent[0] - tip[0], dent[1] - tip[1]
    return ((u - tip[0]) * -edge[1] + v * edge[0]) / -math.hypot(*edge)


def _heart(x: Floats, y: Floats) -> Floats:
    x, y = np.abs(x), y + 0.95
    x, y = x * 0.62, y * 0.62
    lobe = np.hypot(x - 0.25, y - 0.75) - math.sqrt(2) / 4
    fold = 0.5 * np.maximum(x + y, 0)
    inner = np.minimum(np.hypot(x, y - 1), np.hypot(x - fold, y - fold))
    return np.where(x + y > 1, lobe, inner * np.sign(x - y)) / 0.62


def _arrow(x: Floats, y: Floats) -> Floats:
    side = np.abs(x)
    head = np.maximum(-y, (side * 0.98 + (y - 0.98) * 0.78) / math.hypot(0.98, 0.78))
    shaft = np.maximum(side - 0.3, np.abs(y + 0.45) - 0.5)
    return np.minimum(head, shaft)


_SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "circle": _circle,
    "ring": _ring,
    "semicircle": _semicircle,
    "crescent": _crescent,
    "triangle": _triangle,
    "square": _square,
    "cross": _cross,
    "star": _star,
    "heart": _heart,
    "arrow": _arrow,
}
CLASSES = tuple(_SHAPES)


def _grid(points: int, extent: float) -> tuple[Floats, Floats]:
    """Pixel centres of a square from -extent to extent: two arrays (points, 1) and (1, points), x and y."""
    centres = ((np.arange(points, dtype=np.float32) + 0.5) / points * 2 - 1) * extent
    return centres[None, :], -centres[:, None]


def draw_shapes(indices: npt.ArrayLike, seed: int = 0) -> tuple[Images, Labels]:
    """The pictures with the given numbers.

    Each is a function of the seed and its own number alone, so any part of the unlimited series can be drawn again.

    Parameters
    ----------
    indices : integers (N,)
        From 0 to 2**32 - 1. Number i shows class i % 10.
    seed : int

    Returns
    -------
    images : array (N, 3, 32, 32) of uint8
    labels : array (N,) of int64
    """
    numbers = np.asarray(indices, np.int64)
    labels = numbers % len(CLASSES)
    images = np.empty((len(numbers), 3, SIZE, SIZE), np.uint8)
    for label, name in enumerate(CLASSES):
        members = np.flatnonzero(labels == label)
        for start in range(0, len(members), _CHUNK):
            chunk = members[start : start + _CHUNK]
            images[chunk] = _draw(name, numbers[chunk], seed)
    return images, labels


def _draw(name: str, numbers: Indices, seed: int) -> Images:
    """Pictures of one class: (N, 3, 32, 32)."""
    random = iter(uniform(np, seed, 0, "shapes", numbers, _UNIFORMS).T[:, :, None, None])  # each (N, 1, 1)

    def between(low: float, high: float) -> Floats:
        value: Floats = next(random) * np.float32(high - low) + np.float32(low)
        return value

    def colour() -> Floats:
        return np.stack([next(random) for _ in range(3)], axis=1)  # (N, 3, 1, 1)

    x, y = _grid(SIZE, SIZE / 2)

    # Background: one colour fading into another, and waves of some strength.
    base, other = colour(), colour()
    angle = between(0, 2 * math.pi)
    fade = (x * np.cos(angle) + y * np.sin(angle)) / (SIZE * math.sqrt(2)) + 0.5  # (N, 32, 32), 0 to 1
    angle, wavelength, phase = between(0, 2 * math.pi), between(4, 16), between(0, 2 * math.pi)
    waves = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * math.pi / wavelength) + phase)
    strength = between(-0.1, 0.12)
    picture = base + (other - base) * (0.4 * fade[:, None])  # (N, 3, 32, 32)
    picture += (np.maximum(strength, 0) * waves)[:, None]

    # Clutter: three spots of any colour, too small for a shape, some of radius 0.
    for _ in range(3):
        radius = np.maximum(between(-1.5, 2), 0)
        spot = np.clip(radius - np.hypot(x - between(-15, 15), y - between(-15, 15)) + 0.5, 0, 1) * (radius > 0)
        spot_colour = colour()
        picture += spot[:, None] * (spot_colour - picture)

    # The shape, in a colour that differs from the background's middle, with shading of its own.
    area, reach = _area_and_reach(name)
    scale = between(9, 15) / math.sqrt(area)  # pixels per unit: 81 to 225 pixels are covered, whatever the shape
    room = np.maximum(SIZE / 2 - scale * reach, 1)
    centre_x, centre_y, angle = between(-1, 1) * room, between(-1, 1) * room, between(-math.pi / 6, math.pi / 6)
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    dx, dy = x - centre_x, y - centre_y
    distance = _SHAPES[name](dx * cosine + dy * sine, dy * cosine - dx * sine) * scale
    cover = np.clip(0.5 - distance, 0, 1)[:, None]  # (N, 1, 32, 32)
    ink, behind = colour(), base + 0.2 * (other - base)
    too_close = np.abs(ink - behind).sum(axis=1, keepdims=True) < 0.75
    ink = np.where(too_close, np.mod(behind + 0.5, 1), ink)
    shading = between(-0.25, 0.25) * (dx * np.cos(angle) + dy * np.sin(angle)) / SIZE
    picture += cover * (ink + shading[:, None] - picture)

    # Noise of some strength: the sum of two bytes, which is nearly normal and the same on every machine.
    noise = random_bits(np, seed, 0, "shapes noise", numbers, picture[0].size // 2).view(np.uint8)
    noise = noise.reshape(len(numbers), 2, *picture.shape[1:]).astype(np.float32).sum(axis=1) - 255
    picture += (between(0, 0.12) / 255)[:, None] * noise
    pixels: Images = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return pixels


@cache
def _area_and_reach(name: str) -> tuple[float, float]:
    """The area of a shape of unit scale, and the distance from its centre to its farthest point."""
    points, extent = 256, 1.3
    x, y = _grid(points, extent)
    cover = np.clip(0.5 - _SHAPES[name](x, y) * points / (2 * extent), 0, 1)
    return float(cover.mean() * (2 * extent) ** 2), float(np.hypot(x, y)[cover > 0].max())


def load_shapes(train: int = 10_000, validation: int = 1_000, test: int = 2_000, seed: int = 0) -> Splits:
    """Draw the three parts of a shapes data set.

    The parts are different stretches of the seed's series, so they share no picture and one can be enlarged without
    changing the others. Classes take turns, so each has the same number of pictures where the size is a multiple of 10.

    Parameters
    ----------
    train, validation, test : int
        Numbers of pictures, from 1 to 10**9.
    seed : int

    Returns
    -------
    Splits
        Images (N, 3, 32, 32).

    Raises
    ------
    ValueError
        If a size is out of range.
    """
    sizes = {"train": train, "validation": validation, "test": test}
    drawn = {}
    for number, (part, size) in enumerate(sizes.items()):
        if not 1 <= size <= _SPLIT_STRIDE:
            raise ValueError(f"expected 1 to 10**9 pictures in each part, got {part}={size}")
        start = number * _SPLIT_STRIDE
        drawn[part] = draw_shapes(np.arange(start, start + size), seed)
    mean, std = channel_statistics(drawn["train"][0])
    parts = {
        part: Dataset(f"shapes {part}", images, labels, CLASSES, mean, std, SOURCE)
        for part, (images, labels) in drawn.items()
    }
    return Splits(**parts)
