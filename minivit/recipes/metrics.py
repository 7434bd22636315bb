"""The log of a run: one JSON object a line, cut back to the checkpoint when a run resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minivit.files import written_whole


class MetricsLog:
    """Appends to ``metrics.jsonl``.

    Parameters
    ----------
    path : Path
    keep_until : int
        Lines of later steps are dropped first: what an interrupted run logged after its last checkpoint is computed,
        and logged, again.
    """

    def __init__(self, path: Path, keep_until: int) -> None:
        self.path = path
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= keep_until]
        with written_whole(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        """Append one record, which has a `step`."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every record of a log."""
    return [json.loads(line) for line in _whole_lines(path)]


def _whole_lines(path: Path) -> list[str]:
    """The lines that end: a kill can leave half of one."""
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
