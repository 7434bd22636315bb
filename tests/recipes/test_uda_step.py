"""The step of UDA: the same gradients however the batch is run, and no activations of the teacher."""

import dataclasses
import gc
import tracemalloc

import numpy as np
import pytest

import minivit as mv
from minivit.autograd import Hook, hooked
from minivit.backend.cpu.threads import Workers
from minivit.recipes.uda import uda_loss
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_step import UdaBatch, UdaStep

CLASSES = 5


def model_of(dtype: str = "float64", **options) -> mv.nn.Module:
    settings = {"image_size": 8, "patch_size": 4, "channels": 1, "num_classes": CLASSES, "dim": 16, "depth": 2}
    model = mv.models.VisionTransformer(
        **settings, heads=2, mlp_dim=24, drop_path=0.3, dropout=0.2, initialization="fan_in", seed=3, **options
    ).astype(dtype)
    # Large enough for some rows to be confident, and some not.
    model.head.weight.data[...] = (
        np.random.default_rng(1).normal(size=model.head.weight.shape) / 4
    )  # some are confident
    return model


def batch_of(labelled: int = 6, unlabelled: int = 10, dtype: str = "float64") -> UdaBatch:
    draw = np.random.default_rng(7)
    images = draw.normal(size=(labelled + 2 * unlabelled, 1, 8, 8)).astype(dtype) * 2
    labels = draw.integers(0, CLASSES, labelled)
    index = np.arange(len(images)) * 3
    cut = labelled, labelled + unlabelled
    none = unlabelled == 0
    return UdaBatch(
        labelled=images[: cut[0]],
        labels=labels,
        original=None if none else images[cut[0] : cut[1]],
        augmented=None if none else images[cut[1] :],
        labelled_index=index[: cut[0]],
        original_index=None if none else index[cut[0] : cut[1]],
        augmented_index=None if none else index[cut[1] :],
        step=4,
    )


def config_of(**settings) -> UdaConfig:
    base = {"steps": 10, "batch_size": 6, "micro_batch": 4, "learning_rate": 0.1, "confidence": 0.5, "ema": 0.0}
    return UdaConfig(**{**base, "optimizer": "sgd", "weight_decay": 0.0, **settings})


def step_of(config: UdaConfig, threads: int = 1, dtype: str = "float64") -> UdaStep:
    return UdaStep(model_of(dtype), config, 10, Workers(threads), CLASSES)


SETTINGS = [
    {},
    {"tsa": "linear"},
    {"tsa": "exp", "label_smoothing": 0.1},
    {"entropy_weight": 0.3},
    {"stop_gradient": False},
    {"implementation": "usb", "tsa": "log"},
    {"implementation": "uda_pytorch"},
    {"implementation": "uda_pytorch", "entropy_weight": 0.2},
    {"confidence": 0.0, "temperature": 1.0, "weight": 2.5},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_parts_and_a_teacher_without_gradients_give_the_gradients_of_one_forward(settings: dict, threads: int) -> None:
    batch = batch_of()
    whole = step_of(config_of(forward="concatenated", **settings))
    parts = step_of(config_of(forward="separate", **settings), threads)
    expected, found = whole.forward_backward(batch), parts.forward_backward(batch)
    parts.workers.close()
    gradient = whole.optimizer.flat.grad
    assert np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(parts.optimizer.flat.grad, gradient, rtol=0, atol=1e-12 * np.abs(gradient).max() * 100)
    assert found.keys() == expected.keys()
    assert settings.get("confidence") == 0.0 or 0 < found["confident_share"] < 1
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-12, err_msg=name)


def test_the_step_is_the_loss_of_the_paper() -> None:
    batch, config = batch_of(), config_of(tsa="exp", label_smoothing=0.1)
    with mv.nn.mask_keys(config.seed, batch.step, batch.labelled_index):
        batch.labels[:3] = model_of()(mv.Tensor(batch.labelled)).data.argmax(1)[:3]  # three that TSA may leave out
    step = step_of(config)
    found = step.forward_backward(batch)
    model = model_of()
    logits = []
    for images, index in (
        (batch.labelled, batch.labelled_index),
        (batch.original, batch.original_index),
        (batch.augmented, batch.augmented_index),
    ):
        with mv.nn.mask_keys(config.seed, batch.step, index):
            logits.append(model(mv.Tensor(images)))
    loss, quantities = uda_loss(
        logits[0], batch.labels, *logits[1:], tsa="exp", progress=0.4, confidence=0.5, label_smoothing=0.1
    )
    loss.backward()
    assert 0 < quantities["confident_share"] < 1
    assert 0 < quantities["kept_share"] < 1
    np.testing.assert_allclose(found["loss"], quantities["loss"], rtol=1e-12)
    for (name, mine), (_, theirs) in zip(step.model.named_parameters(), model.named_parameters(), strict=True):
        if theirs.grad is not None:
            np.testing.assert_allclose(mine.grad, theirs.grad, rtol=1e-9, atol=1e-12, err_msg=name)


