"""Random numbers without hidden state: the same bits on every platform, backend and split of a batch.

Two kinds, for two uses. Initial weights and shuffles are drawn on the host by a NumPy generator that is keyed by a seed
and the name of its use (`generator`). Masks and augmentations are drawn where the data lives, by a function of (seed,
step, operation, image, position) alone (`random_bits`, `uniform`, `integers`): whoever computes a part of a batch gets
that part's numbers.
"""

from __future__ import annotations

import operator
from functools import lru_cache
from typing import Any

import numpy as np

from minivit.backend.device import Array

WORD = 0xFFFFFFFF
_ROUNDS = 10
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_HOST_BLOCK = 4096  # words of each counter lane that are computed at once on the host: they stay in the first caches


def generator(seed: int, *stream: str | int) -> np.random.Generator:
    """A NumPy generator of its own for each use of a seed.

    Parameters
    ----------
    seed : int
        Any integer.
    *stream : str or int
        What the numbers are for, such as ``("shuffle", epoch)``. Different streams are independent; the same stream
        gives the same numbers again.

    Returns
    -------
    numpy.random.Generator
        Philox4x64 keyed by a hash of the seed and the stream. Its bits are the same on every platform.

    Raises
    ------
    TypeError
        If the seed or a part of the stream is neither an integer nor (the stream) a string.
    """
    parts: list[str | int] = [operator.index(seed)]
    parts += [part if isinstance(part, str) else operator.index(part) for part in stream]
    import json  # here, as numpy.random too: `import minivit` does not wait for them
    from hashlib import blake2b

    key = blake2b(json.dumps(parts).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


@lru_cache(maxsize=1024)
def _word_of(op: str) -> int:
    """32 bits that stand for an operation's name."""
    from hashlib import blake2s

    return int.from_bytes(blake2s(op.encode(), digest_size=4).digest(), "little")


def philox4x32(counter: tuple[Any, Any, Any, Any], key: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    """Philox4x32-10: four random 32-bit words from a counter of four words and a key of two.

    Parameters
    ----------
    counter : tuple of 4 arrays of uint64, or ints
        32-bit words, each in the low half of a 64-bit element so that a product of two words fits; they broadcast.
    key : tuple of 2 ints
        32-bit words.

    Returns
    -------
    tuple of 4 arrays of uint64
        32-bit words.

    Notes
    -----
    J. Salmon, M. Moraes, R. Dror, D. Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011, section 4.3.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & WORD, (p0 >> 32) ^ c3 ^ k1, p0 & WORD
        k0, k1 = (k0 + _KEY_STEPS[0]) & WORD, (k1 + _KEY_STEPS[1]) & WORD
    return c0, c1, c2, c3


def random_bits(xp: Any, seed: int, step: int | Array, op: str, image_index: Array, count: int) -> Array:
    """Random 32-bit words, `count` for each image.

    A word is a function of (seed, step, op, its image's index, its position) alone: neither the other images of the
    batch nor `count` change it.

    Parameters
    ----------
    xp : module
        The array module to compute with: NumPy, CuPy or one like them.
    seed : int
        From 0 to 2**64 - 1.
    step : int or array () of an unsigned integer type
        From 0 to 2**32 - 1. An array of `xp` stays where it is and is not read.
    op : str
        What the numbers are for; two operations of one step need two names.
    image_index : array (B,) of an integer type
        From 0 to 2**32 - 1 each. A NumPy array is copied to `xp`.
    count : int
        Words per image.

    Returns
    -------
    array (B, count) of uint32

    Raises
    ------
    ValueError
        If the seed, the step or the count is out of range, or `image_index` is not one-dimensional.
    TypeError
        If `image_index` does not hold integers.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"expected a seed from 0 to 2**64 - 1, got {seed}")
    if isinstance(step, int) and not 0 <= step <= WORD:
        raise ValueError(f"expected a step from 0 to 2**32 - 1, got {step}")
    if count < 0:
        raise ValueError(f"expected a count of at least 0 numbers per image, got {count}")
    image_index = xp.asarray(image_index)
    if image_index.dtype.kind not in "iu":
        raise TypeError(f"expected image_index to hold integers, got {image_index.dtype}")
    if image_index.ndim != 1:
        raise ValueError(f"expected image_index of shape (B,), one index for each image, got {image_index.shape}")
    blocks = -(-count // 4)
    images = image_index.shape[0]
    if xp is np and images > 1 and images * blocks > _HOST_BLOCK:
        rows = max(1, _HOST_BLOCK // blocks)
        words = np.empty((images, count), np.uint32)
        for start in range(0, images, rows):
            part = slice(start, start + rows)
            words[part] = random_bits(np, seed, step, op, image_index[part], count)
        return words
    counter = (
        xp.arange(blocks, dtype=xp.uint64)[None, :],
        image_index.astype(xp.uint64)[:, None],
        step if isinstance(step, int) else step.astype(xp.uint64),
        _word_of(op),
    )
    words = xp.stack(philox4x32(counter, (seed & WORD, seed >> 32)), axis=-1)  # (B, blocks, 4)
    return words.astype(xp.uint32).reshape(images, 4 * blocks)[:, :count]  # (B, count)


def uniform(
    xp: Any, seed: int, step: int | Array, op: str, image_index: Array, count: int, dtype: Any = np.float32
) -> Array:
    """Random numbers from [0, 1), `count` for each image, keyed as in `random_bits`.

    Parameters
    ----------
    xp, seed, step, op, image_index, count
        As in `random_bits`.
    dtype : float32 or float64
        A float32 has 24 random bits, a float64 these and 8 more: both are exact multiples of 2**-24 and 2**-32, so that
        they have the same bits on every backend, and masks drawn in either type all but always agree.

    Returns
    -------
    array (B, count) of `dtype`

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64.
    """
    words = random_bits(xp, seed, step, op, image_index, count)
    if np.dtype(dtype) == np.float32:
        return (words >> 8).astype(xp.float32) * 2.0**-24
    if np.dtype(dtype) == np.float64:
        return words.astype(xp.float64) * 2.0**-32
    raise TypeError(f"expected dtype float32 or float64, got {np.dtype(dtype)}; draw float32 and convert")


def integers(xp: Any, seed: int, step: int | Array, op: str, image_index: Array, count: int, high: int) -> Array:
    """Random integers from 0 to high - 1, `count` for each image, keyed as in `random_bits`.

    Parameters
    ----------
    xp, seed, step, op, image_index, count
        As in `random_bits`.
    high : int
        From 1 to 2**32. The upper bits of word * high, so an integer's probability is off by less than 2**-32.

    Returns
    -------
    array (B, count) of int64

    Raises
    ------
    ValueError
        If `high` is out of range.
    """
    if not 1 <= high <= 2**32:
        raise ValueError(f"expected high from 1 to 2**32, got {high}")
    words = random_bits(xp, seed, step, op, image_index, count)
    return ((words.astype(xp.uint64) * high) >> 32).astype(xp.int64)
