import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from minivit import interop, models
from minivit.autograd import no_grad, tensor
from minivit.interop import WeightsError
from minivit.interop.npz_file import write_npz
from minivit.interop.safetensors_file import write_safetensors


def same_weights(a, b) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", ["model.safetensors", "model.npz"])
def test_what_is_saved_is_loaded_bit_for_bit(small, tmp_path, name: str) -> None:
    model = small(seed=1)
    interop.save(model, tmp_path / name)
    other = small(seed=2)
    assert not same_weights(model, other)
    assert interop.load(other, tmp_path / name) is other
    assert same_weights(model, other)


def test_a_checkpoint_makes_its_model_again(small, tmp_path) -> None:
    metadata = {"classes": ["cat", "dog", "a", "b", "c"], "mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0]}
    model = small(pool="mean", gelu="tanh", eps=1e-5, positions="sincos2d", stem=(6, 12), heads=4)
    interop.save(model, tmp_path / "model.safetensors", metadata)
    again, found = interop.load_model(tmp_path / "model.safetensors")
    assert found == metadata
    assert {**again.config, "initialization": "timm", "stem": (6, 12)} == model.config
    assert not again.training
    images = tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8)), dtype=np.float32)
    with no_grad():
        assert np.array_equal(again(images).numpy(), model.eval()(images).numpy())


def test_a_loaded_model_can_be_saved_and_loaded_again(small, tmp_path) -> None:
    interop.save(small(), tmp_path / "a.safetensors", {"classes": ["x"]})
    model, metadata = interop.load_model(tmp_path / "a.safetensors")
    interop.save(model, tmp_path / "b.safetensors", metadata)
    again, metadata_again = interop.load_model(tmp_path / "b.safetensors")
    assert same_weights(model, again)
    assert metadata == metadata_again


def test_a_non_contiguous_parameter_is_saved_as_it_reads(small, tmp_path) -> None:
    model = small()
    weight = model.head.weight
    weight.data = np.asfortranarray(weight.data)
    assert not weight.data.flags.c_contiguous
    write_safetensors(tmp_path / "raw.safetensors", {"w": weight.data, "t": weight.data[::2].T}, {})
    with safe_open(tmp_path / "raw.safetensors", framework="numpy") as file:
        assert np.array_equal(file.get_tensor("w"), weight.data)
        assert np.array_equal(file.get_tensor("t"), weight.data[::2].T)
    interop.save(model, tmp_path / "model.safetensors")
    assert same_weights(interop.load_model(tmp_path / "model.safetensors")[0], model)


def test_a_named_model_takes_the_number_of_classes_from_the_file(tmp_path) -> None:
    interop.save(models.create("vit_micro_cifar", num_classes=7), tmp_path / "model.npz")
    model = interop.load("vit_micro_cifar", tmp_path / "model.npz")
    assert model.head.weight.shape == (7, 96)


