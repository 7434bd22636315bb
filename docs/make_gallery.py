"""Draw the gallery of RandAugment: every operation at every level, and what each style makes of images.

    python docs/make_gallery.py [--out docs/_static/randaugment.png]

The images are drawn by `minivit.data.shapes`, so the same picture comes out anywhere.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from minivit import augment
from minivit.data import draw_shapes, load_shapes
from minivit.files import written_whole

ROOT = Path(__file__).resolve().parent.parent
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
SCALE, GAP = 2, 6
CELL = 32 * SCALE
LABELS, MARGIN = 184, 16
INK, QUIET = (31, 41, 51), (97, 110, 124)
LEVELS = range(1, 10)
OPERATIONS_SHOWN = 129  # number of the image that the operations are shown on
SAMPLES = (160, 151, 92, 33, 94, 155, 26, 117, 28, 159)  # of those that the styles are shown on: one of each class
ORDER = (
    "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Cutout", "Invert", "Solarize", "Posterize",
    "AutoContrast", "Equalize", "Contrast", "Brightness", "Color", "Sharpness",
)  # fmt: skip
UNITS = {"TranslateX": "pixels", "TranslateY": "pixels", "Rotate": "degrees", "Cutout": "pixels", "Posterize": "bits"}


def applied(image: np.ndarray, name: str, value: float, mean: np.ndarray) -> np.ndarray:
    """An operation of UDA on one image: what it leaves blank in the mean colour."""
    images = np.stack([image, np.ones_like(image)])  # an image of ones goes along: where it becomes 0, all is blank
    colors = augment.OPERATIONS[name](images[:1], value)[0]
    if name not in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Cutout"):
        return colors
    blank = augment.OPERATIONS[name](images[1:], value)[0] == 0
    return np.where(blank, mean[:, None, None], colors).astype(np.uint8)


def label(values: np.ndarray, name: str) -> str:
    """The range of an operation's values."""
    first, last = values[0], values[-1]
    if (values == 0).all():
        return "the same at every level"
    sign = "±" if first[0] != first[1] else ""
    numbers = [f"{sign}{value[0]:.3g}" for value in (first, last)]
    return f"{numbers[0]} to {numbers[1]} {UNITS.get(name, '')}".strip()


class Sheet:
    """A canvas of rows of images with a label each.

    Attributes
    ----------
    canvas : PIL.Image.Image
    y : int
        Where the next row goes.
    cells : list of (left, top, right, bottom)
        Where the images are.
    """

    def __init__(self, height: int) -> None:
        self.canvas = Image.new("RGB", (LABELS + (len(LEVELS) + 1) * (CELL + GAP) + MARGIN, height), "white")
        self.pen = ImageDraw.Draw(self.canvas)
        self.y = MARGIN
        self.cells: list[tuple[int, int, int, int]] = []

    def text(self, x: int, y: int, words: str, size: int, color: tuple[int, int, int], anchor: str = "la") -> None:
        """Write words at a place."""
        font = ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)
        self.pen.text((x, y), words, color, font, anchor)

    def title(self, words: str, columns: list[str]) -> None:
        """Write a heading, and one above each column."""
        self.text(MARGIN, self.y, words, 17, INK)
        self.y += 30
        for k, column in enumerate(columns):
            self.text(LABELS + k * (CELL + GAP) + CELL // 2, self.y, column, 12, QUIET, "ma")
        self.y += 20 if columns else 0

    def row(self, images: list[np.ndarray], name: str, note: str) -> None:
        """Put up images side by side, labelled with a name and a note below it."""
        self.text(MARGIN, self.y + CELL // 2 - 4, name, 14, INK, "ls")
        self.text(MARGIN, self.y + CELL // 2 + 14, note, 11, QUIET, "ls")
        for k, image in enumerate(images):
            picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
            picture = picture.resize((CELL, CELL), Image.Resampling.NEAREST)
            left = LABELS + k * (CELL + GAP)
            self.canvas.paste(picture, (left, self.y))
            self.cells.append((left, self.y, left + CELL, self.y + CELL))
        self.y += CELL + GAP


def draw() -> Sheet:
    """The gallery."""
    splits = load_shapes(train=1000, validation=10, test=10)
    mean = np.rint(255 * np.array(splits.train.mean))
    (image, *_), _ = draw_shapes([OPERATIONS_SHOWN])
    values = augment.randaugment("uda", seed=0).dialect.values
    sheet = Sheet(2000)
    sheet.title("The operations, by level in the style of UDA", ["original", *map(str, LEVELS)])
    for name in ORDER:
        different = values[name][:, 0] if values[name].any() else [0.0]
        row = [applied(image, name, value, mean) for value in different]
        sheet.row([image, *row], name, label(values[name], name))
    sheet.y += 18
    sheet.title("What each style makes of ten images", [])
    images, _ = draw_shapes(SAMPLES)
    sheet.row(list(images), "original", "")
    for style, note in (
        ("uda", "Q. Xie et al. 2020"),
        ("torchvision", "magnitude 9 of 30"),
        ("timm", "rand-m9-mstd0.5-inc1"),
        ("fixmatch", "K. Sohn et al. 2020"),
    ):
        found, blank = augment.randaugment(style, seed=0)(images, 0, np.array(SAMPLES))
        if blank is not None:
            found = np.where(blank, mean[:, None, None], found).astype(np.uint8)
        sheet.row(list(found), style, note)
    sheet.canvas = sheet.canvas.crop((0, 0, sheet.canvas.width, sheet.y + MARGIN - GAP))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "_static" / "randaugment.png")
    out = parser.parse_args().out
    file = io.BytesIO()
    draw().canvas.save(file, "PNG", optimize=True)
    with written_whole(out) as name:
        Path(name).write_bytes(file.getvalue())
    print(f"{out}: {len(file.getvalue()) // 1000} kB")


if __name__ == "__main__":
    main()
