"""Layers and models of `minivit` as functions of a state dict in JAX: nothing of them but the names comes from here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from minivit import models, nn
from minivit.compare.against_jax import functions

State = Mapping[str, Any]
Function = Callable[[State, Any], Any]


def jax_function(module: nn.Module) -> Function:
    """The forward of a layer or a model as a function (state, input) -> output of JAX arrays.

    Parameters
    ----------
    module : VisionTransformer, ResNet, or one of the layers in `BUILDERS`
        Without dropout and drop-path, whose masks would differ.

    Raises
    ------
    ValueError
        For another module, or settings that are not covered.
    """
    name = type(module).__name__
    if name not in BUILDERS:
        raise ValueError(f"no twin of {name} in JAX; there are those of {', '.join(BUILDERS)}")
    return BUILDERS[name](module)


def _below(state: State, name: str) -> dict[str, Any]:
    """The part of a state below a name, without it."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def _linear(state: State, x: Any) -> Any:
    return functions()["linear"](x, state["weight"], state.get("bias"))


def _norm(state: State, x: Any, *, eps: float) -> Any:
    return functions()["layer_norm"](x, state["weight"], state["bias"], eps)


def _conv(state: State, x: Any, *, stride: int = 1, padding: int = 0) -> Any:
    return functions()["conv2d"](x, state["weight"], state.get("bias"), stride, padding)


def _conv_transpose(state: State, x: Any, *, stride: int, padding: int, output_padding: int) -> Any:
    call = functions()["conv_transpose2d"]
    return call(x, state["weight"], state.get("bias"), stride, padding, output_padding)


def _batch_norm(state: State, x: Any, *, eps: float, training: bool) -> Any:
    statistics = (None, None) if training else (state["running_mean"], state["running_var"])
    return functions()["batch_norm"](x, state.get("weight"), state.get("bias"), *statistics, eps=eps)


def _attention(state: State, x: Any, *, heads: int) -> Any:
    qkv = _linear(_below(state, "qkv"), x)  # (B, N, 3D)
    return _linear(_below(state, "proj"), functions()["qkv_attention"](qkv, heads=heads))


def _mlp(state: State, x: Any, *, gelu: str) -> Any:
    return _linear(_below(state, "fc2"), functions()["gelu"](_linear(_below(state, "fc1"), x), gelu))


def _block(state: State, x: Any, *, heads: int, eps: float, gelu: str) -> Any:
    x = x + _attention(_below(state, "attn"), _norm(_below(state, "norm1"), x, eps=eps), heads=heads)
    return x + _mlp(_below(state, "mlp"), _norm(_below(state, "norm2"), x, eps=eps), gelu=gelu)


def _patches(state: State, images: Any) -> Any:
    x = _conv(_below(state, "proj"), images, stride=state["proj.weight"].shape[2])  # (B, D, H', W')
    return x.reshape(*x.shape[:2], -1).swapaxes(1, 2)  # (B, N, D)


def _stem(state: State, images: Any, *, stages: int, eps: float) -> Any:
    relu, x = functions()["relu"], images
    for number in range(stages):
        x = functions()["max_pool2d"](_conv(_below(state, f"convs.{number}"), x, padding=1), 2)
        x = relu(x) if number < stages - 1 else x
    x = x.reshape(*x.shape[:2], -1).swapaxes(1, 2)  # (B, N, C)
    return _linear(_below(state, "proj"), relu(_norm(_below(state, "norm"), x, eps=eps)))


