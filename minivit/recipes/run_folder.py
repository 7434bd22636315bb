"""The folder of a run: its plan, its log, its checkpoint, its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minivit.files import written_whole


class ResumeError(ValueError):
    """A run folder that cannot be resumed as asked."""


class RunFolder:
    """Where the files of a run lie.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    plan : Path
        Settings and number of steps: what resuming needs beside the checkpoint.
    checkpoint, metrics, results : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan = path / "config.json"
        self.checkpoint = path / "checkpoint.safetensors"
        self.metrics = path / "metrics.jsonl"
        self.results = path / "results.json"

    def __str__(self) -> str:
        return str(self.path)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end and been tested."""
        return self.results.exists()

    @property
    def begun(self) -> bool:
        """Whether a run has been planned here."""
        return self.plan.exists()

    def clear(self) -> None:
        """Remove what an earlier run left, so that none of it can be taken for the new run's."""
        for path in (self.results, self.checkpoint, self.metrics, self.plan):
            path.unlink(missing_ok=True)

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Write the plan, whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        with written_whole(self.plan) as temporary:
            temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")

    def read_plan(self) -> dict[str, Any]:
        """The plan.

        Raises
        ------
        ResumeError
            If there is none.
        """
        if not self.begun:
            raise ResumeError(f"{self.path} holds no run: there is no {self.plan}")
        plan: dict[str, Any] = json.loads(self.plan.read_text(encoding="utf-8"))
        return plan
