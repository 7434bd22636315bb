"""The shortcut's demonstration, run as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from minivit.recipes.results import check_result

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ("--dataset", "shapes", "--steps", "2", "--train", "32", "--held-out", "8", "--batch-size", "8")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "show_shortcut.py"), "--threads", "1", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_it_writes_a_result_and_a_picture(tmp_path: Path) -> None:
    out, picture = tmp_path / "shortcut.json", tmp_path / "shortcut.png"
    done = run(*SETTINGS, "--out", str(out), "--picture", str(picture))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    check_result(result)
    assert result["images"] == 8
    assert set(result["position_accuracy"]) == {"none", "gray", "project", "drop"}
    assert all(len(row) == 4 for row in result["position_accuracy"].values())
    assert picture.stat().st_size > 0
    assert done.stdout.count("of the patches placed") == 16


def test_more_images_than_there_are_and_grey_ones_are_refused() -> None:
    done = run("--dataset", "digits")
    assert done.returncode == 1
    assert "the data set has" in done.stderr
    done = run("--dataset", "digits", "--train", "20", "--held-out", "5")
    assert done.returncode == 1
    assert "these images have 1 channel" in done.stderr
