import json
import math
import sys

import numpy as np
import pytest
from PIL import Image

from minivit.recipes.comparison import compare_methods, comparison_table, summarize
from minivit.recipes.comparison_pictures import draw_ablation, draw_comparison
from minivit.recipes.results import check_result, write_result


def runs(**accuracies: list[float]) -> list[dict]:
    """Records of seeds 0, 1, ... for each method."""
    return [
        {"method": method, "seed": seed, "test_accuracy": accuracy, "steps": 9}
        for method, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


THREE = runs(uda=[0.7, 0.9, 0.8], supervised=[0.5, 0.6, 0.7], fully_supervised=[0.95])


def test_statistics_by_hand() -> None:
    """Means .8 and .6; squared deviations .01 + .01 + 0, over n - 1 = 2, give .1; differences .2, .3 and .1."""
    summary = compare_methods(THREE)
    error = 0.1 / math.sqrt(3)
    assert list(summary["methods"]) == ["supervised", "uda", "fully_supervised"]
    assert summary["methods"]["uda"] == {
        "n": 3,
        "seed": [0, 1, 2],
        "test_accuracy": [0.7, 0.9, 0.8],
        "mean": pytest.approx(0.8, rel=1e-14),
        "standard_deviation": pytest.approx(0.1, rel=1e-14),
        "standard_error": pytest.approx(error, rel=1e-14),
    }
    assert summary["methods"]["supervised"]["mean"] == pytest.approx(0.6, rel=1e-14)
    assert summary["methods"]["fully_supervised"] == {
        "n": 1,
        "seed": [0],
        "test_accuracy": [0.95],
        "mean": 0.95,
        "standard_deviation": None,
        "standard_error": None,
    }
    assert summary["difference"] == {
        "n": 3,
        "seed": [0, 1, 2],
        "values": [0.2, 0.3, 0.1],
        "mean": pytest.approx(0.2, rel=1e-14),
        "standard_deviation": pytest.approx(0.1, rel=1e-14),
        "standard_error": pytest.approx(error, rel=1e-14),
        "every_seed_above": True,
        "mean_over_error": pytest.approx(2 * math.sqrt(3), rel=1e-12),
        "clear": True,
    }
    assert (summary["baseline"], summary["method"]) == ("supervised", "uda")


def test_seeds_are_paired_whatever_their_order() -> None:
    shuffled = [THREE[i] for i in (3, 6, 1, 5, 0, 4, 2)]
    assert compare_methods(shuffled) == compare_methods(THREE)


def test_one_seed_below_its_pair_or_a_small_mean_is_not_clear() -> None:
    below = compare_methods(runs(uda=[0.9, 0.9, 0.59], supervised=[0.6, 0.6, 0.6]))["difference"]
    assert below["mean"] > 0
    assert not below["every_seed_above"]
    assert not below["clear"]
    scattered = compare_methods(runs(uda=[0.61, 0.62, 0.99], supervised=[0.6, 0.6, 0.6]))["difference"]
    assert scattered["every_seed_above"]
    assert scattered["mean_over_error"] < 2
    assert not scattered["clear"]
    equal = compare_methods(runs(uda=[0.6, 0.7], supervised=[0.6, 0.5]))["difference"]
    assert not equal["every_seed_above"]  # equal is not above


def test_one_seed_tells_no_error() -> None:
    difference = compare_methods(runs(uda=[0.9], supervised=[0.6]))["difference"]
    assert difference["standard_deviation"] is difference["standard_error"] is difference["mean_over_error"] is None
    assert difference["every_seed_above"]
    assert not difference["clear"]


def test_equal_differences_have_no_error_whatever_their_last_bit() -> None:
    """0.9 - 0.8 and 0.4 - 0.3 differ in floating point: without care the error were 1e-17 and the ratio huge."""
    assert 0.9 - 0.8 != 0.4 - 0.3
    difference = compare_methods(runs(uda=[0.9, 0.4], supervised=[0.8, 0.3]))["difference"]
    assert difference["values"] == [0.1, 0.1]
    assert difference["standard_error"] == 0.0
    assert difference["mean_over_error"] is None
    assert difference["clear"]
    assert not compare_methods(runs(uda=[0.5, 0.5], supervised=[0.5, 0.5]))["difference"]["clear"]


def test_other_methods_can_be_compared() -> None:
    records = runs(uda=[0.7, 0.8], fixmatch=[0.8, 0.85], supervised=[0.4])
    summary = compare_methods(records, baseline="uda", method="fixmatch")
    assert summary["difference"]["values"] == [0.1, 0.05]
    assert list(summary["methods"]) == ["uda", "fixmatch", "supervised"]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "at least one run"),
        (runs(uda=[0.5]), "no run of 'supervised' to compare; there is uda"),
        (runs(supervised=[0.5]), "no run of 'uda'"),
        (runs(uda=[0.5, 0.6], supervised=[0.5]), r"these runs are missing: supervised, seed 1\. Make"),
        (runs(uda=[0.5], supervised=[0.5, 0.6, 0.7]), r"missing: uda, seed 1; uda, seed 2\."),
        (THREE + THREE[1:2], "uda has seed 1 twice"),
        (THREE + runs(fully_supervised=[0.5]), "fully_supervised has seed 0 twice"),
        (runs(uda=[97.1], supervised=[0.5]), r"uda, seed 0: expected a test accuracy from 0 to 1, got 97\.1"),
        (runs(uda=[math.nan], supervised=[0.5]), "got nan"),
        (runs(uda=[None], supervised=[0.5]), "got None"),
        ([{"method": "uda", "steps": 3}], "record number 0 has no seed, test_accuracy; it has method, steps"),
    ],
)
def test_what_cannot_be_compared_says_why(records, message) -> None:
    with pytest.raises(ValueError, match=message):
        compare_methods(records)


