"""Checks that the augmentations share."""

from __future__ import annotations

from minivit.backend import Array


def check_images(images: Array, image_index: Array) -> None:
    """Raise a ValueError unless there is a batch of images and an index for each."""
    if images.ndim != 4:
        raise ValueError(f"expected images of shape (B, C, H, W), got {images.shape}")
    if image_index.shape != images.shape[:1]:
        raise ValueError(f"expected one image index for each of {images.shape[0]} images, got {image_index.shape}")
