"""The gradients of residual networks against numbers that need no backward, composed, and on every device."""

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

import minivit as mv
from minivit import ops
from minivit.autograd.check import check_gradients
from minivit.backend import device_of, kernels_disabled
from minivit.models import ResNet, WideResNet
from minivit.nn import frozen_running_statistics

SMALL = {"num_classes": 3, "channels": 2, "seed": 4}
VARIANTS = {
    "basic": lambda: ResNet(layers=(1, 1), block="basic", width=2, stem="cifar", zero_init_last=False, **SMALL),
    "bottleneck": lambda: ResNet(layers=(1, 1), block="bottleneck", width=2, zero_init_last=False, **SMALL),
    "wide": lambda: WideResNet(depth=10, widen=1, **SMALL),
}


def make(name):
    """A small model whose every bias is random: at a bias of zero, what lies behind dead units is at a ReLU's kink."""
    model = VARIANTS[name]()
    rng = np.random.default_rng(0)
    for path, parameter in model.named_parameters():
        if path.endswith("bias"):
            parameter.assign(0.3 * rng.standard_normal(parameter.shape))
    return model


def images(side=8):
    return np.random.default_rng(1).standard_normal((3, 2, side, side))


def as_function(model):
    """The model as a function of its images and of every parameter: what `check_gradients` takes."""
    places = [
        (module, name, value)
        for _, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, mv.nn.Parameter)
    ]

    def function(x, *values):
        try:
            for (module, name, _), value in zip(places, values, strict=True):
                setattr(module, name, value)
            with frozen_running_statistics():
                return model(x)
        finally:
            for module, name, parameter in places:
                setattr(module, name, parameter)

    return function, [value.data for *_, value in places]


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_every_gradient_agrees_with_central_differences(name, training):
    function, values = as_function(make(name).astype(np.float64).train(training))
    # A step of 1e-6 crosses no ReLU's kink here; what is left of the differences is rounding.
    report = check_gradients(
        function, images(32 if name == "bottleneck" else 8), *values, max_entries=3, eps=1e-6, rtol=1e-5
    )
    assert len(report.arguments) == 1 + len(values)
    assert report.largest_error < 1e-5


def gradients(model, unrolled=False):
    model.zero_grad()
    x = mv.Tensor(images(32), requires_grad=True)
    if unrolled:
        with mv.unrolled():
            y = model(x)
    else:
        y = model(x)
    y.backward(np.random.default_rng(5).standard_normal(y.shape))
    return {"images": x.grad} | {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("name", VARIANTS)
def test_fused_and_composed_gradients_agree(name):
    model = make(name).astype(np.float64)
    fused, composed = gradients(model), gradients(model, unrolled=True)
    with kernels_disabled():
        text = gradients(model)
    for path, expected in composed.items():
        scale = np.abs(expected).max()
        assert scale > 1e-6, path
        np.testing.assert_allclose(fused[path], expected, rtol=0, atol=1e-11 * scale, err_msg=path)
        np.testing.assert_allclose(text[path], expected, rtol=0, atol=1e-11 * scale, err_msg=path)


def forward_backward(name, device):
    model = make(name).to(device)
    x = mv.tensor(images(16).astype(np.float32), device=device)
    labels = mv.tensor(np.array([0, 2, 1]), device=device)
    with watched(device):
        logits = model(x)
        ops.cross_entropy(logits, labels, 0.1).backward()
    return [logits.data, *(p.grad for p in model.parameters()), *(buffer.data for _, buffer in model.named_buffers())]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_computes_the_same_on_every_device_and_never_waits(name, device):
    with kernels_disabled():
        reference = forward_backward(name, "cpu")
        found = forward_backward(name, device)
    for mine, expected in zip(found, reference, strict=True):
        assert device_of(mine).startswith(device)
        assert_same(mine, expected, device)
