"""The settings of a transfer to the task of interest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minivit.augment import INTERPOLATIONS
from minivit.models.positions import METHODS
from minivit.recipes.config import TrainConfig

MODES = ("full", "head", "probe", "knn")
FROZEN = ("probe", "knn")  # those that look at features alone, and train no network


@dataclass
class TransferConfig(TrainConfig):
    """Settings of a transfer. Where a setting is None, the preset decides."""

    weights: str | None = None
    """A checkpoint, the folder of a run of train_cifar.py or pretrain.py, or weights of others such as DeiT's; also
    looked for below $MINIVIT_DATA."""
    mode: Literal["full", "head", "probe", "knn"] = "full"
    """full: train all weights; head: train a new head alone, with augmentation, on the frozen rest; probe: fit a linear
    classifier to the features of the images as they are; knn: compare features with those of the training images."""
    init: Literal["pretrained", "random"] = "pretrained"
    """random: the same model with weights drawn by the seed, to see what the pretrained ones are worth."""
    preset: Literal["adamw", "google"] = "adamw"
    """Settings for --mode full: AdamW with layer-wise learning rates; or those of the Vision Transformer paper, SGD at
    batch 512 for 10,000 steps."""
    image_size: int = 0
    """Side to which images are resized; 0: that of the model's own training images, or their own if that is larger."""
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    """How images are resized."""
    positions: Literal["google", "timm_npz", "timm", "huggingface"] = "google"
    """How a position embedding is resized for another image size."""
    statistics: Literal["imagenet", "half"] | None = None
    """Mean and std that images are normalised with, where the weights do not say: ImageNet's, or 0.5. By default 0.5
    for files named vit..., else ImageNet's."""
    first_training: int | None = None
    """Use the first so many training images alone. For as many of each class there is --training-images."""
    first_test: int | None = None
    """Use the first so many test images alone."""
    features: str | None = None
    """Folder in which --mode probe and knn keep features, for other runs to read; by default it is in the run's own."""
    neighbours: int = 20
    """Training images that vote, for --mode knn."""
    vote: Literal["weighted", "majority"] = "weighted"
    """How they vote: by exp(similarity / temperature), as in DINO, or with one voice each; a result has both."""
    temperature: float = 0.07
    """Of their weighted vote."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in {
            "mode": MODES,
            "init": ("pretrained", "random"),
            "preset": ("adamw", "google"),
            "interpolation": INTERPOLATIONS,
            "positions": tuple(METHODS),
            "vote": ("weighted", "majority"),
        }.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}")
        for name in ("first_training", "first_test", "neighbours", "temperature"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if self.image_size < 0:
            raise ValueError(f"image_size must be at least 0, got {self.image_size}")
        if self.model is not None:
            raise ValueError("the weights say which model it is; leave out the model")
