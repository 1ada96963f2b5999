"""Any bytes on either side give commands or a clean end, and the recording has what was sent.

The rounds are those of the fuzzer (`tests/fuzz/fuzz_session.py`), a fixed few of them; a crash that
the fuzzer finds becomes a seed here or a playbook of its own.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.fuzz_session import play
from tests.support.pg_session import Driven, World, ready

FEW = settings(max_examples=150, deadline=None)


@pytest.mark.parametrize("first", range(0, 2000, 500))
def test_mutated_conversations(first: int) -> None:
    for seed in range(first, first + 500):
        play(seed)


@FEW
@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=8))
def test_any_bytes_at_any_side(pieces: list[tuple[bool, bytes]]) -> None:
    for driven in (ready(), Driven(World())):
        sent = b""
        for from_agent, data in pieces:
            if driven.closed is None:
                if from_agent:
                    driven.agent(data)
                    sent += data
                else:
                    driven.target(data)
        assert driven.closed is None or driven.to_agent
        assert driven.from_agent == sent[: len(driven.from_agent)]
