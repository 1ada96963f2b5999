"""What reaches a terminal: nothing from outside steers it, tables stay aligned, times read back."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperon.cli import output, times
from chaperon.cli.exits import CommandFailed, Exit

_STEERING = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
NOW = 1_800_000_000 * 10**9


def steering(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) in _STEERING}


@given(st.text())
def test_safe_text_is_one_line_and_steers_nothing(text: str) -> None:
    assert steering(output.safe(text)) == set()


@given(st.text())
def test_safe_lines_keep_lines_and_steer_nothing(text: str) -> None:
    shown = output.safe_lines(text)
    assert steering(shown) <= {"\n"}
    assert shown.count("\n") == text.count("\n")


@pytest.mark.parametrize("text", ["SELECT 1", "naïve Ω 漢字", "a 'b' \"c\""])
def test_plain_text_stays(text: str) -> None:
    assert output.safe(text) == text


@given(st.text(max_size=30), st.integers(1, 20))
def test_a_cut_cell_fits(text: str, width: int) -> None:
    cut = output._cut(output.safe(text), width)
    assert output._width(cut) <= width


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    columns = [output.Column("NAME"), output.Column("N", right=True)]
    output.print_table(columns, [("漢", "1"), ("a\x1b[31mb", "1000")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME" + 11 * " " + "N", "漢" + 13 * " " + "1", "a\\x1b[31mb  1000"]


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0ms"),
        (999_999_999, "999ms"),
        (59 * 10**9, "59s"),
        (60 * 10**9, "1m"),
        (3_661 * 10**9, "1h 1m"),
        (90_000 * 10**9, "1d 1h"),
    ],
)
def test_brief_durations(ns: int, shown: str) -> None:
    assert output.brief_duration(ns) == shown


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("7d", 604_800), ("0s", 0), ("1m1m", 120)]
)
def test_durations(text: str, seconds: int) -> None:
    assert times.duration(text, "--ttl") == seconds * times.SECOND


@given(st.text(max_size=12))
def test_any_text_is_a_time_or_a_usage_error(text: str) -> None:
    try:
        times.moment(text, "--since", NOW)
        code = None
    except CommandFailed as error:
        code = error.code
    assert code in (None, Exit.USAGE)


def test_moments() -> None:
    assert times.moment("2h", "--since", NOW) == NOW - 7200 * times.SECOND
    assert times.moment("2027-01-15T08:00:00Z", "--since", 0) == NOW
    assert times.moment("2027-01-15T08:00:00.25Z", "--since", 0) == NOW + times.SECOND // 4
    local = times.moment("2027-01-15", "--since", 0)
    assert abs(local - NOW) < 36 * 3600 * times.SECOND
