"""Looking into a model while it runs: the graph, attention and class activation maps, a summary, times, NaNs."""

from minivit.inspect.attention import AttentionMaps, HeatMaps, attention_maps, heat_maps, overlay, rollout, token_map
from minivit.inspect.class_activation import ClassActivation, class_activation, has_class_activation
from minivit.inspect.graph import Graph, draw_graph
from minivit.inspect.nan_finder import NanFinder, NonFinite, NonFiniteError, find_non_finite
from minivit.inspect.peak import matrix_product_speed
from minivit.inspect.profile_table import LayerTime, layer_table, layer_times, op_table
from minivit.inspect.profiler import OpTime, Profiler, profile
from minivit.inspect.summary import Summary, summarize

__all__ = [
    "AttentionMaps",
    "ClassActivation",
    "Graph",
    "HeatMaps",
    "LayerTime",
    "NanFinder",
    "NonFinite",
    "NonFiniteError",
    "OpTime",
    "Profiler",
    "Summary",
    "attention_maps",
    "class_activation",
    "draw_graph",
    "find_non_finite",
    "has_class_activation",
    "heat_maps",
    "layer_table",
    "layer_times",
    "matrix_product_speed",
    "op_table",
    "overlay",
    "profile",
    "rollout",
    "summarize",
    "token_map",
]
