"""The gradient of a whole Vision Transformer against numbers that need no backward, and what training does with it."""

import gc
import sys

import numpy as np
import pytest

import minivit as mv
from minivit import models, optim
from minivit.autograd import Node
from minivit.autograd.check import check_gradients
from minivit.autograd.errors import ModifiedInPlaceError
from minivit.backend import kernels_disabled
from minivit.nn import mask_keys

TINY = {
    "image_size": 4,
    "patch_size": 2,
    "dim": 4,
    "depth": 2,
    "heads": 2,
    "mlp_dim": 6,
    "num_classes": 3,
    "channels": 2,
    "initialization": "none",
}

VARIANTS = {
    "plain": {},
    "mean, sin-cos": {"pool": "mean", "positions": "sincos2d", "gelu": "tanh"},
    "sequence, no positions": {"pool": "sequence", "positions": "none", "qkv_bias": False},
    "pre_logits": {"representation_size": 5},
    "stem": {"stem": (5,), "pool": "mean"},
    "masks": {"dropout": 0.3, "drop_path": 0.4},
    "checkpointed": {"checkpoint_blocks": True, "dropout": 0.3},
}


def make(options=None, scale=0.5, seed=0):
    model = models.VisionTransformer(**TINY, **(options or {})).astype(np.float64)
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.assign(scale * rng.standard_normal(parameter.shape))
    return model


def images(batch=2):
    return np.random.default_rng(1).standard_normal((batch, 2, 4, 4))


def labels(batch=2):
    return np.random.default_rng(2).integers(0, 3, batch)


def as_function(model):
    """The model as a function of its images and of every parameter: what `check_gradients` takes."""
    places = []
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, mv.nn.Parameter):
                places.append((f"{path}.{name}", module, name, value))

    def function(x, *values):
        try:
            for (_, module, name, _), value in zip(places, values, strict=True):
                setattr(module, name, value)
            with mask_keys(3, 4):
                return model(x)
        finally:
            for _, module, name, parameter in places:
                setattr(module, name, parameter)

    return function, [value.data for *_, value in places], [path for path, *_ in places]


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "checkpointed"])  # its parameters must be leaves
def test_every_gradient_agrees_with_central_differences_and_the_complex_step(name):
    model = make(VARIANTS[name])
    function, values, paths = as_function(model)
    if (
        "checkpoint_blocks" in VARIANTS[name]
    ):  # its parameters are found in the tree, where this test puts plain tensors
        pytest.skip("covered by the next test")
    report = check_gradients(function, images(), *values, max_entries=6)
    assert len(report.arguments) == 1 + len(paths)
    assert report.largest_error < 1e-6
    if name not in ("stem",):  # a maximum has no complex step
        assert all(row.complex_step_error is not None for row in report.arguments)


