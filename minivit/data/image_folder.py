"""A folder of one's own images, one sub-folder for each class, read with Pillow."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minivit.data.dataset import Dataset, DatasetError, Images, Labels, Splits, channel_statistics
from minivit.data.photo_files import PhotoFiles
from minivit.data.split import stratified_split
from minivit.files import write_text

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLIT_FILE = "minivit-split.json"
_SHARES = (0.6, 0.2, 0.2)
_IGNORED = {"thumbs.db", "desktop.ini", SPLIT_FILE}


def load_image_folder(folder: str | os.PathLike[str], image_size: int = 32, seed: int = 0) -> Splits:
    """Read labelled images from ``folder/class/image`` or ``folder/train/class/image`` and ``folder/test/class/image``.

    Every image is turned upright as its camera noted, resized so that its shorter side is `image_size` (bicubic) and
    cropped to the central square; transparency becomes white, grey becomes RGB.

    With ``train`` and ``test`` (and perhaps ``validation``, ``val`` or ``valid``) sub-folders, these are the parts.
    Otherwise 60/20/20 of each class are train, validation and test, chosen at random by `seed`; where the folder can be
    written, the choice is kept in ``minivit-split.json`` there, and images added later go to train.

    Parameters
    ----------
    folder : path
    image_size : int
    seed : int
        Of the split, where there is none.

    Returns
    -------
    Splits
        Images (N, 3, image_size, image_size). Mean and std are those of the training images.

    Raises
    ------
    DatasetError
        If there is no image or class, a file is no image or is corrupt, the parts do not fit together, or the stored
        split is of another seed or names images that are gone.
    ImportError
        If Pillow is not installed.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DatasetError(f"expected a folder of images with a sub-folder for each class, got {root}")
    if image_size < 1:
        raise ValueError(f"expected an image size of at least 1, got {image_size}")
    if (root / "train").is_dir() and (root / "test").is_dir():
        return _natural_split(root, image_size)
    return _drawn_split(root, image_size, seed)


def _natural_split(root: Path, image_size: int) -> Splits:
    folders = {"train": root / "train", "test": root / "test"}
    for name in ("validation", "val", "valid"):
        if (root / name).is_dir():
            folders["validation"] = root / name
    strangers = [entry.name for entry in _entries(root) if entry not in folders.values()]
    if strangers:
        raise DatasetError(f"{root}: expected train, test and perhaps validation, got also {', '.join(strangers)}")
    classes = tuple(entry.name for entry in _class_folders(folders["train"]))
    files = {}
    for part, folder in folders.items():
        unknown = [entry.name for entry in _class_folders(folder) if entry.name not in classes]
        if unknown:
            raise DatasetError(f"{folder}: class(es) {', '.join(unknown)} have no folder in {folders['train']}")
        files[part] = _labelled_files(folder, classes)
    return _splits(root, files, classes, image_size)


