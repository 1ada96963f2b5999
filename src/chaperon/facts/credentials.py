"""Find the credentials that stand in SQL text, so that no recording keeps them.

Invariant: where a credential cannot be located, every string of the text is reported.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from chaperon.facts.parser import STRING_KINDS, SyntaxProblem, Token, scan

_MARKS: Final = (b"password", b"passwd", b"secret", b"token", b"credential", b"://", b"key")
_SURE_MARKS: Final = (b"password", b"passwd", b"secret", b"credential")
_WORDS: Final = ("pass", "secret", "token", "credential", "key")
# A string's own content: a connection string or a URI with a password.
_CONNECTION = re.compile(
    rb"pass(?:word|wd)?\s*(?:=|[eE]?'|\$)|://[^/\s@:]*:[^/\s@]*@", re.IGNORECASE
)

Range = tuple[int, int]


def locate(text: bytes, expected: int, contents: bool) -> tuple[Range, ...]:
    """Byte ranges of credentials in `text`.

    `expected`: how many the tree has (0: look at contents only); `contents`: whether strings that
    look like connection strings count.
    """
    if not expected and not (contents and any(mark in text.lower() for mark in _MARKS)):
        return ()
    try:
        tokens = scan(text)
    except SyntaxProblem:
        return _rest(text)
    strings = [token for token in tokens if token.kind in STRING_KINDS]
    found: dict[Token, None] = {}
    if expected:
        for before, token in pairwise(tokens):
            if token.kind in STRING_KINDS and _introduces(text[before.start : before.end]):
                found[token] = None
        if len(found) < expected:
            found = dict.fromkeys(strings)
    if contents:
        for token in strings:
            if _CONNECTION.search(text, token.start, token.end):
                found[token] = None
    return _joined(sorted(found, key=lambda token: token.start))


def unparsed(text: bytes) -> tuple[Range, ...]:
    """Credentials of a text that does not parse: every string, where there may be one at all."""
    lowered = text.lower()
    if not any(mark in lowered for mark in _MARKS):
        return ()
    try:
        return _joined([token for token in scan(text) if token.kind in STRING_KINDS])
    except SyntaxProblem:
        return _rest(text)


def _introduces(word: bytes) -> bool:
    """Whether a string after `word` is a credential: PASSWORD, CONNECTION, an option's name."""
    name = word.strip(b'"').lower().decode("utf-8", "replace")
    return name == "connection" or any(part in name for part in _WORDS)


def _joined(tokens: list[Token]) -> tuple[Range, ...]:
    return tuple((token.start, token.end) for token in tokens)


def _rest(text: bytes) -> tuple[Range, ...]:
    """Everything from the first quote on: the scanner itself gave up."""
    starts = [at for at in (text.find(b"'"), text.find(b"$")) if at >= 0]
    return ((min(starts), len(text)),) if starts else ()


def whole(text: bytes) -> tuple[Range, ...]:
    """All of a text that no scanner has seen, where it may hold a credential."""
    lowered = text.lower()
    return ((0, len(text)),) if any(mark in lowered for mark in _SURE_MARKS) else ()
