"""Write digits.npz from scikit-learn's copy of the UCI handwritten digits.

The file is part of the package; this is how it was made, and how to check it: ``python -m minivit.data.make_digits
FILE``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np

from minivit.data.split import stratified_split


def main(target: Path) -> None:
    """Write the images (values 0 to 16), labels and the stratified 60/20/20 split to `target`."""
    digits = importlib.import_module("sklearn.datasets").load_digits()
    labels = digits.target.astype(np.int64)
    part = np.zeros(len(labels), np.uint8)  # 0 train, 1 validation, 2 test
    for number, indices in enumerate(stratified_split(labels, [0.6, 0.2, 0.2], seed=0)):
        part[indices] = number
    np.savez_compressed(target, images=digits.images.astype(np.uint8), labels=labels.astype(np.uint8), part=part)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
