"""Tests of minivit/recipes/pretext/adversarial.py."""

import numpy as np
import pytest
from devices import watched

import minivit as mv
from minivit import augment, models
from minivit.backend import move, onednn
from minivit.backend.cpu.threads import Workers
from minivit.backend.precision import bf16_products
from minivit.interop.safetensors_file import read_safetensors
from minivit.models.context_encoder import PatchDecoder
from minivit.models.discriminator import Discriminator
from minivit.recipes.pretext.adversarial import AdversarialStep, discriminator_loss, frozen, logistic_loss, region
from minivit.recipes.pretext.inpainting import InpaintingModel, reconstruction_loss
from minivit.recipes.pretext.step import PretextBatch

SETTINGS = {"adversarial": 0.1, "discriminator_width": 4, "batch_size": 8}


def as_function(model, forward):
    """`forward` as a function of every parameter of a model, and their values."""
    places = [
        (module, name)
        for _, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, mv.nn.Parameter)
    ]

    def function(*values):
        kept = [getattr(module, name) for module, name in places]
        for (module, name), value in zip(places, values, strict=True):
            setattr(module, name, value)
        try:
            return forward()
        finally:
            for (module, name), value in zip(places, kept, strict=True):
                setattr(module, name, value)

    return function, [getattr(module, name).numpy().copy() for module, name in places]


def tiny(count=3):
    """A filler and a discriminator of 12 x 12 pixels with batch normalisation, in float64, and a batch for them."""
    encoder = models.VisionTransformer(12, 3, 4, 1, 2, 6, 0, channels=1, pool="mean", initialization="none")
    filler = InpaintingModel(encoder, PatchDecoder(4, 2, 3, (1, 12, 12), depth=0)).astype(np.float64)
    judge = Discriminator(1, 12, width=2).astype(np.float64)
    rng = np.random.default_rng(0)
    for parameter in (*filler.parameters(), *judge.parameters()):
        parameter.assign(0.5 * rng.standard_normal(parameter.shape))
    index = np.arange(count)
    predicted = augment.random_patch_mask((12, 12), 3, seed=0, step=0, image_index=index)
    return filler, judge, rng.standard_normal((count, 1, 12, 12)), predicted


def make_step(make_pretraining, **settings):
    procedure = make_pretraining("inpainting", **{**SETTINGS, **settings})
    step = procedure.make_step(6)
    assert isinstance(step, AdversarialStep)
    return step, procedure.prepare(step, 0)


def weights(module):
    return np.concatenate([parameter.numpy().ravel() for parameter in module.parameters()]).copy()


def test_the_logistic_loss_is_minus_the_log_of_a_probability_and_never_overflows() -> None:
    scores = np.array([-3.0, 0.0, 0.5, 4.0])
    probability = 1 / (1 + np.exp(-scores))
    for true, expected in ((True, -np.log(probability)), (False, -np.log(1 - probability))):
        np.testing.assert_allclose(logistic_loss(mv.Tensor(scores), true).numpy(), expected, rtol=1e-12)
        mv.check_gradients(lambda s, true=true: logistic_loss(s, true), scores)
    extreme = logistic_loss(mv.Tensor(np.array([-1e4, 1e4])), True).numpy()
    np.testing.assert_array_equal(extreme, [1e4, 0.0])


def test_the_joint_loss_has_the_right_gradient_in_every_parameter_of_the_filler() -> None:
    filler, judge, images, predicted = tiny()

    def joint():
        filled = filler(mv.Tensor(images), predicted)
        shown = region(filled, mv.Tensor(images), predicted, "random_patches")
        with mv.nn.frozen_running_statistics():
            fooled = logistic_loss(judge(shown), true=True)
        return 0.6 * reconstruction_loss(filled, images, predicted, predicted) + 0.4 * fooled

    function, values = as_function(filler, joint)
    with frozen(judge):
        mv.check_gradients(function, *values, rtol=1e-6)


