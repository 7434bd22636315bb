"""Draw the graph of the UDA loss: three passes through one Vision Transformer, and a stop-gradient between two of them.

    python docs/make_graph.py [--out docs/_static/uda_graph.svg] [--steps 150]

Trains on forty labelled handwritten digits for some seconds on a CPU, so that the model is sure of some of the others,
and then draws one step of consistency training as it really ran: every box, byte and gradient is measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import minivit as mv
from minivit.augment.randaugment import randaugment
from minivit.data import Dataset, load_digits
from minivit.recipes.uda import uda_loss

ROOT = Path(__file__).resolve().parent.parent
LABELLED, UNLABELLED = 8, 24  # images of the step that is drawn


def few_labels(data: Dataset, per_class: int = 4) -> np.ndarray:
    """Positions of the first images of each class, all classes in turn."""
    return np.array([np.flatnonzero(data.labels == k)[n] for n in range(per_class) for k in range(len(data.classes))])


def normalized(data: Dataset, images: np.ndarray, blank: np.ndarray | None = None) -> mv.Tensor:
    """uint8 (B, C, H, W) to float32 of mean 0 and standard deviation 1; what is blank becomes the mean."""
    mean = np.array(data.mean, np.float32)[:, None, None]
    values = (images.astype(np.float32) / 255 - mean) / np.array(data.std, np.float32)[:, None, None]
    return mv.tensor(values if blank is None else np.where(blank, np.float32(0), values))


def train(model: mv.nn.Module, data: Dataset, chosen: np.ndarray, steps: int) -> None:
    """AdamW on the labelled images alone."""
    optimizer = mv.optim.AdamW(model, learning_rate=2e-3, weight_decay=0.05)
    images, labels = normalized(data, data.images[chosen]), data.labels[chosen]
    for _ in range(steps):
        optimizer.zero_grad()
        mv.ops.cross_entropy(model(images), labels).backward()
        optimizer.step()


def graph(steps: int) -> mv.inspect.Graph:
    """Train, then run one step of UDA and draw it."""
    data = load_digits().train
    chosen = few_labels(data)
    model = mv.models.create(
        "vit_tiny_cifar", image_size=8, channels=1, patch_size=2, dim=48, depth=4, heads=4, mlp_dim=96, gelu="tanh"
    )
    train(model, data, chosen, steps)
    others = np.setdiff1d(np.arange(len(data)), chosen)[:UNLABELLED]
    clean = data.images[others]
    augmented_images, blank = randaugment("uda", seed=0, image_size=8)(clean, 0, others)
    labels = data.labels[chosen[:LABELLED]]

    def uda(labelled: mv.Tensor, original: mv.Tensor, augmented: mv.Tensor) -> mv.Tensor:
        with mv.no_grad():
            target = model(original)
        loss, _ = uda_loss(model(labelled), labels, target, model(augmented))
        return loss

    return mv.inspect.draw_graph(
        uda,
        normalized(data, data.images[chosen[:LABELLED]]),
        normalized(data, clean),
        normalized(data, augmented_images, blank),
        title="The loss of UDA and where its gradient goes",
    )


def main(arguments: list[str] | None = None) -> int:
    """Train, run, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "_static" / "uda_graph.svg", help="file to write")
    parser.add_argument("--steps", type=int, default=150, help="training steps before the one that is drawn")
    options = parser.parse_args(arguments)
    print(graph(options.steps).save(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
