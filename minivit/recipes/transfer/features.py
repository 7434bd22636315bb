"""The features of a data set: what a model without its head makes of each image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minivit.backend import Array
from minivit.backend.cpu.threads import Workers
from minivit.data import Dataset
from minivit.data.labels import fingerprint
from minivit.interop.npz_file import read_npz, write_npz
from minivit.nn import Module
from minivit.recipes.evaluation import logits_of_inputs

BLOCK = 500  # images whose features are kept in one file


def features_of(
    encoder: Module, dataset: Dataset, prepare: Callable[[Array], Array], workers: Workers, part: int = 32
) -> np.ndarray:
    """The features of every image, in order.

    Parameters
    ----------
    encoder : Module
        Images (B, C, H, W) -> features (B, D): a model with ``num_classes=0``. It runs in evaluation mode, without a
        graph, and is left as it was.
    dataset : Dataset
    prepare : callable
        From bytes (B, C, H, W) to what the encoder takes, on its device.
    workers : Workers
    part : int
        Images in one forward.

    Returns
    -------
    ndarray (N, D)
    """
    return logits_of_inputs(encoder, dataset.images, workers, part, prepare)


class FeatureCache:
    """Features that are computed once, block by block, and kept in a folder: a program that was stopped goes on.

    Parameters
    ----------
    folder : Path
    made_by : mapping
        JSON-able: all that the features depend on beside the images, such as the weights' hash and the image size.
        Files of other features may lie in the same folder.

    Attributes
    ----------
    found : int
        Images whose features were there already.
    """

    def __init__(self, folder: Path, made_by: Mapping[str, Any]) -> None:
        self.folder, self.found = folder, 0
        self.made_by = json.dumps(made_by, sort_keys=True)

    def get(
        self, dataset: Dataset, compute: Callable[[Dataset], np.ndarray], report: Callable[[int], None]
    ) -> np.ndarray:
        """The features of a data set.

        Parameters
        ----------
        dataset : Dataset
        compute : callable
            Dataset -> features (N, D).
        report : callable
            Told after each block how many images are done.
        """
        blocks = []
        for start in range(0, len(dataset), BLOCK):
            part = dataset.subset(np.arange(start, min(start + BLOCK, len(dataset))))
            key = hashlib.sha256((self.made_by + fingerprint(part)).encode()).hexdigest()
            path = self.folder / f"{key[:32]}.npz"
            if path.exists():
                block = read_npz(path)[0]["features"]
                self.found += len(block)
            else:
                block = compute(part)
                write_npz(path, {"features": block})
            blocks.append(block)
            report(start + len(part))
        return np.concatenate(blocks)
