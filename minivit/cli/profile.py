"""``python -m minivit profile``: where the time of a training step goes, by op and by layer."""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from minivit.inspect import LayerTime, OpTime, Profiler
    from minivit.nn import Module
    from minivit.recipes.config import TrainConfig

TEXTS = "text_"  # before the name of a corpus: text_imdb


class Measured(NamedTuple):
    """What `measure` found.

    Attributes
    ----------
    profiler : Profiler
        Of the profiled step of median time.
    plain_seconds : float
        Median time of the same steps without a profiler.
    peak : float
        FLOP in a second of one large matrix product, see `minivit.inspect.matrix_product_speed`.
    """

    profiler: Profiler
    plain_seconds: float
    peak: float


def add_profile_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--model", default="vit_tiny_cifar", help="a name, or text_docstrings, text_imdb (default vit_tiny_cifar)"
    )
    parser.add_argument("--batch", type=int, default=32, help="images or texts in a step (default 32)")
    parser.add_argument("--micro-batch", type=int, help="of them at once; as in training by default")
    parser.add_argument("--image-size", type=int, help="side of the images in pixels")
    parser.add_argument("--checkpoint-blocks", action="store_true", help="keep only the input of each block")
    parser.add_argument("--forward-only", action="store_true", help="a forward without gradients, not a training step")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of BLAS; the step itself runs in one thread, as does the share of each worker in training (default 1)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bf16"),
        default="float32",
        help="bf16 multiplies in bfloat16, on processors that can (extra bf16)",
    )
    parser.add_argument("--steps", type=int, default=5, help="the one of median time is shown (default 5)")
    parser.add_argument("--by", choices=("op", "layer"), help="only this table; both by default")
    parser.add_argument("--depth", type=int, help="levels of the model that are told apart; 1 is the blocks")
    parser.add_argument("--expand", action="store_true", help="show the layers of each block, not of all together")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it, layers expanded, to a file")


