"""Exported ONNX files in onnxruntime and in ONNX's own evaluator, as `minivit compare` lists them."""

import numpy as np
import pytest

from minivit.compare import compare, report
from minivit.compare import onnx_rows as rows_of_onnx
from minivit.compare.model_rows import ModelCase, model_cases
from minivit.compare.onnx_rows import EVALUATORS, by_onnx, onnx_rows

SMALL = {"image_size": 12, "patch_size": 4, "dim": 12, "depth": 3, "heads": 3, "mlp_dim": 20, "num_classes": 7}
CASES = [
    ModelCase("vit_testing", "small", SMALL, 2, 12),
    ModelCase("resnet50", "", {"width": 4, "num_classes": 10}, 2, 64),
]


@pytest.mark.reference("onnx", "onnxruntime")
def test_a_row_for_every_model_and_evaluator():
    rows, skips = onnx_rows(["float32", "float64"], CASES)
    assert [(row.name, row.note) for row in rows] == [
        ("vit_testing", "small, onnxruntime"),
        ("vit_testing", "small, onnx.reference"),
        ("resnet50", "onnxruntime"),
        ("resnet50", "onnx.reference"),
    ]
    assert all(row.passed and row.reference == "ONNX" and row.dtype == "float32" and not row.gradients for row in rows)
    assert [skip.what for skip in skips] == ["gradients and training of models", "models in float64"]
    assert onnx_rows(["float64"], CASES)[0] == []


@pytest.mark.reference("onnx", "onnxruntime")
def test_a_file_that_computes_something_else_fails(monkeypatch):
    def other_eps(case):
        return ModelCase(case.name, case.note, {**case.overrides, "eps": 1e-2}, case.batch_size, case.image_size)

    write = rows_of_onnx.onnx_model
    monkeypatch.setattr(rows_of_onnx, "onnx_model", lambda model: write(other_eps(CASES[0]).create()))
    rows, _ = onnx_rows(["float32"], CASES[:1])
    assert [row.passed for row in rows] == [False, False]


@pytest.mark.reference("onnx", "onnxruntime")
def test_an_unknown_evaluator_is_refused():
    with pytest.raises(ValueError, match=r"no evaluator 'torch'; there is onnxruntime, onnx\.reference"):
        by_onnx(None, np.zeros((1, 3, 8, 8), np.float32), "torch")


@pytest.mark.reference("onnx", "onnxruntime")
def test_the_comparison_lists_onnx(monkeypatch):
    monkeypatch.setattr(rows_of_onnx, "model_cases", lambda: CASES)
    found = compare(["models"], ["ONNX"])
    assert found.passed
    assert found.compared == ["ONNX"]
    assert len(found.rows) == len(CASES) * len(EVALUATORS)
    assert "compared with: ONNX " in found.text()


def test_without_onnx_it_is_skipped(monkeypatch):
    monkeypatch.setattr(rows_of_onnx, "installed", lambda: False)
    assert report.installed_versions()["ONNX"] is None
    skips = compare([]).skips
    assert ("everything", "ONNX", "not installed: pip install -e '.[reference]'") in [
        (skip.what, skip.reference, skip.reason) for skip in skips
    ]


def test_the_cases_are_those_of_models_without_training():
    assert any(case.training for case in model_cases())
    assert all(not case.training for case in rows_of_onnx.onnx_cases())
