"""Holes for inpainting: which pixels of each image a model has to fill in from the others.

The first three are those of D. Pathak, P. Krähenbühl, J. Donahue, T. Darrell, A. Efros: Context Encoders: feature
learning by inpainting. CVPR 2016, arXiv:1604.07379, section 3.2; the fourth is for models that see patches. Every mask
is an array (B, 1, H, W) of bool, True where the image is hidden, on the device of `image_index`.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from minivit.augment.draws import below
from minivit.augment.gather import gather
from minivit.backend import Array, array_module
from minivit.backend.random import random_bits

ONE = 4096
"""Weights of the interpolation are multiples of 1 / ONE and noise has 16 bits: sums of their products are whole numbers
below 2^53, which float64 holds exactly. So every device finds the same pattern, whatever the order it sums in."""


def center_mask(size: tuple[int, int], *, image_index: Array) -> Array:
    """The central rectangle of half the height and half the width, a quarter of every image.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels; of an odd side the rectangle has the smaller half.
    image_index : array (B,)
        Says how many masks there are, and where.

    Returns
    -------
    array (B, 1, H, W) of bool

    Raises
    ------
    ValueError
        If a side has fewer than two pixels.
    """
    xp, (H, W) = array_module(image_index), _checked(size, 2)
    inside = []
    for side in (H, W):
        position = xp.arange(side) - (side - side // 2) // 2
        inside.append((position >= 0) & (position < side // 2))
    square = inside[0][:, None] & inside[1]  # (H, W)
    return xp.broadcast_to(square, (image_index.shape[0], 1, H, W)).copy()


def random_block_mask(
    size: tuple[int, int], *, seed: int, step: int, image_index: Array, blocks: int = 4, area: float = 0.25
) -> Array:
    """Some squares at random places, which may overlap and together hide up to `area` of the image.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels.
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.
    blocks : int
        Squares in an image. The side of each is drawn evenly between half the largest side and the largest, which
        is such that all of them together never exceed `area`.
    area : float
        Largest share of the image that is hidden. The paper's is 1/4; it names neither the number nor the sides.

    Returns
    -------
    array (B, 1, H, W) of bool

    Raises
    ------
    ValueError
        If there is no block, the area is none, or so small a share of the image is not even a pixel each.
    """
    xp, (H, W) = array_module(image_index), _checked(size, 1)
    if blocks < 1 or not 0 < area <= 1:
        raise ValueError(f"expected at least 1 block and an area above 0 and up to 1, got {blocks} and {area}")
    longest = min(math.isqrt(math.floor(area * H * W / blocks)), H, W)
    if not longest:
        raise ValueError(
            f"{blocks} blocks in {area:g} of {H} x {W} pixels are less than a pixel each: take fewer blocks"
        )
    shortest = max(longest // 2, 1)
    words = random_bits(xp, seed, step, "block mask", image_index, 3 * blocks)
    side = shortest + below(words[:, :blocks], longest - shortest + 1)  # (B, blocks)
    spans = []
    for start, whole in ((words[:, blocks : 2 * blocks], H), (words[:, 2 * blocks :], W)):
        offset = xp.arange(whole) - below(start, whole - side + 1)[:, :, None]  # (B, blocks, whole)
        spans.append((offset >= 0) & (offset < side[:, :, None]))
    squares = spans[0][:, :, :, None] & spans[1][:, :, None, :]  # (B, blocks, H, W)
    return squares.any(axis=1)[:, None]  # (B, 1, H, W)


def random_region_mask(
    size: tuple[int, int],
    *,
    seed: int,
    step: int,
    image_index: Array,
    area: tuple[float, float] = (0.2, 0.3),
    cells: int = 8,
) -> Array:
    """A region of arbitrary shape: where noise of low resolution, enlarged smoothly, is lowest.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels.
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.
    area : (float, float)
        Smallest and largest share of the image that is hidden; evenly distributed between them.
    cells : int
        Values of the noise along a side of the image: fewer make larger blots. 8 is what the authors' resolution of
        0.06 comes to at 128 pixels.

    Returns
    -------
    array (B, 1, H, W) of bool

    Raises
    ------
    ValueError
        If the areas are no range within the image, or there is no cell.

    Notes
    -----
    After the authors' `train_random.lua`, which cuts windows out of one large pattern (uniform noise enlarged by
    bicubic interpolation, below its lower quarter) and throws a window away unless it hides 20 to 30 %. Throwing away
    would make a GPU's host wait for the count. Here each image has a pattern of its own, and the threshold is the one
    that hides the share drawn.
    """
    xp, (H, W) = array_module(image_index), _checked(size, 1)
    if not 0 < area[0] <= area[1] <= 1:
        raise ValueError(f"expected areas above 0 and up to 1, smallest first, got {area}")
    if cells < 1:
        raise ValueError(f"expected at least 1 cell, got {cells}")
    n = cells + 4  # one cell more than is seen, to shift it, and three for the interpolation at the ends
    words = random_bits(xp, seed, step, "region mask", image_index, n * n + 3)
    noise = (words[:, : n * n] >> 16).astype(np.float64).reshape(-1, n, n)
    rows, columns = (xp.asarray(_enlargement(side, cells)) for side in (H, W))
    pattern = rows @ noise @ columns.T  # (B, H + a cell, W + a cell)
    sources = []
    for k, side in ((0, H), (1, W)):
        shift = below(words[:, n * n + k], -(-side // cells))  # (B,)
        sources.append(shift[:, None] + xp.arange(side))  # (B, side)
    pattern = gather(pattern[:, None], sources[0], sources[1], xp)  # (B, 1, H, W)
    fewest = math.ceil(area[0] * H * W)
    most = max(math.floor(area[1] * H * W), fewest)
    count = fewest + below(words[:, n * n + 2], most - fewest + 1)  # (B,)
    ordered = xp.sort(pattern.reshape(-1, H * W), axis=1)
    threshold = xp.take_along_axis(ordered, (count - 1)[:, None].astype(np.int64), axis=1)  # (B, 1)
    return pattern <= threshold[:, :, None, None]


def random_patch_mask(
    size: tuple[int, int], patch_size: int, *, seed: int, step: int, image_index: Array, share: float = 0.5
) -> Array:
    """A share of the patches, each image the same number at other places.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels.
    patch_size : int
        Side of a patch; divides both. A multiple of a Vision Transformer's own hides several of its patches at once.
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.
    share : float
        Of the patches, rounded to a whole number of at least one. Half is what Dosovitskiy et al. 2020
        (arXiv:2010.11929, appendix B.1.2) hide; Xie et al. 2021 (SimMIM, arXiv:2111.09886) hide 0.6, in larger patches.

    Returns
    -------
    array (B, 1, H, W) of bool

    Raises
    ------
    ValueError
        If the patches do not fit into the image or the share is out of range.
    """
    xp, (H, W) = array_module(image_index), _checked(size, 1)
    if patch_size < 1 or H % patch_size or W % patch_size:
        raise ValueError(f"a patch_size of {patch_size} does not divide {H} x {W} pixels")
    if not 0 < share <= 1:
        raise ValueError(f"expected a share above 0 and up to 1, got {share}")
    height, width = H // patch_size, W // patch_size
    N = height * width
    count = max(round(share * N), 1)
    words = random_bits(xp, seed, step, "patch mask", image_index, N)
    rank = words.astype(np.int64) * N + xp.arange(N)  # (B, N), no two alike
    chosen = rank <= xp.sort(rank, axis=1)[:, count - 1 : count]
    chosen = chosen.reshape(-1, 1, height, width)
    return xp.repeat(xp.repeat(chosen, patch_size, axis=2), patch_size, axis=3)  # (B, 1, H, W)


def shrink_mask(mask: Array, border: int) -> Array:
    """A mask without its pixels that are within `border` rows and columns of a pixel that is not hidden.

    Nothing is known beyond the edge of the image, so a hole that reaches it does not shrink from there.

    Parameters
    ----------
    mask : array (B, 1, H, W) of bool
    border : int
        In pixels.

    Returns
    -------
    array (B, 1, H, W) of bool

    Raises
    ------
    ValueError
        If the border is negative.
    """
    if border < 0:
        raise ValueError(f"expected a border of at least 0 pixels, got {border}")
    for axis in (2, 3):
        wide = mask
        mask = wide.copy()
        for shift in range(1, min(border, wide.shape[axis] - 1) + 1):
            ahead = (*(slice(None),) * axis, slice(shift, None))
            behind = (*(slice(None),) * axis, slice(None, -shift))
            mask[ahead] &= wide[behind]
            mask[behind] &= wide[ahead]
    return mask


@cache
def _enlargement(side: int, cells: int) -> np.ndarray:
    """Bicubic (Catmull-Rom) interpolation of cells + 4 values: array (side + one cell's pixels, cells + 4) of float64.

    Entries are whole numbers, the weights times `ONE`.
    """
    pixels = side + -(-side // cells)
    position = 1 + np.arange(pixels) * cells / side
    first = np.floor(position).astype(int)
    weights = np.zeros((pixels, cells + 4))
    for k in range(-1, 3):
        x = np.abs(position - (first + k))
        near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        weights[np.arange(pixels), first + k] = np.where(x <= 1, near, far)
    return np.rint(weights * ONE)


def _checked(size: Any, smallest: int) -> tuple[int, int]:
    if len(size) != 2 or min(size) < smallest:
        raise ValueError(f"expected a size (H, W) of at least {smallest} pixels each, got {tuple(size)}")
    return int(size[0]), int(size[1])
