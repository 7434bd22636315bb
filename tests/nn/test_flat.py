"""Tests of minivit/nn/flat.py."""

import gc
import weakref

import numpy as np
import pytest
from devices import DEVICES

import minivit as mv
from minivit import nn
from minivit.autograd import Tensor, backward
from minivit.autograd.errors import DeviceError, DTypeError, GradientError
from minivit.nn.flat import ALIGNMENT, combine


class Model(nn.Module):
    """Sizes that are no multiples of a cache line, so that there are gaps."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.first = nn.Linear(3, 5, generator=rng)
        self.norm = nn.LayerNorm(5)
        self.last = nn.Linear(5, 2, generator=rng)

    def forward(self, x):
        return self.last(self.norm(self.first(x)))


def images(rows=4, dtype=np.float32, seed=1):
    return Tensor(np.random.default_rng(seed).standard_normal((rows, 3)).astype(dtype))


def loss_of(model, x):
    return (model(x) * Tensor(np.random.default_rng(2).standard_normal((x.shape[0], 2)).astype(x.dtype))).sum()


def plain_gradients(model, x):
    """Without any flat buffer."""
    parameters = dict(model.named_parameters())
    gradients = mv.grad(loss_of(model, x), list(parameters.values()))
    return {name: np.array(g.data) for name, g in zip(parameters, gradients, strict=True)}


def test_parameters_and_gradients_are_views_of_the_buffers():
    model = Model()
    before = model.state_dict()
    flat = nn.FlatParameters(model)
    for segment in flat.segments:
        parameter = segment.parameter
        assert parameter.data.base is not None
        assert np.shares_memory(parameter.data, flat.data[segment.start : segment.stop])
        np.testing.assert_array_equal(parameter.data, before[segment.name])
    loss_of(model, images()).backward()
    expected = plain_gradients(model, images())
    for segment in flat.segments:
        assert segment.parameter.grad is segment.parameter.gradient_buffer
        assert np.shares_memory(segment.parameter.grad, flat.grad[segment.start : segment.stop])
        np.testing.assert_array_equal(segment.parameter.grad, expected[segment.name])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_segment_starts_at_a_cache_line(dtype):
    flat = nn.FlatParameters(Model().astype(dtype))
    assert [s.start % ALIGNMENT for s in flat.segments] == [0] * len(flat.segments)
    for buffer in (flat.data, flat.grad, flat.zeros()):
        assert buffer.dtype == dtype
        assert buffer.shape == (flat.size,)
        assert buffer.ctypes.data % 64 == 0


def test_the_gaps_hold_zeros():
    model = Model()
    flat = nn.FlatParameters(model)
    loss_of(model, images()).backward()
    used = np.zeros(flat.size, bool)
    for segment in flat.segments:
        assert not used[segment.start : segment.stop].any()
        used[segment.start : segment.stop] = True
    assert used.sum() == model.count_parameters() < flat.size
    assert not flat.data[~used].any()
    assert not flat.grad[~used].any()
    flat.grad *= np.nan
    flat.clear_gaps()
    assert not flat.grad[~used].any()
    assert np.isnan(flat.grad[used]).all()


def test_parameters_of_one_group_lie_next_to_each_other():
    flat = nn.FlatParameters(Model(), group=lambda name, _: name.endswith("bias"))
    assert [s.name for s in flat.segments] == [
        "first.weight",
        "norm.weight",
        "last.weight",
        "first.bias",
        "norm.bias",
        "last.bias",
    ]


def test_runs_join_neighbours_of_one_key_that_have_a_gradient():
    model = Model()
    flat = nn.FlatParameters(model)
    names = [s.name for s in flat.segments]
    assert names == ["first.weight", "first.bias", "norm.weight", "norm.bias", "last.weight", "last.bias"]
    assert flat.runs() == []
    loss_of(model, images()).backward()
    assert flat.runs() == [(0, flat.segments[-1].stop, None)]
    kinds = flat.runs(lambda s: s.name.split(".")[0])
    at = {s.name: s for s in flat.segments}
    assert kinds == [
        (0, at["first.bias"].stop, "first"),
        (at["norm.weight"].start, at["norm.bias"].stop, "norm"),
        (at["last.weight"].start, at["last.bias"].stop, "last"),
    ]
    model.norm.weight.grad = None
    assert flat.runs() == [(0, at["first.bias"].stop, None), (at["norm.bias"].start, at["last.bias"].stop, None)]


def test_only_trainable_parameters_are_laid_out():
    model = Model()
    model.first.requires_grad(False)
    flat = nn.FlatParameters(model)
    assert [s.name for s in flat.segments] == ["norm.weight", "norm.bias", "last.weight", "last.bias"]
    model.requires_grad(False)
    with pytest.raises(ValueError, match="Model has no trainable parameter; unfreeze some first"):
        nn.FlatParameters(model)


def test_mixed_dtypes_are_named():
    model = Model()
    model.norm.astype(np.float64)
    with pytest.raises(DTypeError, match=r"first\.weight is float32, norm\.weight is float64; use model\.astype"):
        nn.FlatParameters(model)


@pytest.mark.parametrize("device", DEVICES)
def test_mixed_devices_are_named(device):
    model = Model()
    model.norm.to(device)
    with pytest.raises(DeviceError, match=rf"first\.weight is on cpu, norm\.weight on {device}:0; use model\.to"):
        nn.FlatParameters(model)


def add_a_layer(model):
    model.extra = nn.Linear(2, 2, generator=np.random.default_rng(5))


def replace_a_layer(model):
    model.last = nn.Linear(5, 2, generator=np.random.default_rng(6))


def remove_a_layer(model):
    del model.norm


def freeze_a_layer(model):
    model.first.requires_grad(False)


def change_the_dtype(model):
    model.astype(np.float64)


def rename_a_layer(model):
    model.head = model.last
    del model.last


CHANGES = [add_a_layer, replace_a_layer, remove_a_layer, freeze_a_layer, change_the_dtype, rename_a_layer]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_tree_is_noticed_and_the_values_stay(change):
    model = Model()
    flat = nn.FlatParameters(model)
    assert flat.is_current
    assert not flat.refresh()
    former = flat.segments
    change(model)
    before = model.state_dict()
    assert not flat.is_current
    assert flat.refresh()
    assert flat.is_current
    assert flat.segments is not former
    after = model.state_dict()
    assert list(after) == list(before)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    assert [(s.name, s.parameter) for s in flat.segments] == trainable
    assert all(np.shares_memory(p.data, flat.data) for _, p in trainable)


def test_a_parameter_that_left_has_memory_of_its_own():
    model = Model()
    flat = nn.FlatParameters(model)
    loss_of(model, images()).backward()
    weight, gradient = model.first.weight, np.array(model.first.weight.grad)
    old = weakref.ref(flat.data.base)
    model.first.requires_grad(False)
    flat.refresh()
    assert weight.data.base is None
    assert weight.gradient_buffer is None
    np.testing.assert_array_equal(weight.grad, gradient)
    assert old() is None, "a view keeps the whole former buffer alive"


def test_gradients_survive_a_new_layout():
    model = Model()
    flat = nn.FlatParameters(model)
    loss_of(model, images()).backward()
    before = {name: np.array(p.grad) for name, p in model.named_parameters()}
    add_a_layer(model)
    model.extra.weight.grad = np.full((2, 2), 3.0, np.float32)
    flat.refresh()
    for name, parameter in model.named_parameters():
        if name in before:
            np.testing.assert_array_equal(parameter.grad, before[name])
            assert parameter.grad is parameter.gradient_buffer
    np.testing.assert_array_equal(model.extra.weight.grad, 3.0)
    assert model.extra.bias.grad is None


def test_the_gradient_of_a_layer_that_was_replaced_is_not_taken_for_the_new_ones():
    model = Model()
    flat = nn.FlatParameters(model)
    loss_of(model, images()).backward()
    replace_a_layer(model)
    flat.refresh()
    assert model.last.weight.grad is None
    assert model.first.weight.grad is not None


def test_a_gradient_set_by_hand_is_brought_into_the_buffer():
    model = Model()
    flat = nn.FlatParameters(model)
    model.norm.bias.grad = np.arange(5, dtype=np.float32)
    flat.refresh()
    assert model.norm.bias.grad is model.norm.bias.gradient_buffer
    at = next(s for s in flat.segments if s.name == "norm.bias")
    np.testing.assert_array_equal(flat.grad[at.start : at.stop], np.arange(5))


def test_a_gradient_set_by_hand_has_to_fit():
    model = Model()
    flat = nn.FlatParameters(model)
    model.norm.bias.grad = np.zeros(4, np.float32)
    with pytest.raises(
        GradientError, match=r"gradient of norm\.bias must be float32 \(5,\) on cpu, it is float32 \(4,\)"
    ):
        flat.refresh()


def test_a_model_moved_to_where_it_is_still_trains():
    model = Model()
    optimizer = mv.optim.SGD(model, 1.0, momentum=0.0)
    model.to("cpu")
    before = model.state_dict()
    loss_of(model, images()).backward()
    gradients = {name: np.array(p.grad) for name, p in model.named_parameters()}
    optimizer.step()
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(array, before[name] - gradients[name], rtol=1e-6, atol=1e-7)


def test_a_parameter_that_lost_its_place_for_gradients_is_noticed():
    model = Model()
    flat = nn.FlatParameters(model)
    model.norm.bias.gradient_buffer = None
    assert not flat.is_current
    flat.refresh()
    assert np.shares_memory(model.norm.bias.gradient_buffer, flat.grad)


def test_two_flats_of_one_model_take_turns():
    model = Model()
    first, second = nn.FlatParameters(model), nn.FlatParameters(model)
    assert second.is_current
    assert not first.is_current
    before = model.state_dict()
    assert first.refresh()
    assert not second.is_current
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_carry_over_follows_the_parameters_not_their_places():
    model = Model()
    flat = nn.FlatParameters(model)
    former, marks = flat.segments, flat.zeros()
    for number, segment in enumerate(former):
        marks[segment.start : segment.stop] = number + 1
    replace_a_layer(model)
    add_a_layer(model)
    model.norm.requires_grad(False)
    flat.refresh()
    into = np.full(flat.size, -1, np.float32)
    flat.carry_over(marks, former, into)
    kept = {name: np.unique(view).tolist() for name, view in flat.by_name(into).items()}
    assert kept == {
        "first.weight": [1],
        "first.bias": [2],
        "last.weight": [-1],  # a new parameter under an old name
        "last.bias": [-1],
        "extra.weight": [-1],
        "extra.bias": [-1],
    }


def test_a_forward_before_the_layout_can_still_be_differentiated():
    model = Model()
    expected = plain_gradients(model, images())
    loss = loss_of(model, images())
    nn.FlatParameters(model)
    loss.backward()
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.grad, expected[name])


# Several workers


def deliver(buffer, model, x):
    buffer.clear()
    backward(loss_of(model, x), deliver=buffer.deliver)


def test_two_workers_give_the_gradient_of_the_whole_batch():
    model = Model().astype(np.float64)
    flat = nn.FlatParameters(model)
    x = images(8, np.float64)
    whole = {}
    for part in (slice(0, 3), slice(3, 8)):
        for name, gradient in plain_gradients(model, Tensor(x.data[part])).items():
            whole[name] = whole.get(name, 0) + gradient
    buffers = [nn.GradientBuffer(flat), nn.GradientBuffer(flat)]
    deliver(buffers[0], model, Tensor(x.data[:3]))
    deliver(buffers[1], model, Tensor(x.data[3:]))
    assert all(p.grad is None for p in model.parameters())
    combine(flat, buffers)
    for name, parameter in model.named_parameters():
        assert parameter.grad is parameter.gradient_buffer
        np.testing.assert_array_equal(parameter.grad, whole[name])


@pytest.mark.parametrize("own", [False, True])
def test_the_order_of_the_buffers_is_the_order_of_the_sum(own):
    """In float32, (a + b) + c is not a + (b + c): who comes first must not depend on who finishes first."""
    model = Model()
    flat = nn.FlatParameters(model)
    parts = [images(3, seed=s) for s in (1, 2, 3)]
    each = [plain_gradients(model, x) for x in parts]
    buffers = [nn.GradientBuffer(flat, flat.grad if own else None), nn.GradientBuffer(flat), nn.GradientBuffer(flat)]
    for worker in (2, 0, 1):
        deliver(buffers[worker], model, parts[worker])
    combine(flat, buffers)
    other_order_differs = False
    for name, parameter in model.named_parameters():
        a, b, c = (gradients[name] for gradients in each)
        np.testing.assert_array_equal(parameter.grad, (a + b) + c)
        other_order_differs |= bool(((a + b) + c != a + (b + c)).any())
    assert other_order_differs


@pytest.mark.parametrize("own", [False, True])
def test_combining_adds_to_the_gradient_that_is_there(own):
    model = Model().astype(np.float64)
    flat = nn.FlatParameters(model)
    x, y = images(3, np.float64, seed=1), images(3, np.float64, seed=2)
    loss_of(model, x).backward()
    buffers = [nn.GradientBuffer(flat, flat.grad if own else None), nn.GradientBuffer(flat)]
    deliver(buffers[0], model, y)
    buffers[1].clear()
    combine(flat, buffers)
    first, second = plain_gradients(model, x), plain_gradients(model, y)
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.grad, first[name] + second[name])


def test_a_worker_that_saw_nothing_adds_nothing():
    model = Model()
    flat = nn.FlatParameters(model)
    buffers = [nn.GradientBuffer(flat), nn.GradientBuffer(flat)]
    deliver(buffers[0], model, images(seed=1))
    deliver(buffers[1], model, images(seed=2))
    for buffer in buffers:
        buffer.clear()
    deliver(buffers[1], model, images(seed=3))
    combine(flat, buffers)
    expected = plain_gradients(model, images(seed=3))
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.grad, expected[name])


def test_a_parameter_that_no_worker_reached_has_no_gradient():
    model = Model()
    flat = nn.FlatParameters(model)
    add_a_layer(model)
    flat.refresh()
    buffer = nn.GradientBuffer(flat)
    deliver(buffer, model, images())
    combine(flat, [buffer])
    assert model.extra.weight.grad is None
    assert model.first.weight.grad is not None


def test_a_leaf_that_is_no_parameter_is_ignored():
    model = Model()
    flat = nn.FlatParameters(model)
    x = Tensor(images().data, requires_grad=True)
    deliver(nn.GradientBuffer(flat), model, x)
    assert x.grad is None


def test_buffers_of_a_former_layout_are_refused_until_cleared():
    model = Model()
    flat = nn.FlatParameters(model)
    buffers = [nn.GradientBuffer(flat, flat.grad), nn.GradientBuffer(flat)]
    deliver(buffers[0], model, images())
    add_a_layer(model)
    flat.refresh()
    with pytest.raises(ValueError, match="laid out anew"):
        combine(flat, buffers)
    model.zero_grad()
    for buffer, seed in zip(buffers, (1, 2), strict=True):
        deliver(buffer, model, images(seed=seed))
    combine(flat, buffers)
    assert buffers[0].buffer is flat.grad
    first, second = (mv.grad(loss_of(model, images(seed=seed)), model.first.weight).data for seed in (1, 2))
    np.testing.assert_array_equal(model.first.weight.grad, first + second)


def test_the_buffer_of_the_model_itself_must_come_first():
    flat = nn.FlatParameters(Model())
    with pytest.raises(ValueError, match="must come first"):
        combine(flat, [nn.GradientBuffer(flat), nn.GradientBuffer(flat, flat.grad)])
    with pytest.raises(ValueError, match=r"must be flat\.grad or None"):
        nn.GradientBuffer(flat, flat.zeros())


def test_threads_that_finish_in_any_order_give_the_same_bits():
    from concurrent.futures import ThreadPoolExecutor

    model = Model()
    flat = nn.FlatParameters(model)
    buffers = [nn.GradientBuffer(flat, flat.grad)] + [nn.GradientBuffer(flat) for _ in range(3)]
    parts = [images(5, seed=s) for s in range(4)]
    seen = set()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            model.zero_grad()
            list(pool.map(lambda pair: deliver(pair[0], model, pair[1]), zip(buffers, parts, strict=True)))
            combine(flat, buffers)
            seen.add(flat.grad.tobytes())
    assert len(seen) == 1


def test_nothing_is_left_alive():
    gc.disable()
    try:
        model = Model()
        flat = nn.FlatParameters(model)
        buffer = nn.GradientBuffer(flat)
        deliver(buffer, model, images())
        alive = [weakref.ref(flat.data.base), weakref.ref(flat), weakref.ref(model)]
        del model, flat, buffer
        assert [reference() for reference in alive] == [None, None, None]
    finally:
        gc.enable()
