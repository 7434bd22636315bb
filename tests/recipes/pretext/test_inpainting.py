"""Tests of minivit/recipes/pretext/inpainting.py."""

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

import minivit as mv
from minivit import augment, models
from minivit.backend import move
from minivit.interop.safetensors_file import read_safetensors
from minivit.models.context_encoder import ConvolutionalDecoder, PatchDecoder, wholly_hidden
from minivit.recipes.pretext.config import MASKS
from minivit.recipes.pretext.inpainting import InpaintingModel, feature_shape, fidelity, reconstruction_loss

SHARES = {"center": 0.25, "random_blocks": 0.14, "random_region": 0.25, "random_patches": 0.5}


def some_images(images, count=24):
    return images.train.images[:count], np.arange(count)


def tiny(pool="cls", stem=None):
    """A model of images of 8 x 8 pixels, in float64, whose every parameter is random."""
    encoder = models.VisionTransformer(8, 2, 4, 1, 2, 6, 0, channels=2, pool=pool, stem=stem, initialization="none")
    model = InpaintingModel(encoder, PatchDecoder(4, 2, 2, (2, 8, 8))).astype(np.float64)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.assign(0.5 * rng.standard_normal(parameter.shape))
    return model


def tiny_batch(count=3):
    images = np.random.default_rng(1).standard_normal((count, 2, 8, 8))
    predicted = augment.random_region_mask(
        (8, 8), seed=0, step=0, image_index=np.arange(count), area=(0.4, 0.6), cells=2
    )
    return images, augment.shrink_mask(predicted, 1), predicted


@pytest.mark.parametrize("mask", MASKS)
def test_holes_hide_their_share_and_the_centre_has_the_papers_border(make_pretraining, images, mask) -> None:
    task = make_pretraining("inpainting", mask=mask).task
    pixels, index = some_images(images, 96)
    inputs, hidden, predicted = task.prepare(pixels, 3, index, training=True)
    assert inputs.shape == (96, 3, 32, 32)
    assert predicted.mean() == pytest.approx(SHARES[mask], abs=0.02)
    border = predicted & ~hidden
    assert not (hidden & ~predicted).any()
    assert border.any() == (mask == "center")
    np.testing.assert_array_equal(hidden, augment.shrink_mask(predicted, int(mask == "center")))
    if mask == "center":
        assert hidden.sum() == 96 * 14 * 14


def test_the_settings_say_what_is_hidden(make_pretraining, images) -> None:
    pixels, index = some_images(images)
    task = make_pretraining("inpainting", mask="random_patches", mask_share=0.75, mask_patch=8).task
    hidden = task.prepare(pixels, 3, index, training=True)[1]
    np.testing.assert_array_equal(hidden.reshape(24, 4, 8, 4, 8).all((2, 4)).sum((1, 2)), 12)
    task = make_pretraining("inpainting", mask="center", overlap=3).task
    assert task.prepare(pixels, 3, index, training=True)[1].sum() == 24 * 10 * 10
    task = make_pretraining("inpainting", mask="random_region", overlap=1).task
    _, hidden, predicted = task.prepare(pixels, 3, index, training=True)
    np.testing.assert_array_equal(hidden, augment.shrink_mask(predicted, 1))
    assert hidden.sum() < predicted.sum()


def test_patches_are_hidden_whole_so_that_each_has_its_mask_token(make_pretraining, images) -> None:
    pixels, index = some_images(images)
    for model, patch in (("small", 8), ("vit_micro_cifar", 4), ("resnet_micro_cifar", 4)):
        task = make_pretraining("inpainting", model=model).task
        hidden = task.prepare(pixels, 3, index, training=True)[1]
        assert task.patch == patch
        assert wholly_hidden(hidden, patch).mean() == pytest.approx(hidden.mean()) == 0.5


def test_held_out_images_are_not_augmented(make_pretraining, images) -> None:
    task = make_pretraining("inpainting").task
    pixels, index = some_images(images)
    expected = augment.normalize(pixels, task.mean, task.std)
    np.testing.assert_array_equal(task.prepare(pixels, 3, index, training=False)[0], expected)
    assert (task.prepare(pixels, 3, index, training=True)[0] != expected).any()


