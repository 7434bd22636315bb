"""The lecture's loop, run as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from minivit.recipes.results import check_result

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    *("--dataset", "digits", "--tasks", "rotation", "inpainting", "--labels", "50", "--seeds", "0", "1"),
    *("--finetune-steps", "2", "--pretrain-steps", "2", "2", "--threads", "1"),
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "pretext_loop.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_every_task_is_compared_with_random_weights_and_nothing_is_made_twice(tmp_path: Path) -> None:
    out = tmp_path / "loop"
    done = run(*TINY, "--out", str(out))
    assert done.returncode == 0, done.stderr
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    check_result(results)
    assert {task: [run["seed"] for run in runs] for task, runs in results["pretext"].items()} == {
        "rotation": [0, 1],
        "inpainting": [0, 1],
    }
    assert [*results["summaries"]] == ["probe_50", "full_50"]
    for summary in results["summaries"].values():
        assert [*summary["methods"]] == ["random_weights", "rotation", "inpainting"]
        assert [*summary["gains"]] == ["rotation", "inpainting"]
        for gain in summary["gains"].values():
            assert gain["seed"] == [0, 1]
    assert (out / "loop.png").stat().st_size > 1000
    again = run(*TINY, "--out", str(out))
    assert again.returncode == 0, again.stderr
    assert "step " not in again.stderr
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["summaries"] == results["summaries"]


def test_what_cannot_be_compared_is_refused_before_anything_runs(tmp_path: Path) -> None:
    for wrong, message in (
        (["--tasks", "jigsaw"], "--tasks: there is no jigsaw; there is"),
        (["--seeds", "1", "1"], "none twice"),
        (["--pretrain-steps", "3"], "a number for each of"),
    ):
        done = run(*TINY, *wrong, "--out", str(tmp_path / "loop"))
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
