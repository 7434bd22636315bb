"""Does a lens give patches away? A small network is asked where single patches lie, with and without a defence.

Doersch et al. 2015 (arXiv:1505.05192, section 4.1) found out about chromatic aberration in this way: a network that was
trained to tell the absolute place of patches was right where a lens had displaced the colours, whatever was on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minivit.augment.context_patches import PATCHES, ContextPatches
from minivit.autograd import Tensor, no_grad
from minivit.backend import Array
from minivit.backend.cpu.threads import Workers
from minivit.backend.random import generator
from minivit.data import BatchOrder
from minivit.models import VisionTransformer
from minivit.ops import cross_entropy
from minivit.optim import AdamW, clip_grad_norm, warmup_cosine
from minivit.recipes.figures import BLUE, GREY, INK, RED, new_figure, save_figure
from minivit.recipes.parallel import ParallelGradients, evaluate_parts
from minivit.recipes.pretext.task import EVALUATION_STEP

CHANCE = 1 / PATCHES
LABELS = {
    "none": "colours\nas they are",
    "gray": "two of three\nmade grey",
    "project": "projected",
    "drop": "one channel\nkept",
}
MICRO_BATCH = 16  # images, so nine times as many patches
LEARNING_RATE, CLIP = 3e-3, 1.0


def grey_noise(count: int, channels: int, side: int, seed: int) -> np.ndarray:
    """Images without content: pixels that know nothing of each other, alike in all channels.

    Returns
    -------
    array (count, channels, side, side) of uint8
    """
    pixels = generator(seed, "grey noise").integers(0, 256, (count, 1, side, side), dtype=np.uint8)
    return pixels.repeat(channels, axis=1)


def position_model(channels: int, patch_size: int, seed: int) -> VisionTransformer:
    """A small Vision Transformer behind two convolutions that tells where in an image a patch lies."""
    return VisionTransformer(
        image_size=patch_size,
        patch_size=4,
        dim=64,
        depth=1,
        heads=4,
        mlp_dim=128,
        num_classes=PATCHES,
        channels=channels,
        pool="sequence",
        stem=(16, 32),
        initialization="fan_in",
        seed=seed,
    )


def learn_positions(
    train: np.ndarray, held_out: np.ndarray, sampler: ContextPatches, workers: Workers, *, steps: int, batch_size: int
) -> float:
    """Train on single patches which of the nine they are, and ask about those of other images.

    Parameters
    ----------
    train, held_out : arrays (N, C, H, H) of uint8
        Of whatever size the sampler's grid is for.
    sampler : ContextPatches
        Cuts and treats patches. Its seed is that of the weights and of the order of the images too.
    workers : Workers
    steps : int
    batch_size : int
        Images in a step, each with its nine patches.

    Returns
    -------
    float
        Share of the patches of `held_out` whose place was told; guessing reaches `CHANCE`.
    """
    model = position_model(train.shape[1], sampler.grid.patch_size, sampler.seed)
    optimizer = AdamW(model, learning_rate=LEARNING_RATE, weight_decay=0.05)
    gradients = ParallelGradients(optimizer.flat, workers, MICRO_BATCH)
    order = BatchOrder(len(train), batch_size, seed=sampler.seed)

    def logits_of(images: np.ndarray, step: int, index: Array) -> Tensor:
        patches = sampler(images, step, index)  # (b, 9, C, p, p)
        return model(Tensor(patches.reshape(-1, *patches.shape[2:])))  # type: ignore[no-any-return]  # (9 b, 9)

    for step in range(steps):
        index, _ = order.at(step)
        images = train[index]

        def loss_of(part: slice, step: int = step, index: Array = index, images: Array = images) -> tuple[Tensor, None]:
            logits = logits_of(images[part], step, index[part])
            answers = np.tile(np.arange(PATCHES), len(logits) // PATCHES)
            return cross_entropy(logits, answers, reduction="sum") / (PATCHES * batch_size), None

        gradients.run(loss_of, batch_size)
        clip_grad_norm(optimizer.flat, CLIP)
        optimizer.learning_rate = LEARNING_RATE * warmup_cosine(step, steps, steps // 10)
        optimizer.step()
    model.eval()

    def right(part: slice) -> int:
        with no_grad():
            logits = logits_of(held_out[part], EVALUATION_STEP, np.arange(part.start, part.stop))
        return int((logits.data.reshape(-1, PATCHES, PATCHES).argmax(-1) == np.arange(PATCHES)).sum())

    return sum(evaluate_parts(workers, right, len(held_out), 4 * MICRO_BATCH)) / (PATCHES * len(held_out))


def draw_shortcut(accuracy: Mapping[str, Mapping[str, float]], shown: Mapping[str, np.ndarray], path: Path) -> Path:
    """Draw what the lens shows, and how many patches were placed after each treatment of the colours.

    Parameters
    ----------
    accuracy : mapping of mappings
        Treatment -> ``images_plain``, ``images_shifted``, ``noise_plain``, ``noise_shifted`` -> share.
    shown : mapping of arrays (n, 3, H, H) of uint8
        Under the same names: images and noise as the lens shows them; the first is drawn.
    path : Path
        The file to write.

    Returns
    -------
    Path
        The file. matplotlib has to be installed.
    """
    figure = new_figure(9.5, 4.0)
    pictures, chart = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    panels = pictures.subplots(2, 2)
    for row, source in zip(panels, ("images", "noise"), strict=True):
        for axes, kind in zip(row, ("plain", "shifted"), strict=True):
            axes.imshow(shown[f"{source}_{kind}"][0].transpose(1, 2, 0), interpolation="nearest")
            axes.axis("off")
    for axes, title in zip(panels[0], ("a good lens", "one that enlarges green"), strict=True):
        axes.set_title(title, fontsize=9)
    axes = chart.subplots()
    bars = {
        "images_plain": ("images, good lens", GREY),
        "images_shifted": ("images, green enlarged", BLUE),
        "noise_shifted": ("noise, green enlarged", RED),
    }
    places = np.arange(len(accuracy))
    for offset, (name, (label, colour)) in enumerate(bars.items()):
        heights = [100 * row[name] for row in accuracy.values()]
        axes.bar(places + 0.27 * (offset - 1), heights, 0.25, color=colour, label=label)
    axes.axhline(100 * CHANCE, color=INK, lw=1, ls="--", label="guessing")
    axes.set_xticks(places, [LABELS.get(name, name) for name in accuracy])
    axes.set_ylabel("patches whose place was told (%)")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, fontsize=8)
    return save_figure(figure, path)
