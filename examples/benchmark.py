"""Time a training step or a forward of a model, alone or in alternating rounds against PyTorch; or augmentation.

    python examples/benchmark.py --model vit_tiny_cifar --mode train --batch 128 --against torch

    python examples/benchmark.py --steps 4 --warmup 1 --json

    python examples/benchmark.py --mode augment

    python examples/benchmark.py --mode uda --labelled 64 --unlabelled 448

Against PyTorch, each framework lives in a process of its own; they take turns, so that whatever else the machine does
disturbs both. The ratio is the median over the rounds of PyTorch's time divided by ours: above 1 we are faster.

The third counts the images that each augmentation makes in a second, in one thread. The fourth times UDA's step as
train_uda.py makes it, with augmentation running ahead of it, beside the same step on batches that lie ready. Their
ratio, again the median over alternating rounds, is what augmentation costs a step: 1 is nothing. It also tells how long
a step waits for its batch and, by CPU time, how much of the work augmentation is, on however busy a machine.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import shlex
import statistics
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from minivit import data, models
from minivit.augment import TrainAugmentation
from minivit.augment.randaugment import DIALECTS, randaugment
from minivit.autograd import Tensor, no_grad
from minivit.backend.cpu.threads import Workers, blas_threads
from minivit.inspect.summary import summarize
from minivit.recipes.config import TrainConfig
from minivit.recipes.parallel import evaluate_parts, split
from minivit.recipes.presets import build_model, preset_settings
from minivit.recipes.results import write_result
from minivit.recipes.semi_supervised import SemiSupervised
from minivit.recipes.supervised import PreparedBatch, SupervisedStep
from minivit.recipes.throughput import augmentation_speeds, time_steps
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_presets import uda_preset

SECONDS = ("wall", "waiting", "cpu")


@dataclass
class Options:
    """Time a model, or augmentation."""

    mode: Literal["train", "forward", "augment", "uda"] = "train"
    """A whole step (forward, backward, AdamW), or a forward without gradients; each augmentation alone; or UDA's step
    with augmentation running ahead of it."""
    model: str = "vit_tiny_cifar"
    """Of train and forward: a model's name, or "preset" for the default model of train_cifar.py."""
    batch: int = 128
    """Of train and forward: images in a step."""
    labelled: int = 64
    """Of uda: labelled images in a step."""
    unlabelled: int = 448
    """Of uda: unlabelled images in a step; of augment: images in a batch."""
    dataset: Literal["cifar10", "shapes", "digits"] = "cifar10"
    """Of augment and uda: whose images, settings and model. Drawn shapes stand in for the images of CIFAR-10 where it
    is not at hand."""
    steps: int = 8
    """Steps in a round."""
    warmup: int = 2
    """Steps before timing; of uda: in each half of each round."""
    rounds: int = 5
    """Rounds, alternating where two things are compared."""
    threads: int = 0
    """CPU threads; 0 takes all cores that this process may use. Augmentation takes one, of its own."""
    micro_batch: int = 16
    """Images that go through our model at once."""
    against: Literal["none", "torch"] = "none"
    """Of train and forward: the rival."""
    json: bool = False
    """Print one JSON object as the last line."""
    out: Path | None = None
    """Write the result, with where it was measured, to this file."""


