import io
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


def test_a_single_array_is_no_archive(tmp_path) -> None:
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(WeightsError, match="no readable"):
        read_npz(tmp_path / "one.npz")