def test_the_shapes_of_timm_weights_tell_the_named_model(tmp_path) -> None:
    original = models.create("vit_testing", num_classes=3, image_size=64)
    interop.save(original, tmp_path / "model.safetensors", format="timm")
    with safe_open(tmp_path / "model.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}
    model, metadata = interop.load_model(tmp_path / "model.safetensors")
    assert set(metadata) == {"flavour"}
    assert {**model.config, "initialization": "timm"} == original.config
    assert same_weights(model, original)


@pytest.mark.parametrize("pool", ["cls", "mean", "sequence"])
def test_the_pooling_is_told_from_the_names(tmp_path, pool: str) -> None:
    interop.save(models.create("vit_testing", image_size=32, pool=pool), tmp_path / "model.npz")
    assert interop.load_model(tmp_path / "model.npz")[0].config["pool"] == pool


def test_any_model_goes_through_npz_if_it_is_at_hand(small, tmp_path) -> None:
    model = small(stem=(6, 12), positions="none", pool="mean", qkv_bias=False)
    interop.save(model, tmp_path / "model.npz")
    other = interop.load(
        small(seed=1, stem=(6, 12), positions="none", pool="mean", qkv_bias=False), tmp_path / "model.npz"
    )
    assert same_weights(model, other)
    with pytest.raises(WeightsError, match="no named model"):
        interop.load_model(tmp_path / "model.npz")


def test_unnamed_shapes_need_a_model(small, tmp_path) -> None:
    interop.save(small(), tmp_path / "model.npz")
    with pytest.raises(WeightsError, match=r"no named model has these shapes.*load\(model, path\)"):
        interop.load_model(tmp_path / "model.npz")


def test_every_misfit_is_listed_with_the_nearest_name_and_nothing_is_loaded(small, tmp_path) -> None:
    model = small()
    arrays = model.state_dict()
    arrays["blocks.0.attn.qkv_weight"] = arrays.pop("blocks.0.attn.qkv.weight")
    arrays["head.bias"] = np.zeros(6, np.float32)
    arrays["stranger"] = np.zeros(1, np.float32)
    arrays["blocks.0.attn.qkv.weight.extra"] = np.zeros(1, np.float32)
    write_npz(tmp_path / "model.npz", arrays | {"blocks.0.attn.qkv.weight": np.zeros((2, 2), np.float32)})
    before = model.state_dict()
    with pytest.raises(WeightsError) as raised:
        interop.load(model, tmp_path / "model.npz")
    message = str(raised.value)
    assert "shape of blocks.0.attn.qkv.weight: expected (36, 12), got (2, 2)" in message
    assert "shape of head.bias: expected (5,), got (6,)" in message
    assert "unexpected stranger" in message
    assert str(tmp_path / "model.npz") in message
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())

    arrays = before.copy()
    arrays["blocks.1.mlp.fc1.weigth"] = arrays.pop("blocks.1.mlp.fc1.weight")
    write_npz(tmp_path / "typo.npz", arrays)
    with pytest.raises(
        WeightsError, match=r"missing blocks\.1\.mlp\.fc1\.weight \(is it blocks\.1\.mlp\.fc1\.weigth\?"
    ):
        interop.load(model, tmp_path / "typo.npz")


def test_settings_that_shapes_do_not_show_have_to_agree(small, tmp_path) -> None:
    interop.save(small(heads=3, gelu="tanh"), tmp_path / "model.safetensors")
    with pytest.raises(WeightsError) as raised:
        interop.load(small(heads=4, drop_path=0.1, seed=5), tmp_path / "model.safetensors")
    assert "heads: the file says 3, the model has 4" in str(raised.value)
    assert "gelu: the file says tanh, the model has none" in str(raised.value)
    assert "drop_path" not in str(raised.value)


def test_what_resumes_a_run_is_not_taken_for_weights(small, tmp_path) -> None:
    model = small()
    arrays = model.state_dict() | {"resume/step": np.array([3], np.int64)}
    write_safetensors(tmp_path / "run.safetensors", arrays, interop.checkpoint_header(model, {"classes": ["a"]}))
    again, metadata = interop.load_model(tmp_path / "run.safetensors")
    assert same_weights(model, again)
    assert metadata == {"classes": ["a"]}


@pytest.mark.parametrize("name", ["model.pth", "model.h5", "model"])
def test_an_unknown_suffix_says_what_is_supported(small, tmp_path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"\.safetensors, \.npz|convert it with safetensors"):
        interop.load_model(tmp_path / name)
    with pytest.raises(WeightsError, match=r"\.safetensors or \.npz"):
        interop.save(small(), tmp_path / name)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        interop.load_model(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_file_is_refused(small, tmp_path, suffix: str, share: float) -> None:
    path = tmp_path / f"model.{suffix}"
    interop.save(small(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match=rf"{path.name} is no readable .*cut off"):
        interop.load_model(path)


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_flipped_bytes_never_crash_the_reader(small, tmp_path, suffix: str) -> None:
    """Damage in the middle of an array cannot always be seen; damage anywhere else is a WeightsError."""
    path = tmp_path / f"model.{suffix}"
    model = small()
    interop.save(model, path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    numbers = np.random.default_rng(0)
    messages = []
    for _ in range(60):
        damaged = whole.copy()
        at = numbers.integers(0, min(len(whole), 2000), 4)
        damaged[at] ^= numbers.integers(1, 256, 4).astype(np.uint8)
        path.write_bytes(damaged.tobytes())
        try:
            interop.load(model, path)
        except WeightsError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(path.name in message for message in messages)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "minivit checkpoint 2"}, "update minivit"),
        ({"format": "minivit checkpoint 1"}, "damaged"),
        ({"format": "minivit checkpoint 1", "metadata": "[1]"}, "damaged"),
        ({"format": "minivit checkpoint 1", "metadata": '{"model": {"class": "x"}}'}, "damaged"),
        ({"format": "minivit checkpoint 1", "metadata": '{"model": {"class": "create", "config": {}}}'}, "lacks"),
        ({"format": "minivit checkpoint 1", "metadata": '{"model": {"class": "os", "config": {}}}'}, "lacks"),
        (
            {
                "format": "minivit checkpoint 1",
                "metadata": '{"model": {"class": "VisionTransformer", "config": {"x": 1}}}',
            },
            "cannot be made",
        ),
    ],
)
def test_a_damaged_header_is_refused(tmp_path, metadata: dict[str, str], message: str) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"a": np.zeros(1, np.float32)}, metadata)
    with pytest.raises(WeightsError, match=message):
        interop.load_model(tmp_path / "model.safetensors")


