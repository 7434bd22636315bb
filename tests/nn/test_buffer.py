"""Tests of minivit/nn/buffer.py, and of modules with buffers."""

import numpy as np
import pytest
from devices import DEVICES

import minivit as mv
from minivit import interop, nn
from minivit.autograd.errors import ShapeError


class Counter(nn.Module):
    """A parameter after buffers of two kinds, one of them shared with a layer below."""

    def __init__(self):
        self.steps = nn.Buffer(np.array(3))
        self.mean = nn.Buffer(np.array([1.0, 2.0]))
        self.weight = nn.Parameter(np.zeros(2))
        self.below = [nn.Linear(2, 1)]
        self.again = {"mean": self.mean}


def test_a_module_lists_parameters_then_buffers_then_what_is_below():
    model = Counter()
    assert list(model.state_dict()) == ["weight", "steps", "mean", "below.0.weight", "below.0.bias"]
    assert [name for name, _ in model.named_buffers()] == ["steps", "mean"]
    assert [name for name, _ in model.named_parameters()] == ["weight", "below.0.weight", "below.0.bias"]


def test_a_buffer_has_no_gradient():
    model = Counter()
    (model.weight * model.mean).sum().backward()
    np.testing.assert_array_equal(model.weight.grad, [1.0, 2.0])
    assert not model.mean.requires_grad
    assert model.mean.grad is None


def test_a_state_goes_round():
    model, other = Counter(), Counter()
    model.mean.assign(np.array([5.0, 6.0]))
    model.steps.assign(np.array(2**40 + 1))
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other.mean.data, [5.0, 6.0])
    assert other.steps.item() == 2**40 + 1
    with pytest.raises(nn.StateError, match="missing steps"):
        other.load_state_dict({name: value for name, value in model.state_dict().items() if name != "steps"})


def test_a_state_of_another_kind_of_numbers_is_refused_and_nothing_loaded():
    model = Counter()
    state = {**model.state_dict(), "weight": np.ones(2), "steps": np.array(1.5)}
    with pytest.raises(nn.StateError, match="steps holds int64, the state has float64; nothing was loaded"):
        model.load_state_dict(state)
    assert not model.weight.data.any()


def test_values_are_copied_in_and_the_old_ones_left_alone():
    buffer = nn.Buffer(np.zeros(2))
    before, given = buffer.data, np.array([1.0, 2.0])
    buffer.assign(given)
    given[0] = 9.0
    np.testing.assert_array_equal(buffer.data, [1.0, 2.0])
    np.testing.assert_array_equal(before, [0.0, 0.0])
    with pytest.raises(ShapeError, match=r"has shape \(2,\), the new values have \(3,\)"):
        buffer.assign(np.ones(3))


@pytest.mark.parametrize("device", DEVICES)
def test_buffers_move_with_their_module_and_keep_their_kind(device):
    model = Counter().astype(np.float32).to(device)
    assert model.steps.device == model.mean.device == model.weight.device == model.device
    assert (model.steps.dtype, model.mean.dtype) == (np.int64, np.float32)
    model.load_state_dict({"mean": np.array([3.0, 4.0]), "steps": np.array(7, np.int32)}, strict=False)
    assert model.steps.device == model.device
    assert model.steps.item() == 7
    assert model.steps.dtype == np.int64
    np.testing.assert_array_equal(model.to("cpu").mean.data, np.array([3.0, 4.0], np.float32))


@pytest.mark.parametrize("name", ["weights.npz", "weights.safetensors"])
def test_a_file_keeps_integers(tmp_path, name):
    model = mv.models.create("resnet_micro_cifar", num_classes=3)
    counters = [buffer for _, buffer in model.named_buffers() if buffer.dtype == np.int64]
    assert counters
    for number, counter in enumerate(counters):
        counter.assign(np.array(2**40 + number))
    interop.save(model, tmp_path / name, format="timm")
    other = interop.load(mv.models.create("resnet_micro_cifar", num_classes=3), tmp_path / name)
    for (key, value), (_, expected) in zip(other.named_buffers(), model.named_buffers(), strict=True):
        assert value.dtype == expected.dtype
        np.testing.assert_array_equal(value.data, expected.data, err_msg=key)