def test_without_unlabelled_images_it_is_cross_entropy() -> None:
    batch, config = batch_of(unlabelled=0), config_of()
    step, model = step_of(config), model_of()
    found = step.forward_backward(batch)
    with mv.nn.mask_keys(config.seed, batch.step, batch.labelled_index):
        loss = mv.ops.cross_entropy(model(mv.Tensor(batch.labelled)), batch.labels)
    loss.backward()
    np.testing.assert_allclose(found["loss"], loss.item(), rtol=1e-12)
    np.testing.assert_allclose(step.model.head.weight.grad, model.head.weight.grad, rtol=1e-9)
    assert "consistency_loss" not in found


@pytest.mark.parametrize("sizes", [(2, 9), (9, 2), (1, 1), (3, 30)])
@pytest.mark.parametrize(
    "settings", [{}, {"micro_batch": 1}, {"entropy_weight": 0.2}, {"stop_gradient": False}], ids=str
)
def test_a_part_may_lack_labelled_or_unlabelled_rows_but_never_both(sizes: tuple[int, int], settings: dict) -> None:
    batch = batch_of(*sizes)
    whole, parts = (
        step_of(config_of(forward=forward, **{"micro_batch": 2, **settings}))
        for forward in ("concatenated", "separate")
    )
    whole.forward_backward(batch)
    parts.forward_backward(batch)
    np.testing.assert_allclose(parts.optimizer.flat.grad, whole.optimizer.flat.grad, rtol=1e-9, atol=1e-12)


class _Kept(Hook):
    """The bytes that nodes keep for the backward, and how many examples went through the first layer."""

    def __init__(self) -> None:
        self.recorded_rows = self.rows = 0

    def after_forward(self, op, inputs, output, attributes) -> None:
        if op.name == "patchify":
            self.rows += output.shape[0]
        if op.name == "linear" and output.shape[-1] == CLASSES:
            self.recorded_rows += output.shape[0] if output.node is not None else 0


@pytest.mark.parametrize(("settings", "recorded"), [({}, 16), ({"entropy_weight": 0.1}, 26)])
def test_the_teacher_keeps_no_activations_unless_it_learns(settings: dict, recorded: int) -> None:
    """6 labelled and 10 augmented rows are recorded; the 10 originals are only where the entropy trains them."""
    step = step_of(config_of(**settings))
    kept = _Kept()
    with hooked(kept):
        step.forward_backward(batch_of())
    assert kept.recorded_rows == recorded
    assert kept.rows == 26


def test_the_forward_of_the_teacher_leaves_nothing_but_its_logits() -> None:
    """What is alive after it grows with the unlabelled batch by the logits alone."""
    step = step_of(config_of(micro_batch=64), dtype="float32")

    def alive_after(unlabelled: int) -> int:
        batch = batch_of(4, unlabelled, "float32")
        step._look_ahead(batch, 1.0, step.gradients)  # fills the pools of scratch arrays
        gc.collect()
        tracemalloc.start()
        known = step._look_ahead(batch, 1.0, step.gradients)
        alive, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert known.teacher.shape == (unlabelled, CLASSES)
        return alive

    more, logits = alive_after(256) - alive_after(64), 192 * CLASSES * 4
    one_activation = 192 * 5 * 16 * 4  # (U, N, D) of float32: what any layer would keep
    # Python's free lists keep some small objects of each part, which are counted as alive.
    assert logits <= more < logits + one_activation / 4


def test_training_moves_and_a_step_can_be_taken_back() -> None:
    step = step_of(config_of())
    before = step.optimizer.flat.data.copy()
    result = step(batch_of())
    assert result.is_finite()
    assert result.size == 16
    assert (step.optimizer.flat.data != before).any()
    step.rewind()
    np.testing.assert_array_equal(step.optimizer.flat.data, before)


def test_a_configuration_refuses_what_cannot_be() -> None:
    for settings, message in (
        ({"labels": 0}, "labels"),
        ({"temperature": 0.0}, "temperature"),
        ({"confidence": 1.5}, "confidence"),
        ({"unlabelled_ratio": 2.0, "unlabelled_batch_size": 3}, "only one"),
        ({"unlabelled_ratio": -1.0}, "above 0"),
        ({"implementation": "mine"}, "official"),
        ({"method": "magic"}, "fully_supervised"),
        ({"forward": "both"}, "concatenated"),
        ({"tsa": "sin"}, "linear"),
    ):
        with pytest.raises(ValueError, match=message):
            UdaConfig(**settings)


def test_there_may_be_more_threads_than_rows() -> None:
    batch = batch_of(2, 3)
    whole, parts = step_of(config_of(forward="concatenated")), step_of(config_of(), threads=16)
    whole.forward_backward(batch)
    parts.forward_backward(batch)
    parts.workers.close()
    np.testing.assert_allclose(parts.optimizer.flat.grad, whole.optimizer.flat.grad, rtol=1e-9, atol=1e-12)


def test_a_ratio_and_a_size_are_two_ways_to_say_one_thing() -> None:
    by_ratio = dataclasses.replace(config_of(), batch_size=6, unlabelled_ratio=2.5)
    assert by_ratio.unlabelled_beside(6) == 15
    assert dataclasses.replace(config_of(), unlabelled_batch_size=11).unlabelled_beside(6) == 11
    assert UdaConfig().filled({"batch_size": 6, "unlabelled_ratio": 2.5}).unlabelled_beside(6) == 15
    assert (
        UdaConfig(unlabelled_batch_size=11).filled({"batch_size": 6, "unlabelled_ratio": 2.5}).unlabelled_beside(6)
        == 11
    )
