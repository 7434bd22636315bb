"""The pages of the docs that follow a pattern follow it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OP_PAGES = sorted(path for path in (DOCS / "ops").glob("*.md") if path.name != "index.md")
ROOMS = sorted(path.parent.name for path in (ROOT / "minivit").glob("*/__init__.py"))


@pytest.mark.parametrize("page", OP_PAGES, ids=lambda page: page.stem)
def test_an_op_page_teaches_in_the_same_order_as_all_others(page: Path) -> None:
    headings = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [
        "Formula and shapes",
        "By hand",
        "Derivation",
        "The fused code",
        "Error",
        "Memory",
        "A mistake on purpose",
    ]


@pytest.mark.parametrize("page", OP_PAGES, ids=lambda page: page.stem)
def test_an_op_page_shows_the_code_of_the_library_and_checks_its_claims(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert f"{{literalinclude}} ../../minivit/ops/{page.stem}.py" in text
    cells = "".join(re.findall(r"^```\{code-cell\}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert cells.count("\nassert ") + cells.count("\n    assert ") >= 3


@pytest.mark.parametrize("page", OP_PAGES, ids=lambda page: page.stem)
def test_an_op_page_is_in_the_list(page: Path) -> None:
    assert f"\n{page.stem}\n" in (DOCS / "ops" / "index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_a_page_in_the_reference(room: str) -> None:
    assert f"automodule:: minivit.{room}\n" in (DOCS / "api" / f"{room}.md").read_text(encoding="utf-8")
    assert f"\n{room}\n" in (DOCS / "api" / "index.md").read_text(encoding="utf-8")
