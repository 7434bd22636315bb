"""Tests of minivit/models/vit.py: names, initial weights, structure. Gradients: test_vit_gradients.py."""

import math

import numpy as np
import pytest

import minivit as mv
from minivit import models, nn
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.models.vit import sincos_positions
from minivit.nn import mask_keys

SMALL = {
    "image_size": 8,
    "patch_size": 2,
    "dim": 8,
    "depth": 2,
    "heads": 2,
    "mlp_dim": 12,
    "num_classes": 5,
}


def make(**options):
    """A small model in float64 whose every parameter is random, so that nothing is zero by chance."""
    model = models.VisionTransformer(**{**SMALL, "initialization": "none", **options}).astype(np.float64)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.assign(0.5 * rng.standard_normal(parameter.shape))
    return model


def images(batch=3, size=8, seed=1):
    return np.random.default_rng(seed).standard_normal((batch, 3, size, size))


# Names

# The state dict of timm's vit_tiny_patch16_224 (timm 1.0, timm/models/vision_transformer.py), one block of twelve.
TIMM_BLOCK = {
    "norm1.weight": (192,),
    "norm1.bias": (192,),
    "attn.qkv.weight": (576, 192),
    "attn.qkv.bias": (576,),
    "attn.proj.weight": (192, 192),
    "attn.proj.bias": (192,),
    "norm2.weight": (192,),
    "norm2.bias": (192,),
    "mlp.fc1.weight": (768, 192),
    "mlp.fc1.bias": (768,),
    "mlp.fc2.weight": (192, 768),
    "mlp.fc2.bias": (192,),
}
TIMM_TINY = (
    {
        "cls_token": (1, 1, 192),
        "pos_embed": (1, 197, 192),
        "patch_embed.proj.weight": (192, 3, 16, 16),
        "patch_embed.proj.bias": (192,),
    }
    | {f"blocks.{i}.{name}": shape for i in range(12) for name, shape in TIMM_BLOCK.items()}
    | {"norm.weight": (192,), "norm.bias": (192,), "head.weight": (1000, 192), "head.bias": (1000,)}
)


def test_names_and_shapes_are_timms():
    model = models.create("vit_tiny_patch16_224", initialization="none")
    shapes = {name: array.shape for name, array in model.state_dict().items()}
    assert len(shapes) == 152
    assert list(shapes.items()) == list(TIMM_TINY.items())


def test_what_a_model_does_not_have_is_not_in_its_state():
    names = set(make().state_dict())
    assert names - set(make(pool="mean").state_dict()) == {"cls_token"}
    assert names - set(make(positions="none").state_dict()) == {"pos_embed"}
    assert names - set(make(positions="sincos2d").state_dict()) == {"pos_embed"}
    assert names - set(make(num_classes=0).state_dict()) == {"head.weight", "head.bias"}
    assert names - set(make(qkv_bias=False).state_dict()) == {f"blocks.{i}.attn.qkv.bias" for i in range(2)}


def test_a_state_of_another_size_is_refused_by_name():
    model = make()
    with pytest.raises(nn.StateError, match=r"shape of pos_embed: expected \(1, 17, 8\), got \(1, 5, 8\)"):
        model.load_state_dict(make(image_size=4).state_dict())
    with pytest.raises(nn.StateError, match=r"missing head\.weight\n.*missing head\.bias"):
        model.load_state_dict(make(num_classes=0).state_dict())


# Initial weights


def weights(initialization, **options):
    model = models.VisionTransformer(**{**SMALL, "dim": 64, "mlp_dim": 96, "initialization": initialization, **options})
    return model.state_dict()


def is_normal(values, std):
    """Mean, standard deviation and fourth moment within five standard errors."""
    z = np.ravel(values).astype(np.float64) / std
    n = z.size
    return (
        abs(z.mean()) < 5 / math.sqrt(n)
        and abs((z**2).mean() - 1) < 5 * math.sqrt(2 / n)
        and abs((z**4).mean() - 3) < 5 * math.sqrt(96 / n)
    )


