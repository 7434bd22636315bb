"""Time minivit's work on the CPU, alone or in alternating rounds against PyTorch; or augmentation.

    python examples/benchmark.py --model vit_tiny_cifar --mode train --batch 128 --against torch

    python examples/benchmark.py --model vit_base_patch16_224 --mode forward --batch 8

    python examples/benchmark.py --mode run --against torch

    python examples/benchmark.py --mode uda --batch 64 --unlabelled 448 --against torch

    python examples/benchmark.py --mode augment

Each framework lives in a process of its own; they take turns, so that whatever else the machine does disturbs both. The
speed over PyTorch is the median over the rounds of PyTorch's time divided by ours: above 1 we are faster. Both start
from the same weights and do the same; the losses of the first steps stand in the result to show it. Memory is the
proportional set size of a framework's processes, at the peak of steps that are made after those that are timed.

Of the modes, train and forward take one batch of random images; run and uda are the steps of the default runs of
train_cifar.py and train_uda.py, with their data, augmented ahead by a thread; mlp is a perceptron so small that nothing
but the engine takes time. augment counts the images that each augmentation makes in a second, in one thread. prefetch
times UDA's step with augmentation running ahead of it beside the same step on batches that lie ready: their ratio is
what augmentation costs a step. import times `import minivit` in fresh processes that have imported numpy.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from minivit import models
from minivit.backend import mkl_found
from minivit.backend.mkl import VARIABLE
from minivit.backend.onednn import onednn_found
from minivit.compare.rivals import torch_contender
from minivit.recipes.results import write_result
from minivit.recipes.speed import (
    Contender,
    MlpWork,
    ModelWork,
    RunWork,
    Work,
    alternate,
    images_at_hand,
    summarize_speed,
)
from minivit.recipes.speed.augmentation import measure_augmentations
from minivit.recipes.speed.import_time import import_seconds
from minivit.recipes.speed.preparation import summarize_times, time_steps

BATCH, LABELLED, UNLABELLED, EXAMPLES = 128, 64, 448, 32
OWN = ("augment", "prefetch", "import")  # modes without a rival
FLOAT32_ALONE = ("mlp", "augment", "import")


@dataclass
class Options:
    """Time a kind of work."""

    mode: Literal["train", "forward", "run", "uda", "mlp", "augment", "prefetch", "import"] = "train"
    """A whole training step; a forward without gradients; a step of a default run, supervised or UDA's; a step of a
    tiny perceptron; each augmentation alone; UDA's step with augmentation ahead of it and without; import minivit."""
    model: str = "vit_tiny_cifar"
    """Of train and forward: a model's name."""
    batch: int | None = None
    """Images in a step, of UDA the labelled ones: 128 of train and forward, 64 of UDA, the preset's of run; 32 examples
    of mlp."""
    unlabelled: int = UNLABELLED
    """Of uda and prefetch: unlabelled images in a step; of augment: images in a batch."""
    dataset: Literal["cifar10", "shapes", "digits"] = "cifar10"
    """Of run, uda, augment and prefetch: whose images, settings and model. Drawn shapes stand in for the images of
    CIFAR-10 where it is not at hand."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """Of train."""
    steps: int | None = None
    """Steps in a round: 8, of mlp 2,000."""
    warmup: int | None = None
    """Steps before timing: 2, of mlp 200; of prefetch: in each half of each round."""
    rounds: int | None = None
    """Rounds, alternating where things are compared: 5, or 1 where there is nothing to compare with."""
    threads: int = 0
    """CPU threads; 0 takes all cores that this process may use. Augmentation takes one, of its own."""
    micro_batch: int | None = None
    """Images that go through our model at once; by default what suits the model, as in training."""
    mkl: bool = False
    """Compute our large products by MKL, whatever the processor (extra mkl); otherwise by NumPy alone."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of train, forward, run, uda and prefetch: bf16 multiplies in bfloat16, on processors that can (extra bf16);
    PyTorch does by autocast."""
    against: Literal["none", "torch"] = "none"
    """Of all but augment, prefetch and import: the rival."""
    json: bool = False
    """Print one JSON object as the last line."""
    out: Path | None = None
    """Write the result, with where it was measured, to this file."""

    def __post_init__(self) -> None:
        least = {"batch": 1, "unlabelled": 1, "steps": 1, "warmup": 0, "rounds": 1, "threads": 0, "micro_batch": 1}
        for name, lowest in least.items():
            if (value := getattr(self, name)) is not None and value < lowest:
                raise SystemExit(f"error: --{name.replace('_', '-')} has to be at least {lowest}, got {value}")
        if self.mode in OWN and self.against != "none":
            raise SystemExit(f"error: --mode {self.mode} has no rival; leave out --against")
        if self.mode in FLOAT32_ALONE and self.precision != "float32":
            raise SystemExit(f"error: --mode {self.mode} is measured in float32; leave out --precision")
        self.steps = self.steps or (2000 if self.mode == "mlp" else 8)
        if self.warmup is None:
            self.warmup = 200 if self.mode == "mlp" else 2
        alone = self.against == "none" and self.mode not in OWN
        self.rounds = self.rounds or (1 if alone else 5)


def work_of(options: Options) -> Work:
    """What the options ask for."""
    common: dict[str, Any] = {"threads": options.threads, "micro_batch": options.micro_batch}
    settings = {"precision": options.precision}
    if options.mode == "mlp":
        return MlpWork(options.batch or EXAMPLES)
    if options.mode == "run":
        return RunWork("supervised", options.dataset, options.batch, settings=settings, **common)
    if options.mode in ("uda", "prefetch"):
        return RunWork(
            "uda", options.dataset, options.batch or LABELLED, options.unlabelled, settings=settings, **common
        )
    training = options.mode == "train"
    models.find(options.model)  # an unknown name is told here, not by another process
    return ModelWork(
        options.model, {}, training, options.batch or BATCH, options.optimizer, precision=options.precision, **common
    )


def compare_frameworks(options: Options) -> dict[str, Any]:
    """Our time, and the rival's."""
    work = work_of(options)
    contenders = {"minivit": Contender(work.start)}
    if options.against == "torch":
        contenders["torch"] = torch_contender(work)
    found = alternate(contenders, rounds=options.rounds, steps=options.steps, warmup=options.warmup)
    summary = summarize_speed(work, found)
    for name in found:
        line = summary if name == "minivit" else summary[name]
        print(
            f"{name:8s} {line['ms']:9.2f} ms a step (best {line['min_ms']:.2f}), {line['img_s']:7.1f} images/s, "
            f"{line['gflops']:6.1f} GFLOP/s, {line['rss_mb']:6.0f} MiB"
        )
    if options.against != "none":
        rounds = ", ".join(f"{ratio:.2f}" for ratio in summary["ratios"])
        print(
            f"speed over {options.against}: {summary[f'speed_over_{options.against}']:.2f} (rounds {rounds}); above 1 "
            f"we are faster. The first losses differ by {summary['loss_difference']:.0e} at most"
        )
    return summary


