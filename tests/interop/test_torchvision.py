"""Tests of minivit/interop/torchvision.py."""

import numpy as np

from minivit import interop
from minivit.interop.safetensors_file import read_safetensors, write_safetensors

LAYER = "encoder.layers.encoder_layer_0."
NAMES = {  # of a model of one block, from torchvision/models/vision_transformer.py
    "class_token": (1, 1, 12),
    "conv_proj.weight": (12, 3, 4, 4),
    "conv_proj.bias": (12,),
    "encoder.pos_embedding": (1, 5, 12),
    f"{LAYER}ln_1.weight": (12,),
    f"{LAYER}ln_1.bias": (12,),
    f"{LAYER}self_attention.in_proj_weight": (36, 12),
    f"{LAYER}self_attention.in_proj_bias": (36,),
    f"{LAYER}self_attention.out_proj.weight": (12, 12),
    f"{LAYER}self_attention.out_proj.bias": (12,),
    f"{LAYER}ln_2.weight": (12,),
    f"{LAYER}ln_2.bias": (12,),
    f"{LAYER}mlp.0.weight": (20, 12),
    f"{LAYER}mlp.0.bias": (20,),
    f"{LAYER}mlp.3.weight": (12, 20),
    f"{LAYER}mlp.3.bias": (12,),
    "encoder.ln.weight": (12,),
    "encoder.ln.bias": (12,),
    "heads.pre_logits.weight": (7, 12),
    "heads.pre_logits.bias": (7,),
    "heads.head.weight": (5, 7),
    "heads.head.bias": (5,),
}


def test_names_and_shapes_are_torchvisions(small, tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    interop.save(small(depth=1, representation_size=7), path, format="torchvision")
    assert {name: array.shape for name, array in read_safetensors(path)[0].items()} == NAMES


def test_the_older_names_of_the_perceptron_are_read(small, tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    model = small()
    interop.save(model, path, format="torchvision")
    arrays = {
        name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): array
        for name, array in read_safetensors(path)[0].items()
    }
    assert any("linear_2" in name for name in arrays)
    write_safetensors(path, arrays, {})
    again = interop.load(small(seed=1), path)
    assert all(np.array_equal(again.state_dict()[name], array) for name, array in model.state_dict().items())


def test_what_its_convention_is(tmp_path) -> None:
    from minivit import models

    path = tmp_path / "model.safetensors"
    interop.save(models.create("vit_testing", image_size=32), path, format="torchvision")
    _, metadata = interop.load_model(path)
    assert metadata["mean"] == [0.485, 0.456, 0.406]
    assert (metadata["preprocessing"], metadata["crop_fraction"]) == ("timm", 0.875)
