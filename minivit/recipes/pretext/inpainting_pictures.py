"""Pictures of inpainting: what a model was shown, what it made of it, what was there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minivit.autograd import Tensor, no_grad
from minivit.backend import backend_for_device, to_host
from minivit.data import Dataset
from minivit.nn import Module
from minivit.recipes.figures import new_figure, save_figure
from minivit.recipes.pretext.fillings import fill_diffusion

if TYPE_CHECKING:
    from minivit.recipes.pretext.inpainting import Inpainting

SHOWN_STEP = 2**32 - 2  # the step that the holes of pictures are drawn with: neither training's nor evaluation's


def draw_fillings(task: Inpainting, model: Module, dataset: Dataset, path: Path, count: int = 12) -> Path:
    """Images with holes, filled by diffusion and by a model, and whole: a column each, evenly out of a data set.

    Parameters
    ----------
    task : Inpainting
    model : Module
        What the task built, trained.
    dataset : Dataset
        Images that it has not seen.
    path : Path
        The picture to write.
    count : int
        Columns.
    """
    index = np.linspace(0, len(dataset) - 1, count).astype(np.int64)
    backend, device = backend_for_device(model.device), model.device
    pixels, keys = (backend.from_host(array, device) for array in (dataset.images[index], index))
    images, hidden, _ = task.prepare(pixels, SHOWN_STEP, keys, training=False)
    was_training = model.training
    with no_grad():
        answer = model.eval()(Tensor(images), hidden)
    model.train(was_training)
    truth, holes, filled = (to_host(array) for array in (images, hidden, answer.data))
    rows = {
        "input": bytes_of(truth, task.mean, task.std, holes),
        "diffusion": bytes_of(fill_diffusion(truth, holes), task.mean, task.std),
        "model": bytes_of(np.where(holes, filled, truth), task.mean, task.std),
        "truth": bytes_of(truth, task.mean, task.std),
    }
    figure = new_figure(0.9 * count + 0.6, 0.95 * len(rows))
    for row, (title, pictures) in enumerate(rows.items()):
        for column, picture in enumerate(pictures):
            axes = figure.add_subplot(len(rows), count, 1 + column + row * count)
            axes.imshow(picture, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
            if column == 0:
                axes.set_ylabel(title)
    return save_figure(figure, path)


def bytes_of(
    images: np.ndarray, mean: Sequence[float], std: Sequence[float], holes: np.ndarray | None = None
) -> np.ndarray:
    """Normalised images as colours, holes white.

    Parameters
    ----------
    images : ndarray (B, C, H, W)
    mean, std : C floats
        That they were normalised with.
    holes : ndarray (B, 1, H, W) of bool, optional

    Returns
    -------
    ndarray (B, H, W, 3) of uint8
    """
    scale, shift = (np.asarray(values)[:, None, None] for values in (std, mean))
    colours = np.rint(255 * np.clip(images * scale + shift, 0, 1)).astype(np.uint8)
    if holes is not None:
        colours = np.where(holes, np.uint8(255), colours)
    colours = colours if colours.shape[1] == 3 else np.repeat(colours[:, :1], 3, axis=1)
    return colours.transpose(0, 2, 3, 1)
