"""Inpainting (Pathak et al. 2016, Context Encoders, arXiv:1604.07379): what belongs into the hole of an image?

Who fills a hole well has to know what the rest shows. The predicted region is a mask. A few pixels at its border may be
shown to the encoder; they weigh ten times as much in the loss, so that the filling joins on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from minivit import augment, ops
from minivit.autograd import Tensor, no_grad
from minivit.backend import Array, array_module
from minivit.backend.cpu.threads import Workers
from minivit.backend.random import generator
from minivit.data import Dataset
from minivit.models import VisionTransformer
from minivit.models.context_encoder import ConvolutionalDecoder, PatchDecoder, wholly_hidden
from minivit.nn import Module, Parameter, init
from minivit.recipes.pretext.config import PretextConfig
from minivit.recipes.pretext.fillings import FILLINGS
from minivit.recipes.pretext.task import EVALUATION_STEP, MakeEncoder, PretextModel, PretextTask
from minivit.recipes.step import TrainingStep

BASELINE_PIXELS = 2**20  # in all the images that simple fillings are tried on
BORDER_WEIGHT = 10.0  # of a pixel at the border of the predicted region (arXiv:1604.07379, section 3.2)


class InpaintingModel(PretextModel):
    """An encoder that sees an image with holes, and a decoder that answers with the whole image.

    Holes are filled with the mean colour, which is 0 after normalisation. A Vision Transformer is told as well which
    patches it does not see: a learned mask token stands in their place, as in Dosovitskiy et al. 2020, appendix B.1.2.

    Parameters
    ----------
    encoder : VisionTransformer, or a Module whose `forward_features` gives a feature map (B, D, h, w)
    head : Module
        Decoder: the encoder's tokens or feature map to images (B, C, H, W).
    seed : int
        Of the mask token.
    """

    def __init__(self, encoder: Module, head: Module, seed: int = 0) -> None:
        if isinstance(encoder, VisionTransformer):
            token = init.normal(0.02)(generator(seed, "mask_token"), (1, 1, encoder.num_features))
            self.mask_token = Parameter(token)
        super().__init__(Inpainting.name, encoder, head)

    def forward(self, images: Tensor, hidden: Array) -> Tensor:  # type: ignore[override]
        """Fill the holes.

        Parameters
        ----------
        images : Tensor of shape (B, C, H, W)
            Normalised.
        hidden : array (B, 1, H, W) of bool
            The pixels that the encoder does not see.

        Returns
        -------
        Tensor of shape (B, C, H, W)
            What the whole image may look like, the parts that are known as well.
        """
        seen = ops.where(Tensor(hidden), 0.0, images)
        encoder: Any = self.encoder
        if not isinstance(encoder, VisionTransformer):
            return self.head(encoder.forward_features(seen))  # type: ignore[no-any-return]
        masked = Tensor(wholly_hidden(hidden, encoder.patch_size))  # (B, N)
        tokens = encoder.forward_features(seen, masked, self.mask_token)  # (B, N, D), or N + 1 with a class token
        return self.head(tokens[:, tokens.shape[1] - masked.shape[1] :])  # type: ignore[no-any-return]


class Inpainting(PretextTask):
    """A part of each image is hidden, and its pixels are predicted.

    The loss is the squared error over the predicted region, in units of the data set's standard deviation.

    Attributes
    ----------
    patch : int
        Side of the patches that a mask of ``"random_patches"`` hides. Unless the settings say, the encoder's own where
        it has some, an eighth of the image's side where not.
    """

    name = "inpainting"
    titles: ClassVar[Mapping[str, str]] = {
        "loss": "squared error (normalised pixels)",
        "psnr": "PSNR in the hole (dB)",
    }

    def __init__(
        self, config: PretextConfig, image_shape: tuple[int, int, int], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(config, image_shape, mean, std)
        self.patch = config.mask_patch or max(image_shape[1] // 8, 1)

    def build(self, make_encoder: MakeEncoder) -> PretextModel:
        """A light decoder of tokens for a Vision Transformer; transposed convolutions for other encoders."""
        config, side = self.config, self.image_shape[1]
        encoder = make_encoder(side)
        if isinstance(encoder, VisionTransformer):
            self.patch = config.mask_patch or encoder.patch_size
            head: Module = PatchDecoder(
                encoder.num_features,
                encoder.config["heads"],
                encoder.patch_size,
                self.image_shape,
                config.decoder_depth,
                config.seed,
            )
        else:
            head = ConvolutionalDecoder(feature_shape(encoder, self.image_shape), self.image_shape, config.seed)
        return InpaintingModel(encoder, head, config.seed)

    def prepare(self, images: Array, step: int, index: Array, training: bool) -> tuple[Array, ...]:
        """Normalised images (B, C, H, W), what is hidden and what is predicted, (B, 1, H, W) of bool each."""
        config = self.config
        augmentation = augment.TrainAugmentation(
            mean=self.mean,
            std=self.std,
            seed=config.seed,
            padding=(config.crop or 0) if training else 0,
            flip=bool(config.flip) and training,
        )
        predicted = self.masks(step, index)
        return augmentation(images, step, index), augment.shrink_mask(predicted, self.overlap), predicted

    @property
    def overlap(self) -> int:
        """Pixels of the predicted region's border that are shown.

        If the settings do not say, a 32nd of the side around the centre (the paper's 4 of 128), and none elsewhere: of
        a narrow region it would leave next to nothing to be found out.
        """
        config = self.config
        if config.overlap is not None:
            return config.overlap
        return max(round(self.image_shape[1] / 32), 1) if config.mask == "center" else 0

    def masks(self, step: int, index: Array) -> Array:
        """The predicted region of each image: array (B, 1, H, W) of bool."""
        config, size = self.config, self.image_shape[1:]
        key: dict[str, Any] = {"seed": config.seed, "step": step, "image_index": index}
        if config.mask == "center":
            return augment.center_mask(size, image_index=index)
        if config.mask == "random_blocks":
            return augment.random_block_mask(size, **key)
        if config.mask == "random_region":
            return augment.random_region_mask(size, **key)
        return augment.random_patch_mask(size, self.patch, share=config.mask_share, **key)

    def loss(self, model: Module, *prepared: Array) -> tuple[Tensor, dict[str, Array]]:
        """Squared error over the predicted region, its border weighted; what is measured counts hidden pixels alone."""
        images, hidden, predicted = prepared
        return self.judge(model(Tensor(images), hidden), images, hidden, predicted)

    def judge(self, filled: Tensor, images: Array, hidden: Array, predicted: Array) -> tuple[Tensor, dict[str, Array]]:
        """The loss of fillings (b, C, H, W), and how near they are to the truth."""
        return reconstruction_loss(filled, images, hidden, predicted), fidelity(filled.data, images, hidden, self.std)

    def make_step(self, model: Module, config: PretextConfig, total_steps: int, workers: Workers) -> TrainingStep:
        """A step that trains a discriminator too, where the settings give its word a weight."""
        if not config.adversarial:
            return super().make_step(model, config, total_steps, workers)
        from minivit.recipes.pretext.adversarial import AdversarialStep

        return AdversarialStep(model, config, total_steps, workers, self)

    def baselines(self, dataset: Dataset) -> dict[str, dict[str, float]]:
        """How near the fillings of `FILLINGS` come, in the holes that the model is asked about."""
        count = max(1, min(len(dataset), BASELINE_PIXELS // (self.image_shape[1] * self.image_shape[2])))
        index = np.linspace(0, len(dataset) - 1, count).astype(np.int64)
        images, hidden, _ = self.prepare(dataset.images[index], EVALUATION_STEP, index, training=False)
        found = {}
        for name, fill in FILLINGS.items():
            measured = fidelity(fill(images, hidden), images, hidden, self.std)
            found[name] = {"examples": len(index), **{key: float(value.mean()) for key, value in measured.items()}}
        return found

    def draw(self, model: Module, dataset: Dataset, folder: Path, workers: Workers) -> list[Path]:  # noqa: ARG002
        """Images, the same with holes, the holes filled."""
        from minivit.recipes.pretext.inpainting_pictures import draw_fillings

        return [draw_fillings(self, model, dataset, folder / "fillings.png")]


def reconstruction_loss(filled: Tensor, images: Array, hidden: Array, predicted: Array) -> Tensor:
    """Mean squared error of each image over its predicted region; what of it is not hidden weighs ten times.

    Parameters
    ----------
    filled : Tensor of shape (b, C, H, W)
    images : array (b, C, H, W)
        The truth.
    hidden, predicted : array (b, 1, H, W) of bool
        The first lies within the second.

    Returns
    -------
    Tensor of shape (b,)
        The weights multiply squares; the sum is divided by the number of predicted pixels and channels, as in the
        authors' code.
    """
    xp = array_module(images)
    count = predicted.sum(axis=(1, 2, 3)) * images.shape[1]  # (b,)
    weights = xp.where(hidden, 1.0, BORDER_WEIGHT) * predicted / count[:, None, None, None]
    weighted = Tensor(weights.astype(images.dtype))  # (b, 1, H, W)
    return ops.mse_loss(filled, Tensor(images), weighted, reduction="none").sum((1, 2, 3))


def fidelity(filled: Array, images: Array, hidden: Array, std: Any) -> dict[str, Array]:
    """How near fillings are to the truth, on hidden pixels alone and on the scale where black is 0 and white 1.

    Parameters
    ----------
    filled, images : array (b, C, H, W)
        Normalised.
    hidden : array (b, 1, H, W) of bool
    std : C floats
        That they were divided by.

    Returns
    -------
    dict of str to array (b,)
        ``"l1"`` and ``"l2"``, mean absolute and squared error (the paper gives them in per cent), and ``"psnr"``,
        -10 log10 of the latter, in dB.
    """
    xp = array_module(images)
    count = hidden.sum(axis=(1, 2, 3)) * images.shape[1]
    error = (filled - images) * xp.asarray(np.asarray(std, images.dtype))[:, None, None] * hidden
    l1, l2 = (total.sum(axis=(1, 2, 3)) / count for total in (abs(error), error * error))
    l1, l2 = l1.astype(images.dtype), l2.astype(images.dtype)
    return {"l1": l1, "l2": l2, "psnr": -10 * xp.log10(xp.maximum(l2, 1e-10))}


def feature_shape(encoder: Any, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Shape (D, h, w) of the feature map that a convolutional encoder makes of an image (C, H, W).

    Raises
    ------
    TypeError
        If the encoder makes none.
    """
    if not hasattr(encoder, "forward_features"):
        raise TypeError(f"inpainting needs an encoder with forward_features, {type(encoder).__name__} has none")
    with no_grad():
        features = encoder.eval().forward_features(Tensor(np.zeros((1, *image_shape), np.float32)))
    encoder.train()
    if features.ndim != 4:
        raise TypeError(
            f"inpainting takes a Vision Transformer or an encoder whose forward_features gives a map (B, D, h, w), "
            f"{type(encoder).__name__} gives {features.shape}"
        )
    _, D, h, w = features.shape
    return D, h, w
