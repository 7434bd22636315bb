"""The nine patches of context prediction: a 3x3 grid with a gap between its cells and a jitter in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from minivit.augment.checks import check_images
from minivit.augment.context_colors import COLORS, drop_colors, gray_colors, project_colors, standardize_patches
from minivit.augment.context_resolution import random_resolution
from minivit.backend import Array, array_module
from minivit.backend.random import integers

SIDE = 3
PATCHES = SIDE * SIDE
CENTRE = PATCHES // 2
NEIGHBOURS = tuple(patch for patch in range(PATCHES) if patch != CENTRE)
"""Numbers of the patches around the middle one, row by row: their order is that of the eight classes."""

PLACE = "context place"
JITTER = "context jitter"


@dataclass(frozen=True)
class PatchGrid:
    """Where the nine patches lie in an image: squares with gaps in between, each moved by a jitter of its own.

    C. Doersch, A. Gupta, A. Efros: Unsupervised visual representation learning by context prediction. ICCV 2015,
    arXiv:1505.05192, section 4: patches of 96 pixels, gaps of 48, jitter of 7 pixels.

    Attributes
    ----------
    image_size : int
        Side of the square images, in pixels.
    patch_size : int
    gap : int
        Pixels between two patches that are not moved. At least twice the jitter: no two patches share a pixel, or an
        edge that goes on from one into the other would tell where they lie.
    jitter : int
        Each patch is moved by -jitter to jitter pixels along each axis.

    Raises
    ------
    ValueError
        If a size is out of range, patches could overlap, or the grid is larger than the image.
    """

    image_size: int
    patch_size: int
    gap: int
    jitter: int

    def __post_init__(self) -> None:
        if self.patch_size < 1 or self.jitter < 0:
            raise ValueError(
                f"expected a patch of at least 1 pixel and a jitter of at least 0, got {self.patch_size}, {self.jitter}"
            )
        if self.gap < 2 * self.jitter:
            raise ValueError(
                f"patches that move by up to {self.jitter} pixels need a gap of at least {2 * self.jitter}, got "
                f"{self.gap}: they could overlap. Widen the gap or lessen the jitter"
            )
        if self.extent > self.image_size:
            raise ValueError(
                f"3 patches of {self.patch_size} pixels, 2 gaps of {self.gap} and a jitter of {self.jitter} on each "
                f"side take {self.extent} pixels; the images have {self.image_size}. Make one of them smaller"
            )

    @classmethod
    def fit(
        cls, image_size: int, patch_size: int | None = None, gap: int | None = None, jitter: int | None = None
    ) -> Self:
        """A grid that fills an image: what is not given follows from the image's side.

        Patches are a quarter of the side, the jitter is a 48th and at least one pixel, and the gaps are what is left;
        where they would be narrower than twice the jitter, there is none.

        Parameters
        ----------
        image_size : int
        patch_size, gap, jitter : int, optional

        Returns
        -------
        PatchGrid

        Raises
        ------
        ValueError
            As for `PatchGrid`.
        """
        patch = image_size // 4 if patch_size is None else patch_size

        def left(jitter: int) -> int:
            return max(0, (image_size - SIDE * patch - 2 * jitter) // (SIDE - 1))

        if jitter is None:
            jitter = max(1, image_size // 48)
            if (left(jitter) if gap is None else gap) < 2 * jitter:
                jitter = 0
        return cls(image_size, patch, left(jitter) if gap is None else gap, jitter)

    @property
    def extent(self) -> int:
        """Pixels that the grid takes along each axis, with the jitter's."""
        return SIDE * self.patch_size + (SIDE - 1) * self.gap + 2 * self.jitter


def context_patches(images: Array, grid: PatchGrid, *, seed: int, step: int, image_index: Array) -> Array:
    """Cut the nine patches out of each image.

    Parameters
    ----------
    images : array (B, C, H, H)
        Of any dtype; H is the grid's `image_size`.
    grid : PatchGrid
        Where it is smaller than the image, it lies at a random place.
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.

    Returns
    -------
    array (B, 9, C, p, p) of the images' dtype
        Row by row; number 4 is the middle one.

    Raises
    ------
    ValueError
        If the images have another size than the grid is for.
    """
    xp = array_module(images)
    check_images(images, image_index)
    B, C, H, W = images.shape
    if images.shape[2:] != (grid.image_size,) * 2:
        raise ValueError(f"the grid is for images of {grid.image_size}x{grid.image_size}, got {H}x{W}")
    top, left = patch_corners(xp, grid, seed=seed, step=step, image_index=image_index)  # (B, 9) each
    span = xp.arange(grid.patch_size)
    rows, columns = top[:, :, None] + span, left[:, :, None] + span  # (B, 9, p) each
    pixel = rows[:, :, :, None] * W + columns[:, :, None, :]  # (B, 9, p, p)
    plane = (xp.arange(B * C) * (H * W)).reshape(B, 1, C, 1, 1)
    return images.reshape(-1).take(plane + pixel[:, :, None])  # (B, 9, C, p, p)


