"""The words that a model knows, by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from minivit.data.text.tokenizer import split_words

PADDING, UNKNOWN = 0, 1
SPECIAL = ("[PAD]", "[UNK]")


@dataclass(frozen=True)
class Vocabulary:
    """Words and their numbers: 0 is padding, 1 any word that is not in the vocabulary, 2 the most frequent word.

    Attributes
    ----------
    words : tuple of str
        Without the two special ones.

    Raises
    ------
    ValueError
        If there is no word, or one twice.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.words or len(set(self.words)) != len(self.words):
            raise ValueError(
                f"a vocabulary needs at least one word and none twice, got {len(self.words)} words, "
                f"{len(set(self.words))} of them different"
            )

    @classmethod
    def build(cls, texts: Iterable[str], size: int) -> Vocabulary:
        """The most frequent words of some texts.

        Parameters
        ----------
        texts : iterable of str
            Of training only: a word that only test texts have stays unknown.
        size : int
            Largest number of words; of equally frequent ones, the first in the alphabet are taken.
        """
        counts = Counter(word for text in texts for word in split_words(text))
        return cls(tuple(sorted(counts, key=lambda word: (-counts[word], word))[:size]))

    def __len__(self) -> int:
        """The number of different tokens, the special ones included."""
        return len(SPECIAL) + len(self.words)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, len(SPECIAL))}

    def encode(self, texts: Sequence[str], length: int) -> npt.NDArray[np.int32]:
        """Texts as rows of word numbers.

        Parameters
        ----------
        texts : sequence of N str
        length : int
            T. Of a longer text the *last* T tokens are kept, as UDA does (``trunc_keep_right`` in its
            text/preprocess.py): the end of a review holds its verdict.

        Returns
        -------
        array (N, T) of int32
            Padded with 0 at the end.
        """
        if length < 1:
            raise ValueError(f"expected a length of at least 1 token, got {length}")
        rows = np.full((len(texts), length), PADDING, np.int32)
        for row, text in zip(rows, texts, strict=True):
            numbers = [self._numbers.get(word, UNKNOWN) for word in split_words(text)[-length:]]
            row[: len(numbers)] = numbers
        return rows

    def decode(self, tokens: npt.ArrayLike) -> str:
        """One row of word numbers as words with spaces between them; padding is left out."""
        names = (*SPECIAL, *self.words)
        return " ".join(names[number] for number in np.asarray(tokens).tolist() if number != PADDING)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` takes, for a JSON file."""
        return {"special": list(SPECIAL), "words": list(self.words)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Vocabulary:
        """The vocabulary that `to_dict` described.

        Raises
        ------
        ValueError
            If it has other special tokens.
        """
        if tuple(values.get("special", ())) != SPECIAL:
            raise ValueError(f"expected a vocabulary with the special tokens {SPECIAL}, got {values.get('special')}")
        return cls(tuple(values["words"]))
