import numpy as np
import pytest
from devices import DEVICES, assert_same, watched
from PIL import Image

from minivit.augment.context_patches import CENTRE, NEIGHBOURS, ContextPatches, PatchGrid
from minivit.autograd import Tensor, no_grad
from minivit.backend import kernels_disabled, move
from minivit.backend.cpu.threads import Workers
from minivit.ops import cross_entropy
from minivit.recipes.pretext import ContextPrediction
from minivit.recipes.pretext.config import PretextConfig
from minivit.recipes.pretext.context_pictures import draw_answers, draw_sampler


def test_the_middle_patch_comes_first_and_each_neighbour_under_its_number(make_pretraining, images) -> None:
    task, index = make_pretraining("context").task, np.arange(96)
    patches, labels = task.prepare(images.train.images, 7, index, training=True)
    nine = task.sampler(images.train.images, 7, index)
    np.testing.assert_array_equal(patches[:, 0], nine[:, CENTRE])
    np.testing.assert_array_equal(patches[:, 1:], nine[:, list(NEIGHBOURS)])
    np.testing.assert_array_equal(labels, np.tile(np.arange(8), (96, 1)))


def test_a_single_pair_is_the_middle_patch_and_a_random_neighbour(make_pretraining, images) -> None:
    task, index = make_pretraining("context", pairs=1).task, np.arange(96)
    patches, labels = task.prepare(images.train.images, 7, index, training=True)
    nine = task.sampler(images.train.images, 7, index)
    assert patches.shape[1] == 2
    assert labels.shape == (96, 1)
    for image in range(96):
        np.testing.assert_array_equal(patches[image, 0], nine[image, CENTRE])
        np.testing.assert_array_equal(patches[image, 1], nine[image, NEIGHBOURS[labels[image, 0]]])
    assert set(labels[:, 0].tolist()) == set(range(8))


@pytest.mark.parametrize("pairs", [1, 8])
def test_questions_depend_on_the_image_and_the_step_alone(make_pretraining, images, pairs: int) -> None:
    task, index = make_pretraining("context", pairs=pairs, colors="drop").task, np.arange(96)
    whole = task.prepare(images.train.images, 3, index, training=True)
    for part in (slice(0, 10), slice(90, 96)):
        some = task.prepare(images.train.images[part], 3, index[part], training=True)
        for mine, all_of_them in zip(some, whole, strict=True):
            np.testing.assert_array_equal(mine, all_of_them[part])
    assert (task.prepare(images.train.images, 4, index, training=True)[0] != whole[0]).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("pairs", [1, 8])
def test_inputs_are_the_same_on_every_device(make_pretraining, images, pairs: int, device: str) -> None:
    task, index = make_pretraining("context", pairs=pairs, colors="drop").task, np.arange(12)
    expected = task.prepare(images.train.images[:12], 1, index, training=True)
    there = move(images.train.images[:12], device), move(index, device)
    with watched(device, uploads=True):
        found = task.prepare(there[0], 1, there[1], training=True)
    for mine, reference in zip(found, expected, strict=True):
        assert_same(mine, reference, device)


def test_the_loss_is_the_mean_over_an_images_pairs_of_one_encoder_and_a_head_of_two(make_pretraining, images) -> None:
    pretraining = make_pretraining("context")
    task, model = pretraining.task, pretraining.model.eval()
    prepared = task.prepare(images.train.images[:3], 0, np.arange(3), training=True)
    with no_grad():
        losses, measured = task.loss(model, *prepared)
        patches, labels = prepared
        for image in range(3):
            middle = model.encoder(Tensor(patches[image, :1])).data[0]
            own, right = [], []
            for patch, label in zip(patches[image, 1:], labels[image], strict=True):
                other = model.encoder(Tensor(patch[None])).data[0]
                pair = np.stack([middle, other])[None]  # (1, 2, D)
                logits = model.head(Tensor(pair)).data.reshape(1, 8)
                own.append(cross_entropy(Tensor(logits), np.array([label])).item())
                right.append(logits.argmax() == label)
            assert losses.data[image] == pytest.approx(np.mean(own), rel=1e-5)
            assert measured["accuracy"][image] == pytest.approx(np.mean(right))


