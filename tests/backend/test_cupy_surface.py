"""Every name that minivit uses on an array module exists in CuPy, read off the source.

Two checks: against the names of CuPy that are stored with the tests (`tests/standin/cupy_names.json` says of which
version), and against the CuPy that is installed. Neither needs a GPU.
"""

import ast
import functools
import importlib
import importlib.util
import inspect
import re
from dataclasses import dataclass
from pathlib import Path

import list_cupy_names
import pytest
import standin

PACKAGE = Path(__file__).resolve().parents[2] / "minivit"


@dataclass(frozen=True)
class Use:
    """``xp.add.at(..., out=y)``: names ("add", "at"), keywords ("out",)."""

    names: tuple[str, ...]
    keywords: tuple[str, ...]
    where: str

    def __str__(self) -> str:
        return f"{'.'.join(self.names)}({', '.join(f'{k}=' for k in self.keywords)}) at {self.where}"


class Scan(ast.NodeVisitor):
    """The uses of array modules in one file.

    An array module is ``xp`` or ``something.xp``, the result of ``array_module(...)``, the ``.module`` of a backend,
    CuPy itself, and whatever name is given one of them.
    """

    def __init__(self, source: str, file: str) -> None:
        self.tree, self.file = ast.parse(source), file
        self.uses: list[Use] = []
        self.unresolved: list[str] = []
        self.aliases: dict[str, tuple[str, ...]] = {"xp": (), "cupy": ()}
        self.parents = {child: parent for parent in ast.walk(self.tree) for child in ast.iter_child_nodes(parent)}
        before = None
        while before != self.aliases:
            before = dict(self.aliases)
            for node in ast.walk(self.tree):
                if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                    self._learn(node)
        self.visit(self.tree)

    def _learn(self, node: ast.Assign | ast.AnnAssign) -> None:
        chain = self.chain(node.value)
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if chain is not None and isinstance(target, ast.Name):
                self.aliases.setdefault(target.id, chain)
            elif ast.unparse(target).endswith(".xp") and isinstance(node.value, ast.Name):
                self.aliases.setdefault(node.value.id, ())

    def chain(self, node: ast.expr) -> tuple[str, ...] | None:
        """The names behind the module: () for the module itself, None for anything else."""
        if isinstance(node, ast.Name):
            return self.aliases.get(node.id)
        if isinstance(node, ast.Attribute):
            if node.attr == "xp" or (node.attr == "module" and re.search("backend", ast.unparse(node.value), re.I)):
                return ()
            before = self.chain(node.value)
            return None if before is None else (*before, node.attr)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.rpartition(".")[2] in ("array_module", "_module"):
                return ()
            if called.endswith("import_module") and isinstance(node.args[0], ast.Constant):
                top, *rest = node.args[0].value.split(".")
                if top == "cupy":
                    return tuple(rest)
                if top == "cupyx":
                    return ("cupyx", *rest)
        return None

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain, parent = self.chain(node), self.parents[node]
        whole = not (isinstance(parent, ast.Attribute) and self.chain(parent) is not None)
        if chain and whole:
            called = isinstance(parent, ast.Call) and parent.func is node
            keywords = tuple(k.arg for k in parent.keywords if k.arg) if called else ()
            self.uses.append(Use(chain, keywords, f"{self.file}:{node.lineno}"))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if ast.unparse(node.func) == "getattr" and (chain := self.chain(node.args[0])) is not None:
            where = f"{self.file}:{node.lineno}"
            for name in self.strings(node.args[1], node) or [None]:
                if name is None:
                    self.unresolved.append(f"{ast.unparse(node)} at {where}")
                else:
                    self.uses.append(Use((*chain, name), (), where))
        self.generic_visit(node)

    def strings(self, value: ast.expr, node: ast.AST) -> list[str]:
        """What an expression may be: a string, or a parameter and the strings that callers in this file pass for it."""
        if isinstance(value, ast.Constant):
            return [value.value]
        function: ast.AST | None = node
        while function is not None and not isinstance(function, ast.FunctionDef):
            function = self.parents.get(function)
        if function is None or not isinstance(value, ast.Name):
            return []
        names = [a.arg for a in function.args.args]
        if value.id not in names:
            return []
        position = names.index(value.id)
        calls = [
            call
            for call in ast.walk(self.tree)
            if isinstance(call, ast.Call) and ast.unparse(call.func) == function.name and len(call.args) > position
        ]
        return [string for call in calls for string in self.strings(call.args[position], call)]


