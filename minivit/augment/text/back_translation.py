"""Paraphrases in place of the texts, and a choice between augmentations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from minivit.augment.text.checks import check_tokens
from minivit.backend import Array, array_module, backend_for_device, device_of
from minivit.backend.random import integers, uniform

Augmentation = Callable[[Array, int, Array], Array]
"""(tokens (B, T), step, text_index (B,)) -> tokens (B, T)."""


@dataclass(frozen=True, eq=False)
class BackTranslation:
    """Puts one of its paraphrases in the place of each text, another in each step (Xie et al. 2019, section 2.2).

    The paraphrases are made beforehand, by translating a text into another language and back: see
    `minivit.data.text.read_paraphrases`.

    Attributes
    ----------
    paraphrases : array (M, T) of int32
        Of all texts of the dataset, one text's after the other's.
    counts : array (N,) of int64
        How many each text has; a text without any stays as it is.
    seed : int

    Raises
    ------
    ValueError
        If the counts do not add up to M.
    """

    paraphrases: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    seed: int
    _tables: dict[str, tuple[Array, Array, Array]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.paraphrases.ndim != 2 or self.counts.ndim != 1 or self.counts.sum() != len(self.paraphrases):
            raise ValueError(
                f"expected paraphrases (M, T) and counts (N,) that add up to M, got {self.paraphrases.shape} and "
                f"counts {self.counts.shape} with the sum {self.counts.sum()}"
            )

    def __call__(self, tokens: Array, step: int, text_index: Array) -> Array:
        """A paraphrase of each text of a batch, or of any part of it.

        Parameters
        ----------
        tokens : array (B, T) of an integer type
            What stays where a text has no paraphrase.
        step : int
        text_index : array (B,) of an integer type
            The texts' numbers in the dataset.

        Returns
        -------
        array (B, T) of the tokens' dtype
        """
        check_tokens(tokens, text_index)
        if tokens.shape[1] != self.paraphrases.shape[1]:
            raise ValueError(
                f"expected texts of {self.paraphrases.shape[1]} tokens as the paraphrases are, got {tokens.shape[1]}"
            )
        if len(self.paraphrases) == 0:
            return tokens
        xp = array_module(tokens)
        paraphrases, counts, first = self._on(device_of(tokens))
        count = counts[text_index]  # (B,)
        number = uniform(xp, self.seed, step, "back-translation", text_index, 1, np.float64)[:, 0]
        chosen = xp.minimum(first[text_index] + (number * count).astype(xp.int64), len(self.paraphrases) - 1)  # (B,)
        return xp.where((count > 0)[:, None], paraphrases[chosen].astype(tokens.dtype), tokens)

    def _on(self, device: str) -> tuple[Array, Array, Array]:
        if device not in self._tables:
            first = np.cumsum(self.counts) - self.counts
            move = backend_for_device(device).from_host
            self._tables[device] = tuple(move(array, device) for array in (self.paraphrases, self.counts, first))
        return self._tables[device]


@dataclass(frozen=True)
class OneOf:
    """One of several augmentations for each text, all equally likely.

    So the authors' code mixes them: it draws from the files of all of them (``get_aug_files`` in google-research/uda,
    text/utils/proc_data_utils.py).

    Attributes
    ----------
    augmentations : sequence of callables
    seed : int
    """

    augmentations: Sequence[Augmentation]
    seed: int

    def __post_init__(self) -> None:
        if not self.augmentations:
            raise ValueError("OneOf: expected at least one augmentation, got none")

    def __call__(self, tokens: Array, step: int, text_index: Array) -> Array:
        """Augment a batch of texts, or any part of it: see `TfIdfReplacement.__call__`."""
        xp = array_module(tokens)
        choice = integers(xp, self.seed, step, "one of", text_index, 1, len(self.augmentations))  # (B, 1)
        result = tokens
        for number, augmentation in enumerate(self.augmentations):
            result = xp.where(choice == number, augmentation(tokens, step, text_index), result)
        return result
