"""From a path to what a file holds: which container, which format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from minivit.interop import checkpoint, google, huggingface, resnet, timm, torchvision
from minivit.interop.contents import Contents, WeightsFile
from minivit.interop.errors import WeightsError
from minivit.interop.npz_file import read_npz
from minivit.interop.pytorch_file import read_pytorch
from minivit.interop.safetensors_file import read_safetensors

READERS = (checkpoint, google, huggingface, torchvision, resnet, timm)  # asked in this order whether they know a file
CONTAINERS: dict[str, Callable[[Path], tuple[dict[str, np.ndarray], dict[str, str]]]] = {
    ".safetensors": lambda path: read_safetensors(path, skip=checkpoint.RESUME),
    ".npz": read_npz,
    ".pth": read_pytorch,
    ".pt": read_pytorch,
    ".bin": read_pytorch,
    ".tar": read_pytorch,  # model.pth.tar
}
SUFFIXES = tuple(CONTAINERS)
NAMES = "minivit, timm, DeiT, Google (vision_transformer, big_vision), Hugging Face, torchvision"


def read(path: Path) -> Contents:
    """What a file of weights holds.

    Raises
    ------
    WeightsError
        If it cannot be read, or is of no known format.
    FileNotFoundError
        If there is no such file.
    """
    if path.suffix not in CONTAINERS:
        raise WeightsError(f"{path}: expected a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights at {path}")
    file = WeightsFile(path, *CONTAINERS[path.suffix](path))
    for name, array in file.arrays.items():
        if array.size == 0:
            raise WeightsError(f"{path}: {name} is empty, {array.shape}; the file is damaged")
    for reader in READERS:
        if reader.recognises(file):
            try:
                contents: Contents = reader.read(file)
            except WeightsError:
                raise
            except ValueError as error:
                raise WeightsError(f"{path}: {error}") from error
            if "part" in file.header and reader is not checkpoint:
                contents.metadata["flavour"]["part"] = f"{file.header['part']} (the file)"
            return contents
    some = ", ".join(list(file.arrays)[:5]) or "none"
    raise WeightsError(
        f"{path} is of no known format ({NAMES}): its arrays are named {some}"
        + (", ..." if len(file.arrays) > 5 else "")
    )
