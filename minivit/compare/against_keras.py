"""The lecture's ``cce(y_true, y_pred)``: Keras' CategoricalCrossentropy, on Keras' JAX backend."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np

CLIPPED_AT = 1e-7  # keras.config.epsilon(), unless somebody has set another


def installed() -> bool:
    """Whether Keras and JAX can be imported."""
    return all(importlib.util.find_spec(module) is not None for module in ("keras", "jax"))


def categorical_crossentropy(
    logits: Any, targets: Any, from_logits: bool, label_smoothing: float = 0.0, example_weights: Any = None
) -> Any:
    """The loss averaged over a batch, and its gradient with respect to the logits.

    Parameters
    ----------
    logits, targets : arrays of shape (B, K) and one dtype
    from_logits : bool
        False hands Keras the softmax of the logits, as the last layer of the lecture's models does; it then clips the
        probabilities to [1e-7, 1 - 1e-7]. True hands it the logits, and nothing is clipped.
    label_smoothing : float
    example_weights : array of shape (B,), optional
        The weighted sum is divided by B.

    Returns
    -------
    loss : array of shape ()
    gradient : array of shape (B, K)

    Raises
    ------
    RuntimeError
        If Keras was imported before, on another backend.
    """
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import keras

    if keras.backend.backend() != "jax":
        raise RuntimeError(
            f"Keras runs on {keras.backend.backend()}; set the environment variable KERAS_BACKEND=jax before it is "
            "imported: gradients are asked of JAX here"
        )
    dtype = str(logits.dtype)
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=from_logits, label_smoothing=label_smoothing, reduction="sum_over_batch_size", dtype=dtype
    )

    def function(z: Any) -> Any:
        return loss(targets, z if from_logits else jax.nn.softmax(z), sample_weight=example_weights)

    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(function)(jax.numpy.asarray(logits))
    return np.asarray(value), np.asarray(gradient)
