"""What the augmentations of texts share."""

from __future__ import annotations

from minivit.backend import Array

PADDING = 0  # the token that fills up a text's row
SPECIAL = 2  # tokens that are no words: padding and the unknown word


def check_tokens(tokens: Array, text_index: Array) -> None:
    """Raise a ValueError unless there is a batch of texts and an index for each."""
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        raise ValueError(f"expected integer tokens of shape (B, T), got {tokens.shape} of {tokens.dtype}")
    if text_index.shape != tokens.shape[:1]:
        raise ValueError(f"expected one text index for each of {tokens.shape[0]} texts, got {text_index.shape}")


def check_probability(probability: float) -> None:
    """Raise a ValueError unless it is one."""
    if not 0 <= probability <= 1:
        raise ValueError(f"expected a probability from 0 to 1, got {probability}")