def test_strange_names_are_no_known_format(tmp_path) -> None:
    write_npz(tmp_path / "model.npz", {"embedding/kernel": np.zeros(1, np.float32)})
    with pytest.raises(WeightsError, match=r"no known format.*embedding/kernel"):
        interop.load_model(tmp_path / "model.npz")


def test_a_distilled_deit_says_what_it_is(small, tmp_path) -> None:
    write_npz(tmp_path / "model.npz", small().state_dict() | {"dist_token": np.zeros((1, 1, 12), np.float32)})
    with pytest.raises(WeightsError, match="distilled"):
        interop.load(small(), tmp_path / "model.npz")


def test_integer_weights_are_refused(small, tmp_path) -> None:
    write_npz(tmp_path / "model.npz", small().state_dict() | {"norm.bias": np.zeros(12, np.int64)})
    with pytest.raises(WeightsError, match=r"norm\.bias is int64"):
        interop.load(small(), tmp_path / "model.npz")


def test_half_precision_is_converted(small, tmp_path) -> None:
    model = small()
    write_npz(tmp_path / "model.npz", {name: array.astype(np.float16) for name, array in model.state_dict().items()})
    loaded = interop.load(small(seed=3), tmp_path / "model.npz")
    assert loaded.norm.bias.dtype == np.float32
    assert np.array_equal(loaded.norm.bias.data, model.norm.bias.data.astype(np.float16).astype(np.float32))


def test_save_refuses_what_it_could_not_hold(small, tmp_path) -> None:
    with pytest.raises(WeightsError, match="holds weights alone"):
        interop.save(small(), tmp_path / "model.npz", {"classes": ["a"]})
    with pytest.raises(WeightsError, match=r"\.safetensors file"):
        interop.save(small(), tmp_path / "model.npz", format="minivit")
    with pytest.raises(WeightsError, match="unknown format 'onnx'"):
        interop.save(small(), tmp_path / "model.npz", format="onnx")
    with pytest.raises(WeightsError, match="JSON"):
        interop.save(small(), tmp_path / "model.safetensors", {"mean": float("nan")})
    with pytest.raises(WeightsError, match="field `model`"):
        interop.save(small(), tmp_path / "model.safetensors", {"model": "mine"})
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(small, tmp_path, monkeypatch) -> None:
    path = tmp_path / "model.safetensors"
    interop.save(small(seed=1), path)
    before = path.read_bytes()

    def no_space(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="no space"):
        interop.save(small(seed=2), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not os.environ.get("MINIVIT_DATA"), reason="needs the DeiT-tiny weights in $MINIVIT_DATA")
def test_the_real_deit_tiny() -> None:
    path = Path(os.environ["MINIVIT_DATA"]) / "weights" / "deit_tiny_patch16_224.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    model, _ = interop.load_model(path)
    assert model.count_parameters() == 5_717_416
    assert (model.config["heads"], model.config["eps"], model.config["gelu"]) == (3, 1e-6, "none")
    assert same_weights(model, interop.load("vit_tiny_patch16_224", path))


def test_a_header_cannot_pass_itself_off_as_what_a_reader_found(small, tmp_path) -> None:
    model = small()
    header = interop.checkpoint_header(model, {"flavour": "none"}) | {"part": "x"}
    write_safetensors(tmp_path / "model.safetensors", model.state_dict(), header)
    assert interop.load_model(tmp_path / "model.safetensors")[1] == {"flavour": "none"}
    assert interop.flavour_text({"flavour": "none"}) == ""