@functools.cache
def scans() -> list[Scan]:
    return [
        Scan(path.read_text(encoding="utf-8"), str(path.relative_to(PACKAGE.parent)))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def uses() -> list[Use]:
    return [use for scan in scans() for use in scan.uses]


def missing_in_stored(use: Use) -> str | None:
    """Why CuPy's stored names do not have it, or None."""
    cupy, (first, *rest) = standin.CUPY, use.names
    if first == "cupyx" or first.startswith("__"):
        return None  # not stored; the installed package is asked
    if first not in cupy["module"]:
        return f"cupy has no {first}"
    if rest:
        owner, name = ".".join(use.names[:-1]), use.names[-1]
        if first in cupy["ufuncs"]:
            if rest != ["at"] or first not in cupy["scatter_ufuncs"]:
                return f"cupy.{first} has no {'.'.join(rest)}"
        elif owner not in cupy["submodules"]:
            return f"the names in cupy.{owner} are not stored: add it to SUBMODULES in list_cupy_names.py"
        elif name not in cupy["submodules"][owner]:
            return f"cupy.{owner} has no {name}"
        return None
    allowed = ["out", "dtype", "casting"] if first in cupy["ufuncs"] else cupy["functions"].get(first)
    unknown = [keyword for keyword in use.keywords if allowed is not None and keyword not in allowed]
    return f"cupy.{first} takes no {', '.join(unknown)}" if unknown else None


def test_the_scan_sees_what_is_used():
    found = {use.names for use in uses()}
    for known in [
        "stack",
        "where",
        "arange",
        "zeros_like",
        "uint64",
        "exp",
        "less",
        "not_equal",
        "asnumpy",
        "finfo",
        "dot",
    ]:
        assert (known,) in found
    for known in [("add", "at"), ("cuda", "runtime", "getDeviceCount"), ("cupyx", "scipy", "special", "erf")]:
        assert known in found
    assert len(found) > 50


def test_every_name_can_be_told():
    assert [line for scan in scans() for line in scan.unresolved] == []


def test_every_name_and_keyword_exists_in_the_stored_names_of_cupy():
    assert standin.CUPY["versions"]["cupy"].startswith("14.")
    assert [f"{use}: {reason}" for use in uses() if (reason := missing_in_stored(use))] == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(x):\n    xp = array_module(x)\n    return xp.vecdot(x, x)", ("vecdot",)),
        ("class C:\n    def f(self, x):\n        return self.xp.insert(x, 0, 1)", ("insert",)),
        ("def f(xp, x):\n    with xp.errstate(all='ignore'):\n        return x", ("errstate",)),
        ("def f(F, x):\n    return F.xp.block([x])", ("block",)),
        ("def f(x):\n    return array_module(x).unstack(x)", ("unstack",)),
        ("def f(x):\n    return backend_of(x).module.nditer(x)", ("nditer",)),
        ("def f(x, backend):\n    arrays = backend.module\n    return arrays.matvec(x, x)", ("matvec",)),
        ("def f(xp, x):\n    scatter = xp.multiply\n    scatter.at(x, 0, 1)", ("multiply", "at")),
        ("def f(xp, x):\n    return xp.linalg.vector_norm(x)", ("linalg", "vector_norm")),
        ("def f(xp, x):\n    return xp.add.reduce(x)", ("add", "reduce")),
        ("def f(xp, x):\n    return xp.mean(x, where=x > 0)", ("mean",)),
        ("def f(xp, x):\n    return xp.exp(x, where=x > 0)", ("exp",)),
        ("def f(x, name):\n    return getattr(array_module(x), name)(x)\n\nf(1, 'spacing')", ("spacing",)),
        ("def f(xp, x):\n    return getattr(xp, 'geomspace')(x)", ("geomspace",)),
        (
            "class C:\n    def __init__(self, module):\n        self.xp = module\n        self.g = module.frompyfunc",
            ("frompyfunc",),
        ),
        ("import importlib\ncp = importlib.import_module('cupy')\ncp.cuda.no_such_thing()", ("cuda", "no_such_thing")),
    ],
)
def test_a_name_that_cupy_lacks_is_found(source, names):
    wrong = [use for use in Scan(source, "planted.py").uses if missing_in_stored(use)]
    assert [use.names for use in wrong] == [names]


def test_a_name_that_cannot_be_told_is_found():
    assert Scan("def f(xp, name):\n    return getattr(xp, name)", "planted.py").unresolved
    assert Scan("def f(xp):\n    return getattr(xp, make_name())", "planted.py").unresolved


def test_names_of_other_things_are_left_alone():
    assert not Scan("def f(node, np):\n    node.module.train()\n    np.errstate()\n    STATE.module.x", "other.py").uses


# The installed package

needs_cupy = pytest.mark.skipif(
    importlib.util.find_spec("cupy") is None,
    reason="CuPy is not installed (it imports without a GPU): pip install -e '.[cuda13]'",
)


@needs_cupy
def test_every_name_and_keyword_exists_in_the_installed_cupy():
    cupy, missing = importlib.import_module("cupy"), []
    for use in uses():
        value, names = cupy, list(use.names)
        if names[0] == "cupyx":
            value = importlib.import_module(".".join(names[:-1]))
            names = names[-1:]
        for name in names:
            value = getattr(value, name, None)
        if value is None:
            missing.append(str(use))
        elif inspect.isfunction(value):
            allowed = list_cupy_names.arguments(value)
            missing += [str(use) for keyword in use.keywords if allowed is not None and keyword not in allowed]
    assert not missing


@needs_cupy
def test_the_stored_names_are_those_of_their_version():
    mine = list_cupy_names.names()
    if mine["versions"] != standin.CUPY["versions"]:
        pytest.skip(f"installed are {mine['versions']}, the stored names are of {standin.CUPY['versions']}")
    for part in standin.CUPY.keys() - {"versions"}:
        assert mine[part] == standin.CUPY[part]
