"""Tests of minivit/augment/text/tf_idf.py."""

import math

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

from minivit.augment.text import TfIdfReplacement, WordStatistics, replacement_probability, tf_idf, word_statistics
from minivit.backend import backend_for_device, to_host

# Four texts of the words 2, 3, 4, 5 (0 is padding, 1 the unknown word); 6 does not occur.
CORPUS = np.array([[2, 2, 3, 0], [2, 4, 0, 0], [2, 3, 5, 5], [2, 1, 1, 0]], np.int32)
LN2, LN4 = math.log(2), math.log(4)


def test_the_statistics_of_a_tiny_corpus_by_hand():
    statistics = word_statistics(CORPUS, 7)
    # Texts that have it: word 2 all 4, word 3 two, words 1, 4 and 5 one.
    np.testing.assert_allclose(statistics.idf, [0, LN4, 0, LN2, LN4, LN4, 0], rtol=1e-15)
    # Occurrences: 2 five, 3 two, 4 one, 5 two, 1 two.
    np.testing.assert_allclose(statistics.scores, [0, 2 * LN4, 0, 2 * LN2, LN4, 2 * LN4, 0], rtol=1e-15)
    assert statistics.occurs.tolist() == [False, False, True, True, True, True, False]


def test_the_frequency_of_the_authors_code_counts_every_text_alike():
    statistics = word_statistics(CORPUS, 7, frequency="per_text")
    # Shares: 2 in 3/3, 1/2, 1/4, 1/3 of the texts' words; 3 in 1/3 and 1/4; 4 in 1/2; 5 in 2/4; 1 in 2/3.
    expected = [0, 2 / 3 * LN4, 0, (1 / 3 + 1 / 4) * LN2, LN4 / 2, LN4 / 2, 0]
    np.testing.assert_allclose(statistics.scores, expected, rtol=1e-14)
    np.testing.assert_array_equal(statistics.idf, word_statistics(CORPUS, 7).idf)


def test_replacements_are_drawn_in_proportion_to_what_they_lack_in_score():
    # S is 0, 2 ln 2, 2 ln 2, 4 ln 2 for the words 2 to 5. The unknown word, with as much, is no word.
    probabilities = word_statistics(CORPUS, 7).replacement_probabilities()
    np.testing.assert_allclose(probabilities, [0, 0, 4 / 8, 2 / 8, 2 / 8, 0, 0], rtol=1e-14)


