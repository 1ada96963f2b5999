"""Any split of a stream gives the same messages, and what is reported is the stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperon._core import Framer

_WHOLE = 40
_PREFIX = 9
_TAGS = b"ABDE"
_RUNS = b"DE"


def _framer() -> Framer:
    largest = [200 if tag in _TAGS else 0 for tag in range(256)]
    return Framer([_WHOLE] * 256, [_PREFIX] * 256, largest, _RUNS)


_messages = st.lists(
    st.tuples(st.sampled_from(_TAGS), st.integers(0, 120)).map(
        lambda drawn: bytes([drawn[0]]) + (drawn[1] + 4).to_bytes(4, "big") + bytes(drawn[1])
    ),
    max_size=12,
)


@given(_messages, st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_any_split_reports_the_stream(messages: list[bytes], steps: list[int]) -> None:
    stream = b"".join(messages)
    framer = _framer()
    reported = b""
    held = b""
    starts: list[int] = []
    taken = turn = 0
    while taken < len(stream):
        step = steps[turn % len(steps)]
        turn += 1
        held += stream[taken : taken + step]
        taken += step
        need = framer.need
        tags, ends = framer.feed(held)
        assert len(tags) == len(ends)
        assert list(ends) == sorted(set(ends))
        if len(held) < need:
            assert not tags
        for tag, start, end in zip(tags, (0, *ends), ends, strict=False):
            if tag:
                assert held[start] == tag
                starts.append(len(reported) + start)
                if tag not in _RUNS:
                    size = int.from_bytes(held[start + 1 : start + 5], "big") + 1
                    whole = end - start == size
                    assert whole or (size > _WHOLE and end == len(held) and end - start >= _PREFIX)
        reported += held[: ends[-1]] if ends else b""
        held = held[ends[-1] :] if ends else held
        assert len(held) < framer.need <= _WHOLE
    assert reported == stream
    assert (held, framer.remaining) == (b"", 0)
    boundaries = [sum(map(len, messages[:count])) for count in range(len(messages))]
    # A run hides the boundaries inside of it, and nothing else does.
    hidden = set(boundaries) - set(starts)
    assert set(starts) <= set(boundaries)
    assert all(stream[at] in _RUNS for at in hidden)


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_give_entries_or_a_value_error(reads: list[bytes]) -> None:
    framer = _framer()
    held = b""
    for read in reads:
        held += read
        try:
            tags, ends = framer.feed(held)
        except ValueError:
            with pytest.raises(ValueError, match="message type"):
                framer.feed(b"")
            return
        assert len(tags) == len(ends)
        held = held[ends[-1] :] if ends else held
        assert len(held) < framer.need
