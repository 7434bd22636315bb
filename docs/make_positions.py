"""Draw what the four ways of resizing a position embedding make of the same grid.

    python docs/make_positions.py [--out docs/_static/positions.png]

A grid of 7 x 7 patches where one number of the embedding is 1 at three patches and 0 elsewhere shows each kernel
and what it does at the border; a wave shows how it follows what is smooth.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from minivit.files import written_whole
from minivit.models.positions import METHODS, resize_positions

ROOT = Path(__file__).resolve().parent.parent
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
SIDE, SIDES = 7, (12, 4)
CELL, GAP, MARGIN, LABELS = 132, 10, 16, 84
INK, QUIET = (31, 41, 51), (97, 110, 124)
RED, BLUE = np.array([178, 24, 43]), np.array([33, 102, 172])


def grids() -> dict[str, np.ndarray]:
    """What is resized: (SIDE, SIDE) each."""
    points = np.zeros((SIDE, SIDE))
    points[0, 0] = points[3, 3] = points[5, 6] = 1
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return {"points": points, "wave": np.cos(0.9 * rows + 0.3 * columns)}


def resized(grid: np.ndarray, side: int, method: str) -> np.ndarray:
    """A grid as one number of an embedding without a class token."""
    return resize_positions(grid.reshape(1, -1, 1), side, method, class_token=False).reshape(side, side)


def colored(values: np.ndarray) -> np.ndarray:
    """Values from -1 (blue) over 0 (white) to 1 (red): (H, W) to (H, W, 3) of uint8."""
    strength = np.clip(np.abs(values), 0, 1)[..., None]
    ends = np.where(values[..., None] > 0, RED, BLUE)
    return np.rint(255 + strength * (ends - 255)).astype(np.uint8)


class Sheet:
    """The picture.

    Attributes
    ----------
    canvas : PIL.Image.Image
    cells : dict of (grid, side, method) to (left, top)
        Where each resized grid is; the method of an original is "".
    """

    def __init__(self) -> None:
        columns = ["", *METHODS]
        rows = [(name, side) for name in grids() for side in SIDES]
        width = LABELS + len(columns) * (CELL + GAP) + MARGIN
        self.canvas = Image.new("RGB", (width, 50 + len(rows) * (CELL + GAP) + MARGIN), "white")
        self.pen = ImageDraw.Draw(self.canvas)
        self.cells: dict[tuple[str, int, str], tuple[int, int]] = {}
        for place, method in enumerate(columns):
            left = LABELS + place * (CELL + GAP)
            self._text(left + CELL // 2, 22, method or f"{SIDE} x {SIDE}", 14, INK)
        for row, (name, side) in enumerate(rows):
            top = 50 + row * (CELL + GAP)
            self._text(LABELS // 2, top + CELL // 2, f"to {side} x {side}", 12, QUIET)
            for place, method in enumerate(columns):
                grid = grids()[name] if not method else resized(grids()[name], side, method)
                self._put(colored(grid), (name, side, method), LABELS + place * (CELL + GAP), top)

    def _text(self, x: int, y: int, words: str, size: int, color: tuple[int, int, int]) -> None:
        font = ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)
        self.pen.text((x, y), words, color, font, "mm")

    def _put(self, pixels: np.ndarray, key: tuple[str, int, str], left: int, top: int) -> None:
        picture = Image.fromarray(pixels).resize((CELL, CELL), Image.Resampling.NEAREST)
        self.canvas.paste(picture, (left, top))
        self.pen.rectangle((left - 1, top - 1, left + CELL, top + CELL), outline=(210, 214, 220))
        self.cells[key] = (left, top)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "_static" / "positions.png")
    out = parser.parse_args().out
    file = io.BytesIO()
    Sheet().canvas.save(file, "PNG", optimize=True)
    with written_whole(out) as name:
        Path(name).write_bytes(file.getvalue())
    print(f"{out}: {len(file.getvalue()) // 1000} kB")


if __name__ == "__main__":
    main()
