"""Rotation prediction (Gidaris, Singh & Komodakis 2018, arXiv:1803.07728): by which quarter turn was an image rotated?

Who wants to know what is upright has to know what is on the image.
"""

from __future__ import annotations

from minivit import augment
from minivit.autograd import Tensor
from minivit.backend import Array, array_module
from minivit.backend.random import generator, integers
from minivit.nn import Linear, Module
from minivit.recipes.pretext.task import MakeEncoder, PretextModel, PretextTask, classification_loss

TURNS = 4


class RotationPrediction(PretextTask):
    """Each image is rotated by 0, 90, 180 or 270 degrees, counter-clockwise; the classes are the four."""

    name = "rotation"
    chance = 1 / TURNS

    def build(self, make_encoder: MakeEncoder) -> PretextModel:
        """A linear classifier of four turns."""
        encoder = make_encoder(self.image_shape[1])
        head = Linear(encoder.num_features, TURNS, generator=generator(self.config.seed, "head"))
        return PretextModel(self.name, encoder, head)

    def prepare(self, images: Array, step: int, index: Array, training: bool) -> tuple[Array, Array]:
        """Rotated images (B, C, H, H) and their turns (B,)."""
        xp = array_module(images)
        turns = integers(xp, self.config.seed, step, "rotation", index, 1, TURNS)[:, 0]  # (B,)
        padding = (self.config.crop or 0) if training else 0
        upright = augment.random_crop(images, padding, seed=self.config.seed, step=step, image_index=index)
        rotated = xp.stack([xp.rot90(upright, turn, (2, 3)) for turn in range(TURNS)])  # (4, B, C, H, H)
        return augment.normalize(rotated[turns, xp.arange(len(turns))], self.mean, self.std), turns

    def loss(self, model: Module, *prepared: Array) -> tuple[Tensor, dict[str, Array]]:
        """Cross-entropy of the turns."""
        images, turns = prepared
        return classification_loss(model(Tensor(images)), turns)
