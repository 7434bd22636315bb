"""Files with the names that torchvision and timm give to ResNets, and kekmodel/FixMatch-pytorch to WideResNets.

minivit's models use the same names. The files hold weights only; their shapes say all that the weights depend on, but
not the epsilon and the momentum of the batch norms, which are taken to be the usual ones.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from minivit.interop.contents import Contents, WeightsFile
from minivit.interop.flavour import CONVENTION, SHAPES, described

STEMS = {7: "imagenet", 3: "cifar"}  # by the side of the first kernel
COUNTER = "num_batches_tracked"  # how many batches the running statistics have seen: older files lack it


def recognises(file: WeightsFile) -> bool:
    """Whether the names are those of a ResNet or of a WideResNet."""
    return "layer1.0.conv1.weight" in file.arrays or "block1.layer.0.conv1.weight" in file.arrays


def read(file: WeightsFile) -> Contents:
    """The weights, and the model that has their shapes (no settings if they are of no model that there is)."""
    arrays = dict(file.arrays)
    for name in file.arrays:
        prefix, _, last = name.rpartition(".")
        if last == "running_mean":
            arrays.setdefault(f"{prefix}.{COUNTER}", np.zeros((), np.int64))
    wide = "layer1.0.conv1.weight" not in arrays
    facts = {"bn_eps": (1e-5, CONVENTION), "head": (f"{_classes(arrays)} classes", SHAPES)}
    metadata = described("timm", facts)
    if wide:
        return Contents(arrays, "WideResNet", _wide_resnet(arrays), metadata=metadata)
    return Contents(arrays, "ResNet", _resnet(arrays), metadata=metadata)


def _resnet(arrays: dict[str, np.ndarray]) -> dict[str, Any] | None:
    stem = arrays.get("conv1.weight")
    if stem is None or stem.ndim != 4 or stem.shape[2] not in STEMS:
        return None
    layers: list[int] = []
    while count := _count(arrays, rf"layer{len(layers) + 1}\.(\d+)\."):
        layers.append(count)
    return {
        "layers": tuple(layers),
        "block": "bottleneck" if "layer1.0.conv3.weight" in arrays else "basic",
        "width": stem.shape[0],
        "num_classes": _classes(arrays),
        "channels": stem.shape[1],
        "stem": STEMS[stem.shape[2]],
    }


def _wide_resnet(arrays: dict[str, np.ndarray]) -> dict[str, Any] | None:
    stem, first = arrays.get("conv1.weight"), arrays["block1.layer.0.conv1.weight"]
    if stem is None or stem.ndim != 4 or first.ndim != 4:
        return None
    return {
        "depth": 6 * _count(arrays, r"block1\.layer\.(\d+)\.") + 4,
        "widen": first.shape[0] // 16,
        "num_classes": _classes(arrays),
        "channels": stem.shape[1],
    }


def _count(arrays: dict[str, np.ndarray], pattern: str) -> int:
    return len({match[1] for name in arrays if (match := re.match(pattern, name))})


def _classes(arrays: dict[str, np.ndarray]) -> int:
    head = arrays.get("fc.weight")
    return int(head.shape[0]) if head is not None and head.ndim == 2 else 0
