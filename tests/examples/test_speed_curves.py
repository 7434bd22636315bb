import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minivit.recipes.speed.process_memory import proportional_set_size

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / "speed_curves.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_curves_are_measured_drawn_and_gone_on_with(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "curves"
    options = ["--short", "--model", "vit_nano_cifar", "--rounds", "1", "--seconds", "0.01", "--against", "none",
               "--out", str(out)]  # fmt: skip
    assert run(*options, "--axes", "threads").returncode == 0
    first = json.loads((out / "points.json").read_text())
    assert len(first["points"]) == 1
    result, picture = tmp_path / "result.json", tmp_path / "picture.png"
    both = run(*options, "--axes", "threads", "batch", "--result", str(result), "--picture", str(picture))
    assert both.returncode == 0, both.stderr
    points = json.loads((out / "points.json").read_text())
    assert len(points["points"]) == 3
    assert {key: points["points"][key] for key in first["points"]} == first["points"]
    found = json.loads(result.read_text())
    assert [one["value"] for one in found["curves"]["batch"]] == [4, 8]
    for one in (*found["curves"]["batch"], *found["curves"]["threads"]):
        assert one["loss_difference"] < 1e-5  # with checkpointed blocks it trains alike
        assert one["minivit"]["ms_per_image"] == pytest.approx(one["minivit"]["ms"] / one["batch"])
        assert one["minivit"]["rss_mb"] > 0 or not proportional_set_size(os.getpid())  # the system does not tell
    assert found["wall_seconds"] == pytest.approx(points["seconds"], abs=1e-3)
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()
    assert run("--redraw", str(result), "--picture", str(picture)).returncode == 0
    assert picture.exists()


@pytest.mark.slow
@pytest.mark.reference
def test_pytorch_takes_its_turns(tmp_path: Path) -> None:
    done = run("--short", "--model", "vit_nano_cifar", "--rounds", "1", "--seconds", "0.01", "--axes", "threads",
               "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    (point,) = json.loads((tmp_path / "results.json").read_text())["curves"]["threads"]
    assert point["loss_difference"] < 1e-5
    assert point["speed_over_torch"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--axes", "batch", "batch"], "--axes: expected at least one of batch, depth"),
        (["--axes", "width"], "none twice; got ('width',)"),
        (["--rounds", "0"], "expected a round"),
        (["--model", "resnet18_cifar"], "resnet18_cifar is a ResNet"),
        (["--redraw", "nowhere.json"], "nowhere.json"),
        (["--redraw", str(ROOT / "docs" / "results" / "speed_mlp.json")], "it has no curves"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run(*arguments, "--out", str(tmp_path))
    assert done.returncode == 1
    assert message in done.stderr
