"""Photos as a trained classifier wants them: resized and cropped in the way of its evaluation."""

from __future__ import annotations

import math
import os

import numpy as np

from minivit.data.dataset import Images
from minivit.data.image_folder import open_rgb, read_image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def read_photo(path: str | os.PathLike[str], image_size: int, channels: int = 3, crop_fraction: float = 1.0) -> Images:
    """Read one image file for a classifier.

    The shorter side is resized (bicubic) to ``floor(image_size / crop_fraction)`` and the central square of side
    `image_size` taken, as timm and torchvision do. With a fraction of 1 it is `read_image`, as for training images.

    Parameters
    ----------
    path : path
    image_size : int
    channels : {3, 1}
        1 gives grey values (ITU-R 601 luma).
    crop_fraction : float
        Share of the shorter side that the classifier sees; 0.9 for the DeiT and ViT weights in timm.

    Returns
    -------
    array (channels, image_size, image_size) of uint8

    Raises
    ------
    DatasetError
        If the file is empty, corrupt, or of a kind that Pillow cannot read.
    FileNotFoundError
        If there is no such file.
    """
    if not 0.0 < crop_fraction <= 1.0:
        raise ValueError(f"expected a crop fraction above 0 and up to 1, got {crop_fraction}")
    if channels not in (1, 3):
        raise ValueError(f"expected 1 or 3 channels, got {channels}")
    pixels = read_image(path, image_size) if crop_fraction == 1.0 else _resized_crop(path, image_size, crop_fraction)
    if channels == 1:
        luma = np.array([299, 587, 114]) / 1000
        pixels = np.rint(np.tensordot(luma, pixels, 1))[None].astype(np.uint8)  # (3, S, S) -> (1, S, S)
    return pixels


def _resized_crop(path: str | os.PathLike[str], image_size: int, crop_fraction: float) -> Images:
    from PIL import Image

    image = open_rgb(path)
    width, height = image.size
    short = math.floor(image_size / crop_fraction)
    long = int(short * max(width, height) / min(width, height))
    width, height = (short, long) if width <= height else (long, short)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - image_size) / 2), round((height - image_size) / 2)
    square = image.crop((left, top, left + image_size, top + image_size))
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))  # (S, S, 3) -> (3, S, S)
