"""Any text is a configuration or a ConfigError; any cut of policies loses none of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cedarpy
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperon.config import load_config
from chaperon.policy.source import cut
from chaperon.wire.errors import ConfigError

_KEYS = ("data", "listeners", "resources", "policies", "x", "1GiB", "true", "null")
_MARKS = (": ", "- ", "{", "}", "[", "]", ",", "\n", "  ", "'", '"', "|", "#", "%", "\t", "\x00")
WORDS = st.sampled_from([*_KEYS, *_MARKS, "&a ", "*a", "!!int ", "<<", "? "])
YAML = st.lists(WORDS, max_size=40).map("".join) | st.text(max_size=60)

STRINGS = st.text(st.sampled_from('a;"/\\\n '), max_size=8).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
BLANKS = st.sampled_from(["", " ", "\n", "\r", "// ; x\n", "//\r", '// "\n', "\r\n\t"])


@st.composite
def policies(draw: st.DrawFn) -> str:
    """A policy with strings and comments in the places where they may stand."""
    parts = ["@note(", draw(STRINGS), ")", draw(BLANKS), "forbid (principal, action, resource)"]
    if draw(st.booleans()):
        parts += [draw(BLANKS), "when {", draw(STRINGS), "==", draw(STRINGS), draw(BLANKS), "}"]
    return "".join([*parts, draw(BLANKS), ";"])


@given(YAML)
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_configuration_or_an_error(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_bytes(text.encode(errors="surrogatepass"))
        try:
            load_config(path, ["postgres"])
        except ConfigError as error:
            assert str(path) in str(error)  # noqa: PT017  # both outcomes are good, this one is more


@given(st.lists(policies(), min_size=1, max_size=5), st.lists(BLANKS, min_size=6, max_size=6))
@settings(max_examples=200, deadline=None)
def test_cutting_finds_the_policies_that_cedar_finds(texts: list[str], blanks: list[str]) -> None:
    whole, starts = "", []
    for blank, text in zip(blanks, texts, strict=False):
        whole += blank
        starts.append(whole.count("\n") + 1)
        whole += text
    whole += blanks[-1]
    pieces = cut(Path("a.cedar"), whole)
    assert [piece.text for piece in pieces] == texts
    assert [piece.line for piece in pieces] == starts
    assert len(cedarpy.PolicySet.from_str(whole)) == len(texts)
