"""What the timing of steps times, told by a clock that only steps and preparation move."""

import threading
from types import SimpleNamespace

import pytest

from minivit.backend.cpu.threads import Workers
from minivit.recipes.procedure import Procedure
from minivit.recipes.semi_supervised import SemiSupervised
from minivit.recipes.speed import preparation
from minivit.recipes.speed.preparation import Seconds, StepTimes, summarize_times, time_steps
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_presets import uda_preset


class Clock:
    """Stands in for the module `time`; half of the time is the process's own."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(preparation, "time", self)

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.now / 2


class Recorded(Procedure):
    """Batches are numbers; a step takes a second, the first of each stretch of four seven more."""

    def __init__(self, clock):
        self.clock, self.workers = clock, Workers(1)
        self.steps, self.taken_up, self.halves = [], [], []

    def make_step(self, total_steps):
        return self._step

    def _step(self, number):
        self.steps.append(number)
        self.clock.now += 1.0 if number % 4 else 8.0
        return SimpleNamespace(is_finite=lambda: True)

    def prepare(self, step, number):
        if threading.current_thread() is threading.main_thread():
            self.clock.now += 5.0
            self.halves += ["prepared"] if number % 4 == 0 else []
        return number

    def ahead(self, step, numbers):
        def taken_up():
            for number in numbers:
                self.taken_up.append(number)
                yield number

        self.halves.append("prefetched")
        return super().ahead(step, taken_up())

    def evaluate(self, split):
        raise NotImplementedError

    def metadata(self):
        raise NotImplementedError

    def results(self):
        raise NotImplementedError


def test_the_steps_of_both_halves_are_timed_and_their_warm_up_and_preparation_are_not(monkeypatch):
    procedure = Recorded(Clock(monkeypatch))
    times = time_steps(procedure, steps=3, warmup=1, rounds=2)
    step, preparation = Seconds(wall=1.0, waiting=0.0, cpu=0.5), Seconds(wall=5.0, waiting=0.0, cpu=2.5)
    assert times == StepTimes(prefetched=[step] * 2, prepared=[step] * 2, preparation=[preparation] * 2)
    assert procedure.steps == [0, 1, 2, 3] * 2 + [4, 5, 6, 7] * 2
    assert procedure.halves == ["prepared", "prefetched", "prefetched", "prepared"]
    # At the last timed step three batches are under way that no step takes: preparing ahead has no end in sight.
    assert procedure.taken_up == [0, 1, 2, 3, 4, 5, 6] + [4, 5, 6, 7, 8, 9, 10]


def test_the_ratio_is_taken_round_by_round():
    times = [Seconds(wall, 0.0, 1.0) for wall in (3.0, 8.0, 2.0, 4.0)]
    assert StepTimes(times[:2], times[2:], []).ratios == [1.5, 2.0]


def test_a_step_that_waits_for_its_batch_is_told(monkeypatch):
    clock = Clock(monkeypatch)

    class Slow(Recorded):
        def ahead(self, step, numbers):
            for number in numbers:
                clock.now += 2.0
                yield number

    times = time_steps(Slow(clock), steps=3, warmup=1, rounds=1)
    assert times.prefetched == [Seconds(wall=3.0, waiting=2.0, cpu=1.5)]
    assert times.prepared == [Seconds(wall=1.0, waiting=0.0, cpu=0.5)]
    assert times.ratios == [3.0]


def test_a_real_step_is_timed_and_trained(digits):
    config = UdaConfig(dataset="digits", labels=40, batch_size=8, unlabelled_batch_size=16, threads=1)
    procedure = SemiSupervised(config.filled(uda_preset("digits")), digits, "digits")
    before = procedure.model.state_dict()
    times = time_steps(procedure, steps=1, warmup=0, rounds=2)
    for rounds in (times.prefetched, times.prepared, times.preparation):
        assert len(rounds) == 2
        assert all(found.wall > found.waiting >= 0 and found.cpu > 0 for found in rounds)
    assert any((array != before[name]).any() for name, array in procedure.model.state_dict().items())


@pytest.mark.parametrize("wrong", [{"steps": 0, "rounds": 1}, {"steps": 1, "rounds": 0}])
def test_nothing_to_time_is_refused(wrong):
    with pytest.raises(ValueError, match="expected a step"):
        time_steps(Recorded(None), warmup=0, **wrong)


def test_the_times_amount_to_medians_and_shares():
    ahead = [Seconds(wall=2.0, waiting=0.5, cpu=3.0), Seconds(4.0, 1.0, 3.0), Seconds(9.0, 1.0, 3.0)]
    ready = [Seconds(wall=2.0, waiting=0.0, cpu=3.0)] * 3
    found = summarize_times(StepTimes(ahead, ready, [Seconds(1.0, 0.0, 1.0)] * 3), batch_size=12)
    assert found["images_per_second"] == 3.0
    assert found["ratios"] == [1.0, 2.0, 4.5]
    assert found["prefetched_over_prepared"] == 2.0
    assert (found["waiting_share"], found["preparation_share"], found["cores_used"]) == (0.25, 0.25, 1.5)
    assert found["seconds"]["prepared"] == {"wall": 2.0, "waiting": 0.0, "cpu": 3.0}