def _vision_transformer(model: models.VisionTransformer) -> Function:
    import jax
    import jax.numpy as jnp

    config = model.config
    if config["positions"] == "sincos2d":
        raise ValueError("jax_function: sincos2d positions are not covered")
    embed = jax_function(model.patch_embed)
    block = partial(_block, heads=config["heads"], eps=config["eps"], gelu=config["gelu"])

    def pool(state: State, x: Any) -> Any:
        if config["pool"] == "cls":
            return x[:, 0]
        if config["pool"] == "mean":
            return x.mean(1)
        weights = functions()["softmax"](_linear(_below(state, "pool_score"), x), axis=1)  # (B, N, 1)
        return (weights * x).sum(1)

    def forward(state: State, images: Any) -> Any:
        x = embed(_below(state, "patch_embed"), images)  # (B, N, D)
        if config["pool"] == "cls":
            x = jnp.concatenate([jnp.repeat(state["cls_token"], len(x), 0), x], 1)  # (B, N + 1, D)
        if config["positions"] == "learnable":
            x = x + state["pos_embed"]
        blocks = [_below(state, f"blocks.{number}") for number in range(config["depth"])]
        stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *blocks)  # a block is compiled once for all
        x, _ = jax.lax.scan(lambda x, one: (block(one, x), None), x, stacked)
        pooled = pool(state, _norm(_below(state, "norm"), x, eps=config["eps"]))  # (B, D)
        if config["representation_size"]:
            pooled = functions()["tanh"](_linear(_below(state, "pre_logits.fc"), pooled))
        return _linear(_below(state, "head"), pooled) if config["num_classes"] else pooled

    return forward


def _resnet(model: models.ResNet) -> Function:
    config, training = model.config, model.training
    relu, pool = functions()["relu"], functions()["max_pool2d"]
    norm = partial(_batch_norm, eps=config["bn_eps"], training=training)

    def residual(state: State, x: Any, stride: int) -> Any:
        sizes = (3, 3) if config["block"] == "basic" else (1, 3, 1)
        y = x
        for number, size in enumerate(sizes, 1):
            strided = stride if number == (1 if len(sizes) == 2 else 2) else 1
            y = _conv(_below(state, f"conv{number}"), y, stride=strided, padding=size // 2)
            y = norm(_below(state, f"bn{number}"), y)
            y = relu(y) if number < len(sizes) else y
        if "downsample.0.weight" in state:
            x = norm(_below(state, "downsample.1"), _conv(_below(state, "downsample.0"), x, stride=stride))
        return relu(x + y)

    def forward(state: State, images: Any) -> Any:
        large = config["stem"] == "imagenet"
        x = _conv(_below(state, "conv1"), images, stride=2 if large else 1, padding=3 if large else 1)
        x = relu(norm(_below(state, "bn1"), x))
        x = pool(x, 3, 2, 1) if large else x
        for stage, count in enumerate(config["layers"], 1):
            for number in range(count):
                x = residual(_below(state, f"layer{stage}.{number}"), x, 2 if stage > 1 and number == 0 else 1)
        x = x.mean((2, 3))  # (B, C)
        return _linear(_below(state, "fc"), x) if config["num_classes"] else x

    return forward


BUILDERS: dict[str, Callable[[Any], Function]] = {
    "Linear": lambda _: _linear,
    "LayerNorm": lambda layer: partial(_norm, eps=layer.eps),
    "Conv2d": lambda layer: partial(_conv, stride=layer.stride, padding=layer.padding),
    "ConvTranspose2d": lambda layer: partial(
        _conv_transpose, stride=layer.stride, padding=layer.padding, output_padding=layer.output_padding
    ),
    "BatchNorm2d": lambda layer: partial(_batch_norm, eps=layer.eps, training=layer.training),
    "MultiHeadSelfAttention": lambda layer: partial(_attention, heads=layer.heads),
    "Mlp": lambda layer: partial(_mlp, gelu=layer.gelu),
    "TransformerBlock": lambda layer: partial(_block, heads=layer.attn.heads, eps=layer.norm1.eps, gelu=layer.mlp.gelu),
    "PatchEmbedding": lambda _: _patches,
    "ConvolutionalStem": lambda layer: partial(_stem, stages=len(layer.convs), eps=layer.norm.eps),
    "VisionTransformer": _vision_transformer,
    "ResNet": _resnet,
}
