from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest

from minivit import Tensor, models, nn, ops, unrolled
from minivit.backend import kernels_disabled
from minivit.backend.cpu.rendezvous import Rendezvous
from minivit.backend.cpu.threads import Workers, blas_threads
from minivit.nn import FlatParameters
from minivit.recipes import parallel
from minivit.recipes.parallel import ParallelGradients, evaluate_parts, over_all_parts, split


@pytest.mark.parametrize(("size", "micro", "workers"), [(64, 16, 2), (7, 16, 2), (1, 4, 3), (50, 7, 3), (33, 16, 1)])
def test_a_split_covers_the_batch_in_order_and_respects_the_micro_batch(size: int, micro: int, workers: int) -> None:
    shares = split(size, micro, workers)
    assert len(shares) == workers
    indices = [i for share in shares for part in share for i in range(part.start, part.stop)]
    assert indices == list(range(size))
    assert max(part.stop - part.start for share in shares for part in share) <= micro


@pytest.mark.parametrize(("size", "micro", "workers"), [(128, 15, 2), (64, 16, 3), (7, 1, 2), (2, 8, 5), (0, 4, 2)])
def test_no_worker_has_an_example_more_than_it_must(size: int, micro: int, workers: int) -> None:
    shares = [[part.stop - part.start for part in share] for share in split(size, micro, workers)]
    assert sorted(map(sum, shares), reverse=True) == list(map(sum, shares))
    assert sum(shares[0]) - sum(shares[-1]) == (size % workers > 0)
    assert all(max(share) - min(share) <= 1 for share in shares if share)


@pytest.mark.parametrize(("threads", "micro"), [(1, 3), (2, 4), (3, 64)])
def test_split_gradients_equal_the_whole_batch(threads: int, micro: int) -> None:
    generator = np.random.default_rng(0)
    images, labels = generator.normal(size=(10, 1, 8, 8)), generator.integers(0, 4, 10)
    model = models.VisionTransformer(8, 4, 8, 2, 2, 16, 4, channels=1, initialization="fan_in").astype(np.float64)
    model.head.weight.assign(generator.normal(size=model.head.weight.shape))
    ops.cross_entropy(model(Tensor(images)), labels).backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    flat = FlatParameters(model)
    workers = Workers(threads)

    def loss_of(part: slice):
        return ops.cross_entropy(model(Tensor(images[part])), labels[part], reduction="sum") / 10, part.start

    starts = ParallelGradients(flat, workers, micro).run(loss_of, 10)
    workers.close()
    assert starts == sorted(starts)
    largest = max(np.abs(gradient).max() for gradient in expected.values())
    assert largest > 1e-3
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad, expected[name], atol=1e-14 * max(1.0, largest))


def test_the_same_split_gives_the_same_bits() -> None:
    generator = np.random.default_rng(1)
    images, labels = generator.normal(size=(12, 1, 8, 8)).astype(np.float32), generator.integers(0, 4, 12)

    def gradient() -> np.ndarray:
        model = models.VisionTransformer(8, 4, 8, 1, 2, 16, 4, channels=1)
        flat, workers = FlatParameters(model), Workers(2)
        ParallelGradients(flat, workers, 2).run(
            lambda part: (ops.cross_entropy(model(Tensor(images[part])), labels[part], reduction="sum"), None), 12
        )
        workers.close()
        return flat.grad

    np.testing.assert_array_equal(gradient(), gradient())


def test_an_error_in_a_worker_reaches_the_caller() -> None:
    workers = Workers(2)

    def fail(worker: int) -> None:
        if worker == 1:
            raise RuntimeError("worker 1")

    with pytest.raises(RuntimeError, match="worker 1"):
        workers.run(fail)
    workers.close()


def test_evaluation_keeps_the_order() -> None:
    workers = Workers(2)
    parts = evaluate_parts(workers, lambda part: list(range(part.start, part.stop)), 23, 4)
    workers.close()
    assert [i for part in parts for i in part] == list(range(23))


def test_a_single_part_has_blas_on_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def recorded(count: int) -> AbstractContextManager[Any]:
        asked.append(count)
        return blas_threads(count)

    monkeypatch.setattr(parallel, "blas_threads", recorded)
    with Workers(3) as workers:
        assert evaluate_parts(workers, lambda part: part, 1, 16) == [slice(0, 1)]
        assert asked == [3]
        assert evaluate_parts(workers, lambda part: part, 2, 16) == [slice(0, 1), slice(1, 2)]
        assert asked == [3]  # the workers have one thread each as it is


