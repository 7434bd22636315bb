"""Say what is on photos, and draw where the model looks.

python examples/classify.py photo.jpg --weights runs/cifar10-0            (a model that train_cifar.py trained)

python examples/classify.py photos/ --weights deit_tiny_patch16_224.npz   (DeiT, from timm's weights; ResNets, too)

python examples/classify.py photos/ --weights vit-base/model.safetensors  (Hugging Face; also Google's, torchvision's)

python examples/classify.py                                               (DeiT-tiny and the photos in $MINIVIT_DATA)
"""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

STARTED = time.monotonic()

import numpy as np  # noqa: E402
import tyro  # noqa: E402

from minivit import augment, data, interop  # noqa: E402
from minivit.backend import backend_for_device  # noqa: E402
from minivit.data.image_folder import SUFFIXES  # noqa: E402
from minivit.data.preprocess import STATISTICS, Preprocessing  # noqa: E402
from minivit.inspect import class_activation, has_class_activation, heat_maps, overlay  # noqa: E402
from minivit.nn import Module  # noqa: E402
from minivit.recipes.results import write_result  # noqa: E402

DEIT = Path("weights") / "deit_tiny_patch16_224.npz"
PHOTOS = Path("imagenet-samples")
SYNSET = re.compile(r"n\d{8}")


@dataclass
class Options:
    """Classify photos."""

    photos: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Image files, or folders of them; by default imagenet-samples/ in $MINIVIT_DATA."""
    weights: Path | None = None
    """A checkpoint, the folder of a run, or weights of timm, DeiT, Google, Hugging Face or torchvision; by default
    DeiT-tiny in $MINIVIT_DATA."""
    model: str | None = None
    """Name of the model, for weights that do not tell it themselves (see minivit.models.list())."""
    classes: Path | None = None
    """Names of the classes in label order: one a line, or label, synset and name separated by tabs. By default those in
    the checkpoint, or classes.tsv beside the photos or in $MINIVIT_DATA/imagenet-samples."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel that inputs are normalised with, on the scale where 255 is 1; by default as in training."""
    std: tuple[float, ...] | None = None
    """Standard deviation of each channel."""
    preprocessing: Literal["timm", "google", "big_vision", "fit"] | None = None
    """How photos are resized: timm: shorter side, bicubic, then the central crop; google: the whole photo to a square,
    bilinear, no crop; big_vision: shorter side by area, then the central crop; fit: the largest
    central square, as training on a folder reads it. By default as the weights' format does: fit for a checkpoint,
    timm for timm's and torchvision's, google for Google's and Hugging Face's."""
    crop: Annotated[float | None, tyro.conf.arg(metavar="FRACTION")] = None
    """Share of the photo's shorter side that the model sees, for timm and big_vision; by default 0.9 for timm's
    Vision Transformers, 0.875 for ResNets, 1 for a checkpoint."""
    top: int = 5
    """How many classes to name."""
    out: Path = Path("runs/classify")
    """Folder for the pictures and, where the true classes are known, results.json."""
    pictures: bool = True
    """Draw for each photo where the model looks: the attention of the last block and the attention rolled out over all
    blocks, or of a ResNet the class activation maps of its two likeliest classes."""
    batch_size: int = 20
    """Photos in one forward."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""


@dataclass(frozen=True)
class Classifier:
    """A model and what has to be known to use it.

    Attributes
    ----------
    model : Module
    names : list of str
        Of the classes.
    synsets : dict
        WordNet id -> label; empty where the classes have none.
    mean, std : tuple of float
    preprocessing : Preprocessing
    image_size : int
        Side of the square that the model sees.
    flavour : str
        What the file of weights says of the model, or its format does; empty for a checkpoint.
    """

    model: Module
    names: list[str]
    synsets: dict[str, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    preprocessing: Preprocessing
    image_size: int
    flavour: str

    @property
    def config(self) -> dict[str, Any]:
        """The model's settings."""
        return self.model.config  # type: ignore[no-any-return, attr-defined]

    def read(self, path: Path) -> np.ndarray:
        """One photo as the model sees it: (C, H, W) of uint8."""
        return self.preprocessing.read(path, self.image_size, self.config["channels"])

    def look(self, inputs: Any) -> tuple[np.ndarray, list[Panel]]:
        """Logits (B, K) of normalised images, and maps of where the model looks."""
        if not has_class_activation(self.model):
            found = heat_maps(self.model, inputs)
            size = len(found.output)
            return found.output, [
                Panel(["attention, last block"] * size, found.last_block),
                Panel(["attention, rolled out"] * size, found.rollout),
            ]
        evidence = class_activation(self.model, inputs, count=2)
        return evidence.output, [
            Panel([f"evidence for {shortened(self.names[k])}" for k in classes], maps)
            for classes, maps in zip(evidence.classes.T, evidence.maps.swapaxes(0, 1), strict=True)
        ]

    def true_label(self, path: Path) -> int | None:
        """From the synset in the file's name, or from its folder, if that is named as a class is."""
        synset = SYNSET.search(path.name)
        if synset and synset[0] in self.synsets:
            return self.synsets[synset[0]]
        return self.names.index(path.parent.name) if path.parent.name in self.names else None


