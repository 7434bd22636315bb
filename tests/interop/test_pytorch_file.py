"""Tests of minivit/interop/pytorch_file.py and pytorch_pickle.py: PyTorch's files, read without running them."""

import os
import pickle
import pickletools
import tracemalloc
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from minivit import interop, models
from minivit.interop import WeightsError
from minivit.interop.pytorch_file import read_pytorch
from minivit.interop.pytorch_pickle import Machine, RefusedError, TensorEntry, read_pickle

TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


PAIR = np.array([1.5, -2.0], np.float32).tobytes()


def test_a_file_by_hand_is_read(by_hand, path) -> None:
    by_hand.archive(path, by_hand.state(a=by_hand.tensor(), b=by_hand.tensor(shape=(2, 1), strides=(1, 2))), _0=PAIR)
    arrays, part = read_pytorch(path)
    assert part == {}
    assert np.array_equal(arrays["a"], [1.5, -2.0])
    assert np.array_equal(arrays["b"], [[1.5], [-2.0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (3,)}, r"a says it is \(3,\)"),
        ({"offset": 1}, "from 1 on, in a block of 2"),
        ({"offset": 10**12}, "in a block of 2"),
        ({"offset": -1}, "malformed"),
        ({"shape": (-1,)}, "malformed"),
        ({"strides": (-1,)}, "malformed"),
        ({"strides": (10**9,)}, "strides"),
        ({"shape": (10**9,), "strides": (0,)}, r"says it is \(1000000000,\)"),
        ({"shape": (10**9, 10**9), "strides": (0, 0)}, "says it is"),
        ({"shape": (2, 2), "strides": (1,)}, "malformed"),
        ({"count": 10**12}, "block '0' of 1000000000000 float32 numbers has 8 bytes"),
        ({"count": 1}, "in a block of 1"),
        ({"key": "1"}, "block '1' of 2 float32 numbers is missing"),
        ({"key": "../../../etc/passwd"}, "is missing"),
        ({"storage": "DoubleStorage"}, "block '0' of 2 float64 numbers has 8 bytes"),
        ({"storage": "UntypedStorage"}, r"torch\.UntypedStorage is refused"),
    ],
    ids=str,
)
def test_tensors_that_lie_are_refused_before_anything_is_allocated(by_hand, path, changes, message) -> None:
    by_hand.archive(path, by_hand.state(a=by_hand.tensor(**changes)), _0=PAIR)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=message):
            read_pytorch(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_one_block_cannot_be_used_without_end(by_hand, path) -> None:
    names = {f"t{number}": by_hand.tensor(shape=(1000,), count=1000) for number in range(100)}
    by_hand.archive(path, by_hand.state(**names), _0=bytes(4000))
    with pytest.raises(WeightsError, match="would take 400000 bytes"):
        read_pytorch(path)


class Evil:
    """What unpickling would run."""

    def __reduce__(self):
        return os.system, ("touch this-file-proves-that-code-ran",)


class Innocent:
    """An object of a class that only its author has."""


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Evil(), "posix.system|nt.system"),
        ({"weight": Evil()}, "system"),
        (Innocent(), "Innocent|reconstructor"),
        ({"args": Innocent()}, "Innocent"),
        ({"f": print}, "print"),
        ({"numbers": np.ones(2)}, "numpy"),
        ({"bytes": b"x"}, "_codecs.encode|instruction"),
        ({1, 2}, "instruction|set"),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_whatever_could_run_code_is_refused(by_hand, path, monkeypatch, content, named, protocol) -> None:
    monkeypatch.chdir(path.parent)
    by_hand.archive(path, pickle.dumps(content, protocol))
    with pytest.raises(WeightsError, match=f"holds more than tensors: .*({named}|instruction).*convert it with"):
        read_pytorch(path)
    assert not os.path.exists("this-file-proves-that-code-ran")