@pytest.mark.parametrize("mask", MASKS)
def test_a_hole_depends_on_the_image_and_the_step_alone(make_pretraining, images, mask) -> None:
    task = make_pretraining("inpainting", mask=mask).task
    pixels, index = some_images(images)
    whole = task.prepare(pixels, 3, index, training=True)
    for part in (slice(0, 5), slice(20, 24)):
        for some, all_of_them in zip(task.prepare(pixels[part], 3, index[part], training=True), whole, strict=True):
            np.testing.assert_array_equal(some, all_of_them[part])
    assert (task.prepare(pixels, 4, index, training=True)[2] != whole[2]).any() == (mask != "center")


@pytest.mark.parametrize("stem", [None, (3,)])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_nothing_hidden_reaches_the_model(pool, stem) -> None:
    model = tiny(pool, stem)
    images, hidden, _ = tiny_batch()
    answer = model(mv.Tensor(images), hidden).numpy()
    assert answer.shape == images.shape
    np.testing.assert_array_equal(model(mv.Tensor(np.where(hidden, 5.0, images)), hidden).numpy(), answer)
    assert (model(mv.Tensor(np.where(hidden, images, 5.0)), hidden).numpy() != answer).any()


def test_every_parameter_learns_and_its_gradient_is_right() -> None:
    model, (images, hidden, predicted) = tiny("mean"), tiny_batch(2)
    hidden[0, 0, :2, 2:4] = predicted[0, 0, :2, 2:4] = True  # a whole patch, for the mask token
    places = {}
    for path, module in model.named_modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, mv.nn.Parameter):
                places[f"{path}.{name}"] = (module, name)

    def loss(*values):
        kept = [getattr(module, name) for module, name in places.values()]
        for (module, name), value in zip(places.values(), values, strict=True):
            setattr(module, name, value)
        try:
            return reconstruction_loss(model(mv.Tensor(images), hidden), images, hidden, predicted)
        finally:
            for (module, name), value in zip(places.values(), kept, strict=True):
                setattr(module, name, value)

    values = [getattr(module, name).numpy().copy() for module, name in places.values()]
    mv.check_gradients(loss, *values, rtol=1e-6)


def test_the_loss_weighs_the_shown_border_ten_times_and_counts_nothing_outside() -> None:
    images, hidden, predicted = tiny_batch()
    filled = np.random.default_rng(2).standard_normal(images.shape)
    found = reconstruction_loss(mv.Tensor(filled), images, hidden, predicted).numpy()
    for image, answer, hole, region, loss in zip(images, filled, hidden[:, 0], predicted[:, 0], found, strict=True):
        square = (answer - image) ** 2
        expected = (square[:, hole].sum() + 10 * square[:, region & ~hole].sum()) / (2 * region.sum())
        assert loss == pytest.approx(expected, rel=1e-12)
    elsewhere = np.where(predicted, filled, 99.0)
    np.testing.assert_array_equal(reconstruction_loss(mv.Tensor(elsewhere), images, hidden, predicted).numpy(), found)


def test_errors_are_measured_on_hidden_pixels_between_black_and_white() -> None:
    images, hidden, _ = tiny_batch()
    std = np.array([0.25, 0.5])
    filled = images + 0.2 / std[:, None, None] * np.where(hidden, 1, 7)
    found = fidelity(filled, images, hidden, std)
    assert found["l1"] == pytest.approx(0.2)
    assert found["l2"] == pytest.approx(0.04)
    assert found["psnr"] == pytest.approx(-10 * np.log10(0.04))
    assert np.isfinite(fidelity(images, images, hidden, std)["psnr"]).all()


