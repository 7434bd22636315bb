"""Tests of minivit/data/digits.py and the script that made its file."""

from importlib import resources

import numpy as np
import pytest

from minivit.data import make_digits
from minivit.data.digits import load_digits


def test_the_digits_are_split_60_20_20_in_every_class():
    splits = load_digits()
    parts = (splits.train, splits.validation, splits.test)
    counts = np.stack([part.class_counts() for part in parts])
    assert counts.sum() == 1797
    assert counts.sum(axis=0).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (np.abs(counts / counts.sum(axis=0) - [[0.6], [0.2], [0.2]]) < 0.01).all()
    for part in parts:
        assert part.image_shape == (1, 8, 8)
        assert part.classes == tuple("0123456789")
        assert "CC BY 4.0" in part.source
        assert set(np.unique(part.images)) == {round(level * 255 / 16) for level in range(17)}


def test_no_image_is_in_two_parts():
    splits = load_digits()
    parts = [{image.tobytes() for image in part.images} for part in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1797


def test_statistics_are_those_of_the_training_images():
    splits = load_digits()
    assert splits.train.mean == splits.test.mean == splits.validation.mean
    np.testing.assert_allclose(splits.test.mean[0], splits.train.images.mean() / 255, rtol=1e-12)
    np.testing.assert_allclose(splits.test.std[0], splits.train.images.std() / 255, rtol=1e-12)


def test_the_file_is_what_the_script_writes(tmp_path):
    pytest.importorskip("sklearn", reason="compares with the copy in scikit-learn, which is not installed")
    make_digits.main(tmp_path / "digits.npz")
    stored = resources.files("minivit.data").joinpath("digits.npz")
    with np.load(tmp_path / "digits.npz") as made, stored.open("rb") as file, np.load(file) as kept:
        assert sorted(made) == sorted(kept) == ["images", "labels", "part"]
        for name in kept:
            np.testing.assert_array_equal(made[name], kept[name])
