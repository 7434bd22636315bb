import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from minivit.models import VisionTransformer


@pytest.fixture
def small():
    """Make a small Vision Transformer; its every parameter is random, so that no two could be exchanged unnoticed."""

    def make(seed: int = 0, **settings):
        model = VisionTransformer(
            **{"image_size": 8, "patch_size": 4, "dim": 12, "depth": 2, "heads": 3, "mlp_dim": 20, "num_classes": 5}
            | settings
        )
        numbers = np.random.default_rng(seed)
        for parameter in model.parameters():
            parameter.assign(numbers.standard_normal(parameter.shape))
        return model

    return make


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def whole(value: int) -> bytes:
    return b"\x8a" + bytes([9]) + value.to_bytes(9, "little", signed=True)


def sizes(values) -> bytes:
    return b"(" + b"".join(whole(value) for value in values) + b"t"


def tensor(key="0", shape=(2,), strides=(1,), offset=0, count=2, storage="FloatStorage") -> bytes:
    """The instructions that torch.save writes for a tensor."""
    block = b"(" + text("storage") + f"ctorch\n{storage}\n".encode() + text(key) + text("cpu") + whole(count) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    return TENSOR + b"(" + block + whole(offset) + sizes(shape) + sizes(strides) + b"\x89" + hooks + b"tR"


def state(**tensors: bytes) -> bytes:
    items = b"".join(text(name) + instructions for name, instructions in tensors.items())
    return b"\x80\x02}(" + items + b"u."


def archive(path, description: bytes, prefix="archive", byteorder=b"little", **blocks: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{prefix}/data.pkl", description)
        file.writestr(f"{prefix}/byteorder", byteorder)
        for key, block in blocks.items():
            file.writestr(f"{prefix}/data/{key.lstrip('_')}", block)


@pytest.fixture(scope="session")
def by_hand():
    """What writes a PyTorch file instruction by instruction, as PyTorch may be missing."""

    def weights(path, arrays: dict[str, np.ndarray], around=lambda instructions: instructions) -> None:
        tensors = {
            name: tensor(str(number), array.shape, [stride // 4 for stride in array.strides], 0, array.size)
            for number, (name, array) in enumerate(arrays.items())
        }
        blocks = {f"_{number}": array.tobytes() for number, array in enumerate(arrays.values())}
        archive(path, around(state(**tensors)), **blocks)

    return SimpleNamespace(tensor=tensor, state=state, archive=archive, whole=whole, weights=weights)
