"""The Vision Transformer as an ONNX graph: one function for all its blocks, which is given their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minivit.interop.onnx_graph import LINEAR, Graph
from minivit.models import VisionTransformer
from minivit.models.vit import sincos_positions
from minivit.ops.gelu import CUBIC

BLOCK_LAYERS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")

# ONNX's own Gelu is not used: its evaluator in NumPy does not find it inside a function.
EXACT_GELU = f"""
Gelu (x) => (y) {{                                                  # y = x/2 (1 + erf(x / sqrt 2))
    root = Constant <value_float = {math.sqrt(2.0)!r}> ()
    one = Constant <value_float = 1.0> ()
    half = Constant <value_float = 0.5> ()
    scaled = Div (x, root)
    e = Erf (scaled)
    double = Add (e, one)
    product = Mul (x, double)
    y = Mul (product, half)
}}"""

TANH_GELU = f"""
Gelu (x) => (y) {{                                                  # y = x/2 (1 + tanh(sqrt(2/pi) (x + {CUBIC} x^3)))
    root = Constant <value_float = {math.sqrt(2.0 / math.pi)!r}> ()
    cubic = Constant <value_float = {CUBIC}> ()
    one = Constant <value_float = 1.0> ()
    half = Constant <value_float = 0.5> ()
    square = Mul (x, x)
    cube = Mul (square, x)
    bend = Mul (cube, cubic)
    bent = Add (x, bend)
    scaled = Mul (bent, root)
    t = Tanh (scaled)
    double = Add (t, one)
    product = Mul (x, double)
    y = Mul (product, half)
}}"""

MLP = """
Mlp (x, fc1_weight, fc1_bias, fc2_weight, fc2_bias) => (y) {
    hidden = minivit.Linear (x, fc1_weight, fc1_bias)              # (B, N, M)
    active = minivit.Gelu (hidden)
    y = minivit.Linear (active, fc2_weight, fc2_bias)              # (B, N, D)
}"""

CLASS_TOKEN = """
ClassToken (x, token) => (y) {
    batch = Shape <start = 0, end = 1> (x)
    rest = Shape <start = 1, end = 3> (token)
    shape = Concat <axis = 0> (batch, rest)
    tokens = Expand (token, shape)                                 # (1, 1, D) -> (B, 1, D)
    y = Concat <axis = 1> (tokens, x)                              # (B, 1 + N, D)
}"""

SEQUENCE_POOLING = """
SequencePooling (x, weight) => (y) {
    transposed = Transpose <perm = [1, 0]> (weight)                # (1, D) -> (D, 1)
    scores = MatMul (x, transposed)                                # (B, N, 1)
    shares = Softmax <axis = 1> (scores)
    row = Transpose <perm = [0, 2, 1]> (shares)                    # (B, 1, N)
    mean = MatMul (row, x)                                         # (B, 1, D)
    axis = Constant <value_ints = [1]> ()
    y = Squeeze (mean, axis)                                       # (B, D)
}"""

PRE_LOGITS = """
PreLogits (x, weight, bias) => (y) {
    mapped = minivit.Linear (x, weight, bias)
    y = Tanh (mapped)
}"""


def vision_transformer(model: VisionTransformer) -> Any:
    """The forward in evaluation, as an `onnx.ModelProto`.

    Parameters
    ----------
    model : VisionTransformer
        With parameters of float32.
    """
    config, state = model.config, model.state_dict()
    graph = Graph()
    x = _tokens(graph, model, state)  # (B, N, D)
    graph.define(
        LINEAR,
        _attention(config["dim"], config["heads"], config["qkv_bias"]),
        TANH_GELU if config["gelu"] == "tanh" else EXACT_GELU,
        MLP,
        _block(config["eps"], config["qkv_bias"]),
    )
    for number in range(config["depth"]):
        weights = graph.weights_of(state, *(f"blocks.{number}.{layer}" for layer in BLOCK_LAYERS))
        x = graph.call("TransformerBlock", [x, *weights], f"blocks.{number}")
    x = graph.add("LayerNormalization", [x, *graph.weights_of(state, "norm")], "norm", axis=-1, epsilon=config["eps"])
    x = _pooled(graph, x, config["pool"], state)  # (B, D)
    if config["representation_size"]:
        graph.define(PRE_LOGITS)
        x = graph.call("PreLogits", [x, *graph.weights_of(state, "pre_logits.fc")], "pre_logits")  # (B, R)
    if config["num_classes"]:
        x = graph.call("Linear", [x, *graph.weights_of(state, "head")], "head")
    return graph.model(model, x, config["num_classes"] or model.num_features)


def _tokens(graph: Graph, model: Any, state: Mapping[str, np.ndarray]) -> str:
    """Images to tokens with their positions."""
    config = model.config
    if config["stem"]:
        graph.define(LINEAR, _stem(len(config["stem"]), model.patch_embed.norm.eps))
        layers = [f"patch_embed.convs.{number}" for number in range(len(config["stem"]))]
        weights = graph.weights_of(state, *layers, "patch_embed.norm", "patch_embed.proj")
        x = graph.call("ConvolutionalStem", [graph.images, *weights], "patch_embed")
    else:
        graph.define(_patches(config["patch_size"]))
        x = graph.call("PatchEmbedding", [graph.images, *graph.weights_of(state, "patch_embed.proj")], "patch_embed")
    if "cls_token" in state:
        graph.define(CLASS_TOKEN)
        x = graph.call("ClassToken", [x, graph.weight("cls_token", state["cls_token"])], "with_class_token")
    if config["positions"] == "none":
        return x
    if config["positions"] == "learnable":
        positions = state["pos_embed"]
    else:
        side = config["image_size"] // config["patch_size"]
        positions = sincos_positions(side, config["dim"], "cls_token" in state).astype(np.float32)
    return graph.add("Add", [x, graph.weight("pos_embed", positions)], "with_positions")


def _pooled(graph: Graph, x: str, kind: str, state: Mapping[str, np.ndarray]) -> str:
    """Tokens (B, N, D) to one vector (B, D)."""
    if kind == "cls":
        return graph.add("Gather", [x, graph.weight("class_token_index", np.int64(0))], "pool", axis=1)
    if kind == "mean":
        return graph.add("ReduceMean", [x, graph.weight("token_axis", np.array([1]))], "pool", keepdims=0)
    graph.define(SEQUENCE_POOLING)
    return graph.call("SequencePooling", [x, *graph.weights_of(state, "pool_score")], "pool")


def _patches(patch_size: int) -> str:
    return f"""