def is_uniform(values, limit):
    z = np.ravel(values).astype(np.float64) / limit
    n = z.size
    return (
        np.abs(z).max() <= 1
        and abs(z.mean()) < 5 / math.sqrt(3 * n)
        and abs((z**2).mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / n)
    )


MATRICES = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")


def test_timms_initial_weights():
    state = weights("timm")
    fan_in = 3 * 2 * 2
    for name, values in state.items():
        if name == "cls_token":
            assert is_normal(values, 1e-6), name
        elif name.startswith("patch_embed.proj"):
            assert is_uniform(values, fan_in**-0.5), name
        elif name == "pos_embed" or name == "head.weight" or name.endswith(MATRICES):
            assert is_normal(values, 0.02), name
        else:
            assert (values == ("norm" in name and name.endswith("weight"))).all(), name


def test_the_papers_initial_weights():
    state = weights("paper")
    for name, values in state.items():
        if name == "pos_embed":
            assert is_normal(values, 0.02), name
        elif name == "patch_embed.proj.weight":
            bound = 2 * 12**-0.5 / 0.87962566103423978  # cut off at two standard deviations
            assert 0.97 * bound < np.abs(values).max() <= np.float32(bound)
            assert abs(values.std() * 12**0.5 - 1) < 0.1
        elif name.endswith("attn.qkv.weight"):
            for matrix in np.split(values, 3):  # three matrices (D, D), not one (3D, D)
                assert is_uniform(matrix, math.sqrt(6 / (64 + 64))), name
        elif name.endswith(MATRICES):
            assert is_uniform(values, math.sqrt(6 / sum(values.shape))), name
        elif ".mlp." in name:
            assert is_normal(values, 1e-6), name
        else:
            assert (values == ("norm" in name and name.endswith("weight"))).all(), name
    assert not state["head.weight"].any()
    assert not state["cls_token"].any()


def test_the_fan_in_initial_weights():
    state = weights("fan_in", pool="sequence")
    for name, values in state.items():
        if name == "pos_embed":
            assert is_normal(values, 0.5), name
        elif name.endswith(MATRICES) or name in ("patch_embed.proj.weight", "pool_score.weight"):
            assert is_normal(values, math.prod(values.shape[1:]) ** -0.5), name
        else:
            assert (values == ("norm" in name and name.endswith("weight"))).all(), name


@pytest.mark.parametrize("initialization", ["timm", "paper", "fan_in"])
def test_a_stems_convolutions_keep_the_size_of_activations(initialization):
    state = weights(initialization, patch_size=4, stem=(32, 48))
    assert is_normal(state["patch_embed.convs.0.weight"], math.sqrt(2 / 27))
    assert is_normal(state["patch_embed.convs.1.weight"], math.sqrt(2 / 288))
    assert is_normal(state["patch_embed.proj.weight"], 48**-0.5)
    assert (state["patch_embed.norm.weight"] == 1).all()


def test_without_initialisation_all_but_the_norms_is_zero():
    state = weights("none")
    assert all((v == ("norm" in name and name.endswith("weight"))).all() for name, v in state.items())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    one, same, other = weights("timm", seed=5), weights("timm", seed=5), weights("timm", seed=6)
    for name, values in one.items():
        np.testing.assert_array_equal(values, same[name])
        if values.std():
            assert (values != other[name]).mean() > 0.99, name


def test_no_weight_depends_on_the_other_weights():
    """A deeper model, another head, another order of drawing: what both models have is the same."""
    one = weights("timm")
    deeper = weights("timm", depth=4, num_classes=3, pool="mean", positions="none")
    shared = [name for name in one if name in deeper and not name.startswith("head")]
    assert len(shared) == len(one) - 4
    for name in shared:
        np.testing.assert_array_equal(one[name], deeper[name])