def compare_augmentations(options: Options) -> dict[str, Any]:
    """The speed of each augmentation."""
    train = images_at_hand(options.dataset).train
    summary = measure_augmentations(train, options.unlabelled, steps=options.steps, rounds=options.rounds)
    for name, row in {"crop_flip": summary["crop_flip"], **summary["randaugment"]}.items():
        print(f"{name:12s} {row['images_per_second']:9,.0f} images in a second of one thread")
    return {"mode": options.mode, **summary}


def compare_preparation(options: Options) -> dict[str, Any]:
    """UDA's step with augmentation ahead of it, and without."""
    work = work_of(options)
    procedure = work.procedure()
    times = time_steps(procedure, steps=options.steps, warmup=options.warmup, rounds=options.rounds)
    found = summarize_times(times, procedure.batch_size)
    print(
        f"{1e3 * found['seconds']['prefetched']['wall']:.1f} ms a step with augmentation ahead of it, "
        f"{found['images_per_second']:.1f} images/s; {1e3 * found['seconds']['prepared']['wall']:.1f} ms with batches "
        f"that lie ready, on {found['cores_used']:.2f} cores' time\n"
        f"ratio {found['prefetched_over_prepared']:.3f}; 1 if augmentation is free. It takes "
        f"{100 * found['preparation_share']:.1f} % of the CPU time; waiting for batches takes "
        f"{100 * found['waiting_share']:.1f} % of a step"
    )
    parameters = procedure.model.count_parameters()
    return {**work.told(), "mode": options.mode, "parameters": parameters, **found}


def measure_import(options: Options) -> dict[str, Any]:
    """Of fresh processes."""
    found = import_seconds(options.rounds).summary
    print(
        f"import numpy {found['numpy_median_ms']} ms, import minivit after it "
        f"{found['minivit_after_numpy_median_ms']} ms (best {found['minivit_after_numpy_min_ms']})"
    )
    return {"mode": options.mode, **found}


def require_libraries(options: Options) -> None:
    """Raise where an extra that is asked for is not installed. It is not loaded: its memory is to be a contender's."""
    if options.mkl and mkl_found() is None:
        raise RuntimeError('--mkl needs the extra mkl: pip install "minivit[mkl]" (x86-64, Linux or Windows)')
    if options.precision == "bf16" and onednn_found() is None:
        raise RuntimeError('--precision bf16 needs the extra bf16: pip install "minivit[bf16]" (x86-64, Linux)')


def main(options: Options) -> int:
    """Measure, print, and write the result; 1 for anything wrong that a person can mend."""
    try:
        measure(options)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def measure(options: Options) -> None:
    """Measure, print, and write the result."""
    begun = time.monotonic()
    require_libraries(options)
    os.environ[VARIABLE] = str(int(options.mkl))  # of our process too, which takes it over
    measurements = {"augment": compare_augmentations, "prefetch": compare_preparation, "import": measure_import}
    summary = {"mkl": options.mkl, **measurements.get(options.mode, compare_frameworks)(options)}
    if options.out is not None:
        command = shlex.join(["python", "examples/benchmark.py", *sys.argv[1:]])
        packages = [] if options.against == "none" else [options.against]
        packages += ["onednn-cpu-gomp"] if options.precision == "bf16" else []
        seconds = time.monotonic() - begun
        write_result(options.out, summary, command=command, seed=0, wall_seconds=seconds, packages=packages)
    if options.json:
        print(json.dumps(summary))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
