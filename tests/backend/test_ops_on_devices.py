"""Every op on the stand-in, and on a GPU where there is one: as on NumPy, and without waiting for the device."""

import ast
from pathlib import Path

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched
from op_cases import CASES, Case

import minivit as mv
from minivit import ops
from minivit.autograd import Hook, hooked
from minivit.autograd.errors import DeviceError
from minivit.backend import array_module, device_of, kernels_disabled, move


def run(case: Case, device: str, dtype: type) -> list:
    """Output, gradients by both walks, and second-order gradients of an op."""
    tensors, function = case.tensors(device, dtype), case.on(device)
    wanted = [x for x in tensors if x is not None and x.requires_grad]
    with watched("cpu" if case.waits else device):
        output = function(*tensors)
    if output.dtype.kind != "f" or not wanted:
        return [output.data]
    rng = np.random.default_rng(3)
    cotangent = mv.tensor(rng.standard_normal(output.shape).astype(output.dtype), device=device)
    directions = [mv.tensor(rng.standard_normal(x.shape).astype(x.dtype), device=device) for x in wanted]
    with watched("cpu" if case.waits else device):
        output.backward(cotangent)
        gradients = mv.grad(function(*tensors), wanted, cotangent, create_graph=True)
        slope = sum((ops.sum(g * d) for g, d in zip(gradients, directions, strict=True)), start=0.0)
        seconds = mv.grad(slope, wanted, allow_unused=True) if slope.requires_grad else ()
    return [
        output.data,
        *(x.grad for x in wanted),
        *(g.data for g in gradients),
        *(None if s is None else s.data for s in seconds),
    ]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_op_is_the_same_as_on_numpy_and_never_waits(case, dtype, device):
    with kernels_disabled():
        expected = run(case, "cpu", dtype)
    found = run(case, device, dtype)
    assert len(found) == len(expected)
    for mine, reference in zip(found, expected, strict=True):
        assert (mine is None) == (reference is None)
        if mine is not None:
            assert device_of(mine) == f"{device}:0"
            assert_same(mine, reference, device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_boolean_mask_selects(device):
    """It has to wait (the shape depends on the values), and works all the same."""
    x = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    tensor = mv.tensor(x, requires_grad=True, device=device)
    picked = tensor[tensor > 0]
    assert_same(picked.data, x[x > 0], device)
    (picked * picked).sum().backward()
    assert_same(tensor.grad, np.where(x > 0, 2 * x, 0), device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_tensor_goes_there_and_back(device):
    x = np.random.default_rng(0).standard_normal((3, 4))
    for dtype in (np.float16, np.float32, np.float64, np.int64, np.uint8, np.bool_, np.complex128):
        here = mv.tensor(x.astype(dtype))
        there = here.to(device)
        assert there.device == f"{device}:0"
        assert there.to(device) is there
        back = there.to("cpu")
        assert back.dtype == dtype
        np.testing.assert_array_equal(back.numpy(), here.numpy())
        np.testing.assert_array_equal(there.numpy(), here.numpy())
    leaf = mv.tensor(x, requires_grad=True)
    (leaf.to(device) * 3.0).to("cpu").sum().backward()
    np.testing.assert_array_equal(leaf.grad, np.full((3, 4), 3.0))


@pytest.mark.parametrize("device", DEVICES)
def test_mixing_devices_raises(device):
    here, there = mv.tensor(np.ones((2, 2))), mv.tensor(np.ones((2, 2)), device=device)
    for mix in (
        lambda: here + there,
        lambda: there @ here.data,
        lambda: there < here,
        lambda: there[np.array([0, 1])],
        lambda: ops.cross_entropy(there, np.array([0, 1])),
    ):
        with pytest.raises(DeviceError, match=f"on {device}:0"):
            mix()


@pytest.mark.parametrize("device", DEVICES)
def test_values_leave_through_dlpack_without_a_copy(device):
    array = move(np.arange(6.0), device)
    tensor = mv.Tensor(array)
    twin = array_module(array).from_dlpack(tensor)
    array += 1.0
    assert_same(twin, np.arange(6.0) + 1.0, device)


def test_every_public_op_has_a_case():
    assert set(ops.__all__) <= {case.name.partition("-")[0] for case in CASES}


def test_every_op_class_runs_in_some_case():
    ran = set()

    class Names(Hook):
        def after_forward(self, op, inputs, output, attributes):
            ran.add(op.__name__)

    with hooked(Names()):
        for case in CASES:
            case.on("cpu")(*case.tensors())
            with mv.unrolled():
                case.on("cpu")(*case.tensors())
    classes = {
        node.name
        for path in Path(ops.__file__).parent.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Op" for base in node.bases)
    }
    assert len(classes) > 30
    assert classes - {"SumTo"} <= ran  # SumTo comes up in backwards alone
