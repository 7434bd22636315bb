"""The .npz container: a zip archive of arrays, read without unpickling anything."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from minivit.interop.atomic import written_whole
from minivit.interop.errors import WeightsError

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)


def read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Every array of the archive by name; the header is always empty.

    Each member's own header is checked against the size of the member before memory is allocated for it.

    Raises
    ------
    WeightsError
        If the archive is damaged, an array holds Python objects, or a header lies about its array's size.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as file:
                    _check_header(path, name, file, member.file_size)
                with archive.open(member) as file:
                    arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    except WeightsError:
        raise
    except _BROKEN as error:
        raise WeightsError(
            f"{path} is no readable .npz archive: {error}. It may be cut off: compare its size with the original's"
        ) from error
    return arrays, {}


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed archive, whole or not at all."""
    with written_whole(path) as temporary:
        with zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def _check_header(path: Path, name: str, file: IO[bytes], size: int) -> None:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise WeightsError(f"{path}: {name} is written in .npy version {version}; save it again with numpy.savez")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise WeightsError(
            f"{path}: {name} holds Python objects, which could run code when read; save it as a numeric array"
        )
    if math.prod(shape) * dtype.itemsize != size - file.tell():
        raise WeightsError(
            f"{path}: {name} says it is {dtype} {shape}, {math.prod(shape) * dtype.itemsize} bytes, but "
            f"{size - file.tell()} bytes follow; the file is damaged"
        )