def test_every_parameter_learns(make_pretraining) -> None:
    pretraining = make_pretraining("context")
    step = pretraining.make_step(6)
    step.forward_backward(pretraining.prepare(step, 0))
    for name, parameter in pretraining.model.named_parameters():
        if name != "encoder.pool_score.weight":  # a patch of one token is its own mean
            assert np.abs(parameter.grad).max() > 0, name


def test_the_order_of_a_pair_matters(make_pretraining) -> None:
    head = make_pretraining("context").model.head
    features = np.random.default_rng(0).standard_normal((4, 2, head.fc7.weight.shape[1] // 2)).astype(np.float32)
    with no_grad():
        forth, back = (head(Tensor(np.ascontiguousarray(features[:, order]))).data for order in ([0, 1], [1, 0]))
    assert np.abs(forth - back).max() > 1e-2


def test_settings_reach_the_sampler(make_pretraining) -> None:
    settings = {"patch": 8, "gap": 2, "jitter": 0, "colors": "gray", "gray_probability": 0.5, "colors_per": "image"}
    sampler = make_pretraining(
        "context", **settings, lower_resolution=0.3, fewest_pixels=9, standardize=False
    ).task.sampler
    assert sampler.grid == PatchGrid(32, 8, 2, 0)
    assert (sampler.colors, sampler.gray_probability, sampler.colors_per) == ("gray", 0.5, "image")
    assert (sampler.resolution_probability, sampler.fewest_pixels, sampler.standardize) == (0.3, 9, False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch": 7}, r"cannot take patches of 7x7 pixels.*images of 32x32.*Give --patch another size"),
        ({"patch": 12}, "the images have 32"),
        ({"pairs": 3}, "pairs must be 8, one with each neighbour, or 1; got 3"),
        ({"colors": "grey"}, "colors must be one of drop, project, gray, none; got 'grey'"),
        ({"lower_resolution": 1.5}, r"lower_resolution must be in \[0, 1\]"),
        ({"jitter": -1}, "jitter must be at least 0"),
    ],
)
def test_wrong_settings_are_named(make_pretraining, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_pretraining("context", **settings)


def test_images_of_one_channel_have_no_colours_to_treat() -> None:

    grey = ContextPrediction(PretextConfig(task="context"), (1, 8, 8), (0.5,), (0.2,))
    assert grey.sampler.colors == "none"
    assert (
        ContextPrediction(PretextConfig(task="context"), (3, 32, 32), (0.5,) * 3, (0.2,) * 3).sampler.colors
        == "project"
    )


def test_pictures_before_and_after_a_run(make_pretraining, images, tmp_path) -> None:
    pretraining = make_pretraining("context")
    paths = pretraining.task.draw_questions(images.train, tmp_path)
    with Workers(1) as workers:
        paths += pretraining.task.draw(pretraining.model, images.test, tmp_path, workers)
    assert [path.name for path in paths] == ["patches.png", "answers.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert len(picture.convert("RGB").getcolors(maxcolors=2**24)) > 50, f"{path.name} is all but blank"
    assert pretraining.model.training


def test_other_answers_make_another_picture(tmp_path) -> None:
    right, wrong = np.diag(np.full(8, 10)), np.full((8, 8), 5)
    drawn = [draw_answers(answers, tmp_path / "answers.png").read_bytes() for answers in (right, wrong)]
    assert drawn[0] != drawn[1]


def test_images_of_one_channel_are_drawn_too(tmp_path) -> None:
    sampler = ContextPatches((0.5,), (0.2,), 0, PatchGrid.fit(8), colors="none")
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8)).astype(np.uint8)
    assert draw_sampler(sampler, images, np.arange(2), tmp_path / "patches.png").stat().st_size > 1000


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_is_the_same_on_every_device_and_never_waits(make_pretraining, device: str) -> None:
    def gradients(where: str) -> tuple[dict, dict]:
        pretraining = make_pretraining("context", device=where, micro_batch=16, colors="drop")
        step = pretraining.make_step(6)
        with watched(where, uploads=True):
            values = step.forward_backward(pretraining.prepare(step, 3))
        return values, {name: parameter.grad for name, parameter in pretraining.model.named_parameters()}

    with kernels_disabled():
        expected, expected_gradients = gradients("cpu")
    values, found = gradients(device)
    for name, value in expected.items():
        assert_same(values[name], value, device)
    for name, gradient in expected_gradients.items():
        assert_same(found[name], gradient, device)
