"""Tests of what all formats share: from any to any and back, flavours, and what is said where a file does not fit."""

import json
import tracemalloc
from itertools import permutations

import numpy as np
import pytest

from minivit import interop, models
from minivit.autograd import no_grad, tensor
from minivit.interop import WeightsError
from minivit.interop.npz_file import read_npz, write_npz
from minivit.interop.safetensors_file import read_safetensors, write_safetensors

FORMATS = ("minivit", "timm", "google", "big_vision", "huggingface", "huggingface_v5", "torchvision")
OTHERS = FORMATS[2:]


def arrays_of(path):
    return (read_npz if path.suffix == ".npz" else read_safetensors)(path)[0]


def same_bits(first, second):
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype
        and first[name].shape == second[name].shape
        and first[name].tobytes() == second[name].tobytes()
        for name in first
    )


def saved(model, folder, format, suffix="safetensors"):
    path = folder / format / f"model.{suffix}"
    interop.save(model, path, format=format)
    return path


def in_big_vision(model):
    """With nothing added to the class token, as big_vision adds nothing to it."""
    if "cls_token" in model.state_dict():
        positions = model.pos_embed.data.copy()
        positions[:, 0] = 0.0
        model.pos_embed.assign(positions)
    return model


@pytest.mark.parametrize(("first", "second"), list(permutations(FORMATS, 2)))
def test_from_any_format_to_any_other_and_back_not_a_bit_changes(small, tmp_path, first, second) -> None:
    model = in_big_vision(small(seed=1))
    before = arrays_of(saved(model, tmp_path / "before", first))
    through = interop.load(small(seed=2), saved(model, tmp_path / "before", second))
    after = saved(through, tmp_path / "after", first)
    assert same_bits(arrays_of(after), before)
    assert same_bits(interop.load(small(seed=3), after).state_dict(), model.state_dict())


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
@pytest.mark.parametrize("settings", [{}, {"num_classes": 0}, {"representation_size": 7, "num_classes": 0}], ids=str)
def test_timm_google_hugging_face_timm_is_the_identity(small, tmp_path, suffix, settings) -> None:
    model = small(seed=1, **settings)
    start = saved(model, tmp_path / "start", "timm", suffix)
    path = start
    for format in ("timm", "google", "huggingface", "torchvision", "huggingface_v5", "timm"):
        path = saved(interop.load(small(seed=9, **settings), path), tmp_path / "way", format, suffix)
    assert same_bits(arrays_of(path), arrays_of(start))


@pytest.mark.parametrize("format", ["timm", "google", "big_vision", "torchvision"])
def test_pre_logits_and_a_head_go_through(small, tmp_path, format) -> None:
    model = in_big_vision(small(seed=1, representation_size=7))
    path = saved(model, tmp_path, format)
    assert same_bits(interop.load(small(seed=2, representation_size=7), path).state_dict(), model.state_dict())


@pytest.mark.parametrize("format", ["timm", "google", "big_vision"])
def test_models_without_a_class_token_go_through(small, tmp_path, format) -> None:
    model = small(seed=1, pool="mean")
    path = saved(model, tmp_path, format)
    assert same_bits(interop.load(small(seed=2, pool="mean"), path).state_dict(), model.state_dict())


def test_big_vision_computes_the_same_where_positions_meet_the_class_token(small, tmp_path) -> None:
    """The position of the class token is added to it, as the model does in its first addition."""
    model = small(seed=1).eval()
    again = interop.load(small(seed=2), saved(model, tmp_path, "big_vision")).eval()
    assert not again.pos_embed.numpy()[:, 0].any()
    assert not np.array_equal(again.cls_token.numpy(), model.cls_token.numpy())
    images = tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8)), dtype=np.float32)
    with no_grad():
        assert np.array_equal(again(images).numpy(), model(images).numpy())


@pytest.mark.parametrize("format", ["google", "big_vision", "huggingface", "huggingface_v5"])
def test_heads_come_from_the_file(small, tmp_path, format) -> None:
    """No named model has these shapes, so that nothing else could tell them."""
    model = in_big_vision(small(seed=1, heads=4, gelu="tanh")).eval()
    path = saved(model, tmp_path, format)
    again, metadata = interop.load_model(path)
    assert again.config["heads"] == 4
    assert metadata["flavour"]["heads"] == f"4 ({'config.json' if 'hugging' in format else 'shapes'})"
    images = tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8)), dtype=np.float32)
    with no_grad():
        assert np.array_equal(again(images).numpy(), model(images).numpy())
    with pytest.raises(WeightsError, match="heads: the file says 4, the model has 3"):
        interop.load(small(gelu="tanh"), path)


