"""Augmentation of batches of images, in array code that runs on NumPy and CuPy alike."""

from minivit.augment.color_rotation import color_rotation
from minivit.augment.context_colors import drop_colors, gray_colors, project_colors, standardize_patches
from minivit.augment.context_patches import ContextPatches, PatchGrid, context_patches
from minivit.augment.context_resolution import random_resolution
from minivit.augment.crop import random_crop
from minivit.augment.cutmix import cutmix
from minivit.augment.cutout import cutout
from minivit.augment.flip import random_flip
from minivit.augment.lens import lens
from minivit.augment.masks import center_mask, random_block_mask, random_patch_mask, random_region_mask, shrink_mask
from minivit.augment.mixup import mixup, one_hot
from minivit.augment.normalize import normalize
from minivit.augment.pipeline import TrainAugmentation
from minivit.augment.randaugment import OPERATIONS, Dialect, RandAugment, randaugment
from minivit.augment.random_erasing import random_erasing
from minivit.augment.random_resized_crop import random_resized_crop
from minivit.augment.resize import INTERPOLATIONS, resize

__all__ = [
    "INTERPOLATIONS",
    "OPERATIONS",
    "ContextPatches",
    "Dialect",
    "PatchGrid",
    "RandAugment",
    "TrainAugmentation",
    "center_mask",
    "color_rotation",
    "context_patches",
    "cutmix",
    "cutout",
    "drop_colors",
    "gray_colors",
    "lens",
    "mixup",
    "normalize",
    "one_hot",
    "project_colors",
    "randaugment",
    "random_block_mask",
    "random_crop",
    "random_erasing",
    "random_flip",
    "random_patch_mask",
    "random_region_mask",
    "random_resized_crop",
    "random_resolution",
    "resize",
    "shrink_mask",
    "standardize_patches",
]
