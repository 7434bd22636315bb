"""Convolution by CUDA, held to the op's text: on the CPU, by compiling the same source for it, and on a GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cuda_on_cpu
import numpy as np
import pytest
import standin
from devices import watched
from op_cases import CASES

import minivit as mv
from minivit import ops
from minivit.backend import backend_of, device_of, kernels_disabled, move, to_host
from minivit.backend.cuda import KERNELS, conv2d, launch
from minivit.ops.conv2d import Conv2d

KERNEL = KERNELS["conv2d"]
SOURCE = Path(conv2d.__file__).with_name("conv2d.cu")
TOLERANCE = {np.float32: 4e-6, np.float64: 1e-13}  # relative to the largest entry
ALL = (True, True, True)


def made(rng: np.random.Generator, shape: tuple, weight_shape: tuple, dtype: type) -> list[np.ndarray]:
    return [rng.standard_normal(s).astype(dtype) for s in (shape, weight_shape, weight_shape[:1])]


def of_the_text(arrays: list, dy: np.ndarray, **attributes: Any) -> list[np.ndarray]:
    """Output and gradients by the op's text, in float64."""
    x, weight, bias, dy = (None if a is None else to_host(a).astype(np.float64) for a in (*arrays, dy))
    F = backend_of(x).F
    wanted = (True, True, bias is not None)
    gradients = Conv2d.backward(F, dy, None, x, weight, bias, wanted=wanted, **attributes)
    return [Conv2d.forward(F, x, weight, bias, **attributes), *gradients]


def of_the_kernel(arrays: list, dy: Any, **attributes: Any) -> list:
    assert KERNEL.accepts(*arrays, **attributes)
    y, saved = KERNEL.forward(*arrays, **attributes)
    wanted = (True, True, arrays[2] is not None)
    return [y, *KERNEL.backward(dy, saved, *arrays, wanted=wanted, **attributes)]


def assert_close(found: Any, expected: np.ndarray, dtype: type, what: str) -> None:
    assert found.dtype == dtype
    assert found.shape == expected.shape
    atol = TOLERANCE[dtype] * np.abs(expected).max()
    np.testing.assert_allclose(to_host(found), expected, rtol=0, atol=atol, err_msg=what)


def check(rng, device, dtype, shape, weight_shape, with_bias=True, **attributes) -> None:
    """Output and gradients as by the text; inputs and cotangent left alone."""
    host = made(rng, shape, weight_shape, dtype)
    if not with_bias:
        host[2] = None
    arrays = [None if a is None else move(a, device) for a in host]
    rows, columns = conv2d.output_size(*host[:2], **attributes)
    dy = rng.standard_normal((shape[0], weight_shape[0], rows, columns)).astype(dtype)
    there = move(dy, device)
    found = of_the_kernel(arrays, there, **attributes)
    expected = of_the_text(host, dy, **attributes)
    for name, mine, reference in zip(["y", "dx", "dweight", "dbias"], found, expected, strict=True):
        assert (mine is None) == (reference is None)
        if mine is not None:
            assert_close(mine, reference, dtype, name)
    for array, before in zip([*arrays, there], [*host, dy], strict=True):
        if array is not None:
            np.testing.assert_array_equal(to_host(array), before)


SHAPES = [
    ((2, 3, 6, 5), (4, 3, 3, 3), (1, 1), (1, 1)),
    ((2, 3, 6, 5), (4, 3, 3, 3), (1, 1), (0, 0)),
    ((2, 3, 6, 5), (4, 3, 3, 3), (1, 1), (4, 3)),  # more padding than the kernel reaches
    ((1, 3, 11, 13), (66, 3, 3, 3), (1, 1), (1, 2)),  # one row of tiles and a little; one image
    ((1, 70, 9, 8), (5, 70, 3, 3), (1, 1), (1, 1)),  # the same for the channels
    ((3, 2, 20, 17), (3, 2, 3, 3), (1, 1), (1, 1)),  # the weight's gradient in parts, the last one shorter
    ((2, 3, 7, 8), (4, 3, 3, 3), (2, 2), (1, 1)),  # last rows and columns left over or not
    ((2, 3, 8, 7), (4, 3, 3, 3), (2, 2), (0, 0)),
    ((2, 3, 6, 5), (4, 3, 1, 1), (1, 1), (0, 0)),
    ((5, 17, 8, 8), (65, 17, 1, 1), (1, 1), (0, 0)),  # tiles and terms that end where nothing else does
    ((2, 3, 6, 5), (4, 3, 1, 1), (2, 2), (0, 0)),  # pixels that no window meets
    ((2, 3, 6, 5), (4, 3, 1, 1), (2, 2), (1, 1)),
    ((2, 3, 8, 7), (4, 3, 2, 3), (3, 2), (0, 1)),  # nothing square
    ((3, 2, 8, 8), (5, 2, 4, 4), (4, 4), (0, 0)),  # patches
    ((2, 2, 15, 14), (3, 2, 7, 7), (2, 2), (3, 3)),  # ResNet's first
    ((2, 2, 11, 10), (3, 2, 5, 4), (3, 3), (2, 1)),
    ((2, 3, 6, 5), (4, 3, 6, 5), (1, 1), (0, 0)),  # one window
    ((2, 2, 1, 1), (3, 2, 3, 3), (3, 1), (1, 1)),  # phases without a pixel
]
IN_FLOAT32 = [SHAPES[number] for number in (0, 3, 5, 7, 9)]


