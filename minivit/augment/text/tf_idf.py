"""Replacing words that tell little about a text (Xie et al. 2019, arXiv:1904.12848, appendix A.2).

How much a word tells is measured by TF-IDF: frequent in the text, rare in the corpus. Words that tell little are
replaced, and what replaces them tells little, too, so the text keeps its class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from minivit.augment.text.checks import PADDING, SPECIAL, check_probability, check_tokens
from minivit.backend import Array, array_module, backend_for_device, device_of
from minivit.backend.random import uniform


@dataclass(frozen=True, eq=False)
class WordStatistics:
    """What a corpus says about its words.

    Attributes
    ----------
    idf : array (V,) of float64
        ln(number of texts / number of texts with the word); 0 for words that the corpus does not have.
    scores : array (V,) of float64
        S(w) = freq(w) IDF(w): high for words that matter in the corpus as a whole.
    occurs : array (V,) of bool
        Whether the corpus has the word. False for padding and for the unknown word, which replace nothing.
    """

    idf: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    occurs: npt.NDArray[np.bool_]

    def replacement_probabilities(self) -> npt.NDArray[np.float64]:
        """The distribution that replacements are drawn from: array (V,) of float64, proportional to max S - S(w)."""
        highest = self.scores.max(where=self.occurs, initial=0.0)
        gap: npt.NDArray[np.float64] = np.where(self.occurs, highest - self.scores, 0.0)
        if gap.sum() == 0:  # all words matter equally
            gap = self.occurs.astype(np.float64)
        return gap / float(gap.sum())


def word_statistics(tokens: npt.ArrayLike, vocabulary_size: int, frequency: str = "count") -> WordStatistics:
    """Count the words of a corpus.

    Parameters
    ----------
    tokens : array (N, T) of an integer type
        Of the training texts (their labels are not needed); 0 is padding, 1 the unknown word.
    vocabulary_size : int
        V.
    frequency : {"count", "per_text"}
        freq(w) in S(w): how often the corpus has the word, as the paper says; or the sum of its share in each text, as
        the authors' code computes it (``get_data_stats`` in google-research/uda, text/augmentation/
        word_level_augment.py).

    Returns
    -------
    WordStatistics

    Raises
    ------
    ValueError
        If there is no text with a word, or a number is out of range.
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu" or not (tokens >= SPECIAL).any():
        raise ValueError(f"expected integer tokens (N, T) with a word among them, got {tokens.shape} of {tokens.dtype}")
    if tokens.min() < 0 or tokens.max() >= vocabulary_size:
        raise ValueError(f"expected tokens from 0 to {vocabulary_size - 1}, got {tokens.min()} to {tokens.max()}")
    if frequency not in ("count", "per_text"):
        raise ValueError(f'expected frequency "count" or "per_text", got {frequency!r}')
    is_word = tokens != PADDING  # (N, T)
    lengths = is_word.sum(1, keepdims=True)
    ordered = np.sort(tokens, axis=1)
    first = np.diff(ordered, axis=1, prepend=-1) != 0  # of each word in each text
    texts_with = np.bincount(ordered[first], minlength=vocabulary_size)
    weights = np.ones(tokens.shape) if frequency == "count" else is_word / np.maximum(lengths, 1)
    frequencies = np.bincount(tokens.ravel(), weights.ravel(), minlength=vocabulary_size)
    texts_with[PADDING] = 0
    idf = np.log((lengths > 0).sum() / np.maximum(texts_with, 1)) * (texts_with > 0)
    return WordStatistics(
        idf=idf, scores=frequencies * idf, occurs=(texts_with > 0) & (np.arange(vocabulary_size) >= SPECIAL)
    )


def replacement_probability(xp: Any, tokens: Array, idf: Array, probability: float) -> Array:
    """How likely each word of each text is to be replaced.

    p_i = min(p (C - TFIDF(x_i)) / Z, 1) with C = max_i TFIDF(x_i) and Z the mean of C - TFIDF(x_i), so that a share p
    of the words is replaced (less, where the minimum cuts off). Where all words tell the same, Z is 0 and none is.

    Parameters
    ----------
    xp : module
        The array module of `tokens`.
    tokens : array (B, T) of an integer type
    idf : array (V,) of float64
    probability : float
        p.

    Returns
    -------
    array (B, T) of float64
        0 for padding.
    """
    is_word = tokens != PADDING  # (B, T)
    lengths = xp.maximum(is_word.sum(1, keepdims=True), 1)  # (B, 1)
    occurrences = (tokens[:, :, None] == tokens[:, None, :]).sum(2)  # (B, T, T) -> (B, T)
    tf_idf = xp.where(is_word, occurrences / lengths * idf[tokens], 0.0)  # IDF >= 0: padding is never the maximum
    gap = xp.where(is_word, tf_idf.max(1, keepdims=True) - tf_idf, 0.0)  # C - TFIDF
    mean = gap.sum(1, keepdims=True) / lengths  # Z
    return xp.minimum(probability * gap / xp.where(mean > 0, mean, 1.0), 1.0)


@dataclass(frozen=True, eq=False)
class TfIdfReplacement:
    """Replaces words that tell little about their text by words that tell little anyway.

    Attributes
    ----------
    statistics : WordStatistics
    seed : int
    probability : float
        p, the share of words that is replaced: 0.7 in the paper's experiments on DBpedia.
    """

    statistics: WordStatistics
    seed: int
    probability: float = 0.7
    _tables: dict[str, tuple[Array, Array]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        check_probability(self.probability)

    def __call__(self, tokens: Array, step: int, text_index: Array) -> Array:
        """Replace words in a batch of texts, or in any part of it.

        Parameters
        ----------
        tokens : array (B, T) of an integer type
        step : int
            Of training: another step replaces other words.
        text_index : array (B,) of an integer type
            The texts' numbers in the dataset.

        Returns
        -------
        array (B, T) of the tokens' dtype
        """
        check_tokens(tokens, text_index)
        xp = array_module(tokens)
        idf, cumulative = self._on(device_of(tokens))
        chances = replacement_probability(xp, tokens, idf, self.probability)
        draw = {
            "seed": self.seed,
            "step": step,
            "image_index": text_index,
            "count": tokens.shape[1],
            "dtype": np.float64,
        }
        replaced = uniform(xp, op="tf-idf replace", **draw) < chances  # (B, T)
        drawn = uniform(xp, op="tf-idf word", **draw)
        # The first word whose cumulative probability exceeds the number; words of probability 0 are stepped over.
        words = xp.searchsorted(cumulative, drawn.ravel(), side="right").reshape(tokens.shape)
        return xp.where(replaced, words.astype(tokens.dtype), tokens)

    def _on(self, device: str) -> tuple[Array, Array]:
        """IDF and cumulative distribution of replacements, kept on the device."""
        if device not in self._tables:
            cumulative = np.cumsum(self.statistics.replacement_probabilities())
            cumulative /= cumulative[-1]  # exactly 1, so that a number below 1 always finds a word
            move = backend_for_device(device).from_host
            self._tables[device] = move(self.statistics.idf, device), move(cumulative, device)
        return self._tables[device]
