"""What is measured along a curve, how it goes on, and that it is drawn."""

import json

import pytest

from minivit.recipes.speed import Contender, Measured, curves
from minivit.recipes.speed.curves import (
    AXES,
    SHORT_AXES,
    Axis,
    Points,
    contenders_at,
    growth,
    point,
    possible_values,
    steps_in_round,
    with_full_micro_batches,
    work_at,
)
from minivit.recipes.speed.curves_picture import LABELS, draw_curves

MODEL = "vit_tiny_cifar"


@pytest.mark.parametrize(
    ("name", "value", "changed"),
    [
        ("batch", 8, {"batch": 8}),
        ("threads", 2, {"threads": 2, "batch": 64}),
        ("micro_batch", 4, {"micro_batch": 4, "batch": 64}),
        ("depth", 3, {"settings": {"depth": 3}}),
        ("tokens", 12, {"settings": {"image_size": 48}}),
    ],
)
def test_along_an_axis_one_size_grows(name: str, value: int, changed: dict) -> None:
    work = work_at(MODEL, AXES[name], value)
    expected = {"model": MODEL, "settings": {}, "batch": 32, "threads": 0, "micro_batch": None, "training": True}
    assert {key: getattr(work, key) for key in expected} == {**expected, **changed}


def test_tokens_count_the_class_token_and_depth_is_real() -> None:
    def value_of(model: str, name: str, value: int) -> int:
        work = work_at(model, AXES[name], value)
        return point(AXES[name], value, work, {"minivit": Measured([[1.0]], [1.0], 1)}, 1)["value"]

    assert [value_of(MODEL, "tokens", side) for side in AXES["tokens"].values] == [17, 65, 145, 257]
    assert value_of("vit_micro_cifar", "tokens", 4) == 16  # it pools all tokens
    assert value_of(MODEL, "depth", 4) == 4
    assert work_at(MODEL, AXES["tokens"], 4).build().pos_embed.shape == (1, 17, 192)
    assert len(work_at(MODEL, AXES["depth"], 2).build().blocks) == 2


def test_what_has_no_curves_is_refused() -> None:
    with pytest.raises(ValueError, match="resnet18_cifar is a ResNet"):
        work_at("resnet18_cifar", AXES["batch"], 8)
    with pytest.raises(ValueError, match="no axis 'width'; there is batch, depth, tokens, threads, micro_batch"):
        work_at(MODEL, Axis("width", (1,)), 1)


def test_checkpointed_blocks_and_the_rival_do_the_same_work() -> None:
    asked = []

    def rival(work) -> Contender:
        asked.append(work)
        return Contender(work.start)

    axis = AXES["depth"]
    work = work_at(MODEL, axis, 2)
    found = contenders_at(work, axis, rival)
    assert list(found) == ["minivit", "checkpointed", "torch"]
    assert asked == [work]
    ours, theirs = (found[name].start.__self__ for name in ("minivit", "checkpointed"))
    assert ours == work
    assert theirs.settings == {"depth": 2, "checkpoint_blocks": True}
    assert list(contenders_at(work, axis)) == ["minivit", "checkpointed"]
    assert "torch" not in contenders_at(work, AXES["micro_batch"], rival)  # it has none


def test_a_round_has_as_many_steps_as_fit_its_time() -> None:
    work = work_at(MODEL, AXES["batch"], 32)
    one = work.gflop / curves.EXPECTED_GFLOPS
    assert [steps_in_round(work, factor * one) for factor in (0.1, 1.0, 3.0, 100.0)] == [1, 1, 3, curves.MOST_STEPS]


def test_threads_are_those_that_there_are_cores_for(monkeypatch) -> None:
    monkeypatch.setattr(curves, "available_cores", lambda: 1)
    assert possible_values(AXES["threads"]) == (1,)
    assert possible_values(AXES["batch"]) == AXES["batch"].values


def measured(*seconds: float, peak: int, loss: float = 2.0) -> Measured:
    return Measured([[value] for value in seconds], [loss] * 5, peak << 20)


