"""Cutting an image into patches, each a vector, and joining them again (Dosovitskiy et al. 2020, section 3.1)."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError


def _to_patches(F: Any, images: Any, size: int) -> Any:
    b, c, height, width = images.shape
    rows, columns = height // size, width // size
    grid = F.reshape(images, (b, c, rows, size, columns, size))
    patches = F.transpose(grid, (0, 2, 4, 1, 3, 5))  # (B, rows, columns, C, p, p)
    return F.reshape(patches, (b, rows * columns, c * size * size))  # (B, N, C p p)


def _to_images(F: Any, patches: Any, size: int, shape: tuple[int, ...]) -> Any:
    b, c, height, width = shape
    grid = F.reshape(patches, (b, height // size, width // size, c, size, size))
    return F.reshape(F.transpose(grid, (0, 3, 1, 4, 2, 5)), shape)  # (B, C, H, W)


class Patchify(Op):
    """(B, C, H, W) -> (B, N, C p p): patches in reading order, each flattened as (channel, row, column)."""

    @staticmethod
    def forward(F: Any, images: Any, *, patch_size: int) -> Any:
        return _to_patches(F, images, patch_size)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, images: Any, *, patch_size: int) -> tuple[Any]:
        return (_to_images(F, dy, patch_size, images.shape),)  # every pixel goes to exactly one place


class Unpatchify(Op):
    """(B, N, C p p) -> (B, C, H, W): the inverse of `Patchify`."""

    @staticmethod
    def forward(F: Any, patches: Any, *, patch_size: int, shape: tuple[int, int, int]) -> Any:
        return _to_images(F, patches, patch_size, (patches.shape[0], *shape))

    @staticmethod
    def backward(
        F: Any, dy: Any, saved: Any, patches: Any, *, patch_size: int, shape: tuple[int, int, int]
    ) -> tuple[Any]:
        return (_to_patches(F, dy, patch_size),)


def patchify(images: Any, patch_size: int) -> Tensor:
    """Cut images into square patches.

    The order inside a patch is that of a convolution's weight, (C, p, p), so a linear map of the result equals a
    convolution with kernel and stride p.

    Parameters
    ----------
    images : Tensor of shape (B, C, H, W)
    patch_size : int
        p, in pixels; divides H and W.

    Returns
    -------
    Tensor of shape (B, (H/p)(W/p), C p p)

    Raises
    ------
    ShapeError
        If the image cannot be cut evenly.
    """
    images = as_tensor(images)
    if images.ndim != 4 or images.shape[2] % patch_size or images.shape[3] % patch_size:
        raise ShapeError(f"patchify: expected (B, C, H, W) with H and W multiples of {patch_size}, got {images.shape}")
    return apply(Patchify, images, patch_size=int(patch_size))


def unpatchify(patches: Any, patch_size: int, shape: tuple[int, int, int]) -> Tensor:
    """Put patches together again.

    Parameters
    ----------
    patches : Tensor of shape (B, N, C p p)
    patch_size : int
        p, in pixels.
    shape : (C, H, W)
        Of one image.

    Returns
    -------
    Tensor of shape (B, C, H, W)
    """
    patches = as_tensor(patches)
    channels, height, width = shape
    expected = ((height // patch_size) * (width // patch_size), channels * patch_size**2)
    if height % patch_size or width % patch_size or patches.ndim != 3 or patches.shape[1:] != expected:
        raise ShapeError(
            f"unpatchify: images {shape} in patches of {patch_size} are (B, {expected[0]}, {expected[1]}), "
            f"got {patches.shape}"
        )
    return apply(Unpatchify, patches, patch_size=int(patch_size), shape=(channels, height, width))