def test_the_discriminators_loss_has_the_right_gradient_and_gives_the_filler_none() -> None:
    filler, judge, images, predicted = tiny()

    def told():
        with mv.nn.frozen_running_statistics():
            filled = filler(mv.Tensor(images), predicted)
            return discriminator_loss(judge, filled, images, predicted, "random_patches")[0]

    function, values = as_function(judge, told)
    mv.check_gradients(function, *values, rtol=1e-6)

    told().sum().backward()
    assert all(parameter.grad is None for parameter in filler.parameters())
    assert all(np.abs(parameter.grad).max() > 1e-6 for parameter in judge.parameters())


def test_the_discriminator_is_right_where_its_score_has_the_right_sign() -> None:
    _, _, images, predicted = tiny(4)
    scores = iter([np.array([1.0, -1, 1, -1]), np.array([-1.0, -1, 1, 1])])
    losses, right = discriminator_loss(
        lambda _: mv.Tensor(next(scores)), mv.Tensor(images), images, predicted, "random_patches"
    )
    assert right.tolist() == [1, 0.5, 0.5, 0]
    assert losses.numpy()[0] == pytest.approx(2 * np.log(1 + np.exp(-1)))


def test_it_sees_the_predicted_square_or_the_image_with_its_holes_filled() -> None:
    images, filled = np.random.default_rng(0).standard_normal((2, 3, 2, 8, 8))
    predicted = augment.center_mask((8, 8), image_index=np.arange(3))
    square = region(mv.Tensor(filled), mv.Tensor(images), predicted, "center").numpy()
    np.testing.assert_array_equal(square, filled[np.broadcast_to(predicted, filled.shape)].reshape(3, 2, 4, 4))
    whole = region(mv.Tensor(filled), mv.Tensor(images), predicted, "random_region").numpy()
    np.testing.assert_array_equal(whole, np.where(predicted, filled, images))


@pytest.mark.parametrize("mask", ["center", "random_region"])
def test_each_step_moves_its_own_weights_alone(make_pretraining, mask) -> None:
    step, batch = make_step(make_pretraining, mask=mask)
    filler, judge = weights(step.model), weights(step.discriminator)

    told = step.discriminator_gradient(batch)
    assert all(parameter.grad is None for parameter in step.model.parameters())
    step.discriminator_optimizer.step()
    np.testing.assert_array_equal(weights(step.model), filler)
    assert (weights(step.discriminator) != judge).mean() > 0.9
    assert float(told["discriminator_loss"]) == pytest.approx(2 * np.log(2), abs=0.5)

    judge = weights(step.discriminator)
    gradient = step.discriminator_optimizer.flat.grad.copy()
    step.forward_backward(batch)
    np.testing.assert_array_equal(step.discriminator_optimizer.flat.grad, gradient)
    step.optimizer.learning_rate = 1e-3
    step.optimizer.step()
    np.testing.assert_array_equal(weights(step.discriminator), judge)
    assert (weights(step.model) != filler).mean() > 0.9
    assert all(parameter.requires_grad for parameter in step.discriminator.parameters())


def test_a_step_is_the_discriminators_and_then_the_models_against_the_new_one(make_pretraining) -> None:
    step, batch = make_step(make_pretraining)
    other, _ = make_step(make_pretraining)
    told = step.discriminator_gradient(batch)
    step.discriminator_optimizer.step()
    values = step.forward_backward(batch)
    result = other(batch)
    for name, value in {**told, **values}.items():
        assert float(result.values[name]) == pytest.approx(float(value), rel=1e-6), name
    w = SETTINGS["adversarial"]
    joint = (1 - w) * float(values["squared_error"]) + w * float(values["adversarial_loss"])
    assert float(values["loss"]) == pytest.approx(joint, rel=1e-5)
    np.testing.assert_array_equal(weights(other.discriminator), weights(step.discriminator))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_both_steps_multiply_in_the_precision_asked_for(make_pretraining, monkeypatch, precision) -> None:
    class Products:
        """oneDNN's place, on a machine of any kind."""

        def matmul(self, a, b, out) -> None:
            np.matmul(a, b, out)

    rounded = {InpaintingModel: [], Discriminator: []}
    monkeypatch.setattr(onednn, "load_onednn", Products)
    for kind, seen in rounded.items():

        def forward(self, *inputs, seen=seen, forward=kind.forward):
            seen.append(bf16_products() is not None)
            return forward(self, *inputs)

        monkeypatch.setattr(kind, "forward", forward)
    step, batch = make_step(make_pretraining, precision=precision, threads=2, micro_batch=4)
    with step.workers:
        step(batch)
    # A part of each of two workers; the discriminator is asked about the truth, and twice about the filling.
    assert rounded == {InpaintingModel: [precision == "bf16"] * 4, Discriminator: [precision == "bf16"] * 6}


