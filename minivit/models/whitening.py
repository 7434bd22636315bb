"""Starting the first layer from the statistics of the training images: principal components scaled to unit variance.

Neighbouring pixels are nearly the same, so a random first layer sees little but brightness, and a short run spends much
of its time on undoing that. Filters that whiten the patches (uncorrelated outputs of unit variance) start where it
would arrive (Coates, Ng & Lee 2011; kept fixed by Jordan 2024, arXiv:2404.00498; here only the start).
"""

from __future__ import annotations

import numpy as np

from minivit.backend import to_host
from minivit.backend.random import generator
from minivit.models.vit import VisionTransformer
from minivit.nn import ConvolutionalStem, PatchEmbedding

FLOOR = 1e-3  # added to the variances: the smallest components are noise


def whiten_first_layer(model: VisionTransformer, images: np.ndarray, seed: int = 0) -> None:
    """Set the first layer of a model so that it whitens patches of these images.

    Of a convolutional stem the first filters become the whitening components w and, as ReLU follows, -w; as many of the
    strongest as there are filters. A patch embedding becomes random mixtures of all of them, again
    of unit variance; its bias takes off their mean.

    Parameters
    ----------
    model : VisionTransformer
    images : array (n, C, H, W) of float32
        Some thousand training images, normalised as in training.
    seed : int
        Of the rotation.
    """
    embedding = model.patch_embed
    if isinstance(embedding, ConvolutionalStem):
        weight = embedding.convs[0].weight
        patches = _patches(images, weight.shape[2], stride=2)  # (n, C k k)
        components, _ = whitening(patches)
        filters = weight.shape[0]
        count = min(len(components), filters // 2)
        values = np.array(to_host(weight.data))
        values[: 2 * count] = np.concatenate([components[:count], -components[:count]]).reshape(-1, *weight.shape[1:])
        weight.assign(values)
    elif isinstance(embedding, PatchEmbedding):
        weight, bias = embedding.proj.weight, embedding.proj.bias
        patches = _patches(images, weight.shape[2], stride=weight.shape[2])
        components, mean = whitening(patches)
        numbers = generator(seed, "whitening rotation")
        rotation = numbers.standard_normal((weight.shape[0], len(components))) * len(components) ** -0.5
        matrix = rotation @ components  # (D, C p p)
        weight.assign(matrix.reshape(weight.shape))
        bias.assign(-matrix @ mean)


def whitening(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whitening components of vectors, strongest first, and their mean.

    Parameters
    ----------
    patches : array (n, P)

    Returns
    -------
    components : ndarray (P, P), float64
        ``components @ (patch - mean)`` has uncorrelated elements of variance 1 (less where it was below `FLOOR`).
    mean : ndarray (P,)
    """
    mean = patches.mean(0, dtype=np.float64)
    centered = patches - mean
    variances, directions = np.linalg.eigh(centered.T @ centered / len(patches))  # ascending; columns
    order = np.argsort(variances)[::-1]
    components = (directions[:, order] / np.sqrt(variances[order] + FLOOR)).T
    # An eigenvector's sign is arbitrary and differs between libraries: let the largest element be positive.
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1)
    return components * np.sign(largest), mean


def _patches(images: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Every patch of every image as a row (n, C size size)."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1] * size * size)
