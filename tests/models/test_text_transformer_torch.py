"""PyTorch's own encoder layers with our weights: the same logits, the same gradients."""

import numpy as np
import pytest

import minivit as mv
from minivit.models import TextTransformer

pytestmark = pytest.mark.reference("torch")

CONFIG = {"vocabulary_size": 30, "max_length": 9, "dim": 16, "depth": 3, "heads": 4, "mlp_dim": 24, "num_classes": 5}


def torch_logits(state, tokens, pool, eps):
    """`torch.nn.TransformerEncoderLayer` with `src_key_padding_mask`; its weights are leaves of `state`."""
    import torch
    from torch.func import functional_call

    padding = tokens == 0
    x = state["token_embed"][tokens]
    if pool == "cls":
        x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], 1)
        padding = torch.cat([torch.zeros(len(x), 1, dtype=torch.bool), padding], 1)
    x = x + state["pos_embed"][:, : x.shape[1]]
    layer = torch.nn.TransformerEncoderLayer(
        CONFIG["dim"], CONFIG["heads"], CONFIG["mlp_dim"], 0.0, "gelu", eps, batch_first=True, norm_first=True
    ).double()
    names = {
        "attn.qkv.weight": "self_attn.in_proj_weight",
        "attn.qkv.bias": "self_attn.in_proj_bias",
        "attn.proj": "self_attn.out_proj",
        "mlp.fc1": "linear1",
        "mlp.fc2": "linear2",
        "norm1": "norm1",
        "norm2": "norm2",
    }
    for i in range(CONFIG["depth"]):
        weights = {}
        for ours, theirs in names.items():
            for ending in [""] if ours.endswith(("weight", "bias")) else [".weight", ".bias"]:
                weights[theirs + ending] = state[f"blocks.{i}.{ours}{ending}"]
        x = functional_call(layer, weights, (x,), {"src_key_padding_mask": padding})
    x = torch.nn.functional.layer_norm(x, x.shape[-1:], state["norm.weight"], state["norm.bias"], eps)
    if pool == "cls":
        x = x[:, 0]
    else:
        x = (x * ~padding[:, :, None]).sum(1) / (~padding).sum(1, keepdim=True)
    return torch.nn.functional.linear(x, state["head.weight"], state["head.bias"])


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_logits_and_gradients_are_those_of_pytorchs_encoder(pool):
    import torch

    rng = np.random.default_rng(0)
    model = TextTransformer(**CONFIG, pool=pool, initialization="none").astype(np.float64)
    for parameter in model.parameters():
        parameter.assign(0.5 * rng.standard_normal(parameter.shape))
    tokens = rng.integers(1, 30, (6, 9))
    tokens[np.arange(9) >= np.array([9, 7, 5, 3, 2, 1])[:, None]] = 0
    cotangent = rng.standard_normal((6, 5))

    logits = model(mv.tensor(tokens))
    logits.backward(cotangent)
    state = {name: torch.from_numpy(values).requires_grad_() for name, values in model.state_dict().items()}
    expected = torch_logits(state, torch.from_numpy(tokens), pool, model.config["eps"])
    expected.backward(torch.from_numpy(cotangent))

    np.testing.assert_allclose(logits.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    for name, parameter in model.named_parameters():
        target = state[name].grad.numpy()
        np.testing.assert_allclose(parameter.grad, target, rtol=1e-8, atol=1e-10 * np.abs(target).max(), err_msg=name)
