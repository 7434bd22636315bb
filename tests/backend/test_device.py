"""Which library and device an array belongs to, and how it gets to another: with the stand-in device array."""

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import standin

import minivit as mv
from minivit import nn, ops
from minivit.autograd.errors import DeviceError
from minivit.backend import (
    array_module,
    available_devices,
    backend_for_device,
    backend_of,
    device_of,
    is_on,
    move,
    to_host,
    use_device,
)
from minivit.backend import device as device_room


@pytest.fixture
def x() -> np.ndarray:
    return np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def on_second_device():
    use_device("standin:1")
    yield
    use_device("standin:0")


# Which library


def test_an_array_belongs_to_its_library(x):
    there = move(x, "standin")
    assert backend_of(x).name == backend_of(x.sum()).name == backend_of(x.view(np.recarray)).name == "cpu"
    assert backend_of(there) is backend_of(there.sum()) is standin.BACKEND
    assert array_module() is array_module(x) is np
    assert array_module(there, x) is standin.xp
    assert device_of(x) == "cpu"
    assert device_of(there) == "standin:0"


@pytest.mark.parametrize("value", [[1.0], 1.0, None, mv.tensor([1.0])])
def test_what_is_no_array_is_refused(value):
    with pytest.raises(TypeError, match=r"expected a NumPy or CuPy array, got .*convert it first"):
        backend_of(value)


# Moves


def test_a_move_copies_and_keeps_values_dtype_and_shape(x):
    for array in (x, x.astype(np.float64), x.astype(np.uint8), x > 2, np.float32(3.0) * np.ones(()), x[:0], x.T):
        there = move(array, "standin:1")
        assert device_of(there) == "standin:1"
        assert device_of(move(there, "standin:0")) == "standin:0"
        for back in (to_host(there), move(there, "cpu"), move(move(there, "standin:0"), "cpu")):
            assert type(back) is np.ndarray
            assert back.dtype == array.dtype
            np.testing.assert_array_equal(back, array)
            assert not np.shares_memory(back, array)


def test_what_is_there_already_stays(x):
    there = move(x, "standin")
    with standin.no_synchronisation():
        for device in ("standin", "standin:0"):
            assert is_on(there, device)
            assert move(there, device) is there
    assert move(x, "cpu") is x
    assert not is_on(there, "standin:1")
    assert not is_on(there, "cpu")


def test_a_thread_computes_on_the_device_it_uses(x, on_second_device):
    there = move(x, "standin:1")
    assert device_of(there * 2) == device_of(standin.xp.zeros(3)) == "standin:1"
    use_device("standin:0")
    with pytest.raises(ValueError, match="current device"):
        there * 2
    use_device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "standin:first", "", ":0"])
def test_an_unknown_device_is_named(device):
    for ask in (backend_for_device, use_device, lambda device: move(np.ones(3), device)):
        with pytest.raises(ValueError, match=rf'unknown device {device!r}; expected "cpu", "cuda" or "cuda:<index>"'):
            ask(device)


# CuPy, played by the stand-in


@pytest.fixture
def forgotten(monkeypatch):
    """The room as it was before any backend but NumPy's was asked for."""
    monkeypatch.setattr(device_room, "_BACKENDS", {np.ndarray: backend_for_device("cpu")})
    device_room._cupy_backend.cache_clear()
    yield
    device_room._cupy_backend.cache_clear()


@pytest.fixture
def cupy(forgotten, monkeypatch):
    """A module `cupy` with two GPUs."""
    runtime = SimpleNamespace(getDeviceCount=lambda: 2)
    module = SimpleNamespace(
        ndarray=standin.StandInArray,
        asarray=standin.xp.asarray,
        asnumpy=standin.xp.asnumpy,
        cuda=SimpleNamespace(Device=standin.Device, is_available=lambda: True, runtime=runtime),
    )
    used = "array ascontiguousarray exp log sqrt sin cos tanh maximum reshape transpose broadcast_to concatenate stack"
    for name in [*used.split(), "zeros_like", "ones_like"]:
        setattr(module, name, getattr(standin.xp, name))
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cupyx.scipy", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cupyx.scipy.special", SimpleNamespace(erf=standin.BACKEND.erf))
    monkeypatch.setattr(standin.StandInArray, "__module__", "cupy")
    return module


