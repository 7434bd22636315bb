"""An exported file computes what the model computes, in two evaluators, and shows the architecture."""

import json

import numpy as np
import pytest

from minivit import models
from minivit.compare.modules import by_minivit
from minivit.compare.onnx_rows import EVALUATORS, by_onnx
from minivit.interop import WeightsError, export_onnx, onnx_export, onnx_model
from minivit.models import ResNet, VisionTransformer

pytestmark = pytest.mark.reference("onnx", "onnxruntime")

TOLERANCE = 1e-5  # as a share of the largest logit
VIT = {"image_size": 8, "patch_size": 4, "dim": 12, "depth": 2, "heads": 3, "mlp_dim": 20, "num_classes": 5}
TRANSFORMERS = {
    "class token": {},
    "mean": {"pool": "mean"},
    "sequence, stem": {"pool": "sequence", "stem": (5, 6)},
    "stem, class token": {"stem": (5, 6)},
    "tanh GELU": {"gelu": "tanh"},
    "large eps": {"eps": 0.1},
    "no bias of qkv": {"qkv_bias": False},
    "fixed positions": {"positions": "sincos2d"},
    "no positions, grey": {"positions": "none", "channels": 1},
    "pre_logits": {"representation_size": 7},
    "no head": {"num_classes": 0},
    "dropout": {"dropout": 0.5, "drop_path": 0.5, "checkpoint_blocks": True},
}
RESNETS = {
    "basic": {"layers": (2, 2), "block": "basic", "width": 4, "num_classes": 5, "stem": "cifar"},
    "bottleneck": {"layers": (2, 2), "block": "bottleneck", "width": 4, "num_classes": 5},
    "no head": {"layers": (1, 1), "block": "basic", "width": 4, "num_classes": 0, "bn_eps": 0.1},
}


def randomised(model, seed=0):
    """Every parameter and statistic random, so that none could be left out or exchanged unnoticed."""
    numbers = np.random.default_rng(seed)
    state = {name: array for name, array in model.state_dict().items() if array.dtype.kind == "f"}
    for name, array in state.items():
        positive = name.endswith("running_var")
        state[name] = numbers.uniform(0.2 if positive else -0.9, 0.9, array.shape)
    model.load_state_dict(state, strict=False)
    return model


def transformer(**settings):
    return randomised(VisionTransformer(**VIT | settings))


def images_for(model, batch_size=3, side=None):
    channels, height, width = model.input_size
    shape = (batch_size, channels, side or height, side or width)
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def assert_equal_logits(model, made, images):
    ours, _ = by_minivit(model.eval(), images)
    assert ours.std() > 0.1  # there is something to compare
    for evaluator in EVALUATORS:
        theirs = by_onnx(made, images, evaluator)
        assert theirs.dtype == np.float32
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=TOLERANCE * np.abs(ours).max(), err_msg=evaluator)


