"""Studies of several runs: each in a folder of its own, made once, and read when the study goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minivit.recipes.config import TrainConfig
from minivit.recipes.console import Console
from minivit.recipes.results import read_result
from minivit.recipes.run_folder import RunFolder

# What two runs may differ in and still compute the same, or the same for longer.
_BESIDE_THE_POINT = {
    "epochs", "minutes", "steps", "threads", "device", "seed", "data_dir", "download", "checkpoint_minutes",
    "micro_batch",
}  # fmt: skip


def same_run(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two configurations ask for the same training."""
    return all(first.get(name) == value for name, value in second.items() if name not in _BESIDE_THE_POINT)


def finished_or_trained(
    path: Path, config: TrainConfig, train: Callable[[bool], dict[str, Any]], console: Console, *, goes_on: bool = True
) -> dict[str, Any]:
    """A run's result: read, where the study goes on and has it already, or made.

    Parameters
    ----------
    path : Path
        Of the run's folder.
    config : TrainConfig
        With a preset filled in.
    train : callable
        Whether to resume -> the result, written into the folder.
    console : Console
    goes_on : bool
        Whether what lies in the folder may be used; otherwise the run is made anew.
    """
    folder = RunFolder(path)
    same = False
    if goes_on and folder.begun:
        plan = folder.read_plan()
        same = same_run(plan["config"], dataclasses.asdict(config))
        same = same and config.steps in (None, plan.get("total_steps"))
        if not same:
            console.message(f"{path} holds a run with other settings, which this one replaces")
    if same and folder.finished:
        return read_result(folder.results)
    return train(same)


def accuracy_of(record: Mapping[str, Any]) -> float:
    """The accuracy that a result states, on the split that was evaluated."""
    return float(record[f"{record['split']}_accuracy"])
