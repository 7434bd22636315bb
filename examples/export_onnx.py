"""Write a model as an ONNX file, and check that others compute the same from it.

python examples/export_onnx.py --weights runs/cifar10-0 --check             (a model that train_cifar.py trained)

python examples/export_onnx.py --weights deit_tiny_patch16_224.npz --check  (weights of timm; also Google's, ...)

python examples/export_onnx.py --model vit_tiny_patch16_224                 (from random weights, to look at)

A viewer such as Netron shows the file as a chain of blocks, and inside a block its attention and perceptron: each kind
of block is one function. --check runs it in onnxruntime and in ONNX's own evaluator, which is written in NumPy, and
prints how far their logits are from minivit's. Writing needs the package onnx, checking onnxruntime too:
pip install onnx onnxruntime.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from minivit import interop, models
from minivit.compare.modules import by_minivit, randomise
from minivit.compare.onnx_rows import EVALUATORS, by_onnx, installed
from minivit.nn import Module

TOLERANCE = 1e-4
"""Largest difference allowed, as a share of the largest logit."""


@dataclass
class Options:
    """Export a model to ONNX."""

    weights: Path | None = None
    """A checkpoint, the folder of a run, or weights of timm, DeiT, Google, Hugging Face or torchvision."""
    model: str | None = None
    """Name of the model, for weights that do not tell it themselves, or to export random ones (see
    minivit.models.list())."""
    out: Path | None = None
    """The file to write, ending in .onnx; by default beside the weights, or runs/NAME.onnx."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel that images are normalised with, for the metadata; by default what the weights say."""
    std: tuple[float, ...] | None = None
    """Standard deviation of each channel."""
    check: bool = False
    """Run the file on random images and compare its logits with minivit's."""
    batch_sizes: tuple[int, ...] = (1, 3)
    """How many images are checked at once."""
    seed: int = 0
    """Of random weights and images."""


def main(options: Options) -> int:
    """Export; the exit code is 1 if anything went wrong or the logits differ."""
    try:
        if options.check and not installed():
            raise ImportError("--check needs onnx and onnxruntime: pip install onnx onnxruntime")
        if not options.batch_sizes or min(options.batch_sizes) < 1:
            raise ValueError(f"--batch-sizes are numbers of images, at least 1; got {options.batch_sizes}")
        model, metadata, out = load(options)
        metadata |= {name: given for name in ("mean", "std") if (given := getattr(options, name)) is not None}
        interop.export_onnx(model, out, metadata)
        known = ", ".join(["model", *metadata])
        print(f"{out}: {type(model).__name__}, {model.count_parameters():,} parameters; metadata: {known}")
        return 0 if not options.check or check(model, out, options.batch_sizes, options.seed) else 1
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def load(options: Options) -> tuple[Module, dict[str, Any], Path]:
    """The model, what is known about it, and the file to write."""
    if options.weights is None:
        if options.model is None:
            raise ValueError("nothing to export: give --weights FILE, or --model NAME for random weights")
        model = randomise(
            models.create(options.model, seed=options.seed), options.seed
        )  # no zero head: it would hide all
        return model.eval(), {}, options.out or Path("runs") / f"{options.model}.onnx"
    weights = find_weights(options.weights)
    if options.model is None:
        model, metadata = interop.load_model(weights)
    else:
        model, metadata = interop.load(options.model, weights), interop.read_metadata(weights)
    return model.astype(np.float32).eval(), metadata, options.out or weights.with_suffix(".onnx")


def find_weights(given: Path) -> Path:
    """The file as given, or the newest checkpoint in the folder of a run."""
    if not given.is_dir():
        return given
    inside = sorted(given.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
    if not inside:
        raise ValueError(f"{given}: no checkpoint (*.safetensors) in this folder")
    return inside[-1]


def check(model: Any, path: Path, batch_sizes: tuple[int, ...], seed: int) -> bool:
    """Run the file as it was written; whether every evaluator agrees with minivit."""
    agree = True
    for evaluator in EVALUATORS:
        differences = []
        for size in batch_sizes:
            images = np.random.default_rng(seed).standard_normal((size, *model.input_size)).astype(np.float32)
            ours, _ = by_minivit(model, images)
            differences.append(np.abs(by_onnx(path, images, evaluator) - ours).max())
            agree = agree and bool(differences[-1] <= TOLERANCE * np.abs(ours).max())
        sizes = ", ".join(map(str, batch_sizes))
        print(f"{evaluator}: largest difference {np.max(differences):.1e}, in batches of {sizes}")
    print("all agree" if agree else f"FAILED: more than {TOLERANCE:.0e} of the largest logit")
    return agree


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
