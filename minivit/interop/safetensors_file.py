"""The safetensors container: a JSON header and raw arrays.

The file begins with the header's length, 8 bytes, little-endian. The header names each array's type, shape and place in
what follows (https://huggingface.co/docs/safetensors). It is checked as a whole, against the size of the file, before
memory is allocated for any array.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from minivit.files import written_whole
from minivit.interop.companion import json_object
from minivit.interop.errors import WeightsError

TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
LONGEST_HEADER = 100_000_000  # bytes, as in the library


class Entry(NamedTuple):
    """An array's place, in bytes after the header."""

    kind: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_safetensors(path: Path, skip: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Every array by name, but for names that begin with `skip`, and the header's own strings.

    bfloat16 is widened to float32, which has all its values.

    Raises
    ------
    WeightsError
        If the file is damaged, or an array is of a kind that NumPy does not have.
    """
    try:
        with path.open("rb") as file:
            entries, header, begin = _read_header(file)
            return {
                name: _read_array(path, file, name, entry, begin)
                for name, entry in entries.items()
                if skip is None or not name.startswith(skip)
            }, header
    except WeightsError:
        raise
    except (ValueError, OSError, MemoryError) as error:
        raise WeightsError(
            f"{path} is no readable safetensors file: {error}. It may be cut off: compare its size with the original's"
        ) from error


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, str]) -> None:
    """Write arrays and header, whole or not at all."""
    with written_whole(path) as temporary:
        # The library writes an array's memory as it lies: a transposed view would come back scrambled.
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, temporary, dict(header))


def widened_bfloat16(bits: np.ndarray) -> np.ndarray:
    """float32 of the upper 16 bits (uint16) of one."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _read_header(file: BinaryIO) -> tuple[dict[str, Entry], dict[str, str], int]:
    """Entries, strings, and where the arrays begin; a ValueError for anything that is not as it has to be."""
    size = os.fstat(file.fileno()).st_size
    first = file.read(8)
    length = int.from_bytes(first, "little")
    if len(first) < 8 or length > min(size - 8, LONGEST_HEADER):
        raise ValueError(f"its header is said to take {length} bytes, the file has {size}")
    fields = json_object(file.read(length))
    strings = fields.pop("__metadata__", {})
    if not isinstance(strings, dict) or not all(isinstance(text, str) for text in strings.values()):
        raise ValueError("__metadata__ has to map strings to strings")
    entries = {name: _entry(name, field) for name, field in fields.items()}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].start):
        if entry.start != end:
            raise ValueError(f"{name} begins at byte {entry.start} of the arrays, the one before it ends at {end}")
        end = entry.stop
    if end != size - 8 - length:
        raise ValueError(f"the arrays take {end} bytes, {size - 8 - length} follow the header")
    return entries, strings, 8 + length


def _entry(name: str, field: Any) -> Entry:
    if not isinstance(field, dict) or set(field) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} needs dtype, shape and data_offsets alone")
    kind, shape, offsets = field["dtype"], field["shape"], field["data_offsets"]
    if not isinstance(kind, str) or not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
        raise ValueError(f"the entry of {name} is malformed")
    if offsets[0] > offsets[1]:
        raise ValueError(f"{name} ends at byte {offsets[1]}, before it begins at {offsets[0]}")
    if kind in TYPES and math.prod(shape) * np.dtype(TYPES[kind]).itemsize != offsets[1] - offsets[0]:
        raise ValueError(f"{name} is {kind} {shape}, but has {offsets[1] - offsets[0]} bytes")
    return Entry(kind, tuple(shape), *offsets)


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values) and len(values) <= 32


def _read_array(path: Path, file: BinaryIO, name: str, entry: Entry, begin: int) -> np.ndarray:
    if entry.kind not in TYPES:
        raise WeightsError(f"{path}: {name} is of type {entry.kind[:20]}, which NumPy lacks; save it as float32")
    dtype = np.dtype(TYPES[entry.kind])
    file.seek(begin + entry.start)
    array = np.fromfile(file, dtype, (entry.stop - entry.start) // dtype.itemsize).reshape(entry.shape)
    return widened_bfloat16(array) if entry.kind == "BF16" else array