PatchEmbedding (images, weight, bias) => (tokens) {{
    maps = Conv <strides = [{patch_size}, {patch_size}]> (images, weight, bias)   # (B, D, H/p, W/p)
{_POSITIONS_TO_TOKENS.format(maps="maps", tokens="tokens")}
}}"""


def _stem(stages: int, eps: float) -> str:
    convs = [f"convs_{number}_{part}" for number in range(stages) for part in ("weight", "bias")]
    lines, x = [], "images"
    for number in range(stages):
        lines.append(
            f"    conv_{number} = Conv <pads = [1, 1, 1, 1]> ({x}, convs_{number}_weight, convs_{number}_bias)\n"
            f"    pool_{number} = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (conv_{number})"
        )
        x = f"pool_{number}"
        if number < stages - 1:
            lines.append(f"    relu_{number} = Relu ({x})")
            x = f"relu_{number}"
    body = "\n".join(lines)
    return f"""
ConvolutionalStem (images, {", ".join(convs)}, norm_weight, norm_bias, proj_weight, proj_bias) => (tokens) {{
{body}
{_POSITIONS_TO_TOKENS.format(maps=x, tokens="features")}
    normal = LayerNormalization <axis = -1, epsilon = {eps!r}> (features, norm_weight, norm_bias)
    active = Relu (normal)
    tokens = minivit.Linear (active, proj_weight, proj_bias)       # (B, N, D)
}}"""


_POSITIONS_TO_TOKENS = """\
    shape = Constant <value_ints = [0, 0, -1]> ()
    columns = Reshape ({maps}, shape)                              # (B, D, N)
    {tokens} = Transpose <perm = [0, 2, 1]> (columns)              # (B, N, D)"""


def _attention(dim: int, heads: int, bias: bool) -> str:
    project = "joined = minivit.Linear (x, qkv_weight, qkv_bias)"
    if not bias:
        project = "transposed = Transpose <perm = [1, 0]> (qkv_weight)\n    joined = MatMul (x, transposed)"
    return f"""
SelfAttention (x, qkv_weight, {"qkv_bias, " if bias else ""}proj_weight, proj_bias) => (y) {{
    {project}                                                      # (B, N, 3D)
    split_shape = Constant <value_ints = [0, 0, 3, {heads}, {dim // heads}]> ()
    split = Reshape (joined, split_shape)                          # (B, N, 3, h, d)
    qkv = Transpose <perm = [2, 0, 3, 1, 4]> (split)               # (3, B, h, N, d)
    zero = Constant <value_int = 0> ()
    one = Constant <value_int = 1> ()
    two = Constant <value_int = 2> ()
    q = Gather <axis = 0> (qkv, zero)                              # (B, h, N, d)
    k = Gather <axis = 0> (qkv, one)
    v = Gather <axis = 0> (qkv, two)
    keys = Transpose <perm = [0, 1, 3, 2]> (k)                     # (B, h, d, N)
    products = MatMul (q, keys)                                    # (B, h, N, N)
    scale = Constant <value_float = {(dim // heads) ** -0.5!r}> ()
    scores = Mul (products, scale)
    shares = Softmax <axis = -1> (scores)
    heads = MatMul (shares, v)                                     # (B, h, N, d)
    side_by_side = Transpose <perm = [0, 2, 1, 3]> (heads)         # (B, N, h, d)
    joined_shape = Constant <value_ints = [0, 0, {dim}]> ()
    mixed = Reshape (side_by_side, joined_shape)                   # (B, N, D)
    y = minivit.Linear (mixed, proj_weight, proj_bias)
}}"""


def _block(eps: float, qkv_bias: bool) -> str:
    attention = f"attn_qkv_weight, {'attn_qkv_bias, ' if qkv_bias else ''}attn_proj_weight, attn_proj_bias"
    mlp = "mlp_fc1_weight, mlp_fc1_bias, mlp_fc2_weight, mlp_fc2_bias"
    return f"""
TransformerBlock (x, norm1_weight, norm1_bias, {attention}, norm2_weight, norm2_bias, {mlp}) => (y) {{
    normal1 = LayerNormalization <axis = -1, epsilon = {eps!r}> (x, norm1_weight, norm1_bias)
    attended = minivit.SelfAttention (normal1, {attention})
    between = Add (x, attended)
    normal2 = LayerNormalization <axis = -1, epsilon = {eps!r}> (between, norm2_weight, norm2_bias)
    mapped = minivit.Mlp (normal2, {mlp})
    y = Add (between, mapped)
}}"""