def patch_corners(xp: Any, grid: PatchGrid, *, seed: int, step: int | Array, image_index: Array) -> tuple[Array, Array]:
    """Rows and columns of the upper left pixels of the patches that `context_patches` cuts: two arrays (B, 9)."""
    key = {"seed": seed, "step": step, "image_index": image_index}
    place = integers(xp, op=PLACE, count=2, high=grid.image_size - grid.extent + 1, **key)  # (B, 2)
    moved = integers(xp, op=JITTER, count=2 * PATCHES, high=2 * grid.jitter + 1, **key)  # (B, 18): jitter included
    cell = xp.arange(SIDE) * (grid.patch_size + grid.gap)
    top, left = cell.repeat(SIDE), xp.tile(cell, SIDE)  # (9,) each
    return place[:, :1] + top + moved[:, :PATCHES], place[:, 1:] + left + moved[:, PATCHES:]


@dataclass(frozen=True)
class ContextPatches:
    """Cut patches, take from them what gives their places away, normalise: bytes in, an encoder's input out.

    The paper found two things that a network would rather look at than at what is on the image. Edges and textures that
    go on from patch to patch: gap and jitter are against those, and so is a random resolution. And *chromatic
    aberration*: a lens bends colours differently, so one colour channel is a little larger than another, and how they
    are displaced tells the patch's place in the image. Colours are treated against that.

    Attributes
    ----------
    mean, std : tuple of C floats
        As for `normalize`.
    seed : int
    grid : PatchGrid
    colors : {"drop", "project", "gray", "none"}
        `drop_colors` keeps one channel; `project_colors` takes the axis from green to magenta away; `gray_colors` makes
        some images grey.
    gray_probability : float
        Of ``"gray"``.
    colors_per : {"patch", "image"}
        Whether each patch, or each image, has a draw of its own: which channel is kept, whether it is grey.
    standardize : bool
        Give each patch mean 0 and deviation 1 (`standardize_patches`); else the data set's deviations divide.
    resolution_probability : float
        Of each patch to go through `random_resolution`.
    fewest_pixels : int, optional
        Of `random_resolution`.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int
    grid: PatchGrid
    colors: str = "drop"
    gray_probability: float = 0.66
    colors_per: str = "patch"
    standardize: bool = True
    resolution_probability: float = 0.0
    fewest_pixels: int | None = None

    def __post_init__(self) -> None:
        if self.colors not in COLORS:
            raise ValueError(f"colors must be one of {', '.join(COLORS)}; got {self.colors!r}")
        if self.colors_per not in ("patch", "image"):
            raise ValueError(f'colors_per must be "patch" or "image"; got {self.colors_per!r}')
        if self.colors == "project" and len(self.mean) != 3:
            raise ValueError(f"the axis from green to magenta is one of 3 channels; the images have {len(self.mean)}")
        if not len(self.mean) == len(self.std):
            raise ValueError(f"expected a mean and a std for each channel, got {len(self.mean)} and {len(self.std)}")

    def __call__(self, images: Array, step: int, image_index: Array) -> Array:
        """The patches of a batch, or of any part of it.

        Parameters
        ----------
        images : array (B, C, H, H) of uint8
        step : int
        image_index : array (B,) of an integer type

        Returns
        -------
        array (B, 9, C, p, p) of float32
        """
        xp = array_module(images)
        if images.dtype != np.uint8:
            raise TypeError(f"expected images of uint8, got {images.dtype}; they may have been normalised already")
        key: dict[str, Any] = {"seed": self.seed, "step": step, "image_index": image_index}
        patches = context_patches(images, self.grid, **key).astype(xp.float32)
        patches *= 1 / 255
        patches -= xp.asarray(np.array(self.mean, np.float32))[:, None, None]
        if self.resolution_probability:
            patches = random_resolution(patches, self.resolution_probability, self.fewest_pixels, **key)
        if self.colors == "drop":
            patches = drop_colors(patches, per=self.colors_per, **key)
        elif self.colors == "project":
            patches = project_colors(patches)
        elif self.colors == "gray":
            patches = gray_colors(patches, self.gray_probability, per=self.colors_per, **key)
        if self.standardize:
            return standardize_patches(patches)
        return patches / xp.asarray(np.array(self.std, np.float32))[:, None, None]