class Normalised(nn.Module):
    """A small net whose batch normalisations look at the whole batch."""

    def __init__(self) -> None:
        generator = np.random.default_rng(3)
        self.conv1 = nn.Conv2d(3, 8, 3, bias=False, generator=generator)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 6, 3, stride=2, padding=1, bias=False, generator=generator)
        self.norm2 = nn.BatchNorm2d(6, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        x = ops.relu(self.norm1(self.conv1(x)))
        return self.norm2(self.conv2(x)).mean((2, 3))


@pytest.mark.parametrize("text", [False, True], ids=["kernel", "text"])
@pytest.mark.parametrize("size", [2, 9])  # also fewer images than workers
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_split_batch_is_normalised_as_a_whole(threads: int, size: int, text: bool) -> None:
    generator = np.random.default_rng(0)
    # Each image has another mean and size: the statistics of a part are far from those of the batch.
    images = generator.normal(size=(size, 3, 7, 6)) * (1 + np.arange(size))[:, None, None, None]
    images += 3 * np.arange(size)[:, None, None, None]
    labels = generator.integers(0, 6, size)
    whole, model = Normalised().astype(np.float64), Normalised().astype(np.float64)
    for _ in range(2):
        ops.cross_entropy(whole(Tensor(images)), labels).backward()
    flat = FlatParameters(model)

    def loss_of(part: slice):
        with kernels_disabled() if text else nullcontext():
            loss = ops.cross_entropy(model(Tensor(images[part])), labels[part], reduction="sum") / size
        return loss, (part.start, part.stop)

    with Workers(threads) as workers:
        gradients = ParallelGradients(flat, workers, 1)
        for _ in range(2):
            parts = gradients.run(loss_of, size)
    assert len(parts) == min(threads, size)
    assert [i for start, stop in parts for i in range(start, stop)] == list(range(size))
    for name, expected in whole.named_parameters():
        assert np.abs(expected.grad).max() > 1e-4
        mine = dict(model.named_parameters())[name].grad
        np.testing.assert_allclose(2 * mine, expected.grad, atol=1e-13 * np.abs(expected.grad).max())
    state = model.state_dict()
    for name, buffer in whole.named_buffers():
        np.testing.assert_allclose(state[name], buffer.data, rtol=1e-13)
    assert state["norm1.num_batches_tracked"] == 2


def test_a_split_of_composed_ops_is_normalised_as_a_whole() -> None:
    generator = np.random.default_rng(0)
    x, dy = generator.normal(size=(2, 5, 3)) * np.array([1.0, 4.0])[:, None, None], generator.normal(size=(2, 5, 3))
    leaf = Tensor(np.concatenate(x), requires_grad=True)
    ops.batch_norm(leaf).backward(np.concatenate(dy))
    rendezvous = Rendezvous(2)

    def work(worker: int) -> np.ndarray:
        part = Tensor(x[worker], requires_grad=True)
        with rendezvous.part(worker), unrolled():
            ops.batch_norm(part).backward(dy[worker])
        return part.grad

    with Workers(2) as workers:
        found = workers.run(work)
    np.testing.assert_allclose(np.concatenate(found), leaf.grad, atol=1e-14)


def test_frozen_batch_statistics_allow_micro_batches() -> None:
    model = Normalised().eval()
    with Workers(2) as workers:
        gradients = ParallelGradients(FlatParameters(model), workers, 2)
        images = np.ones((8, 3, 6, 6), np.float32)
        parts = gradients.run(lambda part: (model(Tensor(images[part])).sum(), part), 8)
    assert len(parts) == 4


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_worker_that_fails_does_not_leave_the_others_waiting(failing: int) -> None:
    model = Normalised()
    images = np.random.default_rng(0).normal(size=(6, 3, 6, 6)).astype(np.float32)

    def loss_of(part: slice):
        y = model(Tensor(images[part]))
        if part.start == 2 * failing:
            raise LookupError(f"image {part.start}")
        return y.sum(), None

    with Workers(3) as workers:
        gradients = ParallelGradients(FlatParameters(model), workers, 6)
        with pytest.raises(LookupError, match=f"image {2 * failing}"):
            gradients.run(loss_of, 6)


def test_workers_that_run_different_layers_are_told_so() -> None:
    model = Normalised()
    images = np.random.default_rng(0).normal(size=(4, 3, 6, 6)).astype(np.float32)

    def loss_of(part: slice):
        x = Tensor(images[part])
        return (model(x) if part.start else model.norm1(model.conv1(x))).sum() * 1.0, None

    with Workers(2) as workers:
        gradients = ParallelGradients(FlatParameters(model), workers, 4)
        with pytest.raises(RuntimeError, match=r"the same layers in the same order; part [01] is at"):
            gradients.run(loss_of, 4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_parts_that_meet_tell_each_other_of_every_example(threads: int) -> None:
    """Each example is divided by the sum over the batch, as a layer of no module would."""
    values = np.random.default_rng(0).normal(size=(7, 3)) ** 2
    model = nn.Linear(3, 2).astype(np.float64)

    def loss_of(part: slice):
        rows = values[part]
        everything = over_all_parts(rows, "the rows")
        np.testing.assert_array_equal(everything, values)
        return model(Tensor(rows / everything.sum())).sum(), rows.shape[0]

    with Workers(threads) as workers:
        sizes = ParallelGradients(FlatParameters(model), workers, 1).run(loss_of, 7, meet=True)
    assert len(sizes) == threads
    np.testing.assert_allclose(model.weight.grad.sum(1), [1.0, 1.0], rtol=1e-13)


def test_parts_that_do_not_meet_have_their_own_examples_alone() -> None:
    rows = np.arange(3)
    assert over_all_parts(rows, "the rows") is rows
