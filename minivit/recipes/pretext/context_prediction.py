"""Context prediction (Doersch, Gupta & Efros 2015, arXiv:1505.05192): where does one patch lie, seen from another?

Who wants to know whether an ear lies above an eye or beside it has to know both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minivit import ops
from minivit.augment.context_patches import CENTRE, NEIGHBOURS, ContextPatches, PatchGrid
from minivit.autograd import Tensor, no_grad
from minivit.backend import Array, array_module, backend_for_device, to_host
from minivit.backend.cpu.threads import Workers
from minivit.backend.random import generator, integers
from minivit.data import Dataset
from minivit.nn import Linear, Module
from minivit.recipes.parallel import evaluate_parts
from minivit.recipes.pretext.config import PretextConfig
from minivit.recipes.pretext.context_pictures import draw_answers, draw_sampler
from minivit.recipes.pretext.task import EVALUATION_STEP, MakeEncoder, PretextModel, PretextTask, classification_loss

IMAGES_DRAWN = 4
IMAGES_ASKED, ASKED_AT_ONCE = 2000, 64
HEAD_WIDTH = 256


class ContextPrediction(PretextTask):
    """Of nine patches of an image, the middle one and a neighbour are shown: which of its eight neighbours is it?

    All patches go through one encoder. Eight questions are asked of an image and step, one about each neighbour
    (Kolesnikov, Zhai & Beyer 2019, arXiv:1901.09005), or a single random one.

    Attributes
    ----------
    sampler : ContextPatches
        Cuts the patches, and takes from them what would give their places away.
    """

    name = "context"
    chance = 1 / len(NEIGHBOURS)

    def __init__(
        self, config: PretextConfig, image_shape: tuple[int, int, int], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(config, image_shape, mean, std)
        self.sampler = ContextPatches(
            mean=self.mean,
            std=self.std,
            seed=config.seed,
            grid=PatchGrid.fit(image_shape[1], config.patch, config.gap, config.jitter),
            colors=config.colors or ("project" if image_shape[0] == 3 else "none"),
            gray_probability=config.gray_probability,
            colors_per=config.colors_per,
            standardize=config.standardize,
            resolution_probability=config.lower_resolution,
            fewest_pixels=config.fewest_pixels,
        )

    def build(self, make_encoder: MakeEncoder) -> PretextModel:
        """An encoder of patches, and a perceptron of the features of two."""
        side = self.sampler.grid.patch_size
        try:
            encoder = make_encoder(side)
        except ValueError as error:
            raise ValueError(
                f"the model cannot take patches of {side}x{side} pixels, which context prediction cuts from images of "
                f"{self.image_shape[1]}x{self.image_shape[2]}: {error}. Give --patch another size, or --model another "
                "model"
            ) from error
        head = ContextHead(
            encoder.num_features, self.config.head_width or HEAD_WIDTH, len(NEIGHBOURS), self.config.seed
        )
        return ContextModel(self.name, encoder, head)

    def prepare(self, images: Array, step: int, index: Array, training: bool) -> tuple[Array, Array]:  # noqa: ARG002
        """Patches (B, n + 1, C, p, p), the middle one first, and which neighbours the others are (B, n)."""
        xp = array_module(images)
        patches = self.sampler(images, step, index)  # (B, 9, C, p, p)
        B, shape = patches.shape[0], patches.shape[2:]
        if self.config.pairs == 1:
            labels = integers(xp, self.config.seed, step, "context pair", index, 1, len(NEIGHBOURS))  # (B, 1)
        else:
            labels = xp.broadcast_to(xp.arange(len(NEIGHBOURS)), (B, len(NEIGHBOURS)))
        numbers = labels + (labels >= CENTRE)  # from classes to patches
        chosen = xp.concatenate([xp.full((B, 1), CENTRE, labels.dtype), numbers], axis=1)  # (B, n + 1)
        place = (xp.arange(B) * patches.shape[1])[:, None] + chosen
        return patches.reshape(-1, *shape)[place], labels

    def draw_questions(self, dataset: Dataset, folder: Path) -> list[Path]:
        """The grid of patches on some images, and the patches after each treatment of colours."""
        shown = np.linspace(0, len(dataset) - 1, IMAGES_DRAWN).astype(np.int64)
        return [draw_sampler(self.sampler, dataset.images[shown], shown, folder / "patches.png")]

    def draw(self, model: Module, dataset: Dataset, folder: Path, workers: Workers) -> list[Path]:
        """What is answered about each neighbour, on some of the images that were not trained on."""
        backend = backend_for_device(self.config.device)
        count = min(IMAGES_ASKED, len(dataset))

        def answers(part: slice) -> np.ndarray:
            index = np.arange(part.start, part.stop)
            images, keys = (backend.from_host(a, self.config.device) for a in (dataset.images[part], index))
            patches, labels = self.prepare(images, EVALUATION_STEP, keys, training=False)
            with no_grad():
                predictions = model(Tensor(patches)).data.argmax(-1)  # (b, n)
            pairs = to_host(labels * len(NEIGHBOURS) + predictions).reshape(-1)
            return np.bincount(pairs, minlength=len(NEIGHBOURS) ** 2)

        was_training = model.training
        model.eval()
        try:
            counts = sum(evaluate_parts(workers, answers, count, ASKED_AT_ONCE), np.zeros(len(NEIGHBOURS) ** 2, int))
        finally:
            model.train(was_training)
        return [draw_answers(counts.reshape(len(NEIGHBOURS), -1), folder / "answers.png")]

    def loss(self, model: Module, *prepared: Array) -> tuple[Tensor, dict[str, Array]]:
        """Cross-entropy of the neighbours, in the mean over the questions asked of an image."""
        patches, labels = prepared
        return classification_loss(model(Tensor(patches)), labels)


class ContextModel(PretextModel):
    """One encoder for all patches of an image, and a head for pairs of them."""

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (b, n + 1, C, p, p), the middle one first, to logits (b, n, K)."""
        b, n = patches.shape[:2]
        features = self.encoder(patches.reshape(b * n, *patches.shape[2:]))  # (b n, D)
        logits: Tensor = self.head(features.reshape(b, n, -1))
        return logits


class ContextHead(Module):
    """A perceptron that sees the features of two patches side by side, as the paper's fc7, fc8 and fc9.

    Parameters
    ----------
    features : int
        Of a patch.
    width : int
        Of the two hidden layers.
    classes : int
    seed : int
        Of the initial weights.
    """

    def __init__(self, features: int, width: int, classes: int, seed: int) -> None:
        numbers = generator(seed, "context head")
        self.fc7 = Linear(2 * features, width, generator=numbers)
        self.fc8 = Linear(width, width, generator=numbers)
        self.fc9 = Linear(width, classes, generator=numbers)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the middle patch and of n others (b, n + 1, D) to logits (b, n, K)."""
        b, n, D = features.shape[0], features.shape[1] - 1, features.shape[2]
        middle = ops.broadcast_to(features[:, :1], (b, n, D))  # (b, n, D)
        pairs = ops.concatenate([middle, features[:, 1:]], -1)  # (b, n, 2D)
        return self.fc9(ops.gelu(self.fc8(ops.gelu(self.fc7(pairs)))))  # type: ignore[no-any-return]
