"""A run goes on on another device than it began on: what moves with it, what is told, and that it is the same run."""

import importlib.util
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import standin  # noqa: F401 - the other device

from minivit.backend import device
from minivit.interop.safetensors_file import read_safetensors
from minivit.recipes.config import TrainConfig
from minivit.recipes.console import Console
from minivit.recipes.metrics import read_metrics
from minivit.recipes.program import new_settings, resumed_settings
from minivit.recipes.run_folder import ResumeError

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"epochs": None, "steps": 8, "drop_path": 0.2, "ema": 0.9, "batch_size": 32}


def plan_of(**config) -> dict:
    settings = TrainConfig(**config)
    return {"config": vars(settings), "threads": 3}


def test_the_settings_say_where_unless_the_command_line_does() -> None:
    on_cpu = plan_of(micro_batch=7, threads=3, learning_rate=0.5)
    same = resumed_settings(on_cpu, TrainConfig, threads=0, device=None)
    assert (same.device, same.threads, same.micro_batch) == ("cpu", 3, 7)
    assert resumed_settings(on_cpu, TrainConfig, threads=2, device="cpu").threads == 2
    moved = resumed_settings(on_cpu, TrainConfig, threads=0, device="standin")
    assert (moved.device, moved.micro_batch, moved.learning_rate) == ("standin", None, 0.5)


def test_between_a_gpu_and_the_cpu_threads_and_micro_batch_are_chosen_anew() -> None:
    away = plan_of(device="standin", micro_batch=512, threads=1)
    stayed = resumed_settings(away, TrainConfig, threads=0, device=None)
    assert (stayed.device, stayed.micro_batch) == ("standin", 512)
    assert resumed_settings(away, TrainConfig, threads=0, device="standin:1").micro_batch == 512
    home = resumed_settings(away, TrainConfig, threads=0, device="cpu")
    assert (home.device, home.threads, home.micro_batch) == ("cpu", 0, None)
    assert resumed_settings(away, TrainConfig, threads=2, device="cpu").threads == 2


def test_a_device_that_is_not_here_is_named_with_the_way_on(monkeypatch) -> None:
    def no_cupy():
        raise ImportError("no CuPy")

    monkeypatch.setattr(device, "_cupy_backend", no_cupy)
    on_a_gpu = plan_of(device="cuda", micro_batch=512)
    with pytest.raises(ResumeError, match=r"was on cuda, which is not to be had here \(.*CuPy.*\); pass --device cpu"):
        resumed_settings(on_a_gpu, TrainConfig, threads=0, device=None)
    assert resumed_settings(on_a_gpu, TrainConfig, threads=0, device="cpu").device == "cpu"
    with pytest.raises(RuntimeError, match="needs CuPy"):
        resumed_settings(plan_of(), TrainConfig, threads=0, device="cuda")


def test_a_new_run_is_on_the_cpu_unless_it_is_told() -> None:
    options = SimpleNamespace(**{**vars(TrainConfig(steps=3)), "device": None, "out": None})
    assert new_settings(options, TrainConfig) == TrainConfig(steps=3, device="cpu")
    options.device = "standin"
    assert new_settings(options, TrainConfig).device == "standin"
    options.device = "gpu"
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        new_settings(options, TrainConfig)


@pytest.mark.parametrize(("begun", "ended"), [("standin", "cpu"), ("cpu", "standin")])
def test_a_run_goes_on_on_another_device_up_to_rounding(interrupt, make_trainer, begun: str, ended: str) -> None:
    straight = make_trainer("straight", device=ended, **SETTINGS)
    expected = straight.run()
    assert "earlier_devices" not in expected
    interrupt(make_trainer(device=begun, **SETTINGS), after=4)
    told = io.StringIO()
    resumed = make_trainer(device=ended, console=Console(told), **SETTINGS)
    results = resumed.run(resume=True)
    assert f"was on {begun} and goes on on {ended}, where sums round differently" in told.getvalue()
    assert "after step 4" in told.getvalue()

    assert (results["settings"]["device"], results["earlier_devices"]) == (ended, [begun])
    assert results["test_loss"] == pytest.approx(expected["test_loss"], rel=1e-3)
    losses = [[line["loss"] for line in read_metrics(t.folder.metrics) if "loss" in line] for t in (straight, resumed)]
    np.testing.assert_allclose(*losses, rtol=1e-3)
    weights = [read_safetensors(trainer.folder.checkpoint)[0] for trainer in (straight, resumed)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, rtol=1e-3, atol=1e-4, err_msg=name)


def test_from_then_on_it_is_a_run_of_the_other_device(interrupt, make_trainer) -> None:
    interrupt(make_trainer(device="standin", **SETTINGS), after=3)
    again = make_trainer(threads=2, **SETTINGS)
    again._read_plan()  # and killed before a checkpoint of its own
    plan = again.folder.read_plan()
    assert (plan["config"]["device"], plan["threads"], plan["earlier_devices"]) == ("cpu", 2, ["standin"])
    assert plan["config"]["micro_batch"] == again.config.micro_batch != SETTINGS["batch_size"]
    with pytest.raises(ResumeError, match="--threads 2"):
        make_trainer(threads=1, **SETTINGS).run(resume=True)
    told = io.StringIO()
    results = make_trainer(threads=2, console=Console(told), **SETTINGS).run(resume=True)
    assert results["earlier_devices"] == ["standin"]
    assert "was on" not in told.getvalue()


def test_the_program_takes_a_run_back_to_the_cpu(tmp_path, monkeypatch) -> None:
    spec = importlib.util.spec_from_file_location("train_cifar", ROOT / "examples" / "train_cifar.py")
    program = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "train_cifar", program)  # dataclasses look their module up
    spec.loader.exec_module(program)
    settings = {"dataset": "digits", "batch_size": 64, "threads": 1, "pictures": False}
    out = tmp_path / "run"
    assert program.main(program.Options(steps=2, device="standin", out=out, **settings)) == 0
    (out / "results.json").unlink()
    assert program.main(program.Options(resume=out, pictures=False, threads=1, device="cpu")) == 0
    plan = program.RunFolder(out).read_plan()
    assert (plan["config"]["device"], plan["earlier_devices"]) == ("cpu", ["standin"])
