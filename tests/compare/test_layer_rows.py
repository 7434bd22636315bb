"""Every layer with parameters against PyTorch's own module of that name, and against JAX."""

import inspect

import numpy as np
import pytest

from minivit import nn
from minivit.compare import torch_layers
from minivit.compare.jax_modules import jax_function
from minivit.compare.layer_rows import WITHOUT_TWIN, layer_rows, layers


def test_every_layer_is_compared_or_said_not_to_be():
    exported = {name for name in nn.__all__ if inspect.isclass(getattr(nn, name))}
    known = {name for name in exported if issubclass(getattr(nn, name), nn.Module)} - {"Module"}
    compared = {type(layer).__name__ for layer, _ in layers().values()}
    assert compared | set(WITHOUT_TWIN) == known
    assert not compared & set(WITHOUT_TWIN)


def test_layers_are_the_same_numbers_each_time_and_have_no_zeros():
    for (first, _), (second, _) in zip(layers().values(), layers().values(), strict=True):
        for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype.kind == "i" or np.all(one != 0.0)


@pytest.mark.reference
def test_layers_agree_with_pytorch():
    rows, skips = layer_rows(["PyTorch"])
    assert [(row.name, row.dtype) for row in rows] == [(n, d) for n in layers() for d in ("float32", "float64")]
    assert not [(row.name, row.dtype, row.forward, row.worst, row.gradient) for row in rows if not row.passed]
    assert {skip.what for skip in skips} == set(WITHOUT_TWIN)
    for row in rows:
        layer, _ = layers()[row.name]
        assert set(row.gradients) == {"input", *(name for name, _ in layer.named_parameters())}


@pytest.mark.slow
@pytest.mark.reference("jax")
def test_layers_agree_with_jax():
    rows, _ = layer_rows(["JAX"])
    assert not [(row.name, row.dtype, row.forward, row.worst, row.gradient) for row in rows if not row.passed]


@pytest.mark.reference("torch", "jax")
def test_other_modules_have_no_twin():
    with pytest.raises(ValueError, match="no twin of Dropout in PyTorch; there are those of Linear, LayerNorm"):
        torch_layers.torch_twin(nn.Dropout(0.5))
    with pytest.raises(ValueError, match="no twin of Dropout in JAX"):
        jax_function(nn.Dropout(0.5))