def test_simple_fillings_are_measured_in_the_holes_that_the_model_is_asked_about(make_pretraining, images) -> None:
    procedure = make_pretraining("inpainting", mask="random_region")
    found = procedure.results()["baselines"]
    assert found["mean_colour"]["psnr"] < found["diffusion"]["psnr"] - 1
    assert found["mean_colour"]["examples"] == len(images.test)

    def forward(seen, hidden):
        return mv.Tensor(np.zeros_like(seen.data))

    procedure.model.forward = forward
    measured = procedure.evaluate("test").values
    for name in ("l1", "l2", "psnr"):
        assert measured[name] == pytest.approx(found["mean_colour"][name], rel=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mask", MASKS)
def test_preparing_and_the_loss_never_wait_for_the_device(make_pretraining, images, mask, device: str) -> None:
    procedure = make_pretraining("inpainting", mask=mask)
    task, model = procedure.task, procedure.model
    pixels, index = some_images(images, 6)
    expected = task.prepare(pixels, 1, index, training=True)
    losses, measured = task.loss(model, *expected)
    model.to(device)
    there = move(pixels, device), move(index, device)
    with watched(device, uploads=True):
        prepared = task.prepare(there[0], 1, there[1], training=True)
        there_losses, there_measured = task.loss(model, *prepared)
    for mine, reference in zip(prepared, expected, strict=True):
        assert_same(mine, reference, device)
    np.testing.assert_allclose(there_losses.numpy(), losses.numpy(), rtol=1e-5)
    for name, reference in measured.items():
        np.testing.assert_allclose(move(there_measured[name], "cpu"), reference, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask": "left"}, "mask must be one of center"),
        ({"mask_share": 0.0}, "mask_share must be above 0"),
        ({"mask_patch": 0}, "mask_patch must be above 0"),
        ({"overlap": -1}, "overlap must be at least 0"),
        ({"decoder_depth": -1}, "decoder_depth must be at least 0"),
    ],
)
def test_wrong_settings_are_named(make_pretraining, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_pretraining("inpainting", **settings)


RESNET = {"model": "resnet_micro_cifar", "mask": "random_region", "batch_size": 8, "discriminator_width": 4}


def test_a_convolutional_encoder_gets_the_papers_decoder_and_sees_nothing_hidden(make_pretraining, images) -> None:
    procedure = make_pretraining("inpainting", **RESNET)
    model, task = procedure.model.eval(), procedure.task
    assert isinstance(model.head, ConvolutionalDecoder)
    assert not hasattr(model, "mask_token")
    pixels, index = some_images(images, 4)
    inputs, hidden, _ = task.prepare(pixels, 0, index, training=False)
    answer = model(mv.Tensor(inputs), hidden).numpy()
    assert answer.shape == inputs.shape
    np.testing.assert_array_equal(model(mv.Tensor(np.where(hidden, 9, inputs)), hidden).numpy(), answer)


@pytest.mark.parametrize("adversarial", [0.0, 0.1])
def test_with_batch_normalisation_parts_on_two_threads_are_the_batch_in_one_piece(make_pretraining, adversarial):
    found = []
    for threads in (1, 2):
        procedure = make_pretraining("inpainting", **RESNET, threads=threads, adversarial=adversarial)
        step = procedure.make_step(6)
        result = step(procedure.prepare(step, 0))
        state = procedure.model.state_dict()
        found.append(({name: float(value) for name, value in result.values.items()}, step.optimizer.flat.grad, state))
        assert state["encoder.bn1.num_batches_tracked"] == 1, "the discriminator's turn is no step of the encoder"
        procedure.workers.close()
    (values, gradient, state), (others, parts, other_state) = found
    assert others == pytest.approx(values, rel=1e-4)
    np.testing.assert_allclose(parts, gradient, atol=1e-4 * np.abs(gradient).max())
    for name in state:
        if "running" in name:
            np.testing.assert_allclose(other_state[name], state[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("adversarial", [0.0, 0.1])
def test_a_convolutional_run_is_resumed_bit_for_bit(interrupt, make_trainer, adversarial) -> None:
    settings = {**RESNET, "adversarial": adversarial, "steps": 4}
    straight, interrupted = make_trainer("inpainting", "straight", **settings), make_trainer("inpainting", **settings)
    straight.run()
    interrupt(interrupted, after=2)
    resumed = make_trainer("inpainting", **settings)
    resumed.run(resume=True)
    files = [read_safetensors(trainer.folder.checkpoint)[0] for trainer in (straight, resumed)]
    for name, array in files[0].items():
        np.testing.assert_array_equal(files[1][name], array, err_msg=name)


def test_an_encoder_without_a_map_of_features_is_refused() -> None:
    class Flat(mv.nn.Module):
        def forward_features(self, images):
            return images.reshape(images.shape[0], -1)

    with pytest.raises(TypeError, match="Flat gives"):
        feature_shape(Flat(), (3, 8, 8))
    with pytest.raises(TypeError, match="Module has none"):
        feature_shape(mv.nn.Module(), (3, 8, 8))
