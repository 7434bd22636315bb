"""ResNets and WideResNets in plain PyTorch with our weights: the same logits, gradients and running statistics."""

import numpy as np
import pytest

import minivit as mv
from minivit import models
from minivit.compare.torch_resnet import torch_twin

pytestmark = pytest.mark.reference("torch")

SIZES = {"imagenet": 48, "cifar": 16}
CASES = {
    "resnet18": ("resnet18", {"width": 8}),
    "resnet34": ("resnet34", {"width": 4}),
    "resnet50": ("resnet50", {"width": 4}),
    "resnet18_cifar": ("resnet18_cifar", {"width": 8}),
    "resnet34_cifar": ("resnet34_cifar", {"width": 4}),
    "resnet50_cifar": ("resnet50_cifar", {"width": 4, "bn_eps": 1e-3, "bn_momentum": 0.3}),
    "resnet_micro_cifar": ("resnet_micro_cifar", {}),
    "wrn_28_2": ("wrn_28_2_cifar", {}),
    "wrn_10_1": ("wrn_28_2_cifar", {"depth": 10, "widen": 1, "slope": 0.3}),
}


def randomised(name, overrides, dtype):
    """A named model whose every weight and statistic is random, of a size that keeps the stream's."""
    model = models.create(name, num_classes=7, initialization="none", **overrides)
    rng = np.random.default_rng(0)
    state = {}
    for path, array in model.state_dict().items():
        if array.dtype.kind != "f":
            state[path] = np.full(array.shape, 3, array.dtype)
        elif path.endswith("running_var"):
            state[path] = rng.uniform(0.5, 1.5, array.shape)
        elif array.ndim == 1:
            state[path] = 0.3 * rng.standard_normal(array.shape) + (path.endswith("weight"))
        else:
            state[path] = rng.standard_normal(array.shape) * (1.5 / np.prod(array.shape[1:])) ** 0.5
    model.load_state_dict(state)
    return model.astype(dtype)


def assert_close(ours, theirs, rtol, name):
    theirs = theirs.detach().numpy()
    assert ours.dtype == theirs.dtype, name
    assert np.abs(theirs).max() > 1e-8, f"{name} is all but zero in PyTorch: nothing would be compared"
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max(), err_msg=name)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_logits_gradients_and_running_statistics_are_pytorchs(case, training):
    import torch

    name, overrides = CASES[case]
    model = randomised(name, overrides, np.float64).train(training)
    twin = torch_twin(model).train(training)
    theirs = twin.state_dict()
    assert [(k, tuple(v.shape)) for k, v in theirs.items()] == [(k, v.shape) for k, v in model.state_dict().items()]

    rng = np.random.default_rng(1)
    side = SIZES[model.config.get("stem", "cifar")]
    x, labels = rng.standard_normal((4, 3, side, side)), rng.integers(0, 7, 4)
    images = mv.tensor(x, requires_grad=True)
    logits = model(images)
    mv.ops.cross_entropy(logits, mv.tensor(labels), label_smoothing=0.1).backward()

    their_images = torch.tensor(x, requires_grad=True)
    their_logits = twin(their_images)
    torch.nn.functional.cross_entropy(their_logits, torch.tensor(labels), label_smoothing=0.1).backward()

    rtol = 1e-10
    assert_close(logits.numpy(), their_logits, rtol, "logits")
    assert_close(images.grad, their_images.grad, rtol, "images")
    gradients = dict(twin.named_parameters())
    for path, parameter in model.named_parameters():
        assert_close(parameter.grad, gradients[path].grad, rtol, path)
    for path, values in model.state_dict().items():  # statistics that training has moved on, or not
        np.testing.assert_allclose(values, twin.state_dict()[path].numpy(), rtol=1e-10, atol=1e-12, err_msg=path)


@pytest.mark.parametrize("case", ["resnet18", "resnet50_cifar", "wrn_10_1"])
def test_single_precision_agrees_as_far_as_it_goes(case):
    import torch

    name, overrides = CASES[case]
    model = randomised(name, overrides, np.float32).train()
    twin = torch_twin(model).train()
    side = SIZES[model.config.get("stem", "cifar")]
    x = np.random.default_rng(1).standard_normal((4, 3, side, side)).astype(np.float32)
    assert_close(model(mv.tensor(x)).numpy(), twin(torch.tensor(x)), 2e-4, "logits in training")
    assert_close(model.eval()(mv.tensor(x)).numpy(), twin.eval()(torch.tensor(x)), 2e-4, "logits in evaluation")


def test_dropout_has_no_twin():
    with pytest.raises(ValueError, match="dropout has to be 0"):
        torch_twin(models.create("wrn_28_2_cifar", depth=10, dropout=0.1))