@pytest.mark.parametrize("settings", TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_a_vision_transformer_computes_the_same(settings):
    model = transformer(**settings)  # in training mode: the file holds the forward in evaluation
    assert_equal_logits(model, onnx_model(model), images_for(model))


@pytest.mark.parametrize("settings", RESNETS.values(), ids=RESNETS)
@pytest.mark.parametrize("side", [32, 19])
def test_a_resnet_computes_the_same_for_any_image_size(settings, side):
    model = randomised(ResNet(**settings))
    assert_equal_logits(model, onnx_model(model), images_for(model, side=side))


def test_the_settings_that_no_shape_shows_matter():
    """The tests above could not pass with another GELU, eps or number of heads: the logits are too far apart."""
    base = transformer()
    ours, _ = by_minivit(base.eval(), images_for(base))
    for settings in ({"gelu": "tanh"}, {"eps": 1e-3}, {"heads": 4}):
        other = onnx_model(transformer(**settings))
        assert np.abs(by_onnx(other, images_for(base)) - ours).max() > 5 * TOLERANCE * np.abs(ours).max()


def test_the_batch_axis_is_of_any_length_and_inputs_and_outputs_have_names():
    model = transformer()
    made = onnx_model(model)
    for batch_size in (1, 2, 7):
        assert_equal_logits(model, made, images_for(model, batch_size))
    assert shapes(made.graph.input) == {"images": ["batch", 3, 8, 8]}
    assert shapes(made.graph.output) == {"logits": ["batch", 5]}
    assert shapes(onnx_model(transformer(num_classes=0)).graph.output) == {"features": ["batch", 12]}
    resnet = onnx_model(ResNet(**RESNETS["no head"]))
    assert shapes(resnet.graph.input) == {"images": ["batch", 3, "height", "width"]}
    assert shapes(resnet.graph.output) == {"features": ["batch", 8]}


def shapes(values):
    return {v.name: [axis.dim_param or axis.dim_value for axis in v.type.tensor_type.shape.dim] for v in values}


def test_each_kind_of_block_is_one_function_and_weights_keep_their_names():
    model = transformer(depth=3)
    made = onnx_model(model)
    assert [(node.op_type, node.name) for node in made.graph.node] == [
        ("PatchEmbedding", "patch_embed"),
        ("ClassToken", "with_class_token"),
        ("Add", "with_positions"),
        ("TransformerBlock", "blocks.0"),
        ("TransformerBlock", "blocks.1"),
        ("TransformerBlock", "blocks.2"),
        ("LayerNormalization", "norm"),
        ("Gather", "pool"),
        ("Linear", "head"),
    ]
    names = [function.name for function in made.functions]
    assert len(names) == len(set(names))
    assert set(names) == {"PatchEmbedding", "ClassToken", "Linear", "SelfAttention", "Gelu", "Mlp", "TransformerBlock"}
    from onnx import numpy_helper

    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(held[name], array)
    assert {entry.domain: entry.version for entry in made.opset_import} == {"": 20, "minivit": 1}

    resnet = onnx_model(ResNet(**RESNETS["bottleneck"]))
    blocks = [(node.op_type, node.name) for node in resnet.graph.node if node.name.startswith("layer")]
    assert blocks == [
        ("BottleneckWithProjection", "layer1.0"),
        ("Bottleneck", "layer1.1"),
        ("BottleneckWithProjection", "layer2.0"),
        ("Bottleneck", "layer2.1"),
    ]
    assert [f.name for f in resnet.functions] == ["Stem", "BottleneckWithProjection", "Bottleneck", "Linear"]


def test_a_file_has_the_metadata_and_passes_the_strict_check(tmp_path):
    import onnx

    path = tmp_path / "new" / "model.onnx"
    metadata = {"classes": ["cat", "dög"], "mean": (0.5, 0.4, 0.3), "std": [0.2, 0.2, 0.2], "image_size": 8}
    export_onnx(transformer(), path, metadata)
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    entries = {entry.key: json.loads(entry.value) for entry in made.metadata_props}
    assert entries.pop("model")["class"] == "VisionTransformer"
    assert entries == {**metadata, "mean": [0.5, 0.4, 0.3]}
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]  # nothing is left beside it
    assert_equal_logits(transformer(), path, images_for(transformer()))


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    with pytest.raises(WeightsError, match="a WideResNet cannot be exported to ONNX; VisionTransformer and ResNet can"):
        export_onnx(models.create("wrn_16_4_cifar", initialization="none"), path)
    with pytest.raises(WeightsError, match="parameters are float64; export it in float32"):
        export_onnx(transformer().astype(np.float64), path)
    with pytest.raises(WeightsError, match=r"ONNX files end in \.onnx"):
        export_onnx(transformer(), tmp_path / "model.pb")
    with pytest.raises(WeightsError, match="their own field `model`"):
        export_onnx(transformer(), path, {"model": "mine"})
    with pytest.raises(WeightsError, match="fit into JSON"):
        export_onnx(transformer(), path, {"mean": [float("nan")]})
    monkeypatch.setattr(onnx_export, "LARGEST", 1000)
    with pytest.raises(WeightsError, match="an ONNX file can hold 2: export a smaller model"):
        export_onnx(transformer(), path)
    assert not list(tmp_path.iterdir())


def test_a_subclass_may_compute_something_else_and_is_refused():
    class Negated(VisionTransformer):
        def forward(self, images):
            return -super().forward(images)

    with pytest.raises(WeightsError, match="a Negated cannot be exported"):
        onnx_model(Negated(**VIT))
