"""Data sets in host memory, their splits, and the batches of a run."""

from minivit.data.batches import Batch, Batches, prefetch
from minivit.data.cifar import CIFAR10, CIFAR100, load_cifar
from minivit.data.dataset import Dataset, DatasetError, Splits, channel_statistics
from minivit.data.digits import load_digits
from minivit.data.image_folder import load_image_folder, read_image
from minivit.data.locate import DataNotFoundError, search_folders, user_cache
from minivit.data.registry import EMBEDDED, NAMES, find, load
from minivit.data.shapes import draw_shapes, load_shapes
from minivit.data.split import hold_out, stratified_split

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "EMBEDDED",
    "NAMES",
    "Batch",
    "Batches",
    "DataNotFoundError",
    "Dataset",
    "DatasetError",
    "Splits",
    "channel_statistics",
    "draw_shapes",
    "find",
    "hold_out",
    "load",
    "load_cifar",
    "load_digits",
    "load_image_folder",
    "load_shapes",
    "prefetch",
    "read_image",
    "search_folders",
    "stratified_split",
    "user_cache",
]
