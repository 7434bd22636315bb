"""Broken and malicious files: valid ones are mutated, and whatever comes is weights or a WeightsError.

The mutations know the containers, as bytes that are changed at random hardly ever get past a checksum or a parser: they
change the JSON header of safetensors, the array headers inside a .npz, the pickle inside a .pth, the configurations
beside a file, and the shapes, types and names of arrays.
"""

import io
import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minivit import interop
from minivit.interop import WeightsError
from minivit.interop.checkpoint import checkpoint_header
from minivit.models import VisionTransformer

SETTINGS = {"image_size": 4, "patch_size": 2, "dim": 4, "depth": 1, "heads": 2, "mlp_dim": 6, "num_classes": 3}
BLANK = {**SETTINGS, "initialization": "none"}
MOST_MEMORY = 6 * 2**20  # bytes; the files have some thousand
FUZZ = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of float64 that float32 cannot hold

HOSTILE = st.one_of(
    st.sampled_from(
        [0, -1, 1, 2, 3, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64, 10**9, 10**12, 10**30, 0.5, -0.0, 1e308]
    ),
    st.sampled_from(
        [None, True, [], {}, "", "F32", "F64", "BF16", "I8", "vit", "tanh", "gelu", "../../x", "\x00", [[1]]]
    ),
    st.integers(-(2**70), 2**70),
    st.lists(st.integers(-3, 10**6), max_size=5),
    st.text(max_size=5),
)


@pytest.fixture(scope="module")
def model():
    return VisionTransformer(**SETTINGS)


def is_weights_or_an_error(path) -> None:
    """Load a file in both ways; nothing but a WeightsError may be raised, and little memory taken."""
    tracemalloc.start()
    try:
        for load in (interop.load_model, lambda path: interop.load(VisionTransformer(**BLANK), path)):
            try:
                load(path)
            except WeightsError as error:
                said = str(error)
                assert str(path.parent) in said
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


@st.composite
def changed_bytes(draw, data: bytes) -> bytes:
    """A few bytes flipped, cut out, put in or repeated."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(found) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "set", "cut", "insert", "repeat", "end"]))
        length = draw(st.sampled_from([1, 2, 4, 8, 16, 100]))
        if kind == "flip" and found:
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            found[at : at + length] = draw(st.sampled_from([b"\x00", b"\xff", b"\x7f", b"9"])) * length
        elif kind == "cut":
            del found[at : at + length]
        elif kind == "insert":
            found[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "repeat":
            found[at:at] = found[at : at + length]
        else:
            del found[at:]
    return bytes(found)


def places(value, path=()):
    """Every place in a JSON value, as keys."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@st.composite
def changed_json(draw, value):
    """Values replaced by hostile ones, taken from elsewhere, or left out; keys renamed."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(value))
        if not found:
            break
        *above, key = draw(st.sampled_from(found))
        owner = value
        for name in above:
            owner = owner[name]
        kind = draw(st.sampled_from(["replace", "copy", "drop", "rename"]))
        if kind == "replace":
            owner[key] = draw(HOSTILE)
        elif kind == "copy":
            other = value
            for name in draw(st.sampled_from(found)):
                other = other[name]
            owner[key] = json.loads(json.dumps(other))
        elif kind == "drop":
            del owner[key]
        elif isinstance(owner, dict):
            owner[draw(st.text(max_size=8))] = owner.pop(key)
    return value


@st.composite
def changed_arrays(draw, arrays):
    """Arrays of other shapes, types and names: what a container has no reason to refuse."""
    arrays = dict(arrays)
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(sorted(arrays)))
        array = arrays[name]
        kind = draw(
            st.sampled_from(["drop", "rename", "flat", "axis", "type", "number", "swap", "cut", "repeat", "empty"])
        )
        if kind == "drop":
            del arrays[name]
        elif kind == "rename":
            arrays[draw(st.sampled_from([f"{name}s", name[1:], name.replace("0", "7"), "x", ""]))] = arrays.pop(name)
        elif kind == "flat":
            arrays[name] = array.reshape(-1)
        elif kind == "axis":
            arrays[name] = array[None]
        elif kind == "type":
            arrays[name] = array.astype(draw(st.sampled_from([np.float64, np.float16, np.int64, np.bool_, np.uint8])))
        elif kind == "number":
            arrays[name] = np.float32(1.0).reshape(())
        elif kind == "swap":
            arrays[name] = array.T
        elif kind == "cut":
            arrays[name] = array[:1] if array.ndim else array
        elif kind == "repeat":
            arrays[name] = np.concatenate([array, array]) if array.ndim else array
        else:
            arrays[name] = np.zeros((0, 10**9), np.float32)
        if not arrays:
            break
    return arrays


FORMATS = ("minivit", "timm", "google", "big_vision", "huggingface", "huggingface_v5", "torchvision")


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """Valid files by format; big_vision's also stacked."""
    folder = tmp_path_factory.mktemp("valid")
    for format in FORMATS:
        metadata = {"mean": [0.5] * 3, "std": [0.5] * 3} if format.startswith(("mini", "hugging")) else None
        interop.save(model, folder / format / "model.safetensors", metadata, format)
    return folder


