"""The usual augmentation of images, in as few gathers as it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.augment.checks import check_images
from minivit.augment.color_rotation import color_rotation
from minivit.augment.crop import crop_windows
from minivit.augment.cutout import cutout
from minivit.augment.flip import flip_choice
from minivit.augment.gather import gather
from minivit.augment.normalize import normalize
from minivit.augment.randaugment import RandAugment
from minivit.augment.random_resized_crop import blend, crop_places
from minivit.backend import Array, array_module


@dataclass(frozen=True)
class TrainAugmentation:
    """Crop, flip, normalise, cut out: bytes in, a model's input out.

    The same as `random_crop`, `random_flip`, `normalize` and `cutout` (which blanks to the training mean, now 0) one
    after the other, with the same random numbers, `random_resized_crop` standing in for the first where photos want it;
    and a `randaugment` policy before the first or after the second of them, wherever its style has it.

    Attributes
    ----------
    mean, std : tuple of C floats
        As for `normalize`.
    seed : int
    padding : int
        Of the crop: images are shifted by as many pixels in each direction. 0 leaves them in place.
    padding_mode : {"reflect", "zero"}
        ``"zero"`` for images on black, such as digits.
    flip : bool
        Whether half of the images are mirrored. Not for digits or text.
    cutout_size : int
        Side of the blanked square in pixels. 0 blanks none.
    policy : RandAugment, optional
        Made by `randaugment`. Pixels that it marks as blank move along with the crop and are 0, the training mean, in
        the end.
    rotate_colors : bool
        Whether normalised images go through `color_rotation`. Only where classes do not depend on colour.
    crop_area : (float, float), optional
        Smallest and largest share of the image that a `random_resized_crop` shows, for photos; in place of the shift
        by `padding`. Google fine-tunes with (0.05, 1), timm trains with (0.08, 1).
    crop_size : int
        Side of that crop after its resize. 0 leaves it the images'.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int
    padding: int = 4
    padding_mode: str = "reflect"
    flip: bool = True
    cutout_size: int = 0
    policy: RandAugment | None = None
    rotate_colors: bool = False
    crop_area: tuple[float, float] | None = None
    crop_size: int = 0

    def __call__(self, images: Array, step: int, image_index: Array) -> Array:
        """Augment a batch, or any part of it.

        Parameters
        ----------
        images : array (B, C, H, W) of uint8
        step : int
            Of training: another step augments the same image in another way.
        image_index : array (B,) of an integer type
            The images' numbers in the dataset.

        Returns
        -------
        array (B, C, H, W) of float32
        """
        check_images(images, image_index)
        policy, blank = self.policy, None
        if policy is not None and not policy.crop_first:
            images, blank = policy(images, step, image_index)
        images, blank = self._cropped(images, blank, step, image_index)
        if policy is not None and policy.crop_first:
            images, blank = policy(images, step, image_index)
        images = normalize(images, self.mean, self.std)
        if self.rotate_colors:
            images = color_rotation(images, seed=self.seed, step=step, image_index=image_index)
        if blank is not None:
            images = array_module(images).where(blank, np.float32(0), images)
        if self.cutout_size:
            images = cutout(images, self.cutout_size, seed=self.seed, step=step, image_index=image_index)
        return images

    def _cropped(self, images: Array, blank: Array | None, step: int, image_index: Array) -> tuple[Array, Array | None]:
        """Images, and where they are blank, cropped and flipped alike."""
        xp = array_module(images)
        key: dict[str, Any] = {"seed": self.seed, "step": step, "image_index": image_index}
        if self.crop_area is not None:
            return self._resized(images, blank, self.crop_area, key)
        rows, columns = crop_windows(xp, images.shape, self.padding, mode=self.padding_mode, **key)
        if self.flip:
            columns = xp.where(flip_choice(xp, **key)[:, None], columns[:, ::-1], columns)
        fill = None if self.padding_mode == "reflect" else 0
        moved = gather(images, rows, columns, xp, fill)
        return moved, None if blank is None else gather(blank, rows, columns, xp, fill)

    def _resized(
        self, images: Array, blank: Array | None, area: tuple[float, float], key: dict[str, Any]
    ) -> tuple[Array, Array | None]:
        """Images, and where they are blank, cropped, resized and flipped alike; a pixel is blank as the nearest is."""
        xp = array_module(images)
        rows, columns = crop_places(xp, images.shape, self.crop_size, area=area, **key)
        if self.flip:
            columns = columns.mirrored(flip_choice(xp, **key), xp)
        moved = blend(images, rows, columns, xp)
        return moved, None if blank is None else gather(blank, rows.nearest(xp), columns.nearest(xp), xp)
