"""Tests of minivit/data/batches.py."""

import doctest
import gc
import threading
import time

import numpy as np
import pytest

from minivit.data import batches as module
from minivit.data.batches import Batches, prefetch
from minivit.data.dataset import Dataset


def make_dataset(count=10):
    images = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
    return Dataset("toy", images, np.arange(count) % 2, ("a", "b"), (0.5,), (0.2,), "made up")


def test_an_epoch_has_every_image_once_in_an_order_of_its_own():
    batches = Batches(make_dataset(12), 4, seed=1)
    assert batches.steps_per_epoch == 3
    orders = []
    for epoch in range(3):
        index = np.concatenate([batch.index for batch in batches.epoch(epoch)])
        assert sorted(index.tolist()) == list(range(12))
        orders.append(index.tolist())
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert [batch.index.tolist() for batch in Batches(make_dataset(12), 4, seed=1).epoch(2)] == [
        orders[2][start : start + 4] for start in (0, 4, 8)
    ]
    assert Batches(make_dataset(12), 4, seed=2).at(0).index.tolist() != orders[0][:4]


def test_a_batch_is_what_its_index_says():
    batches = Batches(make_dataset(10), 3, seed=0)
    for step in (0, 2, 3, 7):
        batch = batches.at(step)
        assert (batch.step, batch.epoch, len(batch)) == (step, step // 3, 3)
        np.testing.assert_array_equal(batch.images.ravel(), batch.index)
        np.testing.assert_array_equal(batch.labels, batch.index % 2)


def test_any_step_can_be_made_without_those_before():
    through = [Batches(make_dataset(), 3, seed=5).at(step).index.tolist() for step in range(12)]
    batches = Batches(make_dataset(), 3, seed=5)
    for step in (11, 0, 5, 4):
        assert batches.at(step).index.tolist() == through[step]


def test_left_over_images_are_dropped_or_make_a_small_batch():
    assert [len(batch) for batch in Batches(make_dataset(10), 4, drop_last=True).epoch()] == [4, 4]
    plain = Batches(make_dataset(10), 4, shuffle=False, drop_last=False)
    assert plain.steps_per_epoch == 3
    assert [batch.index.tolist() for batch in plain.epoch(1)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_impossible_batches_are_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Batches(make_dataset(), 0)
    with pytest.raises(ValueError, match="10 examples give no batch of 11; use a batch size of at most 10"):
        Batches(make_dataset(), 11)
    with pytest.raises(ValueError, match="no example"):
        Batches(make_dataset(0), 1, drop_last=False)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        Batches(make_dataset(), 2).at(-1)


def prefetching_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("minivit-prefetch")]


@pytest.mark.parametrize(("depth", "workers"), [(1, 1), (2, 1), (5, 3), (50, 2)])
def test_prefetch_keeps_the_order(depth, workers):
    def prepare(number):
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(prefetch(range(20), prepare, depth=depth, workers=workers)) == [n * n for n in range(20)]
    assert list(prefetch([], prepare)) == []
    assert not prefetching_threads()


def test_prefetch_works_ahead_while_the_consumer_is_busy_but_not_too_far():
    started = []
    ready = threading.Event()

    def prepare(number):
        started.append(number)
        if number == 3:
            ready.set()
        return number

    results = prefetch(range(100), prepare, depth=3)
    assert next(results) == 0
    assert ready.wait(10), "numbers 1 to 3 were to be prepared without being asked for"
    time.sleep(0.02)
    assert started == [0, 1, 2, 3]
    results.close()


def test_a_consumer_that_leaves_or_raises_leaves_no_thread():
    for number in prefetch(range(1000), lambda number: number):
        if number == 3:
            break
    gc.collect()
    assert not prefetching_threads()

    def consume():
        for number in prefetch(range(1000), lambda number: number):
            if number == 3:
                raise KeyError("the consumer's own error")

    with pytest.raises(KeyError, match="own error"):
        consume()
    gc.collect()
    assert not prefetching_threads()


def test_an_error_in_a_thread_reaches_the_consumer_at_its_turn():
    def prepare(number):
        if number == 2:
            raise FloatingPointError("in number 2")
        return number

    results = prefetch(range(10), prepare, depth=4, workers=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(FloatingPointError, match="in number 2"):
        next(results)
    assert not prefetching_threads()


def test_an_error_in_the_items_ends_the_threads():
    def items():
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(prefetch(items(), lambda number: number))
    assert not prefetching_threads()


def test_prefetched_batches_are_the_batches():
    batches = Batches(make_dataset(20), 4, seed=3)
    ahead = [batch.index.tolist() for batch in prefetch(range(2, 14), batches.at, depth=4, workers=3)]
    assert ahead == [Batches(make_dataset(20), 4, seed=3).at(step).index.tolist() for step in range(2, 14)]


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"workers": 0}])
def test_prefetch_refuses_before_it_starts(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        prefetch(range(3), abs, **wrong)


def test_examples_in_docstrings():
    assert doctest.testmod(module).failed == 0