class Panel(NamedTuple):
    """Maps (B, rows, columns) of where a model looks, with a title for each photo."""

    titles: list[str]
    maps: np.ndarray


class OptionError(ValueError):
    """Options that do not go together, or files that are not there."""


def main(options: Options) -> int:
    """Run; the exit code is 1 if anything went wrong."""
    try:
        paths = find_photos(options.photos)
        classifier = load_classifier(options, paths)
        backend_for_device(options.device)
        classifier.model.to(options.device)
        if not 1 <= options.top <= len(classifier.names):
            raise OptionError(f"--top has to lie between 1 and {len(classifier.names)}, the number of classes")
        if options.batch_size < 1:
            raise OptionError("--batch-size has to be at least 1")
    except (OptionError, ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(describe(classifier, options.device))
    unreadable = 0
    hits: list[tuple[bool, bool]] = []
    for start in range(0, len(paths), options.batch_size):
        read: list[tuple[Path, np.ndarray]] = []
        for path in paths[start : start + options.batch_size]:
            try:
                read.append((path, classifier.read(path)))
            except (data.DatasetError, OSError) as error:
                print(f"error: {error}", file=sys.stderr)
                unreadable += 1
        if not read:
            continue
        images = np.stack([image for _, image in read])
        normalised = augment.normalize(images, classifier.mean, classifier.std)
        output, panels = classifier.look(backend_for_device(options.device).from_host(normalised, options.device))
        probabilities = softmax(output.astype(np.float64))  # (B, K)
        for index, (path, image) in enumerate(read):
            ranked = np.argsort(-probabilities[index], kind="stable")
            label = classifier.true_label(path)
            print(report(path, ranked[: options.top], probabilities[index], classifier.names, label))
            if label is not None:
                hits.append((label == ranked[0], label in ranked[:5]))
            if options.pictures:
                picture = picture_path(options.out, path, paths)
                draw(picture, image, panels, index, ranked, probabilities[index], classifier, label)
                print(f"  picture: {picture}")
    if hits:
        top1, top5 = np.mean(hits, axis=0)
        print(f"{len(hits)} photos of known class: top-1 {100 * top1:.1f} %, top-5 {100 * top5:.1f} %")
        write_result(
            options.out / "results.json",
            {"dataset": paths[0].parent.name, "split": "photos", "images": len(hits)}
            | {"top1_accuracy": float(top1), "top5_accuracy": float(top5)},
            command=shlex.join(["python", "examples/classify.py", *sys.argv[1:]]),
            seed=None,
            wall_seconds=time.monotonic() - STARTED,
            device=options.device,
            packages=["pillow"],
        )
    if unreadable:
        print(f"{unreadable} of {len(paths)} photos could not be read", file=sys.stderr)
    return 1 if unreadable else 0


def find_photos(given: Sequence[Path]) -> list[Path]:
    """Every image file among the given files and in the given folders (and theirs), sorted by name in each."""
    if not given:
        given = [folder / PHOTOS for folder in data.search_folders() if (folder / PHOTOS).is_dir()][:1]
        if not given:
            raise OptionError("no photos given: python examples/classify.py PHOTO ... (files or folders)")
    paths: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise OptionError(f"{path}: no image ({', '.join(SUFFIXES)}) in this folder")
            paths += inside
        elif path.exists():
            paths.append(path)
        else:
            raise OptionError(f"{path}: there is no such file or folder")
    return paths


def load_classifier(options: Options, paths: Sequence[Path]) -> Classifier:
    """The model, its classes' names and its normalisation: from the file of weights, unless options say otherwise."""
    weights = find_weights(options.weights)
    if options.model is None:
        model, metadata = interop.load_model(weights)
    else:
        model, metadata = interop.load(options.model, weights).eval(), interop.read_metadata(weights)
    config: dict[str, Any] = model.config  # type: ignore[attr-defined]
    if not config["num_classes"]:
        raise OptionError(f"{weights}: the model has no head, so it cannot name classes")
    known = "mean" in metadata and "std" in metadata
    convolutional = has_class_activation(model)
    own = known and "flavour" not in metadata
    preprocessing = chosen_preprocessing(options, metadata, own, 0.875 if convolutional else 0.9)
    if known:
        mean, std = metadata["mean"], metadata["std"]
    elif config["channels"] != 3:
        mean, std = (0.5,) * config["channels"], (0.5,) * config["channels"]
    else:  # ResNets and DeiT are trained with ImageNet's statistics, Google's and timm's ViTs with .5
        imagenet = convolutional or "deit" in weights.name.lower()
        mean, std = STATISTICS["imagenet" if imagenet else "half"]
    mean, std = tuple(options.mean or mean), tuple(options.std or std)
    if not len(mean) == len(std) == config["channels"]:
        raise OptionError(f"the model takes {config['channels']} channels: give so many numbers for --mean and --std")
    names, synsets = class_names(options.classes, metadata, paths, config["num_classes"])
    # A Vision Transformer takes one size; a ResNet any, so that it has to be told the one that it was trained with.
    size = config.get("image_size") or metadata.get("image_size") or model.input_size[1]  # type: ignore[attr-defined]
    flavour = interop.flavour_text(metadata)
    return Classifier(model, names, synsets, mean, std, preprocessing, int(size), flavour)


def chosen_preprocessing(
    options: Options, metadata: dict[str, Any], own: bool, crop_of_timm: float = 0.9
) -> Preprocessing:
    """As the options say, or the checkpoint; else as its training read a folder, or as timm evaluates its weights."""
    crop = options.crop if options.crop is not None else metadata.get("crop_fraction")
    if crop is not None and not 0.0 < crop <= 1.0:
        raise OptionError(f"--crop is a share of the photo, above 0 and up to 1; got {crop:g}")
    method = options.preprocessing
    if method is None:  # a margin to be cropped off is timm's
        method = metadata.get("preprocessing") or ("fit" if own and crop in (None, 1.0) else "timm")
    if method in ("google", "fit") and options.crop is None:
        crop = 1.0
    return Preprocessing(method, float(crop if crop is not None else 1.0 if own else crop_of_timm))


def find_weights(given: Path | None) -> Path:
    """The file of weights: as given, inside the folder of a run, or DeiT-tiny where data are looked for."""
    if given is None:
        found = [folder / DEIT for folder in data.search_folders() if (folder / DEIT).is_file()]
        if not found:
            raise OptionError(
                "no weights given: pass --weights with a checkpoint, the folder of a run of examples/train_cifar.py, "
                "or weights from timm"
            )
        return found[0]
    if given.is_dir():
        inside = sorted(given.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
        if not inside:
            raise OptionError(f"{given}: no checkpoint (*.safetensors) in this folder")
        return inside[-1]
    return given


def class_names(
    given: Path | None, metadata: dict[str, Any], paths: Sequence[Path], count: int
) -> tuple[list[str], dict[str, int]]:
    """Names in label order, and the labels of synsets where they are known."""
    if given is None and "classes" in metadata:
        return list(metadata["classes"]), {}
    nearby = [paths[0].parent / "classes.tsv", *(folder / PHOTOS / "classes.tsv" for folder in data.search_folders())]
    file = given or next((path for path in nearby if path.is_file()), None)
    if file is None:
        return [f"class {label}" for label in range(count)], {}
    lines = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(lines) != count:
        if given is None:  # a list for other weights
            return [f"class {label}" for label in range(count)], {}
        raise OptionError(f"{file}: expected {count} classes, one a line, got {len(lines)}")
    names = [fields[-1].replace("_", " ") for fields in lines]
    return names, {fields[1]: label for label, fields in enumerate(lines) if len(fields) == 3}


def describe(classifier: Classifier, device: str) -> str:
    """What runs, and how photos are prepared for it."""
    config = classifier.config
    patches = f" in patches of {config['patch_size']}" if "patch_size" in config else ""
    flavour = [f"{name} {config[name]}" for name in ("gelu", "eps", "bn_eps") if name in config]
    return (
        f"{type(classifier.model).__name__}, {classifier.model.count_parameters():,} parameters, "
        f"{classifier.image_size} px{patches}, {len(classifier.names)} classes, on {device}\n"
        f"{', '.join(flavour)}, preprocessing {classifier.preprocessing.method}, "
        f"crop {classifier.preprocessing.crop_fraction:g}, "
        f"mean {numbers(classifier.mean)}, std {numbers(classifier.std)}"
        + (f"\n{classifier.flavour}" if classifier.flavour else "")
    )


def numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Rows of logits to rows of probabilities."""
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


def report(path: Path, ranked: np.ndarray, probabilities: np.ndarray, names: Sequence[str], label: int | None) -> str:
    """The likeliest classes as text."""
    marks = {label: "  (true)"} if label is not None else {}
    lines = [str(path)] + [f"  {100 * probabilities[k]:5.1f} %  {names[k]}{marks.get(int(k), '')}" for k in ranked]
    if label is not None and label not in ranked:
        lines.append(f"           true: {names[label]}")
    return "\n".join(lines)


def shortened(name: str, most: int = 32) -> str:
    """A name that fits into a picture."""
    return name if len(name) <= most else name[: most - 1] + "…"


def picture_path(out: Path, path: Path, paths: Sequence[Path]) -> Path:
    """Where a photo's picture goes: by its name, with its folder's where two photos share a name."""
    twice = sum(other.stem == path.stem for other in paths) > 1
    return out / (f"{path.parent.name}-{path.name}.png" if twice else f"{path.stem}.png")


def draw(
    picture: Path,
    image: np.ndarray,
    panels: Sequence[Panel],
    index: int,
    ranked: np.ndarray,
    probabilities: np.ndarray,
    classifier: Classifier,
    label: int | None,
) -> None:
    """The photo, where the model looks, and the likeliest classes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pixels = image.transpose(1, 2, 0) / 255.0  # (C, H, W) -> (H, W, C)
    pixels = np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels
    shown = [("what the model sees", pixels)]
    shown += [(titles[index], overlay(pixels, maps[index])) for titles, maps in panels]
    figure = Figure(
        figsize=(2.75 * len(shown) + 3.25, 2.95), dpi=110
    )  # panels of 2.6 inches, placed by hand: automatic layout is slow
    FigureCanvasAgg(figure)
    columns = figure.subplots(1, len(shown) + 1, width_ratios=[2.6] * len(shown) + [3.2])
    figure.subplots_adjust(left=0.008, right=0.992, bottom=0.03, top=0.91, wspace=0.04)
    for axes, (title, panel) in zip(columns, shown, strict=False):
        axes.imshow(panel, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.axis("off")
    axes = columns[-1]
    best = ranked[:5]
    colours = ["#117733" if k == label else "#4477aa" for k in best]
    axes.barh(range(len(best)), 100 * probabilities[best], color=colours, height=0.35, align="edge")
    for row, k in enumerate(best):
        axes.text(
            0,
            row - 0.08,
            f"{shortened(classifier.names[k])}  {100 * probabilities[k]:.1f} %",
            fontsize=8.5,
            va="bottom",
        )
    axes.set_xlim(0, 100)
    axes.set_ylim(len(best) - 0.4, -0.6)
    axes.axis("off")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
