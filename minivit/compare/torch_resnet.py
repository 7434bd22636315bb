"""The ResNets of `minivit.models` in plain PyTorch, under torchvision's and kekmodel's names, as reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.models import ResNet, WideResNet


def torch_twin(model: ResNet | WideResNet) -> Any:
    """A `torch.nn.Module` with the architecture, the weights and the running statistics of a model.

    Parameters
    ----------
    model : ResNet or WideResNet
        Without dropout, whose masks would differ.

    Returns
    -------
    torch.nn.Module
        In the mode of training, as PyTorch's modules are at first.

    Raises
    ------
    ValueError
        For a model with dropout.
    """
    import torch

    if model.config.get("dropout"):
        raise ValueError("torch_twin: dropout has to be 0, the frameworks draw different masks")
    state = {name: torch.from_numpy(np.array(array)) for name, array in model.state_dict().items()}
    twin = _resnet(model.config) if isinstance(model, ResNet) else _wide_resnet(model.config)
    twin = twin.to(state["conv1.weight"].dtype)
    twin.load_state_dict(state)
    return twin


def _resnet(config: dict[str, Any]) -> Any:
    from torch import nn
    from torch.nn import functional

    def norm(channels: int) -> Any:
        return nn.BatchNorm2d(channels, eps=config["bn_eps"], momentum=config["bn_momentum"])

    def shortcut(inner: int, outer: int, stride: int) -> Any:
        if stride == 1 and inner == outer:
            return None
        return nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), norm(outer))

    class Basic(nn.Module):  # type: ignore[misc]
        def __init__(self, inner: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inner, width, 3, stride, 1, bias=False)
            self.bn1 = norm(width)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn2 = norm(width)
            self.downsample = shortcut(inner, width, stride)

        def forward(self, x: Any) -> Any:
            y = functional.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            return functional.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Bottleneck(nn.Module):  # type: ignore[misc]
        def __init__(self, inner: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inner, width, 1, bias=False)
            self.bn1 = norm(width)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.bn2 = norm(width)
            self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
            self.bn3 = norm(4 * width)
            self.downsample = shortcut(inner, 4 * width, stride)

        def forward(self, x: Any) -> Any:
            y = functional.relu(self.bn1(self.conv1(x)))
            y = functional.relu(self.bn2(self.conv2(y)))
            y = self.bn3(self.conv3(y))
            return functional.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Twin(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            width, layers = config["width"], config["layers"]
            block, expansion = (Basic, 1) if config["block"] == "basic" else (Bottleneck, 4)
            if config["stem"] == "imagenet":
                self.conv1 = nn.Conv2d(config["channels"], width, 7, 2, 3, bias=False)
            else:
                self.conv1 = nn.Conv2d(config["channels"], width, 3, 1, 1, bias=False)
            self.bn1 = norm(width)
            inner = width
            for stage, count in enumerate(layers):
                outer = expansion * width * 2**stage
                first = block(inner, width * 2**stage, 2 if stage else 1)
                rest = [block(outer, width * 2**stage, 1) for _ in range(1, count)]
                setattr(self, f"layer{stage + 1}", nn.Sequential(first, *rest))
                inner = outer
            if config["num_classes"]:
                self.fc = nn.Linear(inner, config["num_classes"])

        def forward(self, images: Any) -> Any:
            x = functional.relu(self.bn1(self.conv1(images)))
            if config["stem"] == "imagenet":
                x = functional.max_pool2d(x, 3, 2, 1)
            for stage in range(len(config["layers"])):
                x = getattr(self, f"layer{stage + 1}")(x)
            x = functional.adaptive_avg_pool2d(x, 1).flatten(1)
            return self.fc(x) if config["num_classes"] else x

    return Twin()


def _wide_resnet(config: dict[str, Any]) -> Any:
    from torch import nn
    from torch.nn import functional

    def norm(channels: int) -> Any:
        return nn.BatchNorm2d(channels, eps=config["bn_eps"], momentum=config["bn_momentum"])

    def activated(x: Any) -> Any:
        return functional.leaky_relu(x, config["slope"])

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, inner: int, outer: int, stride: int, activate_shortcut: bool) -> None:
            super().__init__()
            self.bn1 = norm(inner)
            self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
            self.bn2 = norm(outer)
            self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
            self.convShortcut = nn.Conv2d(inner, outer, 1, stride, bias=False) if inner != outer else None
            self.activate_shortcut = activate_shortcut

        def forward(self, x: Any) -> Any:
            entering = activated(self.bn1(x))
            y = self.conv2(activated(self.bn2(self.conv1(entering))))
            if self.activate_shortcut:
                x = entering
            return y + (x if self.convShortcut is None else self.convShortcut(x))

    class Group(nn.Module):  # type: ignore[misc]
        def __init__(self, inner: int, outer: int, stride: int, activate_shortcut: bool) -> None:
            super().__init__()
            rest = [Block(outer, outer, 1, False) for _ in range((config["depth"] - 4) // 6 - 1)]
            self.layer = nn.Sequential(Block(inner, outer, stride, activate_shortcut), *rest)

        def forward(self, x: Any) -> Any:
            return self.layer(x)

    class Twin(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            k = config["widen"]
            self.conv1 = nn.Conv2d(config["channels"], 16, 3, 1, 1, bias=False)
            self.block1 = Group(16, 16 * k, 1, True)
            self.block2 = Group(16 * k, 32 * k, 2, False)
            self.block3 = Group(32 * k, 64 * k, 2, False)
            self.bn1 = norm(64 * k)
            if config["num_classes"]:
                self.fc = nn.Linear(64 * k, config["num_classes"])

        def forward(self, images: Any) -> Any:
            x = self.block3(self.block2(self.block1(self.conv1(images))))
            x = functional.adaptive_avg_pool2d(activated(self.bn1(x)), 1).flatten(1)
            return self.fc(x) if config["num_classes"] else x

    return Twin()
