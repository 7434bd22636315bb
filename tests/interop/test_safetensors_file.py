import json
import struct
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load_file

from minivit.interop import WeightsError
from minivit.interop.safetensors_file import read_safetensors, write_safetensors


def test_arrays_and_header_come_back(tmp_path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float64).reshape(2, 3), "skip/b": np.ones(2, np.float32)}
    write_safetensors(tmp_path / "x.safetensors", arrays, {"key": "value"})
    found, header = read_safetensors(tmp_path / "x.safetensors")
    assert header == {"key": "value"}
    assert found.keys() == arrays.keys()
    assert np.array_equal(found["a"], arrays["a"])
    assert read_safetensors(tmp_path / "x.safetensors", skip="skip/")[0].keys() == {"a"}


def file_of(path, header, data: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def entry(shape, offsets, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_every_type_is_read_as_the_library_reads_it(tmp_path) -> None:
    kinds = (np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8)
    kinds += (np.uint64, np.uint32, np.uint16, np.uint8, np.bool_)
    numbers = np.random.default_rng(0)
    arrays = {np.dtype(kind).name: numbers.integers(0, 100, (2, 3)).astype(kind) for kind in kinds}
    arrays |= {"number": np.float32(3.0).reshape(())}
    write_safetensors(tmp_path / "x.safetensors", arrays, {})
    ours, theirs = read_safetensors(tmp_path / "x.safetensors")[0], load_file(tmp_path / "x.safetensors")
    assert ours.keys() == theirs.keys() == arrays.keys()
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype == arrays[name].dtype
        assert ours[name].flags.writeable
        assert np.array_equal(ours[name], array)
        assert np.array_equal(ours[name], arrays[name])


def test_bfloat16_is_widened(tmp_path) -> None:
    values = np.array([1.0, -2.5, 3.140625, np.inf], np.float32)  # all with at most 8 significant bits
    bits = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    file_of(tmp_path / "x.safetensors", {"w": entry([2, 2], [0, 8], "BF16")}, bits)
    found = read_safetensors(tmp_path / "x.safetensors")[0]["w"]
    assert found.dtype == np.float32
    assert np.array_equal(found, values.reshape(2, 2))


def test_a_type_that_numpy_lacks_is_named(tmp_path) -> None:
    file_of(tmp_path / "x.safetensors", {"w": entry([4], [0, 4], "F8_E4M3")}, bytes(4))
    with pytest.raises(WeightsError, match="w is of type F8_E4M3"):
        read_safetensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"w": entry([1], [0, 10**12])}, r"w is F32 \[1\], but has 1000000000000 bytes"),
        ({"w": entry([10**11], [0, 4 * 10**11])}, "take 400000000000 bytes, 8 follow"),
        ({"w": entry([10**6] * 6, [0, 4])}, "but has 4 bytes"),
        ({"w": entry([1], [-4, 0])}, "malformed"),
        ({"w": entry([1], [4, 0])}, "before it begins"),
        ({"w": entry([1], [4, 8])}, "begins at byte 4"),
        ({"w": entry([1], [0, 4])}, "take 4 bytes, 8 follow"),
        ({"a": entry([2], [0, 8]), "b": entry([1], [4, 8])}, "b begins at byte 4 .* ends at 8"),
        ({"a": entry([1], [0, 4]), "b": entry([1], [0, 4])}, "begins at byte 0"),
        ({"w": entry([-2], [0, 8])}, "malformed"),
        ({"w": entry([True], [0, 4])}, "malformed"),
        ({"w": entry([1.0], [0, 4])}, "malformed"),
        ({"w": entry([1] * 40, [0, 4])}, "malformed"),
        ({"w": entry("1", [0, 4])}, "malformed"),
        ({"w": {"dtype": "F32"}}, "alone"),
        ({"w": 3}, "alone"),
        ({"__metadata__": {"a": 1}}, "strings"),
        ([], "JSON object"),
        (b'{"w": {}, "w": {}}', "twice"),
        (b"{" * 10, "readable safetensors"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff\xfe{}", "readable safetensors"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_header_that_lies_is_refused_before_anything_is_allocated(tmp_path, header, message: str) -> None:
    file_of(tmp_path / "x.safetensors", header, bytes(8))
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=message):
            read_safetensors(tmp_path / "x.safetensors")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [2**63, 10**9, 17])
def test_a_header_longer_than_the_file_is_refused(tmp_path, length: int) -> None:
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", length) + b'{"a": {}}       ')
    with pytest.raises(WeightsError, match=f"header is said to take {length} bytes, the file has 24"):
        read_safetensors(tmp_path / "x.safetensors")
