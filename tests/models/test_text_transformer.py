"""Tests of minivit/models/text_transformer.py. The comparison with PyTorch is in test_text_transformer_torch.py."""

import math

import numpy as np
import pytest
from devices import DEVICES, watched

import minivit as mv
from minivit import optim
from minivit.autograd.check import check_gradients
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.backend import backend_for_device, kernels_disabled, to_host
from minivit.models import TextTransformer
from minivit.nn import mask_keys

SMALL = {"vocabulary_size": 12, "max_length": 6, "dim": 8, "depth": 2, "heads": 2, "mlp_dim": 12, "num_classes": 3}
TOKENS = np.array([[3, 4, 5, 0, 0, 0], [2, 11, 7, 7, 1, 0], [9, 0, 0, 0, 0, 0]], np.int32)
POOLS = ["cls", "mean"]


def make(scale=0.5, seed=0, **options):
    """A small model in float64 whose every parameter is random, so that nothing is zero by chance."""
    model = TextTransformer(**{**SMALL, "initialization": "none", **options}).astype(np.float64)
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.assign(scale * rng.standard_normal(parameter.shape))
    return model


# Names and initial weights


def test_names_and_shapes_follow_the_vision_transformer():
    state = make().state_dict()
    block = {
        "norm1.weight": (8,),
        "norm1.bias": (8,),
        "attn.qkv.weight": (24, 8),
        "attn.qkv.bias": (24,),
        "attn.proj.weight": (8, 8),
        "attn.proj.bias": (8,),
        "norm2.weight": (8,),
        "norm2.bias": (8,),
        "mlp.fc1.weight": (12, 8),
        "mlp.fc1.bias": (12,),
        "mlp.fc2.weight": (8, 12),
        "mlp.fc2.bias": (8,),
    }
    expected = {"token_embed": (12, 8), "cls_token": (1, 1, 8), "pos_embed": (1, 7, 8)}
    expected |= {f"blocks.{i}.{name}": shape for i in range(2) for name, shape in block.items()}
    expected |= {"norm.weight": (8,), "norm.bias": (8,), "head.weight": (3, 8), "head.bias": (3,)}
    assert {name: array.shape for name, array in state.items()} == expected
    without = make(pool="mean").state_dict()
    assert set(state) - set(without) == {"cls_token"}
    assert without["pos_embed"].shape == (1, 6, 8)


@pytest.mark.parametrize("initialization", ["timm", "fan_in"])
def test_initial_weights(initialization):
    options = {**SMALL, "vocabulary_size": 200, "dim": 64, "mlp_dim": 96, "initialization": initialization}
    for name, values in TextTransformer(**options, seed=1).state_dict().items():
        if name.endswith("bias") or (initialization == "fan_in" and name == "head.weight"):
            assert not values.any(), name
        elif "norm" in name:
            assert (values == 1).all(), name
        else:
            std = 0.02
            if name == "cls_token" and initialization == "timm":
                std = 1e-6
            elif name.startswith("blocks.") and initialization == "fan_in":
                std = values.shape[1] ** -0.5
            z = values.ravel() / std
            assert abs(z.mean()) < 5 / math.sqrt(z.size), name
            assert abs((z**2).mean() - 1) < 5 * math.sqrt(2 / z.size), name


def test_the_seed_draws_the_weights_and_none_depends_on_another():
    one, same, other = (TextTransformer(**SMALL, seed=seed).state_dict() for seed in (3, 3, 4))
    shallower = TextTransformer(**{**SMALL, "depth": 1}, seed=3).state_dict()
    for name, values in one.items():
        np.testing.assert_array_equal(values, same[name])
        if name in shallower:
            np.testing.assert_array_equal(values, shallower[name])
        if values.std():
            assert (values != other[name]).any()


# What padding must not do


