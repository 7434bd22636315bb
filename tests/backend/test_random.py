"""Tests of minivit/backend/random.py."""

import hashlib
import threading

import numpy as np
import pytest

from minivit.backend import random


def words(*values):
    return tuple(np.array([value], np.uint64) for value in values)


# Random123 1.14, tests/kat_vectors: philox4x32 10 <counter> <key> <output>
KNOWN_ANSWERS = [
    "00000000 00000000 00000000 00000000 00000000 00000000 6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    "ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 408f276d 41c83b0e a20bc7c6 6d5451fd",
    "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 d16cfe09 94fdcceb 5001e420 24126ea1",
]


@pytest.mark.parametrize("line", KNOWN_ANSWERS)
@pytest.mark.parametrize("as_arrays", [True, False])
def test_philox_gives_the_published_known_answers(line, as_arrays):
    numbers = [int(word, 16) for word in line.split()]
    counter = words(*numbers[:4]) if as_arrays else tuple(numbers[:4])
    output = random.philox4x32(counter, tuple(numbers[4:6]))
    assert [int(np.squeeze(word)) for word in output] == numbers[6:]


def test_words_are_the_philox_of_position_image_step_and_operation():
    seed, step = 0x299F31D0_A4093822, 7
    bits = random.random_bits(np, seed, step, "crop", np.array([3, 5]), 6)
    assert bits.shape == (2, 6)
    assert bits.dtype == np.uint32
    name = int.from_bytes(hashlib.blake2s(b"crop", digest_size=4).digest(), "little")
    expected = random.philox4x32((1, 5, step, name), (0xA4093822, 0x299F31D0))
    assert [int(word) for word in bits[1, 4:]] == [expected[0], expected[1]]


def test_neither_the_split_nor_the_order_nor_the_count_changes_a_number():
    index = np.array([9, 4, 100_000, 0, 2**32 - 1, 4])
    whole = random.uniform(np, 1, 2, "drop", index, 11)
    halves = [random.uniform(np, 1, 2, "drop", part, 11) for part in (index[:2], index[2:])]
    np.testing.assert_array_equal(whole, np.concatenate(halves))
    np.testing.assert_array_equal(whole[1], whole[5])
    np.testing.assert_array_equal(whole[:, :3], random.uniform(np, 1, 2, "drop", index, 3))
    assert random.uniform(np, 1, 2, "drop", index[:0], 3).shape == (0, 3)
    assert random.uniform(np, 1, 2, "drop", index, 0).shape == (6, 0)


def test_large_draws_made_in_blocks_equal_small_ones():
    index = np.arange(50)
    large = random.random_bits(np, 3, 4, "mask", index, 1003)  # 50 * 251 blocks of words: several parts
    for image in (0, 15, 16, 17, 49):
        alone = random.random_bits(np, 3, 4, "mask", index[image : image + 1], 1003)
        np.testing.assert_array_equal(large[image], alone[0])


def test_every_part_of_the_key_matters():
    def draw(seed=5, step=6, op="a", image=7):
        return tuple(random.random_bits(np, seed, step, op, np.array([image]), 4)[0])

    draws = {draw(), draw(seed=4), draw(seed=5 + 2**32), draw(step=5), draw(op="b"), draw(image=8)}
    assert len(draws) == 6


def test_a_step_on_the_device_gives_the_same_numbers():
    index = np.arange(5)
    expected = random.uniform(np, 1, 123, "drop", index, 9)
    for step in (np.array(123, np.uint32), np.array(123, np.int64), np.array(123, np.uint64)):
        np.testing.assert_array_equal(random.uniform(np, 1, step, "drop", index, 9), expected)


def test_uniform_numbers_are_uniform():
    numbers = random.uniform(np, 0, 0, "test", np.arange(1000), 100)
    assert numbers.dtype == np.float32
    assert 0 <= numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1
    counts = np.histogram(numbers, 50, (0, 1))[0]
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    assert 23.98 < chi_square < 85.35  # the 0.1 % and 99.9 % points at 49 degrees of freedom
    neighbours = np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]
    images = np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]
    assert abs(neighbours) < 0.011
    assert abs(images) < 0.011


