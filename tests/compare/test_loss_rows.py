"""The lecture's loss: cross-entropy is Keras' CategoricalCrossentropy, where that clips nothing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minivit.compare.against_keras import CLIPPED_AT, categorical_crossentropy
from minivit.compare.loss_rows import CASES, by_minivit, loss_rows

pytestmark = pytest.mark.reference("keras", "jax")


def test_losses_and_gradients_are_keras():
    rows = loss_rows()
    assert [(row.name, row.dtype) for row in rows] == [(n, d) for n in CASES for d in ("float32", "float64")]
    assert not [(row.name, row.dtype, row.forward, row.gradient) for row in rows if not row.passed]


def test_keras_clips_probabilities_unless_it_is_given_logits():
    logits, targets = np.array([[0.0, 40.0]]), np.array([[1.0, 0.0]])
    ours, gradients = by_minivit(logits, targets)
    clipped, no_gradient = categorical_crossentropy(logits, targets, from_logits=False)
    whole, gradient = categorical_crossentropy(logits, targets, from_logits=True)
    assert clipped == pytest.approx(-np.log(CLIPPED_AT))
    assert np.all(no_gradient == 0.0)
    np.testing.assert_allclose(ours, whole, rtol=1e-14)
    np.testing.assert_allclose(gradients["logits"], gradient, rtol=1e-14)


def test_another_backend_of_keras_is_refused():
    program = (
        "import numpy as np; from minivit.compare.against_keras import categorical_crossentropy as c;"
        "c(np.zeros((1, 2)), np.array([[1.0, 0.0]]), True)"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {"KERAS_BACKEND": "numpy", "PYTHONPATH": str(root), "PATH": ""}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "Keras runs on numpy; set the environment variable KERAS_BACKEND=jax" in run.stderr