@pytest.mark.parametrize("pool", POOLS)
def test_more_padding_gives_the_same_logits(pool):
    model = make(pool=pool)
    whole = model(TOKENS).numpy()
    for row, text in zip(whole, TOKENS, strict=True):
        for length in range(np.count_nonzero(text), 7):
            np.testing.assert_allclose(model(text[None, :length]).numpy()[0], row, rtol=1e-12)
    features = model.forward_features(TOKENS).numpy()
    assert features.shape == (3, 7 if pool == "cls" else 6, 8), "features keep every column"


@pytest.mark.parametrize("pool", POOLS)
def test_a_text_does_not_feel_its_neighbours(pool):
    model = make(pool=pool)
    whole = model(TOKENS).numpy()
    np.testing.assert_allclose(model(TOKENS[::-1]).numpy()[::-1], whole, rtol=1e-12)
    np.testing.assert_allclose(model(TOKENS[[2]]).numpy()[0], whole[2], rtol=1e-12)


@pytest.mark.parametrize("pool", POOLS)
def test_what_stands_for_padding_in_the_table_does_not_matter(pool):
    model = make(pool=pool)
    before = model(TOKENS).numpy()
    table = model.token_embed.numpy().copy()
    table[0] = 100.0
    model.token_embed.assign(table)
    np.testing.assert_array_equal(model(TOKENS).numpy(), before)
    model(TOKENS).sum().backward()
    assert not model.token_embed.grad[0].any()


@pytest.mark.parametrize("pool", POOLS)
def test_words_and_their_order_matter(pool):
    model = make(pool=pool)
    base = model(np.array([[3, 4, 5]])).numpy()
    for other in ([[3, 4, 6]], [[4, 3, 5]], [[3, 4]], [[3, 4, 5, 5]]):
        assert np.abs(model(np.array(other)).numpy() - base).max() > 1e-3


@pytest.mark.parametrize("pool", POOLS)
def test_a_text_without_words_has_finite_logits_and_gradients(pool):
    model = make(pool=pool)
    logits = model(np.zeros((2, 4), np.int64))
    assert np.isfinite(logits.numpy()).all()
    if pool == "mean":  # of nothing: the head's bias alone
        np.testing.assert_array_equal(logits.numpy(), np.broadcast_to(model.head.bias.numpy(), (2, 3)))
    logits.sum().backward()
    assert all(np.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_masks_do_not_depend_on_padding_or_on_how_the_batch_is_split():
    model = make(dropout=0.3, drop_path=0.4)

    def logits(tokens, index):
        with mask_keys(1, 2, np.asarray(index)):
            return model(tokens).numpy()

    whole = logits(TOKENS, [4, 5, 6])
    assert np.abs(whole - model.eval()(TOKENS).numpy()).max() > 1e-2
    model.train()
    np.testing.assert_allclose(logits(TOKENS[[2]], [6]), whole[[2]], rtol=1e-12)
    np.testing.assert_allclose(logits(TOKENS[[0], :3], [4]), whole[[0]], rtol=1e-12)


# Gradients


def as_function(model):
    """The model as a function of its parameters: what `check_gradients` takes."""
    places = []
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, mv.nn.Parameter):
                places.append((f"{path}.{name}", module, name, value))

    def function(*values):
        try:
            for (_, module, name, _), value in zip(places, values, strict=True):
                setattr(module, name, value)
            with mask_keys(3, 4):
                return model(TOKENS)
        finally:
            for _, module, name, parameter in places:
                setattr(module, name, parameter)

    return function, [value.data for *_, value in places]


@pytest.mark.parametrize("options", [{}, {"pool": "mean", "gelu": "tanh"}, {"dropout": 0.3, "drop_path": 0.4}])
def test_every_gradient_agrees_with_central_differences_and_the_complex_step(options):
    function, values = as_function(make(dim=4, mlp_dim=6, **options))
    report = check_gradients(function, *values, max_entries=6)
    assert report.largest_error < 1e-6
    assert all(row.complex_step_error is not None for row in report.arguments)