def _drawn_split(root: Path, image_size: int, seed: int) -> Splits:
    classes = tuple(entry.name for entry in _class_folders(root))
    found = _labelled_files(root, classes)
    parts = _stored_split(root, found, seed)
    if parts is None:
        labels = np.array([label for _, label in found], np.int64)
        try:
            chosen = stratified_split(labels, _SHARES, seed)
        except ValueError as error:
            raise DatasetError(f"{root} ({', '.join(classes)}): {error}") from error
        parts = {
            name: {_relative(root, found[index][0]) for index in indices}
            for name, indices in zip(("validation", "test"), chosen[1:], strict=True)
        }
        _store_split(root, parts, seed)
    files = {name: [file for file in found if _relative(root, file[0]) in names] for name, names in parts.items()}
    held_out = parts["validation"] | parts["test"]
    files["train"] = [file for file in found if _relative(root, file[0]) not in held_out]
    return _splits(root, files, classes, image_size)


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _stored_split(root: Path, found: list[tuple[Path, int]], seed: int) -> dict[str, set[str]] | None:
    path = root / SPLIT_FILE
    if not path.exists():
        return None
    advice = f"delete {path} to have a new split drawn"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        parts = {name: set(stored[name]) for name in ("validation", "test")}
        stored_seed = stored["seed"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: is not a split that minivit wrote ({error!r}); {advice}") from error
    if stored_seed != seed:
        raise DatasetError(f"{path}: holds the split of seed {stored_seed}, asked for is that of seed {seed}; {advice}")
    gone = sorted((parts["validation"] | parts["test"]) - {_relative(root, file) for file, _ in found})
    if gone:
        raise DatasetError(f"{path}: {len(gone)} image(s) are gone, such as {gone[0]}; bring them back, or {advice}")
    return parts


def _store_split(root: Path, parts: dict[str, set[str]], seed: int) -> None:
    text = json.dumps({"seed": seed, **{name: sorted(names) for name, names in parts.items()}}, indent=1)
    with suppress(OSError):  # a folder that can only be read: the same images and seed give the same split again
        write_text(root / SPLIT_FILE, text)


def _entries(folder: Path) -> list[Path]:
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(entry for entry in entries if entry.name.lower() not in _IGNORED)


def _class_folders(folder: Path) -> list[Path]:
    entries = _entries(folder)
    loose = [entry for entry in entries if not entry.is_dir()]
    if loose:
        raise DatasetError(f"{folder}: expected a sub-folder for each class, got the file {loose[0].name}")
    if not entries:
        raise DatasetError(f"{folder}: expected a sub-folder for each class, got an empty folder")
    return entries


def _labelled_files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    files = []
    for label, name in enumerate(classes):
        entries = _entries(folder / name) if (folder / name).is_dir() else []
        for path in entries:
            if path.is_dir():
                raise DatasetError(f"{path}: expected an image, got a folder")
            if path.suffix.lower() not in SUFFIXES:
                raise DatasetError(f"{path}: expected an image ({', '.join(SUFFIXES)}); convert it or move it away")
        if not entries:
            raise DatasetError(f"{folder / name}: class {name} has no image; add some or delete its folders")
        files += [(path, label) for path in entries]
    return files


def _splits(root: Path, files: dict[str, list[tuple[Path, int]]], classes: tuple[str, ...], image_size: int) -> Splits:
    images, labels = _read([file for members in files.values() for file in members], image_size)
    ends = np.cumsum([len(members) for members in files.values()])[:-1]
    read = dict(zip(files, zip(np.split(images, ends), np.split(labels, ends), strict=True), strict=True))
    mean, std = channel_statistics(read["train"][0])
    name, source = root.resolve().name, f"the images in {root.resolve()}"
    parts = {
        part: Dataset(f"{name} {part}", part_images, part_labels, classes, mean, std, source)
        for part, (part_images, part_labels) in read.items()
    }
    return Splits(train=parts["train"], test=parts["test"], validation=parts.get("validation"))


def _read(files: list[tuple[Path, int]], image_size: int) -> tuple[Images, Labels]:
    photos = PhotoFiles(
        [str(path) for path, _ in files],
        lambda path: read_image(path, image_size),
        image_size=image_size,
        cache_bytes=0,
    )
    return photos[:], np.array([label for _, label in files], np.int64)


def read_image(path: str | os.PathLike[str], image_size: int) -> Images:
    """Read one image file as the central square of side `image_size`: array (3, image_size, image_size) of uint8.

    Raises
    ------
    DatasetError
        If the file is empty, corrupt, or of a kind that Pillow cannot read.
    ImportError
        If Pillow is not installed.
    """
    square = fit_square(open_rgb(path), image_size)
    return np.ascontiguousarray(square.transpose(2, 0, 1))  # (S, S, 3) -> (3, S, S)


def fit_square(image: Image.Image, image_size: int) -> Images:
    """The largest central square of an image, resized (bicubic): array (image_size, image_size, 3) of uint8."""
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC))


def open_rgb(path: str | os.PathLike[str], *, as_stored: bool = False) -> Image.Image:
    """Open an image file with Pillow in RGB; raises as `read_image`.

    It is turned upright as its camera noted, and transparency becomes white, unless it is wanted `as_stored`.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError('reading image files needs Pillow: pip install "minivit[examples]"') from error
    if os.path.getsize(path) == 0:
        raise DatasetError(f"{path}: the file is empty")
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB") if as_stored else _as_rgb(ImageOps.exif_transpose(opened))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: cannot be read as an image: {error}; replace or remove it") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I;16"):  # Pillow's own conversion would cut 16 bits off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
