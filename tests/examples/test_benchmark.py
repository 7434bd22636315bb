import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["--steps", "2", "--warmup", "1", "--json"]
SMALL = ["--model", "vit_micro_cifar", "--batch", "8", *SHORT]


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
    assert {"ms", "min_ms", "img_s", "gflops", "rss_mb", "losses"} <= result.keys()
    assert 0.0 < result["min_ms"] <= result["ms"]
    assert result["img_s"] == pytest.approx(8 / (result["ms"] / 1e3))


@pytest.mark.parametrize(
    "arguments", [["--mode", "run", "--dataset", "digits"], ["--mode", "uda", "--dataset", "digits"], ["--mode", "mlp"]]
)
def test_runs_and_the_small_perceptron_are_timed_too(arguments: list[str]) -> None:
    result = run(*arguments, *SHORT)
    assert result["mode"] == arguments[1]
    assert result["img_s"] == pytest.approx(result["batch"] / (result["ms"] / 1e3))
    assert len(result["losses"]) == 3  # one round: there is nothing to alternate with


@pytest.mark.reference
def test_against_pytorch_both_see_the_same_losses(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    result = run(*SMALL, "--rounds", "3", "--against", "torch", "--out", str(out))
    assert len(result["ratios"]) == 3
    assert result["losses"] == pytest.approx(result["torch"]["losses"], rel=1e-5)
    assert result["loss_difference"] < 1e-5
    written = json.loads(out.read_text())
    assert {name: written[name] for name in result} == result
    assert "torch" in written["versions"]


def test_the_speed_of_every_augmentation_is_written_down(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    printed = run("--mode", "augment", "--dataset", "digits", "--unlabelled", "12", *SHORT, "--out", str(out))
    result = json.loads(out.read_text())
    assert printed == {name: result[name] for name in printed}
    assert result["randaugment"].keys() == {"uda", "torchvision", "timm", "fixmatch"}


def test_the_uda_step_is_timed_with_and_without_augmentation_ahead_of_it(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    printed = run("--mode", "prefetch", "--dataset", "digits", "--batch", "8", "--unlabelled", "24", *SHORT,
                  "--threads", "1", "--out", str(out))  # fmt: skip
    result = json.loads(out.read_text())
    assert printed == {name: result[name] for name in printed}
    assert (result["labelled"], result["unlabelled"], result["augmentation"]) == (8, 24, "uda")
    assert (result["model"], result["parameters"]) == ("preset", 73738)
    assert result["images_per_second"] == pytest.approx(32 / result["seconds"]["prefetched"]["wall"])
    assert 0 < result["preparation_share"] < 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mode", "prefetch", "--against", "torch"], "--mode prefetch has no rival; leave out --against"),
        (["--batch", "0"], "--batch has to be at least 1, got 0"),
        (["--mode", "mlp", "--precision", "bf16"], "--mode mlp is measured in float32; leave out --precision"),
        (["--model", "vit_tny_cifar"], "unknown model 'vit_tny_cifar'; did you mean vit_tiny_cifar"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(arguments: list[str], said: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        run(*arguments)
    assert refused.value.returncode == 1
    assert refused.value.stderr.startswith(f"error: {said}")
    assert refused.value.stderr.count("\n") == 1


def test_the_import_is_timed_beside_numpys() -> None:
    result = run("--mode", "import", "--rounds", "2", "--json")
    for name in ("numpy", "minivit_after_numpy"):
        assert 0.0 < result[f"{name}_min_ms"] <= result[f"{name}_median_ms"]
