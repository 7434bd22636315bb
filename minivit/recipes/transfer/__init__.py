"""From what a network has learned to the task of interest: fine-tuning, linear probes, nearest neighbours."""

from minivit.recipes.transfer.encoder import Pretrained, find_weights, load_pretrained
from minivit.recipes.transfer.features import FeatureCache, features_of
from minivit.recipes.transfer.linear_probe import LinearProbe, fit_probe, fit_softmax
from minivit.recipes.transfer.nearest_neighbours import nearest, votes

__all__ = [
    "FeatureCache",
    "LinearProbe",
    "Pretrained",
    "features_of",
    "find_weights",
    "fit_probe",
    "fit_softmax",
    "load_pretrained",
    "nearest",
    "votes",
]
