"""Tests of minivit/optim/optimizer.py: what every optimiser shares."""

import numpy as np
import pytest
from devices import DEVICES

import minivit as mv
from minivit import models, nn, optim
from minivit.backend import device_of
from minivit.optim import decays_matrices

OPTIMIZERS = {
    "AdamW": lambda model, **options: optim.AdamW(model, 0.1, **options),
    "SGD": lambda model, **options: optim.SGD(model, 0.1, nesterov=True, **options),
}


class Model(nn.Module):
    def __init__(self, names=("first", "second", "third")):
        for name in names:
            rng = np.random.default_rng(list(name.encode()))
            setattr(self, name, nn.Linear(3, 5, generator=rng))
        self.astype(np.float64)


def give_gradients(model, step=0, names=None):
    model.zero_grad()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and (names is None or name.split(".")[0] in names):
            rng = np.random.default_rng([step, *name.encode()])
            parameter.grad = rng.standard_normal(parameter.shape).astype(parameter.dtype)


@pytest.fixture(params=OPTIMIZERS)
def make(request):
    return OPTIMIZERS[request.param]


def test_a_parameter_without_gradient_is_neither_moved_nor_decayed_nor_is_its_state(make):
    model = Model()
    optimizer = make(model, weight_decay=0.5)
    give_gradients(model)
    optimizer.step()
    weights, state = model.state_dict(), optimizer.state_dict()
    give_gradients(model, 1, names=("first", "third"))
    optimizer.step()
    for name, values in model.state_dict().items():
        assert (values == weights[name]).all() == name.startswith("second"), name
    for name, values in optimizer.state_dict().items():
        if ".second." in name:
            np.testing.assert_array_equal(values, state[name])


def test_parameters_are_updated_as_if_each_were_alone(make):
    """Joined runs of the flat buffer give what separate updates give."""
    together = Model()
    optimizer = make(together, weight_decay=0.5)
    single = {name: Model((name,)) for name in ("first", "second", "third")}
    optimizers = {name: make(model, weight_decay=0.5) for name, model in single.items()}
    for step, names in enumerate([("first", "second", "third"), ("first",), ("second", "third"), ("first", "third")]):
        give_gradients(together, step, names)
        optimizer.step()
        for name in names:
            give_gradients(single[name], step)
            optimizers[name].step()
    for name, values in together.state_dict().items():
        np.testing.assert_allclose(values, single[name.split(".")[0]].state_dict()[name], rtol=1e-13)


def test_weight_decay_is_for_matrices_only():
    model = models.create("vit_tiny_cifar", initialization="none", depth=1)
    decayed = [name for name, p in model.named_parameters() if decays_matrices(name, p)]
    assert decayed == [
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.0.attn.proj.weight",
        "blocks.0.mlp.fc1.weight",
        "blocks.0.mlp.fc2.weight",
        "head.weight",
    ]
    assert not decays_matrices("encoder.cls_token", model.cls_token)
    assert not decays_matrices("encoder.pos_embed", model.pos_embed)


def test_weight_decay_goes_by_parameter(make):
    model = Model()
    optimizer = make(model, weight_decay=0.5, decays=lambda name, _: name == "second.bias")
    model.second.bias.assign(np.ones(5))
    before = model.state_dict()
    for parameter in model.parameters():
        parameter.grad = np.zeros(parameter.shape)
    optimizer.step()
    changed = [name for name, values in model.state_dict().items() if (values != before[name]).any()]
    assert changed == ["second.bias"]


def test_the_learning_rate_goes_by_parameter(make):
    model, plain = Model(), Model()
    scales = {"first": 0.0, "second": 1.0, "third": 0.25}
    optimizer = make(model, weight_decay=0.5, learning_rate_scale=lambda name, _: scales[name.split(".")[0]])
    other = make(plain, weight_decay=0.5)
    before = model.state_dict()
    for m in (model, plain):
        give_gradients(m)
    optimizer.step()
    other.step()
    for name, values in model.state_dict().items():
        scale = scales[name.split(".")[0]]
        step = plain.state_dict()[name] - before[name]
        np.testing.assert_allclose(values - before[name], scale * step, rtol=1e-10, atol=1e-15)


def test_a_learning_rate_of_zero_moves_nothing(make):
    model = Model()
    optimizer = make(model, weight_decay=0.5)
    optimizer.learning_rate = 0.0
    before = model.state_dict()
    give_gradients(model)
    optimizer.step()
    for name, values in model.state_dict().items():
        np.testing.assert_array_equal(values, before[name])


def test_zero_grad_forgets_gradients_of_frozen_parameters_too(make):
    model = Model()
    optimizer = make(model)
    give_gradients(model)
    model.first.requires_grad(False)
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def state_of(optimizer, name):
    return {key: values for key, values in optimizer.state_dict().items() if key.endswith(name)}


def add_a_layer(model):
    model.extra = nn.Linear(2, 2).astype(model.first.weight.dtype)


def freeze_a_layer(model):
    model.second.requires_grad(False)


def replace_a_layer(model):
    model.second = nn.Linear(3, 5).astype(model.first.weight.dtype)


def change_the_dtype(model):
    model.astype(np.float32)


