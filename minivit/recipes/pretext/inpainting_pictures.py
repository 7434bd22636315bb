"""Pictures of inpainting: what a model was shown, what it made of it, what was there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minivit.autograd import Tensor, no_grad
from minivit.backend import backend_for_device, to_host
from minivit.data import Dataset
from minivit.interop.checkpoint import RESUME
from minivit.interop.safetensors_file import read_safetensors
from minivit.nn import Module
from minivit.recipes.console import Console
from minivit.recipes.figures import new_figure, save_figure
from minivit.recipes.pretext.config import PretextConfig
from minivit.recipes.pretext.fillings import fill_diffusion
from minivit.recipes.program import load_images
from minivit.recipes.run_folder import RunFolder

if TYPE_CHECKING:
    from minivit.recipes.pretext.pretraining import Pretraining
    from minivit.recipes.pretext.task import PretextTask

SHOWN_STEP = 2**32 - 2  # the step that the holes of pictures are drawn with: neither training's nor evaluation's


def draw_fillings(task: PretextTask, model: Module, dataset: Dataset, path: Path, count: int = 12) -> Path:
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
    index = evenly(dataset, count)
    truth, holes, filled = answers(task, model, dataset, index)
    rows = {
        "input": bytes_of(truth, task.mean, task.std, holes),
        "diffusion": bytes_of(fill_diffusion(truth, holes), task.mean, task.std),
        "model": bytes_of(filled, task.mean, task.std),
        "truth": bytes_of(truth, task.mean, task.std),
    }
    return draw_rows(list(rows.items()), path)


def draw_runs(runs: Mapping[str, Path], path: Path, count: int = 12) -> Path:
    """The same images with the holes of several runs, each filled by its model; the whole images below.

    Parameters
    ----------
    runs : mapping of str to Path
        Folders of finished inpainting runs on one data set, by what stands beside their rows.
    path : Path
        The picture to write.
    count : int
        Columns.
    """
    rows: list[tuple[str, np.ndarray]] = []
    whole = np.zeros((count, 1, 1, 3), np.uint8)
    for name, folder in runs.items():
        pretraining = trained(folder)
        task, dataset = pretraining.task, pretraining.dataset("test" if pretraining.config.test else "validation")
        truth, holes, filled = answers(task, pretraining.model, dataset, evenly(dataset, count))
        rows += [
            (name, bytes_of(truth, task.mean, task.std, holes)),
            ("filled", bytes_of(filled, task.mean, task.std)),
        ]
        whole = bytes_of(truth, task.mean, task.std)
    return draw_rows([*rows, ("truth", whole)], path)


def trained(folder: Path) -> Pretraining:
    """The procedure of a pretext run, with the model of its checkpoint."""
    from minivit.recipes.pretext.pretraining import Pretraining

    run = RunFolder(folder)
    config = PretextConfig.from_dict(run.read_plan()["config"])
    config.device = "cpu"
    kind, splits = load_images(config, Console())
    pretraining = Pretraining(config, splits, kind)
    arrays, _ = read_safetensors(run.checkpoint)
    pretraining.model.load_state_dict({name: a for name, a in arrays.items() if not name.startswith(RESUME)})
    return pretraining


def answers(
    task: PretextTask, model: Module, dataset: Dataset, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some images, their holes, and the images with the holes as the model fills them.

    Parameters
    ----------
    task : Inpainting
    model : Module
        What the task built.
    dataset : Dataset
    index : ndarray (B,) of int64
        Which images.

    Returns
    -------
    truth : ndarray (B, C, H, W)
        Normalised.
    holes : ndarray (B, 1, H, W) of bool
    filled : ndarray (B, C, H, W)
        The truth outside the holes.
    """
    backend, device = backend_for_device(model.device), model.device
    pixels, keys = (backend.from_host(array, device) for array in (dataset.images[index], index))
    images, hidden, _ = task.prepare(pixels, SHOWN_STEP, keys, training=False)
    was_training = model.training
    with no_grad():
        answer = model.eval()(Tensor(images), hidden)
    model.train(was_training)
    truth, holes, made = (to_host(array) for array in (images, hidden, answer.data))
    return truth, holes, np.where(holes, made, truth)


def evenly(dataset: Dataset, count: int) -> np.ndarray:
    """Numbers of `count` images, from the first to the last at equal distances."""
    return np.linspace(0, len(dataset) - 1, count).astype(np.int64)


def draw_rows(rows: Sequence[tuple[str, np.ndarray]], path: Path) -> Path:
    """Write rows of small pictures with a title each.

    Parameters
    ----------
    rows : sequence of (str, ndarray (n, H, W, 3) of uint8)
    path : Path
    """
    count = len(rows[0][1])
    figure = new_figure(0.9 * count + 0.9, 0.95 * len(rows))
    for row, (title, pictures) in enumerate(rows):
        for column, picture in enumerate(pictures):
            axes = figure.add_subplot(len(rows), count, 1 + column + row * count)
            axes.imshow(picture, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
            if column == 0:
                axes.set_ylabel(title, rotation=0, ha="right", va="center")
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
