"""Write the measured numbers of the README and the docs, from the results in ``docs/results/``.

    python docs/make_tables.py            rewrite every region that is not up to date
    python docs/make_tables.py --check    change nothing; exit 1 if a region is not up to date

A region stands between two comments. The first says what is in it; what lies between is replaced. A single value stands
in a line of text: ::

    reached <!-- results: digits.json test_accuracy:percent -->97.5 %<!-- /results --> on

A table names its files and then, after each bar, a column: its title, the field and how to write it. ``FILE#field``
makes one row of each member of a list in the file, or of each object in an object, whose name is the row's ``name``; a
field that a row does not have is looked up in the whole result: ::

    <!-- results: digits.json cifar10.json | Data=dataset | Test accuracy=test_accuracy:percent | Seeds=seed -->
    <!-- /results -->

    <!-- results: digits_uda.json#summary.methods | Method=name:words | Seeds=n | Test accuracy=:mean_error -->
    <!-- /results -->

Fields are dotted paths; none at all is the row itself. The formats are the functions of ``FORMATS`` below.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minivit.files import write_text
from minivit.recipes.comparison import in_percent, in_words
from minivit.recipes.results import read_result

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
REGION = re.compile(r"(?P<open><!-- results: (?P<spec>.*?) -->)(?P<body>.*?)(?P<close><!-- /results -->)", re.DOTALL)


class TableError(ValueError):
    """A region that cannot be filled."""


def _mean_and_spread(values: list[float]) -> str:
    """Percent, the mean over seeds with the sample standard deviation."""
    percent = [100 * value for value in values]
    return f"{statistics.fmean(percent):.1f} ± {statistics.stdev(percent):.1f} %"


FORMATS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "code": lambda value: f"`{value}`",
    "commit": lambda value: f"`{value[:10]}`" if value else "not recorded",
    "count": lambda value: f"{value:,}",
    "whole": lambda value: f"{value:,.0f}",
    "millions": lambda value: f"{value / 1e6:.2f}M",
    "percent": lambda value: f"{100 * value:.1f} %",
    "percent2": lambda value: f"{100 * value:.2f} %",
    "percents": _mean_and_spread,
    "mean_error": lambda found: f"{in_percent(found, decimals=1)} %",
    "gain": lambda found: f"{in_percent(found, '+', 1)} points",
    "words": in_words,
    "yes": lambda value: "yes" if value else "no",
    "ratio": lambda value: f"{value:.2f}x",
    "span": lambda values: f"{min(values):.2f} to {max(values):.2f}",
    "tenths": lambda value: f"{value:.1f}",
    "decimal": lambda value: f"{value:.3f}",
    "error": lambda value: f"{value:.1e}",
    "rate": lambda value: f"{value:,.0f}/s",
    "seconds": lambda value: f"{value:.1f} s",
    "minutes": lambda value: f"{value / 60:.1f} min",
    "milliseconds": lambda value: f"{1e3 * value:.2f} ms",
    "mebibytes": lambda value: f"{value / 2**20:,.0f} MiB",
}


def look_up(field: str, *records: dict[str, Any]) -> Any:
    """The value at a dotted path in the first of ``records`` that has it; for no path, the first record."""
    if not field:
        return records[0]
    for record in records:
        value: Any = record
        for key in field.split("."):
            if not isinstance(value, dict) or key not in value:
                break
            value = value[key]
        else:
            return value
    raise TableError(f"no field {field!r}; there is {', '.join(sorted(records[0]))}")


def write_value(expression: str, *records: dict[str, Any]) -> str:
    """``test_accuracy:percent`` -> ``97.5 %``."""
    field, _, name = expression.strip().partition(":")
    value = look_up(field, *records)
    if value is None:
        return "-"
    if name not in FORMATS and name:
        raise TableError(f"no format {name!r}; there is {', '.join(FORMATS)}")
    return FORMATS[name or "text"](value)


def render(spec: str, results: Path = RESULTS) -> str:
    """What belongs between the two comments of a region."""
    head, *columns = [part.strip() for part in spec.split("|")]
    if not columns:
        file, _, expression = head.partition(" ")
        return write_value(expression, read_result(results / file))
    titles, expressions = zip(*(column.split("=", 1) for column in columns), strict=True)
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    for source in head.split():
        file, _, field = source.partition("#")
        record = read_result(results / file)
        rows = look_up(field, record) if field else [record]
        if isinstance(rows, dict):
            rows = [{"name": name, **row} for name, row in rows.items()]
        lines += ["| " + " | ".join(write_value(e, row, record) for e in expressions) + " |" for row in rows]
    return "\n" + "\n".join(lines) + "\n"


def fill(text: str, results: Path = RESULTS) -> str:
    """``text`` with every region rendered anew."""
    regions = list(REGION.finditer(text))
    if not len(regions) == text.count("<!-- results:") == text.count("<!-- /results -->"):
        raise TableError("every '<!-- results: ... -->' needs its '<!-- /results -->', and none may stand in another")
    return REGION.sub(lambda match: match["open"] + render(match["spec"], results) + match["close"], text)


def pages() -> list[Path]:
    """The README and every page of the docs."""
    built = ROOT / "docs" / "_build"
    return [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if built not in path.parents)]


def main(arguments: list[str] | None = None) -> int:
    """Rewrite, or check; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a region is not up to date")
    options = parser.parse_args(arguments)
    stale = 0
    for page in pages():
        old = page.read_text(encoding="utf-8")
        try:
            new = fill(old)
        except (OSError, ValueError) as error:
            print(f"{page.relative_to(ROOT)}: {error}", file=sys.stderr)
            return 1
        if new != old:
            stale += 1
            print(f"{page.relative_to(ROOT)}: {'not up to date' if options.check else 'rewritten'}")
            if not options.check:
                write_text(page, new)
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
