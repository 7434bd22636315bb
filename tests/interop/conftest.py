import numpy as np
import pytest

from minivit.models import VisionTransformer


@pytest.fixture
def small():
    """Make a small Vision Transformer; its every parameter is random, so that no two could be exchanged unnoticed."""

    def make(seed: int = 0, **settings):
        model = VisionTransformer(
            **{"image_size": 8, "patch_size": 4, "dim": 12, "depth": 2, "heads": 3, "mlp_dim": 20, "num_classes": 5}
            | settings
        )
        numbers = np.random.default_rng(seed)
        for parameter in model.parameters():
            parameter.assign(numbers.standard_normal(parameter.shape))
        return model

    return make
