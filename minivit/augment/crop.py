"""Random crops of padded images, which are random shifts."""

from __future__ import annotations

from typing import Any

from minivit.augment.checks import check_images
from minivit.augment.gather import gather, window
from minivit.backend import Array, array_module
from minivit.backend.random import integers


def random_crop(
    images: Array,
    padding: int,
    *,
    seed: int,
    step: int,
    image_index: Array,
    mode: str = "reflect",
    fill: float = 0.0,
) -> Array:
    """Pad each image on all sides and cut a window of the original size out, at a place of its own.

    Parameters
    ----------
    images : array (B, C, H, W)
    padding : int
        Pixels: each image is shifted by -padding to padding along each axis.
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.
    mode : {"reflect", "zero"}
        Padding by reflection at the edge pixels, or by `fill`.
    fill : float

    Returns
    -------
    array (B, C, H, W) of the images' dtype

    Raises
    ------
    ValueError
        If the mode is unknown or the padding too large for it.
    """
    xp = array_module(images)
    check_images(images, image_index)
    rows, columns = crop_windows(xp, images.shape, padding, seed=seed, step=step, image_index=image_index, mode=mode)
    return gather(images, rows, columns, xp, None if mode == "reflect" else fill)


def crop_windows(
    xp: Any, shape: tuple[int, ...], padding: int, *, seed: int, step: int, image_index: Array, mode: str
) -> tuple[Array, Array]:
    """The source rows (B, H) and columns (B, W) of `random_crop`."""
    H, W = shape[2:]
    if mode not in ("reflect", "zero"):
        raise ValueError(f'expected mode "reflect" or "zero", got {mode!r}')
    if not 0 <= padding < (min(H, W) if mode == "reflect" else 2**31):
        raise ValueError(f"expected a padding of 0 to {min(H, W) - 1} for images of {H}x{W}, got {padding}")
    offset = integers(xp, seed, step, "crop", image_index, 2, 2 * padding + 1) - padding  # (B, 2)
    return window(xp, offset[:, 0], H, mode), window(xp, offset[:, 1], W, mode)