class Ours:
    """A minivit model and its step."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.model = make_model(options)
        self.workers = Workers(options.threads or None)
        config = TrainConfig(batch_size=options.batch, micro_batch=options.micro_batch, clip=0.0, optimizer="adamw", learning_rate=1e-3).filled(
            preset_settings("cifar10")
        )
        channels, self.size = self.model.config["channels"], self.model.config["image_size"]
        augmentation = TrainAugmentation((0.5,) * channels, (0.5,) * channels, seed=0)
        self.step_maker = SupervisedStep(
            self.model, config, 10**9, self.workers, augmentation, self.model.config["num_classes"]
        )
        self.batch = PreparedBatch(*random_batch(options, self.model), index=np.arange(options.batch), step=10**8)

    def step(self) -> float:
        """One step; its loss (0 for a forward)."""
        with blas_threads(1):
            if self.options.mode == "train":
                return float(self.step_maker(self.batch).values["loss"])
            self.model.eval()

            def forward(part: slice) -> None:
                with no_grad():
                    self.model(Tensor(self.batch.images[part]))

            evaluate_parts(self.workers, forward, self.options.batch, self.options.micro_batch)
            return 0.0


def make_model(options: Options) -> models.VisionTransformer:
    """The model, with the weights of seed 0."""
    if options.model == "preset":
        model = build_model("preset", "cifar10", image_shape=(3, 32, 32), num_classes=10, seed=0, drop_path=0.0)
    else:
        model = models.create(options.model)
    assert isinstance(model, models.VisionTransformer)
    return model


def random_batch(options: Options, model: models.VisionTransformer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random images and labels (twice: as targets and as labels)."""
    generator = np.random.default_rng(0)
    size = model.config["image_size"]
    images = generator.standard_normal((options.batch, model.config["channels"], size, size), np.float32)
    labels = generator.integers(0, model.config["num_classes"], options.batch)
    return images, labels, labels


def serve(connection: Connection, framework: str, options: Options) -> None:
    """A process that makes as many steps as it is asked to, and sends back times, losses and memory."""
    runner: Any
    if framework == "torch":
        from minivit.compare.torch_vit import TorchRunner

        model = make_model(options)
        runner = TorchRunner(
            model, *random_batch(options, model)[:2], training=options.mode == "train", threads=options.threads
        )
    else:
        runner = Ours(options)
    while (count := connection.recv()) is not None:
        times, losses = [], []
        for _ in range(count):
            begun = time.perf_counter()
            losses.append(runner.step())
            times.append(time.perf_counter() - begun)
        connection.send((times, losses, proportional_set_size()))