def run_profile(options: argparse.Namespace) -> int:
    """Profile a step and print the tables; 0 if all went well."""
    from minivit.backend.cpu.threads import blas_threads
    from minivit.inspect import layer_table, layer_times, op_table
    from minivit.recipes.results import write_result
    from minivit.recipes.step import training_precision

    begun = time.perf_counter()
    try:
        for name in ("batch", "threads", "steps", "micro_batch", "depth"):
            if (value := getattr(options, name)) is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} has to be at least 1, got {value}")
        model, config, step = make_step(options)
        with blas_threads(options.threads), training_precision(config):
            measured = measure(step, options.steps, model.device)
        profiler = measured.profiler
        total = profiler.seconds - profiler.own
        parts = []
        if options.by != "layer":
            parts.append(op_table(profiler))
        if options.by != "op":
            parts.append(layer_table(layer_times(profiler, model, options.depth, not options.expand), total))
        parts.append(products_text(measured))
        if options.json is not None:
            command = shlex.join(["python", "-m", "minivit", *sys.argv[1:]])
            seconds = time.perf_counter() - begun
            payload = {**settings(options), **to_dict(measured, layer_times(profiler, model, options.depth))}
            write_result(options.json, payload, command=command, seed=0, wall_seconds=seconds, device=model.device)
    except (ValueError, OSError, RuntimeError, ImportError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n\n".join(parts))
    return 0


def make_step(options: argparse.Namespace) -> tuple[Module, TrainConfig, Callable[[], Any]]:
    """The model, how it is trained, and what makes one step on random inputs, which returns when the device is done."""
    from minivit import augment
    from minivit.autograd import Tensor, no_grad
    from minivit.backend import backend_for_device, to_host
    from minivit.backend.cpu.threads import Workers
    from minivit.recipes.config import TrainConfig
    from minivit.recipes.micro_batch import with_micro_batch
    from minivit.recipes.parallel import split
    from minivit.recipes.presets import preset_settings
    from minivit.recipes.supervised import PreparedBatch, SupervisedStep

    backend = backend_for_device(options.device)
    model, inputs = _model_and_inputs(options)
    model.to(options.device)
    classes = model.config["num_classes"]  # type: ignore[attr-defined]
    labels = np.random.default_rng(0).integers(0, classes, options.batch)
    index = np.arange(options.batch)
    inputs, labels, index = (backend.from_host(array, model.device) for array in (inputs, labels, index))
    config = TrainConfig(
        batch_size=options.batch,
        micro_batch=options.micro_batch,
        optimizer="adamw",
        learning_rate=1e-4,
        device=options.device,
        precision=options.precision,
    ).filled(preset_settings("cifar10"))
    config = with_micro_batch(config, model, tuple(inputs.shape[1:]) if inputs.dtype.kind == "f" else None)
    options.micro_batch = config.micro_batch  # as it is told in the result
    if options.forward_only:
        model.eval()
        parts = split(options.batch, config.micro_batch or 1, 1)[0]

        def forward() -> None:
            with no_grad():
                logits = [model(Tensor(inputs[part])) for part in parts]
            to_host(logits[-1].data)

        return model, config, forward
    model.train()
    augmentation = augment.TrainAugmentation((0.5,) * 3, (0.5,) * 3, seed=0)  # the batch is ready: it has no work
    step = SupervisedStep(model, config, 10**9, Workers(1), augmentation, classes)
    batch = PreparedBatch(inputs, labels, labels, index, step=10**8)
    return model, config, lambda: step(batch).is_finite()


def _model_and_inputs(options: argparse.Namespace) -> tuple[Module, np.ndarray]:
    from minivit import models
    from minivit.data.text import PADDING
    from minivit.recipes import text_presets

    generator = np.random.default_rng(0)
    name: str = options.model
    overrides: dict[str, Any] = {"checkpoint_blocks": True} if options.checkpoint_blocks else {}
    if name.startswith(TEXTS):
        corpus = name.removeprefix(TEXTS)
        if corpus not in text_presets.PRESETS:
            known = ", ".join(TEXTS + known for known in text_presets.PRESETS)
            raise ValueError(f"unknown model {name!r}; the models for texts are {known}")
        if overrides or options.image_size:
            raise ValueError(f"{name} reads texts; leave out --image-size and --checkpoint-blocks")
        preset = text_presets.text_preset(corpus)
        words, length = preset["vocabulary"], preset["length"]
        model: Module = text_presets.build_text_model(
            corpus, vocabulary_size=words, max_length=length, num_classes=2, seed=0, dropout=0.0, drop_path=0.0
        )
        return model, generator.integers(PADDING + 1, words, (options.batch, length))
    side = options.image_size
    if side is not None and side < 1:
        raise ValueError(f"--image-size has to be at least 1, got {side}")
    if side is not None and "image_size" in models.settings(models.find(name).family):
        overrides["image_size"] = side
    model = models.create(name, **overrides)
    channels, height, width = model.input_size  # type: ignore[attr-defined]
    shape = (options.batch, channels, side or height, side or width)
    return model, generator.standard_normal(shape, np.float32)


def measure(step: Callable[[], Any], steps: int, device: str = "cpu") -> Measured:
    """Steps with and without a profiler in turn, after two to warm up."""
    from minivit.inspect import matrix_product_speed, profile

    step()
    step()
    peak = matrix_product_speed(device)
    profiled, plain = [], []
    for _ in range(steps):
        begun = time.perf_counter()
        step()
        plain.append(time.perf_counter() - begun)
        with profile() as profiler:
            step()
        profiled.append(profiler)
    profiled.sort(key=lambda profiler: profiler.seconds)
    peak = max(peak, matrix_product_speed(device))
    return Measured(profiled[(steps - 1) // 2], statistics.median(plain), peak)


def products(measured: Measured) -> dict[str, float]:
    """The matrix products of a step against the machine's peak.

    Returns
    -------
    dict
        ``gflop`` of a step; ``seconds`` of the ops that are products or contain some; ``gflops`` a second that these
        reach; ``peak_gflops``; ``share_of_peak``; ``seconds_at_peak``; ``share_of_step_at_peak``: the share of the step
        that the products would take at the peak.
    """
    profiler, peak = measured.profiler, measured.peak
    ops = profiler.total
    flop, seconds = 2 * ops.multiply_adds, ops.product_seconds
    speed = flop / seconds if seconds else 0.0
    return {
        "gflop": 1e-9 * flop,
        "seconds": seconds,
        "gflops": 1e-9 * speed,
        "peak_gflops": 1e-9 * peak,
        "share_of_peak": speed / peak,
        "seconds_at_peak": flop / peak,
        "share_of_step_at_peak": flop / peak / (profiler.seconds - profiler.own),
    }


def products_text(measured: Measured) -> str:
    """The last lines: products and peak, and what the profiler took."""
    found, profiler = products(measured), measured.profiler
    total = profiler.seconds - profiler.own
    return (
        f"Matrix products: {found['gflop']:.3f} GFLOP in ops that take {1e3 * found['seconds']:.1f} ms, "
        f"{found['gflops']:.1f} GFLOP/s.\n"
        f"One large product reaches {found['peak_gflops']:.1f} GFLOP/s here: these ops reach "
        f"{found['share_of_peak']:.0%} of that;\n"
        f"at that speed they would take {1e3 * found['seconds_at_peak']:.1f} ms, "
        f"{found['share_of_step_at_peak']:.0%} of the step.\n"
        f"A step without the profiler takes {1e3 * measured.plain_seconds:.1f} ms; this one took {1e3 * total:.1f} ms "
        f"and the profiler {1e3 * profiler.own:.1f} ms."
    )


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What was profiled."""
    names = ("model", "batch", "micro_batch", "image_size", "checkpoint_blocks", "forward_only", "threads", "steps")
    return {name: getattr(options, name) for name in (*names, "precision")}


def to_dict(measured: Measured, layers: list[LayerTime]) -> dict[str, Any]:
    """Everything as numbers: milliseconds, bytes, GFLOP."""
    profiler = measured.profiler

    def numbers(entry: OpTime) -> dict[str, float]:
        return {
            "calls": entry.calls,
            "ms": 1e3 * entry.seconds,
            "bytes": entry.bytes,
            "gflop": 2e-9 * entry.multiply_adds,
            "product_ms": 1e3 * entry.product_seconds,
        }

    return {
        "ms": 1e3 * (profiler.seconds - profiler.own),
        "plain_ms": 1e3 * measured.plain_seconds,
        "profiler_ms": 1e3 * profiler.own,
        "outside_ms": {kind: 1e3 * seconds for kind, seconds in profiler.outside.items()},
        "ops": [{"op": op, "direction": way, **numbers(entry)} for (op, way), entry in profiler.times.items()],
        "layers": [
            {"layer": row.name, "forward": numbers(row.forward), "backward": numbers(row.backward)} for row in layers
        ],
        "products": products(measured),
    }
