"""The settings of a pretext run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minivit.augment.context_colors import COLORS
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
    """Inpainting: side of the patches that random_patches hides, in pixels; None: a Vision Transformer's own, or an
    eighth of the image's side."""
    overlap: int | None = None
    """Inpainting: pixels at the border of the predicted region that are shown; None: a 32nd of the image's side around
    the centre (the paper's 4 of 128), and none elsewhere."""
    decoder_depth: int = 1
    """Inpainting: Transformer blocks of a Vision Transformer's decoder, before its linear map to pixels."""
    adversarial: float = 0.0
    """Inpainting: weight of what a discriminator says of the filling, beside one minus it of the squared error; the
    paper's is 0.001. 0 trains no discriminator, as the paper does where features are what is wanted."""
    discriminator_learning_rate: float = 2e-4
    """Inpainting: of the discriminator's Adam, whose betas are 0.5 and 0.999."""
    discriminator_width: int = 64
    """Inpainting: channels of the discriminator's first feature map."""
    patch: int | None = None
    """Context prediction: side of the nine patches in pixels; a quarter of the image's by default."""
    gap: int | None = None
    """Context prediction: pixels between two patches; by default what patches and jitter leave over."""
    jitter: int | None = None
    """Context prediction: pixels by which each patch is moved at random; a 48th of the image's side by default."""
    pairs: int = 8
    """Context prediction: questions about an image in a step; 8, one about each neighbour, or 1."""
    colors: Literal["drop", "project", "gray", "none"] | None = None
    """Context prediction: "drop" two channels, "project" green against magenta out (the default where there are three
    channels), "gray" or "none"."""
    gray_probability: float = 0.66
    """Context prediction: share of the images, or patches, that "gray" makes grey."""
    colors_per: Literal["patch", "image"] = "patch"
    """Context prediction: draw colours for each patch, or for each image."""
    standardize: bool = True
    """Context prediction: give each patch mean 0 and deviation 1."""
    lower_resolution: float = 0.0
    """Context prediction: share of the patches that are made smaller and larger again."""
    fewest_pixels: int | None = None
    """Context prediction: pixels of the smallest of these."""
    head_width: int | None = None
    """Context prediction: width of the two hidden layers that look at two patches; 256 by default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask not in (None, *MASKS):
            raise ValueError(f"mask must be one of {', '.join(MASKS)}; got {self.mask!r}")
        require(self, "mask_share", lambda value: 0 < value <= 1, "above 0 and up to 1")
        require(self, "adversarial", lambda value: 0 <= value < 1, "in [0, 1)")
        if self.colors not in (None, *COLORS):
            raise ValueError(f"colors must be one of {', '.join(COLORS)}; got {self.colors!r}")
        if self.pairs not in (1, 8):
            raise ValueError(f"pairs must be 8, one with each neighbour, or 1; got {self.pairs}")
        for name in ("gray_probability", "lower_resolution"):
            require(self, name, lambda value: 0 <= value <= 1, "in [0, 1]")
        for name in ("mask_patch", "discriminator_width", "patch", "fewest_pixels", "head_width"):
            require(self, name, lambda value: value > 0, "above 0")
        for name in ("overlap", "decoder_depth", "discriminator_learning_rate", "gap", "jitter"):
            require(self, name, lambda value: value >= 0, "at least 0")
