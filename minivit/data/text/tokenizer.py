"""Words, numbers and punctuation marks of a text."""

from __future__ import annotations

import re

# A run of one mark ("-----", "...") is one token. Underscores only separate, so that array_like is two common words
# in place of a rare one.
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+|([^\w\s])\1*")


def split_words(text: str) -> list[str]:
    """Cut a text into lower-case words, numbers and punctuation marks.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str
        A mark that is repeated stands once.

    Examples
    --------
    >>> split_words("Don't panic -- see array_like, NumPy 2.")
    ["don't", 'panic', '-', 'see', 'array', 'like', ',', 'numpy', '2', '.']
    """
    return [match[1] or match[0] for match in _TOKEN.finditer(text.lower())]
