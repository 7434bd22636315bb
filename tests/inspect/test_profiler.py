from types import SimpleNamespace

import numpy as np
import pytest

from minivit import nn, ops
from minivit.autograd import Op, apply, tensor
from minivit.inspect import layer_table, layer_times, profile, summarize
from minivit.inspect import profiler as profiler_module
from minivit.inspect.profile_table import OUTSIDE_A_LAYER
from minivit.models import VisionTransformer

TINY = {"image_size": 8, "patch_size": 4, "dim": 12, "depth": 3, "heads": 3, "mlp_dim": 8, "num_classes": 5}


def test_every_op_of_a_step_is_counted_in_both_directions() -> None:
    model = VisionTransformer(**TINY)
    with profile() as profiler:
        ops.cross_entropy(model(tensor(np.ones((2, 3, 8, 8), np.float32))), np.array([1, 2])).backward()
    assert profiler.times["mlp", "forward"].calls == profiler.times["mlp", "backward"].calls == 3
    assert profiler.times["layer_norm", "forward"].calls == 7
    assert profiler.times["patchify", "forward"].bytes == 2 * 3 * 8 * 8 * 4
    assert ("patchify", "backward") not in profiler.times  # images carry no gradient
    assert all(entry.seconds > 0 for entry in profiler.times.values())


def test_nothing_is_recorded_outside_the_block() -> None:
    with profile() as profiler:
        pass
    ops.exp(tensor([1.0]))
    assert profiler.times == {}
    assert "total" in str(profiler)


class Clock:
    """Stands still unless an op or a layer says that time has passed."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(profiler_module, "time", clock)
    return clock


class Slow(Op):
    """3 seconds forward, of them 1 in another op; 10 seconds backward."""

    @staticmethod
    def forward(F, x, *, clock):
        clock.now += 2.0
        apply(Second, tensor(x), clock=clock)
        return x * 1.0

    @staticmethod
    def backward(F, dy, saved, x, *, clock):
        clock.now += 10.0
        return (dy * 1.0,)


class Second(Op):
    @staticmethod
    def forward(F, x, *, clock):
        clock.now += 1.0
        return x * 1.0

    @staticmethod
    def backward(F, dy, saved, x, *, clock):
        return (dy,)


class Dawdles(nn.Module):
    """A layer with a slow op, and 100 seconds of Python before it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def forward(self, x):
        x = x * 2.0
        self.clock.now += 100.0
        return apply(Slow, x, clock=self.clock)


class Tower(nn.Module):
    def __init__(self, clock: Clock) -> None:
        self.blocks = [nn.Linear(3, 3), Dawdles(clock), nn.Linear(3, 3)]

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def test_a_slow_op_is_found_in_its_layer_and_the_parts_add_up(clock) -> None:
    model = Tower(clock)
    with profile() as profiler:
        clock.now += 1000.0
        loss = ops.sum(model(tensor(np.ones((2, 3), np.float32))))
        clock.now += 10_000.0
        loss.backward()
        clock.now += 100_000.0
    assert profiler.times["slow", "forward"].seconds == 2.0
    assert profiler.times["second", "forward"].seconds == 1.0
    assert profiler.outside == {"forward": 100.0, "backward": 10_000.0, "rest": 101_000.0}
    layers = {row.name: row for row in layer_times(profiler, model)}
    assert {name: (row.forward.seconds, row.backward.seconds) for name, row in layers.items()} == {
        "blocks.0": (0.0, 0.0),
        "blocks.1": (3.0, 10.0),
        "blocks.2": (0.0, 0.0),
        OUTSIDE_A_LAYER: (0.0, 0.0),
    }
    assert profiler.seconds == 111_113.0
    lines = str(profiler).splitlines()
    assert lines[2].split() == ["slow", "backward", "1", "10000.00", "0.0%", "0.00"]
    assert lines[-1].split() == ["total", "111113000.00", "100.0%"]


def test_the_parts_of_a_real_step_add_up_to_the_whole() -> None:
    model = VisionTransformer(**TINY, checkpoint_blocks=True)
    with profile() as profiler:
        ops.cross_entropy(model(tensor(np.ones((2, 3, 8, 8), np.float32))), np.array([1, 2])).backward()
    parts = profiler.total.seconds + sum(profiler.outside.values()) + profiler.own
    assert parts == pytest.approx(profiler.seconds, rel=1e-9)
    assert all(seconds >= 0 for seconds in (*profiler.outside.values(), profiler.own))


def test_what_a_checkpointed_block_runs_again_counts_in_its_layers() -> None:
    found = {}
    for checkpointed in (False, True):
        model = VisionTransformer(**TINY, checkpoint_blocks=checkpointed)
        with profile() as profiler:
            ops.cross_entropy(model(tensor(np.ones((2, 3, 8, 8), np.float32))), np.array([1, 2])).backward()
        rows = {row.name: row for row in layer_times(profiler, model)}
        found[checkpointed] = rows["blocks.2.attn.qkv"].forward, rows["blocks.2.attn.qkv"].backward
    assert found[True][0].calls == 2 * found[False][0].calls == 2
    assert found[True][0].multiply_adds == 2 * found[False][0].multiply_adds > 0
    assert found[True][1].calls == found[False][1].calls == 1


