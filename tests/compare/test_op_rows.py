"""Every op in both dtypes against PyTorch, some against JAX; a wrong op is not let through."""

import pytest

from minivit.backend import kernels_disabled
from minivit.compare import cases
from minivit.compare.op_rows import op_rows
from minivit.ops.softmax import Softmax

CHOSEN = cases("gelu", "attention", "conv2d", "cross_entropy")


@pytest.mark.reference
def test_every_op_agrees_with_pytorch_in_both_dtypes():
    rows = op_rows(["PyTorch"])
    assert [(row.name, row.dtype) for row in rows] == [
        (op, dtype) for op in sorted({case.op for case in cases()}) for dtype in ("float32", "float64")
    ]
    assert not [(row.name, row.dtype, row.forward, row.worst, row.gradient) for row in rows if not row.passed]
    assert all(row.gradient is not None for row in rows)


@pytest.mark.slow
@pytest.mark.reference("jax")
def test_ops_agree_with_jax_in_both_dtypes():
    rows = op_rows(["JAX"], chosen=CHOSEN)
    assert len(rows) == 8
    assert not [(row.name, row.dtype, row.forward, row.worst, row.gradient) for row in rows if not row.passed]


@pytest.mark.reference
def test_a_wrong_backward_fails_its_row(monkeypatch):
    monkeypatch.setattr(Softmax, "backward", staticmethod(lambda F, dy, saved, x, *, axis: (1.001 * dy * saved,)))
    with kernels_disabled():
        rows = op_rows(["PyTorch"], ["float64"], cases("softmax", "exp"))
    assert [row.passed for row in rows] == [True, False]
