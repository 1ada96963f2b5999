"""The binding's Framer gives what the core's tables say, and refuses what a caller gets wrong."""

from __future__ import annotations

import sys

import pytest

from chaperon._core import Framer, crc32c, data_row


def _framer(runs: bytes = b"D") -> Framer:
    largest = [0] * 256
    for tag in b"QDZ":
        largest[tag] = 1 << 20
    return Framer([64] * 256, [5] * 256, largest, runs)


def _message(tag: bytes, payload: bytes) -> bytes:
    return tag + (len(payload) + 4).to_bytes(4, "big") + payload


def test_entries_are_tags_and_ends() -> None:
    data = _message(b"Q", b"ab") + _message(b"D", b"") * 3 + _message(b"Z", b"I") + b"Q"
    framer = _framer()
    assert framer.need == 5
    assert framer.feed(data) == (b"QDZ", (7, 22, 28))
    assert (framer.need, framer.remaining) == (5, 0)


def test_nothing_to_report_is_empty() -> None:
    framer = _framer()
    assert framer.feed(b"") == (b"", ())
    assert framer.feed(b"Q\0\0\0\x20") == (b"", ())
    assert framer.need == 33


def test_a_large_message_passes_in_parts() -> None:
    framer = _framer()
    assert framer.feed(_message(b"Q", bytes(100))[:50]) == (b"Q", (50,))
    assert (framer.need, framer.remaining) == (1, 55)
    assert framer.feed(bytes(55) + _message(b"Z", b"")) == (b"\0Z", (55, 60))


@pytest.mark.parametrize("data", [b"G", b"Q\0\0\0\3", b"Q\x7f\xff\xff\xff"])
def test_a_violation_is_for_ever(data: bytes) -> None:
    framer = _framer()
    for again in (data, _message(b"Q", b"")):
        with pytest.raises(ValueError, match="message type"):
            framer.feed(again)


def test_thousands_of_entries_in_one_feed() -> None:
    data = (_message(b"Q", b"") + _message(b"Z", b"")) * 10_000
    tags, ends = _framer().feed(data)
    assert tags == b"QZ" * 10_000
    assert ends == tuple(range(5, 100_001, 5))


@pytest.mark.parametrize("short", [0, 1, 2])
def test_tables_need_256_entries(short: int) -> None:
    tables = [[5] * 256 for _ in range(3)]
    tables[short].pop()
    with pytest.raises(ValueError, match="256"):
        Framer(tables[0], tables[1], tables[2], b"")


def test_table_entries_are_unsigned_32_bits() -> None:
    for wrong in (-1, 1 << 32):
        with pytest.raises(OverflowError):
            Framer([wrong] * 256, [5] * 256, [5] * 256, b"")


def test_feeding_keeps_no_reference() -> None:
    data = _message(b"Q", b"x" * 20)
    framer = _framer()
    before = sys.getrefcount(data)
    for _ in range(100):
        framer.feed(data)
    assert sys.getrefcount(data) == before


def test_a_row_s_values() -> None:
    row = bytes.fromhex("0003 00000002 6869 ffffffff 00000000")
    assert data_row(row) == [b"hi", None, b""]
    assert data_row(b"\0\0") == []


@pytest.mark.parametrize(
    "payload", ["", "00", "ffff", "0001", "0001 fffffffe", "0001 00000002 61", "0000 00"]
)
def test_a_malformed_row_is_refused(payload: str) -> None:
    with pytest.raises(ValueError, match="row"):
        data_row(bytes.fromhex(payload))


def test_the_checksum_s_published_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283
