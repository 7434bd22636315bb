"""The settings of a semi-supervised run on texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minivit.recipes.uda_config import UdaConfig

Augmentation = Literal["tfidf", "uniform", "back_translation", "both", "none"]


@dataclass
class TextConfig(UdaConfig):
    """Settings of semi-supervised training on texts. Where a setting is None, the preset of the data set decides.

    Settings of images, such as the crop, have no effect.
    """

    dataset: str = "docstrings"
    """docstrings, imdb, or imdb:FOLDER."""
    augmentation: Augmentation | None = None  # type: ignore[assignment]  # others than of images
    """Of the augmented texts: words replaced by TF-IDF (tfidf) or by any others (uniform), paraphrases from a file
    (back_translation), tfidf or a paraphrase (both), or none but dropout."""
    labelled_augmentation: Augmentation | None = None  # type: ignore[assignment]
    """Of the labelled texts, in the baselines too; the official code has none."""
    replacement: float | None = None
    """Share of the words that tfidf and uniform replace."""
    paraphrases: str | None = None
    """File of paraphrases, one JSON object a line: see minivit/data/text/paraphrases.py."""
    length_check: bool = True
    """Let the original take the place of a paraphrase whose length is off by more than half."""
    vocabulary: int | None = None
    """Words that the model knows: the most frequent ones of the training texts."""
    length: int | None = None
    """Words of a text that the model reads: of a longer one, the last."""
    dropout: float | None = None
    """Rate at which elements are zeroed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.replacement is not None and not 0.0 <= self.replacement <= 1.0:
            raise ValueError(f"replacement must lie in [0, 1], got {self.replacement}")
        if self.dropout is not None and not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
        for name in ("vocabulary", "length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.paraphrases is None and {self.augmentation, self.labelled_augmentation} & {"back_translation", "both"}:
            raise ValueError(
                "back_translation needs a file of paraphrases: write the texts with --export-for-translation FILE, let "
                "a translator fill it in, and pass it as --paraphrases FILE"
            )
        if self.model not in (None, "preset"):
            raise ValueError(f"texts have one model, the preset's; got model {self.model!r}")