def test_cuda_means_cupy(cupy, x):
    there = move(x, "cuda:1")
    assert device_of(there) == "cuda:1"
    assert device_of(move(x, "cuda")) == "cuda:0"
    np.testing.assert_array_equal(move(there, "cpu"), x)
    assert backend_for_device("cuda").module is cupy
    assert available_devices() == ["cpu", "cuda:0", "cuda:1"]
    tensor = mv.tensor(x, requires_grad=True, device="cuda")
    ops.erf(tensor).backward(tensor)
    assert device_of(tensor.grad) == tensor.device == "cuda:0"
    use_device("cuda:1")
    assert device_of(there + there) == "cuda:1"
    use_device("cuda:0")


def test_a_cupy_array_that_the_user_made_is_known_at_sight(cupy, x):
    assert device_of(cupy.asarray(x)) == "cuda:0"


def test_a_gpu_that_is_not_there_is_named(cupy):
    with pytest.raises(ValueError, match=r"unknown device 'cuda:2': CuPy finds 2 GPU\(s\), cuda:0 to cuda:1"):
        backend_for_device("cuda:2")


def test_cupy_without_a_gpu(cupy, x):
    cupy.cuda.is_available = lambda: False
    with pytest.raises(RuntimeError, match='CuPy is installed but finds no usable GPU; use device="cpu"'):
        move(x, "cuda")
    assert available_devices() == ["cpu"]


def test_no_cupy(forgotten, monkeypatch, x):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(RuntimeError, match=r'needs CuPy, which is not installed; pip install "minivit\[cuda12\]"'):
        mv.tensor(x, device="cuda")
    assert available_devices() == ["cpu"]


# Tensors


def test_a_tensor_is_made_on_a_device(x):
    for data in (x, x.tolist(), 3.0, mv.tensor(x), move(x, "standin")):
        tensor = mv.tensor(data, device="standin")
        assert tensor.device == "standin:0"
        assert tensor.dtype == np.float32
    assert mv.tensor(move(x, "standin")).device == "standin:0"
    assert mv.tensor(move(x, "standin"), device="cpu").device == "cpu"
    assert mv.tensor(x, dtype=np.float64, device="standin").dtype == np.float64


def test_the_values_come_back(x):
    tensor = mv.tensor(x, device="standin")
    np.testing.assert_array_equal(tensor.numpy(), x)
    assert tensor.tolist() == x.tolist()
    assert tensor[1, 2].item() == float(tensor[1, 2]) == 5.0
    assert "device='standin:0'" in repr(tensor)
    with pytest.raises(TypeError, match=r"on standin:0; use tensor.numpy\(\)"):
        np.asarray(tensor)
    with pytest.raises(TypeError):
        np.exp(tensor)


def test_an_array_that_went_into_a_tensor_can_be_written_into(x):
    there = move(x, "standin")
    tensor = mv.tensor(there)
    there += 1.0
    np.testing.assert_array_equal(tensor.numpy(), x)


def test_a_gradient_travels_back_with_one_copy_each_way(x):
    tensor = mv.tensor(x, requires_grad=True)
    with standin.watch() as seen:
        there = tensor.to("standin")
        assert there.to("standin") is there
        loss = (there * there).sum()
    assert (len(seen.uploads), len(seen.synchronisations)) == (1, 0)
    loss.backward()
    assert type(tensor.grad) is np.ndarray
    np.testing.assert_array_equal(tensor.grad, 2 * x)


def test_a_move_can_be_differentiated_twice(x):
    tensor = mv.tensor(x, requires_grad=True)
    back = (tensor.to("standin") ** 3).to("cpu")
    gradient = mv.grad(back.sum(), tensor, create_graph=True)
    assert gradient.device == "cpu"
    np.testing.assert_array_equal(mv.grad(gradient.sum(), tensor).numpy(), 6 * x)


