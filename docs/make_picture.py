"""Draw the README's picture: a training step of a small Vision Transformer, forward above, backward below.

    python docs/make_picture.py [--out docs/_static/step.svg] [--steps 400]

Trains on the handwritten digits for some seconds on a CPU, then looks at one step on one picture that the model has not
seen. Everything drawn is an array of that step: nothing is made up, and each panel of the lower row is the gradient of
the panel above it.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import minivit as mv
from minivit.autograd import Hook, hooked
from minivit.data import load_digits
from minivit.files import write_text

ROOT = Path(__file__).resolve().parent.parent
PANEL = 168  # side of a panel
COLUMNS = (24, 286, 548, 810)  # left edges of the panels
ROWS = (78, 304)  # their top edges: forward, backward
WIDTH, HEIGHT = 1004, 520
CAPTION = (
    "Blue is negative, red positive. Rows of tokens and of P: the class token, then a patch each. P and dS: one head."
)
INK, QUIET, FORWARD, BACKWARD = "#1f2933", "#616e7c", "#1769aa", "#b4331e"


class Watch(Hook):
    """Takes the arrays that the picture shows out of a step, as they pass."""

    def __init__(self) -> None:
        self.tokens: Any = None
        self.attention: list[dict[str, Any]] = []
        self._by_node: dict[Any, dict[str, Any]] = {}
        self.tokens_gradient: Any = None

    def after_forward(self, op: Any, inputs: Any, output: Any, attributes: Any) -> None:
        """Keep the tokens that enter the first block, and each block's queries, keys and values."""
        if op.name == "embed_tokens":
            self.tokens = output.numpy().copy()
        elif op.name == "qkv_attention":
            self.attention.append({"qkv": inputs[0].numpy().copy(), "heads": attributes["heads"]})
            self._by_node[output.node] = self.attention[-1]

    def before_backward(self, node: Any, output_gradient: Any) -> None:
        """Keep what reaches the same places on the way back."""
        if node.op.name == "embed_tokens":
            self.tokens_gradient = output_gradient.copy()
        elif node in self._by_node:
            self._by_node[node]["dy"] = output_gradient.copy()


