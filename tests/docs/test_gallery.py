"""The gallery of augmentations in the docs shows what the library does."""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from minivit.augment import OPERATIONS
from minivit.data import draw_shapes

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "_static" / "randaugment.png"
_specification = importlib.util.spec_from_file_location("make_gallery", ROOT / "docs" / "make_gallery.py")
make_gallery = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(make_gallery)


def test_the_committed_picture_is_up_to_date_but_for_its_letters() -> None:
    sheet = make_gallery.draw()
    assert len(sheet.cells) == 12 * 10 + 3 * 2 + 5 * 10
    with Image.open(PICTURE) as committed:
        assert committed.size == sheet.canvas.size
        for cell in sheet.cells:
            np.testing.assert_array_equal(np.asarray(committed.crop(cell)), np.asarray(sheet.canvas.crop(cell)))
    assert PICTURE.stat().st_size < 400_000


def test_a_cell_is_the_operation() -> None:
    images, _ = draw_shapes([make_gallery.OPERATIONS_SHOWN])
    sheet = make_gallery.draw()
    row = make_gallery.ORDER.index("Posterize")
    cell = [box for box in sheet.cells if box[1] == sorted({top for _, top, _, _ in sheet.cells})[row]][9]
    shown = np.asarray(sheet.canvas.crop(cell))[:: make_gallery.SCALE, :: make_gallery.SCALE]
    np.testing.assert_array_equal(shown.transpose(2, 0, 1), OPERATIONS["Posterize"](images, 1)[0])
