"""Texts: corpora, words and their numbers, paraphrases."""

from minivit.data.text.copies import find_copies, refuse_copies, without_copies
from minivit.data.text.dataset import TextDataset, TextSplits, TokenDataset
from minivit.data.text.docstrings import load_docstrings
from minivit.data.text.imdb import find_imdb, load_imdb
from minivit.data.text.paraphrases import Paraphrases, export_lines, read_paraphrases
from minivit.data.text.tokenizer import split_words
from minivit.data.text.vocabulary import PADDING, UNKNOWN, Vocabulary

__all__ = [
    "PADDING",
    "UNKNOWN",
    "Paraphrases",
    "TextDataset",
    "TextSplits",
    "TokenDataset",
    "Vocabulary",
    "export_lines",
    "find_copies",
    "find_imdb",
    "load_docstrings",
    "load_imdb",
    "read_paraphrases",
    "refuse_copies",
    "split_words",
    "without_copies",
]
