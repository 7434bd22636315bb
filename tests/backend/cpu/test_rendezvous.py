"""Threads that hand each other their sums."""

import threading

import pytest

from minivit.backend.cpu.rendezvous import Rendezvous, current_part
from minivit.backend.cpu.threads import Workers


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_part_reads_the_same_values_in_the_order_of_the_parts(count):
    rendezvous = Rendezvous(count)

    def work(worker):
        with rendezvous.part(worker) as part:
            assert current_part() is part
            return [part.gather((worker, round), "a value") for round in range(200)]

    with Workers(count) as workers:
        found = workers.run(work)
    expected = [[(worker, round) for worker in range(count)] for round in range(200)]
    assert found == [expected] * count
    assert current_part() is None


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("meetings", [0, 1, 5])
def test_the_error_of_one_ends_the_waiting_of_the_others(failing, meetings):
    rendezvous = Rendezvous(3)

    def work(worker):
        with rendezvous.part(worker) as part:
            for _ in range(meetings):
                part.gather(worker, "a value")
            if worker == failing:
                raise LookupError(f"of part {worker}")
            part.gather(worker, "a value")

    with Workers(3) as workers:
        with pytest.raises(LookupError, match=f"of part {failing}"):
            workers.run(work)
        assert workers.run(lambda _: current_part()) == [None] * 3


def test_parts_that_meet_for_different_things_are_told_so():
    rendezvous = Rendezvous(2)

    def work(worker):
        with rendezvous.part(worker) as part:
            part.gather(0, f"layer {worker}")

    with Workers(2) as workers, pytest.raises(RuntimeError, match="and all are at: layer 0, layer 1"):
        workers.run(work)


def test_a_part_with_one_meeting_more_does_not_wait_for_ever():
    rendezvous = Rendezvous(2)

    def work(worker):
        with rendezvous.part(worker) as part:
            for _ in range(1 + worker):
                part.gather(0, "a value")

    with Workers(2) as workers, pytest.raises(RuntimeError, match="and all are at: the end, a value"):
        workers.run(work)


def test_a_broken_barrier_alone_is_an_error_too():
    def work(worker):
        if worker:
            raise threading.BrokenBarrierError

    with Workers(2) as workers, pytest.raises(threading.BrokenBarrierError):
        workers.run(work)
