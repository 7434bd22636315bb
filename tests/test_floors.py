"""The house of ``minivit/``: each floor imports only from floors below it, and ``import minivit`` stays light.

The rules are read off the source with ``ast``, so an import inside a function counts as much as one at the top. Only
what stands under ``if TYPE_CHECKING:`` does not count: it is never imported.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "minivit"

# Bottom to top. Rooms on one floor do not import from each other.
FLOORS = [
    {"version", "files"},
    {"backend"},
    {"autograd"},
    {"ops"},
    {"nn"},
    {"optim"},
    {"data", "augment"},
    {"models"},
    {"inspect"},
    {"interop"},
    {"recipes"},
    {"compare"},
    {"cli"},
    {"__main__"},
]
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
TOP = "minivit"  # minivit/__init__.py, which gathers the public names of all floors below `compare`

CORE_DEPENDENCIES = {"numpy", "safetensors", "threadpoolctl"}  # what may be imported when a module is loaded
OPTIONAL_DEPENDENCIES = {  # what may be imported inside a function, and where
    "cupy": {"backend"},
    "cupyx": {"backend"},
    "cupy_backends": {"backend"},
    "nvidia": {"backend"},
    "torch": {"compare"},
    "jax": {"compare"},
    "jaxlib": {"compare"},
    "keras": {"compare"},
    "onnx": {"compare", "interop"},
    "onnxruntime": {"compare"},
    "transformers": {"compare"},
    "matplotlib": {"inspect", "recipes"},
    "PIL": {"data", "inspect", "recipes"},
    "tqdm": {"data", "recipes"},
    "tyro": {"cli", "recipes"},
    "mpmath": {"compare"},
    "scipy": {"data"},  # only MATLAB's files, in which some sets keep their lists
    "sklearn": {"data"},  # only to write digits.npz anew; what trains reads the file
}
FORBIDDEN = {"tensorflow"}
NOT_ON_IMPORT = {  # beyond what numpy has loaded itself
    *OPTIONAL_DEPENDENCIES,
    *FORBIDDEN,
    *("pandas", "numpy.testing", "safetensors", "threadpoolctl"),
    *("concurrent", "multiprocessing", "asyncio", "logging", "unittest", "urllib", "http", "email", "ssl"),
    *("hashlib", "json", "tarfile", "zipfile", "sqlite3", "difflib", "pathlib", "argparse", "ast"),
}


def room_of(path: Path) -> str:
    """``minivit/ops/gelu.py`` -> ``ops``; ``minivit/cli.py`` -> ``cli``; ``minivit/__init__.py`` -> ``minivit``."""
    first = path.relative_to(PACKAGE).parts[0]
    return TOP if first == "__init__.py" else first.removesuffix(".py")


def imports(source: str, package: str) -> Iterator[tuple[str, int, bool]]:
    """Yield (dotted name, line, whether it is imported when the module is loaded) for each import in ``source``.

    ``package`` is the dotted package that relative imports start from. ``from minivit import ops`` yields
    ``minivit.ops``: a name that is no room is told apart by the caller.
    """
    tree = ast.parse(source)
    inside_function = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    never_run = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in never_run:
            continue
        on_load = id(node) not in inside_function
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, on_load
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno, on_load
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.args[0].value, node.lineno, on_load


def broken_rules(source: str, room: str, package: str) -> list[str]:
    """The imports in ``source``, a module of ``room``, that the house forbids."""
    broken = []
    for name, line, on_load in imports(source, package):
        top, *rest = name.split(".")
        if top == "minivit":
            target = rest[0] if rest and rest[0] in HEIGHT else TOP
            if room == TOP:
                if target in {"compare", "cli", "__main__"}:
                    broken.append(f"line {line}: the top of the package must not import {name}")
            elif target == TOP:
                if HEIGHT[room] < HEIGHT["compare"]:
                    broken.append(f"line {line}: {room} imports the top of the package ({name}); name the room instead")
            elif target != room and HEIGHT[target] >= HEIGHT[room]:
                broken.append(f"line {line}: {room} imports {name}, which is not on a floor below it")
        elif top in FORBIDDEN:
            broken.append(f"line {line}: {top} is never used")
        elif top in sys.stdlib_module_names or top in CORE_DEPENDENCIES:
            continue
        elif top not in OPTIONAL_DEPENDENCIES:
            broken.append(f"line {line}: {top} is no dependency of minivit")
        elif room not in OPTIONAL_DEPENDENCIES[top]:
            where = ", ".join(sorted(OPTIONAL_DEPENDENCIES[top]))
            broken.append(f"line {line}: {room} imports {top}, which only {where} may")
        elif on_load:
            broken.append(f"line {line}: {top} is optional: import it inside the function that needs it")
    return broken


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_floors_below(path: Path) -> None:
    room = room_of(path)
    assert room == TOP or room in HEIGHT, f"{room} is no room of the house: put its floor into FLOORS"
    package = ".".join(path.relative_to(ROOT).parent.parts)
    assert not broken_rules(path.read_text(encoding="utf-8"), room, package)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("ops", "from minivit.nn import Module"),
        ("ops", "from ..nn import Module"),
        ("ops", "from minivit import nn"),
        ("ops", "import minivit.models.vit"),
        ("backend", "def f():\n    from minivit.autograd import errors"),
        ("data", "from minivit.augment import crop"),
        ("nn", "import minivit"),
        ("nn", "from minivit import tensor"),
        ("ops", "import cupy"),
        ("ops", "def f():\n    import cupy"),
        ("backend", "import cupy"),
        ("recipes", "def f():\n    import torch"),
        ("compare", "import torch"),
        ("compare", "def f():\n    import tensorflow"),
        ("ops", "import scipy.special"),
        ("autograd", "import importlib\nimportlib.import_module('minivit.ops')"),
        ("ops", "if TYPE_CHECKING:\n    pass\nelse:\n    from minivit.nn import Module"),
        ("minivit", "from . import compare"),
    ],
)
def test_a_broken_rule_is_found(room: str, source: str) -> None:
    package = "minivit" if room == TOP else f"minivit.{room}"
    assert len(broken_rules(source, room, package)) == 1


@pytest.mark.parametrize(
    ("room", "source"),
    [
        (
            "ops",
            "import numpy\nfrom minivit.autograd import Op\nfrom minivit.backend import Array\nfrom . import relu",
        ),
        ("ops", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from minivit.nn import Module"),
        ("backend", "def f():\n    import cupy"),
        ("compare", "def f():\n    import torch\n    import jax"),
        ("cli", "import minivit as mv\nfrom minivit import compare"),
        ("minivit", "from .autograd import Tensor\nfrom . import ops, recipes\nfrom .version import __version__"),
    ],
)
def test_an_import_that_keeps_the_rules_passes(room: str, source: str) -> None:
    package = "minivit" if room == TOP else f"minivit.{room}"
    assert not broken_rules(source, room, package)


def test_import_minivit_is_light() -> None:
    report = "import sys, numpy; before = {*sys.modules}; import minivit; print(*{*sys.modules} - before)"
    run = subprocess.run([sys.executable, "-c", report], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "minivit.nn" in loaded
    assert not loaded & NOT_ON_IMPORT
    rooms_on_first_use = {f"minivit.{room}" for room in HEIGHT if HEIGHT[room] > HEIGHT["optim"]}
    assert not loaded & rooms_on_first_use
    assert not {name for name in loaded if name.startswith(("minivit.autograd.proof", "numpy.random"))}


def test_what_import_minivit_does_not_load_is_there_on_first_use() -> None:
    report = (
        "import minivit as mv; used = [getattr(mv, name) for name in mv.__all__]; "
        "assert {*mv.__all__} <= {*dir(mv)}; print(mv.data.__name__, mv.prove.__name__, len(used) == len(mv.__all__))"
    )
    run = subprocess.run([sys.executable, "-c", report], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["minivit.data", "prove", "True"]


def test_no_other_visible_folder_at_the_top() -> None:
    run = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        pytest.skip("not a git checkout: what belongs to the project cannot be told from what lies around")
    top = {line.split("/")[0] for line in run.stdout.splitlines()}
    visible = {name for name in top if not name.startswith(".")}
    assert visible <= {"minivit", "examples", "tests", "docs", "pyproject.toml", "README.md", "LICENSE"}


def test_test_folders_mirror_the_rooms() -> None:
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    beside_the_rooms = {"examples", "docs", "standin"}
    assert folders <= {*HEIGHT, *beside_the_rooms}, "a folder of tests that mirrors no room"


def defines_an_op(path: Path) -> bool:
    """Whether a module has a class derived from ``Op``."""
    classes = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ClassDef))
    return any(isinstance(base, ast.Name) and base.id == "Op" for node in classes for base in node.bases)


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.parent.name == "ops" and defines_an_op(path)], ids=lambda path: path.name
)
def test_every_op_has_its_tests(path: Path) -> None:
    """The ops in ``minivit/ops/x.py`` are proven in ``tests/ops/test_x.py``."""
    mirror = ROOT / "tests" / "ops" / f"test_{path.name}"
    assert mirror.exists(), f"{mirror.relative_to(ROOT)} is missing"
