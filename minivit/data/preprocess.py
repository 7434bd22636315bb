"""Photos as a trained classifier wants them: each family of weights was trained on pixels that were resized its way."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from minivit.data.dataset import Images
from minivit.data.image_folder import fit_square, open_rgb
from minivit.data.resize import resize_area, resize_bilinear

if TYPE_CHECKING:
    from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

STATISTICS = {  # mean and std that inputs are normalised with, on the scale where 255 is 1
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


@dataclass(frozen=True)
class Preprocessing:
    """From an image file to the square that a classifier is shown, and what that is normalised with.

    Attributes
    ----------
    method : {"timm", "google", "big_vision", "fit"}
        ``"timm"``: the shorter side resized to ``floor(image_size / crop_fraction)`` with Pillow's bicubic filter,
        which is antialiased, and the central square taken
        (https://github.com/huggingface/pytorch-image-models/blob/main/timm/data/transforms_factory.py,
        ``transforms_imagenet_eval``; torchvision's weights are evaluated so, too).

        ``"google"``: the whole photo resized to a square, whatever its shape, bilinear without antialias, as the ViT
        paper's authors evaluate
        (https://github.com/google-research/vision_transformer/blob/main/vit_jax/input_pipeline.py). They normalise the
        result as it is; here it is rounded to bytes, which moves an input by at most half of 1/127.5.

        ``"big_vision"``: the shorter side resized to ``round(image_size / crop_fraction)`` by area, cut off to bytes,
        and the central square taken, as in their later transfers, which crop 384 of 448
        (https://github.com/google-research/big_vision/blob/main/big_vision/configs/transfer.py).

        ``"fit"``: the largest central square, then resized (bicubic, antialiased): as `load_image_folder` reads.
    crop_fraction : float
        Share of the shorter side that is kept, in (0, 1]; 1 for ``"google"`` and ``"fit"``, which crop nothing more.
        timm has 0.9 for its ViT and DeiT weights, 0.875 where weights do not say.
    statistics : {"imagenet", "half"}, optional
        The mean and std: those of ImageNet's training photos, or 0.5. By default ``"half"`` for Google's two methods,
        ``"imagenet"`` for others; timm's own ViT weights take ``"half"``.

    Raises
    ------
    ValueError
        If a name is unknown, or the crop fraction out of range or not the method's.

    Examples
    --------
    >>> Preprocessing("google").mean
    (0.5, 0.5, 0.5)
    """

    method: str = "timm"
    crop_fraction: float = 1.0
    statistics: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"expected a preprocessing of {', '.join(METHODS)}, got {self.method!r}")
        if not 0.0 < self.crop_fraction <= 1.0:
            raise ValueError(f"expected a crop fraction above 0 and up to 1, got {self.crop_fraction}")
        if self.crop_fraction != 1.0 and self.method in ("google", "fit"):
            raise ValueError(
                f"{self.method!r} resizes all that it shows and crops no margin off: its crop fraction is 1, got "
                f"{self.crop_fraction}"
            )
        if self.statistics is not None and self.statistics not in STATISTICS:
            raise ValueError(f"expected statistics of {', '.join(STATISTICS)}, got {self.statistics!r}")

    @property
    def mean(self) -> tuple[float, ...]:
        """Of the three channels, on the scale where 255 is 1."""
        return self._statistics[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Of the three channels."""
        return self._statistics[1]

    @property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        own = "half" if self.method in ("google", "big_vision") else "imagenet"
        return STATISTICS[self.statistics or own]

    def of_training(self) -> Preprocessing:
        """The same without a margin cut off: training photos keep it, since their crops are random."""
        return replace(self, crop_fraction=1.0)

    def read(
        self, path: str | os.PathLike[str], image_size: int, channels: int = 3, *, as_stored: bool = False
    ) -> Images:
        """Read one image file for a classifier.

        Parameters
        ----------
        path : path
        image_size : int
        channels : {3, 1}
            1 gives grey values (ITU-R 601 luma).
        as_stored : bool
            Take pixels as the file has them, as published results on photo sets do; otherwise the photo is turned
            upright as its camera noted, and transparency becomes white.

        Returns
        -------
        array (channels, image_size, image_size) of uint8

        Raises
        ------
        DatasetError
            If the file is empty, corrupt, or of a kind that Pillow cannot read.
        FileNotFoundError
            If there is no such file.
        ValueError
            If there is no image size or number of channels such as that.
        """
        if image_size < 1:
            raise ValueError(f"expected an image size of at least 1, got {image_size}")
        if channels not in (1, 3):
            raise ValueError(f"expected 1 or 3 channels, got {channels}")
        square = METHODS[self.method](open_rgb(path, as_stored=as_stored), image_size, self.crop_fraction)
        pixels = np.ascontiguousarray(square.transpose(2, 0, 1))  # (S, S, 3) -> (3, S, S)
        if channels == 1:
            luma = np.array([299, 587, 114]) / 1000
            pixels = np.rint(np.tensordot(luma, pixels, 1))[None].astype(np.uint8)  # (3, S, S) -> (1, S, S)
        return pixels


def _timm(image: Image.Image, image_size: int, crop_fraction: float) -> Images:
    from PIL import Image

    width, height = image.size
    short = math.floor(image_size / crop_fraction)
    long = int(short * max(width, height) / min(width, height))
    width, height = (short, long) if width <= height else (long, short)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - image_size) / 2), round((height - image_size) / 2)
    return np.asarray(resized.crop((left, top, left + image_size, top + image_size)))


def _google(image: Image.Image, image_size: int, _: float) -> Images:
    return np.rint(resize_bilinear(np.asarray(image), image_size, image_size)).astype(np.uint8)


def _big_vision(image: Image.Image, image_size: int, crop_fraction: float) -> Images:
    width, height = image.size
    factor = np.float32(round(image_size / crop_fraction)) / np.float32(min(width, height))
    rows, columns = int(np.rint(np.float32(height) * factor)), int(np.rint(np.float32(width) * factor))
    # Cut off, not rounded; what float64 leaves below a whole number is no cut.
    resized: Images = np.floor(resize_area(np.asarray(image), rows, columns) + 1e-6).astype(np.uint8)
    top, left = (rows - image_size) // 2, (columns - image_size) // 2
    return resized[top : top + image_size, left : left + image_size]


def _fit(image: Image.Image, image_size: int, _: float) -> Images:
    return fit_square(image, image_size)


METHODS: dict[str, Callable[[Image.Image, int, float], Images]] = {
    "timm": _timm,
    "google": _google,
    "big_vision": _big_vision,
    "fit": _fit,
}
