import numpy as np
import pytest
from devices import DEVICES, watched

import minivit as mv
from minivit import Tensor, nn, ops
from minivit.autograd.errors import ShapeError
from minivit.inspect import summarize
from minivit.nn import frozen_running_statistics

NAMES = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


class Net(nn.Module):
    """A convolution, a norm, a rectifier, a norm without scale and shift, a mean over positions."""

    def __init__(self) -> None:
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False, generator=np.random.default_rng(1))
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.BatchNorm2d(4, eps=1e-3, momentum=0.3, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(ops.relu(self.norm(self.conv(x)))).mean((2, 3))  # (B, 4)


def torch_net():
    import torch
    from torch import nn as torch_nn

    class TorchNet(torch_nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch_nn.Conv2d(3, 4, 3, padding=1, bias=False)
            self.norm = torch_nn.BatchNorm2d(4)
            self.last = torch_nn.BatchNorm2d(4, eps=1e-3, momentum=0.3, affine=False)

        def forward(self, x):
            return self.last(torch.relu(self.norm(self.conv(x)))).mean((2, 3))

    return TorchNet()


def test_the_state_has_the_names_order_shapes_and_dtypes_of_pytorch():
    state = nn.BatchNorm2d(4).state_dict()
    assert list(state) == NAMES
    assert [state[name].dtype for name in NAMES] == [np.float32] * 4 + [np.int64]
    assert [state[name].shape for name in NAMES] == [(4,)] * 4 + [()]
    assert list(nn.BatchNorm2d(4, affine=False).state_dict()) == NAMES[2:]
    for name, value in zip(NAMES, (1, 0, 0, 1, 0), strict=True):
        np.testing.assert_array_equal(state[name], np.full(state[name].shape, value))


def test_training_normalises_with_the_batch_and_averages_its_statistics(rng):
    layer = nn.BatchNorm2d(3, momentum=0.2).astype(np.float64)
    x = 2.0 * rng.standard_normal((5, 3, 4, 2)) + 1.0
    y = layer(Tensor(x)).numpy()
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-15)
    np.testing.assert_allclose(y.var((0, 2, 3)), 1, rtol=1e-5)
    np.testing.assert_allclose(layer.running_mean.data, 0.2 * x.mean((0, 2, 3)), rtol=1e-14)
    np.testing.assert_allclose(layer.running_var.data, 0.8 + 0.2 * x.var((0, 2, 3), ddof=1), rtol=1e-14)
    assert layer.num_batches_tracked.item() == 1


def test_evaluation_uses_the_running_statistics_and_leaves_them(rng):
    layer = nn.BatchNorm2d(3).astype(np.float64).eval()
    layer.load_state_dict({**layer.state_dict(), "running_mean": np.arange(3.0), "running_var": np.full(3, 4.0)})
    before = layer.state_dict()
    x = rng.standard_normal((1, 3, 1, 1))
    expected = (x - np.arange(3.0)[:, None, None]) / np.sqrt(4.0 + 1e-5)
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), expected, rtol=1e-14)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.reference
def test_several_steps_of_training_and_then_evaluation_are_pytorchs(rng):
    import torch

    model, theirs = Net().astype(np.float64), torch_net().double()
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in model.state_dict().items()})
    ours, reference = mv.optim.SGD(model, 0.1, momentum=0.9), torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9)
    for _ in range(4):
        x, dy = rng.standard_normal((6, 3, 5, 4)), rng.standard_normal((6, 4))
        model.zero_grad()
        (model(Tensor(x)) * Tensor(dy)).sum().backward()
        ours.step()
        reference.zero_grad()
        (theirs(torch.from_numpy(x)) * torch.from_numpy(dy)).sum().backward()
        reference.step()
    state = model.state_dict()
    assert list(state) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(state[name], value.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)
    x = rng.standard_normal((2, 3, 5, 4))
    expected = theirs.eval()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(model.eval()(Tensor(x)).numpy(), expected, rtol=1e-10, atol=1e-12)


def test_buffers_are_no_parameters():
    model = Net()
    assert {name for name, _ in model.named_buffers()} == {
        f"{m}.{name}" for m in ("norm", "last") for name in NAMES[2:]
    }
    assert {name for name, _ in model.named_parameters()} == {"conv.weight", "norm.weight", "norm.bias"}
    assert model.count_parameters() == 3 * 4 * 9 + 8
    assert len(mv.nn.FlatParameters(model).segments) == 3


