"""Each deliberate difference is one: what is listed as different is computed, and differs."""

import pytest

from minivit.compare import differences


@pytest.mark.parametrize(
    ("reference", "modules", "count"),
    [
        pytest.param("PyTorch", "torch", 5, marks=pytest.mark.reference("torch")),
        pytest.param("JAX", "jax", 6, marks=pytest.mark.reference("jax")),
        pytest.param("Keras", "keras", 3, marks=pytest.mark.reference("keras", "jax")),
    ],
)
def test_what_is_listed_differs(reference, modules, count):
    found = differences([reference])
    assert len(found) == count
    assert len({one.what for one in found}) == count
    for one in found:
        assert one.reference == reference
        assert one.ours != one.theirs, one.what
        assert one.why


@pytest.mark.reference("keras", "jax")
def test_the_two_that_everybody_meets_are_listed():
    by_name = {one.what: one for one in differences(["Keras", "JAX"])}
    clipping = by_name["loss of a true class with probability e^-30"]
    assert (clipping.ours, clipping.theirs) == ("30", "16.1181")
    precision = by_name["dtype of exp of a float64 array"]
    assert (precision.ours, precision.theirs) == ("float64", "float32")


def test_without_references_there_are_none():
    assert differences([]) == []