@pytest.mark.parametrize(("shape", "weight_shape", "stride", "padding"), SHAPES)
def test_the_kernel_is_the_text_in_float64(rng, device, shape, weight_shape, stride, padding):
    check(rng, device, np.float64, shape, weight_shape, stride=stride, padding=padding)


@pytest.mark.parametrize(("shape", "weight_shape", "stride", "padding"), IN_FLOAT32)
def test_the_kernel_is_the_text_in_float32(rng, device, shape, weight_shape, stride, padding):
    check(rng, device, np.float32, shape, weight_shape, stride=stride, padding=padding)


def test_a_bias_may_be_left_out(rng, device):
    check(rng, device, np.float64, (2, 3, 6, 5), (4, 3, 3, 3), with_bias=False, stride=(1, 1), padding=(1, 1))


def test_arrays_need_not_be_contiguous(rng, device):
    x, weight, _ = (move(a, device) for a in made(rng, (2, 6, 3, 5), (3, 4, 3, 3), np.float64))
    arrays = [x.transpose(0, 2, 1, 3)[..., ::-1], weight.transpose(1, 0, 2, 3), move(np.ones(8), device)[::2]]
    dy = move(rng.standard_normal((6, 5, 2, 4)), device).transpose(2, 3, 0, 1)  # (2, 4, 6, 5)
    attributes = {"stride": (1, 1), "padding": (1, 1)}
    expected = of_the_text([to_host(a) for a in arrays], to_host(dy), **attributes)
    for mine, reference in zip(of_the_kernel(arrays, dy, **attributes), expected, strict=True):
        assert_close(mine, reference, np.float64, "")


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_the_wanted_gradients_are_computed(rng, device, wanted):
    arrays = [move(a, device) for a in made(rng, (2, 3, 6, 5), (4, 3, 3, 3), np.float64)]
    dy = move(rng.standard_normal((2, 4, 6, 5)), device)
    gradients = KERNEL.backward(dy, None, *arrays, wanted=wanted, stride=(1, 1), padding=(1, 1))
    assert tuple(gradient is not None for gradient in gradients) == wanted


def test_two_runs_agree_to_the_bit(rng, device):
    arrays = [move(a, device) for a in made(rng, (3, 2, 20, 17), (3, 2, 3, 3), np.float32)]
    dy = move(rng.standard_normal((3, 3, 20, 17)).astype(np.float32), device)
    first, second = (of_the_kernel(arrays, dy, stride=(1, 1), padding=(1, 1)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(to_host(one), to_host(other))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("__syncthreads();   // the tiles are complete", ""),
        ("__syncthreads();   // nobody reads them any more", ""),
        ("k / KW % KH, k % KW}; }\n\n    __device__ Column", "k % KH, k % KW}; }\n\n    __device__ Column"),
        ("const int r = n.q - k.u", "const int r = n.q + k.u"),
        ("min(B * R * T - first, part)", "B * R * T - first"),
    ],
    ids=["a tile is read early", "a tile is written early", "a tap", "a row", "parts overlap"],
)
def test_a_mistake_planted_in_the_source_is_found(rng, on_cpu, monkeypatch, right, wrong):
    code = SOURCE.read_text(encoding="utf-8")
    assert code.count(right) == 1
    monkeypatch.setattr(launch, "_text", lambda _: code.replace(right, wrong))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(rng, "standin", np.float64, (3, 2, 20, 17), (3, 2, 3, 3), stride=(1, 1), padding=(1, 1))