def test_a_leaf_on_the_device_gets_its_gradient_there(x):
    tensor = mv.tensor(x, requires_grad=True, device="standin")
    (tensor.to("cpu") * 2.0).sum().backward()
    assert device_of(tensor.grad) == "standin:0"
    assert to_host(tensor.grad).tolist() == [[2.0] * 3] * 2


MIXED = {
    "operator": lambda here, there: there + here,
    "reflected": lambda here, there: here.data * there,
    "matmul": lambda here, there: ops.matmul(here.T, there),
    "linear": ops.linear,
    "concatenate": lambda here, there: ops.concatenate([here, there]),
    "where": lambda here, there: ops.where(here > 1, there, 0.0),
    "mask": lambda here, there: ops.dropout(there, here, 0.5),
    "comparison": lambda here, there: there < here,
    "equality": lambda here, there: there == here.data,
    "index": lambda here, there: there[mv.tensor([1, 0])],
    "index array": lambda here, there: there[:, np.array([0, 2])],
    "place": lambda here, there: ops.place(there, np.array([0, 2]), (5, 3)),
    "labels": lambda here, there: ops.cross_entropy(there, np.array([0, 2])),
    "probabilities": lambda here, there: ops.cross_entropy(there, here),
    "weights": lambda here, there: ops.cross_entropy(there, move(np.array([0, 2]), "standin"), 0.0, np.ones(2, "f4")),
    "attention mask": lambda here, there: ops.attention(there, there, there, np.ones((2, 2), bool)),
    "squared error": lambda here, there: ops.mse_loss(here, there),
    "kl": lambda here, there: ops.kl_divergence(target_logits=here, pred_logits=there),
    "two of one kind": lambda here, there: there + mv.tensor(here, device="standin:1"),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixing_devices_raises_and_names_them(name, x):
    here, there = mv.tensor(x), mv.tensor(x, requires_grad=True, device="standin")
    with standin.watch() as seen, pytest.raises(DeviceError) as caught:
        MIXED[name](here, there)
    message = str(caught.value)
    assert "on standin:0" in message
    assert "on standin:1" in message if name == "two of one kind" else "on cpu" in message
    assert "test_device.py" in message
    assert "tensor.to(device)" in message
    assert not seen.synchronisations


def test_a_gradient_has_to_come_from_the_same_device(x):
    there = mv.tensor(x, requires_grad=True, device="standin")
    with pytest.raises(DeviceError, match=r"backward needs all operands on one device, .* on standin:0, .* on cpu"):
        (there * 2.0).backward(x)


# Modules


def test_a_module_moves_with_its_gradients_and_its_state(x):
    layer = nn.Linear(3, 4, generator=np.random.default_rng(0))
    before = layer.state_dict()
    layer(mv.tensor(x)).sum().backward()
    gradient = layer.weight.grad.copy()
    assert layer.to("standin") is layer
    assert {p.device for p in layer.parameters()} == {layer.device} == {"standin:0"}
    np.testing.assert_array_equal(to_host(layer.weight.grad), gradient)
    for name, array in layer.state_dict().items():
        assert type(array) is np.ndarray
        np.testing.assert_array_equal(array, before[name])
    layer.load_state_dict({name: array + 1.0 for name, array in before.items()})
    np.testing.assert_array_equal(to_host(layer.weight.data), before["weight"] + 1.0)
    assert layer(mv.tensor(x, device="standin")).device == "standin:0"
    with pytest.raises(DeviceError):
        layer(mv.tensor(x))


def test_an_optimiser_follows_its_module_to_another_device(x):
    def trained(device_of_step) -> dict[str, np.ndarray]:
        layer = nn.Linear(3, 4, generator=np.random.default_rng(0))
        optimizer = mv.optim.AdamW(layer, 0.1)
        for step in range(4):
            device = device_of_step(step)
            layer.to(device)
            optimizer.zero_grad()
            loss = ops.sum(layer(mv.tensor(x, device=device)) ** 2)
            loss.backward()
            optimizer.step()
        return layer.state_dict()

    expected = trained(lambda _: "cpu")
    for journey in (lambda step: "standin", lambda step: "cpu" if step < 2 else "standin"):
        for name, array in trained(journey).items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-6)
