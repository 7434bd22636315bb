"""Draw the patches of context prediction on drawn shapes, seen through a lens that enlarges green.

    python docs/make_context.py [--out docs/_static/context_patches.png]

The images are drawn by `minivit.data.shapes`, so the same picture comes out anywhere, but for its letters.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from minivit.augment import ContextPatches, PatchGrid, lens
from minivit.data import draw_shapes
from minivit.recipes.figures import style
from minivit.recipes.pretext.context_pictures import draw_sampler

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "_static" / "context_patches.png"
SHOWN = (160, 92, 155)  # numbers of the images
SIDE, ZOOM, SHIFT = 96, 1.15, 0.06


def draw(path: Path) -> Path:
    """Write the picture."""
    images, _ = draw_shapes(SHOWN)
    seen = lens(images, SIDE, (ZOOM, ZOOM * (1 + SHIFT), ZOOM), blur=0.6)
    sampler = ContextPatches((0.5,) * 3, (0.25,) * 3, seed=0, grid=PatchGrid.fit(SIDE), colors="project")
    drawing = style()
    assert drawing is not None, "the picture needs matplotlib"
    with drawing:
        return draw_sampler(sampler, seen, np.array(SHOWN), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    print(draw(parser.parse_args().out))


if __name__ == "__main__":
    main()
