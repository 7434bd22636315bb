import numpy as np
import pytest

from minivit import ops
from minivit.autograd import hooked, tensor
from minivit.inspect import AttentionMaps, attention_maps, heat_maps, overlay, rollout, token_map
from minivit.inspect.attention import enlarge
from minivit.models import VisionTransformer
from minivit.nn import Linear

RANDOM = np.random.default_rng(0)


def random_maps(blocks: int, tokens: int = 5) -> list[np.ndarray]:
    maps = RANDOM.random((blocks, 2, 3, tokens, tokens))
    return list(maps / maps.sum(-1, keepdims=True))


@pytest.fixture
def model():
    return VisionTransformer(
        image_size=12, patch_size=4, dim=12, depth=3, heads=3, mlp_dim=20, num_classes=5, dropout=0.5
    )


def test_the_maps_mix_the_values_into_the_output() -> None:
    """The op's own output is the proof: probabilities times values."""
    B, N, heads, d = 2, 5, 3, 4
    qkv = RANDOM.standard_normal((B, N, 3 * heads * d))
    mask = RANDOM.standard_normal((N, N))
    collected = AttentionMaps()
    with hooked(collected):
        y = ops.qkv_attention(tensor(qkv), heads, tensor(mask)).numpy()
    (maps,) = collected.maps
    assert maps.shape == (B, heads, N, N)
    np.testing.assert_allclose(maps.sum(-1), 1.0, rtol=1e-12)
    v = qkv[..., 2 * heads * d :].reshape(B, N, heads, d)
    np.testing.assert_allclose(np.einsum("bhij,bjhd->bihd", maps, v).reshape(B, N, -1), y, atol=1e-12)


def test_the_unpacked_op_is_read_too() -> None:
    q, k, v = (
        RANDOM.standard_normal((2, 3, 5, 4)),
        RANDOM.standard_normal((2, 3, 6, 4)),
        RANDOM.standard_normal((2, 3, 6, 7)),
    )
    allowed = RANDOM.random((5, 6)) < 0.7
    allowed[:, 0] = True
    collected = AttentionMaps()
    with hooked(collected):
        y = ops.attention(tensor(q), tensor(k), tensor(v), allowed, scale=0.3).numpy()
    (maps,) = collected.maps
    np.testing.assert_allclose(maps @ v, y, atol=1e-12)
    assert np.all(maps[..., ~allowed] == 0.0)


def test_every_block_of_a_model_is_seen_and_the_model_left_alone(model) -> None:
    images = RANDOM.standard_normal((2, 3, 12, 12)).astype(np.float32)
    model.blocks[0].eval()
    maps = attention_maps(model, images)
    assert [m.shape for m in maps] == [(2, 3, 10, 10)] * 3
    assert model.training
    assert not model.blocks[0].training  # each module as it was
    assert all(parameter.grad is None for parameter in model.parameters())
    again = attention_maps(model, images)  # dropout is off, so nothing is random
    assert all(np.array_equal(a, b) for a, b in zip(maps, again, strict=True))


def test_a_model_without_attention_says_so() -> None:
    with pytest.raises(ValueError, match="Linear ran no attention op"):
        attention_maps(Linear(4, 2), np.ones((1, 4), np.float32))


def test_rollout_follows_its_definition() -> None:
    maps = random_maps(3)
    expected = np.empty((2, 5, 5))
    for image in range(2):
        product = np.eye(5)
        for block in maps:
            product = (0.5 * block[image].mean(0) + 0.5 * np.eye(5)) @ product
        expected[image] = product
    found = rollout(maps)
    np.testing.assert_allclose(found, expected, atol=1e-14)
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-14)
    assert np.abs(found - rollout(maps[::-1])).max() > 1e-3  # the order matters


def test_rollout_at_the_ends_of_the_residual_share() -> None:
    maps = random_maps(2)
    np.testing.assert_allclose(rollout(maps, identity=1.0), np.broadcast_to(np.eye(5), (2, 5, 5)))
    np.testing.assert_allclose(rollout(maps, identity=0.0), maps[1].mean(1) @ maps[0].mean(1))


def test_rollout_refuses_maps_whose_rows_do_not_sum_to_one() -> None:
    with pytest.raises(AssertionError, match="sum to 1"):
        rollout([m * 1.01 for m in random_maps(2)])
    with pytest.raises(ValueError, match="no attention map"):
        rollout([])


def test_token_map_reads_what_the_head_reads() -> None:
    (attention,) = random_maps(1, tokens=10)
    found = token_map(attention)
    assert found.shape == (2, 3, 3)
    np.testing.assert_allclose(found[1, 2, 0], attention[1, :, 0, 1 + 6].mean())
    (attention,) = random_maps(1, tokens=9)
    found = token_map(attention, pool="mean")
    np.testing.assert_allclose(found[0, 0, 2], attention[0, :, :, 2].mean())
    np.testing.assert_allclose(found.sum((1, 2)), 1.0)
    weights = np.eye(9)[[3, 5]]
    np.testing.assert_allclose(token_map(attention, weights)[1].ravel(), attention[1].mean(0)[5])
    with pytest.raises(ValueError, match="no square"):
        token_map(attention, pool="cls")
    with pytest.raises(ValueError, match="'sequence'"):
        token_map(attention, pool="sequence")


@pytest.mark.parametrize("pool", ["cls", "mean", "sequence"])
def test_heat_maps_of_a_model(pool: str) -> None:
    model = VisionTransformer(
        image_size=12, patch_size=4, dim=12, depth=2, heads=3, mlp_dim=20, num_classes=5, pool=pool, dropout=0.5
    )
    images = RANDOM.standard_normal((2, 3, 12, 12)).astype(np.float32)
    found = heat_maps(model, images)
    maps = attention_maps(model, images)
    np.testing.assert_array_equal(found.output, model.eval()(tensor(images)).numpy())
    for heat, attention in ((found.last_block, maps[-1].mean(1)), (found.rollout, rollout(maps))):
        assert heat.shape == (2, 3, 3)
        if pool == "cls":
            np.testing.assert_allclose(heat.reshape(2, 9), attention[:, 0, 1:], rtol=1e-6)
            continue
        share = np.full((2, 9), 1 / 9)
        if pool == "sequence":
            share = ops.softmax(model.pool_score(model.forward_features(tensor(images))), axis=1).numpy()[..., 0]
        expected = (share[:, :, None] * attention).sum(1)
        np.testing.assert_allclose(heat.reshape(2, 9), expected, rtol=1e-5)


def test_enlarging_interpolates_between_the_centres_of_the_patches() -> None:
    large = enlarge(np.array([[0.0, 1.0]]), (3, 8))
    assert large.shape == (3, 8)
    np.testing.assert_allclose(large, np.broadcast_to([0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1], (3, 8)))
    values = RANDOM.random((3, 4))
    np.testing.assert_allclose(enlarge(values, (3, 4)), values)


def test_overlay_colours_where_the_map_is_high() -> None:
    image = np.full((8, 8), 0.5)
    heat = np.zeros((2, 2))
    heat[0, 1] = 3.0
    picture = overlay(image, heat)
    assert picture.shape == (8, 8, 3)
    assert picture.min() >= 0.0
    assert picture.max() <= 1.0
    assert picture[0, 7].sum() > picture[7, 0].sum() + 0.5
    np.testing.assert_allclose(overlay(image, heat, strength=0.0), 0.5)
    assert np.isfinite(overlay(image, np.ones((2, 2)))).all()
