"""Tests of minivit/interop/google.py: the names and layouts of vision_transformer and of big_vision."""

import numpy as np
import pytest

from minivit import interop
from minivit.interop import WeightsError
from minivit.interop.npz_file import read_npz, write_npz

D, HEADS, HIDDEN = 12, 3, 20


def block(prefix: str, attention: int, perceptron: int, norm: int) -> dict[str, tuple[int, ...]]:
    """The arrays of one block, as jax prints their shapes."""
    asked = f"{prefix}/MultiHeadDotProductAttention_{attention}"
    return {
        f"{prefix}/LayerNorm_0/scale": (D,),
        f"{prefix}/LayerNorm_0/bias": (D,),
        **{f"{asked}/{name}/kernel": (D, HEADS, D // HEADS) for name in ("query", "key", "value")},
        **{f"{asked}/{name}/bias": (HEADS, D // HEADS) for name in ("query", "key", "value")},
        f"{asked}/out/kernel": (HEADS, D // HEADS, D),
        f"{asked}/out/bias": (D,),
        f"{prefix}/LayerNorm_{norm}/scale": (D,),
        f"{prefix}/LayerNorm_{norm}/bias": (D,),
        f"{prefix}/MlpBlock_{perceptron}/Dense_0/kernel": (D, HIDDEN),
        f"{prefix}/MlpBlock_{perceptron}/Dense_0/bias": (HIDDEN,),
        f"{prefix}/MlpBlock_{perceptron}/Dense_1/kernel": (HIDDEN, D),
        f"{prefix}/MlpBlock_{perceptron}/Dense_1/bias": (D,),
    }


def outside(prefix: str = "") -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}cls": (1, 1, D),
        f"{prefix}embedding/kernel": (4, 4, 3, D),
        f"{prefix}embedding/bias": (D,),
        f"{prefix}Transformer/encoder_norm/scale": (D,),
        f"{prefix}Transformer/encoder_norm/bias": (D,),
        f"{prefix}pre_logits/kernel": (D, 7),
        f"{prefix}pre_logits/bias": (7,),
        f"{prefix}head/kernel": (7, 5),
        f"{prefix}head/bias": (5,),
    }


VISION_TRANSFORMER = {
    **outside(),
    "Transformer/posembed_input/pos_embedding": (1, 5, D),
    **block("Transformer/encoderblock_0", 1, 3, 2),
    **block("Transformer/encoderblock_1", 1, 3, 2),
}
BIG_VISION = {
    **outside("params/"),
    "params/pos_embedding": (1, 4, D),
    **block("params/Transformer/encoderblock_0", 0, 0, 1),
    **block("params/Transformer/encoderblock_1", 0, 0, 1),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


@pytest.mark.parametrize(("format", "names"), [("google", VISION_TRANSFORMER), ("big_vision", BIG_VISION)])
def test_names_and_shapes_are_googles(small, path, format, names) -> None:
    interop.save(small(representation_size=7), path, format=format)
    assert {name: array.shape for name, array in read_npz(path)[0].items()} == names


def test_every_array_is_laid_out_as_jax_uses_it(small, path) -> None:
    """The products that Flax's modules form, with the file's arrays, against ours."""
    model = small(representation_size=7)
    state = model.state_dict()
    interop.save(model, path, format="google")
    arrays, numbers = read_npz(path)[0], np.random.default_rng(0)
    x = numbers.standard_normal((4, D)).astype(np.float32)
    asked = "Transformer/encoderblock_1/MultiHeadDotProductAttention_1"
    qkv = x @ state["blocks.1.attn.qkv.weight"].T + state["blocks.1.attn.qkv.bias"]  # (N, 3D)
    for number, name in enumerate(("query", "key", "value")):
        theirs = np.einsum("ni,ihd->nhd", x, arrays[f"{asked}/{name}/kernel"]) + arrays[f"{asked}/{name}/bias"]
        ours = qkv[:, number * D : (number + 1) * D].reshape(4, HEADS, D // HEADS)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    heads = x.reshape(4, HEADS, D // HEADS)
    theirs = np.einsum("nhd,hdo->no", heads, arrays[f"{asked}/out/kernel"]) + arrays[f"{asked}/out/bias"]
    np.testing.assert_allclose(
        x @ state["blocks.1.attn.proj.weight"].T + state["blocks.1.attn.proj.bias"], theirs, atol=1e-5
    )
    patch = numbers.standard_normal((3, 4, 4)).astype(np.float32)  # (C, H, W)
    theirs = np.einsum("chw,hwco->o", patch, arrays["embedding/kernel"])
    np.testing.assert_allclose(np.einsum("chw,ochw->o", patch, state["patch_embed.proj.weight"]), theirs, atol=1e-5)
    for mine, there in {
        "pre_logits.fc": "pre_logits",
        "blocks.0.mlp.fc1": "Transformer/encoderblock_0/MlpBlock_3/Dense_0",
    }.items():
        assert np.array_equal(state[f"{mine}.weight"].T, arrays[f"{there}/kernel"])


@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/", "params/img/"])
@pytest.mark.parametrize("format", ["google", "big_vision"])
def test_every_prefix_is_read_and_what_lies_elsewhere_is_left_out(small, path, prefix, format) -> None:
    model = small(pool="mean")
    interop.save(model, path, format=format)
    arrays = {prefix + name.removeprefix("params/"): array for name, array in read_npz(path)[0].items()}
    if prefix:
        arrays |= {"opt/state/step": np.ones(1, np.int64), "extra": np.ones(2, np.float32)}
    write_npz(path, arrays)
    again, metadata = interop.load_model(path)
    assert all(np.array_equal(again.state_dict()[name], array) for name, array in model.state_dict().items())
    assert metadata["flavour"]["format"] == format
    assert metadata["flavour"].get("left out") == (
        f"2 arrays that are not below {prefix} (the file)" if prefix else None
    )


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_stacked_blocks_are_read(small, path, pool) -> None:
    """big_vision scans over the blocks: one array for all, with a first axis of blocks."""
    model = small(seed=1, pool=pool)
    if pool == "cls":
        model.pos_embed.assign(model.pos_embed.data * (np.arange(5) > 0)[:, None])
    interop.save(model, path, format="big_vision")
    arrays = read_npz(path)[0]
    names = [name for name in arrays if "/encoderblock_0/" in name]
    for name in names:
        parts = [arrays.pop(name.replace("encoderblock_0", f"encoderblock_{i}")) for i in range(2)]
        arrays[name.replace("encoderblock_0", "encoderblock")] = np.stack(parts)
    write_npz(path, arrays)
    again, _ = interop.load_model(path)
    assert again.config["depth"] == 2
    assert all(np.array_equal(again.state_dict()[name], array) for name, array in model.state_dict().items())


def test_positions_of_the_middle_years_are_found(small, path) -> None:
    """Between the two, they stood in the encoder."""
    model = small()
    interop.save(model, path, format="google")
    arrays = read_npz(path)[0]
    arrays["Transformer/pos_embedding"] = arrays.pop("Transformer/posembed_input/pos_embedding")
    write_npz(path, arrays)
    again, _ = interop.load_model(path)
    assert np.array_equal(again.pos_embed.numpy(), model.pos_embed.numpy())


@pytest.mark.parametrize(
    ("name", "message"), [("conv_root/kernel", "a hybrid with a ResNet"), ("MAPHead_0/probe", "pooled by attention")]
)
def test_relatives_say_what_they_are(small, path, name, message) -> None:
    interop.save(small(), path, format="google")
    write_npz(path, read_npz(path)[0] | {name: np.zeros(1, np.float32)})
    with pytest.raises(WeightsError, match=message):
        interop.load_model(path)


def test_a_deep_block_axis_of_nothing_is_refused(small, path) -> None:
    interop.save(small(), path, format="google")
    stack = {"Transformer/encoderblock/LayerNorm_0/scale": np.zeros((10**12, 0), np.float32)}
    write_npz(path, read_npz(path)[0] | stack)
    with pytest.raises(WeightsError, match="is empty"):
        interop.load_model(path)


def test_blocks_without_end_are_refused(small, path) -> None:
    interop.save(small(), path, format="google")
    arrays = read_npz(path)[0]
    write_npz(path, arrays | {"Transformer/encoderblock/LayerNorm_0/scale": np.zeros((1001, 1), np.float32)})
    with pytest.raises(WeightsError, match=r"model\.npz: .* asks for 1001 blocks"):
        interop.load_model(path)
    names = {f"Transformer/encoderblock_{i}/LayerNorm_0/scale": np.zeros(1, np.float32) for i in range(1001)}
    write_npz(path, arrays | names)
    with pytest.raises(WeightsError, match=r"model\.npz: .* ask for 1001 blocks"):
        interop.load_model(path)