def proportional_set_size() -> float:
    """Memory of this process in MiB, shared pages counted in proportion; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def measure(frameworks: list[str], options: Options) -> dict[str, dict[str, Any]]:
    """Alternating rounds: for each framework its step times by round, losses and memory."""
    context = mp.get_context("spawn")
    processes, pipes = [], {}
    for framework in frameworks:
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, framework, options), daemon=True)
        process.start()
        processes.append(process)
        pipes[framework] = here
    found: dict[str, dict[str, Any]] = {name: {"rounds": [], "losses": [], "rss_mb": 0.0} for name in frameworks}
    for number in range(options.rounds + 1):
        for framework, pipe in pipes.items():
            pipe.send(options.steps if number else options.warmup)
            times, losses, memory = pipe.recv()
            found[framework]["losses"] += losses
            found[framework]["rss_mb"] = max(found[framework]["rss_mb"], memory)
            if number:
                found[framework]["rounds"].append(times)
    for pipe in pipes.values():
        pipe.send(None)
    for process in processes:
        process.join()
    return found


def product_seconds(options: Options) -> tuple[float, float]:
    """Seconds that the matrix products of the blocks' linear layers take alone in a step, and their GFLOP.

    The same shapes, in the same micro-batches on the same threads, over arrays that are at hand.
    """
    config = make_model(options).config
    dim, hidden = config["dim"], config["mlp_dim"]
    tokens = (config["image_size"] // config["patch_size"]) ** 2 + (config["pool"] == "cls")
    layers = [(dim, 3 * dim), (dim, dim), (dim, hidden), (hidden, dim)] * config["depth"]
    workers = Workers(options.threads or None)
    shares = split(options.batch, options.micro_batch, workers.count)
    training = options.mode == "train"

    def work(worker: int) -> None:
        for part in shares[worker]:
            rows = tokens * (part.stop - part.start)
            for inner, outer in layers:
                x, w, dy = arrays[rows, inner], arrays[outer, inner], arrays[rows, outer]
                np.matmul(x, w.T, out=arrays[rows, outer, "out"])
                if training:
                    np.matmul(dy, w, out=arrays[rows, inner, "out"])
                    np.matmul(dy.T, x, out=arrays[outer, inner, worker])

    arrays: dict[Any, np.ndarray] = {}
    for share in shares:
        for part in share:
            rows = tokens * (part.stop - part.start)
            for inner, outer in layers:
                for shape in ((rows, inner), (outer, inner), (rows, outer)):
                    arrays.setdefault(shape, np.ones(shape, np.float32))
                for shape in ((rows, inner), (rows, outer)):
                    arrays.setdefault((*shape, "out"), np.ones(shape, np.float32))
                for worker in range(workers.count):
                    arrays.setdefault((outer, inner, worker), np.ones((outer, inner), np.float32))
    times = []
    with workers:
        for _ in range(options.warmup + 3):
            begun = time.perf_counter()
            workers.run(work)
            times.append(time.perf_counter() - begun)
    flop = (3 if training else 1) * sum(2 * tokens * options.batch * inner * outer for inner, outer in layers)
    return min(times), flop / 1e9


def compare_frameworks(options: Options) -> dict[str, Any]:
    """The times of a model's step or forward, ours and the rival's."""
    frameworks = ["minivit"] + ([options.against] if options.against != "none" else [])
    found = measure(frameworks, options)
    model = make_model(options)
    passes = 3 if options.mode == "train" else 1  # a backward is two forwards' worth
    gflop = 2e-9 * passes * summarize(model).multiply_adds * options.batch
    products, products_gflop = product_seconds(options)
    summary: dict[str, Any] = {"model": options.model, "mode": options.mode, "batch": options.batch}
    for framework, measured in found.items():
        times = [t for times in measured["rounds"] for t in times]
        median = statistics.median(times)
        summary[framework] = {
            "ms": 1e3 * median,
            "min_ms": 1e3 * min(times),
            "img_s": options.batch / median,
            "gflops": gflop / median,
            "rss_mb": measured["rss_mb"],
            "losses": measured["losses"][:4],
        }
        line = summary[framework]
        print(
            f"{framework:8s} {line['ms']:9.1f} ms a step (best {line['min_ms']:.1f}), {line['img_s']:7.1f} images/s, "
            f"{line['gflops']:6.1f} GFLOP/s, {line['rss_mb']:6.0f} MiB"
        )
    ours = summary["minivit"]
    ours["gemm_share"] = 1e3 * products / ours["ms"]
    ours["gemm_gflops"] = products_gflop / products
    print(
        f"matrix products of the blocks alone: {100 * ours['gemm_share']:.0f} % of our step, "
        f"{ours['gemm_gflops']:.0f} GFLOP/s"
    )
    if options.against != "none":
        pairs = zip(found["minivit"]["rounds"], found[options.against]["rounds"], strict=True)
        ratios = [statistics.median(theirs) / statistics.median(mine) for mine, theirs in pairs]
        summary["ratios"] = ratios
        summary["speed_over_" + options.against] = statistics.median(ratios)
        print(
            f"speed over {options.against}: {statistics.median(ratios):.2f} "
            f"(rounds {', '.join(f'{ratio:.2f}' for ratio in ratios)}); above 1 we are faster"
        )
    return summary


def images_at_hand(options: Options) -> data.Splits:
    """The data set, or drawn shapes in its place."""
    if options.dataset == "cifar10" and data.find("cifar10") is None:
        print("CIFAR-10 is not at hand: drawn shapes take its place")
        return data.load("shapes", train=5000, validation=100, test=100)
    return data.load(options.dataset, download=False)


def measure_augmentations(options: Options) -> dict[str, Any]:
    """Images per second of crop and flip, and of each dialect of RandAugment with them."""
    train = images_at_hand(options).train
    images = train.images[: options.unlabelled]

    def augmentation(policy: Any = None) -> TrainAugmentation:
        return TrainAugmentation(train.mean, train.std, seed=0, policy=policy)

    size = train.image_shape[1]
    styles = {style: augmentation(randaugment(style, seed=0, image_size=size)) for style in DIALECTS}
    speeds = augmentation_speeds(
        {"crop_flip": augmentation(), **styles}, images, steps=options.steps, rounds=options.rounds
    )
    for name, speed in speeds.items():
        print(f"{name:12s} {speed:9,.0f} images in a second of one thread")
    rows = {name: {"images_per_second": speed} for name, speed in speeds.items()}
    return {
        "mode": options.mode,
        "dataset": train.name,
        "images": len(images),
        "image_shape": images.shape[1:],
        "crop_flip": rows.pop("crop_flip"),
        "randaugment": rows,
    }


def measure_uda_step(options: Options) -> dict[str, Any]:
    """The time of UDA's step with augmentation ahead of it, and with none."""
    config = UdaConfig(
        dataset=options.dataset,
        batch_size=options.labelled,
        unlabelled_batch_size=options.unlabelled,
        micro_batch=options.micro_batch,
        threads=options.threads,
    ).filled(uda_preset(options.dataset))
    procedure = SemiSupervised(config, images_at_hand(options), options.dataset)
    times = time_steps(procedure, steps=options.steps, warmup=options.warmup, rounds=options.rounds)
    found = {
        name: {kind: statistics.median(getattr(seconds, kind) for seconds in rounds) for kind in SECONDS}
        for name, rounds in vars(times).items()
    }
    prefetched, prepared, preparation = found["prefetched"], found["prepared"], found["preparation"]
    speed, ratio = procedure.batch_size / prefetched["wall"], statistics.median(times.ratios)
    summary = {
        "images_per_second": speed,
        "seconds": found,
        "ratios": times.ratios,
        "prefetched_over_prepared": ratio,
        "waiting_share": prefetched["waiting"] / prefetched["wall"],
        "preparation_share": preparation["cpu"] / (preparation["cpu"] + prepared["cpu"]),
        "cores_used": prepared["cpu"] / prepared["wall"],
    }
    print(f"{1e3 * prefetched['wall']:.1f} ms a step with augmentation ahead of it, {speed:.1f} images/s")
    print(f"{1e3 * prepared['wall']:.1f} ms with batches that lie ready, on {summary['cores_used']:.2f} cores' time")
    print(f"ratio {ratio:.3f} (rounds {', '.join(f'{one:.3f}' for one in times.ratios)}); 1 if augmentation is free")
    print(
        f"augmentation takes {100 * summary['preparation_share']:.1f} % of the CPU time; waiting for batches takes "
        f"{100 * summary['waiting_share']:.1f} % of a step"
    )
    return {
        "mode": options.mode,
        "dataset": procedure.train_set.name,
        "model": config.model,
        "parameters": procedure.model.count_parameters(),
        "labelled": procedure.labelled_order.batch_size,
        "unlabelled": procedure.unlabelled_order.batch_size,
        "augmentation": config.augmentation,
        "threads": procedure.workers.count,
        **summary,
    }


def main(options: Options) -> int:
    """Measure, print, and write the result."""
    begun = time.monotonic()
    if options.mode in ("augment", "uda") and options.against != "none":
        print(f"error: --mode {options.mode} has no rival; leave out --against", file=sys.stderr)
        return 1
    measurements = {"augment": measure_augmentations, "uda": measure_uda_step}
    summary = measurements.get(options.mode, compare_frameworks)(options)
    if options.out is not None:
        command = shlex.join(["python", "examples/benchmark.py", *sys.argv[1:]])
        packages = [] if options.against == "none" else [options.against]
        seconds = time.monotonic() - begun
        write_result(options.out, summary, command=command, seed=0, wall_seconds=seconds, packages=packages)
    if options.json:
        alone = "minivit" in summary and options.against == "none"
        print(json.dumps(summary["minivit"] if alone else summary))
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
