"""The report says what was compared, with whom, what was skipped, and whether all agreed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minivit.compare import Report, Row, Skip, compare, report
from minivit.compare.differences import Difference
from minivit.compare.distance import Distance
from minivit.compare.report import PARTS, summary

ROOT = Path(__file__).resolve().parents[2]
CLOSE, FAR = Distance(1e-7, 1e-7, 1.0), Distance(1.0, 0.5, 1e6)


def row(name, forward, gradient=CLOSE, group="op", dtype="float32"):
    return Row(group, name, "PyTorch", dtype, forward, {"input 0": CLOSE, "input 1": gradient}, 1e-5)


@pytest.fixture
def made():
    rows = [row("exp", CLOSE), row("log", CLOSE, Distance(2e-7, 3e-7, 9.0)), row("log", CLOSE, dtype="float64")]
    skips = [Skip("tan", "JAX", "nobody wants it")]
    different = [Difference("max", "Keras", "[1, 0]", "[0.5, 0.5]", "a rule")]
    return Report(rows, skips, different, {"PyTorch": "2.13.0", "JAX": None, "Keras": "3.15", "ONNX": "1.20"})


def test_the_text_has_every_row_difference_and_skip(made):
    text = made.text()
    lines = text.splitlines()
    assert sum(line.startswith("op ") for line in lines) == 3
    assert all(line.endswith("  ok") for line in lines if line.startswith("op "))
    assert "max                     Keras      [1, 0]   [0.5, 0.5]" in text
    assert "compared with: PyTorch 2.13.0, Keras 3.15" in lines  # ONNX is installed, but took no part
    assert "skipped: tan (JAX): nobody wants it" in lines
    assert lines[-1] == "all 3 rows agree"
    assert made.passed


def test_one_row_that_fails_fails_the_report(made):
    made.rows.append(row("tanh", FAR))
    text = made.text()
    assert not made.passed
    assert text.endswith("FAILED: 1 of 4 rows")
    (line,) = [line for line in text.splitlines() if line.startswith("op tanh")]
    assert line.endswith("FAILED: more than 1e-05")


def test_the_record_is_json_with_a_summary_by_reference_and_dtype(made):
    record = json.loads(json.dumps(made.record()))
    assert [(one["group"], one["reference"], one["dtype"], one["rows"]) for one in record["summary"]] == [
        ("op", "PyTorch", "float32", 2),
        ("op", "PyTorch", "float64", 1),
    ]
    assert record["summary"][0]["gradient"] == {"absolute": 2e-7, "relative": 3e-7, "ulps": 9.0}
    assert record["summary"][0]["gradient_worst"] == "log"
    assert [one["name"] for one in record["ops"]] == ["exp", "log", "log"]
    assert record["references"] == {"PyTorch": "2.13.0", "Keras": "3.15"}
    assert record["skipped"] == [{"what": "tan", "reference": "JAX", "reason": "nobody wants it"}]


def test_a_summary_without_gradients():
    found = summary([Row("model", "big", "PyTorch", "float32", CLOSE)])
    assert found["gradient"] == {"absolute": None, "relative": None, "ulps": None}
    assert found["gradient_worst"] is None


@pytest.mark.reference
def test_parts_run_with_what_is_installed():
    found = compare(["losses", "layers", "differences"], ["PyTorch"])
    assert found.passed
    assert {one.group for one in found.rows} == {"layer"}  # the loss is compared with Keras
    assert {one.reference for one in found.skips} == {"all"}  # who was not asked for is not missing
    assert {one.reference for one in found.differences} == {"PyTorch"}


@pytest.mark.reference
def test_published_weights_and_photos_or_a_skip(monkeypatch, tmp_path):
    monkeypatch.setattr("minivit.data.search_folders", lambda: [tmp_path])
    found = compare(["weights"], ["PyTorch"])
    assert not found.rows
    assert "deit_tiny_patch16_224.npz and imagenet-samples not found" in found.skips[0].reason


def test_what_is_not_known_or_not_installed_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="there is no opps to compare; there is ops, layers"):
        compare(["opps"])
    with pytest.raises(ValueError, match="there is no reference Torch; there is PyTorch, JAX"):
        compare(["ops"], ["Torch"])
    monkeypatch.setattr(report, "installed_versions", lambda: {"PyTorch": None, "JAX": None, "Keras": None})
    with pytest.raises(ValueError, match="JAX is not installed: pip install"):
        compare(["ops"], ["JAX"])
    without = compare(["losses", "models", "differences"])
    assert not without.rows
    assert {one.reference for one in without.skips} >= {"PyTorch", "JAX", "Keras", "ONNX", "timm", "torchvision"}
    assert "compared with: nothing" in without.text()


def test_nothing_is_imported_before_it_is_compared_with():
    program = (
        "import sys, minivit.compare as c; c.compare(['losses', 'differences'], []);"
        "print(sorted({'torch', 'jax', 'keras', 'onnx', 'transformers'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert set(PARTS) == {"ops", "layers", "losses", "models", "weights", "differences"}
