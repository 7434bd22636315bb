"""The comparison, run as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minivit.compare import FAULTS
from minivit.recipes.results import check_result

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "compare_references.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.reference
def test_it_writes_a_result_and_a_picture(tmp_path: Path) -> None:
    out, picture = tmp_path / "compare.json", tmp_path / "parity.png"
    options = ("--parts", "layers", "differences", "faults", "training", "--references", "PyTorch")
    done = run(*options, "--out", str(out), "--picture", str(picture))
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    check_result(result)
    assert result["command"].startswith(
        "python examples/compare_references.py --parts layers differences faults training"
    )
    assert "torch" in result["versions"]
    assert len(result["layers"]) == 26
    assert [(one["optimizer"], one["dtype"]) for one in result["training"]] == [
        ("AdamW", "float32"),
        ("AdamW", "float64"),
        ("SGD", "float32"),
        ("SGD", "float64"),
    ]
    assert [one["fault"] for one in result["faults"]] == list(FAULTS)
    assert all(one["planted"] == one["named"] for one in result["faults"])
    assert result["passed"]
    assert picture.stat().st_size > 0
    assert "all 26 rows agree" in done.stdout


def test_help_explains_itself() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "--photos" in done.stdout
