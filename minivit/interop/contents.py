"""What every format is read into, and written from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class WeightsFile(NamedTuple):
    """A container's arrays and header, before anything is known of what they mean."""

    path: Path
    arrays: dict[str, np.ndarray]
    header: dict[str, str]


@dataclass(frozen=True)
class Contents:
    """Weights under minivit's names, and what the file says of the model.

    Attributes
    ----------
    state : dict
        What `Module.load_state_dict` takes.
    model_class, config
        Name of the model's class and its settings; None where they are not known.
    states_config : bool
        Whether the settings stand in the file, rather than being the likeliest for its shapes.
    metadata : dict
        Whatever else the file holds: class names, mean, std, ...
    """

    state: dict[str, np.ndarray]
    model_class: str | None = None
    config: dict[str, Any] | None = None
    states_config: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