def test_a_point_has_times_memory_and_what_the_losses_differ_by() -> None:
    axis = AXES["batch"]
    found = {
        "minivit": measured(0.1, 0.3, 0.2, peak=100),
        "checkpointed": measured(0.4, 0.4, 0.4, peak=50, loss=2.0),
        "torch": measured(0.1, 0.6, 0.2, peak=400, loss=2.5),
    }
    record = point(axis, 8, work_at(MODEL, axis, 8), found, 3)
    assert (record["value"], record["batch"], record["steps"]) == (8, 8, 3)
    assert (record["minivit"]["ms"], record["minivit"]["ms_per_image"]) == (200.0, 25.0)
    assert record["checkpointed"]["rss_mb"] == 50.0
    assert (record["speed_over_torch"], record["memory_over_torch"]) == (1.0, 0.25)
    assert record["loss_difference"] == 0.25
    alone = point(axis, 8, work_at(MODEL, axis, 8), {"minivit": found["minivit"]}, 3)
    assert alone["loss_difference"] == 0.0
    assert "speed_over_torch" not in alone
    assert json.loads(json.dumps(record)) == record


def test_what_is_measured_is_not_measured_again_unless_the_code_changed(tmp_path, monkeypatch) -> None:
    calls = []

    def fake(contenders, **options) -> dict[str, Measured]:
        calls.append(options)
        return {name: measured(0.1, peak=1) for name in contenders}

    monkeypatch.setattr(curves, "alternate", fake)
    axis = SHORT_AXES["batch"]

    def ask(value: int, **options):
        return Points(tmp_path / "points.json").measured(
            axis, value, "vit_micro_cifar", **{"seconds": 0.1, "rounds": 2, **options}
        )

    first = ask(4)
    assert ask(4) == first
    assert len(calls) == 1
    assert calls[0] == {"rounds": 2, "steps": curves.MOST_STEPS, "warmup": 1}
    ask(8)
    ask(4, rounds=3)
    ask(4, rival=lambda work: Contender(work.start))
    assert len(calls) == 4
    assert Points(tmp_path / "points.json").seconds > 0
    monkeypatch.setattr(curves, "environment", lambda: {"commit": "another"})
    assert Points(tmp_path / "points.json").seconds == 0
    assert ask(4) == first
    assert len(calls) == 5


def test_growth_is_the_largest_over_the_smallest() -> None:
    axis = AXES["batch"]
    points = [
        point(axis, size, work_at(MODEL, axis, size), {"minivit": measured(seconds, peak=peak)}, 1)
        for size, seconds, peak in ((32, 0.32, 100), (64, 0.32, 100), (128, 1.28, 150))
    ]
    found = growth(points)
    assert (found["first"], found["last"]) == (32, 128)
    assert found["minivit"] == {"ms_per_image": pytest.approx(2.0), "rss_mb": 1.5}
    assert growth([]) is None
    untold = [{**one, "minivit": {**one["minivit"], "rss_mb": 0.0}} for one in points]
    assert growth(untold)["minivit"]["rss_mb"] is None


def test_micro_batches_are_full_when_every_thread_has_one() -> None:
    points = [{"batch": size, "threads": 2, "micro_batch": 16} for size in (8, 16, 31, 32, 64)]
    assert [one["batch"] for one in with_full_micro_batches(points)] == [32, 64]


def drawn_curves(names) -> dict:
    found = {
        "minivit": measured(0.1, peak=90),
        "checkpointed": measured(0.2, peak=60),
        "torch": measured(0.1, peak=700),
    }
    return {
        name: [
            point(SHORT_AXES[name], value, work_at("vit_micro_cifar", SHORT_AXES[name], value), found, 1)
            for value in SHORT_AXES[name].values
        ]
        for name in names
    }


@pytest.mark.parametrize("names", [tuple(AXES), ("batch",), ("threads",)], ids=len)
def test_the_picture_is_drawn(tmp_path, names) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    path = draw_curves(drawn_curves(names), tmp_path / "curves.png", "a title")
    assert path.read_bytes().startswith(b"\x89PNG")
    svg = draw_curves(drawn_curves(names), tmp_path / "curves.svg", "a title")
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        text = draw_curves(drawn_curves(names), svg, "a title").read_text(encoding="utf-8")
    for label in (LABELS[names[0]], "PyTorch", "minivit, activation checkpointing", "a title", "(MiB)"):
        assert label in text


def test_without_matplotlib_there_is_no_picture(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("minivit.recipes.speed.curves_picture.style", lambda: None)
    assert draw_curves(drawn_curves(["batch"]), tmp_path / "curves.png") is None
    assert not list(tmp_path.iterdir())


def test_axes_of_both_lengths_have_the_same_names() -> None:
    assert AXES.keys() == SHORT_AXES.keys() == LABELS.keys()
    assert all(list(axis.values) == sorted(axis.values) for axis in (*AXES.values(), *SHORT_AXES.values()))
