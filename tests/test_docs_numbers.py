"""Every measured number in the README and the docs comes from a result file, or names its source.

A number that looks measured (a percentage, a time, a rate, a ratio, an error) may stand in three places: in a region
that ``docs/make_tables.py`` generates from ``docs/results/``; in code, which is run; or in a paragraph that links to
where the number was published or carries ``<!-- source: ... -->``.
"""

import importlib.util
import re
from pathlib import Path

import pytest

from minivit.recipes.comparison import compare_methods
from minivit.recipes.results import ResultError, read_result, write_result

ROOT = Path(__file__).resolve().parent.parent

_specification = importlib.util.spec_from_file_location("make_tables", ROOT / "docs" / "make_tables.py")
make_tables = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(make_tables)

MEASURED = re.compile(
    r"""
      \d\s?%                                                            # 97 %
    | \d\s?(?:ns|us|µs|μs|ms|s|sec|seconds?|min|minutes?|h|hours?)\b     # 12 ms
    | \d\s?(?:images?|img|tokens?|steps?|examples?)\s?/\s?s              # 900 images/s
    | \d\s?[KMGTP]?i?(?:FLOPS?|FLOP/s|OPS?|B/s)\b                        # 80 GFLOP/s
    | \d\s?(?:[KMGT]i?B|bytes)\b                                         # 300 MB
    | \d\s?[x×](?!\w)                                                    # 1.8x, but not 3x3
    | \d\s?times\b                                                       # 3 times faster
    | \b\d+(?:\.\d+)?e-?\d+                                              # 1e-12
    | (?:accuracy|error|loss)\s(?:of|is|was|to|at)?\s*\d                 # accuracy of 0.97
    """,
    re.VERBOSE | re.IGNORECASE,
)
NOT_PROSE = re.compile(
    r"""
      ^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[`~]*\s*?$      # a block of code
    | <!--\s results:.*?<!--\s /results\s -->              # a generated region
    | \$\$.*?\$\$ | \$[^$\n]+\$                            # mathematics
    | `[^`\n]+`                                            # code in a line
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
SOURCE = re.compile(r"\]\(https?://|<https?://|<!-- source: [^\s>-]")
COMMENT_OR_ADDRESS = re.compile(r"<!--.*?-->|\]\([^)]*\)|<https?://[^>]*>", re.DOTALL)


def unsourced_numbers(text: str) -> list[str]:
    """The measured-looking numbers in Markdown ``text`` that nothing vouches for, each with what stands around it."""
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-*|] )", NOT_PROSE.sub(" ", text)):
        if SOURCE.search(paragraph):
            continue
        prose = " ".join(COMMENT_OR_ADDRESS.sub("]", paragraph).split())
        found += [prose[max(0, match.start() - 40) : match.end() + 20] for match in MEASURED.finditer(prose)]
    return found


@pytest.mark.parametrize("page", make_tables.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_measured_number_without_a_source(page: Path) -> None:
    assert not unsourced_numbers(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", make_tables.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_generated_regions_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert make_tables.fill(text) == text, "run python docs/make_tables.py"


@pytest.mark.parametrize("page", make_tables.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_begins_with_a_value_in_the_text(page: Path) -> None:
    """A comment at the beginning of a line ends the paragraph: https://spec.commonmark.org/0.31.2/#html-blocks."""
    lines = page.read_text(encoding="utf-8").splitlines()
    begun = [line for line in lines if line.lstrip().startswith("<!-- results:") and "<!-- /results -->" in line]
    assert not begun, "join the line with the one before"


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "results").glob("**/*.json")), ids=lambda path: path.name)
def test_stored_results_say_where_they_come_from(path: Path) -> None:
    assert read_result(path)["commit"], f"{path.name} was measured outside a checkout: no one could repeat it"


