"""Errors are measured as the docstring says, down to the last place."""

import numpy as np
import pytest

from minivit.compare.distance import Distance, distance, largest


def test_equal_arrays_are_no_distance_apart():
    x = np.array([1.0, -np.inf, 0.0])
    assert distance(x, x.copy()) == Distance(0.0, 0.0, 0.0)
    assert distance(np.zeros((0, 3)), np.zeros((0, 3))) == Distance(0.0, 0.0, 0.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_unit_in_the_last_place_is_one(dtype):
    theirs = np.array([3.0, -2.5], dtype)
    ours = np.nextafter(theirs, dtype(np.inf))
    found = distance(ours, theirs)
    assert found.ulps == 1.0
    assert found.absolute == np.spacing(dtype(3.0))
    assert found.relative == found.absolute / 3.0


def test_what_cancelled_counts_absolutely_but_not_in_units_in_the_last_place():
    theirs = np.array([1.0, 1e-12])
    found = distance(np.array([1.0, 3e-12]), theirs)
    assert found.absolute == pytest.approx(2e-12)
    assert found.relative == pytest.approx(2e-12)
    assert found.ulps == 0.0


def test_a_constant_array_counts_in_every_entry():
    assert distance(np.full(7, np.nextafter(0.1, 1.0)), np.full(7, 0.1)).ulps == 1.0


def test_the_relative_error_is_of_the_reference():
    assert distance(np.array([2.0]), np.array([1.0])).relative == 1.0
    assert distance(np.array([1.0]), np.array([2.0])).relative == 0.5


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_is_infinitely_far(wrong):
    assert distance(np.array([1.0, wrong]), np.array([1.0, 2.0])).relative == np.inf
    assert distance(np.array([1.0, 2.0]), np.array([1.0, wrong])).absolute == np.inf


def test_a_reference_of_zeros():
    assert distance(np.array([1e-300]), np.zeros(1)).relative == np.inf


@pytest.mark.parametrize("theirs", [np.zeros(3), np.zeros(2, np.float32), np.zeros((2, 1))])
def test_other_shapes_and_dtypes_are_refused(theirs):
    with pytest.raises(ValueError, match="one shape and one floating-point dtype"):
        distance(np.zeros(2), theirs)


def test_the_largest_of_each_measure():
    assert largest([Distance(1.0, 0.1, 5.0), Distance(0.5, 0.2, 7.0)]) == Distance(1.0, 0.2, 7.0)
    assert largest([]) == Distance(0.0, 0.0, 0.0)
