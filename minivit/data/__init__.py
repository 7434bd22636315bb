"""Data sets in host memory, their splits, and the batches of a run."""

from minivit.data.batches import Batch, Batches, BatchOrder, prefetch
from minivit.data.cifar import CIFAR10, CIFAR100, load_cifar
from minivit.data.dataset import Dataset, DatasetError, Splits, StoredImages, channel_statistics
from minivit.data.digits import load_digits
from minivit.data.flowers import FLOWERS, load_flowers
from minivit.data.image_folder import load_image_folder, read_image
from minivit.data.imagenet import IMAGENET, load_imagenet, load_imagenet_validation
from minivit.data.imagenet_labels import load_real_labels
from minivit.data.labels import LabelSplit, refuse_overlap, split_labels
from minivit.data.locate import DataNotFoundError, search_folders, user_cache
from minivit.data.pets import PETS, load_pets
from minivit.data.photo_files import PhotoFiles
from minivit.data.photo_sets import PhotoReading
from minivit.data.preprocess import STATISTICS, Preprocessing
from minivit.data.registry import EMBEDDED, NAMES, PHOTOS, find, load
from minivit.data.shapes import draw_shapes, load_shapes
from minivit.data.split import hold_out, stratified_split

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "EMBEDDED",
    "FLOWERS",
    "IMAGENET",
    "NAMES",
    "PETS",
    "PHOTOS",
    "STATISTICS",
    "Batch",
    "BatchOrder",
    "Batches",
    "DataNotFoundError",
    "Dataset",
    "DatasetError",
    "LabelSplit",
    "PhotoFiles",
    "PhotoReading",
    "Preprocessing",
    "Splits",
    "StoredImages",
    "channel_statistics",
    "draw_shapes",
    "find",
    "hold_out",
    "load",
    "load_cifar",
    "load_digits",
    "load_flowers",
    "load_image_folder",
    "load_imagenet",
    "load_imagenet_validation",
    "load_pets",
    "load_real_labels",
    "load_shapes",
    "prefetch",
    "read_image",
    "refuse_overlap",
    "search_folders",
    "split_labels",
    "stratified_split",
    "user_cache",
]
