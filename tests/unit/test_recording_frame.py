"""The format's numbers and payloads."""

from __future__ import annotations

import pytest

from chaperon._core import read_frame
from chaperon.recording import frame as f


def test_session_ids_are_random_and_have_one_spelling() -> None:
    ids = {f.new_session_id() for _ in range(100)}
    assert len(ids) == 100
    for session in ids:
        assert f.session_text(f.session_bytes(session)) == session
    for wrong in ("", "a" * 25, "a" * 27, "A" * 26, "1" * 26, "é" * 26, "a" * 25 + "b"):
        with pytest.raises(ValueError):  # noqa: PT011 - the kinds of wrongness have no words
            f.session_bytes(wrong)


def test_file_header_round_trip() -> None:
    session = f.new_session_id()
    header = f.file_header(session)
    assert len(header) == f.FILE_HEADER
    assert f.read_file_header(header + b"rest") == session


@pytest.mark.parametrize(
    ("copied", "said"),
    [
        (lambda h: h.replace(b"\r\n", b"\n"), "copied as text"),
        (lambda h: bytes([h[0] & 0x7F]) + h[1:], "copied as text"),
        (lambda h: h.replace(b"\n", b"\r\n"), "copied as text"),
        (lambda h: h[:20], "shorter"),
        (lambda h: b"GIF89a" + h, "not a recording"),
        (lambda h: h[:8] + b"\x02\x00" + h[10:], "newer"),
        (lambda h: h[:10] + b"\x01\x00" + h[12:], "newer"),
    ],
)
def test_a_changed_header_is_told_apart(copied, said) -> None:  # type: ignore[no-untyped-def] # parametrized lambdas
    header = copied(f.file_header(f.new_session_id()) + b"\0" * 8)
    with pytest.raises(ValueError, match=said):
        f.read_file_header(header[: max(len(header) - 8, 0)] if said == "shorter" else header)


def test_decisions_round_trip() -> None:
    assert f.read_decision(f.full_decision(7, b"{}")) == f.DecisionRef(7, b"{}", 0)
    assert f.read_decision(f.repeated_decision(2**40, 9)) == f.DecisionRef(2**40, None, 9)
    for damaged in (b"", b"\0" * 8, b"\2" + b"\0" * 16, f.repeated_decision(1, 2)[:-1]):
        with pytest.raises(ValueError, match="unknown form"):
            f.read_decision(damaged)


def test_a_frame_made_here_is_one_of_the_core() -> None:
    encoded = f.encode_frame(f.Kind.GAP, 3, b"abc", sequence=5, mono_ns=6, wall_ns=7)
    assert read_frame(b"xx" + encoded, 2) == (9, 3, 0, 5, 6, 7, 38, 41)


def test_json_payloads_are_objects() -> None:
    payload = f.json_payload({"name": "ä\ud800"})
    assert f.read_json(payload) == {"name": "ä?"}
    for wrong in (b"[]", b"1", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(ValueError):  # noqa: PT011 - json's own words
            f.read_json(wrong)