def test_no_two_parameters_start_from_the_same_numbers():
    state = weights("timm")
    rows = [v.reshape(-1)[:64] / v.std() for name, v in state.items() if v.std() and name.endswith("weight")]
    correlations = np.corrcoef(rows)
    assert np.abs(correlations - np.eye(len(rows))).max() < 0.7


# Structure


def test_images_become_logits():
    assert make()(mv.Tensor(images())).shape == (3, 5)
    assert make(num_classes=0)(mv.Tensor(images())).shape == (3, 8)
    assert make().forward_features(mv.Tensor(images())).shape == (3, 17, 8)
    assert make(pool="mean").forward_features(mv.Tensor(images())).shape == (3, 16, 8)


def test_the_parts_make_the_whole():
    model = make()
    x = mv.Tensor(images())
    tokens = model.patch_embed(x)
    tokens = mv.ops.concatenate([mv.ops.broadcast_to(model.cls_token, (3, 1, 8)), tokens], 1) + model.pos_embed
    for block in model.blocks:
        tokens = block(tokens)
    expected = model.head(model.norm(tokens)[:, 0])
    np.testing.assert_allclose(model(x).numpy(), expected.numpy(), rtol=1e-12)


def test_each_image_is_classified_by_itself():
    model = make()
    x = images(4)
    together = model(mv.Tensor(x)).numpy()
    alone = np.concatenate([model(mv.Tensor(x[i : i + 1])).numpy() for i in range(4)])
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def shuffled(x, order):
    """The images with their patches in another order."""
    patches = mv.ops.patchify(mv.Tensor(x), 2).numpy()[:, order]
    return mv.ops.unpatchify(mv.Tensor(patches), 2, (3, 8, 8)).numpy()


ORDER = np.random.default_rng(3).permutation(16)


