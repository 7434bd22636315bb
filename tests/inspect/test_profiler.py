import time

import numpy as np
import pytest

from minivit import ops
from minivit.autograd import Op, apply, tensor
from minivit.inspect import profile
from minivit.inspect.profiler import _wait
from minivit.models import VisionTransformer


def test_every_op_of_a_step_is_counted_in_both_directions() -> None:
    model = VisionTransformer(image_size=8, patch_size=4, dim=12, depth=3, heads=3, mlp_dim=8, num_classes=5)
    with profile() as profiler:
        ops.cross_entropy(model(tensor(np.ones((2, 3, 8, 8), np.float32))), np.array([1, 2])).backward()
    assert profiler.times["mlp", "forward"].calls == profiler.times["mlp", "backward"].calls == 3
    assert profiler.times["layer_norm", "forward"].calls == 7
    assert profiler.times["patchify", "forward"].bytes == 2 * 3 * 8 * 8 * 4
    assert ("patchify", "backward") not in profiler.times  # images carry no gradient
    assert all(entry.seconds > 0 for entry in profiler.times.values())
    text = str(profiler)
    assert len(text.splitlines()) == len(profiler.times) + 2
    assert "qkv_attention" in text


class Sleeps(Op):
    """Waits and runs another op inside."""

    @staticmethod
    def forward(F, x, *, seconds):
        time.sleep(seconds)
        return apply(Inner, tensor(x)).data

    @staticmethod
    def backward(F, dy, saved, x, *, seconds):
        return (dy,)


class Inner(Op):
    @staticmethod
    def forward(F, x):
        time.sleep(0.05)
        return x

    @staticmethod
    def backward(F, dy, saved, x):
        return (dy,)


def test_time_inside_another_op_counts_once() -> None:
    with profile() as profiler:
        apply(Sleeps, tensor([1.0]), seconds=0.0)
    assert profiler.times["inner", "forward"].seconds >= 0.05
    assert profiler.times["sleeps", "forward"].seconds < profiler.times["inner", "forward"].seconds


def test_nothing_is_recorded_outside_the_block() -> None:
    with profile() as profiler:
        pass
    ops.exp(tensor([1.0]))
    assert profiler.times == {}
    assert "total" in str(profiler)


def test_arrays_of_the_host_need_no_waiting() -> None:
    _wait(np.ones(1))
    _wait(tensor([1.0]))
    _wait(None)


@pytest.mark.gpu
def test_a_gpu_is_waited_for() -> None:
    x = tensor(np.ones((2048, 2048), np.float32), device="cuda")
    x @ x  # the first call loads the library
    with profile() as profiler:
        for _ in range(5):
            x @ x
    assert profiler.times["matmul", "forward"].calls == 5
