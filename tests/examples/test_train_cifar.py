"""The main job, run as a person runs it: in a process of its own, interrupted and killed for real."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from minivit import interop
from minivit.recipes.metrics import read_metrics
from minivit.recipes.results import check_result

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "train_cifar.py"


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """An environment without data and without a way to download any."""
    return {
        **os.environ,
        "MINIVIT_DATA": str(tmp_path / "nothing"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "https_proxy": "http://127.0.0.1:9",
        "PYTHONPATH": str(ROOT),
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(SCRIPT), "--threads", "1", *arguments]


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def untimed(out: Path) -> list[dict]:
    return [{k: v for k, v in r.items() if k != "examples_per_second"} for r in read_metrics(out / "metrics.jsonl")]


def wait_for(path: Path, process: subprocess.Popen, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None or path.exists(), "the run ended too early"
        assert time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.02)


def test_the_default_run_falls_back_to_digits_and_writes_everything(offline, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run(offline, "--epochs", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "CIFAR-10 is neither at hand nor to be downloaded" in done.stderr
    assert "Training on the embedded handwritten digits instead" in done.stderr
    assert "ln(10) = 2.303" in done.stderr
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    check_result(results)
    assert 0.0 <= results["test_accuracy"] <= 1.0
    for field in (
        "test_loss",
        "parameters",
        "examples_per_second",
        "wall_seconds",
        "device",
        "seed",
        "commit",
        "versions",
    ):
        assert field in results
    for name in (
        "config.json",
        "metrics.jsonl",
        "checkpoint.safetensors",
        "learning_curve.png",
        "confusion.png",
        "attention.png",
    ):
        assert (out / name).stat().st_size > 0
    model, metadata = interop.load_model(out / "checkpoint.safetensors")
    assert model.count_parameters() == results["parameters"]
    assert len(metadata["classes"]) == 10


def test_an_explicit_cifar10_fails_with_the_ways_out(offline, tmp_path: Path) -> None:
    done = run(offline, "--dataset", "cifar10", "--out", str(tmp_path / "run"))
    assert done.returncode == 1
    assert "--data-dir" in done.stderr
    assert "digits" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_batch_file_is_named(offline, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        (folder / name).write_bytes(b"\0" * 3073 * 2)
    done = run(offline, "--dataset", "cifar10", "--data-dir", str(tmp_path / "data"), "--no-download")
    assert done.returncode == 1
    assert "data_batch_1.bin" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_resnet_trains_resumes_bit_for_bit_and_is_drawn(offline, tmp_path: Path) -> None:
    settings = ["--dataset", "digits", "--model", "resnet_micro_cifar", "--steps", "6", "--ema", "0.9"]
    settings += ["--checkpoint-minutes", "0.00001"]  # after every step
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    done = run(offline, *settings, "--out", str(straight))
    assert done.returncode == 0, done.stderr
    assert (straight / "class_activation.png").stat().st_size > 0
    model, metadata = interop.load_model(straight / "checkpoint.safetensors")
    assert type(model).__name__ == "ResNet"
    assert metadata["image_size"] == 8
    assert model.bn1.num_batches_tracked.numpy() == 6

    process = subprocess.Popen(command(*settings, "--out", str(stopped)), env=offline, stderr=subprocess.PIPE)
    wait_for(stopped / "checkpoint.safetensors", process)
    process.kill()
    process.communicate()
    done = run(offline, "--resume", str(stopped), "--no-pictures")
    assert done.returncode == 0, done.stderr
    expected, got = load_file(straight / "checkpoint.safetensors"), load_file(stopped / "checkpoint.safetensors")
    assert expected.keys() == got.keys()
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


def test_a_resnet_has_no_drop_path(offline, tmp_path: Path) -> None:
    done = run(
        offline, "--dataset", "digits", "--model", "resnet18_cifar", "--drop-path", "0.1", "--out", str(tmp_path)
    )
    assert done.returncode == 1
    assert "resnet18_cifar is a ResNet, which has no drop_path" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at once", "after a checkpoint", "late"])
def test_a_killed_run_goes_on_bit_for_bit(offline, tmp_path: Path, moment: str) -> None:
    settings = ["--dataset", "digits", "--epochs", "6", "--no-pictures", "--drop-path", "0.1", "--ema", "0.9"]
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert run(offline, *settings, "--out", str(straight)).returncode == 0
    process = subprocess.Popen(command(*settings, "--out", str(killed)), env=offline, stderr=subprocess.DEVNULL)
    if moment == "at once":
        wait_for(killed / "config.json", process)
    else:
        wait_for(killed / "checkpoint.safetensors", process)
    if moment == "late":
        time.sleep(0.7)
    process.kill()
    process.wait()
    done = run(offline, "--resume", str(killed), "--no-pictures")
    assert done.returncode == 0, done.stderr
    assert untimed(killed) == untimed(straight)
    expected, got = load_file(straight / "checkpoint.safetensors"), load_file(killed / "checkpoint.safetensors")
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name])
    first, second = (json.loads((out / "results.json").read_text()) for out in (straight, killed))
    assert first["test_accuracy"] == second["test_accuracy"]
    assert first["test_loss"] == second["test_loss"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to one process")
def test_ctrl_c_saves_and_prints_the_command_to_resume(offline, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        command("--dataset", "digits", "--epochs", "200", "--out", str(out)),
        env=offline,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(out / "checkpoint.safetensors", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"--resume {out}" in errors
    assert not (out / "results.json").exists()


def test_a_folder_of_ones_own_images(offline, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for label, colour in (("red", 0), ("blue", 2)):
        for number in range(20):
            pixels = generator.integers(0, 60, (20, 24, 3)).astype(np.uint8)
            pixels[..., colour] += 150
            path = tmp_path / "images" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    out = tmp_path / "run"
    done = run(
        offline, "--dataset", str(tmp_path / "images"), "--image-size", "16", "--epochs", "12", "--batch-size", "8",
        "--out", str(out), "--no-pictures",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "results.json").read_text())["test_accuracy"] > 0.7


def test_help_explains_every_option(offline) -> None:
    done = run(offline, "--help")
    assert done.returncode == 0
    for option in ("--dataset", "--minutes", "--micro-batch", "--label-smoothing", "--resume", "--device", "--cutout"):
        assert option in done.stdout
    assert "Wall-clock budget" in done.stdout


def test_resuming_a_folder_without_a_run_says_so(offline, tmp_path: Path) -> None:
    done = run(offline, "--resume", str(tmp_path))
    assert done.returncode == 1
    assert "holds no run" in done.stderr
