"""What the kernels share."""

from __future__ import annotations

import numpy as np
import pytest

from minivit.backend.cpu.blocks import unbuffered


@unbuffered()
def fail():
    raise ZeroDivisionError(np.getbufsize())


def test_a_small_buffer_of_ufuncs_lasts_as_long_as_the_kernel():
    before = np.getbufsize()
    with pytest.raises(ZeroDivisionError, match="512"):
        fail()
    assert np.getbufsize() == before
