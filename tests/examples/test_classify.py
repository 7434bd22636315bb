import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minivit import interop
from minivit.data import Preprocessing
from minivit.models import ResNet, VisionTransformer

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "classify.py"


@pytest.fixture(scope="module")
def classify():
    spec = importlib.util.spec_from_file_location("classify", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["classify"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["classify"]


@pytest.fixture(autouse=True)
def no_data(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("MINIVIT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def small_model(channels: int = 3, pool: str = "cls", num_classes: int = 3) -> VisionTransformer:
    """A model that knows red, green and blue: with zero blocks the class token is constant, so it uses the mean."""
    return VisionTransformer(
        image_size=8,
        patch_size=4,
        dim=12,
        depth=2,
        heads=3,
        mlp_dim=8,
        num_classes=num_classes,
        channels=channels,
        pool=pool,
    )


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """The checkpoint of a model that tells red, green and blue apart."""
    model = small_model(pool="mean")
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.assign(np.zeros(parameter.shape, np.float32))
    channels = np.zeros((12, 3, 4, 4), np.float32)
    channels[:3] = np.eye(3)[:, :, None, None] / 16  # the mean of each channel ...
    model.patch_embed.proj.weight.assign(channels)
    model.head.weight.assign(np.eye(3, 12, dtype=np.float32))  # ... is the logit of its colour
    path = tmp_path / "run" / "checkpoint.safetensors"
    metadata = {"classes": ["red", "green", "blue"], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    interop.save(model, path, metadata)
    return path


@pytest.fixture
def photos(tmp_path) -> Path:
    """photos/red/a.png, photos/green/a.png, photos/blue/b.jpg and a fourth that is of no class."""
    colours = {
        "red/a.png": (250, 9, 9),
        "green/a.png": (9, 250, 9),
        "blue/b.jpg": (9, 9, 250),
        "other/c.bmp": (80, 90, 9),
    }
    for name, colour in colours.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), colour).save(path)
    return tmp_path / "photos"


def test_names_photos_and_draws_attention(classify, checkpoint, photos, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    options = classify.Options(photos=(photos,), weights=checkpoint.parent, out=out, top=2, batch_size=3)
    assert classify.main(options) == 0
    printed = capsys.readouterr().out
    assert "mean 0.500 0.500 0.500, std 0.250 0.250 0.250" in printed
    for folder, name in (("red", "a.png"), ("green", "a.png"), ("blue", "b.jpg")):
        assert re.search(rf"{folder}/{name}\n +[\d.]+ %  {folder}  \(true\)\n", printed)
    assert "3 photos of known class: top-1 100.0 %, top-5 100.0 %" in printed
    assert sorted(path.name for path in out.iterdir()) == [
        "b.png",
        "c.png",
        "green-a.png.png",
        "red-a.png.png",
        "results.json",
    ]
    with Image.open(out / "b.png") as picture:
        assert picture.width > 3 * picture.height
        colours = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
        assert len(colours) > 50
    result = json.loads((out / "results.json").read_text())
    assert (result["top1_accuracy"], result["images"]) == (1.0, 3)


def test_a_photo_that_cannot_be_read_is_named_and_the_others_are_classified(
    classify, checkpoint, photos, tmp_path, capsys
) -> None:
    (photos / "broken.png").write_bytes(b"nope")
    options = classify.Options(photos=(photos,), weights=checkpoint, out=tmp_path / "out", top=1, pictures=False)
    assert classify.main(options) == 1
    captured = capsys.readouterr()
    assert "broken.png: cannot be read as an image" in captured.err
    assert "1 of 5 photos could not be read" in captured.err
    assert "3 photos of known class" in captured.out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photos": (Path("nowhere.jpg"),)}, r"nowhere\.jpg: there is no such file"),
        ({"photos": ()}, "no photos given"),
        ({"weights": None}, "no weights given: pass --weights"),
        ({"weights": Path("nowhere.safetensors")}, r"no file of weights at nowhere\.safetensors"),
        ({"weights": Path("model.h5")}, r"ends in \.safetensors, \.npz, \.pth"),
        ({"top": 4}, "between 1 and 3"),
        ({"batch_size": 0}, "batch-size"),
        ({"mean": (0.5,)}, "3 channels"),
        ({"crop": 2.0}, "--crop is a share"),
        ({"crop": 0.9, "preprocessing": "google"}, "'google' resizes all that it shows and crops no margin off"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"model": "vit_tny"}, "did you mean"),
    ],
)
def test_options_that_do_not_work_say_why(classify, checkpoint, photos, tmp_path, capsys, change, message) -> None:
    options = {"photos": (photos,), "weights": checkpoint, "out": tmp_path / "out", "top": 1, "pictures": False}
    assert classify.main(classify.Options(**options | change)) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_says_so(classify, checkpoint, tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    assert classify.main(classify.Options(photos=(tmp_path / "empty",), weights=checkpoint)) == 1
    assert "no image" in capsys.readouterr().err
    assert classify.main(classify.Options(photos=(tmp_path,), weights=tmp_path / "empty")) == 1


def test_grey_models_and_class_lists(classify, photos, tmp_path, capsys) -> None:
    interop.save(small_model(channels=1), tmp_path / "grey.safetensors")
    (tmp_path / "classes.tsv").write_text("0\tn00000001\tred_thing\n1\tn00000002\tgreen\n2\tn00000003\tblue\n")
    (photos / "red" / "a.png").rename(tmp_path / "n00000001_x.png")
    options = classify.Options(
        photos=(tmp_path / "n00000001_x.png",),
        weights=tmp_path / "grey.safetensors",
        classes=tmp_path / "classes.tsv",
        out=tmp_path / "out",
        top=3,
    )
    assert classify.main(options) == 0
    printed = capsys.readouterr().out
    assert "red thing  (true)" in printed
    assert "1 photos of known class" in printed
    assert (tmp_path / "out" / "n00000001_x.png").exists()

    (tmp_path / "classes.tsv").write_text("one\ntwo\n")
    assert classify.main(options) == 1
    assert "expected 3 classes, one a line, got 2" in capsys.readouterr().err


def test_a_resnet_shows_the_evidence_for_its_two_likeliest_classes(classify, photos, tmp_path, capsys) -> None:
    model = ResNet(layers=(1,), block="basic", width=3, num_classes=3, stem="cifar")
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[range(3), range(3), 1, 1] = 1.0
    model.conv1.weight.assign(kernel)  # the brightness of each channel is the logit of its colour
    model.fc.weight.assign(np.eye(3, dtype=np.float32))
    model.fc.bias.assign(np.zeros(3, np.float32))
    metadata = {"classes": ["red", "green", "blue"], "mean": [0.5] * 3, "std": [0.25] * 3, "image_size": 12}
    interop.save(model, tmp_path / "resnet.safetensors", metadata)
    options = classify.Options(photos=(photos,), weights=tmp_path / "resnet.safetensors", out=tmp_path / "out", top=2)
    assert classify.main(options) == 0
    printed = capsys.readouterr().out
    assert "ResNet, " in printed
    assert "12 px, 3 classes" in printed
    assert "3 photos of known class: top-1 100.0 %" in printed
    with Image.open(tmp_path / "out" / "b.png") as picture:
        assert picture.width > 3 * picture.height


def test_torchvisions_weights_are_normalised_as_imagenet_is(classify, photos, tmp_path, capsys) -> None:
    interop.save(ResNet(layers=(1, 1), block="basic", width=2, num_classes=3), tmp_path / "resnet.npz")
    options = classify.Options(
        photos=(photos / "blue",), weights=tmp_path / "resnet.npz", out=tmp_path / "out", top=1, pictures=False
    )
    assert classify.main(options) == 0
    printed = capsys.readouterr().out
    assert "224 px, 3 classes" in printed
    assert "crop 0.875, mean 0.485 0.456 0.406" in printed


@pytest.mark.parametrize(
    ("format", "said", "shown"),
    [
        ("google", "gelu tanh (convention), eps 1e-06 (convention), heads 3 (shapes)", "google, crop 1, mean 0.500"),
        ("huggingface", "gelu erf (config.json), eps 1e-06 (config.json)", "google, crop 1, mean 0.500"),
        ("big_vision", "gelu tanh (convention)", "big_vision, crop 0.875, mean 0.500"),
    ],
)
def test_the_flavour_of_others_weights_is_said(classify, photos, tmp_path, capsys, format, said, shown) -> None:
    path = tmp_path / "weights" / "model.safetensors"
    interop.save(small_model(), path, format=format)
    options = classify.Options(photos=(photos / "blue",), weights=path, out=tmp_path / "out", top=1, pictures=False)
    assert classify.main(options) == 0
    printed = capsys.readouterr().out
    assert f"weights of format {format}: {said}" in printed
    assert f"preprocessing {shown}" in printed


def test_the_command_line_works_without_a_terminal(checkpoint, photos, tmp_path) -> None:
    run = subprocess.run(
        [
            sys.executable,
            SCRIPT,
            photos / "blue" / "b.jpg",
            "--weights",
            checkpoint,
            "--out",
            tmp_path / "o",
            "--top",
            "1",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert "blue  (true)" in run.stdout
    assert (tmp_path / "o" / "b.png").exists()


def test_flags_are_written_as_in_the_training_program(checkpoint, photos, tmp_path) -> None:
    command = [sys.executable, SCRIPT, photos, "--weights", checkpoint, "--out", tmp_path / "o", "--top", "1"]
    run = subprocess.run([*command, "--no-pictures"], capture_output=True, text=True, check=True)
    assert "picture:" not in run.stdout
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["results.json"]
    run = subprocess.run([*command, "--pictures"], capture_output=True, text=True, check=True)
    assert run.stdout.count("picture:") == 4


@pytest.mark.parametrize(
    ("options", "metadata", "own", "expected"),
    [
        ({}, {}, True, Preprocessing("fit")),
        ({}, {"crop_fraction": 0.9}, True, Preprocessing("timm", 0.9)),
        ({"crop": 0.5}, {}, True, Preprocessing("timm", 0.5)),
        ({}, {}, False, Preprocessing("timm", 0.9)),
        ({"crop": 1.0}, {}, False, Preprocessing("timm", 1.0)),
        ({"preprocessing": "google"}, {}, False, Preprocessing("google")),
        ({"preprocessing": "google"}, {"crop_fraction": 0.9}, True, Preprocessing("google")),
        ({"preprocessing": "big_vision", "crop": 0.857}, {}, False, Preprocessing("big_vision", 0.857)),
    ],
)
def test_photos_are_resized_as_the_weights_want_it(classify, options, metadata, own, expected) -> None:
    assert classify.chosen_preprocessing(classify.Options(**options), metadata, own) == expected


def test_google_sees_the_edges_that_timm_crops_off(classify, checkpoint, tmp_path, capsys) -> None:
    """A wide photo that is blue at its ends and red in the middle."""
    pixels = np.zeros((20, 80, 3), np.uint8)
    pixels[:, :, 2] = 255
    pixels[:, 30:50] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    for name, seen in (("timm", "red"), ("google", "blue")):
        options = classify.Options((tmp_path / "wide.png",), checkpoint, preprocessing=name, top=1, pictures=False)
        assert classify.main(options) == 0
        printed = capsys.readouterr().out
        assert re.search(rf"%  {seen}\n", printed)
        assert f"preprocessing {name}, crop 1, mean" in printed


DATA = Path(os.environ.get("MINIVIT_DATA", "nowhere"))
DEIT = DATA / "weights" / "deit_tiny_patch16_224.npz"


@pytest.mark.skipif(not DEIT.is_file(), reason="needs the DeiT-tiny weights and photos in $MINIVIT_DATA")
def test_real_weights_on_real_photos(classify, tmp_path, capsys) -> None:
    """Every fifth of the 100 photos; of all 100, PyTorch with the same weights and pixels has 81 and 97 right."""
    photos = sorted((DATA / "imagenet-samples").glob("*.JPEG"))[::5]
    classes = DATA / "imagenet-samples" / "classes.tsv"
    options = classify.Options(
        photos=tuple(photos), weights=DEIT, classes=classes, out=tmp_path / "out", pictures=False
    )
    assert classify.main(options) == 0
    printed = capsys.readouterr().out
    assert "5,717,416 parameters" in printed
    assert "crop 0.9, mean 0.485 0.456 0.406" in printed
    assert "20 photos of known class: top-1 90.0 %, top-5 95.0 %" in printed
