"""The comparison over data sizes, run as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from minivit.recipes.results import check_result

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    *("--dataset", "digits", "--models", "vit_micro_cifar", "resnet_micro_cifar"),
    *("--sizes", "50", "0", "--steps", "2", "--batch-size", "8", "--threads", "1"),
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "vit_or_resnet.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_every_model_size_and_augmentation_is_run_once_and_read_again(tmp_path: Path) -> None:
    out = tmp_path / "study"
    done = run(*TINY, "--out", str(out))
    assert done.returncode == 0, done.stderr
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    check_result(results)
    assert results["images"] == 357
    assert len(results["curves"]) == 4
    for curve in results["curves"]:
        assert [point["training_images"] for point in curve["points"]] == [50, 1078]
    assert (out / "vit_or_resnet.png").stat().st_size > 1000
    again = run(*TINY, "--out", str(out))
    assert again.returncode == 0, again.stderr
    assert "step" not in again.stderr, "nothing is trained twice"
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["curves"] == results["curves"]


def test_what_cannot_be_compared_is_refused_before_anything_runs(tmp_path: Path) -> None:
    for wrong, message in (
        (["--models", "vit_mikro_cifar"], "did you mean vit_micro_cifar"),
        (["--augmentations", "weak"], "no augmentation weak; there is none, strong"),
        (["--seeds", "1", "1"], "none twice"),
    ):
        done = run(*TINY, *wrong, "--out", str(tmp_path / "study"))
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