@pytest.mark.parametrize(
    "text",
    [
        "It reaches 97.5 % on digits.",
        "A step takes 12 ms.",
        "It trains at 900 images/s.",
        "matmul runs at 80 GFLOP/s.",
        "It is 1.8x faster.",
        "It is 1.8× faster than before",
        "The largest error is 3e-16.",
        "It keeps 300 MB for the backward.",
        "an accuracy of 0.97 after a while",
        "- [docs](docs/index.md) are built in 90 seconds",
        "```text\n97 %\n```\n\nbut outside the block 97 %",
        "| ViT | 97 % |\n| [other](https://example.org) | 98 % |",
        "<!-- results: a.json b:percent -->97 %<!-- /results --> against 96 %",
        "<!-- a comment --> 5 % more",
        "<!-- source: -->5 %",
    ],
)
def test_a_planted_number_is_found(text: str) -> None:
    assert len(unsourced_numbers(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "A 3x3 convolution on 32x32 images, patch 4, 12 blocks, 5,362,762 parameters.",
        "Python 3.11+ and NumPy 2, with `eps=1e-6` and $10^{-6}$ or $5\\%$",
        "DeiT reaches 72.2 % ([Touvron et al.](https://arxiv.org/abs/2012.12877)).",
        "DeiT reaches 72.2 %. <!-- source: arXiv 2012.12877, table 5 -->",
        "```text\n97 % in 12 ms\n```",
        "````md\n```\n97 %\n```\n````",
        "<!-- results: a.json b:percent -->97 %<!-- /results --> on digits",
    ],
)
def test_a_sourced_number_or_a_plain_one_passes(text: str) -> None:
    assert not unsourced_numbers(text)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    payload = {
        "dataset": "digits",
        "split": "test",
        "images": 360,
        "runs": [{"model": "a", "accuracy": 0.5}, {"model": "b", "accuracy": 0.25, "seed": 7}],
        "accuracies": [0.5, 0.7],
        "ratio": 0.666,
    }
    write_result(tmp_path / "r.json", payload, command="python x.py", seed=1, wall_seconds=90)
    return tmp_path


def test_a_value_and_a_table_are_written(results: Path) -> None:
    text = "<!-- results: r.json ratio:ratio -->?<!-- /results -->, <!-- results: r.json dataset --><!-- /results -->"
    assert make_tables.fill(text, results) == (
        "<!-- results: r.json ratio:ratio -->0.67x<!-- /results -->, "
        "<!-- results: r.json dataset -->digits<!-- /results -->"
    )
    table = "<!-- results: r.json#runs r.json | M=model | A=accuracy:percent | S=seed -->\nold\n<!-- /results -->"
    with pytest.raises(make_tables.TableError, match="no field 'model'"):
        make_tables.fill(table, results)
    filled = make_tables.fill(table.replace(" r.json |", " |"), results)
    assert filled.splitlines()[1:-1] == [
        "| M | A | S |",
        "| --- | --- | --- |",
        "| a | 50.0 % | 1 |",
        "| b | 25.0 % | 7 |",
    ]
    assert make_tables.fill(filled, results) == filled
    assert "60.0 ± 14.1 %" in make_tables.render("r.json accuracies:percents", results)
    assert make_tables.render("r.json accuracies:span", results) == "0.50 to 0.70"


def test_a_comparison_over_seeds_is_written(tmp_path: Path) -> None:
    accuracies = {"uda": [0.7, 0.9, 0.8], "supervised": [0.5, 0.6, 0.7], "fully_supervised": [0.95]}
    summary = compare_methods(
        {"method": method, "seed": seed, "test_accuracy": accuracy}
        for method, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    )
    payload = {"dataset": "digits", "split": "test", "images": 357, "labels": 40, "summary": summary}
    write_result(tmp_path / "c.json", payload, command="python x.py", seed=[0, 1, 2], wall_seconds=9)

    assert make_tables.render("c.json summary.methods.uda:mean_error", tmp_path) == "80.0 ± 5.8 %"
    assert make_tables.render("c.json summary.methods.fully_supervised:mean_error", tmp_path) == "95.0 %"
    assert make_tables.render("c.json summary.difference:gain", tmp_path) == "+20.0 ± 5.8 points"
    wide = "c.json | Labels=labels | UDA=summary.methods.uda:mean_error | Every seed above=summary.difference.clear:yes"
    assert make_tables.render(wide, tmp_path).splitlines()[-1] == "| 40 | 80.0 ± 5.8 % | yes |"
    long = "c.json#summary.methods | Method=name:words | Seeds=n | Test accuracy=:mean_error | Images=images"
    assert make_tables.render(long, tmp_path).splitlines()[3:] == [
        "| supervised | 3 | 60.0 ± 5.8 % | 357 |",
        "| UDA | 3 | 80.0 ± 5.8 % | 357 |",
        "| fully supervised | 1 | 95.0 % | 357 |",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!-- results: r.json ratio --> no end", "needs its"),
        (
            "<!-- results: r.json ratio -->a<!-- results: r.json ratio -->b<!-- /results -->",
            "none may stand in another",
        ),
        ("<!-- results: r.json rtio -->a<!-- /results -->", "no field 'rtio'; there is accuracies"),
        ("<!-- results: r.json ratio:percentage -->a<!-- /results -->", "no format 'percentage'"),
    ],
)
def test_a_region_that_cannot_be_filled_says_why(results: Path, text: str, complaint: str) -> None:
    with pytest.raises(make_tables.TableError, match=complaint):
        make_tables.fill(text, results)


def test_a_result_that_is_not_valid_fills_nothing(results: Path) -> None:
    path = results / "r.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"command"', '"comand"'), encoding="utf-8")
    with pytest.raises(ResultError, match="command is missing"):
        make_tables.fill("<!-- results: r.json ratio -->a<!-- /results -->", results)