def gradients(model, unrolled=False):
    model.zero_grad()
    x = mv.Tensor(images(), requires_grad=True)
    with mask_keys(3, 4):
        if unrolled:
            with mv.unrolled():
                y = model(x)
        else:
            y = model(x)
    y.backward(np.random.default_rng(5).standard_normal(y.shape))
    return {"images": x.grad} | {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("name", VARIANTS)
def test_fused_and_composed_gradients_agree(name):
    model = make(VARIANTS[name])
    fused, composed = gradients(model), gradients(model, unrolled=True)
    with kernels_disabled():
        text = gradients(model)
    for path, expected in composed.items():
        scale = max(np.abs(expected).max(), 1e-3)
        for found in (fused, text):
            np.testing.assert_allclose(found[path], expected, rtol=1e-9, atol=1e-11 * scale, err_msg=path)


@pytest.mark.parametrize("options", [{}, {"checkpoint_blocks": True}], ids=["kept", "checkpointed"])
def test_second_order_agrees_with_differences_of_the_gradient(options):
    model = make(options)
    x = mv.Tensor(images(), requires_grad=True)
    rng = np.random.default_rng(6)
    cotangent, direction = rng.standard_normal((2, 3)), rng.standard_normal(x.shape)

    def gradient(values):
        leaf = mv.Tensor(values, requires_grad=True)
        return mv.grad(model(leaf), leaf, cotangent).numpy()

    step = 1e-5
    expected = (gradient(x.data + step * direction) - gradient(x.data - step * direction)) / (2 * step)
    first = mv.grad(model(x), x, cotangent, create_graph=True)
    second = mv.grad(first, x, direction).numpy()
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(second, expected, rtol=1e-6, atol=1e-7)


def largest(model):
    return {name: 0.0 if p.grad is None else float(np.abs(p.grad).max()) for name, p in model.named_parameters()}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_gets_a_finite_gradient_that_is_not_zero(name):
    model = make(VARIANTS[name])
    gradients(model)
    sizes = largest(model)
    assert all(np.isfinite(size) and size > 1e-5 for size in sizes.values()), sizes


def test_only_key_biases_have_no_gradient():
    model = make()
    gradients(model)
    for block in model.blocks:
        query, key, value = np.split(block.attn.qkv.bias.grad, 3)
        assert np.abs(key).max() < 1e-14
        assert min(np.abs(query).max(), np.abs(value).max()) > 1e-4


@pytest.mark.parametrize("initialization", ["paper", "fan_in"])
def test_a_zero_head_hides_the_layers_behind_it_for_one_step(initialization):
    model = models.VisionTransformer(**{**TINY, "initialization": initialization})
    optimizer = optim.SGD(model, 0.1, momentum=0.0)
    x = mv.Tensor(images(8).astype(np.float32))
    for step in range(2):
        model.zero_grad()
        mv.ops.cross_entropy(model(x), mv.tensor(labels(8))).backward()
        sizes = largest(model)
        assert min(sizes["head.weight"], sizes["head.bias"]) > 1e-3
        others = [size for name, size in sizes.items() if not name.startswith("head.")]
        assert (max(others) == 0) if step == 0 else (np.median(others) > 1e-6)
        optimizer.step()


def train_step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = mv.ops.cross_entropy(model(x), y)
    loss.backward()
    optim.clip_grad_norm(optimizer.flat, 1.0)
    optimizer.step()
    return float(loss)


SMALL = {**TINY, "image_size": 8, "dim": 16, "mlp_dim": 32, "initialization": "timm"}


@pytest.mark.parametrize(
    "options",
    [{}, {"pool": "mean", "stem": (8,)}, {"checkpoint_blocks": True}, {"initialization": "paper", "pool": "sequence"}],
    ids=["plain", "stem", "checkpointed", "paper"],
)
def test_eight_images_can_be_learned_by_heart(options):
    model = models.VisionTransformer(**{**SMALL, **options})
    x = mv.tensor(np.random.default_rng(0).standard_normal((8, 2, 8, 8)), dtype=np.float32)
    y = mv.tensor(np.arange(8) % 3)
    optimizer = optim.AdamW(model, 1e-2, weight_decay=0.0)
    first = train_step(model, optimizer, x, y)
    assert abs(first - np.log(3)) < 0.5
    for _ in range(60):
        last = train_step(model, optimizer, x, y)
    assert last < 0.01
    assert (model.eval()(x).numpy().argmax(1) == y.numpy()).all()


def test_the_same_seed_trains_to_the_same_bits():
    def run():
        model = models.VisionTransformer(**{**SMALL, "dropout": 0.1, "drop_path": 0.2, "seed": 4})
        optimizer = optim.AdamW(model, 1e-2)
        x = mv.tensor(np.random.default_rng(0).standard_normal((8, 2, 8, 8)), dtype=np.float32)
        for step in range(3):
            with mask_keys(4, step):
                train_step(model, optimizer, x, mv.tensor(np.arange(8) % 3))
        return optimizer.flat.data.tobytes()

    assert run() == run()


def test_a_step_between_forward_and_backward_is_noticed():
    model = models.VisionTransformer(**SMALL)
    optimizer = optim.SGD(model, 0.1)
    x, y = mv.Tensor(np.zeros((2, 2, 8, 8), np.float32)), mv.tensor([0, 1])
    train_step(model, optimizer, x, y)
    late = mv.ops.cross_entropy(model(x), y)
    train_step(model, optimizer, x, y)
    with pytest.raises(
        ModifiedInPlaceError, match=r"weight was changed after .*run backward before the optimiser's step"
    ):
        late.backward()


def test_hundreds_of_steps_leave_nothing_behind():
    """Without the garbage collector: no reference cycle may hold a step's graph."""
    model = models.VisionTransformer(**{**SMALL, "dropout": 0.1, "drop_path": 0.1, "checkpoint_blocks": True})
    optimizer = optim.AdamW(model, 1e-3)
    average = optim.ExponentialMovingAverage(optimizer.flat, 0.9)
    x = mv.Tensor(np.random.default_rng(0).standard_normal((2, 2, 8, 8)).astype(np.float32))
    y = mv.tensor([0, 1])

    def steps(count):
        for step in range(count):
            with mask_keys(0, step):
                train_step(model, optimizer, x, y)
            average.update()

    gc.collect()
    gc.disable()
    try:
        growth = [1000]
        while growth[-1] > 10 and len(growth) < 40:  # at first Python's free lists fill up: 2,000 tuples of each size
            before = sys.getallocatedblocks()
            steps(25)
            growth.append(sys.getallocatedblocks() - before)
        assert growth[-1] <= 10, f"every step leaves something behind: {growth}"
        assert not any(type(o) is Node for o in gc.get_objects())
    finally:
        gc.enable()
