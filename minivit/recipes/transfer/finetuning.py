"""Fine-tuning: supervised training that starts from weights, of the whole model or of its head alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minivit import augment
from minivit.data import Dataset, Splits
from minivit.files import written_whole
from minivit.models.transfer import HEADS
from minivit.nn import Module
from minivit.recipes.evaluation import Classification, judge, logits_of_inputs
from minivit.recipes.run_folder import ResumeError
from minivit.recipes.step import TrainingStep
from minivit.recipes.supervised import PreparedBatch, Supervised
from minivit.recipes.transfer.config import TransferConfig
from minivit.recipes.transfer.encoder import Pretrained
from minivit.recipes.transfer.task import TransferTask

WEIGHTS = "weights.json"


class Finetuning(Supervised):
    """A classifier of images that starts from a pretrained model.

    In ``mode="head"`` everything but the head is frozen and the model runs in evaluation mode throughout: nothing is
    dropped, and batch norms keep the statistics that they have. The backward then ends at the head, as no wanted
    gradient lies below it.

    Parameters
    ----------
    config : TransferConfig
        With a preset filled in.
    pretrained : Pretrained
    splits, dataset_kind
        As for `Supervised`.

    Raises
    ------
    ValueError
        If the images do not fit the model, or there is nothing to freeze but the whole.
    """

    config: TransferConfig

    def __init__(self, config: TransferConfig, pretrained: Pretrained, splits: Splits, dataset_kind: str) -> None:
        if config.whitening:
            raise ValueError("whitening would overwrite the first layer of the pretrained model; leave it out")
        self.task = TransferTask(config, pretrained, splits)
        super().__init__(config, self.task.splits, dataset_kind)
        if config.mode == "head":
            freeze_all_but_the_head(self.model)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Of an image as the model takes it."""
        return self.train_set.image_shape[0], self.task.image_size, self.task.image_size

    def build_model(self, image_shape: tuple[int, int, int], num_classes: int) -> Module:  # noqa: ARG002
        """The pretrained model with a new head."""
        return self.task.model(num_classes)

    def prepare(self, step: TrainingStep, number: int) -> PreparedBatch:
        """The batch of a step, of the model's image size."""
        batch = super().prepare(step, number)
        bounded = not self.config.rotate_colors  # rotated colours may be brighter than white
        return replace(batch, images=self.task.resized(batch.images, bounded))

    def evaluate(self, split: str) -> Classification:
        """Accuracy, loss and confusion matrix on a split."""
        dataset = self.dataset(split)
        return judge(logits_of_inputs(self.model, dataset.images, self.workers, 32, self.task.inputs), dataset.labels)

    def metadata(self) -> dict[str, Any]:
        """Classes, normalisation, size of the images as the model sees them, and data set."""
        return {**super().metadata(), "image_size": self.task.image_size}

    def results(self) -> dict[str, Any]:
        """Data, sizes and what was transferred."""
        trained = self.model.count_parameters(trainable_only=True)
        return {**super().results(), **self.task.results(), "trained_parameters": trained}

    def shown_examples(self, result: Classification, split: str, count: int = 10) -> tuple[Dataset, Classification]:
        """A few images of the model's size, and the result with their predictions, to be drawn."""
        dataset = self.dataset(split)
        chosen = np.linspace(0, len(dataset) - 1, count).astype(int)
        few = dataset.subset(chosen)
        few = replace(few, images=augment.resize(few.images[:], self.task.image_size, self.config.interpolation))
        return few, replace(result, predictions=result.predictions[chosen])

    def write_inputs(self, folder: Path) -> None:
        """Which file the weights came from."""
        with written_whole(folder / WEIGHTS) as temporary:
            temporary.write_text(json.dumps({"sha256": self.task.pretrained.fingerprint()}) + "\n", encoding="utf-8")

    def check_inputs(self, folder: Path) -> None:
        """A resumed run has to start from the same weights."""
        path = folder / WEIGHTS
        if (
            path.exists()
            and json.loads(path.read_text(encoding="utf-8"))["sha256"] != self.task.pretrained.fingerprint()
        ):
            raise ResumeError(
                f"{self.task.pretrained.path} has changed since the run in {folder} began; start in another folder "
                "with --out"
            )


def freeze_all_but_the_head(model: Module) -> None:
    """Let the head alone be trained, and put the model into evaluation mode.

    Raises
    ------
    ValueError
        If the model has no head.
    """
    head = [parameter for name, parameter in model.named_parameters() if name.startswith(HEADS)]
    if not head:
        raise ValueError(f"{type(model).__name__} has no head named {' or '.join(h.rstrip('.') for h in HEADS)}")
    model.requires_grad(False).eval()
    for parameter in head:
        parameter.requires_grad = True