def test_arrays_may_be_larger_than_32_bits_count(rng, on_cpu, tmp_path):
    """Three images of 10^9 numbers, of which a great stride reads few: a file with holes."""
    x = np.asarray(np.memmap(tmp_path / "x", np.float32, "w+", shape=(3, 16, 8000, 8000)))
    read = rng.standard_normal((3, 16, 2, 2)).astype(np.float32)
    x[:, :, ::4000, ::4000] = read
    weight = rng.standard_normal((2, 16, 1, 1)).astype(np.float32)
    arrays = [standin.StandInArray(x, 0), move(weight, "standin"), None]
    attributes = {"stride": (4000, 4000), "padding": (0, 0)}
    assert x.size > 2**31
    assert KERNEL.accepts(*arrays, stride=(1, 1), padding=(0, 0))
    y, _ = KERNEL.forward(*arrays, **attributes)
    assert_close(y, np.einsum("bchw,oc->bohw", read, weight[:, :, 0, 0]), np.float32, "y")
    dweight = KERNEL.backward(y, None, *arrays, wanted=(False, True, False), **attributes)[1]
    assert_close(dweight[..., 0, 0], np.einsum("bohw,bchw->oc", to_host(y), read), np.float32, "dweight")


# The op, end to end


@pytest.mark.parametrize("case", [case for case in CASES if case.name.startswith("conv2d-")], ids=str)
def test_the_op_with_its_kernel_is_the_op_with_its_text(rng, device, case):
    tensors = case.tensors(device)
    wanted = [x for x in tensors if x is not None and x.requires_grad]

    def run(cotangent):
        y = case.on(device)(*tensors)
        first = mv.grad(y, wanted, cotangent)
        composed = mv.grad(case.on(device)(*tensors), wanted, cotangent, create_graph=True)
        slope = sum((ops.sum(g * g) for g in composed), start=0.0)
        return [y, *first, *composed, *mv.grad(slope, wanted[:2])]  # which is linear in the bias

    cotangent = mv.tensor(rng.standard_normal(case.on(device)(*tensors).shape), device=device)
    with watched(device):
        found = run(cotangent)
    with kernels_disabled():
        expected = run(cotangent)
    for mine, reference in zip(found, expected, strict=True):
        assert mine.device == f"{device}:0"
        assert_close(mine.data, reference.numpy(), np.float64, str(case))


def test_a_small_network_takes_its_steps_through_the_kernel(rng, on_cpu):
    """Two convolutions and a cross-entropy: a gradient step on the stand-in is the one on the CPU."""
    weights = [rng.standard_normal(s).astype(np.float32) / 5 for s in [(8, 3, 3, 3), (8,), (4, 8, 1, 1), (4,)]]
    images, labels = rng.standard_normal((3, 3, 8, 8)).astype(np.float32), np.array([2, 0, 3])
    left = []
    for where in ("cpu", "standin"):
        parameters = [mv.tensor(w, requires_grad=True, device=where) for w in weights]
        batch, targets = mv.tensor(images, device=where), mv.tensor(labels, device=where)
        with watched(where):
            hidden = ops.relu(ops.conv2d(batch, parameters[0], parameters[1], padding=1))
            logits = ops.mean(ops.conv2d(hidden, parameters[2], parameters[3], stride=2), (2, 3))
            loss = ops.cross_entropy(logits, targets)
            loss.backward()
        left.append([loss.data, *(p.grad for p in parameters)])
    assert {launch.name for launch in on_cpu.launches} >= {
        "conv2d_forward",
        "conv2d_input_gradient",
        "conv2d_weight_gradient",
    }
    for expected, found in zip(*left, strict=True):
        assert_close(found, expected, np.float32, "")


def test_results_lie_on_the_device_of_the_arrays(rng, on_cpu):
    arrays = [move(a, "standin:1") for a in made(rng, (2, 3, 6, 5), (4, 3, 3, 3), np.float64)]
    y, _ = KERNEL.forward(*arrays, stride=(1, 1), padding=(1, 1))
    gradients = KERNEL.backward(y, None, *arrays, wanted=ALL, stride=(1, 1), padding=(1, 1))
    assert {device_of(array) for array in (y, *gradients)} == {"standin:1"}


# Launches


