"""The command line: ``python -m minivit`` with doctor, check, compare, summary and profile."""

from __future__ import annotations

import argparse
import codecs
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from minivit.cli.compare import add_compare_arguments, run_compare
from minivit.cli.profile import add_profile_arguments, run_profile
from minivit.version import __version__

NEXT = """\
five things to do next:
  python -m minivit doctor                           is everything here, and how fast is this machine?
  python -m minivit check                            prove every gradient
  python -m minivit compare                          compare ops, layers and models with PyTorch, JAX and Keras
  python -m minivit summary vit_tiny_patch16_224     look at a model: shapes, parameters, multiply-adds, memory
  python examples/train_cifar.py                     train a Vision Transformer (--dataset digits: offline, a minute)
"""

PLAIN = str.maketrans({"─": "-", "│": "|", "├": "+", "└": "+", "×": "x", "…": "..."})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        Exit code: 0 if all is well.
    """
    parser = _parser()
    _make_printable()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has seen enough: `python -m minivit check | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _make_printable() -> None:
    """Let a terminal that knows no box-drawing characters show something else for them, in place of an error."""
    codecs.register_error("minivit", lambda error: (_plain(error), error.end))  # type: ignore[attr-defined]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="minivit")


def _plain(error: UnicodeError) -> str:
    assert isinstance(error, UnicodeEncodeError)
    return error.object[error.start : error.end].translate(PLAIN).encode("ascii", "replace").decode("ascii")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minivit",
        description="Vision Transformers on a hand-written autograd engine over NumPy and CuPy.",
        epilog=NEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"minivit {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    doctor = commands.add_parser("doctor", help="versions, BLAS, GPU, data, extras, and what to do next")
    doctor.add_argument(
        "--data-dir", type=Path, help="look for data sets here first, then in $MINIVIT_DATA and the cache"
    )
    doctor.set_defaults(run=_doctor)

    check = commands.add_parser(
        "check", help="every op against finite differences, complex step, its composed form, PyTorch and JAX"
    )
    check.set_defaults(run=_check)

    compare = commands.add_parser(
        "compare", help="ops, layers and models against PyTorch, JAX and Keras, to the last digits"
    )
    add_compare_arguments(compare)
    compare.set_defaults(run=run_compare)

    summary = commands.add_parser("summary", help="a model's shapes, parameters, multiply-adds and memory, measured")
    summary.add_argument("model", metavar="MODEL", help="a name such as vit_tiny_patch16_224, or a checkpoint's file")
    summary.add_argument("--image-size", type=int, help="side of the images in pixels")
    summary.add_argument("--patch-size", type=int, help="side of the patches in pixels")
    summary.add_argument("--num-classes", type=int, help="0 leaves out the head")
    summary.add_argument("--batch-size", type=int, default=1, help="images in the forward that is measured (default 1)")
    summary.add_argument("--checkpoint-blocks", action="store_true", help="keep only the input of each block")
    summary.add_argument("--expand", action="store_true", help="show each of several equal blocks")
    summary.set_defaults(run=_summary)

    profile = commands.add_parser("profile", help="where the time of a training step goes, by op and by layer")
    add_profile_arguments(profile)
    profile.set_defaults(run=run_profile)
    return parser


def _doctor(options: argparse.Namespace) -> int:
    from minivit.cli.doctor import examine

    print(examine(options.data_dir))
    return 0


def _check(_: argparse.Namespace) -> int:
    from minivit.compare import run_checks

    return 0 if run_checks(sys.stdout) else 1


def _summary(options: argparse.Namespace) -> int:
    from minivit import interop, models
    from minivit.inspect import summarize
    from minivit.nn import Module

    settings = {
        "image_size": options.image_size,
        "patch_size": options.patch_size,
        "num_classes": options.num_classes,
        "checkpoint_blocks": options.checkpoint_blocks or None,
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    side, flavour = None, ""
    try:
        model: Module
        if Path(options.model).suffix in interop.SUFFIXES:
            if settings:
                raise ValueError(f"a file says itself which model it holds; leave out {', '.join(settings)}")
            model, metadata = interop.load_model(options.model)
            flavour = interop.flavour_text(metadata)
        else:
            if "image_size" not in models.settings(models.find(options.model).family):
                side = settings.pop("image_size", None)  # takes images of any size
            model = models.create(options.model, initialization="none", **settings)
        if options.batch_size < 1:
            raise ValueError("--batch-size has to be at least 1")
        channels, height, width = model.input_size  # type: ignore[attr-defined]
        shape = (options.batch_size, channels, side or height, side or width)
        text = summarize(model, shape, title=Path(options.model).name).text(options.expand)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text)
    if flavour:
        print(flavour)
    return 0
