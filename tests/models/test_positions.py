"""Tests of minivit/models/positions.py: each method against the code it stands for, and against numbers."""

import numpy as np
import pytest

from minivit.autograd.errors import ShapeError
from minivit.models.positions import METHODS, resize_positions

SIZES = [(14, 24), (14, 7), (7, 16), (16, 5), (2, 4), (8, 9), (3, 1), (1, 3), (14, 14)]
TORCH = {
    "google": {"mode": "bilinear", "align_corners": True},
    "timm_npz": {"mode": "bilinear", "align_corners": False, "antialias": False},
    "timm": {"mode": "bicubic", "align_corners": False, "antialias": True},
    "huggingface": {"mode": "bicubic", "align_corners": False, "antialias": False},
}
TWO_BY_TWO = np.array([0.0, 1, 2, 3]).reshape(1, 4, 1)


def positions(side: int, class_token: bool = True, dim: int = 5) -> np.ndarray:
    rng = np.random.default_rng(side)
    return rng.standard_normal((1, side * side + class_token, dim))


@pytest.mark.reference
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_each_method_is_the_one_of_its_library(method: str, old: int, new: int) -> None:
    import torch

    table = positions(old)
    grid = torch.tensor(table[:, 1:]).reshape(1, old, old, -1).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(grid, size=(new, new), **TORCH[method])
    expected = expected.permute(0, 2, 3, 1).reshape(1, new * new, -1).numpy()
    found = resize_positions(table, new, method)
    np.testing.assert_allclose(found[:, 1:], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_google_is_scipys_zoom(old: int, new: int) -> None:
    scipy = pytest.importorskip("scipy.ndimage")
    table = positions(old)
    expected = scipy.zoom(table[0, 1:].reshape(old, old, -1), (new / old, new / old, 1), order=1)
    found = resize_positions(table, new, "google")[0, 1:].reshape(new, new, -1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_aligned_corners_by_hand() -> None:
    found = resize_positions(TWO_BY_TWO, 4, "google", class_token=False).reshape(4, 4)
    row = np.array([0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(found, row + 2 * row[:, None], atol=1e-15)
    ramp = np.tile(np.arange(14.0), (14, 1)).reshape(1, 196, 1)  # each patch knows its column
    columns = resize_positions(ramp, 24, "google", class_token=False).reshape(24, 24)[5]
    np.testing.assert_allclose(columns, np.arange(24) * 13 / 23, atol=1e-13)
    np.testing.assert_allclose(columns[:3], [0, 0.565217, 1.130435], atol=1e-6)


def test_half_pixels_by_hand() -> None:
    row = np.array([0, 0.25, 0.75, 1])  # coordinates -0.25, 0.25, 0.75, 1.25, held at the border
    found = resize_positions(TWO_BY_TWO, 4, "timm_npz", class_token=False).reshape(4, 4)
    np.testing.assert_allclose(found, row + 2 * row[:, None], atol=1e-15)
    halved = resize_positions(np.arange(16.0).reshape(1, 16, 1), 2, "timm_npz", class_token=False)
    np.testing.assert_allclose(halved.ravel(), [2.5, 4.5, 10.5, 12.5], atol=1e-15)


# Of a column 0, 1, 4, 9 resized to 6 and to 2, as torch.nn.functional.interpolate gives them in float64.
SQUARES = np.repeat(np.arange(4.0) ** 2, 4).reshape(1, 16, 1)
GOLDEN = {
    ("huggingface", 6): [
        -0.08680555555555537,
        0.21875000000000003,
        1.4305555555555591,
        3.1527777777777803,
        6.781250000000002,
        9.434027777777782,
    ],
    ("huggingface", 2): [0.21875, 6.78125],
    ("timm", 6): [
        -0.0657894736842106,
        0.29411764705882354,
        1.361111111111111,
        3.3611111111111103,
        6.8235294117647065,
        9.328947368421051,
    ],
    ("timm", 2): [0.6033057851239669, 6.082644628099175],
}


@pytest.mark.parametrize(("method", "side"), GOLDEN)
def test_bicubic_numbers(method: str, side: int) -> None:
    found = resize_positions(SQUARES, side, method, class_token=False).reshape(side, side)
    np.testing.assert_allclose(found, np.tile(GOLDEN[method, side], (side, 1)).T, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_the_class_token_the_dtype_and_a_constant_stay(method: str) -> None:
    table = positions(4).astype(np.float32)
    before = table.copy()
    for side in (4, 7):
        found = resize_positions(table, side, method)
        assert found.shape == (1, side * side + 1, 5)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found[0, 0], table[0, 0])
    np.testing.assert_array_equal(table, before)
    np.testing.assert_array_equal(resize_positions(table, 4, method), table)
    np.testing.assert_allclose(resize_positions(np.ones((1, 9, 2)), 5, method, class_token=False), 1, atol=1e-15)


def test_the_methods_differ() -> None:
    found = [resize_positions(positions(14), 24, method) for method in METHODS]
    for number, first in enumerate(found):
        for second in found[:number]:
            assert np.abs(first - second).max() > 0.05


def test_what_is_no_square_grid_is_refused() -> None:
    with pytest.raises(ShapeError, match="15 rows after the class token's are no square"):
        resize_positions(np.zeros((1, 16, 3)), 5, "timm")
    with pytest.raises(ShapeError, match="without a class token they are one: pass class_token=False"):
        resize_positions(np.zeros((1, 16, 3)), 5, "timm")
    with pytest.raises(ShapeError, match="with a class token they are one: pass class_token=True"):
        resize_positions(np.zeros((1, 17, 3)), 5, "timm", class_token=False)
    with pytest.raises(ShapeError, match=r"expected positions \(1, N, D\), got \(16, 3\)"):
        resize_positions(np.zeros((16, 3)), 5)
    with pytest.raises(ValueError, match="google, timm_npz, timm, huggingface; got 'nearest'"):
        resize_positions(np.zeros((1, 16, 3)), 5, "nearest", class_token=False)
    with pytest.raises(ValueError, match="a side of 0"):
        resize_positions(np.zeros((1, 16, 3)), 0, class_token=False)
