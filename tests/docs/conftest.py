"""The pages and their blocks of code.

A block that is not run says so in its first line, for the reader too: `# not run: REASON`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "examples" / "ci" / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
LANGUAGES = ("python", "sh", "toml", "yaml")
NOT_RUN = re.compile(r"# not run: (?P<reason>.+)")
ASSIGNMENT = re.compile(r"[A-Za-z_]+=.*")
FILE = re.compile(r"# (\w+\.py)\n")
FENCE = re.compile(r"^ *(?:```|~~~|:::)(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code on a page.

    Attributes:
        example: as sybil found it; evaluating a Python block runs it in its page's namespace.
        language: of the fence.
    """

    example: Example
    language: str

    @property
    def text(self) -> str:
        """The code."""
        return str(self.example.parsed)

    @property
    def place(self) -> str:
        """Page and line."""
        return f"{Path(self.example.path).relative_to(ROOT)}:{self.example.line}"

    @property
    def excuse(self) -> str:
        """Why it is not run; empty if it is."""
        found = NOT_RUN.match(self.text)
        return found["reason"].strip() if found else ""

    @property
    def file(self) -> str:
        """The file that it is to be written to, by its first line (`# my_vae.py`); empty if it is none."""
        found = FILE.match(self.text)
        return found[1] if found else ""

    @property
    def holds_tests(self) -> bool:
        """Whether pytest runs it, rather than Python."""
        return (
            self.language == "python"
            and re.search(r"^def test_|\bpytest_vaeaudit_", self.text, re.MULTILINE) is not None
        )


def blocks_of(page: Path) -> list[Block]:
    """Every block of a page, in order; all in one namespace."""
    parsers = {language: CodeBlockParser(language, _compile_and_run) for language in LANGUAGES}
    document = Document.parse(str(page), *parsers.values())
    return [Block(example, _language(document, example)) for example in document.examples()]


def _language(document: Document, example: Example) -> str:
    found = FENCE.match(document.text, example.start)
    assert found is not None, f"{example.path}:{example.line} begins with no fence"
    return found[1]


def _compile_and_run(example: Example) -> None:
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    exec(compile(source, example.path, "exec", dont_inherit=True), example.namespace)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test every block of the languages that it names, or every page with blocks of that kind."""
    marker = metafunc.definition.get_closest_marker("blocks")
    if marker is not None:
        chosen = [block for block in BLOCKS if block.language in marker.args and not block.excuse]
        metafunc.parametrize("block", chosen, ids=[block.place for block in chosen])
    if "page_of_python" in metafunc.fixturenames:
        _parametrize_pages(metafunc, "page_of_python", tests=False)
    if "page_of_tests" in metafunc.fixturenames:
        _parametrize_pages(metafunc, "page_of_tests", tests=True)


def _parametrize_pages(metafunc: pytest.Metafunc, name: str, *, tests: bool) -> None:
    python = [
        block for block in BLOCKS if block.language == "python" and not block.excuse and block.holds_tests == tests
    ]
    pages = sorted({Path(block.example.path) for block in python})
    metafunc.parametrize(name, pages, ids=[str(page.relative_to(ROOT)) for page in pages])


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker that asks for blocks."""
    config.addinivalue_line("markers", "blocks(*languages): run with every block of these languages")


@pytest.fixture(scope="session")
def all_blocks() -> list[Block]:
    """Every block of every page."""
    return BLOCKS


@pytest.fixture
def blocks() -> Any:
    """The blocks of a page, in a fresh namespace."""
    return blocks_of


def commands_in(block: Block) -> list[list[str]]:
    """The commands of a shell block, and of the steps of a YAML block, in words; pipes and redirections are cut off."""
    text = block.text if block.language == "sh" else "\n".join(_scripts(list(yaml.safe_load_all(block.text))))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [command for line in joined.splitlines() for command in _commands_of(line)]


def _commands_of(line: str) -> list[list[str]]:
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    commands: list[list[str]] = [[]]
    into_file = False
    for word in words:
        if set(word) <= set("();<>|&"):
            into_file = word.startswith((">", "<"))
            commands += [] if into_file else [[]]
        elif not into_file and (commands[-1] or not ASSIGNMENT.fullmatch(word)):
            commands[-1].append(word)
    return [command for command in commands if command]


def _scripts(node: Any) -> list[str]:
    """What a CI file runs: the values of `run` (GitHub), `script` and `before_script` (GitLab)."""
    if isinstance(node, list):
        return [found for one in node for found in _scripts(one)]
    if not isinstance(node, dict):
        return []
    ours = [value for key, value in node.items() if key in ("run", "script", "before_script")]
    lines = [
        line for value in ours for line in (value if isinstance(value, list) else [value]) if isinstance(line, str)
    ]
    return lines + [found for value in node.values() for found in _scripts(value)]


@pytest.fixture(scope="session")
def saved_report(make_report: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a synthetic report."""
    saved: Path = make_report().save(tmp_path_factory.mktemp("saved") / "report")
    return saved


@pytest.fixture
def commands() -> Any:
    """Reads the command lines of a block."""
    return commands_in