def test_only_floats_are_converted():
    model = Net().astype(np.float64)
    assert {name: buffer.dtype for name, buffer in model.last.named_buffers()} == {
        "running_mean": np.float64,
        "running_var": np.float64,
        "num_batches_tracked": np.int64,
    }


def test_a_graph_keeps_the_statistics_that_it_was_made_with(rng):
    layer = nn.BatchNorm2d(2).astype(np.float64).eval()
    x = Tensor(rng.standard_normal((4, 2, 3, 3)), requires_grad=True)
    y = layer(x)
    layer.train()(Tensor(5.0 * x.data))
    layer.running_mean.assign(np.full(2, 9.0))
    layer.running_var.assign(np.full(2, 9.0))
    y.backward(np.ones(y.shape))
    np.testing.assert_allclose(x.grad, 1 / np.sqrt(1 + 1e-5))


def test_without_gradients_training_still_averages(rng):
    layer = nn.BatchNorm2d(2)
    with mv.no_grad():
        layer(Tensor(rng.standard_normal((4, 2, 3, 3)).astype(np.float32)))
    assert layer.num_batches_tracked.item() == 1
    assert np.any(layer.running_mean.data)


def test_the_same_statistics_are_averaged_by_the_text_and_the_composed_op(rng):
    x = rng.standard_normal((4, 2, 3, 3))
    found = []
    for context in (mv.unrolled(), mv.backend.kernels_disabled(), frozen_running_statistics()):
        layer = nn.BatchNorm2d(2).astype(np.float64)
        with context:
            layer(Tensor(x, requires_grad=True))
        found.append(layer.state_dict())
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-15)
    assert found[2]["num_batches_tracked"] == 0
    assert not np.any(found[2]["running_mean"])


def test_recomputing_a_checkpointed_module_averages_once(rng):
    plain, saved = Net().astype(np.float64), Net().astype(np.float64)
    x, dy = rng.standard_normal((4, 3, 5, 5)), rng.standard_normal((4, 4))
    plain(Tensor(x)).backward(dy)
    nn.checkpoint(saved, Tensor(x)).backward(dy)
    for name, value in plain.state_dict().items():
        np.testing.assert_array_equal(saved.state_dict()[name], value)
    np.testing.assert_allclose(saved.conv.weight.grad, plain.conv.weight.grad, rtol=1e-12)


def test_two_dimensional_inputs_are_taken(rng):
    y = nn.BatchNorm2d(3, affine=False).astype(np.float64)(Tensor(rng.standard_normal((8, 3)))).numpy()
    np.testing.assert_allclose(y.var(0), 1, rtol=1e-4)


def test_one_number_a_channel_cannot_be_normalised():
    with pytest.raises(ShapeError, match="each channel has a single number, whose variance is zero"):
        nn.BatchNorm2d(3)(Tensor(np.ones((1, 3, 1, 1), np.float32)))


def test_settings():
    assert repr(nn.BatchNorm2d(8)) == "BatchNorm2d(8, eps=1e-05, momentum=0.1)"
    assert repr(nn.BatchNorm2d(8, affine=False)) == "BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=False)"
    with pytest.raises(ValueError, match=r"the momentum must lie in \[0, 1\], got 1.5"):
        nn.BatchNorm2d(8, momentum=1.5)


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_on_a_device_waits_for_nothing(rng, device):
    x, dy = rng.standard_normal((6, 3, 5, 4)), rng.standard_normal((6, 4))
    here, there = Net().astype(np.float64), Net().astype(np.float64).to(device)
    assert {buffer.device for _, buffer in there.named_buffers()} == {there.device}
    here(Tensor(x)).backward(dy)
    tensor, cotangent = mv.tensor(x, device=device), mv.tensor(dy, device=device)
    with watched(device):
        there(tensor).backward(cotangent)
    for (name, mine), (_, theirs) in zip(there.named_buffers(), here.named_buffers(), strict=True):
        assert mine.device == there.device
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(there.eval()(tensor).numpy(), here.eval()(Tensor(x)).numpy(), rtol=1e-12, atol=1e-14)


def test_a_summary_shows_the_layer_and_leaves_its_statistics():
    model = Net()
    before = model.state_dict()
    summary = summarize(model, (1, 3, 8, 8))
    conv, norm, last = summary.layer.children
    assert (norm.kind, norm.shape, norm.parameters) == ("BatchNorm2d", (1, 4, 8, 8), 8)
    assert (last.parameters, conv.parameters) == (0, 108)
    assert norm.kept_bytes == pytest.approx(4 * 4 * 64, abs=200)  # its input and two numbers a channel
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