def test_the_largest_word_stays_below_one(monkeypatch):
    monkeypatch.setattr(random, "random_bits", lambda *_: np.array([[0, random.WORD]], np.uint32))
    for dtype, largest in ((np.float32, 1 - 2.0**-24), (np.float64, 1 - 2.0**-32)):
        numbers = random.uniform(np, 0, 0, "x", np.arange(1), 2, dtype)
        assert numbers.dtype == dtype
        assert numbers.tolist() == [[0.0, largest]]
    assert random.integers(np, 0, 0, "x", np.arange(1), 2, 9).tolist() == [[0, 8]]


def test_float64_numbers_are_the_float32_ones_with_more_bits():
    single, double = (random.uniform(np, 3, 1, "x", np.arange(64), 64, dtype) for dtype in (np.float32, np.float64))
    np.testing.assert_array_equal(single, np.floor(double * 2**24) / 2**24)
    assert (single != double).any()


def test_integers_are_in_range_and_even():
    numbers = random.integers(np, 1, 0, "crop", np.arange(3000), 3, 9)
    assert numbers.dtype == np.int64
    counts = np.bincount(numbers.ravel())
    assert counts.shape == (9,)
    assert ((counts - 1000) ** 2 / 1000).sum() < 26.12  # the 99.9 % point at 8 degrees of freedom
    assert random.integers(np, 1, 0, "crop", np.arange(2), 1, 1).tolist() == [[0], [0]]


def test_threads_do_not_disturb_each_other():
    index = np.arange(40)
    expected = [random.uniform(np, seed, 1, "x", index, 500) for seed in range(4)]
    results: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda s=seed: results.__setitem__(s, random.uniform(np, s, 1, "x", index, 500)))
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        np.testing.assert_array_equal(results[seed], expected[seed])


def test_generator_is_keyed_by_seed_and_stream():
    def draw(*key):
        return random.generator(*key).integers(0, 2**32, 4).tolist()

    assert draw(1, "shuffle", 2) == draw(np.int64(1), "shuffle", np.int32(2))
    keys = [
        (1,),
        (2,),
        (-1,),
        (2**70,),
        (1, "a"),
        (1, "a", 1),
        (1, "a", "1"),
        (1, "a1"),
        (1, "", "a"),
        (12, "a"),
        (1, 2),
    ]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_generator_bits_are_fixed():
    assert random.generator(0, "shuffle", 0).integers(0, 2**32, 3).tolist() == [3416142780, 194684886, 329181542]


def test_random_bits_are_fixed():
    bits = random.random_bits(np, 1, 2, "crop", np.array([3]), 5)
    assert bits.tolist() == [[719711403, 1547744472, 3099307814, 945057967, 998957430]]


def test_numpy_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    random.generator(0).random(5)
    random.uniform(np, 0, 0, "x", np.arange(3), 5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed from 0 to 2"),
        ({"seed": 2**64}, ValueError, "seed from 0 to 2"),
        ({"step": 2**32}, ValueError, "step from 0 to 2"),
        ({"step": -1}, ValueError, "step from 0 to 2"),
        ({"count": -1}, ValueError, "count of at least 0"),
        ({"image_index": np.zeros(2)}, TypeError, "integers, got float64"),
        ({"image_index": np.zeros((2, 1), int)}, ValueError, r"\(B,\).* got \(2, 1\)"),
        ({"dtype": np.float16}, TypeError, "float32 or float64, got float16"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    arguments = {"seed": 0, "step": 0, "op": "x", "image_index": np.arange(2), "count": 1, "dtype": np.float32} | change
    with pytest.raises(error, match=message):
        random.uniform(np, **arguments)


@pytest.mark.parametrize("high", [0, 2**32 + 1])
def test_integers_refuses_an_impossible_bound(high):
    with pytest.raises(ValueError, match="high from 1"):
        random.integers(np, 0, 0, "x", np.arange(1), 1, high)


def test_generator_refuses_a_fractional_seed():
    with pytest.raises(TypeError, match="float"):
        random.generator(0.5)
