"""Pre-training, run as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minivit.recipes.pretext import TASKS
from minivit.recipes.results import check_result

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "pretrain.py"), "--threads", "2", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("task", TASKS)
def test_a_run_writes_its_result_its_encoder_and_its_pictures(tmp_path: Path, task: str) -> None:
    out = tmp_path / "run"
    settings = ["--task", task, "--dataset", "shapes", "--model", "small", "--batch-size", "16", "--steps", "4"]
    done = run(*settings, "--out", str(out))
    assert done.returncode == 0, done.stderr
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    check_result(results)
    assert results["task"] == task
    for name in ("config.json", "metrics.jsonl", "checkpoint.safetensors", "learning_curve.png"):
        assert (out / name).stat().st_size > 0
    again = run("--resume", str(out), "--no-pictures")
    assert again.returncode == 0, again.stderr
    assert "resuming" in again.stderr


def test_an_unknown_task_is_an_error_that_names_the_known_ones(tmp_path: Path) -> None:
    done = run("--task", "jigsaw", "--dataset", "digits", "--out", str(tmp_path / "run"))
    assert done.returncode == 1
    assert "task must be one of" in done.stderr
    assert "Traceback" not in done.stderr
