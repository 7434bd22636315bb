"""The picture of resized positions in the docs shows what the library does."""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from minivit.models.positions import METHODS

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "_static" / "positions.png"
_specification = importlib.util.spec_from_file_location("make_positions", ROOT / "docs" / "make_positions.py")
make_positions = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(make_positions)


def test_the_committed_picture_is_up_to_date_but_for_its_letters() -> None:
    sheet = make_positions.Sheet()
    assert len(sheet.cells) == 2 * 2 * (1 + len(METHODS))
    with Image.open(PICTURE) as committed:
        assert committed.size == sheet.canvas.size
        for left, top in sheet.cells.values():
            box = (left, top, left + make_positions.CELL, top + make_positions.CELL)
            difference = np.asarray(committed.crop(box), int) - np.asarray(sheet.canvas.crop(box), int)
            assert np.abs(difference).max() <= 1
    assert PICTURE.stat().st_size < 100_000


def test_a_cell_is_the_resized_grid() -> None:
    sheet = make_positions.Sheet()
    left, top = sheet.cells["points", 12, "google"]
    pixels = np.asarray(sheet.canvas)[top + 5 :: make_positions.CELL // 12, left + 5 :: make_positions.CELL // 12][
        :12, :12
    ]
    np.testing.assert_array_equal(
        pixels, make_positions.colored(make_positions.resized(make_positions.grids()["points"], 12, "google"))
    )
    assert (pixels[0, 0] == make_positions.RED).all(), "a corner keeps its value"


def test_colours() -> None:
    found = make_positions.colored(np.array([[-1.0, 0.0, 2.0]]))
    np.testing.assert_array_equal(found, [[make_positions.BLUE, [255] * 3, make_positions.RED]])
