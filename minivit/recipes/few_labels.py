"""What semi-supervised procedures share, whatever the examples are: batches, the step, the split that a run keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minivit.data import BatchOrder
from minivit.data.labels import LabelSplit
from minivit.recipes.procedure import Procedure
from minivit.recipes.run_folder import ResumeError
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_step import UdaStep, runs_whole

SPLIT = "split.json"


class FewLabels(Procedure, ABC):
    """A procedure whose step takes a labelled batch and, for UDA, an unlabelled one.

    Attributes
    ----------
    split : LabelSplit
        Of the labelled training set.
    num_classes : int
    labelled_order, unlabelled_order : BatchOrder
        Set by `draw_orders`.
    """

    config: UdaConfig
    split: LabelSplit
    num_classes: int

    def draw_orders(self, labelled: int, unlabelled: int) -> None:
        """Which examples each step takes; the model has to be there, since it decides how a step runs.

        UDA and the baselines take the same labelled batch: no larger than the labels there are. What is called an
        epoch, and how often the held-out examples are looked at, goes by the unlabelled set for all of them.

        Parameters
        ----------
        labelled : int
            Examples that the method may see the labels of.
        unlabelled : int
            Of the unlabelled set, whether the method uses it or not.

        Raises
        ------
        ValueError
            If a batch is larger than what it is drawn from.
        """
        config = self.config
        size = min(config.batch_size or 1, len(self.split.labelled))
        self.labelled_order = BatchOrder(labelled, size, seed=config.seed, stream="labelled")
        try:
            self.unlabelled_order = BatchOrder(
                unlabelled, config.unlabelled_beside(size), seed=config.seed, stream="unlabelled"
            )
        except ValueError as error:
            raise ValueError(
                f"unlabelled batches: {error}; lower unlabelled_ratio, unlabelled_batch_size or batch_size"
            ) from None
        self.steps_per_epoch = self.unlabelled_order.steps_per_epoch
        self.batch_size, self.step_cost = size, float(size)
        if config.method == "uda":
            self.batch_size += self.unlabelled_order.batch_size
            whole = runs_whole(self.model, config)  # else originals go forward only
            self.step_cost += (2 if whole else 4 / 3) * self.unlabelled_order.batch_size

    def make_step(self, total_steps: int) -> UdaStep:
        """A step at the beginning of a run of so many."""
        return UdaStep(self.model, self.config, total_steps, self.workers, self.num_classes)

    def shown(self, record: dict[str, float]) -> dict[str, str]:
        """Loss, accuracy on the labelled batch, and how many originals are confident."""
        values = super().shown(record)
        if "confident_share" in record:
            values["confident"] = f"{100 * record['confident_share']:.0f}%"
            values["agree"] = f"{100 * record['agreement']:.0f}%"
        return values

    def results(self) -> dict[str, Any]:
        """The method, the sizes of its batches, and the loss that was computed."""
        uda = self.config.method == "uda"
        return {
            "method": self.config.method,
            "labels": self.labelled_order.examples,
            "labelled_batch_size": self.labelled_order.batch_size,
            "unlabelled_batch_size": self.unlabelled_order.batch_size if uda else 0,
            "loss": asdict(self.config.loss_settings()),
        }

    def write_inputs(self, folder: Path) -> None:
        """The split: which examples the run saw the labels of."""
        self.split.save(folder / SPLIT)

    def check_inputs(self, folder: Path) -> None:
        """A resumed run has to have the same split."""
        path = folder / SPLIT
        if not path.exists():
            return
        saved = LabelSplit.load(path, self.labelled_training_set())  # raises for other data
        same = saved.labelled.tolist() == self.split.labelled.tolist()
        if not same or saved.unlabelled.tolist() != self.split.unlabelled.tolist():
            raise ResumeError(f"{path} is not the split that these settings make; start in another folder with --out")

    @abstractmethod
    def labelled_training_set(self) -> Any:
        """The data set that was split."""
