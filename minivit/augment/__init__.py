"""Augmentation of batches of images, in array code that runs on NumPy and CuPy alike."""

from minivit.augment.crop import random_crop
from minivit.augment.cutout import cutout
from minivit.augment.flip import random_flip
from minivit.augment.mixup import mixup, one_hot
from minivit.augment.normalize import normalize
from minivit.augment.pipeline import TrainAugmentation
from minivit.augment.randaugment import OPERATIONS, RandAugment, randaugment

__all__ = [
    "OPERATIONS",
    "RandAugment",
    "TrainAugmentation",
    "cutout",
    "mixup",
    "normalize",
    "one_hot",
    "randaugment",
    "random_crop",
    "random_flip",
]
