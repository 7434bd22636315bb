"""The rows of `minivit compare`: what was compared with whom, how far apart it was, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from minivit.compare.distance import Distance, distance, largest

REFERENCES = {"PyTorch": "torch", "JAX": "jax", "Keras": "keras", "ONNX": "onnxruntime"}  # name: module
DTYPES = ("float32", "float64")
Computed = tuple[Any, Mapping[str, Any]]
"""A value, and gradients by the name of what they belong to."""


@dataclass(frozen=True)
class Row:
    """One computation by minivit and by a reference.

    Attributes
    ----------
    group : {"op", "layer", "loss", "model", "weights"}
    name : str
    reference : str
        One of `REFERENCES`.
    dtype : str
    forward : Distance
    gradients : mapping of str to Distance
        For each input and parameter; empty where only the forward was compared.
    tolerance : float
        Largest relative error allowed; of the forward, the largest absolute one where `absolute` is set.
    absolute : bool
    note : str
        What the row was measured on, where its name does not say it.
    """

    group: str
    name: str
    reference: str
    dtype: str
    forward: Distance
    gradients: Mapping[str, Distance] = field(default_factory=dict)
    tolerance: float = 0.0
    absolute: bool = False
    note: str = ""

    @property
    def gradient(self) -> Distance | None:
        """The largest of each measure over all gradients; None without gradients."""
        return largest(self.gradients.values()) if self.gradients else None

    @property
    def worst(self) -> str:
        """Which gradient has the largest relative error; empty without gradients."""
        return max(self.gradients, key=lambda name: self.gradients[name].relative, default="")

    @property
    def passed(self) -> bool:
        """Whether no error is larger than allowed."""
        error = self.forward.absolute if self.absolute else self.forward.relative
        return error <= self.tolerance and all(one.relative <= self.tolerance for one in self.gradients.values())

    def record(self) -> dict[str, Any]:
        """For JSON: the largest of the gradients in place of all, which of them it was, and how many."""
        gradient = self.gradient
        return {
            "group": self.group,
            "name": self.name,
            "reference": self.reference,
            "dtype": self.dtype,
            "forward": asdict(self.forward),
            "gradient": asdict(gradient) if gradient else {"absolute": None, "relative": None, "ulps": None},
            "gradients": len(self.gradients),
            "worst_gradient": self.worst,
            "tolerance": self.tolerance,
            "passed": self.passed,
            "note": self.note,
        }


@dataclass(frozen=True)
class Skip:
    """What was not compared, and why.

    Attributes
    ----------
    what : str
    reference : str
    reason : str
    """

    what: str
    reference: str
    reason: str


def row(
    group: str, name: str, reference: str, ours: Computed, theirs: Computed, tolerance: float, **options: Any
) -> Row:
    """Compare two computations.

    Parameters
    ----------
    group, name, reference, tolerance, **options
        See `Row`.
    ours, theirs : (array, mapping of str to array)
        Value and gradients.

    Raises
    ------
    ValueError
        If they have different gradients, or arrays of different shape or dtype; it names the array.
    """
    value, gradients = ours
    their_value, their_gradients = theirs
    if gradients.keys() != their_gradients.keys():
        differ = ", ".join(sorted(gradients.keys() ^ their_gradients.keys()))
        raise ValueError(f"{name}: minivit and {reference} have gradients of different things: {differ}")
    return Row(
        group,
        name,
        reference,
        str(np.asarray(value).dtype),
        _measured(name, "forward", value, their_value),
        {key: _measured(name, key, gradients[key], their_gradients[key]) for key in gradients},
        tolerance,
        **options,
    )


def _measured(name: str, what: str, ours: Any, theirs: Any) -> Distance:
    try:
        return distance(ours, theirs)
    except ValueError as error:
        raise ValueError(f"{name}, {what}: {error}") from error


def merged(rows: Iterable[Row]) -> list[Row]:
    """One row for all cases of an op: the largest of each error, whichever case it came from.

    Rows of one group, name, reference and dtype become one, at the place of the first.
    """
    together: dict[tuple[str, str, str, str], list[Row]] = {}
    for one in rows:
        together.setdefault((one.group, one.name, one.reference, one.dtype), []).append(one)
    return [_merge(cases) for cases in together.values()]


def _merge(cases: Sequence[Row]) -> Row:
    first = cases[0]
    if len(cases) == 1:
        return first
    names = dict.fromkeys(name for case in cases for name in case.gradients)
    gradients = {name: largest(c.gradients[name] for c in cases if name in c.gradients) for name in names}
    return Row(
        first.group,
        first.name,
        first.reference,
        first.dtype,
        largest(case.forward for case in cases),
        gradients,
        max(case.tolerance for case in cases),
        first.absolute,
        f"{len(cases)} cases",
    )
