"""The settings of a semi-supervised run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from minivit.recipes.config import TrainConfig
from minivit.recipes.uda import IMPLEMENTATIONS, UdaSettings

METHODS = ("uda", "supervised", "fully_supervised")


@dataclass
class UdaConfig(TrainConfig):
    """Settings of semi-supervised training. Where a setting is None, the preset of the data set decides."""

    labels: int | None = None
    """Training examples whose labels are used, the same number of each class."""
    method: Literal["uda", "supervised", "fully_supervised"] = "uda"
    """uda; supervised: the same run on the labelled examples alone; fully_supervised: with all labels, the ceiling."""
    unlabelled_batch_size: int | None = None
    """Unlabelled examples in a step; batch_size counts the labelled ones."""
    unlabelled_ratio: float | None = None
    """Unlabelled examples for each labelled one in a step, in place of unlabelled_batch_size."""
    include_labelled: bool = True
    """Whether the unlabelled set holds the labelled examples too, without their labels, as the official code does."""
    augmentation: Literal["uda", "torchvision", "timm", "fixmatch", "weak"] | None = None
    """Of the augmented images: a dialect of RandAugment before the crop and flip, or these alone (weak)."""
    labelled_augmentation: Literal["uda", "torchvision", "timm", "fixmatch", "weak"] | None = None
    """Of the labelled images, in the baselines too."""
    tsa: Literal["none", "linear", "log", "exp"] | None = None
    """Schedule of training signal annealing: the loss leaves out labelled examples that are learned already."""
    temperature: float | None = None
    """Sharpens the distribution of the original: its logits are divided by it."""
    confidence: float | None = None
    """Only originals whose largest probability exceeds it count in the consistency loss; 0 counts all."""
    weight: float | None = None
    """Weight of the consistency loss."""
    entropy_weight: float = 0.0
    """Weight of the entropy of the originals' distributions, which is minimised too."""
    stop_gradient: bool = True
    """Stop the gradient at the original's distribution. Off, the target drifts towards the prediction."""
    implementation: str = "official"
    """Whose loss: official, or an implementation whose deviations are reproduced (see
    minivit/recipes/uda/settings.py)."""
    forward: Literal["auto", "separate", "concatenated"] = "auto"
    """separate: the originals run first, without gradients; concatenated: labelled, original and augmented examples in
    one forward, as in the official code; auto: concatenated for a model with batch normalisation, else separate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels is not None and self.labels < 1:
            raise ValueError(f"labels must be at least 1, got {self.labels}")
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {self.method!r}")
        if self.forward not in ("auto", "separate", "concatenated"):
            raise ValueError(f'forward must be "auto", "separate" or "concatenated", got {self.forward!r}')
        if self.unlabelled_batch_size is not None and self.unlabelled_ratio is not None:
            raise ValueError("give only one of unlabelled_batch_size and unlabelled_ratio")
        for name, value in (
            ("unlabelled_batch_size", self.unlabelled_batch_size),
            ("unlabelled_ratio", self.unlabelled_ratio),
        ):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if self.implementation not in IMPLEMENTATIONS:
            raise ValueError(f"implementation must be one of {', '.join(IMPLEMENTATIONS)}; got {self.implementation!r}")
        self.loss_settings()  # raises for a temperature, a threshold or a weight out of range

    def filled(self, preset: dict[str, Any]) -> Self:
        """A copy in which the preset's values stand for what is None; its ratio gives way to a given batch size."""
        if self.unlabelled_batch_size is not None:
            preset = {**preset, "unlabelled_ratio": None}
        return super().filled(preset)

    @property
    def step_size(self) -> int:
        """Examples in a step, labelled and unlabelled."""
        return super().step_size + self.unlabelled_beside(super().step_size)

    def loss_settings(self) -> UdaSettings:
        """The loss that this configuration asks for."""
        chosen: dict[str, Any] = {
            "tsa": self.tsa,
            "temperature": self.temperature,
            "confidence": self.confidence,
            "weight": self.weight,
            "label_smoothing": self.label_smoothing,
        }
        given = {name: value for name, value in chosen.items() if value is not None}
        deviations = dict(IMPLEMENTATIONS[self.implementation])
        if not self.stop_gradient:
            deviations["stop_gradient"] = False
        return UdaSettings(**{"entropy_weight": self.entropy_weight, **given, **deviations})

    def unlabelled_beside(self, labelled: int) -> int:
        """Unlabelled examples in a step of so many labelled ones."""
        if self.unlabelled_batch_size is not None:
            return self.unlabelled_batch_size
        return max(1, round(labelled * (self.unlabelled_ratio or 1.0)))
