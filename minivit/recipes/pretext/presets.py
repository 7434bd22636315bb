"""Settings that work well for a pretext task: chosen on held-out training images, never on a test set."""

from __future__ import annotations

from typing import Any

from minivit.recipes.presets import preset_settings

# What the tasks change in a data set's own preset.
PRESETS: dict[str, dict[str, Any]] = {
    "context": {"label_smoothing": 0.0},
    "rotation": {"label_smoothing": 0.0, "flip": False},
    "inpainting": {"label_smoothing": 0.0, "mask": "random_patches", "batch_size": 32},
}


def pretext_preset(task: str, dataset: str) -> dict[str, Any]:
    """What `PretextConfig.filled` takes for a task on a data set."""
    return {**preset_settings(dataset), **PRESETS.get(task, {})}
