"""Tests of minivit/data/text/tokenizer.py."""

import pytest

from minivit.data.text import split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t", []),
        ("Hello, World!", ["hello", ",", "world", "!"]),
        ("it's the dogs' bone", ["it's", "the", "dogs", "'", "bone"]),
        ("array_like __init__", ["array", "like", "init"]),
        ("x2 = 3.14", ["x", "2", "=", "3", ".", "14"]),
        ("Parameters\n----------", ["parameters", "-"]),
        ("wait... what?!", ["wait", ".", "what", "?", "!"]),
        ("ÜBER naïve 東京", ["über", "naïve", "東京"]),
    ],
)
def test_words_numbers_and_marks(text, words):
    assert split_words(text) == words


def test_nothing_but_white_space_underscores_and_repetitions_is_lost():
    text = "The quick (brown) fox; 42 times -- isn't it?"
    kept = "".join(split_words(text))
    assert kept == text.lower().replace(" ", "").replace("--", "-")
