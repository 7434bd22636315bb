"""A Vision Transformer written in plain PyTorch, with our weights: the same logits, the same gradients."""

import numpy as np
import pytest

import minivit as mv
from minivit import models

pytestmark = pytest.mark.reference("torch")

CONFIG = {
    "image_size": 12,
    "patch_size": 4,
    "dim": 16,
    "depth": 3,
    "heads": 4,
    "mlp_dim": 24,
    "num_classes": 7,
    "initialization": "none",
}


def torch_vit(state, images, config, stem=()):
    """The forward, by functions of torch.nn.functional alone."""
    import torch
    from torch.nn import functional

    def linear(x, name):
        return functional.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def norm(x, name):
        return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], config["eps"])

    dim, heads = config["dim"], config["heads"]
    if stem:
        x = images
        for i in range(len(stem)):
            x = functional.conv2d(
                x, state[f"patch_embed.convs.{i}.weight"], state[f"patch_embed.convs.{i}.bias"], padding=1
            )
            x = functional.max_pool2d(x, 2)
            x = functional.relu(x) if i < len(stem) - 1 else x
        x = linear(functional.relu(norm(x.flatten(2).transpose(1, 2), "patch_embed.norm")), "patch_embed.proj")
    else:
        weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
        x = functional.conv2d(images, weight, bias, stride=config["patch_size"]).flatten(2).transpose(1, 2)  # (B, N, D)
    batch = len(x)
    if config["pool"] == "cls":
        x = torch.cat([state["cls_token"].expand(batch, -1, -1), x], 1)
    x = x + state["pos_embed"]
    for i in range(config["depth"]):
        qkv = linear(norm(x, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv")
        q, k, v = qkv.reshape(batch, -1, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = x + linear(y, f"blocks.{i}.attn.proj")
        hidden = functional.gelu(
            linear(norm(x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1"), approximate=config["gelu"]
        )
        x = x + linear(hidden, f"blocks.{i}.mlp.fc2")
    x = norm(x, "norm")
    if config["pool"] == "sequence":
        pooled = (torch.softmax(linear(x, "pool_score"), 1).transpose(1, 2) @ x).squeeze(1)
    else:
        pooled = x[:, 0] if config["pool"] == "cls" else x.mean(1)
    if config["representation_size"]:
        pooled = torch.tanh(linear(pooled, "pre_logits.fc"))
    return linear(pooled, "head")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pool": "mean", "gelu": "tanh"},
        {"qkv_bias": False, "eps": 1e-3},
        {"pool": "sequence"},
        {"pool": "mean", "stem": (5, 6)},
        {"checkpoint_blocks": True},
        {"representation_size": 9},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_logits_and_every_gradient_are_pytorchs(options, dtype):
    import torch

    rng = np.random.default_rng(0)
    model = models.VisionTransformer(**CONFIG, **options).astype(dtype)
    for parameter in model.parameters():
        parameter.assign(0.3 * rng.standard_normal(parameter.shape))
    x = rng.standard_normal((5, 3, 12, 12)).astype(dtype)
    labels = rng.integers(0, 7, 5)

    images = mv.tensor(x, requires_grad=True)
    logits = model(images)
    loss = mv.ops.cross_entropy(logits, mv.tensor(labels), label_smoothing=0.1)
    loss.backward()

    state = {name: torch.tensor(array, requires_grad=True) for name, array in model.state_dict().items()}
    their_images = torch.tensor(x, requires_grad=True)
    their_logits = torch_vit(state, their_images, model.config, options.get("stem", ()))
    their_loss = torch.nn.functional.cross_entropy(their_logits, torch.tensor(labels), label_smoothing=0.1)
    their_loss.backward()

    rtol = 1e-10 if dtype == np.float64 else 2e-4

    def compare(ours, theirs, name):
        theirs = theirs.detach().numpy()
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * max(np.abs(theirs).max(), 1e-4), err_msg=name)

    compare(logits.numpy(), their_logits, "logits")
    compare(loss.numpy(), their_loss, "loss")
    compare(images.grad, their_images.grad, "images")
    for name, parameter in model.named_parameters():
        compare(parameter.grad, state[name].grad, name)


def test_the_twin_has_pre_logits_too():
    import torch

    from minivit.compare.torch_vit import torch_twin

    model = models.VisionTransformer(**CONFIG, representation_size=9).astype(np.float64)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.assign(0.3 * rng.standard_normal(parameter.shape))
    x = rng.standard_normal((2, 3, 12, 12))
    theirs = torch_twin(model)(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(model(mv.tensor(x)).numpy(), theirs, rtol=1e-10, atol=1e-12)
