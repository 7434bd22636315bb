import gc

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture
def without_collector():
    """The garbage collector is off: what is still alive afterwards is held by a reference, or is a cycle."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
