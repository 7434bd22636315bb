"""``python -m minivit compare``: the tables, a trace through one model, or a planted fault that the trace finds."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

PARTS = ("ops", "layers", "losses", "models", "weights", "differences", "training")


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--references", nargs="+", metavar="NAME", help="PyTorch, JAX, Keras; by default the installed")
    parser.add_argument("--full", action="store_true", help="also the forward of large models at full size: minutes")
    parser.add_argument("--photos", type=int, default=8, help="on how many photos DeiT's logits are compared")
    parser.add_argument("--trace", action="store_true", help="follow one model and its twin in PyTorch block by block")
    parser.add_argument("--everything", action="store_true", help="with --trace: every module, not the blocks alone")
    parser.add_argument(
        "--perturb", metavar="FAULT", help="plant a fault (tanh_gelu, wrong_eps, post_ln, ...) and find it by a trace"
    )
    parser.add_argument("--block", type=int, help="where the fault is planted; by default in a random block")
    parser.add_argument("--model", help="of the trace: a name, by default a Vision Transformer of 6 narrow blocks")
    parser.add_argument("--weights", help="of the trace: a file that minivit.interop reads")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64", help="of the trace")
    parser.add_argument("--seed", type=int, default=0, help="of the trace's weights, input and random block")


def run_compare(options: argparse.Namespace) -> int:
    """Compare; 0 if all agrees (or the planted fault is found), 1 otherwise."""
    try:
        return _trace(options) if options.trace or options.perturb else _tables(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _tables(options: argparse.Namespace) -> int:
    from minivit.compare import compare

    for name in ("everything", "block", "model", "weights"):
        if getattr(options, name) not in (None, False):
            raise ValueError(f"--{name} goes with --trace or --perturb")
    parts = options.parts or PARTS
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ValueError(f"there is no {', '.join(unknown)} to compare; there is {', '.join(PARTS)}")
    tables = [part for part in parts if part != "training"]
    passed = True
    if tables:
        report = compare(tables, options.references, options.full, options.photos)
        print(report.text())
        passed = report.passed
    if "training" in parts:
        passed = _training(options) and passed
    return 0 if passed else 1


def _training(options: argparse.Namespace) -> bool:
    from minivit.compare import train_small
    from minivit.compare.report import installed_versions

    chosen = options.references is None or "PyTorch" in options.references
    if not chosen or not installed_versions()["PyTorch"]:
        print("\nskipped: training (PyTorch): not installed or not asked for")
        return True
    print("\n200 steps from the same weights on the same batches, minivit and PyTorch:")
    found = train_small()
    for one in found:
        print(
            f"  {one.recipe.optimizer:5s}  {one.dtype}  losses differ by {one.loss_error:.1e}, "
            f"weights by {one.weight_error:.1e} of their norm  {'ok' if one.passed else 'FAILED'}"
        )
    return all(one.passed for one in found)


def _trace(options: argparse.Namespace) -> int:
    from minivit.compare import plant, trace
    from minivit.compare.trace_table import show

    if options.parts or options.full:
        raise ValueError("--trace and --perturb look at one model; leave out the parts and --full")
    model, reference = _model(options), _model(options)
    guilty = None
    if options.perturb:
        if not hasattr(model, "blocks"):
            raise ValueError(f"faults are planted in Vision Transformers, not in a {type(model).__name__}")
        random = int(np.random.default_rng(options.seed).integers(len(model.blocks)))
        guilty = plant(model, options.perturb, random if options.block is None else options.block)
        print(f"planted {options.perturb} in {guilty}\n")
    shape = (2, *model.input_size)
    inputs = np.random.default_rng(options.seed).standard_normal(shape).astype(options.dtype)
    found = trace(model, inputs, reference, options.seed)
    print(show(found, options.everything))
    named = found.guilty.name if found.guilty is not None else None
    return 0 if named == guilty else 1


def _model(options: argparse.Namespace) -> Any:
    from minivit import interop, models
    from minivit.compare.fault_rows import small_model
    from minivit.compare.modules import randomise

    if options.weights:
        named = options.model is None
        loaded = interop.load_model(options.weights)[0] if named else interop.load(options.model, options.weights)
        return loaded.astype(options.dtype).eval()
    if not options.model:
        return small_model(options.seed).astype(options.dtype)
    return randomise(models.create(options.model, seed=options.seed), options.seed).astype(options.dtype).eval()
