"""Tests of minivit/data/registry.py."""

import doctest

import pytest
from PIL import Image

from minivit import data
from minivit.data import registry


def test_names_give_their_data_sets(tmp_path):
    assert data.load("digits").train.image_shape == (1, 8, 8)
    assert len(data.load("shapes", train=20, validation=10, test=10).train) == 20
    for number in range(5):
        (tmp_path / "cat").mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "cat" / f"{number}.png")
    for folder in (tmp_path, str(tmp_path)):
        assert data.load(folder, image_size=8).train.image_shape == (3, 8, 8)


def test_cifar_goes_through_with_its_arguments(monkeypatch):
    calls = []
    monkeypatch.setattr("minivit.data.cifar.load_cifar", lambda *args, **options: calls.append((args, options)))
    data.load("cifar100", "here", download=False, coarse=True)
    assert calls == [((data.CIFAR100, "here"), {"download": False, "coarse": True})]


@pytest.mark.parametrize(
    ("name", "function", "passed"),
    [
        ("pets", "load_pets", {"download": False, "image_size": 64}),
        ("flowers102", "load_flowers", {"download": False, "image_size": 64}),
        ("imagenet", "load_imagenet", {"image_size": 64}),
    ],
)
def test_photo_sets_go_through_with_their_arguments(monkeypatch, name, function, passed):
    calls = []
    monkeypatch.setattr(registry, function, lambda *args, **options: calls.append((args, options)))
    data.load(name, "here", download=False, image_size=64)
    assert calls == [(("here",), passed)]


def test_an_unknown_name_lists_those_known():
    with pytest.raises(
        ValueError,
        match="expected digits, shapes, cifar10, cifar100, pets, flowers102, imagenet, or a folder",
    ):
        data.load("mnist")


def test_find(tmp_path, monkeypatch):
    monkeypatch.delenv("MINIVIT_DATA", raising=False)
    monkeypatch.setattr("minivit.data.locate.user_cache", lambda: tmp_path / "cache")
    assert data.find("cifar10", tmp_path) is None
    (tmp_path / "cifar-10-batches-bin").mkdir()
    assert data.find("cifar10", tmp_path) == tmp_path / "cifar-10-batches-bin"
    with pytest.raises(ValueError, match="pets, flowers102, imagenet, imagenet_real, got 'digits'"):
        data.find("digits")


def test_examples_in_docstrings():
    assert doctest.testmod(registry).failed == 0


def test_public_names_exist():
    assert all(hasattr(data, name) for name in data.__all__)
