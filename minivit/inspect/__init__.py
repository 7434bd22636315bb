"""Looking into a model while it runs: attention maps, a summary, the first number that is not finite."""

from minivit.inspect.attention import AttentionMaps, attention_maps, class_token_map, overlay, rollout
from minivit.inspect.nan_finder import NanFinder, NonFinite, NonFiniteError, find_non_finite
from minivit.inspect.summary import Summary, summarize

__all__ = [
    "AttentionMaps",
    "NanFinder",
    "NonFinite",
    "NonFiniteError",
    "Summary",
    "attention_maps",
    "class_token_map",
    "find_non_finite",
    "overlay",
    "rollout",
    "summarize",
]