@pytest.mark.parametrize("format", OTHERS)
def test_every_size_is_told_from_the_file(tmp_path, format) -> None:
    model = models.create("vit_testing", image_size=48, num_classes=3, channels=4, gelu="tanh")
    again, _ = interop.load_model(saved(model, tmp_path, format))
    defaults = {"gelu": again.config["gelu"], "eps": again.config["eps"], "initialization": "timm"}
    assert {**again.config, **defaults} == {**model.config, **defaults}


@pytest.mark.parametrize(
    ("format", "gelu", "eps", "mean"),
    [
        ("timm", "none", 1e-6, None),
        ("google", "tanh", 1e-6, [0.5, 0.5, 0.5]),
        ("big_vision", "tanh", 1e-6, [0.5, 0.5, 0.5]),
        ("torchvision", "none", 1e-6, [0.485, 0.456, 0.406]),
        ("huggingface", "tanh", 1e-5, [0.5, 0.5, 0.5]),
    ],
)
def test_the_flavour_is_the_formats_or_the_files(tmp_path, format, gelu, eps, mean) -> None:
    """Of a model with a flavour that none but Hugging Face's files can express."""
    model = models.create("vit_testing", image_size=32, num_classes=3, gelu="tanh", eps=1e-5)
    path = saved(model, tmp_path, format)
    again, metadata = interop.load_model(path)
    assert (again.config["gelu"], again.config["eps"]) == (gelu, eps)
    assert metadata.get("mean") == mean
    flavour = metadata["flavour"]
    source = "config.json" if format == "huggingface" else "convention"
    assert flavour["format"] == format
    assert flavour["gelu"] == f"{'erf' if gelu == 'none' else 'tanh'} ({source})"
    assert flavour["eps"] == f"{eps:g} ({source})"
    assert flavour["head"] == "3 classes (shapes)"
    assert flavour["pre_logits"] == "none (shapes)"
    text = interop.flavour_text(metadata)
    assert text.startswith(f"weights of format {format}: gelu ")
    assert "\n" not in text
    assert interop.read_metadata(path) == metadata
    named = interop.load(
        "vit_testing", saved(models.create("vit_testing", gelu="tanh", eps=1e-5), tmp_path / "n", format)
    )
    assert (named.config["gelu"], named.config["eps"]) == (gelu, eps)


def test_minivits_own_files_state_everything(small, tmp_path) -> None:
    interop.save(small(gelu="tanh"), tmp_path / "model.safetensors", {"mean": [0.5]})
    _, metadata = interop.load_model(tmp_path / "model.safetensors")
    assert metadata == {"mean": [0.5]}
    assert interop.flavour_text(metadata) == ""


@pytest.mark.parametrize("format", ["google", "huggingface", "huggingface_v5", "torchvision"])
def test_misfits_are_listed_by_the_files_own_names(small, tmp_path, format) -> None:
    path = saved(small(), tmp_path, format)
    arrays = arrays_of(path)
    names = sorted(arrays, key=len)
    renamed, dropped, reshaped = names[-1], names[-2], names[len(names) // 2]
    arrays[f"{renamed}s"] = arrays.pop(renamed)
    del arrays[dropped]
    arrays[reshaped] = np.zeros((*arrays[reshaped].shape, 2), np.float32)
    arrays["stranger"] = np.zeros(1, np.float32)
    write_safetensors(path, arrays, {})
    model = small(seed=5)
    before = model.state_dict()
    with pytest.raises(WeightsError) as raised:
        interop.load(model, path)
    message = str(raised.value)
    assert f"missing {renamed} (is it {renamed}s?)" in message
    assert f"missing {dropped}" in message
    assert f"unexpected {renamed}s (is it {renamed}?)" in message
    assert "unexpected stranger" in message
    assert f"shape of {reshaped}: expected" in message
    assert same_bits(before, model.state_dict())


@pytest.mark.parametrize("format", OTHERS)
def test_another_models_weights_do_not_fit(small, tmp_path, format) -> None:
    path = saved(small(dim=24, mlp_dim=20), tmp_path, format)
    with pytest.raises(WeightsError, match=r"shape of .*: expected"):
        interop.load(small(), path)
    path = saved(small(depth=3), tmp_path, format)
    with pytest.raises(WeightsError, match=r"unexpected .*2"):
        interop.load(small(), path)
    with pytest.raises(WeightsError, match=r"missing .*3"):
        interop.load(small(depth=4), path)


@pytest.mark.parametrize("format", OTHERS)
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"pool": "sequence"}, "no place for pool_score.weight"),
        ({"positions": "sincos2d"}, "needs pos_embed"),
        ({"positions": "none", "pool": "mean"}, "needs pos_embed"),
        ({"stem": (6, 12)}, r"no place for patch_embed\.convs"),
    ],
    ids=str,
)
def test_what_a_format_cannot_hold_is_refused(small, tmp_path, format, settings, reason) -> None:
    with pytest.raises(WeightsError, match=f"format '{format}' cannot hold this model: .*{reason}"):
        interop.save(small(**settings), tmp_path / "model.safetensors", format=format)
    assert list(tmp_path.iterdir()) == []


