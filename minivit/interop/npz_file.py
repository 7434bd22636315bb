"""The .npz container: a zip archive of arrays, read without unpickling anything."""

from __future__ import annotations

import ast
import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minivit.files import written_whole
from minivit.interop.errors import WeightsError
from minivit.interop.safetensors_file import widened_bfloat16
from minivit.interop.zip_file import opened

MAGIC = b"\x93NUMPY"
LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}  # of the header's length, by version
CHUNK = 2**20
LONGEST_HEADER = 10_000  # bytes, as in NumPy
NUMBER = re.compile(r"[<>|=]?[biufc]\d{1,2}")
BFLOAT16 = ("|V2", "<V2")  # how NumPy writes an array of ml_dtypes' bfloat16


def read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Every array of the archive by name; the header is always empty.

    Each member's own header is checked against the size of the member before memory is allocated for it. bfloat16 is
    widened to float32.

    Raises
    ------
    WeightsError
        If the archive is damaged, an array holds Python objects, or a header lies about its array's size.
    """
    arrays = {}
    with opened(path, ".npz archive") as (archive, members):
        for member in members.values():
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise WeightsError(f"{path} has two arrays named {name}")
            arrays[name] = _read_array(path, name, archive, member)
    return arrays, {}


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed archive, whole or not at all."""
    with written_whole(path) as temporary:
        with zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def _read_array(path: Path, name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """An array; its header has to tell exactly the size that the member has."""
    with archive.open(member) as file:
        start = file.read(8)
        version = tuple(start[6:8])
        if start[:6] != MAGIC or version not in LENGTH_BYTES:
            raise WeightsError(
                f"{path}: {name} is no array in .npy version 1 to 3, or the file is no readable .npz archive; "
                "save it again with numpy.savez"
            )
        length = file.read(LENGTH_BYTES[version])
        size = int.from_bytes(length, "little")
        if size > LONGEST_HEADER:
            raise WeightsError(f"{path}: the header of {name} takes {size} bytes; the file is damaged")
        dtype, shape, fortran = _parse(path, name, file.read(size))
        left = member.file_size - 8 - len(length) - size
        if math.prod(shape) * dtype.itemsize != left:
            raise WeightsError(
                f"{path}: {name} says it is {dtype} {shape}, {math.prod(shape) * dtype.itemsize} bytes, but "
                f"{left} bytes follow; the file is damaged"
            )
        data, done = bytearray(left), 0
        while done < left:
            part = file.read(min(CHUNK, left - done))
            if not part:
                raise EOFError(f"{name} ends after {done} of {left} bytes")
            data[done : done + len(part)] = part
            done += len(part)
        file.read(1)  # the end: the archive's checksum is compared there
    array = np.frombuffer(data, "<u2" if dtype.kind == "V" else dtype)
    array = array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
    return widened_bfloat16(array) if dtype.kind == "V" else array


def _parse(path: Path, name: str, text: bytes) -> tuple[np.dtype, tuple[int, ...], bool]:
    """Type, shape, and whether the first axis runs fastest, out of a header."""
    try:
        fields = ast.literal_eval(text.decode("latin1"))
        descr, shape, fortran = fields["descr"], fields["shape"], fields["fortran_order"]
        if set(fields) != {"descr", "shape", "fortran_order"} or not isinstance(fortran, bool):
            raise ValueError("it has other fields than descr, shape and fortran_order")
        if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
            raise ValueError(f"a shape is no tuple of whole numbers: {str(shape)[:80]}")
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise WeightsError(f"{path}: the header of {name} is damaged: {error}") from error
    if isinstance(descr, str) and (descr in BFLOAT16 or NUMBER.fullmatch(descr)):
        try:
            return np.dtype(descr), shape, fortran
        except TypeError as error:
            raise WeightsError(f"{path}: the header of {name} is damaged: {error}") from error
    if "O" in str(descr):
        raise WeightsError(
            f"{path}: {name} holds Python objects, which could run code when read; save it as a numeric array"
        )
    raise WeightsError(f"{path}: {name} is of type {str(descr)[:80]}, which is no number; save it as a numeric array")