def test_no_other_instruction_is_known() -> None:
    """Of all that Python's pickles have, these alone; each that makes or calls something else is refused."""
    known = set()
    for opcode in pickletools.opcodes:
        try:
            Machine().step(opcode.name, None)
        except RefusedError as error:
            if "the instruction" in str(error):
                continue
        except (AttributeError, LookupError, TypeError, ValueError):
            pass
        known.add(opcode.name)
    values = "BINFLOAT BININT BININT1 BININT2 BINUNICODE BINUNICODE8 LONG1 NEWFALSE NEWTRUE NONE SHORT_BINUNICODE"
    collections = "APPEND APPENDS EMPTY_DICT EMPTY_LIST EMPTY_TUPLE MARK SETITEM SETITEMS TUPLE TUPLE1 TUPLE2 TUPLE3"
    memo = "BINGET BINPUT LONG_BINGET LONG_BINPUT MEMOIZE"
    looked_up = "BINPERSID BUILD GLOBAL REDUCE STACK_GLOBAL"
    assert known == set(f"{values} {collections} {memo} {looked_up} FRAME PROTO STOP".split())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"}",
        b"}u.",
        b"(}u.",
        b"}(K\x01u.",
        b"}q\xff\x80.",
        b"h\x05.",
        b"]q\x00(h\x00h\x00e",
        b"}(}}u.",  # a dict as a key
        b"}()Nu.",  # a tuple as a key: one of tuples of tuples takes for ever to be hashed
        b"ctorch\nFloatStorage\n)R.",
        b"NNR.",
        b"(tQ.",
        b"NQ.",
        b"]}b.",
        TENSOR + b")R.",
        TENSOR + b"(K\x00K\x00NN" + b"tR.",
        b"NN.",
        b"X\xff\xff\xff\x7fabc.",
        b"\x8d" + b"\xff" * 8 + b".",
    ],
    ids=str,
)
def test_a_damaged_description_is_refused(by_hand, path, data) -> None:
    with pytest.raises(ValueError, match=r"damaged|instruction"):
        read_pickle(data)
    by_hand.archive(path, data)
    with pytest.raises(WeightsError):
        read_pytorch(path)


def test_a_memo_far_away_takes_no_memory() -> None:
    """Python's own reader would make a list of two thousand million places."""
    tracemalloc.start()
    try:
        assert read_pickle(b"\x80\x02}r\xff\xff\xff\x7fj\xff\xff\xff\x7f" + b"0.".replace(b"0", b"\x86")) == ({}, {})
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_plain_values_are_read(by_hand) -> None:
    content = {"epoch": 3, "rate": 0.5, "name": "vit", "flags": [True, False, None], "pair": (1, -(2**40)), 7: {}}
    for protocol in (2, 3, 4, 5):
        assert read_pickle(pickle.dumps(content, protocol)) == content
    found = read_pickle(by_hand.state(a=by_hand.tensor()))["a"]
    assert isinstance(found, TensorEntry)
    assert read_pickle(pickle.dumps(OrderedDict(a=1), 2)) == {"a": 1}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda by_hand, path: path.write_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."),
            "it may be older; .*convert",
        ),
        (lambda by_hand, path: path.write_bytes(b""), "it may be older"),
        (
            lambda by_hand, path: by_hand.archive(path, by_hand.state(a=by_hand.tensor()), byteorder=b"big", _0=PAIR),
            "big-endian",
        ),
        (lambda by_hand, path: by_hand.archive(path, b"\x80\x02]."), "holds a list"),
        (lambda by_hand, path: by_hand.archive(path, b"\x80\x02}."), "holds no dict of tensors, .*its keys are none"),
        (lambda by_hand, path: by_hand.archive(path, by_hand.state(epoch=by_hand.whole(3))), "its keys are epoch"),
        (lambda by_hand, path: zipfile.ZipFile(path, "w").close(), "0 members named data.pkl"),
        (lambda by_hand, path: by_hand.archive(path, b"x" * (2**24 + 1)), "takes more than 16777216 bytes"),
    ],
)
def test_what_is_no_dict_of_tensors_says_so(by_hand, path, make, message) -> None:
    make(by_hand, path)
    with pytest.raises(WeightsError, match=message):
        read_pytorch(path)