@pytest.mark.parametrize("change", [add_a_layer, freeze_a_layer, replace_a_layer, change_the_dtype])
def test_the_state_follows_a_change_of_the_tree(make, change):
    """What stayed is trained on as if nothing had happened, what is new starts anew."""
    model, plain = Model(), Model()
    optimizer, other = make(model, weight_decay=0.1), make(plain, weight_decay=0.1)
    for step in range(3):
        for m, o in ((model, optimizer), (plain, other)):
            give_gradients(m, step)
            o.step()
    change(model)
    before = state_of(optimizer, "first.weight")
    for key, values in state_of(other, "first.weight").items():
        np.testing.assert_allclose(before[key], values, rtol=1e-6)
    for step in range(3, 6):
        for m, o in ((model, optimizer), (plain, other)):
            give_gradients(m, step)
            o.step()
    assert optimizer.flat.is_current
    tolerance = 1e-5 if change is change_the_dtype else 1e-13
    for name in ("first.weight", "first.bias", "third.weight", "third.bias"):
        np.testing.assert_allclose(model.state_dict()[name], plain.state_dict()[name], rtol=tolerance, atol=tolerance)
    if change is replace_a_layer:
        assert optimizer.updates["second.weight"] == 3
        assert optimizer.updates["first.weight"] == 6
    if change is freeze_a_layer:
        assert "second.weight" not in optimizer.updates
        assert not any("second" in key for key in optimizer.state_dict())


@pytest.mark.parametrize("device", DEVICES)
def test_the_state_follows_the_model_to_another_device_and_back(make, device):
    model, plain = Model(), Model()
    optimizer, other = make(model, weight_decay=0.1), make(plain, weight_decay=0.1)
    average, expected = (optim.ExponentialMovingAverage(o.flat, 0.9) for o in (optimizer, other))
    for step, where in enumerate(("cpu", device, device, "cpu")):
        give_gradients(model, step)
        give_gradients(plain, step)
        model.to(where)  # with its gradients
        optimizer.step()
        other.step()
        average.update()
        expected.update()
        assert optimizer.flat.device.startswith(where)
        assert all(device_of(buffer) == optimizer.flat.device for buffer in optimizer.state.values())
        assert device_of(average.average) == optimizer.flat.device
        model.to("cpu")
    for mine, theirs in ((model, plain), (optimizer, other), (average, expected)):
        found = mine.state_dict()
        for name, values in theirs.state_dict().items():
            np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-15)


def test_gradients_computed_between_a_change_and_the_step_count():
    model, plain = Model(), Model()
    optimizer, other = optim.SGD(model, 0.1), optim.SGD(plain, 0.1)
    for m in (model, plain):
        mv.manual_seed(0)
        add_a_layer(m)
        give_gradients(m)
    other.flat.refresh()
    for o in (optimizer, other):
        o.step()
    for name, values in model.state_dict().items():
        np.testing.assert_array_equal(values, plain.state_dict()[name])
    assert np.abs(model.extra.weight.data).max() > 0


@pytest.mark.parametrize("seen", [0, 3])
def test_a_saved_state_goes_on_with_the_same_bits(make, seen):
    def run(interrupted):
        model = Model()
        optimizer = make(model, weight_decay=0.1)
        for step in range(8):
            if interrupted and step == seen:
                weights, state = model.state_dict(), optimizer.state_dict()
                model = Model()
                optimizer = make(model, weight_decay=0.1)
                model.load_state_dict(weights)
                optimizer.load_state_dict(state)
            give_gradients(model, step, names=None if step % 2 else ("first", "second"))
            optimizer.step()
        return model.state_dict(), optimizer.state_dict()

    for one, other in zip(run(False), run(True), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_a_state_that_does_not_fit_is_refused_and_nothing_written(make):
    model = Model()
    optimizer = make(model)
    give_gradients(model)
    optimizer.step()
    before = optimizer.state_dict()
    key = optimizer.state_names[0]
    state = {name: values + 1 for name, values in before.items()}
    del state[f"{key}.first.weight"]
    state[f"{key}.second.bias"] = np.zeros(4)
    with pytest.raises(nn.StateError) as caught:
        optimizer.load_state_dict(state)
    assert str(caught.value).splitlines() == [
        f"the state does not fit {type(optimizer).__name__}; nothing was loaded:",
        f"  shape of {key}.second.bias: expected (5,), got (4,)",
        f"  missing {key}.first.weight",
    ]
    for name, values in optimizer.state_dict().items():
        np.testing.assert_array_equal(values, before[name])


def test_a_step_touches_the_parameters_it_could_have_changed(make):
    model = Model()
    optimizer = make(model)
    versions = [p.version for p in model.parameters()]
    give_gradients(model)
    optimizer.step()
    assert all(p.version > version for p, version in zip(model.parameters(), versions, strict=True))


def test_gradients_that_a_backward_accumulates_are_used(make):
    """Two backwards without zero_grad between them are one of the sum."""
    model, plain = Model(("first",)), Model(("first",))
    x = np.random.default_rng(0).standard_normal((4, 3))
    for m, parts in ((model, (slice(0, 1), slice(1, 4))), (plain, (slice(0, 4),))):
        optimizer = make(m)
        for part in parts:
            (m.first(mv.Tensor(x[part])) ** 2).sum().backward()
        optimizer.step()
    for name, values in model.state_dict().items():
        np.testing.assert_allclose(values, plain.state_dict()[name], rtol=1e-12)


def test_an_optimizer_says_what_a_subclass_has_to_define():
    model = Model()
    optimizer = optim.Optimizer(model, 0.1)
    give_gradients(model)
    with pytest.raises(NotImplementedError):
        optimizer.step()