def test_rewinding_undoes_both(make_pretraining) -> None:
    step, batch = make_step(make_pretraining)
    before = weights(step.model), weights(step.discriminator)
    step(batch)
    step.rewind()
    np.testing.assert_array_equal(weights(step.model), before[0])
    np.testing.assert_array_equal(weights(step.discriminator), before[1])


def test_parts_on_two_threads_are_the_batch_in_one_piece(make_pretraining) -> None:
    found = []
    for threads, micro_batch in ((1, 8), (2, 2)):
        step, batch = make_step(make_pretraining, threads=threads, micro_batch=micro_batch)
        told, values = step.discriminator_gradient(batch), step.forward_backward(batch)
        gradients = [optimizer.flat.grad.copy() for optimizer in (step.optimizer, step.discriminator_optimizer)]
        found.append((gradients, {name: float(value) for name, value in {**told, **values}.items()}))
        step.workers.close()
    (whole, values), (parts, others) = found
    for mine, reference in zip(parts, whole, strict=True):
        assert np.abs(reference).max() > 1e-4
        np.testing.assert_allclose(mine, reference, atol=1e-5 * np.abs(reference).max())
    assert others == pytest.approx(values, rel=1e-5)


def test_an_interrupted_run_goes_on_bit_for_bit_with_its_discriminator(interrupt, make_trainer) -> None:
    straight, interrupted = make_trainer("inpainting", "straight", **SETTINGS), make_trainer("inpainting", **SETTINGS)
    straight.run()
    interrupt(interrupted, after=3)
    resumed = make_trainer("inpainting", **SETTINGS)
    resumed.run(resume=True)
    files = [read_safetensors(trainer.folder.checkpoint)[0] for trainer in (straight, resumed)]
    assert files[0].keys() == files[1].keys()
    kept = [name for name in files[0] if name.startswith("resume/discriminator")]
    assert any(name.startswith("resume/discriminator/score") for name in kept)
    assert any(name.startswith("resume/discriminator_optimizer/m.score") for name in kept)
    for name, array in files[0].items():
        np.testing.assert_array_equal(files[1][name], array, err_msg=name)


def test_without_a_weight_there_is_no_discriminator(make_pretraining) -> None:
    procedure = make_pretraining("inpainting", batch_size=8)
    assert not procedure.make_step(6).further
    with pytest.raises(ValueError, match=r"adversarial must be in \[0, 1\)"):
        make_pretraining("inpainting", adversarial=1.0)


@pytest.mark.parametrize("model", ["small", "resnet_micro_cifar"])
def test_a_step_never_waits_for_the_device(make_pretraining, model) -> None:
    settings = {**SETTINGS, "mask": "random_region", "model": model}
    procedure = make_pretraining("inpainting", **settings)
    step = procedure.make_step(6)
    batch = procedure.prepare(step, 0)
    expected = step(batch).values
    procedure = make_pretraining("inpainting", **settings)
    procedure.model.to("standin")
    there = AdversarialStep(procedure.model, procedure.config, 6, Workers(1), procedure.task)
    moved = PretextBatch(tuple(move(a, "standin") for a in batch.arrays), move(batch.index, "standin"), batch.step)
    with watched("standin", uploads=True):
        values = there(moved).values
    for name, value in expected.items():
        assert float(move(values[name], "cpu")) == pytest.approx(float(value), rel=1e-4), name
