"""Tests of minivit/data/text/docstrings.py: on a small made tree, and on this installation's."""

import re
from collections import Counter
from pathlib import Path

import pytest

from minivit.data import DatasetError
from minivit.data.text import docstrings, load_docstrings, split_words
from minivit.data.text.docstrings import Docstring, balanced, clean, collect, different, divide, docstrings_of

SOURCE = b'''
"""The module itself."""

def plain():
    """A function."""
    def inner():
        """Inside a function."""

async def later():
    """A coroutine."""

class Thing:
    """A class."""
    @property
    def size(self):
        """The getter."""
    @size.setter
    def size(self, value):
        """The setter."""
    def silent(self):
        "".join([])

if True:
    def conditional():
        """Below if."""
else:
    try:
        pass
    except ValueError:
        def handler():
            """Below except."""

not_a_docstring = """Only a string."""
'''


def test_docstrings_are_found_at_every_depth_in_order():
    assert list(docstrings_of(SOURCE)) == [
        ("", "The module itself."),
        ("plain", "A function."),
        ("plain.inner", "Inside a function."),
        ("later", "A coroutine."),
        ("Thing", "A class."),
        ("Thing.size", "The getter."),
        ("Thing.size", "The setter."),
        ("conditional", "Below if."),
        ("handler", "Below except."),
    ]


@pytest.mark.parametrize("source", [b"def broken(:\n", b"\xff\xfe\x00", b"x = '\\d'\n", b"a\0b"])
def test_a_file_that_does_not_parse_or_warns_is_passed_over(source):
    assert list(docstrings_of(source)) == []


def test_cleaning_drops_doctests_and_mentions_and_joins_lines():
    text = "Sum things with NumPy's np.sum.\n\n>>> import numpy\n>>> 1 + 1\n2\n\nSee  also\n\t_numpy_core, jumpy."
    assert clean(text, re.compile(r"(?<![^\W_])(?:numpy|np)(?![^\W_])", re.IGNORECASE)) == (
        "Sum things with 's .sum. See also _ _core, jumpy."
    )


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def test_packages_are_read_from_their_folders_without_their_names_and_tests(tmp_path):
    write(
        tmp_path / "std",
        {
            "mail/__init__.py": '"""The mail package sends mail from here to there and back again."""',
            "mail/test/test_mail.py": '"""What tests say is not said by the library, whatever it is."""',
            "mail/short.py": '"""Seven words of mail are too few."""',
            "solo.py": 'def f():\n    """Deep in one file, a function that post and mail may call."""',
            "other.py": '"""A file that no class asks for is not read, however long its text."""',
        },
    )
    write(tmp_path / "np", {"sub/a.py": '"""NumPy and np and mail and solo are names; everything else stays as is."""'})
    packages = {"mail": ("mail",), "numpy.sub": ("numpy/sub",), "solo": ("solo.py",), "gone": ("gone", "gone.py")}
    found = collect(packages, {"numpy": tmp_path / "np", "": tmp_path / "std"})
    assert [(entry.package, entry.path, entry.name, entry.text) for entry in found] == [
        ("mail", "mail/__init__.py", "", "The package sends from here to there and back again."),
        ("numpy.sub", "numpy/sub/a.py", "", "and and and are names; everything else stays as is."),
        ("solo", "solo.py", "f", "Deep in one file, a function that post and may call."),
    ]


def entry(text, name="f", path="p.py", package="p"):
    return Docstring(package, path, name, text)


def test_near_copies_are_dropped_and_the_first_stays():
    base = "one two three four five six seven eight nine ten"
    entries = [
        entry(base, "a"),
        entry(base.replace("ten", "eleven"), "b"),  # 7 of 9 triples are shared
        entry("ONE, two three four five six seven eight nine ten".replace(",", ""), "c"),
        entry("one two three four eleven twelve thirteen fourteen fifteen sixteen", "d"),  # 2 of 14
    ]
    assert [kept.name for kept in different(entries)] == ["a", "d"]


def test_half_of_the_triples_in_common_is_too_much():
    left = entry("a b c d e", "left")  # abc bcd cde
    near = entry("a b c d f", "near")  # shares 2 of 4
    far = entry("a b c g f", "far")  # shares 1 of 5
    assert different([left, near]) == [left]
    assert different([left, far]) == [left, far]


