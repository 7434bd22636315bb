"""Oxford-IIIT Pets: photos of 37 breeds of cats and dogs, in the authors' split."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minivit.data.archive import Archive, Matching
from minivit.data.dataset import Dataset, DatasetError, Splits
from minivit.data.photo_sets import (
    PhotoReading,
    as_labels,
    fetch_again,
    fetch_photo_set,
    find_photo_set,
    require_count,
    require_files,
)

TITLE = "Oxford-IIIT Pets"
_PAGE = "https://www.robots.ox.ac.uk/~vgg/data/pets/"
_SOURCE = (
    f"{TITLE}, O. Parkhi, A. Vedaldi, A. Zisserman, C. Jawahar, CVPR 2012, {_PAGE}, licence CC BY-SA 4.0; the "
    "photos' copyright remains with their owners"
)
_CONTENTS = ("images", "annotations")


@dataclass(frozen=True)
class PetsLayout:
    """How the set lies on disk, and how large it is.

    Attributes
    ----------
    folder : str
        With ``images/`` and ``annotations/`` in it; torchvision's name.
    train, test, classes : int
        Published sizes.
    archives : tuple of Archive
        Of the two folders.
    """

    folder: str
    train: int
    test: int
    classes: int
    archives: tuple[Archive, ...]


PETS = PetsLayout(
    folder="oxford-iiit-pet",
    train=3680,
    test=3669,
    classes=37,
    archives=(  # sums: torchvision/datasets/oxford_iiit_pet.py; sizes: TensorFlow Datasets, url_checksums
        Archive(
            url=f"{_PAGE}data/annotations.tar.gz",
            md5="95a8c909bbe2e81eed6a22bccdf3f68f",
            size=19_173_078,
            folder="annotations",
            members=Matching(r"annotations/(trainval|test)\.txt", least=2, most=2, largest=2**20, total=2**21),
        ),
        Archive(
            url=f"{_PAGE}data/images.tar.gz",
            md5="5c4f3ee8e5d25df40f4fd59a7f44e54c",
            size=791_918_971,
            folder="images",
            members=Matching(
                r"images/[A-Za-z_]+_\d+\.jpg", least=7349, most=8000, largest=16 * 2**20, total=1200 * 2**20
            ),
        ),
    ),
)


def find_pets(data_dir: str | os.PathLike[str] | None = None, layout: PetsLayout = PETS) -> Path | None:
    """The folder with ``images/`` and ``annotations/``, or None."""
    return find_photo_set([layout.folder], _CONTENTS, data_dir)


def load_pets(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    progress: bool = True,
    layout: PetsLayout = PETS,
    **reading: Any,
) -> Splits:
    """Oxford-IIIT Pets, from this machine or else from its authors' page (0.8 GB).

    O. Parkhi, A. Vedaldi, A. Zisserman, C. Jawahar: Cats and dogs. CVPR 2012.

    The breed of a photo comes from the authors' lists, whose breeds are in alphabetical order whatever their case; a
    loader that sorts file names has the cats, which are capitalised, before the dogs.

    Parameters
    ----------
    data_dir : path, optional
        Looked in first, and downloaded into.
    download : bool
        Whether to download what is not found, into `data_dir` or else the user cache.
    progress : bool
        Whether a download shows a progress bar.
    layout : PetsLayout
    **reading
        ``image_size``, ``preprocessing`` and ``cache_bytes`` of `PhotoReading`.

    Returns
    -------
    Splits
        3,680 training photos (the authors' "trainval") and 3,669 test photos (N, 3, S, S), read when they are indexed.
        There is no validation split; hold one out with `hold_out` (the ViT paper holds out a tenth).

    Raises
    ------
    DataNotFoundError
        If the set is neither found nor downloadable.
    DatasetError
        If a list or a photo is missing, or the lists are not the published ones.
    """
    how = PhotoReading(**reading)
    folder = find_pets(data_dir, layout)
    if folder is None or any(not (folder / name).is_dir() for name in _CONTENTS):
        folder = _fetch(layout, folder, data_dir, progress, download)
    names: dict[int, str] = {}
    train = _read_list(folder / "annotations" / "trainval.txt", layout, names, "training", layout.train)
    test = _read_list(folder / "annotations" / "test.txt", layout, names, "test", layout.test)
    both = {name for name, _ in train} & {name for name, _ in test}
    if both:
        raise DatasetError(
            f"{folder / 'annotations'}: {sorted(both)[0]} is a training and a test photo; {fetch_again(folder)}"
        )
    classes = tuple(names.get(number, f"class {number}") for number in range(1, layout.classes + 1))

    def part(name: str, listed: list[tuple[str, int]]) -> Dataset:
        files = [f"{stem}.jpg" for stem, _ in listed]
        paths = require_files(TITLE, folder / "images", files, fetch_again(folder))
        labels = as_labels([number for _, number in listed])
        return how.dataset(f"pets {name}", paths, labels, classes, _SOURCE, training=name == "train")

    return Splits(train=part("train", train), test=part("test", test))


def _fetch(
    layout: PetsLayout, folder: Path | None, data_dir: str | os.PathLike[str] | None, progress: bool, download: bool
) -> Path:
    """The folder, with the parts that it lacked downloaded."""

    def fetch(target: Path) -> None:
        for archive in layout.archives:
            if not (target / archive.folder).is_dir():
                archive.fetch(target, progress)

    size = sum(archive.size for archive in layout.archives) / 1e6
    ways = [
        f"  - with a network: allow the download from {_PAGE} ({size:,.0f} MB);",
        f"  - without: unpack {' and '.join(archive.url for archive in layout.archives)}",
    ]
    return fetch_photo_set(TITLE, layout.folder, fetch, folder=folder, data_dir=data_dir, download=download, ways=ways)


def _read_list(
    path: Path, layout: PetsLayout, names: dict[int, str], part: str, expected: int
) -> list[tuple[str, int]]:
    """File stems and class numbers (from 1) of a list with lines such as ``Abyssinian_100 1 1 1``; notes the names."""
    if not path.is_file():
        raise DatasetError(
            f"{path} is missing, though other files of {TITLE} are there; {fetch_again(path.parent.parent)}"
        )
    listed: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("#") or not line.strip():
            continue
        fields = line.split()
        breed = fields[0].rpartition("_")[0]
        label = int(fields[1]) if len(fields) == 4 and fields[1].isascii() and fields[1].isdigit() else 0
        if not 1 <= label <= layout.classes or names.setdefault(label, breed) != breed or fields[0] in listed:
            raise DatasetError(
                f"{path}, line {number}: expected a photo not listed before, the number of its breed from 1 to "
                f"{layout.classes} and two more numbers, got {line!r}; {fetch_again(path.parent.parent)}"
            )
        listed[fields[0]] = label
    require_count(TITLE, part, path, len(listed), expected, fetch_again(path.parent.parent))
    return list(listed.items())
