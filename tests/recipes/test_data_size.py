import pytest

from minivit.recipes.data_size import by_size, crossings, curves, draw_sizes, size_table


def record(model: str, size: int, accuracy: float, seed: int = 0, augmentation: str = "none") -> dict:
    return {
        "model": model,
        "augmentation": augmentation,
        "training_images": size,
        "seed": seed,
        "test_accuracy": accuracy,
    }


RECORDS = [
    record("a", 100, 0.5),
    record("b", 100, 0.2),
    record("a", 1000, 0.7, seed=1),
    record("a", 1000, 0.6, seed=0),
    record("b", 1000, 0.8),
    record("a", 100, 0.4, augmentation="strong"),
    record("b", 100, 0.3, augmentation="strong"),
]


def test_curves_are_means_over_seeds_with_their_standard_error() -> None:
    first = curves(RECORDS)[0]
    assert (first["model"], first["augmentation"]) == ("a", "none")
    few, many = first["points"]
    assert (few["training_images"], few["mean"], few["standard_error"]) == (100, 0.5, None)
    assert many["seed"] == [0, 1]
    assert many["test_accuracy"] == [0.6, 0.7]
    assert many["mean"] == pytest.approx(0.65)
    assert many["standard_error"] == pytest.approx(0.05)


def test_a_crossing_is_where_the_lead_changes_its_sign() -> None:
    found = crossings(curves(RECORDS), "b", "a")
    assert [crossing["augmentation"] for crossing in found] == ["none", "strong"]
    assert found[0]["lead"] == pytest.approx([-0.3, 0.15])
    assert found[0]["between"] == [[100, 1000]]
    assert found[1]["between"] == []


def test_rows_are_sizes() -> None:
    few, many = by_size(curves(RECORDS))
    assert few == {"training_images": 100, "mean": {"none": {"a": 0.5, "b": 0.2}, "strong": {"a": 0.4, "b": 0.3}}}
    assert many["mean"]["none"] == pytest.approx({"a": 0.65, "b": 0.8})


def test_the_table_leaves_out_what_was_not_run() -> None:
    assert size_table(curves(RECORDS)).splitlines() == [
        "| training images | a, none | b, none | a, strong | b, strong |",
        "| --- | --- | --- | --- | --- |",
        "| 100 | 50.0 % | 20.0 % | 40.0 % | 30.0 % |",
        "| 1,000 | 65.0 % | 80.0 % |  |  |",
    ]


def test_the_picture_is_drawn_for_one_model_and_for_several(tmp_path) -> None:
    for name, records in (("several", RECORDS), ("one", RECORDS[:1])):
        assert draw_sizes(curves(records), tmp_path / f"{name}.png").stat().st_size > 1000
