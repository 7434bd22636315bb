"""Transfers, run as a person runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minivit import interop
from minivit.models import VisionTransformer
from minivit.recipes.results import check_result

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "finetune.py"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = VisionTransformer(8, 4, 12, 2, 3, 20, 7, channels=1, initialization="fan_in")
    path = tmp_path_factory.mktemp("data") / "weights" / "small.safetensors"
    interop.save(model, path, {"mean": [0.3], "std": [0.4]})
    return path


def run(weights: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MINIVIT_DATA": str(weights.parent.parent)}
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--threads", "1", *arguments],
        env=environment, capture_output=True, text=True, timeout=300, check=False, cwd=weights.parent.parent,
    )  # fmt: skip


COMMON = ("--weights", "weights/small.safetensors", "--dataset", "digits")


@pytest.mark.parametrize("mode", ["full", "head", "knn", "probe"])
def test_every_mode_writes_a_result_whose_command_repeats_it(weights: Path, tmp_path: Path, mode: str) -> None:
    length = ("--epochs", "1") if mode in ("full", "head") else ()
    out = tmp_path / "run"
    done = run(weights, *COMMON, "--mode", mode, *length, "--first-test", "50", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "kept" in done.stderr
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    check_result(results)
    assert results["images"] == 50
    assert results["mode"] == mode
    assert (out / "confusion.png").stat().st_size > 0
    assert (out / ("neighbours.png" if mode == "knn" else "confusion.png")).stat().st_size > 0
    repeated = run(weights, *results["command"].split()[2:], "--out", str(tmp_path / "again"), "--no-pictures")
    assert repeated.returncode == 0, repeated.stderr
    again = json.loads((tmp_path / "again" / "results.json").read_text(encoding="utf-8"))
    assert again["test_accuracy"] == results["test_accuracy"]
    assert again["command"] == results["command"]
    resumed = run(weights, "--resume", str(out), "--no-pictures")
    assert resumed.returncode == 0, resumed.stderr


def test_few_labels_from_weights_and_from_none(weights: Path, tmp_path: Path) -> None:
    for init in ("pretrained", "random"):
        done = run(
            weights, *COMMON, "--training-images", "40", "--steps", "3", "--seed", "1", "--init", init,
            "--out", str(tmp_path / init), "--no-pictures",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    found = [json.loads((tmp_path / init / "results.json").read_text()) for init in ("pretrained", "random")]
    assert [result["training_images"] for result in found] == [40, 40]
    assert {**found[0]["model"], "seed": 1} == found[1]["model"]
    positions = [
        interop.load_model(tmp_path / init / "checkpoint.safetensors")[0].state_dict()["pos_embed"]
        for init in ("pretrained", "random")
    ]
    assert (positions[0] != positions[1]).any()


def test_what_is_missing_is_said_in_a_line(weights: Path) -> None:
    for arguments, message in (
        (("--dataset", "digits"), "give --weights"),
        (("--weights", "nothing.npz", "--dataset", "digits"), "no weights at"),
        (("--weights", "weights/small.safetensors", "--dataset", "shapes"), "those of shapes train have 3"),
    ):
        done = run(weights, *arguments)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