@pytest.mark.parametrize("pool", ["cls", "mean", "sequence"])
def test_without_positions_the_patches_may_change_places(pool):
    model = make(positions="none", pool=pool)
    x = images()
    y = shuffled(x, ORDER)
    assert (x != y).any()
    np.testing.assert_allclose(model(mv.Tensor(x)).numpy(), model(mv.Tensor(y)).numpy(), rtol=1e-10)
    first = int(pool == "cls")
    one, other = (model.forward_features(mv.Tensor(z)).numpy()[:, first:] for z in (x, y))
    np.testing.assert_allclose(one[:, ORDER], other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("positions", ["learnable", "sincos2d"])
def test_with_positions_they_may_not(positions):
    model = make(positions=positions)
    x = images()
    one, other = (model(mv.Tensor(z)).numpy() for z in (x, shuffled(x, ORDER)))
    assert np.abs(one - other).max() > 1e-2


def test_the_mean_is_over_patches_alone():
    """There is no class token that could be in it: the mean of all tokens is that of the patches."""
    model = make(pool="mean")
    features = model.forward_features(mv.Tensor(images()))
    assert features.shape[1] == 16
    expected = features.numpy().mean(1) @ model.head.weight.data.T + model.head.bias.data
    np.testing.assert_allclose(model(mv.Tensor(images())).numpy(), expected, rtol=1e-12)


def test_sequence_pooling_weighs_the_patches_by_a_softmax():
    model = make(pool="sequence")
    features = model.forward_features(mv.Tensor(images())).numpy()
    scores = features @ model.pool_score.weight.data.T  # (B, N, 1)
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = (weights * features).sum(1) @ model.head.weight.data.T + model.head.bias.data
    np.testing.assert_allclose(model(mv.Tensor(images())).numpy(), expected, rtol=1e-10)


def test_sincos_positions_entry_by_entry():
    side, dim = 3, 16
    table = sincos_positions(side, dim, class_token=True)
    assert table.shape == (1, 10, 16)
    assert not table[0, 0].any()
    for row in range(side):
        for column in range(side):
            entry = table[0, 1 + side * row + column]
            for i in range(4):
                frequency = 10_000.0 ** (-i / 3)
                np.testing.assert_allclose(entry[i], math.sin(column * frequency), atol=1e-15)
                np.testing.assert_allclose(entry[4 + i], math.cos(column * frequency), atol=1e-15)
                np.testing.assert_allclose(entry[8 + i], math.sin(row * frequency), atol=1e-15)
                np.testing.assert_allclose(entry[12 + i], math.cos(row * frequency), atol=1e-15)


def test_sincos_positions_are_all_different_and_fixed():
    table = sincos_positions(14, 64, class_token=False)[0]
    distances = np.linalg.norm(table[:, None] - table[None], axis=-1) + 10 * np.eye(196)
    assert distances.min() > 0.1
    model = make(positions="sincos2d")
    assert model(mv.Tensor(images())).shape == (3, 5)
    first = model._positions(model.cls_token)
    assert model._positions(model.cls_token) is first, "computed (and moved to the device) once"
    assert not first.requires_grad
    np.testing.assert_array_equal(first.numpy(), sincos_positions(4, 8, class_token=True))
    assert model.astype(np.float32)(mv.Tensor(images().astype(np.float32))).dtype == np.float32


@pytest.mark.parametrize("stem", [(6,), (4, 6)])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_stem_makes_as_many_tokens_as_patches(stem, pool):
    model = make(stem=stem, patch_size=2 ** len(stem), pool=pool)
    side = 8 // 2 ** len(stem)
    assert model.forward_features(mv.Tensor(images())).shape == (3, side * side + (pool == "cls"), 8)
    assert model(mv.Tensor(images())).shape == (3, 5)


def test_a_token_of_a_stem_sees_its_neighbourhood():
    model = make(stem=(6,))
    x = images(1)
    changed = x.copy()
    changed[0, :, 4, 4] += 1.0  # of 8x8 pixels; a token covers 2x2 and sees one pixel further
    one, other = (model.patch_embed(mv.Tensor(z)).numpy()[0].reshape(4, 4, 8) for z in (x, changed))
    differs = np.abs(one - other).max(-1) > 0
    assert differs[2, 2]
    assert differs[1:3, 1:3].sum() == differs.sum()


def test_gelu_eps_and_bias_reach_the_blocks():
    model = make(gelu="tanh", eps=1e-3, qkv_bias=False)
    assert model.norm.eps == 1e-3
    for block in model.blocks:
        assert (block.mlp.gelu, block.norm1.eps, block.norm2.eps, block.attn.qkv.bias) == ("tanh", 1e-3, 1e-3, None)
    x = mv.Tensor(images())
    assert np.abs(make(gelu="tanh")(x).numpy() - make()(x).numpy()).max() > 1e-6
    assert np.abs(make(eps=1e-2)(x).numpy() - make()(x).numpy()).max() > 1e-6


def test_drop_path_grows_with_depth():
    model = make(depth=5, drop_path=0.4)
    np.testing.assert_allclose([block.drop_path1.rate for block in model.blocks], [0, 0.1, 0.2, 0.3, 0.4])
    assert make(depth=1, drop_path=0.4).blocks[0].drop_path1.rate == 0


# Masks


def test_masks_do_not_depend_on_the_split_of_the_batch():
    model = make(dropout=0.2, drop_path=0.5)
    x, index = images(6), np.array([5, 17, 2, 40, 11, 3])

    def logits(part):
        with mask_keys(1, 9, index[part]):
            return model(mv.Tensor(x[part])).numpy()

    whole = logits(slice(None))
    np.testing.assert_allclose(np.concatenate([logits(slice(0, 2)), logits(slice(2, 6))]), whole, rtol=1e-10)
    order = np.array([3, 1, 5, 0, 2, 4])
    with mask_keys(1, 9, index[order]):
        np.testing.assert_allclose(model(mv.Tensor(x[order])).numpy(), whole[order], rtol=1e-10)
    with mask_keys(1, 10, index):
        assert np.abs(model(mv.Tensor(x)).numpy() - whole).max() > 1e-3


def test_in_eval_mode_nothing_is_dropped():
    plain, masked = make(), make(dropout=0.2, drop_path=0.5)
    x = mv.Tensor(images())
    with mask_keys(0, 0):
        assert np.abs(masked(x).numpy() - plain(x).numpy()).max() > 1e-3
        assert nn.randomness.current_keys().next_op > 0
    with mask_keys(0, 0):
        np.testing.assert_array_equal(masked.eval()(x).numpy(), plain.eval()(x).numpy())
        assert nn.randomness.current_keys().next_op == 0


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "max"}, "pool must be one of cls, mean, sequence; got 'max'"),
        ({"positions": "rotary"}, "positions must be one of learnable, sincos2d, none; got 'rotary'"),
        ({"gelu": "erf"}, "gelu must be one of none, tanh; got 'erf'"),
        ({"initialization": "jax"}, "initialization must be one of timm, paper, fan_in, none; got 'jax'"),
        ({"patch_size": 3}, "patch_size 3 does not divide image_size 8"),
        ({"depth": 0}, "depth has to be a whole number of at least 1; got 0"),
        ({"depth": 2.0}, "depth has to be a whole number of at least 1; got 2.0"),
        ({"num_classes": -1}, "num_classes has to be a whole number of at least 0; got -1"),
        ({"representation_size": "x"}, "representation_size has to be a whole number of at least 0; got 'x'"),
        ({"eps": 0.0}, "eps has to be a positive number; got 0.0"),
        ({"eps": "1e-6"}, "eps has to be a positive number; got '1e-6'"),
        ({"heads": 3}, "dim 8 is not a multiple of 3 heads"),
        ({"positions": "sincos2d", "dim": 6}, "sincos2d positions need a dim that 4 divides, got 6"),
        ({"stem": (4, 8)}, "2 stages of a stem make a token of 4 x 4 pixels; that needs patch_size=4, got 2"),
        ({"dropout": 1.0}, r"the rate must lie in \[0, 1\), got 1.0"),
        ({"drop_path": -0.5}, r"the rate must lie in \[0, 1\), got -0.5"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.VisionTransformer(**{**SMALL, **options})


@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 1, 8, 8), (2, 3, 16, 16), (2, 8, 8, 3)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ShapeError, match=r"the model takes images \(B, 3, 8, 8\), got \(2, "):
        make()(mv.Tensor(np.zeros(shape)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_that_are_not_normalised_are_refused(dtype):
    with pytest.raises(DTypeError, match="the model takes normalised images of float64, got"):
        make()(mv.Tensor(images().astype(dtype)))


def test_masked_patches_are_replaced_and_nothing_else():
    model = make()
    x = images()
    masked = np.random.default_rng(3).random((3, 16)) < 0.5
    token = mv.nn.Parameter(np.random.default_rng(4).standard_normal((1, 1, 8)))

    def features(x, masked=masked):
        return model.forward_features(mv.Tensor(x), masked, token).numpy()

    hidden = np.repeat(np.repeat(masked.reshape(3, 1, 4, 4), 2, 2), 2, 3)
    np.testing.assert_array_equal(features(np.where(hidden, 7.0, x)), features(x))
    assert (features(np.where(hidden, x, 7.0)) != features(x)).any()
    nothing = np.zeros_like(masked)
    np.testing.assert_array_equal(features(x, nothing), model.forward_features(mv.Tensor(x)).numpy())


def test_the_mask_token_learns_from_every_place_that_it_stands_in():
    model = make()
    masked = np.random.default_rng(3).random((3, 16)) < 0.5
    assert masked.any(1).all()
    mv.check_gradients(lambda token: model.forward_features(mv.Tensor(images()), masked, token), images()[:1, 0, :1])
