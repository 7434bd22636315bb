"""Products in bfloat16 where they are asked for, and nowhere else."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from minivit import models, ops, tensor
from minivit.backend import kernels_disabled, matmul_precision, onednn
from minivit.backend.cpu.threads import Workers
from minivit.backend.precision import bf16_products
from minivit.nn import FlatParameters
from minivit.recipes.parallel import ParallelGradients


@pytest.fixture
def bf16():
    try:
        onednn.load_onednn()
    except RuntimeError as error:
        pytest.skip(str(error))


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="expected one of float32, bf16, got 'fp16'"), matmul_precision("fp16"):
        pass


def test_it_is_refused_on_entering_and_changes_nothing(monkeypatch):
    def refuse():
        raise RuntimeError("none here")

    monkeypatch.setattr(onednn, "load_onednn", refuse)
    with pytest.raises(RuntimeError, match="none here"), matmul_precision("bf16"):
        pass
    assert bf16_products() is None


def test_it_belongs_to_the_thread_and_the_workers_it_asks(bf16):
    elsewhere = []
    with Workers(2) as workers:
        with matmul_precision("bf16"):
            thread = threading.Thread(target=lambda: elsewhere.append(bf16_products()))
            thread.start()
            thread.join()
            assert all(workers.run(lambda worker: bf16_products() is not None))
            with matmul_precision("float32"):
                assert bf16_products() is None
            with pytest.raises(ZeroDivisionError), matmul_precision("float32"):
                raise ZeroDivisionError
            assert bf16_products() is not None
        assert workers.run(lambda worker: bf16_products()) == [None, None]
    assert elsewhere == [None]


def test_off_by_default_and_only_float32_is_concerned(rng, bf16):
    x, weight = rng.standard_normal((9, 33)), rng.standard_normal((5, 33))
    plain = ops.linear(tensor(x), weight).data
    single = [array.astype(np.float32) for array in (x, weight)]
    plain_single = ops.linear(tensor(single[0]), single[1]).data
    with matmul_precision("bf16"):
        np.testing.assert_array_equal(ops.linear(tensor(x), weight).data, plain)
        rounded = ops.linear(tensor(single[0]), single[1]).data
        with kernels_disabled():
            text = ops.linear(tensor(single[0]), single[1]).data
    np.testing.assert_array_equal(ops.linear(tensor(single[0]), single[1]).data, plain_single)
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(text, plain, rtol=1e-4, atol=1e-4)
    error = np.abs(rounded - plain)
    assert np.all(error <= 2.1 * 2.0**-8 * (np.abs(x) @ np.abs(weight).T))
    assert error.max() > 1e-3  # or it was not rounded


def gradients(precision: str, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    images, labels = generator.standard_normal((12, 3, 16, 16)), generator.integers(0, 7, 12)
    model = models.VisionTransformer(16, 4, 48, 3, 4, 96, 7, initialization="fan_in")
    model.head.weight.assign(generator.standard_normal(model.head.weight.shape).astype(np.float32) / 7)
    dtype = np.float64 if precision == "float64" else np.float32
    model = model.astype(dtype)
    flat, images = FlatParameters(model), images.astype(dtype)
    with matmul_precision("bf16" if precision == "bf16" else "float32"), Workers(2) as workers:
        ParallelGradients(flat, workers, 3).run(
            lambda part: (ops.cross_entropy(model(tensor(images[part])), labels[part], reduction="sum") / 12, None), 12
        )
    return {name: np.array(parameter.grad, np.float64) for name, parameter in model.named_parameters()}


def test_gradients_of_a_transformer_are_close(bf16):
    """1.4 % of a parameter's gradient at most was measured, a few roundings of 2^-8; in float32 10,000 times less."""
    exact, rounded, single = (gradients(precision) for precision in ("float64", "bf16", "float32"))
    for name, gradient in exact.items():
        size = np.linalg.norm(gradient)
        assert size > 1e-3
        assert 1e-3 < np.linalg.norm(rounded[name] - gradient) / size < 0.05, name
        assert np.linalg.norm(single[name] - gradient) / size < 1e-5, name
