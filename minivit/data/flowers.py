"""Oxford Flowers-102: photos of flowers that are common in the United Kingdom, in the authors' split."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivit.data.archive import Archive, Matching
from minivit.data.dataset import Dataset, DatasetError, Indices, Splits
from minivit.data.download import download as download_file
from minivit.data.download import file_md5
from minivit.data.flower_names import FLOWER_NAMES
from minivit.data.matlab import read_matlab
from minivit.data.photo_sets import (
    PhotoReading,
    as_labels,
    fetch_again,
    fetch_photo_set,
    find_photo_set,
    require_count,
    require_files,
)

TITLE = "Flowers-102"
_PAGE = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
_SOURCE = (
    f"{TITLE}, M.-E. Nilsback, A. Zisserman, ICVGIP 2008, {_PAGE}, which states no licence; names of the classes as "
    "TensorFlow Datasets has them"
)
_CONTENTS = ("jpg", "setid.mat", "imagelabels.mat")
_PARTS = {"train": "trnid", "validation": "valid", "test": "tstid"}  # their names in setid.mat


@dataclass(frozen=True)
class FlowersLayout:
    """How the set lies on disk, and how large it is.

    Attributes
    ----------
    folder : str
        With ``jpg/``, ``setid.mat`` and ``imagelabels.mat`` in it; torchvision's name.
    train, validation, test : int
        Published sizes.
    classes : tuple of str
    archive : Archive
        Of ``jpg/``.
    page : str
        Where the two other files are.
    md5, sizes : mapping of str to str, or int
        Of these files.
    """

    folder: str
    train: int
    validation: int
    test: int
    classes: tuple[str, ...]
    archive: Archive
    page: str
    md5: Mapping[str, str]
    sizes: Mapping[str, int]


FLOWERS = FlowersLayout(
    folder="flowers-102",
    train=1020,
    validation=1020,
    test=6149,
    classes=FLOWER_NAMES,
    archive=Archive(  # sums: torchvision/datasets/flowers102.py; sizes: TensorFlow Datasets, url_checksums
        url=f"{_PAGE}102flowers.tgz",
        md5="52808999861908f626f3c1f4e79d11fa",
        size=344_862_509,
        folder="jpg",
        members=Matching(r"jpg/image_\d{5}\.jpg", least=8189, most=8189, largest=4 * 2**20, total=600 * 2**20),
    ),
    page=_PAGE,
    md5={"setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c", "imagelabels.mat": "e0620be6f572b9609742df49c70aed4d"},
    sizes={"setid.mat": 14_989, "imagelabels.mat": 502},
)


def find_flowers(data_dir: str | os.PathLike[str] | None = None, layout: FlowersLayout = FLOWERS) -> Path | None:
    """The folder with ``jpg/`` and the two lists, or None."""
    return find_photo_set([layout.folder], _CONTENTS, data_dir)


def load_flowers(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    progress: bool = True,
    layout: FlowersLayout = FLOWERS,
    **reading: Any,
) -> Splits:
    """Flowers-102, from this machine or else from its authors' page (0.35 GB).

    M.-E. Nilsback, A. Zisserman: Automated flower classification over a large number of classes. ICVGIP 2008.

    Copies that go round with 6,149 training photos and 1,020 test photos, or drawn anew, are refused: a model that
    learned from six times as many photos scores far better, and the number means nothing beside published ones.

    Parameters
    ----------
    data_dir : path, optional
        Looked in first, and downloaded into.
    download : bool
        Whether to download what is not found, into `data_dir` or else the user cache.
    progress : bool
        Whether a download shows a progress bar.
    layout : FlowersLayout
    **reading
        ``image_size``, ``preprocessing`` and ``cache_bytes`` of `PhotoReading`.

    Returns
    -------
    Splits
        1,020 training, 1,020 validation (ten of each class in both) and 6,149 test photos (N, 3, S, S), read when they
        are indexed.

    Raises
    ------
    DataNotFoundError
        If the set is neither found nor downloadable.
    DatasetError
        If a file or a photo is missing, or the split is not the published one.
    ImportError
        If SciPy, which reads the authors' lists, is not installed.
    """
    how = PhotoReading(**reading)
    folder = find_flowers(data_dir, layout)
    if folder is None or any(not (folder / name).exists() for name in _CONTENTS):
        folder = _fetch(layout, folder, data_dir, progress, download)
    numbers, labels = _read_lists(folder, layout)

    def part(name: str) -> Dataset:
        files = [f"image_{number:05d}.jpg" for number in numbers[name]]
        paths = require_files(TITLE, folder / "jpg", files, fetch_again(folder))
        chosen = as_labels(labels[numbers[name] - 1].tolist())
        return how.dataset(f"flowers102 {name}", paths, chosen, layout.classes, _SOURCE, training=name == "train")

    return Splits(train=part("train"), validation=part("validation"), test=part("test"))


def _read_lists(folder: Path, layout: FlowersLayout) -> tuple[dict[str, Indices], Indices]:
    """The photos' numbers (from 1) by part, and the class (from 1) of each photo."""
    for name, md5 in layout.md5.items():
        found = file_md5(folder / name)
        if found != md5:
            raise DatasetError(
                f"{folder / name}: expected md5 {md5}, got {found}: this is not the authors' split, with "
                f"{layout.train:,} training and {layout.test:,} test photos (some copies exchange the two); "
                f"{fetch_again(folder)}"
            )
    lists = read_matlab(folder / "setid.mat", list(_PARTS.values()))
    labels = read_matlab(folder / "imagelabels.mat", ["labels"])["labels"]
    numbers = {part: lists[name] for part, name in _PARTS.items()}
    if (len(numbers["train"]), len(numbers["test"])) == (layout.test, layout.train):
        raise DatasetError(
            f"{folder / 'setid.mat'}: training and test are exchanged: expected {layout.train:,} training photos "
            f"(trnid) and {layout.test:,} test photos (tstid), got {layout.test:,} and {layout.train:,}; "
            f"{fetch_again(folder)}"
        )
    for part, expected in (("train", layout.train), ("validation", layout.validation), ("test", layout.test)):
        require_count(TITLE, part, folder / "setid.mat", len(numbers[part]), expected, fetch_again(folder))
    total = layout.train + layout.validation + layout.test
    if not np.array_equal(np.sort(np.concatenate(list(numbers.values()))), np.arange(1, total + 1)):
        raise DatasetError(
            f"{folder / 'setid.mat'}: expected each of {total:,} photos in one part; {fetch_again(folder)}"
        )
    if labels.shape != (total,) or labels.min() < 1 or labels.max() > len(layout.classes):
        raise DatasetError(
            f"{folder / 'imagelabels.mat'}: expected {total:,} numbers from 1 to {len(layout.classes)}; "
            f"{fetch_again(folder)}"
        )
    return numbers, labels


def _fetch(
    layout: FlowersLayout, folder: Path | None, data_dir: str | os.PathLike[str] | None, progress: bool, download: bool
) -> Path:
    """The folder, with what it lacked downloaded."""

    def fetch(target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        for name, md5 in layout.md5.items():
            if not (target / name).exists():
                download_file(layout.page + name, target / name, md5=md5, size=layout.sizes[name], progress=progress)
        if not (target / "jpg").is_dir():
            layout.archive.fetch(target, progress)

    ways = [
        f"  - with a network: allow the download from {_PAGE} ({layout.archive.size / 1e6:,.0f} MB);",
        f"  - without: put setid.mat, imagelabels.mat and the folder jpg of 102flowers.tgz, all from {_PAGE},",
    ]
    return fetch_photo_set(TITLE, layout.folder, fetch, folder=folder, data_dir=data_dir, download=download, ways=ways)
