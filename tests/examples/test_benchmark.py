import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--model", "vit_micro_cifar", "--batch", "8", "--steps", "2", "--warmup", "1", "--rounds", "1", "--json"]


def run(*arguments: str, **environment: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "benchmark.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("mode", ["train", "forward"])
def test_the_last_line_is_one_json_object(mode: str) -> None:
    result = run(*SMALL, "--mode", mode)
    assert {"ms", "min_ms", "img_s", "gflops", "rss_mb", "losses", "gemm_share"} <= result.keys()
    assert 0.0 < result["min_ms"] <= result["ms"]
    assert result["img_s"] == pytest.approx(8 / (result["ms"] / 1e3))


@pytest.mark.reference
def test_against_pytorch_both_see_the_same_losses(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    result = run(*SMALL, "--against", "torch", "--out", str(out))
    assert len(result["ratios"]) == 1
    # The rival does not warm its learning rate up as our step does, so only the first loss is of the same weights.
    assert result["minivit"]["losses"][0] == pytest.approx(result["torch"]["losses"][0], abs=1e-5)
    assert json.loads(out.read_text())["speed_over_torch"] == result["speed_over_torch"]


def test_the_speed_of_every_augmentation_is_written_down(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    printed = run("--mode", "augment", "--dataset", "digits", "--unlabelled", "12", "--steps", "1", "--rounds", "2",
                  "--json", "--out", str(out))  # fmt: skip
    result = json.loads(out.read_text())
    assert printed == {name: result[name] for name in printed}
    assert result["randaugment"].keys() == {"uda", "torchvision", "timm", "fixmatch"}
    assert all(row["images_per_second"] > 0 for row in [result["crop_flip"], *result["randaugment"].values()])
    assert (result["images"], result["image_shape"]) == (12, [1, 8, 8])


def test_the_uda_step_is_timed_with_and_without_augmentation_ahead_of_it(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    printed = run("--mode", "uda", "--dataset", "digits", "--labelled", "8", "--unlabelled", "24", "--steps", "1",
                  "--warmup", "1", "--rounds", "3", "--threads", "1", "--json", "--out", str(out))  # fmt: skip
    result = json.loads(out.read_text())
    assert printed == {name: result[name] for name in printed}
    assert (result["labelled"], result["unlabelled"], result["augmentation"]) == (8, 24, "uda")
    assert (result["model"], result["parameters"]) == ("preset", 73738)
    seconds = result["seconds"]
    assert seconds.keys() == {"prefetched", "prepared", "preparation"}
    assert result["images_per_second"] == pytest.approx(32 / seconds["prefetched"]["wall"])
    assert result["cores_used"] == pytest.approx(seconds["prepared"]["cpu"] / seconds["prepared"]["wall"])
    assert 0 <= result["waiting_share"] < 1
    assert 0 < result["preparation_share"] < 1
    assert result["prefetched_over_prepared"] == sorted(result["ratios"])[1]


def test_drawn_shapes_stand_in_for_cifar_10_where_it_is_not_at_hand(tmp_path: Path) -> None:
    nowhere = {"MINIVIT_DATA": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    result = run("--mode", "augment", "--unlabelled", "4", "--steps", "1", "--rounds", "1", "--json", **nowhere)
    assert (result["dataset"], result["image_shape"]) == ("shapes train", [3, 32, 32])


def test_augmentation_has_no_rival() -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        run("--mode", "uda", "--against", "torch")
    assert "--mode uda has no rival" in refused.value.stderr
