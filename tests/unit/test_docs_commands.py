"""Every `chaperon` command that a document or the demo shows exists, with the options shown."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from chaperon.cli.main import main

ROOT = Path(__file__).parents[2]
SHOWN_IN = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "examples/**/*.py", "**/*.yaml")
    for path in ROOT.glob(pattern)
    if not {".venv", ".build", "target", "tests"} & set(path.relative_to(ROOT).parts)
)
_SHOWN = re.compile(r"\bchaperon ((?:--)?[a-z][^`\n]*)")
_WORD = re.compile(r"[a-z]+$")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-[a-z])\b")

Help = Callable[..., str | None]


class Shown(NamedTuple):
    """A command as a document shows it."""

    page: str
    text: str


def shown_commands() -> Iterator[Shown]:
    """Commands in code spans and code blocks; those of Python files stand in code spans, too."""
    for path in SHOWN_IN:
        text = path.read_text()
        if path.suffix == ".md":
            pieces = re.findall(r"^```.*?^```|`[^`\n]+`", text, re.DOTALL | re.MULTILINE)
        else:
            pieces = re.findall(r"`[^`\n]+`", text)
        for piece in pieces:
            for found in _SHOWN.findall(piece):
                yield Shown(str(path.relative_to(ROOT)), re.split(r"\s#|\s──", found)[0])


@pytest.fixture
def help_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Help:
    """`chaperon WORDS --help`, None where there is no such command."""

    @cache
    def ask(*words: str) -> str | None:
        monkeypatch.setattr(sys, "argv", ["chaperon", *words, "--help"])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out = capsys.readouterr().out
        return out if code == 0 else None

    return ask


def commands_in(text: str) -> frozenset[str]:
    """The commands that a help lists."""
    return frozenset(re.findall(r"^  ([a-z]+) ", text.partition("Commands:")[2], re.MULTILINE))


def options_in(text: str) -> frozenset[str]:
    """The options that a help lists."""
    lines = re.findall(r"^  (-.*)$", text.partition("Options:")[2], re.MULTILINE)
    return frozenset(option for line in lines for option in _OPTION.findall(line.split("  ")[0]))


def problem(shown: str, help_of: Help) -> str | None:
    """What is wrong with a command as it is shown."""
    known: tuple[str, ...] = ()
    text = help_of() or ""
    for word in shown.split():
        inner = commands_in(text)
        if not inner or word.startswith("-"):
            break
        for choice in word.split("|"):  # `sessions list|show`
            if not _WORD.match(choice) or choice not in inner:
                return f"there is no command {' '.join((*known, choice))!r}"
        known = (*known, word.split("|")[0])
        text = help_of(*known) or ""
    options = options_in(text) | {"--help", "-h"}
    unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", shown)
    missing = [option for option in _OPTION.findall(unquoted) if option not in options]
    return f"{' '.join(known) or 'chaperon'} has no {missing}" if missing else None


def test_every_command_shown_exists(help_of: Help) -> None:
    commands = list(shown_commands())
    assert len(commands) > 30
    pages = {command.page for command in commands}
    assert {"README.md", "docs/cli.md", "examples/demo/chaperon.yaml"} <= pages
    wrong = [(*command, found) for command in commands if (found := problem(command.text, help_of))]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("serve -c FILE", None),
        ("sessions list|show ID --json", None),
        ("policy explain ci-bot shop 'DELETE -- all --of --it'", None),
        ("--help", None),
        ("sevre", "there is no command 'sevre'"),
        ("sessions lst", "there is no command 'sessions lst'"),
        ("replay ID --instantly", "replay has no ['--instantly']"),
    ],
)
def test_what_is_not_there_is_found(text: str, found: str | None, help_of: Help) -> None:
    assert problem(text, help_of) == found


def test_every_command_is_documented(help_of: Help) -> None:
    page = (ROOT / "docs/cli.md").read_text()
    for first in commands_in(help_of() or ""):
        inner = commands_in(help_of(first) or "")
        for words in [(first, second) for second in inner] or [(first,)]:
            assert f"`chaperon {' '.join(words)}" in page, words


def test_the_steps_of_the_readme_are_those_that_init_names(help_of: Help) -> None:
    """In the order in which one needs them."""
    readme = (ROOT / "README.md").read_text()
    path = readme.partition("## Your own database")[2].partition("## The way")[0]
    steps = re.findall(r"^chaperon (\w+)", path, re.MULTILINE)
    order = ["init", "doctor", "serve", "token", "sessions", "replay", "policy"]
    assert [step for step in steps if step in order] == order
