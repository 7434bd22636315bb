import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from minivit.interop import WeightsError
from minivit.interop.npz_file import read_npz, write_npz


def test_reads_what_numpy_writes_and_numpy_what_it_writes(tmp_path) -> None:
    arrays = {"a.b": np.arange(6.0).reshape(2, 3), "f": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    np.savez(tmp_path / "numpy.npz", **arrays)
    np.savez_compressed(tmp_path / "compressed.npz", **arrays)
    for name in ("numpy.npz", "compressed.npz"):
        found, header = read_npz(tmp_path / name)
        assert header == {}
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[key], arrays[key]) for key in arrays)
    write_npz(tmp_path / "ours.npz", arrays | {"file": np.ones(2), "t": arrays["f"].T})
    with np.load(tmp_path / "ours.npz") as file:
        assert sorted(file) == ["a.b", "f", "file", "t"]
        assert np.array_equal(file["t"], arrays["f"].T)


def test_objects_are_refused(tmp_path) -> None:
    np.savez(tmp_path / "evil.npz", fine=np.ones(2), evil=np.array([print, None], dtype=object))
    with pytest.raises(WeightsError, match="evil holds Python objects"):
        read_npz(tmp_path / "evil.npz")


def test_objects_inside_a_structured_type_are_refused(tmp_path) -> None:
    np.savez(tmp_path / "evil.npz", evil=np.zeros(2, dtype=[("a", "f4"), ("b", "O")]))
    with pytest.raises(WeightsError, match="evil holds Python objects"):
        read_npz(tmp_path / "evil.npz")


@pytest.mark.parametrize("shape", [(10**12,), (3,), (1, 1), (10**6, 10**6, 10**6)])
def test_a_lying_header_is_refused_before_anything_is_allocated(tmp_path, shape: tuple[int, ...]) -> None:
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"shape": shape, "fortran_order": False, "descr": "<f4"})
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        archive.writestr("a.npy", member.getvalue() + bytes(8))
    with pytest.raises(WeightsError, match=r"lie\.npz: a says it is float32 .*8 bytes follow"):
        read_npz(tmp_path / "lie.npz")


def test_bfloat16_is_widened(tmp_path) -> None:
    values = np.array([1.0, -2.5, 3.140625], np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    np.savez(tmp_path / "x.npz", w=bits.view("V2"))  # as NumPy writes an array of ml_dtypes.bfloat16
    found = read_npz(tmp_path / "x.npz")[0]["w"]
    assert found.dtype == np.float32
    assert np.array_equal(found, values)


def test_texts_and_records_are_no_weights(tmp_path) -> None:
    np.savez(tmp_path / "x.npz", names=np.array(["cat", "dog"]))
    with pytest.raises(WeightsError, match="names is of type <U3, which is no number"):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "whole numbers"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}", "whole numbers"),
        (b"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", "other fields"),
        (b"{'descr': '<f4', 'fortran_order': False}", "damaged"),
        (b"{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}", "damaged"),
        (b"__import__('os').abort()", "damaged"),
        (b"(" * 5000, "damaged"),
        (b"[" + b"1," * 10, "damaged"),
        (b"x" * 20_000, "takes 20000 bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_damaged_array_header_is_refused(tmp_path, header: bytes, message: str) -> None:
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(8)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", member)
    with pytest.raises(WeightsError, match=message):
        read_npz(tmp_path / "x.npz")


def test_an_archive_that_would_unpack_to_a_thousand_times_its_size_is_refused(tmp_path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(2**24, np.uint8))
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match="would unpack to 16777344 bytes"):
            read_npz(tmp_path / "bomb.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path) -> None:
    for names in (("a.npy", "a.npy"), ("a.npy", "a")):
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            for name in names:
                archive.writestr(name, array_bytes(np.ones(2)))
        with pytest.raises(WeightsError, match=r"same name|two arrays named a"):
            read_npz(tmp_path / "x.npz")


def test_members_that_overlap_are_refused(tmp_path) -> None:
    """Two entries of the directory point to the same bytes: a way to unpack a small file without end."""
    path = tmp_path / "x.npz"
    write_npz(path, {"a": np.ones(1000)})
    whole = path.read_bytes()
    directory = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    entry = whole[directory:end]
    twice = entry + entry.replace(b"a.npy", b"b.npy")
    tail = bytearray(whole[end:])
    tail[8:12] = struct.pack("<HH", 2, 2)
    tail[12:16] = struct.pack("<I", len(twice))
    path.write_bytes(whole[:directory] + twice + bytes(tail))
    with pytest.raises(WeightsError, match="overlap"):
        read_npz(path)


def test_names_that_point_elsewhere_are_only_names(tmp_path) -> None:
    write_npz(tmp_path / "x.npz", {"../../outside": np.ones(2), "/root": np.zeros(1)})
    assert read_npz(tmp_path / "x.npz")[0].keys() == {"../../outside", "/root"}
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_a_damaged_array_is_found_by_its_checksum(tmp_path) -> None:
    write_npz(tmp_path / "x.npz", {"a": np.arange(1000.0)})
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[4000] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(WeightsError, match="CRC"):
        read_npz(tmp_path / "x.npz")


def array_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_a_single_array_is_no_archive(tmp_path) -> None:
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(WeightsError, match="no readable"):
        read_npz(tmp_path / "one.npz")