def test_grids_blocks_and_arguments(recorded):
    x, weight, bias = (move(np.zeros(s, np.float32), "standin") for s in [(2, 70, 20, 20), (130, 70, 3, 3), (130,)])
    y, _ = KERNEL.forward(x, weight, bias, stride=(1, 1), padding=(1, 1))
    KERNEL.backward(y, None, x, weight, bias, wanted=ALL, stride=(1, 1), padding=(1, 1))
    assert [(launch.name, launch.grid) for launch in recorded.launches] == [
        ("conv2d_forward", (13, 3, 1)),  # 800 pixels, 130 outputs
        ("conv2d_input_gradient", (13, 2, 1)),  # 800 pixels, 70 channels
        ("conv2d_weight_gradient", (10, 3, 3)),  # 630 columns, 130 outputs, 3 parts of 272 pixels
        ("conv2d_add_parts", (320, 1, 1)),  # 81900 weights, 256 a block
    ]
    assert {launch.block for launch in recorded.launches} == {(256, 1, 1)}
    assert {launch.options for launch in recorded.launches} == {
        ("-DREAL=float", "-DKH=3", "-DKW=3", "-DSH=1", "-DSW=1")
    }
    sizes = (2, 70, 20, 20, 130, 20, 20, 1, 1)
    forward, dx, dweight, add = (launch.arguments for launch in recorded.launches)
    assert forward[:3] == (x, weight, bias)
    assert forward[3:4] + forward[5:] == (1, *sizes)
    assert dx[1] is weight
    assert dx[3:] == sizes
    assert dweight[0] is x
    assert dweight[3:] == (272, *sizes)
    assert dweight[2].shape == (3, *weight.shape)
    assert add[0] is dweight[2]
    assert add[2:] == (3, 81900)


def test_a_stride_has_a_layer_of_the_grid_for_each_phase(recorded):
    x, weight = (move(np.zeros(s), "standin") for s in [(2, 3, 9, 8), (4, 3, 3, 3)])
    y, _ = KERNEL.forward(x, weight, None, stride=(2, 3), padding=(1, 0))
    KERNEL.backward(y, None, x, weight, None, wanted=(True, False, False), stride=(2, 3), padding=(1, 0))
    forward, dx = recorded.launches
    assert dx.grid == (1, 1, 6)
    assert forward.arguments[3] == 0  # no bias
    assert forward.options == ("-DREAL=double", "-DKH=3", "-DKW=3", "-DSH=2", "-DSW=3")


def test_a_function_is_made_once_for_the_same_options(recorded):
    for dtype in (np.float32, np.float64, np.float32):
        x, weight = (move(np.zeros(s, dtype), "standin") for s in [(1, 1, 4, 4), (1, 1, 3, 3)])
        KERNEL.forward(x, weight, None, stride=(1, 1), padding=(0, 0))
    assert recorded.made == ["conv2d_forward", "conv2d_forward"]


@pytest.mark.parametrize("terms", [1, 16, 255, 256, 512, 1000, 4097, 401_408, 2**31 - 1024])
@pytest.mark.parametrize("tiles", [1, 7, 100, 511, 512, 513, 4000])
def test_parts_cover_the_sum_and_take_bounded_memory(terms, tiles):
    count, part = conv2d.parts_of(terms, tiles)
    assert part % conv2d.DEPTH == 0
    assert (count - 1) * part < terms <= count * part
    assert count == 1 or part >= conv2d.SHORTEST_PART
    assert count * tiles < conv2d.BLOCKS + tiles


def test_python_and_cuda_agree_on_the_tile():
    source = SOURCE.read_text(encoding="utf-8")
    for name in ("TILE", "DEPTH", "THREADS"):
        assert int(re.search(rf"^    {name} = (\d+),", source, re.MULTILINE)[1]) == getattr(conv2d, name)


# What it takes


def array(*shape: int, dtype: Any = np.float32) -> Any:
    return SimpleNamespace(shape=shape, dtype=np.dtype(dtype), size=int(np.prod(shape, dtype=object)))


