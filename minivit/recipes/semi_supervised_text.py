"""Semi-supervised training of a classifier of texts: few labels, many texts, and UDA's loss on both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from minivit.augment.text import (
    Augmentation,
    BackTranslation,
    OneOf,
    TfIdfReplacement,
    UniformReplacement,
    word_statistics,
)
from minivit.backend import Array, backend_for_device, use_device
from minivit.backend.cpu.threads import Workers
from minivit.data.dataset import Indices
from minivit.data.labels import split_labels
from minivit.data.split import stratified_split
from minivit.data.text import (
    PADDING,
    TextDataset,
    TextSplits,
    TokenDataset,
    Vocabulary,
    read_paraphrases,
    refuse_copies,
)
from minivit.files import written_whole
from minivit.recipes.evaluation import Evaluation, judge, logits_of_inputs
from minivit.recipes.few_labels import FewLabels
from minivit.recipes.step import TrainingStep
from minivit.recipes.text_config import TextConfig
from minivit.recipes.text_presets import build_text_model
from minivit.recipes.uda_step import UdaBatch

VOCABULARY = "vocabulary.json"
EVALUATED_AT_ONCE = 64  # texts


class SemiSupervisedText(FewLabels):
    """A classifier of texts from a few labelled and many unlabelled texts, or a baseline that shares all but those.

    Parameters
    ----------
    config : TextConfig
        With a preset filled in. Its `method` says what is trained: ``"uda"``; ``"supervised"``, which sees the labelled
        texts alone; ``"fully_supervised"``, which sees all labels.
    splits : TextSplits
        Its training texts and those without labels make up the unlabelled set.
    dataset_kind : str
        docstrings or imdb.

    Raises
    ------
    ValueError
        If more labels are asked for than there are, or a batch is larger than what it is drawn from.
    DatasetError
        If a training text is in the test or the validation set, or the paraphrases do not fit the texts.
    """

    config: TextConfig

    def __init__(self, config: TextConfig, splits: TextSplits, dataset_kind: str) -> None:
        self.config, self.dataset_kind, self.source = config, dataset_kind, splits.train.source
        # A text's number in the corpus is what its random numbers are keyed by.
        self.corpus = training_corpus(splits)
        labelled_rows, held_out_rows = _held_out(splits, config)
        training_rows = np.concatenate([labelled_rows, np.arange(len(splits.train), len(self.corpus))])
        training = self.corpus.subset(training_rows)
        validation = splits.validation
        if len(held_out_rows):
            validation = splits.train.subset(held_out_rows, f"{splits.train.name} held out")
        for other in (splits.test, validation):
            if other is not None:
                refuse_copies(training, other)

        length = config.length or 1
        self.vocabulary = Vocabulary.build(training.texts, config.vocabulary or 1)
        self.tokens = self.corpus.encode(self.vocabulary, length)
        self.train_set = self.tokens.subset(labelled_rows)
        self.validation_set = validation.encode(self.vocabulary, length) if validation is not None else None
        self.test_set = splits.test.encode(self.vocabulary, length)
        self.num_classes = self.train_set.num_classes
        self.test_size, self.validation_size = len(self.test_set), len(self.validation_set or ())

        self.split = split_labels(
            self.train_set, config.labels or 0, config.seed, include_labelled=config.include_labelled
        )
        chosen = np.arange(len(self.train_set)) if config.method == "fully_supervised" else self.split.labelled
        self.labelled = labelled_rows[chosen]
        self.unlabelled = np.concatenate([labelled_rows[self.split.unlabelled], training_rows[len(labelled_rows) :]])
        self.paraphrases: dict[str, int] | None = None
        self.of_labelled = self._augmentation(config.labelled_augmentation)
        self.of_augmented = self._augmentation(config.augmentation)

        self.workers = Workers((config.threads or None) if config.device == "cpu" else 1)
        self.take_model(
            build_text_model(
                dataset_kind,
                vocabulary_size=len(self.vocabulary),
                max_length=length,
                num_classes=self.num_classes,
                seed=config.seed,
                dropout=config.dropout or 0.0,
                drop_path=config.drop_path or 0.0,
            )
        )
        self.draw_orders(len(self.labelled), len(self.unlabelled))

    def _augmentation(self, kind: str | None) -> Augmentation | None:
        config = self.config
        share = 0.0 if config.replacement is None else config.replacement
        if kind in (None, "none"):
            return None
        if kind == "uniform":
            return UniformReplacement(len(self.vocabulary), config.seed, share)
        statistics = word_statistics(self.tokens.tokens[self.unlabelled], len(self.vocabulary))
        by_tf_idf = TfIdfReplacement(statistics, config.seed, share)
        if kind == "tfidf":
            return by_tf_idf
        assert config.paraphrases is not None
        found = read_paraphrases(config.paraphrases, self.corpus, length_check=config.length_check)
        self.paraphrases = {"texts_without": found.missing, "replaced_for_length": found.replaced}
        translated = BackTranslation(*found.encode(self.vocabulary, config.length or 1), config.seed)
        return translated if kind == "back_translation" else OneOf([by_tf_idf, translated], config.seed)

    def prepare(self, step: TrainingStep, number: int) -> UdaBatch:
        """The batches of a step, augmented on the run's device.

        Each text is keyed by its number in the corpus, in a range of its own for each branch, so that two versions of a
        text are masked independently. Texts are sorted by length: the model skips the padding that a part of a batch
        shares.
        """
        use_device(step.device)  # a thread of its own may run this
        index, _ = self.labelled_order.at(number)
        rows, count = self._by_length(self.labelled[index]), len(self.tokens)
        labelled, labelled_index = self._texts(rows, 0, self.of_labelled, number)
        labels = backend_for_device(step.device).from_host(self.tokens.labels[rows], step.device)
        if self.config.method != "uda":
            return UdaBatch(labelled, labels, None, None, labelled_index, None, None, number)
        rows = self._by_length(self.unlabelled[self.unlabelled_order.at(number)[0]])
        original, original_index = self._texts(rows, count, None, number)
        augmented, augmented_index = self._texts(rows, 2 * count, self.of_augmented, number)
        return UdaBatch(labelled, labels, original, augmented, labelled_index, original_index, augmented_index, number)

    def _by_length(self, rows: Indices) -> Indices:
        return rows[np.argsort(np.count_nonzero(self.tokens.tokens[rows] != PADDING, axis=1), kind="stable")]

    def _texts(self, rows: Indices, offset: int, augment: Augmentation | None, number: int) -> tuple[Array, Array]:
        """Tokens of some texts of the corpus, and the keys of their masks."""
        backend, device = backend_for_device(self.config.device), self.config.device
        tokens, index = (backend.from_host(array, device) for array in (self.tokens.tokens[rows], rows))
        return tokens if augment is None else augment(tokens, number, index), index + offset

    def dataset(self, split: str) -> TokenDataset:
        """The texts of ``"validation"`` or ``"test"``."""
        dataset = self.test_set if split == "test" else self.validation_set
        assert dataset is not None
        return dataset

    def evaluate(self, split: str) -> Evaluation:
        """Accuracy, loss and confusion matrix on a split."""
        dataset = self.dataset(split)
        logits = logits_of_inputs(self.model, dataset.tokens, self.workers, EVALUATED_AT_ONCE)
        return judge(logits, dataset.labels)

    def metadata(self) -> dict[str, Any]:
        """Classes and corpus; the vocabulary lies beside the checkpoint."""
        return {"classes": list(self.train_set.classes), "dataset": self.train_set.name, "vocabulary": VOCABULARY}

    def results(self) -> dict[str, Any]:
        """The corpus, which depends on the installation, and the sizes of its parts; method and model."""
        return {
            **super().results(),
            "dataset": self.dataset_kind,
            "corpus": {
                "source": self.source,
                "classes": dict(zip(self.train_set.classes, self.train_set.class_counts().tolist(), strict=True)),
                "words": len(self.vocabulary),
                "paraphrases": self.paraphrases,
            },
            "training_texts": len(self.train_set),
            "validation_texts": self.validation_size,
            "unlabelled_texts": len(self.unlabelled) if self.config.method == "uda" else 0,
            "model": getattr(self.model, "config", {}),
        }

    def write_inputs(self, folder: Path) -> None:
        """Split and vocabulary."""
        super().write_inputs(folder)
        with written_whole(folder / VOCABULARY) as temporary:
            temporary.write_text(json.dumps(self.vocabulary.to_dict(), ensure_ascii=False) + "\n", encoding="utf-8")

    def labelled_training_set(self) -> TokenDataset:
        """The training texts that have labels."""
        return self.train_set


def training_corpus(splits: TextSplits) -> TextDataset:
    """The training texts and, after them, those that never had a label: what paraphrases are made of."""
    return splits.train if splits.unlabelled is None else splits.train.joined(splits.unlabelled)


def _held_out(splits: TextSplits, config: TextConfig) -> tuple[Indices, Indices]:
    """Training texts to learn from and, where the corpus has no validation part, those to choose settings on."""
    if splits.validation is not None or not config.validation:
        return np.arange(len(splits.train)), np.zeros(0, np.int64)
    kept, held_out = stratified_split(splits.train.labels, [1 - config.validation, config.validation], config.seed)
    return kept, held_out
