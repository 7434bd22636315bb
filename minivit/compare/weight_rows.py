"""Published weights on real photos: DeiT-tiny's logits against PyTorch and JAX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minivit import augment, data, interop
from minivit.compare.modules import COMPUTED_BY, by_minivit
from minivit.compare.rows import DTYPES, Row, Skip, row
from minivit.data.image_folder import SUFFIXES
from minivit.data.preprocess import STATISTICS

DEIT = Path("weights") / "deit_tiny_patch16_224.npz"
PHOTOS = Path("imagenet-samples")
ABSOLUTE = {"float32": 1e-4}  # of a logit
RELATIVE = {"float64": 1e-10}


def weight_rows(
    references: Sequence[str], dtypes: Iterable[str] = DTYPES, photos: int = 8
) -> tuple[list[Row], list[Skip]]:
    """A row for every reference and dtype; or a skip, where weights or photos are not on this machine.

    Parameters
    ----------
    references : sequence of {"PyTorch", "JAX"}
    dtypes : iterable of {"float32", "float64"}
    photos : int
        How many; the first ones by name.
    """
    folders = data.search_folders()
    weights = next((folder / DEIT for folder in folders if (folder / DEIT).is_file()), None)
    images = next((folder / PHOTOS for folder in folders if (folder / PHOTOS).is_dir()), None)
    if weights is None or images is None:
        missing = " and ".join(str(path) for path, found in ((DEIT, weights), (PHOTOS, images)) if found is None)
        return [], [Skip("DeiT-tiny on photos", "all", f"{missing} not found in any folder of data (MINIVIT_DATA)")]
    model, _ = interop.load_model(weights)
    paths = sorted(path for path in images.iterdir() if path.suffix.lower() in SUFFIXES)[:photos]
    pixels = read(paths)
    rows = []
    for dtype in dtypes:
        model.astype(dtype)
        x = pixels.astype(dtype)
        ours = by_minivit(model, x)
        for reference in references:
            theirs = COMPUTED_BY[reference](model, x)
            same = int(np.sum(np.argmax(ours[0], 1) == np.argmax(theirs[0], 1)))
            note = f"{len(paths)} photos, the same class first on {same}"
            tolerance, absolute = ABSOLUTE.get(dtype, RELATIVE.get(dtype, 0.0)), dtype in ABSOLUTE
            options: dict[str, Any] = {"absolute": absolute, "note": note}
            rows.append(row("weights", "deit_tiny_patch16_224", reference, ours, theirs, tolerance, **options))
    return rows, []


def read(paths: Sequence[Path]) -> np.ndarray:
    """Photos as DeiT is evaluated on them: (B, 3, 224, 224), float32, normalised."""
    preprocessing = data.Preprocessing("timm", 0.9)
    images = np.stack([preprocessing.read(path, 224, 3) for path in paths])
    return np.asarray(augment.normalize(images, *STATISTICS["imagenet"]))