def test_torchscript_says_what_it_is(by_hand, path) -> None:
    by_hand.archive(path, by_hand.state(a=by_hand.tensor()), _0=PAIR)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("archive/constants.pkl", b"")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_pytorch(path)


def test_a_model_comes_out_of_a_training_checkpoint(by_hand, small, path) -> None:
    model = small()
    arrays = model.state_dict()
    on_two_devices = {f"module.{name}": array for name, array in arrays.items()}

    def around(instructions: bytes) -> bytes:
        return by_hand.state(epoch=by_hand.whole(3), state_dict=instructions[2:-1])

    by_hand.weights(path, on_two_devices, around)
    again = interop.load(small(seed=1), path)
    assert all(np.array_equal(again.state_dict()[name], array) for name, array in arrays.items())
    assert interop.read_metadata(path)["flavour"]["part"] == "state_dict (the file)"
    for suffix in (".pt", ".bin", ".pth.tar"):
        path.with_name(f"model{suffix}").write_bytes(path.read_bytes())
        interop.load(small(seed=1), path.with_name(f"model{suffix}"))


@pytest.mark.reference("torch")
def test_what_torch_saves_is_read(path) -> None:
    import torch

    torch.manual_seed(0)
    base = torch.randn(4, 6)
    tensors = OrderedDict(
        whole=base,
        view=base[1:3, ::2],
        transposed=base.T,
        parameter=torch.nn.Parameter(torch.randn(3)),
        number=torch.tensor(2.5),
        half=torch.randn(5).half(),
        bfloat16=torch.randn(5).bfloat16(),
        double=torch.randn(2).double(),
        long=torch.arange(3),
        flags=torch.tensor([True, False]),
        int8=torch.tensor([-3], dtype=torch.int8),
    )
    for content, part in [
        (tensors, None),
        ({"model": tensors, "epoch": 3}, "model"),
        ({"model": {}, "state_dict_ema": tensors}, "state_dict_ema"),
    ]:
        torch.save(content, path)
        arrays, header = read_pytorch(path)
        assert header.get("part") == part
        assert arrays.keys() == tensors.keys()
        for name, value in tensors.items():
            expected = value.detach()
            expected = (expected.float() if name == "bfloat16" else expected).numpy()
            assert arrays[name].dtype == expected.dtype
            assert np.array_equal(arrays[name], expected), name


@pytest.mark.reference("torch")
def test_a_resnet_of_torch_is_read(path) -> None:
    import torch

    model = models.create("resnet18", width=2)
    state_dict = {name: torch.from_numpy(array) for name, array in model.state_dict().items()}
    torch.save(OrderedDict(state_dict), path)
    again, _ = interop.load_model(path)
    assert all(np.array_equal(again.state_dict()[name], array) for name, array in model.state_dict().items())


@pytest.mark.reference("torch")
def test_a_whole_training_checkpoint_of_torch_is_read(small, path) -> None:
    import torch

    from minivit.compare.torch_vit import torch_twin

    model = small()
    twin = torch_twin(model)
    optimizer = torch.optim.AdamW(twin.parameters())
    twin(torch.zeros(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    state_dict = {name: torch.from_numpy(array) for name, array in model.state_dict().items()}
    torch.save({"state_dict": state_dict, "optimizer": optimizer.state_dict(), "epoch": 3, "best": 0.5}, path)
    again = interop.load(small(seed=1), path)
    assert all(np.array_equal(again.state_dict()[name], array) for name, array in model.state_dict().items())
    torch.save(torch.nn.Linear(2, 2), path)  # a whole module is code
    with pytest.raises(WeightsError, match=r"holds more than tensors: torch\.nn\.modules\.linear\.Linear is refused"):
        read_pytorch(path)
    torch.save(twin.state_dict(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match="it may be older"):
        read_pytorch(path)


def test_a_description_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 500000 instructions"):
        read_pickle(b"}" * 600_000 + b".")
