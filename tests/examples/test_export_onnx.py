"""The export, run as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minivit import interop
from minivit.models import VisionTransformer

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "export_onnx.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.reference("onnx", "onnxruntime")
def test_the_checkpoint_of_a_run_is_exported_with_its_metadata_and_checked(tmp_path: Path) -> None:
    import onnx

    model = VisionTransformer(8, 4, 12, 2, 3, 20, 3)
    metadata = {"classes": ["red", "green", "blue"], "mean": [0.5] * 3, "std": [0.25] * 3}
    interop.save(model, tmp_path / "run" / "checkpoint.safetensors", metadata)
    done = run("--weights", tmp_path / "run", "--check", "--std", 0.1, 0.2, 0.3)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "metadata: model, classes, mean, std" in done.stdout
    assert "onnxruntime: largest difference" in done.stdout
    assert "onnx.reference: largest difference" in done.stdout
    assert done.stdout.endswith("all agree\n")
    made = onnx.load(tmp_path / "run" / "checkpoint.onnx")
    entries = {entry.key: json.loads(entry.value) for entry in made.metadata_props}
    assert entries["classes"] == metadata["classes"]
    assert entries["mean"] == [0.5] * 3
    assert entries["std"] == [0.1, 0.2, 0.3]


def test_what_is_missing_or_cannot_be_exported_is_said(tmp_path: Path) -> None:
    for arguments, message in (
        ((), "nothing to export: give --weights FILE, or --model NAME"),
        (("--weights", tmp_path), "no checkpoint (*.safetensors) in this folder"),
        (("--model", "wrn_16_4_cifar"), "a WideResNet cannot be exported to ONNX"),
        (("--model", "vit_testing", "--batch-sizes", "0"), "--batch-sizes are numbers of images, at least 1"),
    ):
        done = run(*arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
