"""What the README says to type is typed, and what it says appears, appears.

Every fenced block of commands or Python is run in a copy of the checkout, by the interpreter that runs the tests: the
steps of a command line that make and fill a virtual environment are checked and left out, since the tests already stand
in one. The line before a block can hold a comment that says how the test is to run it:

- ``<!-- test command -->``: the tests themselves; not run from within them (``.ci/run`` runs it).
- ``<!-- run: --minutes 0.1 -->``: with these arguments added, where the command as it stands takes too long for a test.
- ``<!-- run: gpu -->``, ``<!-- run: network -->``: only where there is a GPU, or the internet; arguments may follow.

A ``text`` block right after another block is its output; ``...`` in it stands for anything.
"""

import dataclasses
import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]

BLOCK = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]*?) -->\n\s*)?^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclasses.dataclass
class Block:
    """A fenced block: what is in it, the comment before it, and the output shown after it."""

    language: str
    body: str
    marker: str
    line: int
    output: str | None = None

    @property
    def words(self) -> list[str]:
        """``run: gpu --minutes 1`` -> ``gpu``, ``--minutes``, ``1``."""
        return shlex.split(self.marker.removeprefix("run:")) if self.marker.startswith("run:") else []

    @property
    def places(self) -> set[str]:
        """The markers of pytest among the words."""
        return {"gpu", "network"} & set(self.words)

    @property
    def added_arguments(self) -> list[str]:
        return [word for word in self.words if word not in self.places]


def read_blocks(text: str) -> list[Block]:
    """The blocks of a Markdown text; output is attached to the block that it follows."""
    blocks: list[Block] = []
    end = 0
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        if match["language"] == "text" and blocks and not text[end : match.start()].strip():
            blocks[-1].output = match["body"]
        else:
            blocks.append(Block(match["language"], match["body"], match["marker"] or "", line))
        end = match.end()
    return blocks


def commands(block: Block) -> list[list[str]]:
    """The command lines of a shell block as lists of words, without those that make a virtual environment.

    Plain words only: a pipe, a redirection or a variable would mean different things to different shells.
    """
    lines = []
    for line in block.body.replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        for step in line.split("&&"):
            words = shlex.split(step, comments=True)
            assert not set("|<>;$&`") & set("".join(words)), f"README.md:{block.line}: no plain command: {step}"
            program, *arguments = words
            program = program.removeprefix(".venv/bin/")
            if program in {"python", "python3"} and arguments[:2] == ["-m", "venv"]:
                continue
            if program == "pip":
                check_install(arguments)
            elif program in {"python", "python3"}:
                lines.append([sys.executable, *arguments])
            elif program == "minivit":
                lines.append([sys.executable, "-m", "minivit", *arguments])
            else:
                raise AssertionError(f"README.md:{block.line}: unknown program {program!r}")
    if lines:
        lines[-1] += block.added_arguments
    return lines


def check_install(arguments: list[str]) -> None:
    """``pip install -e '.[examples]'`` installs this project with extras that it has."""
    command, *requirements = [word for word in arguments if not word.startswith("-")]
    assert command == "install"
    for requirement in requirements:
        match = re.fullmatch(r"\.(?:\[([\w,]+)\])?", requirement)
        assert match, f"expected '.' or '.[extra]', got {requirement!r}"
        assert set((match[1] or "").split(",")) - {""} <= EXTRAS.keys()


BLOCKS = read_blocks(README)
RUN = [block for block in BLOCKS if block.language in {"bash", "python"} and block.marker != "test command"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that what the commands write does not land in it."""
    target = tmp_path_factory.mktemp("readme") / "minivit"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "_build", "runs", "data", "*.egg-info")

    def ignore(folder: str, names: list[str]) -> set[str]:
        return set(ignored(folder, names)) - ({"data"} if Path(folder) != ROOT else set())

    shutil.copytree(ROOT, target, ignore=ignore)
    return target


def environment(checkout: Path, *, network: bool) -> dict[str, str]:
    """The environment of a new user: the checkout's own code, an empty cache and, unless it is wanted, no network."""
    result = dict(os.environ, PYTHONPATH=str(checkout), XDG_CACHE_HOME=str(checkout.parent / "cache"), NO_COLOR="1")
    result.pop("PYTEST_ADDOPTS", None)
    if not network:
        closed = "http://127.0.0.1:9"  # the discard port: a download is refused at once
        result |= {"http_proxy": closed, "https_proxy": closed, "HTTP_PROXY": closed, "HTTPS_PROXY": closed}
    return result


@pytest.mark.slow
@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"line{block.line}", marks=[getattr(pytest.mark, name) for name in sorted(block.places)])
        for block in RUN
    ],
)
def test_block_runs_and_prints_what_it_shows(block: Block, checkout: Path) -> None:
    lines = [[sys.executable, "-c", block.body]] if block.language == "python" else commands(block)
    assert lines, f"README.md:{block.line}: nothing to run"
    printed = ""
    for line in lines:
        run = subprocess.run(
            line,
            cwd=checkout,
            env=environment(checkout, network="network" in block.places),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{shlex.join(line)}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
        assert "Warning:" not in run.stderr, run.stderr[-3000:]
        printed += run.stdout
    if block.language == "python":
        assert block.output is not None, (
            f"README.md:{block.line}: show what the snippet prints in a text block after it"
        )
    if block.output is not None:
        matches = doctest.OutputChecker().check_output(block.output, printed, doctest.ELLIPSIS)
        assert matches, f"README.md:{block.line} prints\n{printed}\nand the README shows\n{block.output}"


def test_the_two_commands_are_one_line_each() -> None:
    tests = [block for block in BLOCKS if block.marker == "test command"]
    job = [block for block in BLOCKS if block.body.rstrip().endswith("examples/train_cifar.py")]
    assert len(tests) == len(job) == 1
    for block in tests + job:
        assert len(block.body.splitlines()) == 1
        assert block.body.startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert commands(tests[0]) == [[sys.executable, "-m", "pytest"]]


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {block.language for block in BLOCKS} <= {"bash", "python", "text"}
    assert README.count("```") == 2 * sum(1 + (block.output is not None) for block in BLOCKS)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:\]\(|src=\")(?!https?://|#)([^)\"#]+)", README))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_blocks_are_read_with_their_markers_and_output() -> None:
    text = "<!-- run: gpu --minutes 1 -->\n```bash\npython a.py\n```\n\n```text\nhello ...\n```\n"
    text += "and\n\n```text\nalone\n```\n"
    first, second = read_blocks(text)
    assert (first.places, first.added_arguments, first.output) == ({"gpu"}, ["--minutes", "1"], "hello ...\n")
    assert commands(first) == [[sys.executable, "a.py", "--minutes", "1"]]
    assert (second.language, second.output) == ("text", None)


@pytest.mark.parametrize("body", ["rm -r x", "python a.py | tail", "pip install '.[nothing]'", "pip install torch"])
def test_a_command_that_cannot_be_vouched_for_is_refused(body: str) -> None:
    with pytest.raises(AssertionError):
        commands(Block("bash", body, "", 1))
