"""The settings of a pretext run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minivit.recipes.config import TrainConfig, require

MASKS = ("center", "random_blocks", "random_region", "random_patches")


@dataclass
class PretextConfig(TrainConfig):
    """Settings of pretext training. Where a setting is None, the preset of the task and the data set decides."""

    task: str = "rotation"
    """What is learned; the labels of the data set are not used."""
    mask: Literal["center", "random_blocks", "random_region", "random_patches"] | None = None
    """Inpainting: what is hidden. The paper's three, or whole patches at random."""
    mask_share: float = 0.5
    """Inpainting: share of the patches that random_patches hides."""
    mask_patch: int | None = None
    """Inpainting: side of the patches that random_patches hides, in pixels; None: an eighth of the image's."""
    overlap: int | None = None
    """Inpainting: pixels at the border of the predicted region that are shown; None: a 32nd of the image's side (the
    paper's 4 of 128), and none for whole patches."""
    decoder_depth: int = 1
    """Inpainting: Transformer blocks of a Vision Transformer's decoder, before its linear map to pixels."""
    adversarial: float = 0.0
    """Inpainting: weight of what a discriminator says of the filling, beside one minus it of the squared error; the
    paper's is 0.001. 0 trains no discriminator, as the paper does where features are what is wanted."""
    discriminator_learning_rate: float = 2e-4
    """Inpainting: of the discriminator's Adam, whose betas are 0.5 and 0.999."""
    discriminator_width: int = 64
    """Inpainting: channels of the discriminator's first feature map."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask not in (None, *MASKS):
            raise ValueError(f"mask must be one of {', '.join(MASKS)}; got {self.mask!r}")
        require(self, "mask_share", lambda value: 0 < value <= 1, "above 0 and up to 1")
        require(self, "adversarial", lambda value: 0 <= value < 1, "in [0, 1)")
        for name in ("mask_patch", "discriminator_width"):
            require(self, name, lambda value: value > 0, "above 0")
        for name in ("overlap", "decoder_depth", "discriminator_learning_rate"):
            require(self, name, lambda value: value >= 0, "at least 0")
