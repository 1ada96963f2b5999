"""What an agent sees through a session is what it would see directly, however bytes are cut.

The target is the small server of `tests.support.pg_model`; under a policy that permits everything
the answers are equal byte by byte, under a read-only one the refused statements fail as the
server's own errors would, in the same places.
"""

from __future__ import annotations

import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.pg_model import ModelServer
from tests.support.pg_session import READ_ONLY_WORLD, Driven, World, ready
from tests.support.pg_wire import (
    COPY_DONE,
    FLUSH,
    SYNC,
    bind,
    call,
    close,
    copy_data,
    copy_fail,
    describe,
    execute,
    messages,
    parse,
    query,
    shape,
)

from chaperon.wire.errors import Side

LONG = "n" * 70
READS = (
    *("select 1", "select id from orders", "select 1/0", "no sql", "", "select 1; select 2"),
    *("begin", "commit", "rollback", "savepoint a", "rollback to a", "show role"),
    *("prepare p as select 1", "execute p", "deallocate p", "deallocate all"),
    *("select 1; select 1/0; select 2", "copy orders to stdout"),
)
WRITES = ("delete from orders", "insert into orders values (1)", "select 1; delete from orders")
CHANGES = ("set search_path to x", "set client_encoding to LATIN1", "select 'a'")
NAMES = ("", "s", "t", "p", LONG, LONG + "x")
SIMPLE_ONLY = ("execute p",)
"""Whether it is refused at its Parse already hangs on p, of which the model is not told."""
MOST_STEPS = 400


def simple(texts: tuple[str, ...]) -> st.SearchStrategy[bytes]:
    return st.sampled_from(texts).map(query)


def extended(texts: tuple[str, ...]) -> st.SearchStrategy[bytes]:
    name, portal = st.sampled_from(NAMES), st.sampled_from(("", "c"))
    text = st.sampled_from([text for text in texts if ";" not in text and text not in SIMPLE_ONLY])
    return st.one_of(
        st.builds(parse, text, name),
        st.builds(bind, portal, name),
        st.builds(execute, portal),
        st.builds(describe, st.just("S"), name),
        st.builds(describe, st.just("P"), portal),
        st.builds(close, st.just("S"), name),
        st.builds(close, st.just("P"), portal),
        st.just(SYNC),
        st.just(FLUSH),
        st.builds(
            lambda t, n: parse(t, n) + bind("", n) + describe() + execute() + SYNC, text, name
        ),
        st.builds(lambda t: parse(t) + bind() + execute() + SYNC, text),
        st.builds(lambda t: parse(t) + bind() + execute(), text),
    )


def copies(end: bytes) -> st.SearchStrategy[bytes]:
    """COPY from the agent; what comes between is data, and Syncs that the server ignores."""
    inside = st.lists(st.sampled_from((copy_data(b"1\n"), SYNC, FLUSH)), max_size=3).map(b"".join)
    extended_start = parse("copy orders from stdin") + bind() + execute()
    start = st.sampled_from((query("copy orders from stdin"), extended_start))
    return st.builds(lambda s, i: SYNC + s + i + end + SYNC, start, inside)


def conversations(texts: tuple[str, ...]) -> st.SearchStrategy[list[bytes]]:
    part = st.one_of(
        simple(texts), extended(texts), copies(COPY_DONE), copies(copy_fail()), st.just(call(1))
    )
    return st.lists(part, max_size=12).map(lambda parts: [*parts, SYNC, query("select 7")])


def refused(text: str) -> bool:
    return re.search(r"\b(insert|delete|copy orders from)\b", text) is not None


def converse(driven: Driven, server: ModelServer, sent: bytes, data: st.DataObject) -> bytes:
    """Let agent and server talk through the session in pieces of any size and any order."""
    agent_left, server_left = sent, b""
    for step in range(MOST_STEPS):
        server_left += server.feed(driven.take_target())
        choices = []
        if agent_left and Side.DOWNSTREAM not in driven.held:
            choices.append("agent")
        if server_left:
            choices.append("server")
        if driven.pending:
            choices.append("policy")
        if not choices or driven.closed:
            break
        choice = data.draw(st.sampled_from(choices)) if len(choices) > 1 else choices[0]
        if choice == "policy":
            driven.answer()
            continue
        left = agent_left if choice == "agent" else server_left
        size = len(left) if step > 60 else data.draw(st.integers(1, len(left)))
        if choice == "agent":
            driven.agent(left[:size])
            agent_left = left[size:]
        else:
            driven.target(left[:size])
            server_left = left[size:]
    assert not agent_left
    assert not server_left
    return driven.take_agent()


def check_recording(driven: Driven, sent: bytes) -> None:
    assert driven.from_agent == sent
    starts = {0}
    at = 0
    for _, payload in messages(sent):
        starts.add(at)
        at += 5 + len(payload)
    for mark in driven.marks:
        assert mark.position in starts
        if mark is not driven.marks[0]:
            assert sent[mark.position : mark.position + 1] in (b"Q", b"P", b"B", b"E", b"F")


FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(st.data(), conversations((*READS, *WRITES, *CHANGES)), st.booleans())
def test_a_session_that_permits_everything_is_transparent(
    data: st.DataObject, parts: list[bytes], later: bool
) -> None:
    sent = b"".join(parts)
    direct = ModelServer()
    seen_directly = direct.feed(sent)
    server, driven = ModelServer(), ready(World(), later=later)
    seen = converse(driven, server, sent, data)
    assert driven.closed is None
    assert messages(seen) == messages(seen_directly)
    asked = [text for text in server.executed if not _own(text)]
    assert asked == direct.executed
    check_recording(driven, sent)


@FEW
@given(st.data(), conversations((*READS, *WRITES)), st.booleans())
def test_a_refusal_looks_as_the_servers_own(
    data: st.DataObject, parts: list[bytes], later: bool
) -> None:
    sent = b"".join(parts)
    direct = ModelServer(denied=refused)
    seen_directly = direct.feed(sent)
    server, driven = ModelServer(), ready(READ_ONLY_WORLD, later=later)
    seen = converse(driven, server, sent, data)
    assert driven.closed is None
    assert shape(messages(seen)) == shape(messages(seen_directly))
    asked = [text for text in server.executed if not _own(text)]
    assert asked == direct.executed
    assert not any(refused(text) for text in server.executed)
    check_recording(driven, sent)


def _own(text: str) -> bool:
    """Whether the gateway asked this itself (SHOW role is in both conversations' texts)."""
    return text.startswith(("SHOW ", "SELECT c.relname"))
