"""The pool hands out only memory that nobody can see."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from minivit.backend import pool as pool_module
from minivit.backend.pool import ALIGNMENT, SMALLEST, Pool, empty, thread_pool

SHAPE = (100, 200)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return np.shares_memory(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128, np.bool_])
@pytest.mark.parametrize("shape", [(), (0, 5), (3,), (1000, 1000), (7, 1, 9001)])
def test_is_like_numpy_empty(shape, dtype):
    array = Pool().empty(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.writeable
    if array.nbytes >= SMALLEST:
        assert address(array) % ALIGNMENT == 0
    array[...] = 1
    assert array.all()


def test_memory_is_used_again_once_the_array_is_gone():
    pool = Pool()
    first = pool.empty(SHAPE, np.float32)
    where = address(first)
    del first
    assert address(pool.empty(SHAPE, np.float32)) == where
    assert pool.held < 2 * 4 * 100 * 200


def test_memory_serves_other_shapes_and_dtypes_of_its_size():
    pool = Pool()
    where = address(pool.empty(SHAPE, np.float32))
    assert address(pool.empty((200, 50), np.float64)) == where


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a[3:5, 7],
        lambda a: a.T[::2],
        lambda a: a.reshape(-1)[10:].view(np.int32),
        lambda a: np.broadcast_to(a, (4, *a.shape)),
        lambda a: memoryview(a),
        lambda a: np.from_dlpack(a),
        lambda a: np.lib.stride_tricks.as_strided(a, (2, 2), (4, 4)),
        lambda a: a[:1].__array_interface__ and a.flat,
    ],
)
def test_a_live_view_keeps_its_memory(view):
    pool = Pool()
    array = pool.empty(SHAPE, np.float32)
    array[...] = 7
    where = address(array)
    held = view(array)
    del array
    others = [pool.empty(SHAPE, np.float32) for _ in range(3)]
    assert where not in [address(other) for other in others]
    del held
    assert where in [address(pool.empty(SHAPE, np.float32)) for _ in range(4)]


def test_live_arrays_never_overlap(rng):
    pool = Pool()
    live: list[np.ndarray] = []
    for _ in range(500):
        if live and rng.random() < 0.5:
            del live[rng.integers(len(live))]
        size = int(rng.integers(SMALLEST // 4, SMALLEST))
        array = pool.empty((size,), np.float32)
        assert not any(overlap(array, other) for other in live)
        live.append(array)
    live.clear()
    held = pool.held
    live.extend(pool.empty((SMALLEST // 4,), np.float32) for _ in range(2))
    assert pool.held == held


def test_the_pool_never_holds_more_than_its_limit():
    pool = Pool(limit=3 * 4 * SMALLEST)
    arrays = [pool.empty((SMALLEST,), np.float32) for _ in range(10)]
    assert pool.held <= pool.limit
    assert len({address(a) for a in arrays}) == 10
    del arrays
    large = pool.empty((2 * SMALLEST,), np.float32)  # idle blocks of another size make room
    assert pool.held <= pool.limit
    where = address(large)
    del large
    assert address(pool.empty((2 * SMALLEST,), np.float32)) == where


def test_clear_leaves_live_arrays_alone():
    pool = Pool()
    array = pool.empty(SHAPE, np.float32)
    array[...] = 3
    pool.clear()
    assert pool.held == 0
    other = pool.empty(SHAPE, np.float32)
    other[...] = 4
    assert (array == 3).all()


def test_at_most_an_eighth_is_wasted():
    for size in range(1, 5000):
        rounded = pool_module._size_class(size)
        assert size <= rounded <= max(size * 9 / 8, size)


def test_threads_do_not_share():
    pools = [thread_pool()]
    addresses = [address(empty(SHAPE, np.float32))]  # idle at once, yet not for another thread

    def work():
        pools.append(thread_pool())
        addresses.append(address(empty(SHAPE, np.float32)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert pools[0] is not pools[1]
    assert addresses[0] != addresses[1]


def test_an_array_outlives_its_thread():
    made: list[np.ndarray] = []

    def work():
        array = empty(SHAPE, np.float64)
        array[...] = 5
        made.append(array)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    others = [np.zeros(SHAPE) for _ in range(10)]
    assert (made[0] == 5).all()
    assert not any(other.any() for other in others)
