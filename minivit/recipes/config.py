"""The settings of a supervised run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, Self

from minivit import models
from minivit.backend.precision import PRECISIONS
from minivit.data import Preprocessing
from minivit.optim import SCHEDULES

OWN_MODELS = ("preset", "small")  # names that stand for settings in recipes/presets.py, beside those of minivit.models


@dataclass
class TrainConfig:
    """Settings of a supervised training run. Where a setting is None, the preset of the data set decides."""

    dataset: str = "auto"
    """cifar10, cifar100, digits, shapes; the photos of pets, flowers102 or imagenet; or a folder of images. "auto":
    CIFAR-10 if it can be had, else digits."""
    data_dir: str | None = None
    """Where data sets lie or are downloaded to; before it $MINIVIT_DATA and the user cache are searched."""
    download: bool = True
    """Download a data set that is nowhere to be found."""
    training_images: int | None = None
    """Train on so many images, as many of each class, drawn by the seed; more of them are the fewer and others."""
    image_size: int = 32
    """Side to which photos, and the images of a folder, are resized."""
    preprocessing: Literal["timm", "google", "big_vision"] = "timm"
    """How the photos of pets, flowers102 and imagenet are resized. timm: the shorter side, then the central square;
    google: the whole photo to a square; big_vision: as timm, by area. A folder is always read as central squares."""
    crop_fraction: float = 1.0
    """Share of such a photo's shorter side that evaluation sees, for timm and big_vision."""
    model: str | None = None
    """A model's name, see python -m minivit summary; "preset" for the data set's own, or "small" for a faster one."""
    epochs: float | None = None
    """Passes over the training set."""
    minutes: float | None = None
    """Wall-clock budget in place of epochs: the speed is measured first, then the number of steps is fixed."""
    steps: int | None = None
    """Number of steps in place of epochs or minutes; repeats a run that --minutes made."""
    batch_size: int | None = None
    """Images in a step."""
    micro_batch: int | None = None
    """Images that go forward and backward at once; their gradients are added up to a step's. By default, on a CPU, as
    many as suit the model; on a GPU, all. Without effect on a model with batch normalisation, which needs the whole
    batch: it always has one part a thread."""
    optimizer: Literal["adamw", "muon", "sgd"] | None = None
    """AdamW; Muon for the blocks' matrices with AdamW for the rest; or SGD with momentum 0.9."""
    nesterov: bool | None = None
    """Whether SGD's momentum is Nesterov's."""
    learning_rate: float | None = None
    """Peak learning rate."""
    layer_decay: float | None = None
    """Factor by which the learning rate falls from each block to the one before it; 1 leaves all alike."""
    matrix_learning_rate: float | None = None
    """Peak learning rate of the matrices that Muon updates."""
    weight_decay: float | None = None
    """Of matrices and kernels; biases, norms, class token and positions are not decayed."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup: float | None = None
    """Fraction of the steps in which the learning rate rises linearly."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 leaves it alone."""
    label_smoothing: float | None = None
    """Share of the target that is spread over all classes."""
    crop: int | None = None
    """Pixels by which images are shifted at random (padding by reflection, or by black for digits)."""
    crop_area: float | None = None
    """Smallest share of an image that a random crop shows, resized to the whole, in place of shifts: for photos. Google
    fine-tunes with 0.05, timm trains with 0.08; 0 shifts."""
    flip: bool | None = None
    """Mirror half of the images."""
    rotate_colors: bool | None = None
    """Rotate and invert colours at random, where classes do not depend on them."""
    cutout: int | None = None
    """Side of a square that is blanked, in pixels; 0 blanks none."""
    mixup: float | None = None
    """Parameter of the Beta distribution from which images are mixed; 0 mixes none."""
    drop_path: float | None = None
    """Rate at which residual branches are left out (of a Vision Transformer; ResNets take 0)."""
    ema: float | None = None
    """Decay of the average of the weights that is evaluated; 0 evaluates the weights themselves."""
    whitening: bool | None = None
    """Start the first layer of a Vision Transformer from the principal components of training patches."""
    validation: float | None = None
    """Share of the training set that is held out to watch the run (a data set's own validation split is used first)."""
    test: bool = True
    """Evaluate the test set once, at the end. Without it the run ends on the held-out images: for choosing settings."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the matrix products of linear layers and MLPs in training: bf16 rounds their operands to bfloat16 and sums in
    float32, on processors with AMX or AVX512_BF16 and with the extra bf16. Everything else stays in float32."""
    threads: int = 0
    """CPU threads; 0 takes all cores that this process may use."""
    seed: int = 0
    """Of weights, shuffles, augmentation and masks."""
    checkpoint_minutes: float = 2.0
    """Write a checkpoint this often, and at the end of each epoch (of several, where they are short)."""

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.epochs, self.minutes, self.steps)) > 1:
            raise ValueError("give only one of epochs, minutes and steps")
        for name in (
            "epochs",
            "minutes",
            "steps",
            "training_images",
            "batch_size",
            "micro_batch",
            "checkpoint_minutes",
        ):
            require(self, name, lambda value: value > 0, "above 0")
        for name in (
            "learning_rate",
            "matrix_learning_rate",
            "weight_decay",
            "clip",
            "crop",
            "cutout",
            "mixup",
            "threads",
        ):
            require(self, name, lambda value: value >= 0, "at least 0")
        for name in ("label_smoothing", "warmup", "drop_path", "ema", "validation", "crop_area"):
            require(self, name, lambda value: 0.0 <= value < 1.0, "in [0, 1)")
        require(self, "layer_decay", lambda value: 0.0 < value <= 1.0, "in (0, 1]")
        Preprocessing(self.preprocessing, self.crop_fraction)  # raises where they do not go together
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}; got {self.schedule!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}")
        if self.model not in (None, *OWN_MODELS) and self.model not in models.list():
            models.create(str(self.model))  # raises, with the nearest names

    def filled(self, preset: dict[str, Any]) -> Self:
        """A copy in which the preset's values stand for what is None."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        length_given = any(own[name] is not None for name in ("epochs", "minutes", "steps"))
        for name, value in preset.items():
            if own.get(name) is None and not (name in ("epochs", "minutes", "steps") and length_given):
                own[name] = value
        return type(self)(**own)

    @property
    def step_size(self) -> int:
        """Examples in a step."""
        return self.batch_size or 1

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """From the dictionary of its fields that a run folder keeps.

        Raises
        ------
        ValueError
            If there are other fields: the run is another program's, or another version's.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if set(values) != known:
            odd = ", ".join(sorted(set(values) ^ known))
            raise ValueError(f"the run's settings are not {cls.__name__}'s: {odd}; go on with the program that made it")
        return cls(**values)


def require(config: TrainConfig, name: str, holds: Any, what: str) -> None:
    """Raise a ValueError unless a setting is None or a predicate holds of it."""
    value = getattr(config, name)
    if value is not None and not holds(value):
        raise ValueError(f"{name} must be {what}, got {value}")
