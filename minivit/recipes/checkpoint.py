"""Checkpoints of a run: one safetensors file with the weights, the configuration, and what resuming needs.

The weights under their own names are those to use (the averaged ones where the run averages). What only resuming needs
has names that begin with ``resume/``. The file is written under a temporary name and renamed, so a kill at any instant
leaves the previous checkpoint or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minivit.nn import Module
from minivit.optim import ExponentialMovingAverage, Optimizer

RESUME = "resume/"
FORMAT = "minivit checkpoint 1"


class CheckpointError(ValueError):
    """A file that is no checkpoint, or not one of this run."""


def save_checkpoint(
    path: Path,
    model: Module,
    optimizer: Optimizer,
    average: ExponentialMovingAverage | None,
    progress: dict[str, Any],
    metadata: dict[str, Any],
) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    path : Path
    model, optimizer, average
        Whose state to keep.
    progress : dict
        JSON-able: where the run is.
    metadata : dict
        JSON-able: what a reader of the weights needs (model, classes, normalisation).
    """
    arrays = {f"{RESUME}optimizer/{name}": array for name, array in optimizer.state_dict().items()}
    weights = model.state_dict()
    if average is not None:
        arrays |= {f"{RESUME}weights/{name}": array for name, array in weights.items()}
        arrays |= {f"{RESUME}average/{name}": array for name, array in average.state_dict().items()}
        with average.swapped_in():
            weights = model.state_dict()
    arrays |= weights
    header = {"format": FORMAT, "metadata": json.dumps(metadata), "progress": json.dumps(progress)}
    temporary = path.with_name(path.name + ".tmp")
    # The library writes the memory of an array as it lies: a transposed view would come back scrambled.
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary, header)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_checkpoint(
    path: Path, model: Module, optimizer: Optimizer, average: ExponentialMovingAverage | None
) -> dict[str, Any]:
    """Restore what `save_checkpoint` kept, and return its `progress`.

    Raises
    ------
    CheckpointError
        If the file is no checkpoint of a run.
    """
    header, arrays = read_checkpoint(path)
    resume = {name[len(RESUME) :]: array for name, array in arrays.items() if name.startswith(RESUME)}
    weights = {name: array for name, array in arrays.items() if not name.startswith(RESUME)}
    if "progress" not in header or not resume:
        raise CheckpointError(f"{path} holds weights but no state of a run; start a new run from it instead")
    model.load_state_dict(_below(resume, "weights/") or weights)
    optimizer.load_state_dict(_below(resume, "optimizer/"))
    if average is not None:
        average.load_state_dict(_below(resume, "average/"))
    progress: dict[str, Any] = json.loads(header["progress"])
    return progress


def read_checkpoint(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Header and arrays of a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is damaged or something else.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {error}") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no minivit checkpoint (its format is {header.get('format')!r})")
    return header, arrays


def _below(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
