"""Tests of minivit/interop/huggingface.py: names, configurations, and transformers itself."""

import json

import numpy as np
import pytest

from minivit import interop
from minivit.autograd import no_grad, tensor
from minivit.interop import WeightsError
from minivit.interop.safetensors_file import read_safetensors, write_safetensors

BLOCK = "vit.encoder.layer.0."
LEGACY = {  # of a model of one block; google/vit-base-patch16-224 has these
    "vit.embeddings.cls_token": (1, 1, 12),
    "vit.embeddings.position_embeddings": (1, 5, 12),
    "vit.embeddings.patch_embeddings.projection.weight": (12, 3, 4, 4),
    "vit.embeddings.patch_embeddings.projection.bias": (12,),
    **{f"{BLOCK}attention.attention.{name}.weight": (12, 12) for name in ("query", "key", "value")},
    **{f"{BLOCK}attention.attention.{name}.bias": (12,) for name in ("query", "key", "value")},
    f"{BLOCK}attention.output.dense.weight": (12, 12),
    f"{BLOCK}attention.output.dense.bias": (12,),
    f"{BLOCK}intermediate.dense.weight": (20, 12),
    f"{BLOCK}intermediate.dense.bias": (20,),
    f"{BLOCK}output.dense.weight": (12, 20),
    f"{BLOCK}output.dense.bias": (12,),
    **{f"{BLOCK}layernorm_{where}.{kind}": (12,) for where in ("before", "after") for kind in ("weight", "bias")},
    "vit.layernorm.weight": (12,),
    "vit.layernorm.bias": (12,),
    "classifier.weight": (5, 12),
    "classifier.bias": (5,),
}
NEW = {
    name.replace("encoder.layer.", "layers.")
    .replace("attention.attention.query", "attention.q_proj")
    .replace("attention.attention.key", "attention.k_proj")
    .replace("attention.attention.value", "attention.v_proj")
    .replace("attention.output.dense", "attention.o_proj")
    .replace("intermediate.dense", "mlp.fc1")
    .replace("0.output.dense", "0.mlp.fc2"): shape
    for name, shape in LEGACY.items()
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def change(path, name="config.json", drop=(), **fields):
    file = path.with_name(name)
    content = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in (content | fields).items() if k not in drop}))


@pytest.mark.parametrize(("format", "names"), [("huggingface", LEGACY), ("huggingface_v5", NEW)])
def test_the_names_are_those_of_transformers(small, path, format, names) -> None:
    interop.save(small(depth=1), path, format=format)
    assert {name: array.shape for name, array in read_safetensors(path)[0].items()} == names
    assert interop.read_metadata(path)["flavour"]["format"] == format


def test_query_key_and_value_are_the_thirds_of_qkv(small, path) -> None:
    model = small(depth=1)
    interop.save(model, path, format="huggingface")
    arrays, qkv = read_safetensors(path)[0], model.state_dict()["blocks.0.attn.qkv.weight"]
    for start, name in zip((0, 12, 24), ("query", "key", "value"), strict=True):
        assert np.array_equal(arrays[f"{BLOCK}attention.attention.{name}.weight"], qkv[start : start + 12])


def test_without_a_head_the_names_have_no_prefix_and_pre_logits_are_the_pooler(small, path) -> None:
    model = small(num_classes=0, representation_size=7)
    interop.save(model, path, format="huggingface")
    arrays = read_safetensors(path)[0]
    assert not any(name.startswith("vit.") for name in arrays)
    assert np.array_equal(arrays["pooler.dense.weight"], model.pre_logits.fc.weight.data)
    again, metadata = interop.load_model(path)
    assert again.config["representation_size"] == 7
    assert metadata["flavour"]["pre_logits"] == "7, tanh (shapes)"
    assert metadata["flavour"]["head"] == "none (shapes)"


def test_a_classifier_never_asks_its_pooler(small, path) -> None:
    model = small()
    interop.save(model, path, format="huggingface")
    arrays = read_safetensors(path)[0]
    extra = {
        "vit.pooler.dense.weight": (12, 12),
        "vit.pooler.dense.bias": (12,),
        "vit.embeddings.mask_token": (1, 1, 12),
    }
    write_safetensors(path, arrays | {name: np.ones(shape, np.float32) for name, shape in extra.items()}, {})
    again, metadata = interop.load_model(path)
    assert again.config["representation_size"] is None
    for name in extra:
        assert name in metadata["flavour"]["left out"]


