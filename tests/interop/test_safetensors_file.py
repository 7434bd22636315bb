import json
import struct

import numpy as np
import pytest

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


def test_a_type_that_numpy_lacks_is_named(tmp_path) -> None:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(WeightsError, match="w is of type BF16"):
        read_safetensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize("offsets", [[0, 10**12], [-4, 0], [4, 0]])
def test_offsets_that_lie_are_refused(tmp_path, offsets: list[int]) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": offsets}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(WeightsError, match="no readable safetensors"):
        read_safetensors(tmp_path / "x.safetensors")
