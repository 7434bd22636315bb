"""Replacing words by any others: what TF-IDF replacement is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivit.augment.text.checks import PADDING, SPECIAL, check_probability, check_tokens
from minivit.backend import Array, array_module
from minivit.backend.random import integers, uniform

SHORTEST = 3  # words


@dataclass(frozen=True)
class UniformReplacement:
    """Replaces each word with the same probability, by any word of the vocabulary.

    ``UnifRep`` of the authors' code (google-research/uda, text/augmentation/word_level_augment.py); as there, texts of
    fewer than three words are left as they are.

    Attributes
    ----------
    vocabulary_size : int
        V; replacements are drawn from 2 to V - 1.
    seed : int
    probability : float
    """

    vocabulary_size: int
    seed: int
    probability: float = 0.7

    def __post_init__(self) -> None:
        check_probability(self.probability)
        if self.vocabulary_size <= SPECIAL:
            raise ValueError(f"expected a vocabulary of more than {SPECIAL} tokens, got {self.vocabulary_size}")

    def __call__(self, tokens: Array, step: int, text_index: Array) -> Array:
        """Replace words in a batch of texts, or in any part of it: see `TfIdfReplacement.__call__`."""
        check_tokens(tokens, text_index)
        xp = array_module(tokens)
        length, is_word = tokens.shape[1], tokens != PADDING
        words = integers(xp, self.seed, step, "uniform word", text_index, length, self.vocabulary_size - SPECIAL)
        replaced = uniform(xp, self.seed, step, "uniform replace", text_index, length, np.float64) < self.probability
        replaced &= is_word & (is_word.sum(1, keepdims=True) >= SHORTEST)
        return xp.where(replaced, (words + SPECIAL).astype(tokens.dtype), tokens)