@pytest.mark.parametrize(
    ("x", "weight", "attributes", "taken"),
    [
        (array(8, 3, 32, 32), array(64, 3, 3, 3), {}, True),
        (array(8, 3, 32, 32, dtype=np.float64), array(64, 3, 3, 3, dtype=np.float64), {}, True),
        (array(8, 3, 32, 32, dtype=np.float16), array(64, 3, 3, 3, dtype=np.float16), {}, False),
        (array(8, 3, 32, 32, dtype=np.complex64), array(64, 3, 3, 3, dtype=np.complex64), {}, False),
        (array(8, 3, 32, 32), array(64, 3, 3, 3, dtype=np.float64), {}, False),
        (array(0, 3, 32, 32), array(64, 3, 3, 3), {}, False),
        (array(8, 0, 32, 32), array(64, 0, 3, 3), {}, False),
        (array(8, 3, 32, 32), array(0, 3, 3, 3), {}, False),
        (array(4096, 64, 128, 128), array(64, 64, 3, 3), {}, True),  # 2^32 numbers, 2^26 pixels
        (array(2**17, 1, 128, 128), array(1, 1, 3, 3), {}, False),  # 2^31 pixels
        (array(2, 2**15, 256, 256), array(1, 2**15, 1, 1), {}, False),  # an image of 2^31 numbers
        (array(2, 1, 256, 256), array(2**15, 1, 1, 1), {}, False),  # an output of 2^31 numbers
        (array(2, 2**14, 8, 8), array(2**14, 2**14, 3, 3), {}, False),  # more weights
        (array(1, 1, 512, 512), array(1, 1, 1, 1), {"stride": (256, 256)}, False),  # 2^16 phases
        (array(1, 1, 1, 1), array(2**22, 1, 1, 1), {}, False),  # 2^16 rows of tiles
        (array(1, 1, 1, 1), array(1, 1, 1, 1), {"padding": (2**30, 0), "stride": (2**31, 1)}, False),
    ],
)
def test_what_the_kernel_takes(x, weight, attributes, taken):
    options = {"stride": (1, 1), "padding": (0, 0)} | attributes
    assert conv2d.accepts(x, weight, array(weight.shape[0], dtype=weight.dtype), **options) is taken


def test_what_the_kernel_does_not_take_goes_through_the_text(recorded):
    ops.conv2d(
        mv.tensor(np.ones((0, 3, 4, 4), np.float32), device="standin"),
        mv.tensor(np.ones((2, 3, 3, 3), np.float32), device="standin"),
    )
    assert recorded.launches == []


def test_kernels_can_be_switched_off(recorded):
    x, weight = (mv.tensor(np.ones(s, np.float32), device="standin") for s in [(1, 3, 4, 4), (2, 3, 3, 3)])
    with kernels_disabled():
        ops.conv2d(x, weight)
    assert recorded.launches == []
    ops.conv2d(x, weight)
    assert len(recorded.launches) == 1


# Accesses out of bounds

RUN_UNDER_SANITIZER = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
import numpy as np, standin, cuda_on_cpu
from minivit.backend import move
from minivit.backend.cuda import conv2d
vars(standin.xp)["RawKernel"] = cuda_on_cpu.in_folder(Path({folder!r}), "-fsanitize=address")
one_more = {one_more!r}
if one_more:
    right = conv2d.Sizes.__init__
    def wrong(self, *arguments):
        right(self, *arguments)
        numbers = list(self.arguments)
        numbers["BCHWORT".index(one_more)] += 1
        self.arguments = tuple(numbers)
    conv2d.Sizes.__init__ = wrong
for shape, weight_shape, stride, padding in {shapes!r}:
    x, weight, bias = (move(np.ones(s, np.float32), "standin") for s in (shape, weight_shape, weight_shape[:1]))
    y, _ = conv2d.forward(x, weight, bias, stride=stride, padding=padding)
    conv2d.backward(y, None, x, weight, bias, wanted=(True, True, True), stride=stride, padding=padding)
print("done")
"""


def run_under_sanitizer(folder: Path, shapes: list, one_more: str = "") -> subprocess.CompletedProcess:
    """Forward and backward with every access to memory watched, in a process of its own."""
    found = subprocess.run(
        [cuda_on_cpu.COMPILER or "g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    library = Path(found.stdout.strip())
    if not library.is_absolute():
        pytest.skip("this g++ has no AddressSanitizer")
    paths = [str(Path(mv.__file__).parents[1]), str(Path(standin.__file__).parent)]
    code = RUN_UNDER_SANITIZER.format(paths=paths, folder=str(folder), shapes=shapes, one_more=one_more)
    options = {"LD_PRELOAD": str(library), "ASAN_OPTIONS": "detect_leaks=0:redzone=512", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | options, capture_output=True, text=True, check=False
    )


def test_no_access_is_out_of_bounds(on_cpu, build_folder):
    run = run_under_sanitizer(build_folder, [SHAPES[number] for number in (2, 4, 5, 6, 12)])
    assert run.returncode == 0, run.stderr
    assert run.stdout == "done\n"


@pytest.mark.parametrize("one_more", "BO")
def test_an_access_out_of_bounds_is_found(on_cpu, build_folder, one_more):
    """The check above can fail: sizes that are one too large."""
    run = run_under_sanitizer(build_folder, [SHAPES[2]], one_more)
    assert run.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in run.stderr