def test_classes_mean_and_std_are_kept(small, path) -> None:
    metadata = {"classes": ["cat", "dog", "a", "b", "c"], "mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0]}
    interop.save(small(), path, metadata, format="huggingface")
    again, found = interop.load_model(path)
    assert {name: found[name] for name in metadata} == metadata
    assert found["preprocessing"] == "google"
    assert found["flavour"]["mean"] == "0.1 0.2 0.3 (preprocessor_config.json)"
    interop.save(again, path, metadata, format="huggingface")  # over itself
    with pytest.raises(WeightsError, match="keeps classes, mean, std; leave out epochs"):
        interop.save(small(), path, {"epochs": 3}, format="huggingface")


def test_without_configurations_the_defaults_of_transformers_hold(tmp_path) -> None:
    from minivit import models

    path = tmp_path / "model.safetensors"
    interop.save(models.create("vit_testing", image_size=32), path, format="huggingface")
    path.with_name("config.json").unlink()
    model, metadata = interop.load_model(path)
    assert (model.config["gelu"], model.config["eps"], model.config["heads"]) == ("none", 1e-12, 2)
    assert metadata["flavour"]["eps"] == "1e-12 (convention)"
    assert metadata["mean"] == [0.5, 0.5, 0.5]
    assert "classes" not in metadata


def test_unknown_heads_need_a_model(small, path) -> None:
    interop.save(small(), path, format="huggingface")
    path.with_name("config.json").unlink()
    with pytest.raises(WeightsError, match=r"load\(model, path\)"):
        interop.load_model(path)
    interop.load(small(seed=1), path)


def test_a_stated_flavour_has_to_be_the_models(small, path) -> None:
    interop.save(small(eps=1e-12, gelu="tanh"), path, format="huggingface")
    with pytest.raises(WeightsError) as raised:
        interop.load(small(), path)
    assert "gelu: the file says tanh, the model has none" in str(raised.value)
    assert "eps: the file says 1e-12, the model has 1e-06" in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_act": "quick_gelu"}, "hidden_act 'quick_gelu' is none of"),
        ({"hidden_act": ["gelu"]}, "hidden_act"),
        ({"pooler_act": "relu"}, "pooler_act"),
        ({"layer_norm_eps": "1e-6"}, "layer_norm_eps"),
        ({"layer_norm_eps": -1}, "layer_norm_eps"),
        ({"layer_norm_eps": True}, "layer_norm_eps"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_attention_heads": "12"}, "num_attention_heads"),
        ({"num_attention_heads": 10**9}, "1000000000 do not divide a width of 12"),
        ({"num_attention_heads": 5}, "5 do not divide a width of 12"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: it says 1000000000, the arrays have 2"),
        ({"hidden_size": 768}, "hidden_size: it says 768, the arrays have 12"),
        ({"image_size": [8, 16]}, "image_size"),
        ({"model_type": "deit"}, "of type 'deit'; expected 'vit'"),
        ({"model_type": None}, "model_type|of type"),
    ],
    ids=str,
)
def test_a_configuration_that_is_hostile_or_of_another_model_is_refused(small, path, fields, message) -> None:
    interop.save(small(), path, format="huggingface")
    change(path, **fields)
    with pytest.raises(WeightsError, match=message):
        interop.load_model(path)


@pytest.mark.parametrize(
    "fields",
    [{"image_mean": [0.5]}, {"image_std": [1, 1, 0]}, {"image_mean": "abc"}, {"image_mean": [None] * 3}],
    ids=str,
)
def test_impossible_statistics_are_refused(small, path, fields) -> None:
    interop.save(small(), path, {"mean": [0.5] * 3, "std": [0.5] * 3}, format="huggingface")
    change(path, "preprocessor_config.json", **fields)
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json: image_(mean|std) has to be 3 finite numbers"):
        interop.load_model(path)


@pytest.mark.parametrize(
    "text", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000, b'{"a": 1, "a": 2}'], ids=lambda t: str(t[:8])
)
def test_a_configuration_that_is_no_json_object_is_refused(small, path, text) -> None:
    interop.save(small(), path, format="huggingface")
    path.with_name("config.json").write_bytes(text)
    with pytest.raises(WeightsError, match=r"config\.json is no readable configuration"):
        interop.load_model(path)


