"""The time of an import is taken in fresh processes."""

import pytest

from minivit.recipes.speed.import_time import ImportSeconds, import_seconds


def test_each_round_has_a_time_for_both_imports():
    found = import_seconds(rounds=2)
    assert len(found.numpy) == len(found.minivit) == 2
    assert min(found.numpy + found.minivit) > 1e-4  # loaded before, a module would take a microsecond


def test_the_summary_has_medians_and_minima_in_milliseconds():
    assert ImportSeconds([0.1, 0.3, 0.2], [0.02, 0.01, 0.06]).summary == {
        "numpy_median_ms": 200.0,
        "numpy_min_ms": 100.0,
        "minivit_after_numpy_median_ms": 20.0,
        "minivit_after_numpy_min_ms": 10.0,
    }


def test_no_round_is_refused():
    with pytest.raises(ValueError, match="at least one round, got 0"):
        import_seconds(0)
