"""The memory of training steps: the same after a thousand as after a hundred, and what it grows with."""

import gc
import os
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from minivit import augment, models, nn
from minivit.autograd import Node, Tensor
from minivit.backend.cpu.threads import Workers
from minivit.backend.pool import thread_pool
from minivit.recipes.config import TrainConfig
from minivit.recipes.presets import preset_settings
from minivit.recipes.supervised import PreparedBatch, SupervisedStep

B, N, D = 4, 17, 64  # of a micro-batch; most activations are large enough for the pool


@pytest.fixture
def make_step():
    """A function that makes a step and its batch: so many micro-batches, on so many threads."""
    opened = []

    def make(micro_batches: int, threads: int, depth: int = 1, micro_batch: int = B, **settings):
        shape = {"image_size": 16, "patch_size": 4, "dim": D, "depth": depth, "heads": 2, "mlp_dim": 128}
        model = models.VisionTransformer(**shape, num_classes=10, **settings)
        size = micro_batches * micro_batch
        options = {"batch_size": size, "micro_batch": micro_batch, "optimizer": "adamw", "ema": 0.99}
        config = TrainConfig(**options).filled(preset_settings("cifar10"))
        workers = Workers(threads)
        opened.append(workers)
        augmentation = augment.TrainAugmentation((0.5,) * 3, (0.5,) * 3, seed=0)
        step = SupervisedStep(model, config, 10**6, workers, augmentation, 10)
        generator = np.random.default_rng(0)
        labels = generator.integers(0, 10, size)
        images = generator.standard_normal((size, 3, 16, 16), np.float32)
        return step, PreparedBatch(images, labels, labels, np.arange(size), step=5 * 10**5)

    yield make
    for workers in opened:
        workers.close()


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def state(step: SupervisedStep) -> tuple[int, int, list[int]]:
    """Nodes and Tensors alive, bytes that each worker's pool holds."""
    kinds = [type(x) for x in gc.get_objects()]  # asking x itself could run its code
    held = step.workers.run(lambda _: thread_pool().held)
    return sum(issubclass(kind, Node) for kind in kinds), sum(issubclass(kind, Tensor) for kind in kinds), held


@pytest.mark.usefixtures("without_collector")
def test_a_thousand_steps_leave_memory_as_a_hundred_did(make_step) -> None:
    step, batch = make_step(micro_batches=4, threads=2)
    for _ in range(100):
        step(batch)
    before, resident = state(step), resident_bytes()
    assert before[0] == 0
    assert min(before[2]) > 0
    for _ in range(900):
        step(batch)
    assert state(step) == before
    # One activation a step that stays would be 15 MB, one parameter 10 MB.
    assert resident_bytes() - resident < 6 * 2**20


@pytest.mark.usefixtures("without_collector")
def test_a_leak_would_be_seen(make_step, monkeypatch) -> None:
    step, batch = make_step(micro_batches=4, threads=2)
    for _ in range(3):
        step(batch)
    before, kept = state(step), []
    linear = nn.Linear.__call__

    def leaks(self, x):
        kept.append(linear(self, x))
        return kept[-1]

    monkeypatch.setattr(nn.Linear, "__call__", leaks)
    for _ in range(3):
        step(batch)
    found = state(step)
    assert len(kept) > 0
    assert found[0] > before[0]
    assert found[1] > before[1]
    assert sum(found[2]) > sum(before[2])


def peak_bytes(step: SupervisedStep, batch: PreparedBatch) -> int:
    """Most bytes that the first forward and backward of a step need at once, the pool's included."""
    thread_pool().clear()
    gc.collect()
    tracemalloc.start()
    try:
        step.forward_backward(batch)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        thread_pool().clear()


def test_memory_is_flat_in_the_number_of_micro_batches(make_step) -> None:
    held = {}
    for count in (2, 8):
        thread_pool().clear()
        step, batch = make_step(count, threads=1)
        for _ in range(2):
            step(batch)
        held[count] = thread_pool().held
    assert held[2] == held[8] > 0
    two, eight = (peak_bytes(*make_step(count, threads=1, micro_batch=4 * B)) for count in (2, 8))
    assert abs(eight - two) < 0.02 * two
    assert peak_bytes(*make_step(1, threads=1, micro_batch=32 * B)) > 5 * two


def test_memory_grows_by_one_input_a_checkpointed_block(make_step) -> None:
    size = 8 * B * N * D * 4  # bytes of (B, N, D)
    grown = {}
    for checkpointed in (True, False):
        settings = {"threads": 1, "micro_batch": 8 * B, "checkpoint_blocks": checkpointed}
        peaks = [peak_bytes(*make_step(1, depth=depth, **settings)) for depth in (2, 4, 6)]
        grown[checkpointed] = [(b - a) / (2 * size) for a, b in pairwise(peaks)]
    assert grown[True] == pytest.approx([1.0, 1.0], abs=0.05)
    assert min(grown[False]) > 8