def test_a_configuration_of_another_file_is_not_written_over(small, path) -> None:
    path.with_name("config.json").write_text("{}")
    with pytest.raises(WeightsError, match="belongs to another file"):
        interop.save(small(), path, format="huggingface")
    assert path.with_name("config.json").read_text() == "{}"
    assert not path.exists()


def test_distilled_models_say_what_they_are(small, path) -> None:
    interop.save(small(), path, format="huggingface")
    arrays = {name.replace("vit.", "deit."): array for name, array in read_safetensors(path)[0].items()}
    write_safetensors(path, arrays | {"deit.embeddings.distillation_token": np.ones((1, 1, 12), np.float32)}, {})
    with pytest.raises(WeightsError, match="is a distilled DeiT"):
        interop.load_model(path)


def transformers_model(config, kind="ViTForImageClassification"):
    """With random weights, so that no two could be exchanged unnoticed."""
    import torch
    import transformers

    settings = transformers.ViTConfig(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        image_size=8,
        patch_size=4,
        num_labels=5,
        **config,
    )
    torch.manual_seed(0)
    model = getattr(transformers, kind)(settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.5)
    return model


@pytest.fixture
def images():
    return np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


def ours(model, images):
    with no_grad():
        return model(tensor(images, dtype=images.dtype)).numpy()


def theirs(model, images):
    import torch

    with torch.no_grad():
        answer = model(torch.from_numpy(images))
    return (answer.logits if hasattr(answer, "logits") else answer.pooler_output).numpy()


@pytest.mark.reference("torch", "transformers")
@pytest.mark.parametrize("kind", ["ViTForImageClassification", "ViTModel"])
@pytest.mark.parametrize(
    "config", [{}, {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-3}, {"qkv_bias": False}], ids=str
)
def test_what_transformers_saves_computes_the_same(path, images, kind, config) -> None:
    reference = transformers_model(config, kind)
    reference.save_pretrained(path.parent)
    model, metadata = interop.load_model(path)
    assert metadata["flavour"]["format"] == "huggingface"
    assert model.config["eps"] == config.get("layer_norm_eps", 1e-12)
    expected = theirs(reference, images)
    np.testing.assert_allclose(ours(model, images), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    wide = theirs(reference.double(), images.astype(np.float64))
    np.testing.assert_allclose(ours(model.astype(np.float64), images.astype(np.float64)), wide, rtol=1e-10, atol=1e-12)


@pytest.mark.reference("torch", "transformers")
def test_the_names_in_memory_are_read_too(path, images) -> None:
    """transformers 5 renames what it reads; its state_dict() has the new names, its files the old ones."""
    reference = transformers_model({})
    reference.config.save_pretrained(path.parent)
    state = {name: value.numpy() for name, value in reference.state_dict().items()}
    assert any(name.startswith("vit.layers.0.attention.q_proj") for name in state), (
        "transformers 5 or newer is expected"
    )
    write_safetensors(path, state, {"format": "pt"})
    model, metadata = interop.load_model(path)
    assert metadata["flavour"]["format"] == "huggingface_v5"
    expected = theirs(reference, images)
    np.testing.assert_allclose(ours(model, images), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.reference("torch", "transformers")
@pytest.mark.parametrize(
    "settings", [{}, {"gelu": "tanh", "eps": 1e-3}, {"num_classes": 0, "representation_size": 7}], ids=str
)
@pytest.mark.parametrize("format", ["huggingface", "huggingface_v5"])
def test_transformers_reads_what_is_saved(small, path, images, settings, format) -> None:
    import transformers

    model = small(seed=1, **settings).eval()
    interop.save(model, path, {"classes": list("abcde")[: model.config["num_classes"]]}, format=format)
    kind = transformers.ViTForImageClassification if model.config["num_classes"] else transformers.ViTModel
    reference, report = kind.from_pretrained(path.parent, output_loading_info=True)
    assert not any(report.values()), report
    expected = theirs(reference.eval(), images)
    np.testing.assert_allclose(ours(model, images), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
