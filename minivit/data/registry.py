"""Data sets by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from minivit.data import cifar
from minivit.data.dataset import Splits
from minivit.data.digits import load_digits
from minivit.data.image_folder import load_image_folder
from minivit.data.shapes import load_shapes

NAMES = ("digits", "shapes", "cifar10", "cifar100")
EMBEDDED = ("digits", "shapes")


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
        ``"digits"`` or ``"shapes"``, which come with minivit; ``"cifar10"`` or ``"cifar100"``; or a folder with a
        sub-folder of images for each class.
    data_dir : path, optional
        Where CIFAR is looked for first and downloaded to; then ``$MINIVIT_DATA`` and the user cache are.
    download : bool
        Whether CIFAR may be downloaded where it is not found.
    **options
        Passed on to `load_shapes`, `load_cifar` or `load_image_folder`.

    Returns
    -------
    Splits
        Train and test, and validation where the data has a stored one.

    Raises
    ------
    DataNotFoundError
        If CIFAR is neither found nor downloadable; the message lists the ways out.
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
    if Path(name).expanduser().is_dir():
        return load_image_folder(name, **options)
    raise ValueError(f"unknown dataset {str(name)!r}; expected {', '.join(NAMES)}, or a folder of images")


def find(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """Where the files of a dataset that may have to be downloaded are, or None where they are not on this machine."""
    if name not in cifar.LAYOUTS:
        raise ValueError(f"expected one of {', '.join(cifar.LAYOUTS)}, got {name!r}")
    return cifar.find_cifar(cifar.LAYOUTS[name], data_dir)
