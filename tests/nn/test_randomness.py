"""Tests of minivit/nn/randomness.py."""

import threading

import numpy as np
import pytest

import minivit as mv
from minivit import nn
from minivit.autograd.errors import ShapeError
from minivit.nn.randomness import current_keys, keep_mask, restored_keys


def rows(count, dtype=np.float32):
    return mv.Tensor(np.zeros((count, 7), dtype))


def draws(index=None, count=6, seed=3, step=4, number=3):
    with nn.mask_keys(seed, step, index):
        return [keep_mask(rows(count), 0.5, 20).numpy() for _ in range(number)]


def test_masks_are_zeros_and_ones_in_the_dtype_of_what_they_mask():
    for dtype in (np.float32, np.float64):
        with nn.mask_keys(0, 0):
            mask = keep_mask(rows(100, dtype), 0.3, 40)
        assert mask.dtype == dtype
        assert mask.shape == (100, 40)
        assert set(np.unique(mask.numpy())) == {0.0, 1.0}
        assert abs(mask.numpy().mean() - 0.7) < 0.03


def test_the_dtype_of_the_model_does_not_change_the_mask():
    with nn.mask_keys(0, 0):
        single = keep_mask(rows(50), 0.5, 30).numpy()
    with nn.mask_keys(0, 0):
        double = keep_mask(rows(50, np.float64), 0.5, 30).numpy()
    np.testing.assert_array_equal(single, double)


@pytest.mark.parametrize("parts", [[slice(0, 6)], [slice(0, 2), slice(2, 6)], [slice(i, i + 1) for i in range(6)]])
def test_masks_are_the_same_for_every_split_of_the_batch(parts):
    index = np.array([7, 3, 100, 0, 41, 12])
    whole = draws(index)
    pieces = [draws(index[part], len(index[part])) for part in parts]
    for layer in range(3):
        np.testing.assert_array_equal(np.concatenate([piece[layer] for piece in pieces]), whole[layer])


def test_seed_step_layer_and_image_each_matter():
    one, two, three = draws()
    assert (one != two).any()
    assert (two != three).any()
    for other in (draws(seed=4), draws(step=5), draws(index=np.arange(6) + 1)):
        assert (other[0] != one).any()
    np.testing.assert_array_equal(draws(index=np.arange(6))[0], one)
    np.testing.assert_array_equal(draws(index=np.arange(6) + 1)[0][:-1], one[1:])


def test_layers_of_one_forward_get_different_streams():
    masks = {mask.tobytes() for mask in draws(number=200)}
    assert len(masks) == 200


def test_an_index_of_another_length_is_refused():
    with nn.mask_keys(0, 0, np.arange(5)), pytest.raises(ShapeError, match=r"for 6 rows needs an image_index \(6,\)"):
        keep_mask(rows(6), 0.5, 20)


def test_outside_a_block_every_forward_draws_new_masks_and_a_seed_repeats_them():
    mv.manual_seed(5)
    first, second = (keep_mask(rows(6), 0.5, 20).numpy() for _ in range(2))
    assert (first != second).any()
    mv.manual_seed(5)
    np.testing.assert_array_equal(keep_mask(rows(6), 0.5, 20).numpy(), first)
    mv.manual_seed(6)
    assert (keep_mask(rows(6), 0.5, 20).numpy() != first).any()


def test_keys_are_restored_also_after_an_error():
    def fail():
        with nn.mask_keys(1, 2):
            with nn.mask_keys(3, 4):
                assert current_keys().seed == 3
            assert (current_keys().seed, current_keys().step) == (1, 2)
            raise KeyError

    outside = current_keys()
    with pytest.raises(KeyError):
        fail()
    assert current_keys() is outside


def test_restored_keys_repeat_what_was_drawn():
    with nn.mask_keys(1, 2):
        keep_mask(rows(6), 0.5, 20)
        keys = current_keys().copy()
        drawn = keep_mask(rows(6), 0.5, 20).numpy()
        with restored_keys(keys):
            np.testing.assert_array_equal(keep_mask(rows(6), 0.5, 20).numpy(), drawn)
        with restored_keys(keys):
            np.testing.assert_array_equal(keep_mask(rows(6), 0.5, 20).numpy(), drawn)
        assert current_keys().next_op == keys.next_op + 1


def test_a_block_belongs_to_its_thread():
    seen = []
    with nn.mask_keys(11, 12):
        thread = threading.Thread(target=lambda: seen.append(current_keys().seed))
        thread.start()
        thread.join()
    assert seen != [11]
