"""Augmentation of batches of texts: words replaced by TF-IDF, paraphrases; array code for NumPy and CuPy alike."""

from minivit.augment.text.back_translation import Augmentation, BackTranslation, OneOf
from minivit.augment.text.tf_idf import TfIdfReplacement, WordStatistics, replacement_probability, word_statistics
from minivit.augment.text.uniform import UniformReplacement

__all__ = [
    "Augmentation",
    "BackTranslation",
    "OneOf",
    "TfIdfReplacement",
    "UniformReplacement",
    "WordStatistics",
    "replacement_probability",
    "word_statistics",
]
