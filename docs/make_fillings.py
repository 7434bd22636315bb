"""Draw what inpainting runs make of the same held-out images.

    python docs/make_fillings.py "patches=runs/a" "centre=runs/b" [--out docs/_static/inpainting.png]

Each run is the folder of an `examples/pretrain.py --task inpainting`; before it stands what is written beside its rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from minivit.recipes.figures import style
from minivit.recipes.pretext.inpainting_pictures import draw_runs

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "_static" / "inpainting.png")
    options = parser.parse_args()
    runs = {name: Path(folder) for name, _, folder in (run.partition("=") for run in options.runs)}
    drawing = style()
    if drawing is None:
        raise SystemExit("drawing needs matplotlib: pip install matplotlib")
    with drawing:
        print(draw_runs(runs, options.out))


if __name__ == "__main__":
    main()
