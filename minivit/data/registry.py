"""Data sets by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minivit.data import cifar
from minivit.data.dataset import Splits
from minivit.data.digits import load_digits
from minivit.data.flowers import find_flowers, load_flowers
from minivit.data.image_folder import load_image_folder
from minivit.data.imagenet import find_imagenet, load_imagenet
from minivit.data.imagenet_labels import find_real_labels
from minivit.data.pets import find_pets, load_pets
from minivit.data.shapes import load_shapes

EMBEDDED = ("digits", "shapes")
PHOTOS = ("pets", "flowers102", "imagenet")
NAMES = (*EMBEDDED, *cifar.LAYOUTS, *PHOTOS)


def load(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
    **options: Any,
) -> Splits:
    """A dataset by its name, or the images in a folder.

    Parameters
    ----------
    name : str or path
        ``"digits"`` or ``"shapes"``, which come with minivit; ``"cifar10"`` or ``"cifar100"``; the photos of
        ``"pets"``, ``"flowers102"`` or ``"imagenet"``, read when they are needed; or a folder with a sub-folder of
        images for each class.
    data_dir : path, optional
        Where data are looked for first and downloaded to; then ``$MINIVIT_DATA`` and the user cache are.
    download : bool
        Whether what is not found may be downloaded. ImageNet cannot be.
    **options
        Passed on to `load_shapes`, `load_cifar`, `load_pets`, `load_flowers`, `load_imagenet` or `load_image_folder`.

    Returns
    -------
    Splits
        Train and test, and validation where the data has a stored one.

    Raises
    ------
    DataNotFoundError
        If the data is neither found nor downloadable; the message lists the ways out.
    DatasetError
        If files are missing, truncated, corrupt or not images.
    ValueError
        If the name is unknown and no folder.

    Examples
    --------
    >>> load("digits").train
    Dataset('digits train': 1,078 images 1x8x8, 10 classes)
    """
    if name == "digits":
        return load_digits(**options)
    if name == "shapes":
        return load_shapes(**options)
    if isinstance(name, str) and name in cifar.LAYOUTS:
        return cifar.load_cifar(cifar.LAYOUTS[name], data_dir, download=download, **options)
    if name == "pets":
        return load_pets(data_dir, download=download, **options)
    if name == "flowers102":
        return load_flowers(data_dir, download=download, **options)
    if name == "imagenet":
        return load_imagenet(data_dir, **options)
    if Path(name).expanduser().is_dir():
        return load_image_folder(name, **options)
    raise ValueError(f"unknown dataset {str(name)!r}; expected {', '.join(NAMES)}, or a folder of images")


def find(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """Where the files of a dataset that does not come with minivit are, or None where they are not on this machine.

    ``"imagenet_real"`` is the file of the labels that `load_real_labels` reads.
    """
    if name in cifar.LAYOUTS:
        return cifar.find_cifar(cifar.LAYOUTS[name], data_dir)
    finders: dict[str, Callable[[str | os.PathLike[str] | None], Path | None]] = {
        "pets": find_pets,
        "flowers102": find_flowers,
        "imagenet": find_imagenet,
        "imagenet_real": find_real_labels,
    }
    if name not in finders:
        raise ValueError(f"expected one of {', '.join([*cifar.LAYOUTS, *finders])}, got {name!r}")
    return finders[name](data_dir)
