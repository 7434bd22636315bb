"""The stand-in device array catches what it is for."""

import contextlib
import copy
import pickle

import numpy as np
import pytest
import standin

import minivit as mv
from minivit.autograd import Op
from minivit.autograd.errors import DTypeError

xp = standin.xp


def device(array: np.ndarray, index: int = 0) -> standin.StandInArray:
    return standin.BACKEND.from_host(np.asarray(array), f"standin:{index}")


def host(array: standin.StandInArray) -> np.ndarray:
    assert type(array) is standin.StandInArray
    return array.get()


@pytest.fixture
def x() -> standin.StandInArray:
    return device(np.arange(6, dtype=np.float32).reshape(2, 3))


# What it refuses

REFUSED = {
    "operand": lambda x, a: x + a,
    "operand on the left": lambda x, a: a + x,
    "list": lambda x, a: x * [1.0, 2.0, 3.0],
    "in place": lambda x, a: x.__iadd__(a),
    "in place on the left": lambda x, a: a.__iadd__(x),
    "comparison": lambda x, a: x < a,
    "matmul": lambda x, a: x @ a.T,
    "ufunc": lambda x, a: xp.maximum(x, a),
    "ufunc of a list": lambda x, a: xp.exp([1.0]),
    "function": lambda x, a: xp.sum(a),
    "where": lambda x, a: xp.where(x > 0, a, 0.0),
    "concatenate": lambda x, a: xp.concatenate([x, a]),
    "clip": lambda x, a: x.clip(a, None),
    "numpy ufunc": lambda x, a: np.exp(x),
    "numpy function": lambda x, a: np.mean(x),
    "numpy stack": lambda x, a: np.stack([x, x]),
    "asarray": lambda x, a: np.asarray(x),
    "array": lambda x, a: np.array([x, x]),
    "index": lambda x, a: range(x[0, 0].astype(np.int64)),
    "slice": lambda x, a: x[: x[0, 0].astype(np.int64)],
    "keyword": lambda x, a: xp.mean(x, where=x > 0),
    "ufunc keyword": lambda x, a: xp.add(x, x, where=x > 0),
    "method keyword": lambda x, a: x.sum(where=x > 0),
    "item": lambda x, a: x.item(0),
    "set": lambda x, a: x.set(a.astype(np.float64)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_what_is_not_on_the_device(name, x):
    with pytest.raises(TypeError):
        REFUSED[name](x, np.ones((2, 3), np.float32))


def test_its_messages_are_those_of_cupy(x):
    with pytest.raises(
        TypeError, match=r"Implicit conversion to a NumPy array is not allowed\. Please use `\.get\(\)`"
    ):
        np.asarray(x)
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy\.ndarray'>"):
        x + np.ones(3)
    with pytest.raises(AttributeError, match="module 'cupy' has no attribute 'errstate'"):
        xp.errstate()


def test_an_array_of_the_host_cannot_be_written_into_it(x):
    with pytest.raises(ValueError, match="cannot be used for fill"):
        x[...] = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="cannot be used for fill"):
        x[0] = [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "name", ["errstate", "insert", "block", "nditer", "vecdot", "unstack", "einsum_path", "frompyfunc", "geomspace"]
)
def test_it_lacks_the_names_that_cupy_lacks(name):
    assert hasattr(np, name)
    assert not hasattr(xp, name)


@pytest.mark.parametrize(
    "name", ["__array_interface__", "__index__", "__imatmul__", "__contains__", "setflags", "resize"]
)
def test_it_lacks_the_methods_that_cupy_lacks(name, x):
    assert hasattr(np.ndarray, name)
    assert not hasattr(x, name)


def test_it_is_no_numpy_array(x):
    assert not isinstance(x, np.ndarray)
    assert not hasattr(x, "ctypes")
    with pytest.raises(TypeError):
        memoryview(x)


# What waits

WAITING = {
    "bool": lambda x: bool(x[0, 0]),
    "if": lambda x: 1 if x[0, 0] > 0 else 2,
    "float": lambda x: float(x.sum()),
    "int": lambda x: int(x.sum()),
    "complex": lambda x: complex(x.sum()),
    "item": lambda x: x.sum().item(),
    "get": lambda x: x.get(),
    "asnumpy": xp.asnumpy,
    "tolist": lambda x: x.tolist(),
    "tobytes": lambda x: x.tobytes(),
    "repr": repr,
    "str": str,
    "format": lambda x: f"{x}",
    "mask": lambda x: x[x > 2],
    "mask in a key": lambda x: x[0, x[0] > 1],
    "mask assignment": lambda x: x.__setitem__(x > 2, 0.0),
    "mask scatter": lambda x: xp.add.at(x, x > 2, 1.0),
    "nonzero": lambda x: x.nonzero(),
    "xp.nonzero": lambda x: xp.nonzero(x),
    "where": lambda x: xp.where(x > 2),
    "unique": lambda x: xp.unique(x),
    "in": lambda x: any(element == 1 for element in x.reshape(-1)),
    "min of elements": lambda x: min(x[0]),
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("name", WAITING)
def test_it_counts_what_waits(name, x):
    with standin.watch() as seen:
        WAITING[name](x)
    assert seen.synchronisations
    assert all(__file__ in line or "pickle" in name for line in seen.synchronisations)
    with pytest.raises(AssertionError, match="waited for the device:\n"), standin.no_synchronisation():
        WAITING[name](x)


UPLOADING = {
    "asarray": lambda x: xp.asarray(np.ones(3)),
    "array of a list": lambda x: xp.array([1.0, 2.0]),
    "number": lambda x: xp.asarray(1.0),
    "from_host": lambda x: device(np.ones(3)),
    "set": lambda x: x.set(np.zeros((2, 3), np.float32)),
    "index": lambda x: x[np.array([0, 1])],
    "list index": lambda x: x[[0, 1]],
    "take": lambda x: x.take(np.array([0, 1])),
    "assignment": lambda x: x.__setitem__(device(np.array([0])), np.ones((1, 3))),
}


@pytest.mark.parametrize("name", UPLOADING)
def test_it_counts_what_is_copied_to_the_device(name, x):
    with standin.watch() as seen:
        UPLOADING[name](x)
    assert seen.uploads
    assert not seen.synchronisations
    with pytest.raises(AssertionError, match="copied to the device:\n"), standin.no_synchronisation():
        UPLOADING[name](x)
    with standin.no_synchronisation(uploads=True):
        UPLOADING[name](x)


def test_computing_neither_waits_nor_copies(x):
    with standin.no_synchronisation():
        y = xp.sqrt(x * 2.0 + 1.0) @ x.T
        y += y.mean(axis=0, keepdims=True)
        y[0] = 0.0
        y[:, 1] *= 2.0
        z = y[xp.arange(2), xp.argmax(y, axis=1)]
        xp.concatenate([z, xp.zeros(2, np.float32)]).sum()
        xp.where(x > 1, x, 0.0)
        xp.asarray(x).astype(np.float64).reshape(-1)
        list(x)
        assert len(x) == 2
        assert x.shape == (2, 3)


# What it does as CuPy does


def test_reductions_and_elements_are_arrays_without_axes(x):
    for value in (x.sum(), xp.max(x), x.argmax(), x[1, 2], next(iter(x[0])), x[0] @ x[1], xp.sqrt(2.0), xp.all(x > 0)):
        assert type(value) is standin.StandInArray
        assert value.shape == ()


def test_promotion_follows_nep_50(x):
    assert (x + 1.5).dtype == np.float32
    assert (x + np.float64(1.5)).dtype == np.float64
    assert (np.float64(1.5) * x).dtype == np.float64
    assert (x * x.sum().astype(np.float64)).dtype == np.float64
    assert xp.where(x > 0, x, 0.0).dtype == np.float32


def test_views_share_memory_and_copies_do_not(x):
    view, element, turned = x[0], x[1, 1], x.T.reshape(-1)
    x += 1.0
    x[0, 0] = 10.0
    element += 100.0
    assert host(view).tolist() == [10.0, 2.0, 3.0]
    assert host(x)[1, 1] == 105.0
    assert host(turned).tolist() == [0, 3, 1, 4, 2, 5]
    assert host(xp.asarray(x)).tolist() == host(xp.array(x)).tolist()
    assert xp.asarray(x) is x
    assert xp.array(x) is not x


def test_what_comes_from_the_host_is_a_copy():
    mine = np.ones(3)
    theirs = device(mine)
    mine[0] = 5.0
    back = host(theirs)
    back[1] = 7.0
    assert host(theirs).tolist() == [1.0, 1.0, 1.0]


def test_an_index_out_of_bounds_wraps_around(x):
    assert host(x[:, device([3, -1, 4])]).tolist() == [[0, 2, 1], [3, 5, 4]]
    assert host(x.take(device([7]))).tolist() == [1]
    with pytest.raises(IndexError):
        x[2]


def test_repeated_indices_add_up(x):
    xp.add.at(x, (slice(None), device([0, 0, 2])), 1.0)
    assert host(x).tolist() == [[2, 1, 3], [5, 4, 6]]
    with pytest.raises(NotImplementedError, match=r"cupy_multiply\.at"):
        xp.multiply.at(x, device([0]), 2.0)


def test_empty_holds_nonsense():
    assert np.isnan(host(xp.empty((2, 2), np.float32))).all()
    assert np.isnan(host(xp.empty_like(xp.ones(3)))).all()


def test_dividing_by_zero_gives_no_warning(x):
    assert np.isinf(host(1.0 / x)[0, 0])
    assert np.isinf(host(xp.log(x))[0, 0])


def test_dlpack_reaches_its_own_module_and_no_other(x):
    with standin.no_synchronisation():
        y = xp.from_dlpack(x)
    x += 1.0
    np.testing.assert_array_equal(host(y), host(x))
    with pytest.raises((RuntimeError, BufferError)):
        np.from_dlpack(x)
    tensor = mv.tensor(x)
    np.testing.assert_array_equal(host(xp.from_dlpack(tensor)), host(x))


def test_arrays_of_another_device_cannot_be_computed_with(x):
    y = device(np.ones((2, 3), np.float32), 1)
    for compute in (lambda: y + 1, lambda: x + y, lambda: xp.exp(y), lambda: y.sum(), lambda: xp.stack([x, y])):
        with pytest.raises(ValueError, match="must be same as the current device"):
            compute()
    with standin.Device(1):
        assert (y + 1).device.id == 1
        assert xp.zeros(3).device.id == 1
    assert xp.zeros(3).device.id == 0


def test_it_can_be_copied_and_pickled(x):
    for twin in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.copy()):
        assert twin is not x
        np.testing.assert_array_equal(host(twin), host(x))


def test_a_name_that_cupy_has_is_never_silently_missing():
    for name in standin.CUPY["module"]:
        with contextlib.suppress(AssertionError):  # it says that the stand-in has to be taught
            assert getattr(xp, name) is not None or name == "newaxis"


# Planted mistakes: the tests of ops and training run on the stand-in, and each of these would make them fail


class Waits(Op):
    """y = 2 x, but it looks at x."""

    def forward(F, x):
        return x * 2.0 if float(F.sum(x).reshape(())) > -1e9 else x

    def backward(F, dy, saved, x):
        return (2.0 * dy,)


class TakesNumpy(Op):
    """y = x + 1 with an array of NumPy."""

    def forward(F, x):
        return x + np.ones(3, np.float32)

    def backward(F, dy, saved, x):
        return (dy,)


class CallsNumpy(Op):
    """y = exp(x) with a function of NumPy."""

    def forward(F, x):
        return np.exp(x)

    def backward(F, dy, saved, x):
        return (dy,)


class MissesAName(Op):
    """y = |x| with a name that CuPy lacks."""

    def forward(F, x):
        with F.xp.errstate(all="ignore"):
            return F.abs(x)

    def backward(F, dy, saved, x):
        return (dy,)


class Promotes(Op):
    """y = sqrt(2) x in float64."""

    def forward(F, x):
        return x * np.sqrt(2.0)

    def backward(F, dy, saved, x):
        return (dy,)


@pytest.mark.parametrize(
    ("op", "error", "message"),
    [
        (Waits, AssertionError, "waited for the device"),
        (TakesNumpy, TypeError, r"Unsupported type <class 'numpy\.ndarray'>"),
        (CallsNumpy, TypeError, "does not support ufuncs"),
        (MissesAName, AttributeError, "errstate"),
        (Promotes, DTypeError, "returned float64"),
    ],
)
def test_a_planted_mistake_is_found(op, error, message):
    x = mv.tensor(np.ones(3, np.float32), device="standin")
    assert op is Promotes or mv.autograd.apply(op, mv.tensor(np.ones(3, np.float32))).shape == (3,)  # NumPy hides it
    with pytest.raises(error, match=message), standin.no_synchronisation():
        mv.autograd.apply(op, x)


def test_a_planted_read_of_the_loss_is_found():
    x = mv.tensor(np.ones(3, np.float32), requires_grad=True, device="standin")

    def step() -> float:
        loss = (x * x).sum()
        loss.backward()
        return float(loss)

    with pytest.raises(AssertionError, match=r"item\(\) at"), standin.no_synchronisation():
        step()
