"""PyTorch's own files (.pth, .pt, .bin), read without PyTorch and without running anything that stands in them.

Since PyTorch 1.6 such a file is a zip archive: ``data.pkl`` describes the tensors, and each block of numbers is a
member of its own. `minivit.interop.pytorch_pickle` reads the description; it can make nothing but dicts of tensors.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minivit.interop.errors import WeightsError
from minivit.interop.pytorch_pickle import RefusedError, StorageEntry, TensorEntry, read_pickle
from minivit.interop.safetensors_file import widened_bfloat16
from minivit.interop.zip_file import opened

LARGEST_PICKLE = 16 * 2**20  # bytes; of a thousand tensors it takes 200,000
# Under which key a training checkpoint holds the weights; the averaged ones first, as timm takes them.
PARTS = ("state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model", "module")
CONVERT = (
    "in PyTorch, if you trust the file, convert it with "
    "safetensors.torch.save_file(torch.load(path, weights_only=True), 'weights.safetensors')"
)


def read_pytorch(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Every tensor of the state dict by name, and under ``part`` the key at which a training checkpoint holds it.

    bfloat16 is widened to float32.

    Raises
    ------
    WeightsError
        If the file is of the format before PyTorch 1.6, holds anything but dicts of tensors, or is damaged.
    """
    if not zipfile.is_zipfile(path):
        raise WeightsError(
            f"{path} is no readable PyTorch file of the zip format, which torch.save writes since version 1.6. "
            f"If it is not cut off, it may be older; {CONVERT}"
        )
    with opened(path, "PyTorch file") as (archive, members):
        described = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
        if len(described) != 1:
            raise WeightsError(f"{path} has {len(described)} members named data.pkl, expected one; {CONVERT}")
        prefix = described[0].removesuffix("data.pkl")
        if f"{prefix}constants.pkl" in members:
            raise WeightsError(f"{path} is a TorchScript program; save its state_dict() in PyTorch")
        if members[described[0]].file_size > LARGEST_PICKLE:
            raise WeightsError(f"{path}: its description takes more than {LARGEST_PICKLE} bytes; {CONVERT}")
        if f"{prefix}byteorder" in members and archive.read(members[f"{prefix}byteorder"]) != b"little":
            raise WeightsError(f"{path} is of a big-endian machine; {CONVERT}")
        try:
            found = read_pickle(archive.read(members[described[0]]))
        except RefusedError as error:
            raise WeightsError(
                f"{path} holds more than tensors: {error} is refused, as reading it could run code; {CONVERT}"
            ) from error
        tensors, part = _state(path, found)
        _check_sizes(path, tensors, path.stat().st_size)
        blocks = {entry.storage: _block(path, archive, members, prefix, entry.storage) for entry in tensors.values()}
    return {name: _view(blocks[entry.storage], entry) for name, entry in tensors.items()}, part


def _state(path: Path, found: Any) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """The dict of tensors: the whole, or a part of a training checkpoint."""
    if not isinstance(found, dict):
        raise WeightsError(f"{path} holds a {type(found).__name__}; expected a dict of tensors")
    part: dict[str, str] = {}
    if not any(isinstance(value, TensorEntry) for value in found.values()):
        key = next((key for key in PARTS if isinstance(found.get(key), dict)), None)
        if key is None:
            raise WeightsError(
                f"{path} holds no dict of tensors, nor one under {', '.join(PARTS)}: its keys are "
                f"{', '.join(str(key)[:40] for key in list(found)[:8]) or 'none'}"
            )
        found, part = found[key], {"part": key}
    tensors = {name: value for name, value in found.items() if isinstance(value, TensorEntry)}
    if not all(isinstance(name, str) for name in tensors):
        raise WeightsError(f"{path}: the names of its tensors have to be texts")
    if tensors and all(name.startswith("module.") for name in tensors):  # of a model that ran on several devices
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors, part


def _check_sizes(path: Path, tensors: Mapping[str, TensorEntry], size: int) -> None:
    """Each tensor has to lie inside its block, and all together have to be about as large as the file."""
    total = 0
    for name, (storage, offset, shape, strides) in tensors.items():
        count = math.prod(shape)
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if count and (last >= storage.size or count > storage.size):
            raise WeightsError(
                f"{path}: {name} says it is {shape} with strides {strides} from {offset} on, in a block of "
                f"{storage.size} numbers; the file is damaged"
            )
        total += count * _dtype(storage).itemsize
    if total > 2 * size:  # blocks may be shared, but not without end
        raise WeightsError(f"{path}: its tensors would take {total} bytes, the file has {size}; the file is damaged")


def _block(
    path: Path, archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], prefix: str, storage: StorageEntry
) -> np.ndarray:
    member = members.get(f"{prefix}data/{storage.key}")
    dtype = _dtype(storage)
    if member is None or member.file_size != storage.size * dtype.itemsize:
        has = "is missing" if member is None else f"has {member.file_size} bytes"
        raise WeightsError(
            f"{path}: the block {storage.key[:40]!r} of {storage.size} {dtype} numbers {has}; the file is damaged"
        )
    block = np.frombuffer(archive.read(member), dtype)
    return widened_bfloat16(block) if storage.dtype == "bfloat16" else block


def _dtype(storage: StorageEntry) -> np.dtype:
    return np.dtype("<u2" if storage.dtype == "bfloat16" else storage.dtype)


def _view(block: np.ndarray, entry: TensorEntry) -> np.ndarray:
    strides = [stride * block.itemsize for stride in entry.strides]
    return np.lib.stride_tricks.as_strided(block[entry.offset :], entry.shape, strides, writeable=False)
