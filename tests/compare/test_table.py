"""The table of `minivit check`: a row an op, and an exit that tells whether all passed."""

import io

import pytest

from minivit.compare import cases, check_table, run_checks
from minivit.ops.softmax import Softmax


def test_a_row_for_every_op_and_all_pass():
    rows = check_table(frameworks=[])
    assert [row.op for row in rows] == sorted({case.op for case in cases()})
    assert all(row.passed for row in rows)
    by_name = {row.op: row for row in rows}
    assert by_name["layer_norm"].errors["complex step"] < 1e-12
    assert by_name["layer_norm"].errors["differences"] < 1e-8
    assert by_name["exp"].errors["composed"] is None  # a primitive
    assert len(by_name["attention"].proofs) == len(cases("attention"))


def test_it_is_printed_with_a_verdict():
    out = io.StringIO()
    assert run_checks(out)
    text = out.getvalue()
    lines = text.splitlines()
    assert all(name in lines[0] for name in ("NumPy", "composed", "complex step", "differences", "2nd order", "kernel"))
    assert sum(line.endswith("  ok") for line in lines) == len({case.op for case in cases()})
    assert f"{len(cases())} cases" in text
    assert text.rstrip().endswith("all passed")
    assert max(map(len, lines)) < 140


@pytest.fixture
def broken_softmax(monkeypatch):
    monkeypatch.setattr(Softmax, "backward", staticmethod(lambda F, dy, saved, x, *, axis: (3.0 * dy * saved,)))


def test_a_broken_backward_fails_its_row_alone_and_is_explained(broken_softmax):
    out = io.StringIO()
    assert not run_checks(out)
    text = out.getvalue()
    (line,) = [line for line in text.splitlines() if line.startswith("softmax ") and "FAILED" in line]
    assert line.endswith("FAILED")
    assert "softmax((2, 3, 4), axis=-1)" in text
    assert text.rstrip().endswith("failed: softmax")


def test_only_chosen_cases_can_be_checked(broken_softmax):
    assert [row.passed for row in check_table(frameworks=[], chosen=cases("softmax", "exp"))] == [True, False]
    failed = check_table(frameworks=[], chosen=cases("softmax"))[0].failed
    assert {"composed", "complex step", "differences", "2nd order"} <= set(failed)
