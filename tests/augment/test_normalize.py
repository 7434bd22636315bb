"""Tests of minivit/augment/normalize.py."""

import numpy as np
import pytest

from minivit.augment import normalize

MEAN, STD = (0.5, 0.25, 0.1), (0.2, 0.3, 0.4)


def test_the_formula():
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    expected = (images / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    normalized = normalize(images, MEAN, STD)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized, expected, atol=1e-6)
    assert images[0, 0, 15, 15] == 255


def test_normalising_twice_is_refused():
    images = np.zeros((1, 3, 2, 2), np.uint8)
    with pytest.raises(TypeError, match="of uint8, got float32; they may have been normalised already"):
        normalize(normalize(images, MEAN, STD), MEAN, STD)


def test_channels_must_fit():
    with pytest.raises(ValueError, match=r"got \(1, 1, 2, 2\), 3 and 3"):
        normalize(np.zeros((1, 1, 2, 2), np.uint8), MEAN, STD)
