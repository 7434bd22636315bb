"""What every format is read into, and written from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minivit.interop.correspondence import Rules


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
    stated : frozenset of str
        Which of the settings stand in the file, rather than being the likeliest for its format and shapes.
    flavour : dict
        Settings that shapes do not show and that a model of these weights is to have, also where `config` is None.
    metadata : dict
        Whatever else the file holds: class names, mean, std, ...
    rest : frozenset of str
        Arrays that are none of the format's.
    arrays : dict
        As the file has them, where its names are not minivit's.
    rules : callable, optional
        A model's settings -> the rules by which its parameters and `arrays` correspond.
    """

    state: dict[str, np.ndarray]
    model_class: str | None = None
    config: dict[str, Any] | None = None
    stated: frozenset[str] = frozenset()
    flavour: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    rest: frozenset[str] = frozenset()
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    rules: Callable[[Mapping[str, Any]], Rules] | None = None
