import numpy as np
import pytest

from minivit import Tensor, models, ops
from minivit.backend.cpu.threads import Workers
from minivit.nn import FlatParameters
from minivit.recipes.parallel import ParallelGradients, evaluate_parts, split


@pytest.mark.parametrize(("size", "micro", "workers"), [(64, 16, 2), (7, 16, 2), (1, 4, 3), (50, 7, 3), (33, 16, 1)])
def test_a_split_covers_the_batch_in_order_and_respects_the_micro_batch(size: int, micro: int, workers: int) -> None:
    shares = split(size, micro, workers)
    assert len(shares) == workers
    indices = [i for share in shares for part in share for i in range(part.start, part.stop)]
    assert indices == list(range(size))
    assert max(part.stop - part.start for share in shares for part in share) <= micro


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
