"""Compare minivit with PyTorch, JAX, Keras and ONNX, to the last digits.

    python examples/compare_references.py

    python examples/compare_references.py --parts models weights --full --photos 100 --out compare_full.json

Every op, layer, loss and model: output and every gradient, in single and in double precision; DeiT-tiny's weights on
real photos; faults that are planted and found; two hundred steps of training. Prints the tables; --out writes them to a
file, from which docs/make_tables.py makes those of docs/compare.md, and --picture draws the training. It takes minutes
on a CPU, most of them for JAX's compiler; --full adds the forward of ViT-S to ViT-H and ResNet-50 at full size, which
needs many gigabytes of memory. `python -m minivit compare --trace` looks into one model, layer by layer.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import tyro

from minivit import data
from minivit.compare import Found, Parity, compare, find_faults, train_small
from minivit.compare.report import installed_versions
from minivit.compare.training_picture import draw_parity
from minivit.recipes.results import write_result

Part = Literal["ops", "layers", "losses", "models", "weights", "differences", "faults", "training"]
PARTS: tuple[Part, ...] = ("ops", "layers", "losses", "models", "weights", "differences", "faults", "training")
WITH_PYTORCH = ("faults", "training")
DTYPES: tuple[Literal["float32", "float64"], ...] = ("float32", "float64")


@dataclass
class Options:
    """Compare minivit with its references."""

    parts: tuple[Part, ...] = PARTS
    """What to compare."""
    references: tuple[Literal["PyTorch", "JAX", "Keras", "ONNX"], ...] = ()
    """With whom; by default with all that are installed."""
    full: bool = False
    """Also the forward of large models at full size."""
    dtypes: tuple[Literal["float32", "float64"], ...] = DTYPES
    """In which precision ops, layers, losses, models and published weights are compared."""
    photos: int = 8
    """On how many photos the logits of published weights are compared."""
    dataset: Literal["digits", "cifar10"] = "digits"
    """What is trained on: digits comes with minivit, cifar10 has to be on this machine."""
    out: Path | None = None
    """Write the result to this file."""
    picture: Path | None = None
    """Draw the losses of the training into this file."""


def main(options: Options) -> int:
    """Compare and report; the exit code is 1 if anything is further apart than allowed."""
    begun = time.monotonic()
    references = options.references or [name for name, version in installed_versions().items() if version]
    try:
        parts = [part for part in options.parts if part not in WITH_PYTORCH]
        report = compare(parts, references, options.full, options.photos, options.dtypes)
        if "training" in options.parts:
            data.load(options.dataset, download=False)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.text())
    found: list[Found] = []
    if "faults" in options.parts and "PyTorch" in references:
        print("\none fault planted at a time:")
        found = find_faults()
    for fault in found:
        print(f"  {fault.fault:14s}  planted in {fault.planted}, found in {fault.named}")
    trained: list[Parity] = []
    if "training" in options.parts and "PyTorch" in references:
        print("\n200 steps from the same weights on the same batches, minivit and PyTorch:")
        trained = train_small(options.dataset)
    for one in trained:
        print(
            f"  {one.recipe.optimizer:5s}  {one.dtype}  losses differ by {one.loss_error:.1e}, "
            f"weights by {one.weight_error:.1e} of their norm"
        )
    if options.out:
        payload = report.record() | {
            "faults": [asdict(fault) for fault in found],
            "training": [training_record(one) for one in trained],
            "trained_on": options.dataset,
            "full": options.full,
        }
        packages = ["torch", "jax", "jaxlib", "keras", "onnx", "onnxruntime"]
        seconds = time.monotonic() - begun
        write_result(options.out, payload, command=command(options), seed=0, wall_seconds=seconds, packages=packages)
        print(f"result: {options.out}")
    if options.picture and trained:
        print(f"picture: {draw_parity(trained, options.picture)}")
    return 0 if report.passed and all(one.passed for one in (*found, *trained)) else 1


def training_record(one: Parity) -> dict[str, Any]:
    """What a training leaves in the result."""
    return {
        "optimizer": one.recipe.optimizer,
        "dtype": one.dtype,
        "steps": one.recipe.steps,
        "first_loss": float(one.ours[0]),
        "last_loss": float(one.ours[-1]),
        "loss_error": one.loss_error,
        "weight_error": one.weight_error,
        "key_bias_error": max(one.key_biases.values()),
        "passed": one.passed,
    }


def command(options: Options) -> str:
    """The command line that compares the same."""
    usual = Options()
    arguments = ["python", "examples/compare_references.py"]
    for field in fields(options):
        value = getattr(options, field.name)
        if value == getattr(usual, field.name):
            continue
        arguments.append(f"--{field.name}")
        if not isinstance(value, bool):
            arguments += [str(item) for item in (value if isinstance(value, tuple) else (value,))]
    return shlex.join(arguments)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
