"""`F`, the namespace of an op's text: every function against plain NumPy, on NumPy and on the stand-in device array."""

import math

import numpy as np
import pytest
import standin
from hypothesis import given
from hypothesis import strategies as st

import minivit as mv
from minivit.autograd.apply import tensor_namespace
from minivit.backend import ArrayNamespace, backend_for_device, move, to_host
from minivit.backend.namespace import reduced_axes

rng = np.random.default_rng(5)
MATRIX = rng.standard_normal((3, 4))
CUBE = rng.standard_normal((3, 4, 2))
TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [np.inf, 0.0, np.inf]])
COMPLEX = MATRIX + 1e-3j * rng.standard_normal((3, 4))
IMAGES = rng.standard_normal((2, 3, 5, 7))


def windows(x: np.ndarray) -> np.ndarray:
    """Windows of 2x3, stride (1, 2), last axes first."""
    return np.lib.stride_tricks.sliding_window_view(x, (2, 3), (2, 3))[:, :, ::1, ::2].transpose(0, 1, 4, 5, 2, 3)


# name -> (what F does, what it should be), on the arrays that follow
CHECKS = {
    "sum": (lambda F, x: F.sum(x, 1), lambda x: x.sum(1, keepdims=True), CUBE),
    "sum of all": (lambda F, x: F.sum(x), lambda x: x.sum().reshape(1, 1, 1), CUBE),
    "mean": (lambda F, x: F.mean(x, (0, -1)), lambda x: x.mean((0, 2), keepdims=True), CUBE),
    "max": (lambda F, x: F.max(x, -1), lambda x: x.max(-1, keepdims=True), CUBE),
    "max of complex": (lambda F, x: F.max(x, 1).real, lambda x: x.real.max(1, keepdims=True), COMPLEX),
    "first maximum": (lambda F, x: F.first_maximum(x, 1), lambda _: np.eye(3)[[1, 0, 0]], TIES),
    "first maximum of columns": (
        lambda F, x: F.first_maximum(x, -2),
        lambda _: np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]),
        TIES,
    ),
    "swapaxes": (lambda F, x: F.swapaxes(x, 0, -1), lambda x: x.transpose(2, 1, 0), CUBE),
    "where": (lambda F, x: F.where(x > 0, x, 0.0), lambda x: np.maximum(x, 0), MATRIX),
    "sign": (lambda F, x: F.sign(x), np.sign, MATRIX),
    "sign of complex": (lambda F, x: F.sign(x), lambda x: np.sign(x.real).astype(complex), COMPLEX),
    "abs": (lambda F, x: F.abs(x), np.abs, MATRIX),
    "abs of complex": (lambda F, x: F.abs(x), lambda x: np.where(x.real < 0, -x, x), COMPLEX),
    "isfinite": (lambda F, x: F.isfinite(x), lambda x: ~np.isinf(x), TIES),
    "cast": (lambda F, x: F.cast(x, np.float32), lambda x: x.astype(np.float32), MATRIX),
    "pad": (
        lambda F, x: F.pad(x, ((1, 0), (0, 2)), -1.5),
        lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=-1.5),
        MATRIX,
    ),
    "take": (lambda F, x: F.take(x, (1, slice(None, None, 2))), lambda x: x[1, ::2], MATRIX),
    "sum_to": (lambda F, x: F.sum_to(x, (4, 1)), lambda x: x.sum((0, 2)).reshape(4, 1), CUBE),
    "sum_to nothing": (lambda F, x: F.sum_to(x, ()), lambda x: x.sum(), CUBE),
    "sum_to fewer axes": (lambda F, x: F.sum_to(x.reshape(1, 3, 4), (3, 4)), lambda x: x, MATRIX),
    "unfold": (lambda F, x: F.unfold(x, (2, 3), (1, 2)), windows, IMAGES),
    "erf": (lambda F, x: F.erf(x), lambda x: np.array([math.erf(v) for v in x.flat]).reshape(x.shape), MATRIX),
}


@pytest.mark.parametrize("device", ["cpu", "standin"])
@pytest.mark.parametrize("name", CHECKS)
def test_a_function_of_the_namespace(name, device):
    function, reference, x = CHECKS[name]
    F = backend_for_device(device).F
    array = move(x, device)
    with standin.no_synchronisation():
        found = function(F, array)
    expected = reference(x)
    found = to_host(found)
    assert found.dtype == expected.dtype or name.startswith("first")
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-300)
    np.testing.assert_array_equal(to_host(array), x)