def test_the_probability_of_a_replacement_by_hand():
    idf = word_statistics(CORPUS, 7).idf
    # Text 0: TF-IDF is 0, 0, ln2/3; C = ln2/3; gaps ln2/3, ln2/3, 0; Z = 2/9 ln2; p gap/Z = 1.5 p.
    # Text 2: TF-IDF is 0, ln2/4, and twice 2/4 ln4 = ln2; gaps 1, 3/4, 0, 0 (ln2); Z = 7/16; p gap/Z = 16/7 p, 12/7 p.
    p = replacement_probability(np, CORPUS, idf, 0.6)
    expected = [[0.9, 0.9, 0, 0], [1, 0, 0, 0], [1, 0.6 * 12 / 7, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_allclose(p, np.minimum(expected, 1), rtol=1e-14)
    p = replacement_probability(np, CORPUS, idf, 0.3)
    np.testing.assert_allclose(p[2], [0.3 * 16 / 7, 0.3 * 12 / 7, 0, 0], rtol=1e-14)
    # Texts 1 and 3: gaps C and 0, and C, 0 and 0, so that the first word gets 2 p and 3 p.
    np.testing.assert_allclose(p[[1, 3], 0], [0.6, 0.9], rtol=1e-14)


def direct(text, idf, p):
    """The formula of appendix A.2, word by word."""
    words = [word for word in text if word]
    tf_idf = [words.count(word) / len(words) * idf[word] for word in words]
    gaps = [max(tf_idf) - value for value in tf_idf]
    mean = sum(gaps) / len(words)
    return [min(p * gap / mean, 1) for gap in gaps]


def random_corpus(count=40, length=12, words=20, seed=0):
    rng = np.random.default_rng(seed)
    tokens = (words * rng.random((count, length)) ** 2).astype(np.int32) + 1  # small numbers are frequent
    tokens[np.arange(length) >= rng.integers(3, length + 1, (count, 1))] = 0
    return tokens


def test_a_batch_agrees_with_the_formula_word_by_word():
    tokens = random_corpus()
    idf = word_statistics(tokens, 22).idf
    found = replacement_probability(np, tokens, idf, 0.4)
    for text, row in zip(tokens, found, strict=True):
        length = np.count_nonzero(text)
        np.testing.assert_allclose(row[:length], direct(text.tolist(), idf, 0.4), rtol=1e-12)
        assert not row[length:].any()


def test_a_share_p_of_the_words_is_replaced_where_no_probability_is_cut_off():
    tokens = random_corpus()
    statistics = word_statistics(tokens, 22)
    chances = replacement_probability(np, tokens, statistics.idf, 0.2)
    lengths = np.count_nonzero(tokens, axis=1)
    uncut = chances.max(1) < 1
    assert uncut.sum() > 20
    np.testing.assert_allclose(chances.sum(1)[uncut] / lengths[uncut], 0.2, rtol=1e-12)


def test_a_text_whose_words_all_tell_the_same_or_that_has_none_stays():
    idf = np.array([0, 1.0, 0.5, 0.5, 2.0])
    tokens = np.array([[2, 3, 0], [4, 4, 4], [0, 0, 0], [3, 0, 0]])
    assert not replacement_probability(np, tokens, idf, 1.0).any()


def test_words_are_replaced_as_often_and_by_what_the_formulas_say():
    tokens = random_corpus(3, 8, 6)
    statistics = word_statistics(tokens, 12)
    chances = replacement_probability(np, tokens, statistics.idf, 0.5)
    augment = TfIdfReplacement(statistics, seed=3, probability=0.5)
    draws = 4000
    repeated = np.repeat(tokens, draws, axis=0)
    output = augment(repeated, 1, np.arange(len(repeated))).reshape(3, draws, 8)
    expected = statistics.replacement_probabilities()
    for text, (original, results) in enumerate(zip(tokens, output, strict=True)):
        for place in range(8):
            counts = np.bincount(results[:, place], minlength=12) / draws
            target = chances[text, place] * expected
            target[original[place]] += 1 - chances[text, place]
            error = np.sqrt(target * (1 - target) / draws)
            assert (np.abs(counts - target) <= 5 * error + 1e-12).all(), (text, place)


@pytest.mark.parametrize(("number", "word"), [(0.0, 2), (0.5 - 2**-32, 2), (0.5, 4), (0.75, 5), (1 - 2**-32, 5)])
def test_a_number_below_one_draws_a_word_of_a_probability_above_zero(monkeypatch, number, word):
    # The cumulative probabilities of 0 to 6 are 0, 0, 0.5, 0.5, 0.75, 1, 1.
    scores = np.array([0, 0, 0.0, 2.0, 1.0, 1.0, 9.0])
    statistics = WordStatistics(np.ones(7), scores, np.isin(np.arange(7), [2, 3, 4, 5]))
    draws = {"tf-idf replace": 0.0, "tf-idf word": number}
    monkeypatch.setattr(tf_idf, "uniform", lambda xp, *, op, count, **key: np.full((1, count), draws[op]))
    output = TfIdfReplacement(statistics, 0, 1.0)(np.array([[3, 3, 4]]), 0, np.array([0]))
    assert output.tolist() == [[3, 3, word]]  # the word twice there tells most and stays


def test_padding_stays_and_the_input_too():
    tokens = random_corpus()
    before = tokens.copy()
    output = TfIdfReplacement(word_statistics(tokens, 22), 0, 1.0)(tokens, 0, np.arange(40))
    assert output.dtype == tokens.dtype
    np.testing.assert_array_equal(output == 0, tokens == 0)
    assert (output[tokens != 0] != tokens[tokens != 0]).mean() > 0.3
    assert not ((output == 1) & (tokens != 1)).any(), "the unknown word replaces nothing"
    np.testing.assert_array_equal(tokens, before)
    np.testing.assert_array_equal(
        TfIdfReplacement(word_statistics(tokens, 22), 0, 0.0)(tokens, 0, np.arange(40)), tokens
    )


def test_the_result_does_not_depend_on_how_the_batch_is_split():
    tokens, index = random_corpus(), np.arange(40) * 7
    augment = TfIdfReplacement(word_statistics(tokens, 22), 5)
    whole = augment(tokens, 2, index)
    for part in (slice(0, 1), slice(3, 17), [30, 2, 9]):
        np.testing.assert_array_equal(augment(tokens[part], 2, index[part]), whole[part])
    # The draws of a word do not depend on how much padding follows: only its probability could.
    wider = np.pad(tokens, [(0, 0), (0, 5)])
    np.testing.assert_array_equal(augment(wider, 2, index)[:, :12], whole)
    assert (augment(tokens, 3, index) != whole).any()
    assert (TfIdfReplacement(word_statistics(tokens, 22), 6)(tokens, 2, index) != whole).any()


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_gives_the_same_words_and_waits_for_nothing(device):
    tokens, index = random_corpus(), np.arange(40)
    augment = TfIdfReplacement(word_statistics(tokens, 22), 5)
    move = backend_for_device(device).from_host
    on_device = move(tokens, device), move(index, device)
    augment(on_device[0], 0, on_device[1])  # the tables are moved once
    with watched(device, uploads=True):
        output = augment(on_device[0], 2, on_device[1])
    assert_same(output, augment(tokens, 2, index), device)
    assert not isinstance(output, np.ndarray)
    assert to_host(output).dtype == np.int32


def test_where_all_words_matter_equally_any_may_replace_any():
    statistics = WordStatistics(np.ones(4), np.full(4, 2.0), np.array([False, False, True, True]))
    assert statistics.replacement_probabilities().tolist() == [0, 0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: word_statistics(np.zeros((2, 3), int), 5), "with a word among them"),
        (lambda: word_statistics(np.ones((2, 3)), 5), "integer tokens"),
        (lambda: word_statistics(CORPUS[0], 7), r"\(N, T\)"),
        (lambda: word_statistics(CORPUS, 5), "from 0 to 4, got 0 to 5"),
        (lambda: word_statistics(CORPUS, 7, "log"), '"count" or "per_text", got \'log\''),
        (lambda: TfIdfReplacement(word_statistics(CORPUS, 7), 0, 1.5), "from 0 to 1, got 1.5"),
        (lambda: TfIdfReplacement(word_statistics(CORPUS, 7), 0)(CORPUS, 0, np.arange(3)), "index for each of 4 texts"),
        (lambda: TfIdfReplacement(word_statistics(CORPUS, 7), 0)(CORPUS[0], 0, np.arange(4)), r"of shape \(B, T\)"),
        (lambda: TfIdfReplacement(word_statistics(CORPUS, 7), 0)(CORPUS * 1.0, 0, np.arange(4)), "of float64"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