def test_large_classes_are_cut_and_small_ones_left_out():
    entries = [entry("t", f"f{i}", package="large") for i in range(200)]
    entries += [entry("t", f"f{i}", package="small") for i in range(59)]
    chosen = balanced(entries, 70)
    assert Counter(kept.package for kept in chosen) == {"large": 70}
    assert chosen == [kept for kept in entries if kept in chosen], "in order"
    more = balanced(entries, 80)
    assert set(chosen) < set(more), "what is kept does not depend on what else is"


def test_no_family_is_in_two_parts_and_shares_are_kept():
    entries = [
        entry(
            str(i),
            f"{'Big' if i < 90 else f'f{i // 3}'}.m{i}",
            f"{package}{i % 2}.py" if i >= 90 else "big.py",
            package,
        )
        for package in "ab"
        for i in range(300)
    ]
    parts = divide(entries)
    assert sorted([*parts[0], *parts[1], *parts[2]], key=entries.index) == entries
    where = {}
    for number, part in enumerate(parts):
        assert part == sorted(part, key=entries.index), "in order"
        for member in part:
            assert where.setdefault((member.package, member.family), number) == number
        for package in "ab":
            share = sum(member.package == package for member in part) / 300
            assert share == pytest.approx((0.6, 0.2, 0.2)[number], abs=0.02)
    assert all(number == 0 for (_, family), number in where.items() if family == ("big.py", "Big"))


def test_adding_a_function_moves_few_texts():
    entries = [entry(str(i), f"f{i}") for i in range(200)]
    before, after = (divide(some) for some in (entries, [*entries, entry("new", "new")]))
    moved = sum(len(set(old) - set(new)) for old, new in zip(before, after, strict=True))
    assert moved <= 2


# This installation's docstrings


@pytest.fixture(scope="module")
def corpus():
    return load_docstrings()


def parts_of(corpus):
    return corpus.train, corpus.validation, corpus.test


def test_the_corpus_is_large_enough_and_balanced_enough(corpus):
    parts = parts_of(corpus)
    assert sum(map(len, parts)) >= 2000
    assert corpus.train.num_classes >= 8
    for part in parts:
        assert part.classes == corpus.train.classes
        assert part.class_counts().min() >= 10
        assert part.class_counts().max() <= 5 * part.class_counts().min()
    assert re.search(r"Python 3\.\d+\.\d+.* NumPy \d+\.\d+", corpus.train.source)


def test_no_text_no_file_scope_and_no_near_copy_spans_two_parts(corpus):
    family = lambda identity: (identity.partition(":")[0], identity.partition(":")[2].partition(".")[0])  # noqa: E731
    families = [{family(identity) for identity in part.ids} for part in parts_of(corpus)]
    texts = [set(part.texts) for part in parts_of(corpus)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not families[one] & families[other]
        assert not texts[one] & texts[other]
    triples = [
        {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
        for part in parts_of(corpus)
        for words in map(split_words, part.texts)
    ]
    for number in range(0, len(triples), 200):
        one = triples[number]
        assert all(len(one & other) < 0.5 * len(one | other) for other in triples[number + 1 :])


def test_no_text_names_a_package_or_shows_a_doctest(corpus):
    names = {word for name in corpus.train.classes for word in split_words(name)} - {"."} | {"np"}
    for part in parts_of(corpus):
        for text in part.texts:
            assert not names & set(split_words(text))
            assert not text.startswith(">>>")
            assert len(split_words(text)) >= docstrings.SHORTEST


def test_the_corpus_is_the_same_every_time(corpus):
    again = load_docstrings()
    for one, other in zip(parts_of(corpus), parts_of(again), strict=True):
        assert (one.texts, one.ids, one.labels.tolist()) == (other.texts, other.ids, other.labels.tolist())


def test_an_installation_without_sources_is_explained(monkeypatch, tmp_path):
    monkeypatch.setattr(docstrings.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(DatasetError, match=r"at least 8 packages and 2,000 texts.*installed with its source files"):
        load_docstrings()
