"""A row passes within its tolerance alone, and names what it compared."""

import numpy as np
import pytest

from minivit.compare.distance import Distance
from minivit.compare.rows import Row, merged, row

ONE = np.array([1.0, 2.0])


def test_a_row_measures_value_and_every_gradient():
    found = row("op", "f", "PyTorch", (ONE, {"a": ONE, "b": ONE * 1.5}), (ONE, {"a": ONE, "b": ONE}), 0.6)
    assert found.forward == Distance(0.0, 0.0, 0.0)
    assert found.gradients["b"].absolute == 1.0
    assert found.worst == "b"
    assert found.dtype == "float64"
    assert found.passed


@pytest.mark.parametrize(("forward", "gradient"), [(1e-3, 0.0), (0.0, 1e-3), (np.nan, 0.0), (0.0, np.nan)])
def test_a_row_fails_by_its_value_or_by_one_gradient(forward, gradient):
    ours = ONE + forward, {"a": ONE, "b": ONE + gradient}
    assert not row("op", "f", "JAX", ours, (ONE, {"a": ONE, "b": ONE}), 1e-4).passed
    assert row("op", "f", "JAX", (ONE, {"b": ONE}), (ONE, {"b": ONE}), 1e-4).passed


def test_an_absolute_tolerance():
    ours, theirs = (100.0 * ONE + 5e-4, {}), (100.0 * ONE, {})
    assert row("weights", "m", "JAX", ours, theirs, 1e-4).passed
    assert not row("weights", "m", "JAX", ours, theirs, 1e-4, absolute=True).passed


def test_different_gradients_or_arrays_are_an_error_that_names_them():
    with pytest.raises(ValueError, match="f: minivit and JAX have gradients of different things: b"):
        row("op", "f", "JAX", (ONE, {"a": ONE, "b": ONE}), (ONE, {"a": ONE}), 1.0)
    with pytest.raises(ValueError, match=r"f, a: expected two arrays of one shape .* float32 \(2,\)"):
        row("op", "f", "JAX", (ONE, {"a": ONE}), (ONE, {"a": ONE.astype(np.float32)}), 1.0)


def test_cases_of_one_op_become_one_row_with_the_largest_of_each():
    def case(name, forward, **gradients):
        return Row("op", name, "JAX", "float64", forward, gradients, 1.0)

    first = case("f", Distance(1.0, 0.1, 1.0), a=Distance(0.0, 0.5, 0.0))
    second = case("f", Distance(0.5, 0.2, 0.0), a=Distance(3.0, 0.1, 0.0), b=Distance(0.0, 0.0, 9.0))
    other = case("g", Distance(0.0, 0.0, 0.0))
    both, alone = merged([first, other, second])
    assert both.forward == Distance(1.0, 0.2, 1.0)
    assert both.gradients == {"a": Distance(3.0, 0.5, 0.0), "b": Distance(0.0, 0.0, 9.0)}
    assert both.gradient == Distance(3.0, 0.5, 9.0)
    assert both.note == "2 cases"
    assert alone is other


def test_the_record_is_plain():
    record = row("model", "m", "JAX", (ONE, {}), (ONE, {}), 1.0, note="small").record()
    assert record["forward"] == {"absolute": 0.0, "relative": 0.0, "ulps": 0.0}
    assert record["gradient"] == {"absolute": None, "relative": None, "ulps": None}
    assert record["passed"] is True
    assert record["note"] == "small"
