"""The picture of context prediction's patches in the docs shows what the library does."""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
_specification = importlib.util.spec_from_file_location("make_context", ROOT / "docs" / "make_context.py")
make_context = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(make_context)


def test_the_committed_picture_is_up_to_date_but_for_its_letters(tmp_path: Path) -> None:
    drawn = make_context.draw(tmp_path / "patches.png")
    with Image.open(make_context.OUT) as committed, Image.open(drawn) as fresh:
        assert committed.size == fresh.size
        before, after = (np.asarray(picture.convert("RGB")).astype(int) for picture in (committed, fresh))
    # Letters move by a pixel from one version of matplotlib to the next; the patches are most of the picture.
    assert (np.abs(before - after).max(-1) > 8).mean() < 0.05
    assert make_context.OUT.stat().st_size < 400_000
