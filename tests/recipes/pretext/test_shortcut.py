import numpy as np
import pytest
from PIL import Image

from minivit.augment import ContextPatches, PatchGrid, lens
from minivit.backend.cpu.threads import Workers
from minivit.recipes.pretext.shortcut import CHANCE, draw_shortcut, grey_noise, learn_positions

MEAN, STD = (0.5,) * 3, (0.25,) * 3


def placed(shift: float, colors: str, threads: int = 1, steps: int = 40) -> float:
    """Share of the patches of noise that a network places which has seen them through a lens."""
    noise = lens(grey_noise(400, 3, 16, seed=0), 32, (1.15, 1.15 * (1 + shift), 1.15))
    sampler = ContextPatches(MEAN, STD, 0, PatchGrid.fit(32), colors)
    with Workers(threads) as workers:
        return learn_positions(noise[:300], noise[300:], sampler, workers, steps=steps, batch_size=16)


@pytest.mark.slow
def test_a_lens_gives_patches_of_noise_away_and_one_channel_does_not() -> None:
    """900 patches are asked about: the standard error of chance is a hundredth."""
    assert placed(0.15, "none") > 0.6
    assert placed(0.15, "drop") == pytest.approx(CHANCE, abs=0.04)
    assert placed(0.0, "none") == pytest.approx(CHANCE, abs=0.04)


def test_a_measurement_can_be_repeated() -> None:
    assert placed(0.1, "project", steps=3) == placed(0.1, "project", steps=3)


def test_noise_is_grey_even_and_its_own_in_every_pixel() -> None:
    noise = grey_noise(200, 3, 16, seed=1)
    assert (noise == noise[:, :1]).all()
    counts = np.bincount(noise[:, 0].ravel(), minlength=256)
    assert ((counts - 200) ** 2 / 200).sum() < 330  # the 99.9 % point at 255 degrees of freedom
    flat = noise[:, 0].reshape(200, -1).astype(float)
    assert abs(np.corrcoef(flat[:, 0::2].ravel(), flat[:, 1::2].ravel())[0, 1]) < 0.02
    assert (grey_noise(200, 3, 16, seed=2) != noise).any()


def test_the_picture_shows_every_treatment(tmp_path) -> None:
    names = ("images_plain", "images_shifted", "noise_plain", "noise_shifted")
    shown = {name: grey_noise(1, 3, 16, seed) for seed, name in enumerate(names)}
    accuracy = {kind: dict.fromkeys(names, 0.5) for kind in ("none", "gray", "project", "drop")}
    path = draw_shortcut(accuracy, shown, tmp_path / "shortcut.png")
    with Image.open(path) as picture:
        assert len(picture.convert("RGB").getcolors(maxcolors=2**24)) > 50
