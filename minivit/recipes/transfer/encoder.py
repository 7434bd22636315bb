"""The network that has learned something, read from a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minivit import interop
from minivit.data import search_folders
from minivit.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from minivit.interop import WeightsError
from minivit.nn import Module

STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


@dataclass(frozen=True)
class Pretrained:
    """A model with weights, and what its inputs were normalised with.

    Attributes
    ----------
    model : Module
    mean, std : tuple of C floats
    image_size : int
        Side of the images that it was trained on, whole ones where it was shown patches of them.
    path : Path
        Of the file.
    flavour : str
        What a file of another library says of the model, or its format does: see `minivit.interop.flavour_text`.
    """

    model: Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    path: Path
    flavour: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """The model's settings."""
        return self.model.config  # type: ignore[no-any-return, attr-defined]

    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def load_pretrained(path: Path, statistics: str | None = None, data_dir: str | None = None) -> Pretrained:
    """Read a model to transfer from.

    Parameters
    ----------
    path : Path
        As for `find_weights`.
    statistics : {"imagenet", "half"}, optional
        What its inputs were normalised with, where the file does not say: ImageNet's mean and std, or 0.5. By default
        0.5 where the file is named after a ViT of Google or timm, else ImageNet's.
    data_dir : str, optional

    Raises
    ------
    WeightsError
        If there is no such file, it does not tell the model, or the model takes other than three channels and the file
        does not say how they were normalised.
    """
    found = find_weights(path, data_dir)
    model, metadata = interop.load_model(found)
    channels, side, _ = model.input_size  # type: ignore[attr-defined]
    flavour = interop.flavour_text(metadata)
    side = metadata.get("image_size", side)  # context prediction's encoder takes patches, its images were larger
    if "mean" in metadata and "std" in metadata:
        return Pretrained(model, tuple(metadata["mean"]), tuple(metadata["std"]), side, found, flavour)
    if channels != 3:
        raise WeightsError(f"{found} does not say how its images of {channels} channel(s) were normalised")
    vit = found.name.lower().startswith(("vit", "google"))
    mean, std = STATISTICS[statistics or ("half" if vit else "imagenet")]
    return Pretrained(model, mean, std, side, found, flavour)


def find_weights(path: Path, data_dir: str | None = None) -> Path:
    """The file of weights: as given, the newest in the folder of a run, or below a folder where data are looked for.

    Raises
    ------
    WeightsError
        If there is none; it lists where it was looked for.
    """
    places = [path, *(folder / path for folder in search_folders(data_dir) if not path.is_absolute())]
    for place in places:
        if place.is_file():
            return place
        if place.is_dir():
            inside = sorted(place.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)
            if inside:
                return inside[-1]
            raise WeightsError(f"{place}: no checkpoint (*.safetensors) in this folder")
    raise WeightsError(f"no weights at {', '.join(map(str, places))}; give a file, or the folder of a run")
