"""Settings of semi-supervised runs on texts: chosen on held-out training texts, never on a test set.

The trials are counted in `TRIALS`, one for each setting that was looked at. UDA and the baselines share them: they
differ in the unlabelled term alone.
"""

from __future__ import annotations

from typing import Any

from minivit.models import TextTransformer

TEXT_COMMON: dict[str, Any] = {
    "model": "preset",
    "optimizer": "adamw",
    "learning_rate": 5e-3,
    "weight_decay": 0.05,
    "warmup": 0.05,
    "batch_size": 32,
    "unlabelled_ratio": 4.0,
    "augmentation": "tfidf",
    "labelled_augmentation": "none",
    "replacement": 0.7,
    "tsa": "none",
    "temperature": 0.4,
    "confidence": 0.5,
    "weight": 1.0,
    "label_smoothing": 0.0,
    "ema": 0.99,
    "dropout": 0.1,
    "drop_path": 0.0,
    "validation": 0.1,
}

TRIALS: dict[str, int] = {"docstrings": 25}

PRESETS: dict[str, dict[str, Any]] = {
    "docstrings": {"steps": 200, "labels": 110, "vocabulary": 3000, "length": 64},
    # Untried: the paper's number of labels, and its TSA schedule for IMDb (text/scripts of the authors' code).
    "imdb": {
        "minutes": 60.0,
        "labels": 20,
        "batch_size": 20,
        "unlabelled_ratio": 7.0,
        "vocabulary": 20_000,
        "length": 256,
        "tsa": "linear",
        "learning_rate": 2e-3,
    },
}

MODELS: dict[str, dict[str, Any]] = {
    "docstrings": {"dim": 64, "depth": 1, "heads": 4, "mlp_dim": 128, "pool": "mean", "initialization": "fan_in"},
    "imdb": {"dim": 128, "depth": 2, "heads": 4, "mlp_dim": 256, "pool": "mean", "initialization": "fan_in"},
}


def text_preset(dataset: str) -> dict[str, Any]:
    """What `TextConfig.filled` takes for a data set: docstrings or imdb."""
    return {**TEXT_COMMON, **PRESETS[dataset]}


def build_text_model(
    dataset: str,
    *,
    vocabulary_size: int,
    max_length: int,
    num_classes: int,
    seed: int,
    dropout: float,
    drop_path: float,
) -> TextTransformer:
    """The model of a run, fitted to the data."""
    return TextTransformer(
        vocabulary_size,
        max_length,
        num_classes=num_classes,
        seed=seed,
        dropout=dropout,
        drop_path=drop_path,
        **MODELS[dataset],
    )
