"""What the photo sets share: where they are looked for, and a `Dataset` of files that are read when they are needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minivit.data.archive import ArchiveError
from minivit.data.dataset import Dataset, DatasetError, Labels
from minivit.data.locate import DataNotFoundError, search_folders, user_cache
from minivit.data.photo_files import CACHE_BYTES, PhotoFiles
from minivit.data.preprocess import Preprocessing


@dataclass(frozen=True)
class PhotoReading:
    """How the photos of a set are read.

    Attributes
    ----------
    image_size : int
        Side of the squares that they become.
    preprocessing : Preprocessing or str
        How they become it, see `Preprocessing`, whose methods may be named alone. Training photos are read without the
        margin that it crops off. Pixels are taken as they are stored, as published results do: no photo is turned.
    cache_bytes : int
        Of the photos of each part that are kept in memory once they were read, see `PhotoFiles`.
    """

    image_size: int = 224
    preprocessing: Preprocessing | str = "timm"
    cache_bytes: int = CACHE_BYTES

    def dataset(
        self,
        name: str,
        paths: Sequence[str],
        labels: Labels,
        classes: tuple[str, ...],
        source: str,
        *,
        training: bool,
    ) -> Dataset:
        """The photos in some files; mean and std are the preprocessing's."""
        size, way = self.image_size, self.preprocessing
        way = Preprocessing(way) if isinstance(way, str) else way
        if size < 1:
            raise ValueError(f"expected an image size of at least 1, got {size}")
        shown = way.of_training() if training else way
        images = PhotoFiles(
            paths,
            lambda path: shown.read(path, size, as_stored=True),
            image_size=size,
            cache_bytes=self.cache_bytes,
        )
        return Dataset(name, images, labels, classes, way.mean, way.std, source)


def find_photo_set(
    folders: Sequence[str], contents: Sequence[str], data_dir: str | os.PathLike[str] | None
) -> Path | None:
    """The first place that holds a photo set: one of `folders` in a place that is searched, or the place itself.

    A folder of that name has to hold some of `contents`, a place of any name all of them.
    """
    for base in search_folders(data_dir):
        for name in folders:
            if any((base / name / inside).exists() for inside in contents):
                return base / name
        if all((base / inside).exists() for inside in contents):
            return base
    return None


def photo_set_not_found(
    title: str, data_dir: str | os.PathLike[str] | None, reason: str, ways: Sequence[str]
) -> DataNotFoundError:
    """The error for a set that is nowhere, with the ways out."""
    looked_in = ", ".join(str(folder) for folder in search_folders(data_dir))
    return DataNotFoundError("\n".join([f"{title} is not in {looked_in}: {reason}", "Ways out:", *ways]))


def fetch_photo_set(
    title: str,
    name: str,
    fetch: Callable[[Path], None],
    *,
    folder: Path | None,
    data_dir: str | os.PathLike[str] | None,
    download: bool,
    ways: Sequence[str],
) -> Path:
    """The folder of a photo set, with what it lacks downloaded.

    Parameters
    ----------
    title, name : str
        Of the set, and of its folder where there is none yet.
    fetch : callable
        folder -> None: downloads into it what it lacks.
    folder : Path, optional
        Where a part of the set is.
    data_dir : path, optional
        Holds the new folder; the user cache by default.
    download : bool
        Whether it may be.
    ways : sequence of str
        Lines that say how else to get the set, up to the folder that holds it.

    Raises
    ------
    DataNotFoundError
        If it may not be downloaded, or cannot.
    """
    ways = [
        *ways,
        f"    into a folder {name}, and name the folder that holds it by data_dir (--data-dir) or the",
        "    environment variable MINIVIT_DATA.",
    ]
    if not download:
        raise photo_set_not_found(title, data_dir, "downloading was not asked for", ways)
    base = user_cache() if data_dir is None else Path(data_dir).expanduser()
    target = folder or base / name
    try:
        fetch(target)
    except (ArchiveError, OSError) as error:
        raise photo_set_not_found(title, data_dir, str(error), ways) from error
    return target


def fetch_again(folder: Path) -> str:
    """What to do about a folder with something wrong in it."""
    return f"delete {folder} and let it be downloaded again"


def require_files(title: str, folder: Path, names: Sequence[str], advice: str) -> list[str]:
    """The paths of some files in a folder, as strings, after a look at whether they are there."""
    try:
        with os.scandir(folder) as entries:
            there = {entry.name for entry in entries}
    except FileNotFoundError:
        there = set()
    missing = [name for name in names if name not in there]
    if missing:
        raise DatasetError(
            f"{folder}: {len(missing)} of the {len(names)} photos of {title} are missing, the first being "
            f"{missing[0]}; {advice}"
        )
    return [str(folder / name) for name in names]


def require_count(title: str, part: str, where: Path, found: int, expected: int, advice: str) -> None:
    """Raise unless a split has its published size: results on other splits cannot be compared."""
    if found != expected:
        raise DatasetError(f"{where}: expected the {expected:,} {part} photos of {title}, got {found:,}; {advice}")


def as_labels(classes_from_one: Sequence[int]) -> Labels:
    """Labels from 0 out of class numbers from 1."""
    return np.asarray(classes_from_one, np.int64) - 1
