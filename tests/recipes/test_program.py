"""Tests of minivit/recipes/program.py: data by name, on a small tree of photos in the layout of Pets."""

import functools
import importlib.util
import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minivit import data, interop, models
from minivit.data import registry
from minivit.data.pets import PETS, load_pets
from minivit.recipes.config import TrainConfig
from minivit.recipes.console import Console
from minivit.recipes.presets import PRESETS, preset_settings
from minivit.recipes.procedure import whitening_images
from minivit.recipes.program import default_folder, exit_code, load_images, repeatable_command, run_to_result
from minivit.recipes.results import read_result
from minivit.recipes.supervised import Supervised
from minivit.recipes.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """MINIVIT_DATA with 2 breeds in 20 training and 6 test photos: red ones and blue ones."""
    folder = tmp_path / "data" / "oxford-iiit-pet"
    random = np.random.default_rng(0)
    for part, count in (("trainval", 20), ("test", 6)):
        lines = []
        for number in range(count):
            label, name = number % 2, f"{('Bengal', 'beagle')[number % 2]}_{number + (part == 'test') * 100}"
            pixels = random.integers(0, 80, (48, 64, 3)).astype(np.uint8)
            pixels[:, :, 2 * label] += 150
            (folder / "images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / "images" / f"{name}.jpg", "PNG")
            lines.append(f"{name} {label + 1} {label + 1} 1\n")
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"{part}.txt").write_text("".join(lines))
    layout = replace(PETS, train=20, test=6, classes=2)
    monkeypatch.setattr(registry, "load_pets", functools.partial(load_pets, layout=layout))
    monkeypatch.setenv("MINIVIT_DATA", str(folder.parent))
    return folder


def console():
    return Console(io.StringIO())


def configured(**settings):
    return TrainConfig(**({"dataset": "pets", "image_size": 64, "download": False} | settings))


def test_photos_come_by_name_at_the_size_asked_for(pets):
    kind, splits = load_images(configured(), console())
    assert kind == "pets"
    assert splits.train.image_shape == (3, 64, 64)
    assert splits.train.classes == ("Bengal", "beagle")
    assert isinstance(splits.train.images, data.PhotoFiles)
    assert splits.train.mean == (0.485, 0.456, 0.406)
    _, splits = load_images(configured(preprocessing="google"), console())
    assert splits.train.mean == (0.5, 0.5, 0.5)
    _, wide = load_images(configured(preprocessing="big_vision", crop_fraction=0.5), console())
    assert (wide.test.images[:2] != splits.test.images[:2]).any()


def test_a_preprocessing_that_makes_no_sense_is_refused_at_once():
    with pytest.raises(ValueError, match="'google' resizes all that it shows"):
        configured(preprocessing="google", crop_fraction=0.9)
    with pytest.raises(ValueError, match="crop_area must be in"):
        configured(crop_area=1.5)


def test_a_library_that_is_missing_ends_a_program_with_a_word():
    def work():
        raise ImportError('reading it needs SciPy: pip install "minivit[examples]"')

    said = io.StringIO()
    assert exit_code(work, Console(said), lambda: "") == 1
    assert said.getvalue().startswith("error: reading it needs SciPy")


def test_photos_take_the_settings_of_folders():
    for name in data.PHOTOS:
        assert preset_settings(name) == preset_settings("folder")
        assert default_folder(configured(dataset=name), name).as_posix() == f"runs/{name}-0"
    assert "folder" in PRESETS


@pytest.mark.parametrize("crop_area", [0.0, 0.3])
def test_a_run_on_photos(pets, tmp_path, crop_area):
    settings = {"steps": 12, "batch_size": 8, "threads": 1, "validation": 0.2, "crop_area": crop_area}
    config = configured(**settings).filled(preset_settings("pets"))
    kind, splits = load_images(config, console())
    procedure = Supervised(config, splits, kind)
    trainer = Trainer(procedure, tmp_path / "run", console())

    def command(steps):
        return repeatable_command("examples/train_cifar.py", config, preset_settings(kind), steps, 1)

    result = run_to_result(trainer, command, resume=False)
    assert (result["dataset"], result["training_images"], result["images"]) == ("pets", 16, 6)
    assert result["test_accuracy"] == 1.0, "red and blue can be told apart"
    assert "--dataset pets --image-size 64" in result["command"]
    assert ("--crop-area 0.3" in result["command"]) == bool(crop_area)


def test_the_first_layer_is_whitened_by_photos_of_all_classes(pets):
    _, splits = load_images(configured(), console())
    in_order = splits.train.subset(np.argsort(splits.train.labels, kind="stable"))
    assert len(whitening_images(in_order)) == 20
    held = replace(in_order, images=in_order.images[:])
    np.testing.assert_array_equal(whitening_images(held), held.images)
    large = data.PhotoFiles([str(n) for n in range(60)], lambda path: np.full((3, 512, 512), int(path), np.uint8),
                            image_size=512)  # fmt: skip
    some = whitening_images(replace(in_order, images=large, labels=np.zeros(60, np.int64)))
    assert len(some) == 19  # as many pixels as 5,000 images of 32 x 32 have
    assert some[[0, -1], 0, 0, 0].tolist() == [0, 59]


def test_the_training_program_trains_and_resumes_on_photos(pets, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("train_cifar", ROOT / "examples" / "train_cifar.py")
    program = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "train_cifar", program)  # dataclasses look their module up
    spec.loader.exec_module(program)
    options = program.Options(
        dataset="pets", image_size=64, model="small", steps=2, batch_size=8, threads=1, out=tmp_path / "run"
    )
    assert program.main(options) == 0
    written = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert {"results.json", "confusion.png", "attention.png"} <= set(written)
    assert program.main(program.Options(resume=tmp_path / "run", pictures=False)) == 0
    (pets / "images" / "beagle_101.jpg").write_bytes(b"no image")
    again = replace(options, out=tmp_path / "other", pictures=False)
    assert program.main(again) == 1, "the broken file ends the run with an error, not with a traceback"


def test_weights_are_transferred_to_photos_read_as_google_reads_them(pets, tmp_path, monkeypatch):
    weights = tmp_path / "weights.safetensors"
    model = models.VisionTransformer(image_size=16, patch_size=8, dim=12, depth=1, heads=2, mlp_dim=16, num_classes=5)
    interop.save(model, weights, {"mean": [0.5] * 3, "std": [0.5] * 3, "classes": list("abcde")})
    spec = importlib.util.spec_from_file_location("finetune", ROOT / "examples" / "finetune.py")
    program = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "finetune", program)
    spec.loader.exec_module(program)
    out = tmp_path / "run"
    options = program.Options(
        dataset="pets", weights=str(weights), image_size=32, preprocessing="google", crop_area=0.05, steps=2,
        batch_size=8, threads=1, pictures=False, out=out,
    )  # fmt: skip
    assert program.main(options) == 0
    result = read_result(out / "results.json")
    assert (result["dataset"], result["images"], result["image_size"]) == ("pets", 6, 32)
    assert "--preprocessing google" in result["command"]
    assert "--crop-area 0.05" in result["command"]
