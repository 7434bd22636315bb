"""The safetensors container: a JSON header and raw arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minivit.interop.atomic import written_whole
from minivit.interop.errors import WeightsError

_READABLE = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}


def read_safetensors(path: Path, skip: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Every array by name, but for names that begin with `skip`, and the header's own strings.

    Raises
    ------
    WeightsError
        If the file is damaged, or an array is of a kind that NumPy does not have.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if skip is None or not name.startswith(skip)]  # noqa: SIM118
            for name in names:
                kind = file.get_slice(name).get_dtype()
                if kind not in _READABLE:
                    raise WeightsError(f"{path}: {name} is of type {kind}, which NumPy lacks; save it as float32")
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is no readable safetensors file: {error}. It may be cut off: compare its size with the original's"
        ) from error


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, str]) -> None:
    """Write arrays and header, whole or not at all."""
    with written_whole(path) as temporary:
        # The library writes an array's memory as it lies: a transposed view would come back scrambled.
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, temporary, dict(header))
