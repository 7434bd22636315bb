import pytest

from minivit.inspect.multiply_adds import multiply_adds
from minivit.inspect.summary import summarize
from minivit.recipes.config import TrainConfig
from minivit.recipes.presets import MODELS, build_model, preset_settings

SHAPES = {"digits": (1, 8, 8)}


@pytest.mark.parametrize("dataset", MODELS)
def test_every_preset_is_complete_and_its_model_fits_its_data(dataset: str) -> None:
    filled = TrainConfig().filled(preset_settings(dataset))
    open_settings = [name for name in vars(filled) if getattr(filled, name) is None]
    assert set(open_settings) <= {"data_dir", "epochs", "minutes", "steps", "micro_batch", "training_images"}
    model = build_model(
        "preset", dataset, image_shape=SHAPES.get(dataset, (3, 32, 32)), num_classes=7, seed=0, drop_path=0.0
    )
    assert model.config["num_classes"] == 7


def test_most_of_the_default_model_is_a_transformer() -> None:
    model = build_model("preset", "cifar10", image_shape=(3, 32, 32), num_classes=10, seed=0, drop_path=0.0)
    dim, hidden, tokens = model.config["dim"], model.config["mlp_dim"], model.position_count
    block = (
        multiply_adds("linear", [(1, tokens, dim), (3 * dim, dim), None], (1, tokens, 3 * dim))
        + multiply_adds("qkv_attention", [(1, tokens, 3 * dim), None], (1, tokens, dim))
        + multiply_adds("linear", [(1, tokens, dim), (dim, dim), None], (1, tokens, dim))
        + multiply_adds("mlp", [(1, tokens, dim), (hidden, dim), (hidden,), (dim, hidden), (dim,)], (1, tokens, dim))
    )
    assert model.config["depth"] * block >= 0.5 * summarize(model).multiply_adds


def test_a_model_of_another_family_gets_the_settings_that_it_has() -> None:
    for name in ("resnet_micro_cifar", "wrn_28_2_cifar"):
        model = build_model(name, "digits", image_shape=(1, 8, 8), num_classes=7, seed=3, drop_path=0.0)
        assert (model.config["channels"], model.config["num_classes"], model.config["seed"]) == (1, 7, 3)
    with pytest.raises(ValueError, match=r"resnet18 is a ResNet, which has no drop_path; leave it at 0, got 0\.1"):
        build_model("resnet18", "cifar10", image_shape=(3, 32, 32), num_classes=7, seed=0, drop_path=0.1)


def test_images_that_are_not_square_are_refused() -> None:
    with pytest.raises(ValueError, match="square images, the data set's are 32 x 24"):
        build_model("preset", "cifar10", image_shape=(3, 32, 24), num_classes=10, seed=0, drop_path=0.0)
