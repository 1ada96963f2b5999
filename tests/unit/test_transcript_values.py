"""Values as text, by type and format."""

from __future__ import annotations

import struct
import uuid

import pytest

from chaperon.protocols.postgres.transcript_values import VALUE_BOUND, render, type_name
from chaperon.recording.transcript import Value


@pytest.mark.parametrize(
    ("oid", "data", "text"),
    [
        (16, b"\1", "t"),
        (16, b"\7", "\\x07"),
        (20, struct.pack("!q", -5), "-5"),
        (21, struct.pack("!h", 7), "7"),
        (23, struct.pack("!i", -1), "-1"),
        (23, b"\0", "\\x00"),
        (26, struct.pack("!I", 4_000_000_000), "4000000000"),
        (700, struct.pack("!f", 1.5), "1.5"),
        (701, struct.pack("!d", float("inf")), "Infinity"),
        (701, struct.pack("!d", float("nan")), "NaN"),
        (25, "ä".encode(), "ä"),
        (17, b"\0\xff", "\\x00ff"),
        (3802, b'\1{"a": 1}', '{"a": 1}'),
        (1082, struct.pack("!i", -1), "1999-12-31"),
        (1082, struct.pack("!i", 2**31 - 1), "\\x7fffffff"),
        (1083, struct.pack("!q", 3_600_000_001), "01:00:00.000001"),
        (1114, struct.pack("!q", 0), "2000-01-01 00:00:00"),
        (1114, struct.pack("!q", 2**63 - 1), "infinity"),
        (1184, struct.pack("!q", 1_000_000), "2000-01-01 00:00:01+00"),
        (1186, struct.pack("!qii", -1_500_000, 3, 14), "1 years 2 mons 3 days -00:00:01.5"),
        (1700, struct.pack("!HhHHHH", 2, 0, 0, 2, 12, 3400), "12.34"),
        (1700, struct.pack("!HhHHH", 1, -2, 0x4000, 8, 5), "-0.00000005"),
        (1700, struct.pack("!HhHHH", 1, 1, 0, 0, 5), "50000"),
        (1700, struct.pack("!HhHH", 0, 0, 0, 2), "0.00"),
        (1700, struct.pack("!HhHH", 0, 0, 0xC000, 0), "NaN"),
        (1700, struct.pack("!HhHH", 9, 0, 0, 0), "\\x0009000000000000"),
        (2950, uuid.UUID(int=1).bytes, str(uuid.UUID(int=1))),
        (1007, struct.pack("!iiIiiiiii", 1, 1, 23, 2, 1, 4, 7, -1, 0)[:-4], "{7,NULL}"),
        (1009, struct.pack("!iiIiii3s", 1, 0, 25, 1, 1, 3, b"a,b"), '{"a,b"}'),
        (1009, struct.pack("!iiI", 0, 0, 25), "{}"),
        (999_999, b"\1\2", "\\x0102"),
    ],
)
def test_binary_values(oid: int, data: bytes, text: str) -> None:
    assert render(data, oid, True, "utf-8") == Value(text, len(data))


def test_text_values_and_null() -> None:
    assert render(None, 25, False, "utf-8") == Value(None, 0)
    assert render(b"12.5", 1700, False, "utf-8") == Value("12.5", 4)
    assert render(b"\xe4", 25, False, "latin-1") == Value("ä", 1)
    assert render(b"\xff", 25, False, "utf-8") == Value("\ufffd", 1)


def test_long_values_are_cut_and_say_so() -> None:
    value = render(b"x" * 10_000, 25, False, "utf-8")
    assert value == Value("x" * VALUE_BOUND, 10_000, True)
    value = render(b"x" * 10, 23, True, "utf-8", size=1_000_000)
    assert value == Value("\\x" + "78" * 10, 1_000_000, True)


def test_type_names() -> None:
    assert [type_name(oid) for oid in (23, 0, 16_385)] == ["int4", "", "oid 16385"]