@pytest.mark.parametrize("device", ["cpu", "standin"])
def test_place_adds_where_indices_repeat(device):
    F = backend_for_device(device).F
    dy = move(MATRIX, device)

    def place(key, shape, values=dy):
        with standin.no_synchronisation():
            placed = F.place(values, key, shape)
        return to_host(placed)

    rows = move(np.array([0, 4, 4]), device)
    expected = np.zeros((5, 4))
    expected[0], expected[4] = MATRIX[0], MATRIX[1] + MATRIX[2]
    np.testing.assert_array_equal(place(rows, (5, 4)), expected)
    columns = move(np.array([1, 1, -1, 0]), device)
    expected = np.zeros((3, 2))
    expected[:, 0], expected[:, 1] = MATRIX[:, 3], MATRIX[:, :3].sum(1)
    np.testing.assert_allclose(place((slice(None), columns), (3, 2)), expected)
    expected = np.zeros((3, 9, 2))
    expected[:, ::-3, 0] = MATRIX[:, :3]
    np.testing.assert_array_equal(place((..., slice(None, None, -3), 0), (3, 9, 2), dy[:, :3]), expected)


@pytest.mark.parametrize("device", ["cpu", "standin"])
def test_one_hot_needs_no_scatter(device):
    F = backend_for_device(device).F
    labels = np.array([[0, 2], [3, 1]])
    labels_there = move(labels, device)
    with standin.no_synchronisation():
        found = F.one_hot(labels_there, 4, np.float32)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(to_host(found), np.eye(4)[labels])


sizes = st.integers(1, 4)


@given(
    st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(4, 9), st.integers(4, 9)),
    st.tuples(sizes, sizes),
    st.tuples(sizes, sizes),
)
def test_fold_is_the_adjoint_of_unfold(shape, kernel_size, stride):
    F = backend_for_device("cpu").F
    numbers = np.random.default_rng(0)
    x = numbers.standard_normal(shape)
    windows_of_x = F.unfold(x, kernel_size, stride)
    y = numbers.standard_normal(windows_of_x.shape)
    np.testing.assert_allclose((windows_of_x * y).sum(), (x * F.fold(y, shape, stride)).sum(), rtol=1e-9, atol=1e-9)


@given(st.lists(st.integers(1, 3), max_size=4), st.data())
def test_sum_to_is_the_adjoint_of_broadcasting(shape, data):
    target = tuple(data.draw(st.sampled_from([1, size])) for size in shape[data.draw(st.integers(0, len(shape))) :])
    F = backend_for_device("cpu").F
    numbers = np.random.default_rng(0)
    x, dy = numbers.standard_normal(target), numbers.standard_normal(shape)
    summed = F.sum_to(dy, target)
    assert np.shape(summed) == target
    np.testing.assert_allclose((np.broadcast_to(x, shape) * dy).sum(), (x * summed).sum(), rtol=1e-9, atol=1e-9)
    if tuple(shape) == target:
        assert summed is dy


def test_reduced_axes():
    assert reduced_axes((2, 3, 4), (3, 4)) == (0,)
    assert reduced_axes((2, 3, 4), (2, 1, 4)) == (1,)
    assert reduced_axes((2, 3, 1), (1, 1)) == (0, 1)
    assert reduced_axes((1, 3), (1, 3)) == ()


def test_size():
    assert ArrayNamespace.size((2, 3, 4)) == 24
    assert ArrayNamespace.size((2, 3, 4), -1) == 4
    assert ArrayNamespace.size((2, 3, 4), (0, 2)) == 8
    assert ArrayNamespace.size((), None) == 1


def test_the_same_names_exist_for_tensors():
    over_arrays, over_tensors = backend_for_device("cpu").F, tensor_namespace()
    names = {name for name in dir(over_arrays) if not name.startswith("_")} - {"xp"}
    assert names == {name for name in dir(over_tensors) if not name.startswith("_")}


@pytest.mark.parametrize("name", [n for n in CHECKS if "complex" not in n])
def test_tensors_give_what_arrays_give(name):
    function, _, x = CHECKS[name]
    expected = function(backend_for_device("cpu").F, x)
    found = function(tensor_namespace(), mv.tensor(x))
    assert isinstance(found, mv.Tensor)
    np.testing.assert_array_equal(found.numpy(), expected)
