"""What measured rounds amount to."""

import pytest

from minivit.recipes.speed import Measured, MlpWork, speed_ratios, summarize_speed


def test_ratios_are_taken_round_by_round_and_losses_step_by_step():
    ours = Measured([[1.0, 2.0, 9.0], [1.0, 1.0, 1.0], [4.0, 4.0, 4.0]], [3.0, 2.0, 1.0, 1.0, 7.0], 1 << 20)
    theirs = Measured([[3.0, 3.0, 8.0], [1.0, 5.0, 1.0], [2.0, 2.0, 2.0]], [3.0, 2.0, 1.25, 1.0, 9.0], 4 << 20)
    assert speed_ratios(ours, theirs) == [1.5, 1.0, 0.5]
    found = summarize_speed(MlpWork(), {"minivit": ours, "torch": theirs})
    assert (found["speed_over_torch"], found["memory_over_torch"]) == (1.0, 0.25)
    assert found["loss_difference"] == pytest.approx(0.2)  # of the third; the fifth is not compared
    assert (found["ms"], found["min_ms"], found["img_s"], found["steps_s"]) == (2000.0, 1000.0, 16.0, 0.5)
    assert (found["rss_mb"], found["losses"]) == (1.0, [3.0, 2.0, 1.0, 1.0])
    assert found["torch"]["ms"] == 2000.0
    assert found["gflops"] == pytest.approx(MlpWork().gflop / 2)


def test_alone_there_is_no_ratio_and_without_a_system_that_tells_it_no_memory():
    alone = Measured([[1.0]], [1.0], 0)
    assert not {"ratios", "loss_difference"} & summarize_speed(MlpWork(), {"minivit": alone}).keys()
    assert summarize_speed(MlpWork(), {"minivit": alone, "torch": alone})["memory_over_torch"] is None