def probabilities_and_their_scores_gradient(record: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """P and dS = P (dP - rowsum(dP P)) of every head, (h, N, N) each."""
    heads = record["heads"]
    _, n, packed = record["qkv"].shape
    q, k, v = record["qkv"][0].reshape(n, 3, heads, packed // (3 * heads)).transpose(1, 2, 0, 3)  # (h, N, d) each
    scores = q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    dy = record["dy"][0].reshape(n, heads, -1).transpose(1, 0, 2)
    dp = dy @ v.swapaxes(-1, -2)
    return p, p * (dp - (dp * p).sum(-1, keepdims=True))


def train(model: mv.nn.Module, data: Any, steps: int, batch_size: int = 64) -> None:
    """AdamW with warm-up and cosine; prints the loss now and then."""
    optimizer = mv.optim.AdamW(model, weight_decay=0.05)
    generator = np.random.default_rng(0)
    for step in range(steps):
        chosen = generator.integers(0, len(data), batch_size)
        images = normalized(data, data.images[chosen])
        optimizer.zero_grad()
        loss = mv.ops.cross_entropy(model(mv.tensor(images)), data.labels[chosen])
        loss.backward()
        optimizer.learning_rate = 2e-3 * mv.optim.warmup_cosine(step, steps, steps // 20)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5}/{steps}   loss {loss.item():.3f}", flush=True)


def normalized(data: Any, images: np.ndarray) -> np.ndarray:
    """uint8 (B, C, H, W) to float32 with the training set's mean and standard deviation."""
    mean = np.array(data.mean, np.float32)[:, None, None]
    return (images.astype(np.float32) / 255 - mean) / np.array(data.std, np.float32)[:, None, None]


def one_step(model: mv.nn.Module, data: Any, index: int) -> dict[str, np.ndarray]:
    """Forward and backward of one picture, with everything that is drawn."""
    watch = Watch()
    image = mv.tensor(normalized(data, data.images[index : index + 1]), requires_grad=True)
    label = int(data.labels[index])
    with hooked(watch):
        logits = model(image)
        mv.ops.cross_entropy(logits, np.array([label])).backward()
    p, ds = probabilities_and_their_scores_gradient(watch.attention[-2])  # in the last, only the class token is read
    probabilities = np.exp(logits.numpy()[0] - logits.numpy().max())
    probabilities /= probabilities.sum()
    return {
        "image": np.broadcast_to(data.images[index].transpose(1, 2, 0), (*data.image_shape[1:], 3)),
        "image gradient": np.abs(image.grad[0]).max(0),
        "tokens": watch.tokens[0],
        "tokens gradient": watch.tokens_gradient[0],
        "attention": p,
        "scores gradient": ds,
        "probabilities": probabilities,
        "logits gradient": probabilities - np.eye(len(probabilities))[label],
    }


def blend(values: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """0 is white and 1 the colour; (H, W) to (H, W, 3) of uint8."""
    share = np.clip(values, 0, 1)[..., None]
    return (255 * (1 - share) + np.array(colour) * share).astype(np.uint8)


def signed(values: np.ndarray) -> np.ndarray:
    """Blue below zero, white at zero, red above. The first row, the class token's, has a scale of its own."""
    parts = values[:1], values[1:]
    scaled = np.concatenate([part / max(np.quantile(np.abs(part), 0.99), 1e-12) for part in parts])
    return np.where((scaled < 0)[..., None], blend(-scaled, (23, 105, 170)), blend(scaled, (180, 51, 30)))


def png(pixels: np.ndarray) -> str:
    """An image as text that stands in an SVG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def framed(x: float, y: float, side: float, pixels: np.ndarray, frame: str) -> str:
    """An array as a square of pixels."""
    square = f'x="{x}" y="{y}" width="{side}" height="{side}"'
    image = f'<image {square} preserveAspectRatio="none" href="{png(pixels)}" style="image-rendering:pixelated"/>'
    return image + f'<rect {square} fill="none" stroke="{frame}"/>'


def panel(column: int, row: int, pixels: np.ndarray) -> str:
    """An array in its place."""
    return framed(COLUMNS[column], ROWS[row], PANEL, pixels, QUIET)


def grid(column: int, row: int, side: int) -> str:
    """The edges of the patches."""
    x, y, patch = COLUMNS[column], ROWS[row], PANEL / side
    lines = "".join(f"M{x + i * patch} {y}v{PANEL}M{x} {y + i * patch}h{PANEL}" for i in range(1, side))
    return f'<path d="{lines}" stroke="#f5a623" stroke-width="1.5"/>'


def text(x: float, y: float, words: str, *, size: int = 13, colour: str = INK, style: str = "") -> str:
    """A line of text."""
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}"{style and " " + style}>{escape(words)}</text>'


def arrow(column: int, row: int, over: str, under: str) -> str:
    """Between a column and the next: to the right in the forward, to the left in the backward."""
    left, right = COLUMNS[column] + PANEL + 8, COLUMNS[column + 1] - 8
    y = ROWS[row] + PANEL / 2
    start, end, colour = (left, right, FORWARD) if row == 0 else (right, left, BACKWARD)
    tip = 7 if row == 0 else -7
    middle = 'text-anchor="middle"'
    return (
        f'<path d="M{start} {y}H{end - tip}" stroke="{colour}" stroke-width="2"/>'
        f'<path d="M{end} {y}l{-tip * 1.3:.1f} -5v10z" fill="{colour}"/>'
        + text((left + right) / 2, y - 10, over, size=11, colour=colour, style=middle)
        + text((left + right) / 2, y + 20, under, size=11, colour=colour, style=middle)
    )


def bars(column: int, row: int, values: np.ndarray, classes: tuple[str, ...]) -> str:
    """A value a class: probabilities to the right of a line, gradients to both sides of it."""
    x, y = COLUMNS[column], ROWS[row]
    height = PANEL / len(values)
    axis, room = (x + 62, PANEL - 100) if row == 0 else (x + 122, 54)
    parts = []
    for number, (value, name) in enumerate(zip(values, classes, strict=True)):
        top = y + number * height
        length = abs(value) / np.abs(values).max() * room
        left = axis - length if value < 0 else axis
        colour = FORWARD if row == 0 or value < 0 else BACKWARD
        parts.append(
            f'<rect x="{left:.1f}" y="{top + 3:.1f}" width="{length:.1f}" height="{height - 6:.1f}" fill="{colour}"/>'
        )
        parts.append(text(x, top + height - 5, name, size=11, colour=QUIET))
        if row == 0 and value > 0.02:
            parts.append(text(axis + length + 4, top + height - 5, f"{value:.2f}", size=11))
    parts.append(f'<path d="M{axis} {y}v{PANEL}" stroke="{QUIET}" stroke-width="0.75"/>')
    return "".join(parts)


def draw(step: dict[str, np.ndarray], classes: tuple[str, ...], depth: int) -> str:
    """The whole picture as SVG."""
    n, dim = step["tokens"].shape
    head = int(step["attention"][:, 0, 1:].max(-1).argmax())  # the head whose class token looks most sharply
    p, ds = step["attention"][head], step["scores gradient"][head]
    side = round((n - 1) ** 0.5)
    size = step["image"].shape[0]
    saliency = step["image gradient"] / step["image gradient"].max()

    titles = (
        (f"image  ({size}, {size})", f"tokens  ({n}, {dim})", f"attention P  ({n}, {n})", "p = softmax(logits)"),
        ("|dL/dimage|", "dL/dtokens", "dS = P (dP - rowsum(dP P))", "dL/dlogits = p - y"),
    )
    fonts = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="{fonts}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff"/>',
        text(COLUMNS[0], 34, "One training step", size=17, style='font-weight="600"'),
        text(COLUMNS[1], 34, "forward above, backward below: under each array, its gradient", size=13, colour=QUIET),
        panel(0, 0, step["image"]),
        panel(1, 0, signed(step["tokens"])),
        panel(2, 0, blend(p / p.max(), (23, 105, 170))),
        bars(3, 0, step["probabilities"], classes),
        panel(0, 1, blend(saliency, (180, 51, 30))),
        panel(1, 1, signed(step["tokens gradient"])),
        panel(2, 1, signed(ds)),
        bars(3, 1, step["logits gradient"], classes),
        arrow(0, 0, "patchify", "linear"),
        arrow(1, 0, f"{depth} blocks", "attention, MLP"),
        arrow(2, 0, "LayerNorm", "head, softmax"),
        arrow(0, 1, "unpatchify", "transpose"),
        arrow(1, 1, "each op's", "backward"),
        arrow(2, 1, "cross-entropy", "with softmax"),
        grid(0, 0, side),
        text(COLUMNS[0], HEIGHT - 20, CAPTION, size=12, colour=QUIET),
    ]
    for row, y in enumerate(ROWS):
        colour = FORWARD if row == 0 else BACKWARD
        parts += [text(x, y - 9, title, colour=colour) for x, title in zip(COLUMNS, titles[row], strict=True)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Train, look, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "_static" / "step.svg", help="the file to write")
    parser.add_argument("--steps", type=int, default=400, help="training steps before the one that is drawn")
    parser.add_argument("--index", type=int, default=0, help="which picture of the test set")
    options = parser.parse_args(arguments)
    splits = load_digits()
    channels, size, _ = splits.train.image_shape
    model = mv.models.create(
        "vit_tiny_cifar",
        image_size=size,
        channels=channels,
        patch_size=2,
        dim=64,
        depth=4,
        heads=4,
        mlp_dim=128,
        gelu="tanh",
    )
    train(model, splits.train, options.steps)
    with mv.no_grad():
        predicted = model(mv.tensor(normalized(splits.train, splits.test.images))).numpy().argmax(-1)
    right = int((predicted == splits.test.labels).sum())
    print(f"{right} of {len(splits.test)} pictures of the test set are recognised")
    step = one_step(model, splits.test, options.index)
    write_text(options.out, draw(step, splits.train.classes, len(model.blocks)))
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
