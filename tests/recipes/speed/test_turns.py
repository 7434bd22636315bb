"""Contenders take turns in processes of their own, and what goes wrong there is told here."""

import os
from contextlib import contextmanager
from functools import partial

import pytest

from minivit.recipes.speed import turns
from minivit.recipes.speed.process_memory import proportional_set_size
from minivit.recipes.speed.turns import Contender, ContenderError, alternate


@contextmanager
def writing(name, path):
    """A step that writes its contender's name into a file; the loss counts the contender's own steps."""
    done = 0

    def step():
        nonlocal done
        done += 1
        with path.open("a") as file:
            file.write(name)
        return done

    yield step
    with path.open("a") as file:
        file.write(name.upper())


@contextmanager
def told(variable):
    yield lambda: float(os.environ.get(variable, "-1"))


@contextmanager
def failing(how):
    def step():
        if how == "raises":
            raise ArithmeticError("no such number")
        os._exit(7)

    yield step


def test_they_take_turns_that_begin_with_the_other_in_every_second_round(tmp_path, monkeypatch):
    monkeypatch.setattr("minivit.recipes.speed.turns.WATCHED", (1, 0.0))
    log = tmp_path / "log"
    found = alternate({name: Contender(partial(writing, name, log)) for name in "ab"}, rounds=3, steps=2, warmup=1)
    turns = ["a", "b", "aa", "bb", "bb", "aa", "aa", "bb", "a", "b"]  # warm-up, three rounds, memory
    assert log.read_text()[: len("".join(turns))] == "".join(turns)
    assert sorted(log.read_text()[-2:]) == ["A", "B"]  # both contexts were left
    for measured in found.values():
        assert [len(times) for times in measured.rounds] == [2, 2, 2]
        assert all(seconds > 0 for times in measured.rounds for seconds in times)
        assert measured.losses == [1, 2, 3, 4, 5, 6, 7]
        assert measured.peak_bytes > 1 << 20 or not proportional_set_size(os.getpid())  # the system does not tell


def test_each_has_its_own_environment():
    contenders = {value: Contender(partial(told, "MINIVIT_TEST"), {"MINIVIT_TEST": value}) for value in ("1", "2")}
    contenders["none"] = Contender(partial(told, "MINIVIT_TEST"))
    found = alternate(contenders, rounds=1, steps=1, warmup=0)
    assert {name: measured.losses for name, measured in found.items()} == {"1": [1.0], "2": [2.0], "none": [-1.0]}
    assert "MINIVIT_TEST" not in os.environ


@pytest.mark.parametrize(
    ("how", "message"),
    [("raises", "it failed: ArithmeticError: no such number\n"), ("ends", "it ended without a word, exit code 7$")],
)
def test_a_contender_that_fails_is_told_with_its_name(how, message):
    with pytest.raises(ContenderError, match=message):
        alternate({"it": Contender(partial(failing, how))}, rounds=1, steps=1, warmup=0)


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"steps": 0}, {"warmup": -1}])
def test_nothing_to_time_is_refused(wrong):
    with pytest.raises(ValueError, match="expected a contender, a step, a round"):
        alternate({"it": Contender(partial(told, "HOME"))}, **wrong)
    with pytest.raises(ValueError, match="expected a contender"):
        alternate({})


@contextmanager
def never_started():
    raise ArithmeticError("no such library")
    yield


def test_one_that_failed_before_its_turn_is_told_with_what_it_said():
    """It has ended when it is asked, so nothing can be sent to it; its last words are there to be read."""
    with turns._processes({"it": Contender(never_started)}) as processes:
        processes["it"].process.join()
        with pytest.raises(ContenderError, match=r"it failed:(.|\n)*no such library"):
            processes["it"].turn(1)
