"""A corpus that every installation has: docstrings of the standard library and of NumPy; the class is the package.

Source files are parsed, never imported: nothing in them runs. The corpus depends on the versions of Python and NumPy,
which its `source` therefore names.
"""

from __future__ import annotations

import ast
import hashlib
import platform
import re
import sysconfig
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minivit.data.dataset import DatasetError
from minivit.data.text.dataset import TextDataset, TextSplits
from minivit.data.text.tokenizer import split_words

# Packages of every Python from 3.11 on and of NumPy 2, with a hundred docstrings or more that differ. Which of its two
# largest parts a function of NumPy's main namespace lives in is history, not meaning: they are one class.
PACKAGES: dict[str, tuple[str, ...]] = {
    "asyncio": ("asyncio",),
    "email": ("email",),
    "http": ("http",),
    "importlib": ("importlib",),
    "logging": ("logging",),
    "multiprocessing": ("multiprocessing",),
    "numpy": ("numpy/_core", "numpy/lib"),
    "numpy.ma": ("numpy/ma",),
    "turtle": ("turtle.py",),
    "unittest": ("unittest",),
    "xml": ("xml",),
}
FEWEST_CLASSES, FEWEST_TEXTS = 8, 2000
PER_CLASS = 300
SMALLEST_CLASS = 60
SHORTEST = 8  # words
NEAR = 0.5  # share of word triples from which on two texts count as one
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.2
_NOT_THE_LIBRARY = {"test", "tests", "idle_test", "site-packages"}


@dataclass(frozen=True)
class Docstring:
    """A docstring, cleaned.

    Attributes
    ----------
    package, path, name : str
        Class; file below the library's folder; qualified name in it, empty for the module itself.
    text : str
    """

    package: str
    path: str
    name: str
    text: str

    @property
    def family(self) -> tuple[str, str]:
        """What must not be torn apart by a split: the file and the function or class at its top level."""
        return self.path, self.name.partition(".")[0]


def load_docstrings(per_class: int = PER_CLASS) -> TextSplits:
    """Docstrings of this installation's standard library and NumPy, with the package as the class.

    Doctests are left out, and so is every mention of one of the packages by name, which would give the class away.
    Texts of fewer than 8 words, and those that share half of their word triples with an earlier one, are left out too.
    The split is by top-level function or class: all methods of a class are in the same part.

    Parameters
    ----------
    per_class : int
        Largest number of texts of a class; what is above it is left out by a hash of the names.

    Returns
    -------
    TextSplits
        Train, validation and test (about 60, 20 and 20 % of each class).

    Raises
    ------
    DatasetError
        If the installation has no source files, or too few docstrings for 8 classes and 2,000 texts.
    """
    roots = {"numpy": Path(np.__file__).parent, "": Path(sysconfig.get_path("stdlib"))}
    entries = balanced(different(collect(PACKAGES, roots)), per_class)
    classes = tuple(sorted({entry.package for entry in entries}))
    if len(classes) < FEWEST_CLASSES or len(entries) < FEWEST_TEXTS:
        raise DatasetError(
            f"expected docstrings of at least {FEWEST_CLASSES} packages and {FEWEST_TEXTS:,} texts under "
            f"{' and '.join(str(root) for root in roots.values())}, found {len(entries):,} of {len(classes)} packages; "
            "use a Python that is installed with its source files (not zipped or compiled only)"
        )
    source = (
        f"docstrings of Python {platform.python_version()} (PSF licence) and NumPy {np.__version__} (BSD licence), "
        "read from this installation"
    )
    parts = divide(entries)
    return TextSplits(
        train=_dataset("docstrings train", parts[0], classes, source),
        validation=_dataset("docstrings validation", parts[1], classes, source),
        test=_dataset("docstrings test", parts[2], classes, source),
    )


def collect(packages: Mapping[str, Iterable[str]], roots: Mapping[str, Path]) -> list[Docstring]:
    """The cleaned docstrings of some packages, in the order of packages, files and lines.

    Parameters
    ----------
    packages : mapping of str to paths
        Each class's folders and files, below the root that the path's first part names, or else below ``roots[""]``.
    roots : mapping of str to Path
    """
    names = _mentions(packages)
    found = []
    for package, places in packages.items():
        for place in places:
            first, _, rest = place.partition("/")
            start = roots[first] / rest if first in roots else roots[""] / place
            for file in sorted(start.rglob("*.py")) if start.is_dir() else [start] * start.is_file():
                below = file.relative_to(start)
                if _NOT_THE_LIBRARY & set(below.parts):
                    continue
                path = "/".join((place, *below.parts)) if start.is_dir() else place
                seen: Counter[str] = Counter()
                for name, docstring in docstrings_of(file.read_bytes()):
                    seen[name] += 1  # a property's setter has its getter's name
                    unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
                    text = clean(docstring, names)
                    if len(split_words(text)) >= SHORTEST:
                        found.append(Docstring(package, path, unique, text))
    return found