def gradients(model):
    model.zero_grad()
    logits = model(TOKENS)
    logits.backward(np.random.default_rng(5).standard_normal(logits.shape))
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("pool", POOLS)
def test_fused_and_composed_gradients_agree(pool):
    model = make(pool=pool)
    fused = gradients(model)
    with mv.unrolled():
        composed = gradients(model)
    with kernels_disabled():
        text = gradients(model)
    for path, expected in composed.items():
        scale = max(np.abs(expected).max(), 1e-3)
        for found in (fused, text):
            np.testing.assert_allclose(found[path], expected, rtol=1e-9, atol=1e-11 * scale, err_msg=path)


@pytest.mark.parametrize("pool", POOLS)
def test_words_of_the_batch_get_a_gradient_and_no_others(pool):
    table = gradients(make(pool=pool))["token_embed"]
    present = np.isin(np.arange(12), TOKENS) & (np.arange(12) != 0)
    np.testing.assert_array_equal(np.abs(table).max(1) > 1e-6, present)


# Training, devices, errors


@pytest.mark.parametrize("initialization", ["timm", "fan_in"])
@pytest.mark.parametrize("pool", POOLS)
def test_eight_texts_can_be_learned_by_heart(pool, initialization):
    options = {**SMALL, "dim": 16, "mlp_dim": 32, "pool": pool, "initialization": initialization}
    model = TextTransformer(**options)
    tokens = np.random.default_rng(0).integers(1, 12, (8, 6))
    labels = mv.tensor(np.arange(8) % 3)
    optimizer = optim.AdamW(model, 1e-2, weight_decay=0.0)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = mv.ops.cross_entropy(model(tokens), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert abs(losses[0] - math.log(3)) < 0.2
    assert losses[-1] < 0.02


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("pool", POOLS)
def test_a_device_gives_the_same_logits_and_gradients_and_is_not_waited_for(device, pool):
    model = make(pool=pool)
    expected, expected_gradients = model(TOKENS).numpy(), gradients(model)
    model.zero_grad()
    tokens = mv.Tensor(backend_for_device(device).from_host(TOKENS, device))
    cotangent = backend_for_device(device).from_host(np.random.default_rng(5).standard_normal((3, 3)), device)
    model.to(device)
    with watched(device):
        logits = model(tokens)
        logits.backward(cotangent)
    np.testing.assert_allclose(to_host(logits.data), expected, rtol=1e-10)
    for name, parameter in model.named_parameters():
        scale = np.abs(expected_gradients[name]).max()
        np.testing.assert_allclose(to_host(parameter.grad), expected_gradients[name], rtol=1e-9, atol=1e-10 * scale)


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        (np.zeros((2, 7), int), ShapeError, r"T from 1 to 6, got \(2, 7\)"),
        (np.zeros((2, 0), int), ShapeError, r"got \(2, 0\)"),
        (np.zeros(3, int), ShapeError, r"\(B, T\)"),
        (np.zeros((2, 3), np.float32), DTypeError, "integer type, got float32"),
        (np.array([[1, 12]]), ValueError, r"tokens 0\.\.11, got 1\.\.12"),
        (np.array([[-1, 2]]), ValueError, r"got -1\.\.2"),
    ],
)
def test_other_inputs_are_refused(tokens, error, message):
    with pytest.raises(error, match=message):
        make()(tokens)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "max"}, "pool must be one of cls, mean; got 'max'"),
        ({"gelu": "erf"}, "gelu must be one of"),
        ({"initialization": "paper"}, "initialization must be one of"),
        ({"vocabulary_size": 1}, "vocabulary_size must be at least 2, got 1"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"heads": 3}, "not a multiple of 3 heads"),
        ({"dropout": 1.0}, r"\[0, 1\)"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TextTransformer(**{**SMALL, **options})
