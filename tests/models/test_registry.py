"""Tests of minivit/models/registry.py."""

import pytest

import minivit as mv
from minivit import models
from minivit.inspect import summarize

# Parameters with 1000 classes at 224 px. google-research/vision_transformer, vit_jax/models_test.py, and the
# closed form
# 3p²D + D + D + (n+1)D + L(4D + 4D² + 4D + 2DM + M + D) + 2D + DC + C with n = (224/p)² where that file has no number.
PUBLISHED = {
    "vit_tiny_patch16_224": 5_717_416,
    "vit_small_patch8_224": 22_055_272,
    "vit_small_patch16_224": 22_050_664,
    "vit_small_patch32_224": 22_878_952,
    "vit_base_patch8_224": 86_576_872,
    "vit_base_patch16_224": 86_567_656,
    "vit_base_patch32_224": 88_224_232,
    "vit_large_patch14_224": 304_203_752,
    "vit_large_patch16_224": 304_326_632,
    "vit_large_patch32_224": 306_535_400,
    "vit_huge_patch14_224": 632_045_800,
    "vit_testing": 21_390,
    "vit_tiny_cifar": 5_362_762,
    "vit_small_cifar": 21_342_346,
    "vit_lite_cifar": 3_722_250,
    "vit_192x9_cifar": 2_697_610,
    "vit_micro_cifar": 460_810,  # the plain ViT of ten minutes on a CPU
    "vit_nano_cifar": 141_962,
    # torchvision/models/resnet.py, `num_params` of each set of weights.
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    # With a 3x3 stem (9,408 - 1,728 fewer for 64 channels) and 10 classes.
    "resnet18_cifar": 11_689_512 - 7_680 - 990 * (512 + 1),
    "resnet34_cifar": 21_797_672 - 7_680 - 990 * (512 + 1),
    "resnet50_cifar": 25_557_032 - 7_680 - 990 * (2048 + 1),
    "resnet_micro_cifar": 480_026,  # the ResNet to compare vit_micro_cifar with
    "resnet_nano_cifar": 126_834,  # ... and vit_nano_cifar
    # Zagoruyko & Komodakis 2016, table 4, in millions: 2.7 (16-4), 36.5 (28-10); FixMatch-pytorch's 28-2.
    "wrn_16_4_cifar": 2_748_890,
    "wrn_28_2_cifar": 1_467_610,
    "wrn_28_8_cifar": 23_354_842,
    "wrn_28_10_cifar": 36_479_194,
}


def count(name, **overrides):
    return models.create(name, initialization="none", **overrides).count_parameters()


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name):
    assert count(name) == PUBLISHED[name]


def test_every_named_model_is_listed_and_counted():
    assert models.list() == tuple(models.CONFIGS)
    assert set(models.list()) == set(PUBLISHED)


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("vit_tiny_patch16_224", {"num_classes": 10}, 5_526_346),
        ("vit_tiny_patch16_224", {"num_classes": 0}, 5_524_416),
        ("vit_tiny_patch16_224", {"image_size": 384}, 5_790_376),
        ("vit_tiny_patch16_224", {"patch_size": 8}, 5_719_720),
        ("vit_tiny_patch16_224", {"patch_size": 32}, 6_131_560),
        ("vit_small_patch16_224", {"num_classes": 10}, 21_669_514),
        ("vit_small_patch16_224", {"num_classes": 0}, 21_665_664),
        ("vit_small_patch16_224", {"image_size": 384}, 22_196_584),
        ("vit_small_patch16_224", {"pool": "mean"}, 22_049_896),
        ("vit_small_patch32_224", {"pool": "mean"}, 22_878_184),
        ("vit_base_patch16_224", {"num_classes": 10}, 85_806_346),
        ("vit_base_patch16_224", {"num_classes": 0}, 85_798_656),
        ("vit_base_patch16_224", {"image_size": 384}, 86_859_496),
        ("vit_base_patch16_224", {"num_classes": 21_843}, 102_595_923),
        # Google's imagenet21k files have pre_logits of width D: D² + D more.
        ("vit_base_patch16_224", {"num_classes": 21_843, "representation_size": 768}, 103_186_515),
        ("vit_large_patch16_224", {"num_classes": 21_843, "representation_size": 1024}, 326_740_307),
        ("vit_base_patch16_224", {"pool": "mean"}, 86_566_120),
        ("vit_base_patch32_224", {"pool": "mean"}, 88_222_696),
        ("vit_base_patch16_224", {"image_size": 32, "patch_size": 4, "num_classes": 10}, 85_152_010),
        ("vit_large_patch16_224", {"num_classes": 10}, 303_311_882),
        ("vit_large_patch16_224", {"num_classes": 0}, 303_301_632),
        ("vit_large_patch16_224", {"image_size": 384}, 304_715_752),
        ("vit_huge_patch14_224", {"patch_size": 16}, 632_199_400),
        ("vit_huge_patch14_224", {"patch_size": 16, "num_classes": 10}, 630_931_210),
        ("vit_huge_patch14_224", {"patch_size": 16, "num_classes": 0}, 630_918_400),
        ("vit_huge_patch14_224", {"patch_size": 16, "image_size": 384}, 632_685_800),
        ("vit_testing", {"pool": "mean"}, 21_370),
        ("vit_192x9_cifar", {"num_classes": 100}, 2_714_980),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value),
)
def test_counts_of_variants(name, overrides, expected):
    assert count(name, **overrides) == expected


def test_overrides_replace_the_named_settings():
    model = models.create("vit_testing", num_classes=7, gelu="tanh", seed=3)
    assert model.config["num_classes"] == 7
    assert model.config["gelu"] == "tanh"
    assert model.config["dim"] == 10
    assert models.CONFIGS["vit_testing"].settings["num_classes"] == 1000


def test_the_configuration_makes_the_model_again():
    model = models.create("vit_testing", num_classes=7, pool="mean", seed=3)
    twin = mv.models.VisionTransformer(**model.config)
    assert twin.config == model.config
    assert all((twin.state_dict()[name] == array).all() for name, array in model.state_dict().items())


def test_a_setting_that_the_family_lacks_is_refused_with_those_that_it_has():
    with pytest.raises(
        ValueError, match=r"resnet50 is a ResNet, which has no image_size, patch_size; it has layers, b"
    ):
        models.create("resnet50", image_size=32, patch_size=4, width=8)
    assert "widen" in models.settings(models.find("wrn_28_2_cifar").family)


def test_the_small_resnet_is_as_large_as_the_small_transformer():
    resnet, transformer = (summarize(models.create(name)) for name in ("resnet_micro_cifar", "vit_micro_cifar"))
    assert (transformer.parameters, transformer.multiply_adds) == (460_810, 33_338_304)
    assert (resnet.parameters, resnet.multiply_adds) == (480_026, 35_046_656)


def test_an_unknown_name_gets_the_nearest_ones():
    with pytest.raises(ValueError, match=r"unknown model 'vit_smal_patch16_224'; did you mean vit_small_patch16_224"):
        models.create("vit_smal_patch16_224")
    with pytest.raises(ValueError, match=r"unknown model 'q'\. All models: vit_tiny_patch16_224, "):
        models.create("q")