def test_the_table_in_words() -> None:
    assert comparison_table(compare_methods(THREE)) == (
        "| method           | seeds | test accuracy  | of each seed        |\n"
        "| ---              | ---   | ---            | ---                 |\n"
        "| supervised       | 3     | 60.00 ± 5.77 % | 50.00, 60.00, 70.00 |\n"
        "| UDA              | 3     | 80.00 ± 5.77 % | 70.00, 90.00, 80.00 |\n"
        "| fully supervised | 1     | 95.00 %        | 95.00               |\n"
        "\n"
        "UDA - supervised: +20.00 ± 5.77 points (+20.00, +30.00, +10.00); every seed above its pair, mean 3.5 standard "
        "errors from 0. ± is the standard error."
    )


def test_the_table_of_one_seed_claims_nothing() -> None:
    sentence = comparison_table(compare_methods(runs(uda=[0.55], supervised=[0.6]))).splitlines()[-1]
    assert sentence == "UDA - supervised: -5.00 points (-5.00); not every seed above its pair. ± is the standard error."


def test_a_comparison_is_a_valid_result(tmp_path) -> None:
    summary = compare_methods(THREE)
    payload = {"dataset": "digits", "split": "test", "images": 357, "labels": 40, "summary": summary}
    stored = write_result(tmp_path / "c.json", payload, command="python x.py", seed=[0, 1, 2], wall_seconds=1)
    assert json.loads(json.dumps(stored["summary"])) == summary
    for name in ("dataset", "split", "images"):  # the accuracies in it are seen
        with pytest.raises(ValueError, match=f"{name} is missing .*summary.methods.supervised.test_accuracy"):
            check_result({key: value for key, value in stored.items() if key != name})


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)  # (H, W, 3)


def is_drawn(path) -> bool:
    return len(np.unique(pixels(path).reshape(-1, 3), axis=0)) > 50


def test_one_and_several_comparisons_are_drawn(tmp_path) -> None:
    summary = compare_methods(THREE)
    one = draw_comparison({"40 labels": summary}, tmp_path / "runs" / "one.png", chance=0.1, title="digits")
    other = compare_methods(runs(uda=[1.0, 1.0], supervised=[0.0, 1.0]))
    two = draw_comparison({"40 labels": summary, "one label": other}, tmp_path / "runs" / "two.png")
    assert is_drawn(one)
    assert is_drawn(two)
    assert pixels(two).shape[1] > pixels(one).shape[1]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["one.png", "two.png"]


def test_bars_start_at_zero_and_are_as_high_as_their_means(tmp_path) -> None:
    """Measured in the picture: the light red and the light blue of two bars of 30 and 90 %."""
    summary = compare_methods(runs(uda=[0.9], supervised=[0.3]))
    picture = pixels(draw_comparison({"": summary}, tmp_path / "bars.png"))
    heights = []
    for colour in (0xCC, 0x66, 0x77), (0x44, 0x77, 0xAA):
        light = np.rint(255 + 0.35 * (np.array(colour) - 255))
        heights.append((np.abs(picture - light).max(-1) <= 1).sum(0).max())  # the highest column of that colour
    assert heights[1] / heights[0] == pytest.approx(3.0, rel=0.05)


def test_an_ablation_is_drawn_best_first(tmp_path, monkeypatch) -> None:
    methods = summarize(runs(uda=[0.9, 0.91], crop_and_flip=[0.7, 0.72], no_mask=[0.95, 0.93], no_stop=[0.5]))
    drawn = []
    monkeypatch.setattr(
        "minivit.recipes.comparison_pictures.save_figure", lambda figure, path: drawn.append(figure) or path
    )
    draw_ablation(methods, tmp_path / "unused.png", chance=0.1)
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["no mask", "UDA", "crop and flip", "no stop"]
    assert [text.get_text() for text in axes.texts] == ["94.0 ± 1.0", "90.5 ± 0.5", "71.0 ± 1.0", "50.0"]
    low, high = axes.get_xlim()
    assert low < 50 < 95 < high < 102
    assert axes.yaxis_inverted()


def test_the_axis_of_an_ablation_is_no_magnifying_glass(tmp_path, monkeypatch) -> None:
    """Variants a tenth of a point apart do not fill the picture; chance is drawn where it is in sight."""
    drawn = []
    monkeypatch.setattr(
        "minivit.recipes.comparison_pictures.save_figure", lambda figure, path: drawn.append(figure) or path
    )
    for accuracies in ([0.999, 1.0], [0.0, 0.001], [0.10, 0.12]):
        draw_ablation(summarize(runs(uda=accuracies)), tmp_path / "unused.png", chance=0.1)
        low, high = drawn[-1].axes[0].get_xlim()
        assert high - low == pytest.approx(10)
        assert -1 <= low < high <= 101 + 1e-9
        shown = "chance" in [text.get_text() for text in drawn[-1].axes[0].texts]
        assert shown == (low <= 10 <= high)


def test_an_ablation_is_written(tmp_path) -> None:
    methods = summarize(runs(full=[0.9, 0.91], without=[0.7]))
    assert is_drawn(draw_ablation(methods, tmp_path / "a.png", reference="full", title="digits, 40 labels"))
    with pytest.raises(ValueError, match="no method 'uda' to refer to; there is full, without"):
        draw_ablation(methods, tmp_path / "a.png")


def test_without_matplotlib_nothing_is_drawn(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw_comparison({"40 labels": compare_methods(THREE)}, tmp_path / "c.png") is None
    assert draw_ablation(summarize(THREE), tmp_path / "a.png") is None
    assert not list(tmp_path.iterdir())
