"""The core's templates agree with PostgreSQL's own scanner, token by token."""

from __future__ import annotations

import re
import string

import postgast
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaperon._core import template

_MARKERS = {"ICONST": b"\x01", "FCONST": b"\x02", "SCONST": b"\x03"}

# Pieces that meet every rule of section 4.1, put together at random.
_PIECES = [
    *"abeEnNuUxX_019.$'\"&-+*/<>=~!@#%^|`?,()[];: \t\n\\{}",
    *("''", '""', "''''", "--", "/*", "*/", "::", ":=", "..", "$1", "$$", "$a$", "\x01", "\x00"),
    *("'a'", "'it''s'", "'ü'", '"ü"', "ü", "E'a'", "U&'a'", "e5", "E-3", "1.5", ".5", "1.", "1_0"),
    *("0x1f", "2147483647", "2147483648", "0000000007", "99999999999999999999", "select", "from t"),
    *("uescape", "\r", "\x0b", "\x0c", "\x7f", "\x04", "é'", "'\n'", "' '"),
]
_texts = st.lists(st.sampled_from(_PIECES), max_size=14).map("".join)

_LITERALS = st.one_of(
    st.integers(0, 10**12).map(str),
    st.from_regex(r"[0-9]{1,4}\.[0-9]{0,3}([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.text(string.ascii_letters + "ü'\" -/*$1\n", max_size=9).map(
        lambda text: "'" + text.replace("'", "''") + "'"
    ),
)


def _scanned(sql: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The template as PostgreSQL's scanner would make it, and its tokens."""
    out = b""
    at = 0
    tokens = []
    for token in postgast.scan(sql.decode()).tokens:
        kind = postgast.pg_query_pb2.Token.Name(token.token)
        text = sql[token.start : token.end]
        tokens.append((kind, b"" if kind in _MARKERS else text))
        out += sql[at : token.start] + _MARKERS.get(kind, text)
        at = token.end
    return out + sql[at:], tokens


@settings(max_examples=600)
@given(_texts)
@example("select 2147483648, -2147483648, 0002147483647")
@example("select 'a'\n'b'")
@example('select ""')
@example("select $0, $2147483647")
def test_a_template_is_what_the_scanner_reads(text: str) -> None:
    sql = text.encode()
    made = template(sql)
    if made is not None:
        assert _scanned(sql)[0] == made


@settings(max_examples=300)
@given(st.lists(st.one_of(_LITERALS, st.sampled_from(["a", "t.c", '"q"', "$3"])), min_size=1))
def test_ordinary_statements_have_one_and_lose_only_literals(terms: list[str]) -> None:
    sql = ("SELECT " + ", ".join(terms) + " FROM t WHERE c = 1 AND d <> 'x'").encode()
    made = template(sql)
    assert made is not None
    literals = [term.encode() for term in terms if term[0] in string.digits + "'"] + [b"1", b"'x'"]
    between = re.split(rb"[\x01-\x03]", made)
    assert len(between) == len(literals) + 1
    back = b"".join(map(bytes.__add__, between, [*literals, b""]))
    assert back == sql


@settings(max_examples=300)
@given(st.lists(st.tuples(_LITERALS, _LITERALS), min_size=1, max_size=5))
def test_texts_with_one_template_have_the_same_tokens(pairs: list[tuple[str, str]]) -> None:
    left, right = (
        ("SELECT f(" + ",".join(pair[side] for pair in pairs) + ")").encode() for side in (0, 1)
    )
    if template(left) == template(right):
        assert _scanned(left)[1] == _scanned(right)[1]
    else:
        assert _scanned(left)[1] != _scanned(right)[1]


def test_values_that_differ_share_a_template() -> None:
    texts = [b"select a from t where b = 1 and c = 'x'", b"select a from t where b = 99 and c = ''"]
    assert len({template(text) for text in texts}) == 1
    assert template(b"") == b""
