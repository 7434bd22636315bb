"""The Vision Transformer of `minivit.models` in plain PyTorch, as reference and for speed."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import numpy as np

from minivit.models import VisionTransformer


def torch_twin(model: VisionTransformer) -> Any:
    """A `torch.nn.Module` with the architecture and the weights of a model.

    Parameters
    ----------
    model : VisionTransformer
        Without dropout and drop-path, whose masks would differ.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    ValueError
        For settings that it does not cover.
    """
    import torch

    config = model.config
    if config["dropout"] or config["drop_path"]:
        raise ValueError("torch_twin: dropout and drop_path have to be 0, the frameworks draw different masks")
    state = {name: torch.from_numpy(np.array(array)) for name, array in model.state_dict().items()}
    twin = _build(config).to(state["norm.weight"].dtype)
    twin.load_state_dict(state)
    return twin


def _build(config: dict[str, Any]) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional

    dim, heads = config["dim"], config["heads"]
    approximate = config["gelu"]

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(dim, 3 * dim, bias=config["qkv_bias"])
            self.proj = nn.Linear(dim, dim)

        def forward(self, x: Any) -> Any:
            B, N, D = x.shape
            q, k, v = self.qkv(x).reshape(B, N, 3, heads, D // heads).permute(2, 0, 3, 1, 4)  # (B, h, N, d) each
            y = functional.scaled_dot_product_attention(q, k, v)
            return self.proj(y.transpose(1, 2).reshape(B, N, D))

    class Mlp(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(dim, config["mlp_dim"])
            self.fc2 = nn.Linear(config["mlp_dim"], dim)

        def forward(self, x: Any) -> Any:
            return self.fc2(functional.gelu(self.fc1(x), approximate=approximate))

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm1 = nn.LayerNorm(dim, eps=config["eps"])
            self.attn = Attention()
            self.norm2 = nn.LayerNorm(dim, eps=config["eps"])
            self.mlp = Mlp()

        def forward(self, x: Any) -> Any:
            x = x + self.attn(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class PatchEmbedding(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            size = config["patch_size"]
            self.proj = nn.Conv2d(config["channels"], dim, size, size)

        def forward(self, images: Any) -> Any:
            return self.proj(images).flatten(2).transpose(1, 2)  # (B, N, D)

    class Stem(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            widths = [config["channels"], *config["stem"]]
            self.convs = nn.ModuleList(nn.Conv2d(c, o, 3, padding=1) for c, o in pairwise(widths))
            self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
            self.proj = nn.Linear(widths[-1], dim)

        def forward(self, images: Any) -> Any:
            x = images
            for number, conv in enumerate(self.convs):
                x = functional.max_pool2d(conv(x), 2)
                if number < len(self.convs) - 1:
                    x = functional.relu(x)
            return self.proj(functional.relu(self.norm(x.flatten(2).transpose(1, 2))))  # (B, N, D)

    class Twin(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            tokens = (config["image_size"] // config["patch_size"]) ** 2 + (config["pool"] == "cls")
            if config["pool"] == "cls":
                self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
            if config["positions"] == "learnable":
                self.pos_embed = nn.Parameter(torch.zeros(1, tokens, dim))
            elif config["positions"] != "none":
                raise ValueError(f"torch_twin: positions {config['positions']!r} are not covered")
            self.patch_embed = Stem() if config["stem"] else PatchEmbedding()
            self.blocks = nn.ModuleList(Block() for _ in range(config["depth"]))
            self.norm = nn.LayerNorm(dim, eps=config["eps"])
            if config["pool"] == "sequence":
                self.pool_score = nn.Linear(dim, 1, bias=False)
            width = config["representation_size"] or dim
            if config["representation_size"]:
                self.pre_logits = nn.Sequential(OrderedDict(fc=nn.Linear(dim, width), act=nn.Tanh()))
            if config["num_classes"]:
                self.head = nn.Linear(width, config["num_classes"])

        def forward(self, images: Any) -> Any:
            x = self.patch_embed(images)
            if config["pool"] == "cls":
                x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
            if config["positions"] == "learnable":
                x = x + self.pos_embed
            for block in self.blocks:
                x = block(x)
            x = self.norm(x)
            if config["pool"] == "cls":
                x = x[:, 0]
            elif config["pool"] == "mean":
                x = x.mean(1)
            else:
                x = (torch.softmax(self.pool_score(x), 1) * x).sum(1)
            if config["representation_size"]:
                x = self.pre_logits(x)
            return self.head(x) if config["num_classes"] else x

    return Twin()
