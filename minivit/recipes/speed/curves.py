"""Time and memory of a training step as one size grows: the batch, the depth, the tokens, the threads, the micro-batch.

Each point is measured in turns of processes: ours, ours with checkpointed blocks, and a rival's.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minivit.backend.cpu.threads import available_cores
from minivit.files import write_text
from minivit.models import find
from minivit.recipes.results import environment
from minivit.recipes.speed.model_work import ModelWork
from minivit.recipes.speed.result import loss_difference, speed_ratios, summarize_measured
from minivit.recipes.speed.turns import Contender, Measured, alternate

EXPECTED_GFLOPS = 150.0
"""From which the number of steps of a round is chosen, so that it depends on the work alone."""

MOST_STEPS = 8


@dataclass(frozen=True)
class Axis:
    """What grows along a curve.

    Attributes
    ----------
    name : {"batch", "depth", "tokens", "threads", "micro_batch"}
    values : tuple of int
        Rising; of tokens, the patches along a side of the image.
    batch : int
        Images in a step, where the batch does not grow.
    """

    name: str
    values: tuple[int, ...]
    batch: int = 32


AXES: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis("batch", (8, 16, 32, 64, 128, 256)),
        Axis("depth", (2, 4, 8, 12, 24)),
        Axis("tokens", (4, 8, 12, 16)),
        Axis("threads", (1, 2), 64),
        Axis("micro_batch", (2, 4, 8, 16, 32), 64),
    )
}
SHORT_AXES: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis("batch", (4, 8)),
        Axis("depth", (1, 2), 4),
        Axis("tokens", (2, 4), 4),
        Axis("threads", (1,), 4),
        Axis("micro_batch", (2, 4), 8),
    )
}
"""The same in seconds, for a small model: to see that all of it works."""


def work_at(model: str, axis: Axis, value: int) -> ModelWork:
    """The training step at a point of a curve.

    Parameters
    ----------
    model : str
        A Vision Transformer of `minivit.models`.
    axis : Axis
    value : int

    Raises
    ------
    ValueError
        For an axis that there is not, or a model of another family.
    """
    settings = find(model).settings
    if "patch_size" not in settings:
        raise ValueError(f"the curves are of a Vision Transformer; {model} is a {find(model).family.__name__}")
    work = ModelWork(model, batch=axis.batch)
    if axis.name == "batch":
        return dataclasses.replace(work, batch=value)
    if axis.name == "threads":
        return dataclasses.replace(work, threads=value)
    if axis.name == "micro_batch":
        return dataclasses.replace(work, micro_batch=value)
    if axis.name == "depth":
        return dataclasses.replace(work, settings={"depth": value})
    if axis.name == "tokens":
        return dataclasses.replace(work, settings={"image_size": value * settings["patch_size"]})
    raise ValueError(f"no axis {axis.name!r}; there is {', '.join(AXES)}")


def contenders_at(
    work: ModelWork, axis: Axis, rival: Callable[[ModelWork], Contender] | None = None
) -> dict[str, Contender]:
    """Ours, ours with checkpointed blocks, and the rival under the name ``"torch"``; it knows no micro-batches."""
    checkpointed = dataclasses.replace(work, settings={**work.settings, "checkpoint_blocks": True})
    found = {"minivit": Contender(work.start), "checkpointed": Contender(checkpointed.start)}
    if rival is not None and axis.name != "micro_batch":
        found["torch"] = rival(work)
    return found


def tokens_of(work: ModelWork) -> int:
    """Tokens of an image, with the class token where there is one."""
    settings = {**find(work.model).settings, **work.settings}
    return int((settings["image_size"] // settings["patch_size"]) ** 2 + (settings.get("pool", "cls") == "cls"))


def steps_in_round(work: ModelWork, seconds: float) -> int:
    """Steps that take about so long, one at least and `MOST_STEPS` at most."""
    return max(1, min(MOST_STEPS, round(seconds * EXPECTED_GFLOPS / work.gflop)))


def point(axis: Axis, value: int, work: ModelWork, found: Mapping[str, Measured], steps: int) -> dict[str, Any]:
    """What was measured at a point.

    Returns
    -------
    dict
        ``value``, of tokens their number; ``batch``, ``micro_batch``, ``threads``, ``gflop``, ``steps`` of a round; by
        contender what `summarize_measured` says without the losses, and ``ms_per_image``; with a rival
        ``speed_over_torch`` and ``memory_over_torch``; ``loss_difference``, the largest relative difference of the
        first losses of two contenders.
    """
    record: dict[str, Any] = {
        "value": tokens_of(work) if axis.name == "tokens" else value,
        "batch": work.batch,
        "micro_batch": work.told()["micro_batch"],
        "threads": work.threads or available_cores(),
        "gflop": work.gflop,
        "steps": steps,
    }
    for name, measured in found.items():
        summary = summarize_measured(measured, work)
        del summary["losses"]
        record[name] = {**summary, "ms_per_image": summary["ms"] / work.batch}
    ours = found["minivit"]
    if "torch" in found:
        theirs = found["torch"]
        record["speed_over_torch"] = statistics.median(speed_ratios(ours, theirs))
        record["memory_over_torch"] = ours.peak_bytes / theirs.peak_bytes if theirs.peak_bytes else None
    record["loss_difference"] = max(loss_difference(measured, ours) for measured in found.values())
    return record


class Points:
    """Points that are measured, in a file, so that a measurement that was interrupted goes on.

    Points of another commit are not taken up.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    seconds : float
        That all points took.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.commit = path, environment()["commit"]
        self.seconds = 0.0
        self._points: dict[str, Any] = {}
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["commit"] == self.commit:
                self.seconds, self._points = stored["seconds"], stored["points"]

    def measured(
        self, axis: Axis, value: int, model: str, *, seconds: float, rounds: int, rival: Any = None
    ) -> dict[str, Any]:
        """A point, from the file or measured now and added to it."""
        key = json.dumps([axis.name, value, axis.batch, model, seconds, rounds, rival is not None])
        if key not in self._points:
            begun = time.monotonic()
            work = work_at(model, axis, value)
            steps = steps_in_round(work, seconds)
            found = alternate(contenders_at(work, axis, rival), rounds=rounds, steps=steps, warmup=1)
            self._points[key] = point(axis, value, work, found, steps)
            self.seconds += time.monotonic() - begun
            stored = {"commit": self.commit, "seconds": self.seconds, "points": self._points}
            write_text(self.path, json.dumps(stored, indent=1) + "\n")
        record: dict[str, Any] = self._points[key]
        return record


def possible_values(axis: Axis) -> tuple[int, ...]:
    """The values of an axis; of threads those that there are cores for."""
    return tuple(value for value in axis.values if axis.name != "threads" or value <= available_cores())


def with_full_micro_batches(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The points at which every thread has a whole micro-batch: from there on memory need not grow with the batch."""
    return [one for one in points if one["batch"] >= one["threads"] * one["micro_batch"]]


def growth(points: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """How much more time an image takes at one point of a curve than at another, and how much more memory a step.

    Parameters
    ----------
    points : sequence of mapping

    Returns
    -------
    dict or None
        ``first`` and ``last`` value; by contender, of ``ms_per_image`` and ``rss_mb``, the largest over the smallest,
        None where the system tells no memory. None without points.
    """
    if not points:
        return None
    names = [name for name in ("minivit", "checkpointed", "torch") if name in points[0]]
    found: dict[str, Any] = {"first": points[0]["value"], "last": points[-1]["value"]}
    for name in names:
        found[name] = {}
        for quantity in ("ms_per_image", "rss_mb"):
            values = [one[name][quantity] for one in points]
            found[name][quantity] = max(values) / min(values) if min(values) > 0 else None
    return found