def docstrings_of(source: bytes) -> Iterator[tuple[str, str]]:
    """The docstrings of a module with their qualified names, in the order of lines; none if it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in string literals
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    if own := ast.get_docstring(tree):
        yield "", own
    yield from _below(tree, "")


def _below(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = prefix + child.name
            if docstring := ast.get_docstring(child):
                yield name, docstring
            yield from _below(child, f"{name}.")
        elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):  # definitions below if, try, with, ...
            yield from _below(child, prefix)


def clean(docstring: str, mentions: re.Pattern[str]) -> str:
    """A docstring on one line, without doctests and without what `mentions` matches."""
    lines, in_doctest = [], False
    for line in docstring.splitlines():
        in_doctest = (in_doctest or line.lstrip().startswith(">>>")) and bool(line.strip())
        if not in_doctest:
            lines.append(line)
    return " ".join(mentions.sub(" ", " ".join(lines)).split())


def _mentions(packages: Iterable[str]) -> re.Pattern[str]:
    words = {word for package in packages for word in split_words(package) if word.isalpha()}
    if "numpy" in words:
        words.add("np")
    return re.compile(rf"(?<![^\W\d_])(?:{'|'.join(sorted(words))})(?![^\W\d_])", re.IGNORECASE)


def different(entries: Iterable[Docstring]) -> list[Docstring]:
    """The entries without those that are nearly the same as an earlier one.

    Two texts are, if the word triples that both have are at least half of those that either has (their Jaccard index):
    copies with another name put in, of which libraries are full.
    """
    kept: list[Docstring] = []
    sizes: list[int] = []
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)  # of each triple
    for entry in entries:
        words = split_words(entry.text)
        triples = {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
        shared = Counter(holder for triple in triples for holder in holders[triple])
        if any(count >= NEAR * (len(triples) + sizes[holder] - count) for holder, count in shared.items()):
            continue
        for triple in triples:
            holders[triple].append(len(kept))
        kept.append(entry)
        sizes.append(len(triples))
    return kept


def balanced(entries: Iterable[Docstring], per_class: int) -> list[Docstring]:
    """At most `per_class` entries of each class, in order; classes with fewer than 60 are left out."""
    by_class: dict[str, list[Docstring]] = defaultdict(list)
    for entry in entries:
        by_class[entry.package].append(entry)
    chosen = set()
    for members in by_class.values():
        if len(members) >= SMALLEST_CLASS:
            chosen.update(sorted(members, key=lambda entry: _hash(entry.path, entry.name))[:per_class])
    return [entry for members in by_class.values() for entry in members if entry in chosen]


def divide(entries: Iterable[Docstring]) -> tuple[list[Docstring], list[Docstring], list[Docstring]]:
    """Training, validation and test entries, in order.

    The families of a class are put in the order of a hash of their names, so that another version of Python moves few
    texts from one part to another. The first fifth becomes the test part, the next the validation part. Families of
    more than a twentieth of the class come last, so that no single one fills a small part.
    """
    entries = list(entries)
    families: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for entry in entries:
        families[entry.package][entry.family] += 1
    part_of: dict[tuple[str, tuple[str, str]], int] = {}
    for package, sizes in families.items():
        total, done = sum(sizes.values()), 0
        for family in sorted(sizes, key=lambda family: (sizes[family] > total / 20, _hash(*family))):
            middle = (done + sizes[family] / 2) / total
            part_of[package, family] = 2 if middle < TEST_SHARE else 1 if middle < TEST_SHARE + VALIDATION_SHARE else 0
            done += sizes[family]
    parts: tuple[list[Docstring], list[Docstring], list[Docstring]] = ([], [], [])
    for entry in entries:
        parts[part_of[entry.package, entry.family]].append(entry)
    return parts


def _hash(*names: str) -> bytes:
    return hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()


def _dataset(name: str, entries: list[Docstring], classes: tuple[str, ...], source: str) -> TextDataset:
    return TextDataset(
        name=name,
        texts=tuple(entry.text for entry in entries),
        labels=np.array([classes.index(entry.package) for entry in entries], np.int64),
        classes=classes,
        ids=tuple(f"{entry.path}:{entry.name}" for entry in entries),
        source=source,
    )