def test_what_single_formats_cannot_hold_is_refused(small, tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    for format, settings, reason in [
        ("google", {"qkv_bias": False}, "needs blocks.0.attn.qkv.bias"),
        ("torchvision", {"pool": "mean"}, "needs cls_token"),
        ("huggingface", {"pool": "mean"}, "needs cls_token"),
        ("huggingface", {"representation_size": 7}, "both pre_logits"),
    ]:
        with pytest.raises(WeightsError, match=reason):
            interop.save(small(**settings), path, format=format)
    with pytest.raises(WeightsError, match="holds Vision Transformers, not a ResNet"):
        interop.save(models.create("resnet18", width=2), path, format="google")
    with pytest.raises(WeightsError, match="holds weights alone"):
        interop.save(small(), path, {"mean": [0.5]}, format="google")
    with pytest.raises(WeightsError, match=r"ends in \.safetensors or \.npz"):
        interop.save(small(), tmp_path / "model.pth", format="torchvision")
    assert list(tmp_path.iterdir()) == []


def test_torchvision_names_resnets_as_timm_does(tmp_path) -> None:
    model = models.create("resnet18", width=2)
    interop.save(model, tmp_path / "model.safetensors", format="torchvision")
    assert same_bits(interop.load_model(tmp_path / "model.safetensors")[0].state_dict(), model.state_dict())


def test_an_empty_array_is_refused(small, tmp_path) -> None:
    write_npz(tmp_path / "model.npz", small().state_dict() | {"norm.bias": np.zeros((0, 10**6), np.float32)})
    with pytest.raises(WeightsError, match=r"norm\.bias is empty"):
        interop.load(small(), tmp_path / "model.npz")


@pytest.mark.parametrize(
    "hostile",
    [
        {"depth": 10**9},
        {"dim": 10**7, "heads": 1},
        {"mlp_dim": 10**11},
        {"num_classes": 10**11},
        {"representation_size": 10**11},
        {"image_size": 4 * 10**6},
        {"channels": 10**11},
        {"patch_size": 8 * 10**5, "image_size": 8 * 10**5},
        {"depth": 10**400},
        {"stem": [10**9, 10**9]},
        {"depth": -1},
        {"depth": 2.0},
        {"heads": 0},
        {"eps": "1e-6"},
        {"eps": float("1e999")},
        {"dim": [12]},
        {"dropout": {}},
        {"pool": ["cls"]},
        {"self": 1},
    ],
    ids=str,
)
def test_hostile_settings_are_refused_before_anything_is_allocated(small, tmp_path, hostile) -> None:
    model = small()
    config = json.dumps({"model": {"class": "VisionTransformer", "config": {**model.config, **hostile}}})
    header = {"format": "minivit checkpoint 1", "metadata": config}
    write_safetensors(tmp_path / "model.safetensors", model.state_dict(), header)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"cannot be made from the settings|does not fit"):
            interop.load_model(tmp_path / "model.safetensors")
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("family", "hostile"),
    [
        ("ResNet", {"layers": [10**9, 1, 1, 1]}),
        ("ResNet", {"width": 10**9}),
        ("WideResNet", {"depth": 6 * 10**8 + 4}),
        ("WideResNet", {"widen": 10**9}),
        ("TextTransformer", {"vocabulary_size": 10**12}),
        ("TextTransformer", {"vocabulary_size": 10, "depth": 10**9}),
    ],
)
def test_hostile_settings_of_other_models_are_refused(tmp_path, family, hostile) -> None:
    header = {
        "format": "minivit checkpoint 1",
        "metadata": json.dumps({"model": {"class": family, "config": hostile}}),
    }
    write_safetensors(tmp_path / "model.safetensors", {"a": np.zeros(4, np.float32)}, header)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"cannot be made from the settings"):
            interop.load_model(tmp_path / "model.safetensors")
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_a_head_that_no_named_model_could_have_is_refused(tmp_path) -> None:
    state = models.create("vit_testing", initialization="none").state_dict()
    state["head.weight"] = np.zeros((3 * 10**6, 1), np.float16)
    state["representation"] = np.zeros(1, np.float32)
    write_npz(tmp_path / "model.npz", state)
    with pytest.raises(WeightsError, match=r"head\.weight: expected|does not fit"):
        interop.load("vit_base_patch16_224", tmp_path / "model.npz")
