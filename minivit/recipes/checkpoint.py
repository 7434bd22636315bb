"""Checkpoints of a run: one safetensors file with the weights, the configuration, and what resuming needs.

The weights under their own names are those to use (the averaged ones where the run averages). What only resuming needs
has names that begin with ``resume/``. The file is written under a temporary name and renamed, so a kill at any instant
leaves the previous checkpoint or the new one, never half of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from minivit.interop import WeightsError, checkpoint_header
from minivit.interop.checkpoint import FORMAT, RESUME
from minivit.interop.safetensors_file import read_safetensors, write_safetensors
from minivit.nn import Module
from minivit.optim import ExponentialMovingAverage, Optimizer


class Stateful(Protocol):
    """Whatever gives and takes its state as arrays by name: a module, an optimiser."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """The state."""

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take what `state_dict` gave."""


def save_checkpoint(
    path: Path,
    model: Module,
    optimizer: Optimizer,
    average: ExponentialMovingAverage | None,
    progress: dict[str, Any],
    metadata: dict[str, Any],
    further: Mapping[str, Stateful] = MappingProxyType({}),
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
        JSON-able: what a reader of the weights needs (classes, normalisation).
    further : mapping
        What else only resuming needs, by a name of its own.
    """
    kept = {"optimizer": optimizer, **further}
    arrays = {
        f"{RESUME}{owner}/{name}": array
        for owner, stateful in kept.items()
        for name, array in stateful.state_dict().items()
    }
    weights = model.state_dict()
    if average is not None:
        arrays |= {f"{RESUME}weights/{name}": array for name, array in weights.items()}
        arrays |= {f"{RESUME}average/{name}": array for name, array in average.state_dict().items()}
        with average.swapped_in():
            weights = model.state_dict()
    header = {**checkpoint_header(model, metadata), "progress": json.dumps(progress)}
    write_safetensors(path, arrays | weights, header)


def load_checkpoint(
    path: Path,
    model: Module,
    optimizer: Optimizer,
    average: ExponentialMovingAverage | None,
    further: Mapping[str, Stateful] = MappingProxyType({}),
) -> dict[str, Any]:
    """Restore what `save_checkpoint` kept, and return its `progress`.

    Raises
    ------
    WeightsError
        If the file is damaged or no checkpoint of a run.
    """
    arrays, header = read_safetensors(path)
    resume = {name[len(RESUME) :]: array for name, array in arrays.items() if name.startswith(RESUME)}
    if header.get("format") != FORMAT or "progress" not in header or not resume:
        raise WeightsError(f"{path} holds no state of a run that could go on; give the folder of a run")
    weights = {name: array for name, array in arrays.items() if not name.startswith(RESUME)}
    model.load_state_dict(_below(resume, "weights/") or weights)
    for owner, stateful in {"optimizer": optimizer, **further}.items():
        stateful.load_state_dict(_below(resume, f"{owner}/"))
    if average is not None:
        average.load_state_dict(_below(resume, "average/"))
    progress: dict[str, Any] = json.loads(header["progress"])
    return progress


def _below(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
