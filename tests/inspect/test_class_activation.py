"""Tests of minivit/inspect/class_activation.py."""

import numpy as np
import pytest

from minivit import models
from minivit.inspect import class_activation, has_class_activation
from minivit.models import ResNet, VisionTransformer, WideResNet

FAMILIES = {
    "ResNet": lambda: ResNet(layers=(1, 1), block="basic", width=4, num_classes=6, stem="cifar", zero_init_last=False),
    "WideResNet": lambda: WideResNet(depth=10, widen=1, num_classes=6),
}


def images(batch=3, side=16):
    return np.random.default_rng(0).standard_normal((batch, 3, side, side)).astype(np.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mean_over_a_map_and_the_bias_make_the_logit(family):
    model = FAMILIES[family]()
    model.fc.bias.assign(np.arange(6, dtype=np.float32))
    x = images()
    found = class_activation(model, x, count=6)
    assert found.maps.shape[:2] == (3, 6)
    logits = np.take_along_axis(found.output, found.classes, 1)
    means = found.maps.mean((2, 3))
    assert np.abs(means).max() > 0.05
    np.testing.assert_allclose(means + found.classes, logits, rtol=1e-5, atol=1e-5)
    assert (np.diff(logits, axis=1) <= 0).all()  # likeliest first
    np.testing.assert_array_equal(found.output, class_activation(model, x).output)


def test_a_map_lights_up_where_the_evidence_is():
    """A network without any mixing of positions, whose head reads how bright the first channel is."""
    model = ResNet(layers=(1,), block="basic", width=2, num_classes=2, stem="cifar")
    kernel = np.zeros((2, 3, 3, 3), np.float32)
    kernel[0, 0, 1, 1] = 1.0
    model.conv1.weight.assign(kernel)
    model.fc.weight.assign(np.array([[1.0, 0.0], [0.0, 0.0]], np.float32))
    model.fc.bias.assign(np.zeros(2, np.float32))
    x = np.zeros((1, 3, 8, 8), np.float32)
    x[0, 0, 2, 5] = 1.0
    found = class_activation(model, x)
    assert found.classes[0, 0] == 0
    assert np.unravel_index(found.maps[0, 0].argmax(), (8, 8)) == (2, 5)
    assert np.count_nonzero(found.maps[0, 0]) == 1


def test_the_model_is_left_as_it_was():
    model = FAMILIES["ResNet"]()
    model.layer1[0].eval()
    state = model.state_dict()
    class_activation(model, images())
    assert model.training
    assert not model.layer1[0].bn1.training
    assert all(np.array_equal(state[name], array) for name, array in model.state_dict().items())


def test_who_has_no_such_head_is_refused():
    transformer = models.create("vit_testing", initialization="none")
    assert isinstance(transformer, VisionTransformer)
    assert not has_class_activation(transformer)
    with pytest.raises(ValueError, match=r"VisionTransformer has no linear head `fc`.*heat_maps"):
        class_activation(transformer, images())
    headless = ResNet(layers=(1,), width=2, num_classes=0, stem="cifar")
    with pytest.raises(ValueError, match="take a ResNet with classes"):
        class_activation(headless, images())
    with pytest.raises(ValueError, match="count must be at least 1"):
        class_activation(FAMILIES["ResNet"](), images(), count=0)
