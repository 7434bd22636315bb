"""ImageNet (ILSVRC 2012): 1,000 classes in folders named by their WordNet ids."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivit.data.dataset import Dataset, DatasetError, Splits
from minivit.data.imagenet_labels import LABEL_FILES, validation_synsets
from minivit.data.photo_sets import PhotoReading, find_photo_set, photo_set_not_found

TITLE = "ImageNet"
_SOURCE = (
    "ImageNet, ILSVRC 2012, O. Russakovsky et al., arXiv:1409.0575, https://image-net.org, whose terms allow research "
    "and education that is not commercial"
)
_SYNSET = re.compile(r"n\d{8}")
_VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")
_WAYS = [
    "  - register at https://image-net.org/download-images, which lets nobody download without; unpack",
    "    ILSVRC2012_img_train.tar into train/, each of the 1,000 archives in it into a folder of its name",
    "    (train/n01440764/*.JPEG), and ILSVRC2012_img_val.tar into val/, as it is or in folders of the classes;",
    "  - or take the competition's files from Kaggle: the folder ILSVRC/Data/CLS-LOC, with LOC_val_solution.csv",
    "    copied into it;",
    "  - name the folder that holds train/ and val/, or one that has it as imagenet/, by data_dir (--data-dir) or the",
    "    environment variable MINIVIT_DATA. docs/data.md has the commands.",
]


@dataclass(frozen=True)
class ImageNetLayout:
    """How large the set is.

    Attributes
    ----------
    folders : tuple of str
        Names of the folder with ``train/`` and ``val/`` in it.
    classes, train, validation : int
    """

    folders: tuple[str, ...]
    classes: int
    train: int
    validation: int


IMAGENET = ImageNetLayout(("imagenet", "ILSVRC2012"), classes=1000, train=1_281_167, validation=50_000)


def find_imagenet(data_dir: str | os.PathLike[str] | None = None, layout: ImageNetLayout = IMAGENET) -> Path | None:
    """The folder with ``val/`` and, for training, ``train/``; or None."""
    found = find_photo_set(layout.folders, ["train", "val"], data_dir)
    if found is None and data_dir is not None and (Path(data_dir).expanduser() / "val").is_dir():
        return Path(data_dir).expanduser()
    return found


def load_imagenet(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    layout: ImageNetLayout = IMAGENET,
    **reading: Any,
) -> Splits:
    """ImageNet's training photos and, as the test set that published results are of, its validation photos.

    The label of a class is the place of its synset (``n01440764``) among the sorted 1,000: the order of all published
    weights, but not that of the numbers in the devkit.

    Parameters
    ----------
    data_dir : path, optional
        Looked in first.
    layout : ImageNetLayout
    **reading
        ``image_size``, ``preprocessing`` and ``cache_bytes`` of `PhotoReading`.

    Returns
    -------
    Splits
        1,281,167 training and 50,000 test photos (N, 3, S, S), read when they are indexed. The latter are in the order
        of their numbers, whatever folders they are in: photo i is ``ILSVRC2012_val_{i+1:08d}``.

    Raises
    ------
    DataNotFoundError
        If the set is not found; it says where to get it.
    DatasetError
        If photos or classes are missing, or validation photos have no labels.
    """
    folder = _found(data_dir, layout)
    if not (folder / "train").is_dir():
        raise DatasetError(
            f"{folder}: has val/ but no train/; unpack the training photos there, or evaluate on the validation photos "
            "alone, with load_imagenet_validation"
        )
    synsets = _class_folders(folder / "train", layout)
    names, labels = [], []
    for label, synset in enumerate(synsets):
        with os.scandir(folder / "train" / synset) as entries:
            files = sorted(entry.name for entry in entries if entry.name.endswith(".JPEG"))
        names += [f"{synset}/{name}" for name in files]
        labels += [label] * len(files)
    if len(names) != layout.train:
        raise DatasetError(
            f"{folder / 'train'}: expected {layout.train:,} photos *.JPEG in {layout.classes:,} folders, got "
            f"{len(names):,}; unpack the archives again"
        )
    root = f"{folder / 'train'}{os.sep}"
    train = PhotoReading(**reading).dataset(
        "imagenet train",
        [root + name for name in names],
        np.asarray(labels, np.int64),
        synsets,
        _SOURCE,
        training=True,
    )
    return Splits(train=train, test=_validation(folder, synsets, layout, reading))


def load_imagenet_validation(
    data_dir: str | os.PathLike[str] | None = None, *, layout: ImageNetLayout = IMAGENET, **reading: Any
) -> Dataset:
    """ImageNet's validation photos alone, for who evaluates weights and has no training photos.

    Parameters and errors are those of `load_imagenet`.

    Returns
    -------
    Dataset
        50,000 photos (N, 3, S, S), read when they are indexed; photo i is ``ILSVRC2012_val_{i+1:08d}``.
    """
    folder = _found(data_dir, layout)
    train = folder / "train"
    return _validation(folder, _class_folders(train, layout) if train.is_dir() else None, layout, reading)


def _found(data_dir: str | os.PathLike[str] | None, layout: ImageNetLayout) -> Path:
    folder = find_imagenet(data_dir, layout)
    if folder is None or not (folder / "val").is_dir():
        where = "it cannot be downloaded without registration" if folder is None else f"{folder} has no folder val"
        raise photo_set_not_found(TITLE, data_dir, where, _WAYS)
    return folder


def _class_folders(folder: Path, layout: ImageNetLayout) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        synsets = sorted(entry.name for entry in entries if _SYNSET.fullmatch(entry.name))
    if len(synsets) != layout.classes:
        raise DatasetError(
            f"{folder}: expected {layout.classes:,} folders named by synsets, such as n01440764, got {len(synsets):,}; "
            "unpack each class's archive into a folder of its name"
        )
    return tuple(synsets)


def _validation(
    folder: Path, synsets: tuple[str, ...] | None, layout: ImageNetLayout, reading: dict[str, Any]
) -> Dataset:
    """The validation photos in the order of their numbers."""
    val = folder / "val"
    with os.scandir(val) as entries:
        flat = any(_VALIDATION.fullmatch(entry.name) for entry in entries)
    if flat:
        of_photos = validation_synsets(folder, layout.validation)
        with os.scandir(val) as entries:
            found = {entry.name: entry.name for entry in entries if _VALIDATION.fullmatch(entry.name)}
    else:
        own = _class_folders(val, layout)
        found, by_name = {}, {}
        for synset in own:
            with os.scandir(val / synset) as entries:
                for entry in entries:
                    if _VALIDATION.fullmatch(entry.name):
                        found[entry.name], by_name[entry.name] = f"{synset}/{entry.name}", synset
        of_photos = [by_name.get(name, "") for name in _names(layout.validation)]
    missing = [name for name in _names(layout.validation) if name not in found]
    if missing or len(found) != layout.validation:
        raise DatasetError(
            f"{val}: expected the {layout.validation:,} photos {_names(1)[0]} and so on, got {len(found):,}"
            f"{f', without {missing[0]}' if missing else ''}; unpack ILSVRC2012_img_val.tar again"
        )
    known = synsets or tuple(sorted(set(of_photos)))
    number = {synset: label for label, synset in enumerate(known)}
    strangers = sorted(set(of_photos) - set(known))
    if strangers or len(known) != layout.classes:
        raise DatasetError(
            f"{val}: expected photos of {layout.classes:,} classes"
            f"{f', got {strangers[0]}, which train/ lacks' if strangers else f', got {len(known):,}'}; labels are in "
            f"the class folders, or in {', '.join(LABEL_FILES)}"
        )
    return PhotoReading(**reading).dataset(
        "imagenet validation",
        [str(val / found[name]) for name in _names(layout.validation)],
        np.asarray([number[synset] for synset in of_photos], np.int64),
        known,
        _SOURCE,
        training=False,
    )


def _names(count: int) -> Sequence[str]:
    return [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, count + 1)]