def parts(path):
    """Header as JSON, and the bytes after it."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def arrays_of(path):
    header, data = parts(path)
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
        for name, entry in header.items()
    }


@pytest.fixture
def target(files, tmp_path):
    """A copy of a valid file, with what lies beside it, to be spoilt."""

    def copy(format):
        for file in (files / format).iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        return tmp_path / "model.safetensors"

    return copy


@settings(parent=FUZZ, max_examples=100)
@given(data=st.data(), format=st.sampled_from(["minivit", "google"]))
def test_changed_headers_of_safetensors(files, target, data, format) -> None:
    header, numbers = parts(files / format / "model.safetensors")
    text = json.dumps(data.draw(changed_json(header))).encode()
    if data.draw(st.booleans()):
        text = data.draw(changed_bytes(json.dumps(header).encode()))
    length = data.draw(st.sampled_from([len(text)] * 6 + [0, len(text) - 1, len(text) + 9, 2**40, 2**64 - 1]))
    path = target(format)
    path.write_bytes(struct.pack("<Q", length % 2**64) + text + numbers)
    is_weights_or_an_error(path)


@pytest.mark.parametrize("format", FORMATS)
@FUZZ
@given(data=st.data())
def test_changed_arrays(files, target, format, data) -> None:
    path = target(format)
    arrays = data.draw(changed_arrays(arrays_of(files / format / "model.safetensors")))
    header, _ = parts(path)
    fields, blob = {"__metadata__": header.get("__metadata__", {})}, b""
    names = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "bool": "BOOL", "uint8": "U8"}
    for name, array in arrays.items():
        array = np.ascontiguousarray(array).reshape(array.shape)
        offsets = [len(blob), len(blob) + array.nbytes]
        fields[name] = {"dtype": names[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        blob += array.tobytes()
    text = json.dumps(fields).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)
    is_weights_or_an_error(path)


@pytest.mark.parametrize(
    ("format", "name"),
    [("huggingface", "config.json"), ("huggingface", "preprocessor_config.json"), ("timm", "config.json")],
)
@FUZZ
@given(data=st.data())
def test_changed_configurations(files, target, format, name, data) -> None:
    path = target(format)
    pixels = {"mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9}
    valid = {"architecture": "vit_tiny", "pretrained_cfg": pixels}
    if format == "huggingface":
        valid = json.loads((files / format / name).read_text())
    (path.parent / name).write_text(json.dumps(data.draw(changed_json(valid))))
    is_weights_or_an_error(path)


@FUZZ
@given(data=st.data())
def test_changed_settings_of_a_checkpoint(model, target, data) -> None:
    path = target("minivit")
    header, numbers = parts(path)
    metadata = json.loads(checkpoint_header(model)["metadata"])
    header["__metadata__"] = {
        "format": "minivit checkpoint 1",
        "metadata": json.dumps(data.draw(changed_json(metadata))),
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)
    is_weights_or_an_error(path)


def packed(members, compression=zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def unpacked(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def npz(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("npz") / "model.npz"
    interop.save(model, path, format="google")
    return path


@FUZZ
@given(data=st.data())
def test_changed_members_of_an_npz(npz, tmp_path, data) -> None:
    """The archive is made anew, so that its checksums are right."""
    members = unpacked(npz)
    name = data.draw(st.sampled_from(sorted(members)))
    content = members[name]
    header = data.draw(changed_bytes(content[:128]))
    members[name] = header + content[128:]
    path = tmp_path / "model.npz"
    path.write_bytes(packed(members, data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))))
    is_weights_or_an_error(path)


@pytest.fixture(scope="module")
def pth(by_hand, model, tmp_path_factory):
    """As torch.save writes it."""
    path = tmp_path_factory.mktemp("pth") / "model.pth"
    by_hand.weights(path, model.state_dict())
    interop.load(VisionTransformer(**BLANK), path)
    return path


@settings(parent=FUZZ, max_examples=100)
@given(data=st.data())
def test_changed_descriptions_of_a_pth(pth, tmp_path, data) -> None:
    members = unpacked(pth)
    members["archive/data.pkl"] = data.draw(changed_bytes(members["archive/data.pkl"]))
    path = tmp_path / "model.pth"
    path.write_bytes(packed(members))
    is_weights_or_an_error(path)


@pytest.mark.parametrize("kind", ["npz", "pth"])
@FUZZ
@given(data=st.data())
def test_changed_archives(npz, pth, tmp_path, kind, data) -> None:
    """Half of the changes go to the directory at the end."""
    whole = {"npz": npz, "pth": pth}[kind].read_bytes()
    start = whole.index(b"PK\x01\x02")
    path = tmp_path / f"model.{kind}"
    if data.draw(st.booleans()):
        path.write_bytes(whole[:start] + data.draw(changed_bytes(whole[start:])))
    else:
        path.write_bytes(data.draw(changed_bytes(whole)))
    is_weights_or_an_error(path)