def test_layers_have_exact_products_and_bytes() -> None:
    B, N, D, M = 2, 5, 12, 8
    model = VisionTransformer(**TINY)
    with profile() as profiler:
        ops.cross_entropy(model(tensor(np.ones((B, 3, 8, 8), np.float32))), np.array([1, 2])).backward()
    rows = {row.name: row for row in layer_times(profiler, model)}
    qkv, attention, mlp = (rows[f"blocks.1.{name}"] for name in ("attn.qkv", "attn", "mlp"))
    assert (qkv.forward.calls, qkv.forward.multiply_adds) == (1, B * N * D * 3 * D)
    assert (qkv.backward.calls, qkv.backward.multiply_adds) == (1, 2 * B * N * D * 3 * D)
    assert qkv.forward.bytes == 4 * B * N * 3 * D
    assert qkv.backward.bytes == 4 * (B * N * D + 3 * D * D + 3 * D)
    assert (attention.forward.multiply_adds, attention.backward.multiply_adds) == (2 * B * N * N * D, 4 * B * N * N * D)
    assert (attention.forward.bytes, attention.backward.bytes) == (4 * B * N * D, 4 * B * N * 3 * D)
    assert (mlp.forward.multiply_adds, mlp.backward.multiply_adds) == (2 * B * N * D * M, 4 * B * N * D * M)
    assert mlp.backward.bytes == 4 * (B * N * D + 2 * D * M + D + M)
    patches = rows["patch_embed.proj"]  # images carry no gradient: of the two products of its backward one is made
    assert patches.forward.multiply_adds == B * (N - 1) * 3 * 4 * 4 * D == patches.backward.multiply_adds
    forward = sum(row.forward.multiply_adds for row in rows.values())
    assert forward == B * summarize(model).multiply_adds
    loss = rows[OUTSIDE_A_LAYER]  # the cross-entropies and their mean
    assert loss.forward.calls == loss.backward.calls == 2


def test_a_view_makes_no_bytes() -> None:
    x = tensor(np.ones((4, 6)), requires_grad=True)
    with profile() as profiler:
        (ops.sum(ops.transpose(x.reshape(6, 4), (1, 0)) + 1.0)).backward()
    made = {key: entry.bytes for key, entry in profiler.times.items()}
    assert made["reshape", "forward"] == made["transpose", "forward"] == made["sum", "backward"] == 0
    assert made["add_number", "forward"] == 4 * 6 * 8


def test_layers_are_told_apart_to_a_depth_and_taken_together() -> None:
    model = VisionTransformer(**TINY)
    with profile() as profiler:
        model(tensor(np.ones((2, 3, 8, 8), np.float32)))

    def names(**options) -> list[str]:
        return [row.name for row in layer_times(profiler, model, **options)]

    assert names(depth=1) == ["", "patch_embed", "blocks.0", "blocks.1", "blocks.2", "norm", "head"]
    assert names(depth=1, together=True) == ["", "patch_embed", "blocks.*", "norm", "head"]
    assert "blocks.2.attn" in names(depth=2)
    assert "blocks.2.attn.qkv" not in names(depth=2)
    rows = {row.name: row for row in layer_times(profiler, model, together=True)}
    assert rows["blocks.*.attn.qkv"].layers == rows["blocks.*.attn.qkv"].forward.calls == 3
    for options in ({}, {"depth": 1}, {"depth": 2, "together": True}):
        assert sum(row.both.calls for row in layer_times(profiler, model, **options)) == profiler.total.calls
    table = layer_table(layer_times(profiler, model, together=True), profiler.seconds).splitlines()
    assert table[0].split()[:2] == ["layer", "layers"]
    assert table[2].startswith("(the model itself)")
    assert len(table) == 2 + len(rows)
    with pytest.raises(ValueError, match="depth has to be at least 1, got 0"):
        layer_times(profiler, model, depth=0)


def test_a_device_is_waited_for_before_and_after_every_op_and_at_the_end(monkeypatch) -> None:
    waited = []
    monkeypatch.setattr(profiler_module, "backend_of", lambda _: SimpleNamespace(wait=lambda: waited.append(1)))
    x = tensor([1.0], requires_grad=True)
    with profile():
        ops.exp(x).backward()
    assert len(waited) == 2 * 2 + 1


@pytest.mark.gpu
def test_a_gpu_is_waited_for() -> None:
    x = tensor(np.ones((2048, 2048), np.float32), device="cuda")
    x @ x  # the first call loads the library
    with profile() as profiler:
        for _ in range(5):
            x @ x
    assert profiler.times["matmul", "forward"].calls == 5
