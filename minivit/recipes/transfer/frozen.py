"""What features are worth as they are: nearest neighbours and a linear probe, on features that are computed once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minivit.backend import use_device
from minivit.backend.cpu.threads import Workers
from minivit.data import Dataset, Splits
from minivit.recipes.console import Console
from minivit.recipes.evaluation import Classification, judge
from minivit.recipes.procedure import with_validation
from minivit.recipes.run_folder import ResumeError, RunFolder
from minivit.recipes.transfer.config import TransferConfig
from minivit.recipes.transfer.encoder import Pretrained
from minivit.recipes.transfer.features import FeatureCache, features_of
from minivit.recipes.transfer.linear_probe import fit_probe
from minivit.recipes.transfer.nearest_neighbours import VOTES, nearest, votes
from minivit.recipes.transfer.task import TransferTask


class FrozenEvaluation:
    """Judges the features of a pretrained model on a data set, in a folder that keeps them.

    Parameters
    ----------
    config : TransferConfig
        With a preset filled in; its mode is ``"knn"`` or ``"probe"``.
    pretrained : Pretrained
    splits : Splits
    dataset_kind : str
    out : Path
        The run folder.
    console : Console

    Attributes
    ----------
    final_result : Classification
        Of the last `run`: by the neighbours' vote that the configuration names, or by the probe.
    neighbours : array (N, k) or None
        For each evaluated image the most similar training images.
    """

    def __init__(
        self,
        config: TransferConfig,
        pretrained: Pretrained,
        splits: Splits,
        dataset_kind: str,
        out: Path,
        console: Console,
    ) -> None:
        self.config, self.dataset_kind, self.console = config, dataset_kind, console
        self.folder = RunFolder(out)
        self.task = TransferTask(config, pretrained, splits)
        self.train_set, validation = with_validation(self.task.splits, config)
        if config.mode == "knn" and config.neighbours > len(self.train_set):
            raise ValueError(f"{config.neighbours} neighbours cannot be found among {len(self.train_set)} images")
        self.split = "test" if config.test else "validation"
        held_out = self.task.splits.test if config.test else validation
        if held_out is None:
            raise ValueError("without a test there has to be a validation set: give --validation a share to hold out")
        self.evaluated: Dataset = held_out
        self.encoder = self.task.model(0).to(config.device).eval()
        self.workers = Workers((config.threads or None) if config.device == "cpu" else 1)
        self.neighbours: np.ndarray | None = None

    def run(self, resume: bool = False) -> dict[str, Any]:
        """Compute the features, or read those that an earlier run has made, and judge them.

        Raises
        ------
        ResumeError
            If the folder's run began with other weights.
        """
        use_device(self.config.device)
        sha256 = self.task.pretrained.fingerprint()
        if resume:
            plan = self.folder.read_plan()
            if plan.get("weights_sha256") != sha256:
                raise ResumeError(f"{self.task.pretrained.path} has changed since the run in {self.folder} began")
            if (before := plan["config"]["device"]) != self.config.device:
                self.console.message(f"the run in {self.folder} was on {before} and goes on on {self.config.device}")
        else:
            self.folder.clear()
            plan = {"procedure": type(self).__name__, "config": dataclasses.asdict(self.config)}
            self.folder.write_plan({**plan, "threads": self.workers.count, "weights_sha256": sha256})
        depends_on = ("init", "positions", "interpolation", *(("seed",) if self.config.init == "random" else ()))
        cache = FeatureCache(
            Path(self.config.features) if self.config.features else self.folder.path / "features",
            {
                **{name: getattr(self.config, name) for name in depends_on},
                "weights": sha256,
                **self.task.input_settings(),
            },
        )
        with self.workers:
            sets = {"train": self.train_set, self.split: self.evaluated}
            features = {name: self._features(cache, name, dataset) for name, dataset in sets.items()}
            judged = self._nearest if self.config.mode == "knn" else self._probe
            measured = judged(features["train"], features[self.split])
        return {
            "dataset": self.dataset_kind if self.dataset_kind != "folder" else self.config.dataset,
            "training_images": len(self.train_set),
            "split": self.split,
            "images": len(self.evaluated),
            **measured,
            "features": features["train"].shape[1],
            "images_with_features_at_hand": cache.found,
            "parameters": self.encoder.count_parameters(),
            **self.task.results(),
            "threads": self.workers.count,
            "settings": {**dataclasses.asdict(self.config), "features": None},  # where they lie changes nothing
            "model": self.task.pretrained.config,
        }

    def _features(self, cache: FeatureCache, name: str, dataset: Dataset) -> np.ndarray:
        begun = time.monotonic()
        return cache.get(
            dataset,
            lambda part: features_of(self.encoder, part, self.task.inputs, self.workers),
            _progress(self.console, name, len(dataset), begun),
        )

    def _nearest(self, train: np.ndarray, evaluated: np.ndarray) -> dict[str, Any]:
        """The accuracies of both votes."""
        index, similarity = nearest(evaluated, train, self.config.neighbours)
        self.neighbours = index
        labels, classes = self.train_set.labels[index], self.train_set.num_classes
        found: dict[str, Classification] = {}
        for kind in VOTES:
            scores = votes(labels, similarity, classes, kind, self.config.temperature)
            found[kind] = judge(scores, self.evaluated.labels)
        self.final_result = found[self.config.vote]
        return {
            f"{self.split}_accuracy": self.final_result.accuracy,
            "votes": [{"vote": kind, "accuracy": result.accuracy} for kind, result in found.items()],
            "neighbours": self.config.neighbours,
            "temperature": self.config.temperature,
        }

    def _probe(self, train: np.ndarray, evaluated: np.ndarray) -> dict[str, Any]:
        """Accuracy and loss of the probe, and how it was chosen."""
        probe = fit_probe(train, self.train_set.labels, self.train_set.num_classes, self.workers, seed=self.config.seed)
        self.final_result = judge(probe.logits(evaluated), self.evaluated.labels)
        solution = probe.solution
        return {
            f"{self.split}_accuracy": self.final_result.accuracy,
            f"{self.split}_loss": self.final_result.loss,
            "penalty": solution.penalty,
            "penalties": [
                {"penalty": penalty, "held_out_accuracy": accuracy} for penalty, accuracy in probe.held_out.items()
            ],
            "steps": solution.steps,
            "converged": solution.converged,
            "gradient_norm": solution.gradient_norm,
        }


def _progress(console: Console, name: str, total: int, begun: float) -> Callable[[int], None]:
    def report(done: int) -> None:
        rate = done / max(time.monotonic() - begun, 1e-9)
        console.message(f"features of {name} images: {done}/{total}, {rate:.0f} images/s")

    return report
