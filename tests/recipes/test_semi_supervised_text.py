"""The semi-supervised procedure on texts: what each branch is given, its loss, what is refused, and a gain."""

import dataclasses
import io
import json

import numpy as np
import pytest

from minivit.autograd import Tensor
from minivit.data import DatasetError
from minivit.data.text import TextDataset, TextSplits, Vocabulary, export_lines
from minivit.nn import mask_keys
from minivit.recipes.console import Console
from minivit.recipes.metrics import read_metrics
from minivit.recipes.run_folder import ResumeError
from minivit.recipes.semi_supervised_text import SemiSupervisedText, training_corpus
from minivit.recipes.text_config import TextConfig
from minivit.recipes.text_presets import text_preset
from minivit.recipes.trainer import Trainer
from minivit.recipes.uda import uda_loss

CLASSES = ("a", "b", "c")


def letters(number):
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def topics(name, count, seed, length=20, unknown=False):
    """Texts like real ones: stop words in each, words of one of three topics, and a long tail that says nothing."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    texts = []
    for label in labels:
        size = int(rng.integers(length // 2, length + 1)) - 3
        of_topic = rng.random(size) < 0.4
        numbers = np.where(of_topic, rng.integers(0, 25, size), rng.integers(0, 300, size))
        words = ["the", "of", "and"] + [
            f"topic{CLASSES[label]}{letters(number)}" if own else f"tail{letters(number)}"
            for number, own in zip(numbers, of_topic, strict=True)
        ]
        texts.append(" ".join(rng.permutation(words)))
    ids = tuple(f"{name}/{i}" for i in range(count))
    known = np.full(count, -1) if unknown else labels
    return TextDataset(f"topics {name}", tuple(texts), known, CLASSES, ids, "made up")


@pytest.fixture(scope="module")
def corpus():
    return TextSplits(
        train=topics("train", 240, 0), validation=topics("validation", 90, 1), test=topics("test", 300, 2)
    )


def config_of(**settings):
    base = {
        "labels": 12,
        "steps": 6,
        "batch_size": 6,
        "unlabelled_ratio": 2.0,
        "vocabulary": 150,
        "length": 16,
        "threads": 1,
    }
    return TextConfig(**{**base, **settings}).filled(text_preset("docstrings"))


def procedure_of(splits, **settings):
    return SemiSupervisedText(config_of(**settings), splits, "docstrings")


def batch_of(procedure, number=0):
    return procedure.prepare(procedure.make_step(6), number)


def test_the_branches_are_two_versions_of_the_same_texts_in_the_same_order(corpus):
    same = batch_of(procedure_of(corpus, augmentation="none"))
    assert same.labelled.shape == (6, 16)
    assert same.original.shape == (12, 16)
    np.testing.assert_array_equal(same.original, same.augmented)
    for kind in ("tfidf", "uniform"):
        other = batch_of(procedure_of(corpus, augmentation=kind))
        np.testing.assert_array_equal(other.original, same.original)
        np.testing.assert_array_equal(other.labelled, same.labelled)
        assert 0.2 < (other.augmented != other.original)[other.original > 0].mean() < 0.9
        np.testing.assert_array_equal(other.augmented > 0, other.original > 0)


def test_rows_are_sorted_by_length_and_no_two_share_a_mask(corpus):
    batch = batch_of(procedure_of(corpus))
    for tokens in (batch.labelled, batch.original):
        lengths = np.count_nonzero(tokens, axis=1)
        assert (np.diff(lengths) >= 0).all()
        assert lengths[0] < lengths[-1]
    keys = np.concatenate([batch.labelled_index, batch.original_index, batch.augmented_index])
    assert len(set(keys.tolist())) == 6 + 12 + 12


def test_labels_are_those_of_the_labelled_texts_alone(corpus):
    procedure = procedure_of(corpus)
    known = {
        tuple(row): label for row, label in zip(procedure.tokens.tokens.tolist(), corpus.train.labels, strict=True)
    }
    seen = set()
    for number in range(8):
        batch = batch_of(procedure, number)
        for row, label in zip(batch.labelled.tolist(), batch.labels, strict=True):
            assert known[tuple(row)] == label
            seen.add(tuple(row))
    assert len(seen) == 12
    assert procedure.train_set.subset(procedure.split.labelled).class_counts().tolist() == [4, 4, 4]


def test_the_vocabulary_is_that_of_the_training_texts(corpus):
    procedure = procedure_of(corpus)
    assert procedure.vocabulary == Vocabulary.build(corpus.train.texts, 150)
    held_out = procedure_of(dataclasses.replace(corpus, validation=None), validation=0.5, vocabulary=10_000)
    words = set(" ".join(corpus.train.texts).split())
    assert set(held_out.vocabulary.words) < words, "words of held-out texts are unknown"
    assert held_out.validation_size == 120
    assert not set(held_out.labelled) - set(held_out.unlabelled)


def test_the_baseline_shares_everything_but_the_unlabelled_term(corpus):
    uda, supervised = (procedure_of(corpus, method=method) for method in ("uda", "supervised"))
    for name, array in uda.model.state_dict().items():
        np.testing.assert_array_equal(supervised.model.state_dict()[name], array)
    for number in (0, 5):
        first, second = batch_of(uda, number), batch_of(supervised, number)
        np.testing.assert_array_equal(first.labelled, second.labelled)
        np.testing.assert_array_equal(first.labels, second.labels)
        assert second.original is None
    assert uda.steps_per_epoch == supervised.steps_per_epoch


def test_the_ceiling_sees_all_labels(corpus):
    procedure = procedure_of(corpus, method="fully_supervised")
    seen = {int(i) for number in range(240 // 6) for i in batch_of(procedure, number).labelled_index}
    assert seen == set(range(240))
    assert procedure.results()["labels"] == 240


def test_texts_without_labels_are_learned_from_too(corpus):
    splits = dataclasses.replace(corpus, unlabelled=topics("unsup", 60, 3, unknown=True))
    procedure = procedure_of(splits)
    assert len(training_corpus(splits)) == 300
    assert sorted(procedure.unlabelled) == list(range(300))
    assert procedure.labelled.max() < 240
    rest = procedure_of(splits, include_labelled=False)
    assert len(rest.unlabelled) == 300 - 12
    assert not set(rest.unlabelled) & set(rest.labelled)
    held_out = procedure_of(dataclasses.replace(splits, validation=None), validation=0.1)
    assert held_out.validation_size == 24
    assert len(held_out.unlabelled) == 240 - 24 + 60
    assert set(range(240, 300)) < set(held_out.unlabelled)


def test_the_loss_of_a_step_is_that_of_the_paper(corpus):
    procedure = procedure_of(corpus, tsa="linear", confidence=0.8, weight=2.0, steps=10)
    step = procedure.make_step(10)
    batch = procedure.prepare(step, 4)
    for parameter in procedure.model.parameters():  # so that some predictions are confident
        parameter.assign(np.random.default_rng(parameter.size).standard_normal(parameter.shape) * 0.4)

    def logits(tokens, index):
        with mask_keys(0, 4, index):
            return procedure.model(Tensor(tokens))

    expected, parts = uda_loss(
        logits(batch.labelled, batch.labelled_index),
        batch.labels,
        logits(batch.original, batch.original_index),
        logits(batch.augmented, batch.augmented_index),
        tsa="linear",
        progress=0.4,
        temperature=0.4,
        confidence=0.8,
        weight=2.0,
    )
    found = step.forward_backward(batch)
    assert 0 < float(parts["confident_share"]) < 1
    assert float(found["loss"]) == pytest.approx(float(expected.data), rel=1e-5)
    for name in ("supervised_loss", "consistency_loss", "confident_share", "kept_share", "agreement"):
        assert float(found[name]) == pytest.approx(float(parts[name]), rel=1e-5), name


# Paraphrases


def write_paraphrases(path, dataset, change):
    entries = [json.loads(line) for line in export_lines(dataset)]
    lines = [
        json.dumps({**entry, "paraphrases": change(number, entry["text"])}) for number, entry in enumerate(entries)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def reversed_words(text):
    return " ".join(reversed(text.split()))


def test_paraphrases_take_the_place_of_the_originals(corpus, tmp_path):
    path = write_paraphrases(
        tmp_path / "p.jsonl", corpus.train, lambda number, text: [reversed_words(text)] if number % 2 else []
    )
    procedure = procedure_of(corpus, augmentation="back_translation", paraphrases=path, length=20)
    batch = batch_of(procedure, 1)
    numbers = batch.original_index - 240
    for number, original, augmented in zip(numbers, batch.original, batch.augmented, strict=True):
        expected = corpus.train.texts[number]
        expected = reversed_words(expected) if number % 2 else expected
        np.testing.assert_array_equal(augmented, procedure.vocabulary.encode([expected], 20)[0])
        assert len(original) == 20
    assert procedure.results()["corpus"]["paraphrases"] == {"texts_without": 120, "replaced_for_length": 0}


def test_both_draws_from_paraphrases_and_replacement(corpus, tmp_path):
    path = write_paraphrases(tmp_path / "p.jsonl", corpus.train, lambda _, text: [reversed_words(text)])
    procedure = procedure_of(corpus, augmentation="both", paraphrases=path, length=20, replacement=0.5)
    kinds = set()
    for number in range(4):
        batch = batch_of(procedure, number)
        for index, augmented in zip(batch.original_index - 240, batch.augmented, strict=True):
            translated = procedure.vocabulary.encode([reversed_words(corpus.train.texts[index])], 20)[0]
            kinds.add(bool((augmented == translated).all()))
    assert kinds == {True, False}


# Runs


def untimed(path):
    return [{k: v for k, v in record.items() if k != "examples_per_second"} for record in read_metrics(path)]


def test_a_run_writes_its_split_its_vocabulary_and_what_its_corpus_is(corpus, tmp_path):
    results = Trainer(procedure_of(corpus), tmp_path, Console(io.StringIO())).run()
    assert results["corpus"]["source"] == "made up"
    assert results["corpus"]["classes"] == {"a": 80, "b": 80, "c": 80}
    assert (results["method"], results["labels"], results["unlabelled_texts"]) == ("uda", 12, 240)
    assert (results["images"], results["training_texts"], results["validation_texts"]) == (300, 240, 90)
    words = Vocabulary.from_dict(json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8")))
    assert len(words) == results["corpus"]["words"]
    records = [record for record in read_metrics(tmp_path / "metrics.jsonl") if "loss" in record]
    assert {"supervised_loss", "consistency_loss", "confident_share", "agreement"} < set(records[-1])


def test_an_interrupted_run_goes_on_bit_for_bit(interrupt, corpus, tmp_path):
    def trainer_of(folder):
        return Trainer(procedure_of(corpus, tsa="exp", threads=2), tmp_path / folder, Console(io.StringIO()))

    straight, interrupted = trainer_of("straight"), trainer_of("interrupted")
    straight.run()
    interrupt(interrupted, after=4)
    resumed = trainer_of("interrupted")
    resumed.run(resume=True)
    assert untimed(tmp_path / "straight" / "metrics.jsonl") == untimed(tmp_path / "interrupted" / "metrics.jsonl")
    for name, array in straight.model.state_dict().items():
        np.testing.assert_array_equal(resumed.model.state_dict()[name], array)


def test_a_run_keeps_its_split_and_refuses_another(corpus, tmp_path):
    procedure_of(corpus).write_inputs(tmp_path)
    procedure_of(corpus).check_inputs(tmp_path)
    with pytest.raises(ResumeError, match=r"not the split.*--out"):
        procedure_of(corpus, seed=1).check_inputs(tmp_path)
    with pytest.raises(DatasetError, match="other data"):  # another version of the corpus
        procedure_of(dataclasses.replace(corpus, train=topics("train", 240, 9))).check_inputs(tmp_path)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"labels": 500}, ValueError, "label"),
        ({"labels": 13}, ValueError, "multiple of the 3 classes"),
        ({"labels": 243}, DatasetError, "class 'a' has 80 example"),
        ({"unlabelled_ratio": 100.0}, ValueError, "unlabelled batches.*lower unlabelled_ratio"),
        ({"augmentation": "both", "paraphrases": "nowhere.jsonl"}, OSError, "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_before_training(corpus, settings, error, message):
    with pytest.raises(error, match=message):
        procedure_of(corpus, **settings)


@pytest.mark.parametrize("part", ["test", "validation"])
def test_training_texts_from_the_test_or_validation_set_are_refused(corpus, part):
    held = getattr(corpus, part)
    leaking = dataclasses.replace(corpus, **{part: held.subset([0, 1]).joined(corpus.train.subset([7]))})
    with pytest.raises(
        DatasetError, match=rf"1 of the 240 texts of 'topics train' are also in 'topics {part}'.*train/7"
    ):
        procedure_of(leaking)
    unlabelled = held.subset([5])
    with pytest.raises(DatasetError, match="1 of the 241"):
        procedure_of(dataclasses.replace(corpus, unlabelled=unlabelled))


@pytest.mark.slow
def test_uda_learns_more_from_few_labels_than_training_on_them_alone(corpus, tmp_path):
    gains = []
    for seed in range(3):
        accuracy = {}
        for method in ("uda", "supervised"):
            settings = {
                "seed": seed,
                "method": method,
                "steps": 80,
                "batch_size": 12,
                "unlabelled_ratio": 4.0,
                "confidence": 0.5,
                "length": 20,
                "vocabulary": 400,
            }
            folder = tmp_path / f"{method}{seed}"
            trainer = Trainer(procedure_of(corpus, **settings), folder, Console(io.StringIO()))
            accuracy[method] = trainer.run()["test_accuracy"]
        gains.append(accuracy["uda"] - accuracy["supervised"])
    assert min(gains) > 0
    assert np.mean(gains) > 2 * np.std(gains, ddof=1) / np.sqrt(3)
