"""Cross-entropy against Keras' CategoricalCrossentropy where nothing is clipped; clipping is in `differences`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minivit import ops
from minivit.autograd import Tensor
from minivit.compare.against_keras import categorical_crossentropy
from minivit.compare.rows import DTYPES, Computed, Row, row

TOLERANCES = {"float32": 2e-5, "float64": 1e-13}

CASES: dict[str, dict[str, Any]] = {
    "cross_entropy of logits": {"from_logits": True},
    "cross_entropy of logits, smoothed": {"from_logits": True, "label_smoothing": 0.1},
    "cross_entropy of probabilities": {"from_logits": False},
    "cross_entropy of probabilities, smoothed": {"from_logits": False, "label_smoothing": 0.1},
}


def loss_rows(dtypes: Iterable[str] = DTYPES) -> list[Row]:
    """A row for every way to call the loss, and each dtype; no probability is below Keras' 1e-7."""
    rng = np.random.default_rng(8)
    logits, labels = 2.0 * rng.standard_normal((6, 10)), rng.integers(0, 10, 6)
    rows = []
    for name, options in CASES.items():
        for dtype in dtypes:
            z, targets = logits.astype(dtype), np.eye(10, dtype=dtype)[labels]
            loss, gradient = categorical_crossentropy(z, targets, **options)
            ours = by_minivit(z, targets, options.get("label_smoothing", 0.0))
            theirs = loss, {"logits": gradient}
            rows.append(row("loss", name, "Keras", ours, theirs, TOLERANCES[dtype]))
    return rows


def by_minivit(logits: Any, targets: Any, label_smoothing: float = 0.0) -> Computed:
    """The mean loss of a batch, and its gradient, named ``"logits"``."""
    z = Tensor(logits, requires_grad=True)
    loss = ops.cross_entropy(z, Tensor(targets), label_smoothing)
    loss.backward()
    return loss.numpy(), {"logits": z.grad}
