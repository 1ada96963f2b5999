"""The relay as a playbook: what the agent sends, what goes upstream, what comes back."""

from __future__ import annotations

import pytest
from tests.support.gateway import READ_ONLY
from tests.support.pg_model import ModelServer
from tests.support.pg_session import KEY, PID, READ_ONLY_WORLD, Driven, World, ready
from tests.support.pg_wire import (
    COPY_DONE,
    SYNC,
    TERMINATE,
    bind,
    cancel_request,
    close,
    codes,
    copy_data,
    describe,
    error_fields,
    execute,
    message,
    messages,
    parse,
    query,
    rows,
    shape,
    whole,
)

from chaperon.wire import commands as c
from chaperon.wire import events as e
from chaperon.wire.errors import Side

DENIED = "42501"
SELECT = "select id from orders"


class Table:
    """A session and the model of a server at one table; `say` lets both speak until it is quiet."""

    def __init__(self, world: World = READ_ONLY_WORLD, *, later: bool = False) -> None:
        self.driven = ready(world, later=later)
        self.server = ModelServer()

    def settle(self) -> list[tuple[str, bytes]]:
        while data := self.driven.take_target():
            self.driven.target(self.server.feed(data))
        return messages(self.driven.take_agent())

    def say(self, data: bytes | str) -> list[tuple[str, bytes]]:
        self.driven.agent(query(data) if isinstance(data, str) else data)
        return self.settle()


@pytest.fixture
def table() -> Table:
    return Table()


def test_names_are_asked_for_once_and_the_agent_sees_nothing_of_it(table: Table) -> None:
    assert shape(table.say(SELECT)) == ["T", "D", "C SELECT 1", "ZI"]
    table.driven.agent(query(SELECT))
    assert table.driven.take_target() == query(SELECT)


def test_behind_a_set_the_servers_word_is_waited_for(table: Table) -> None:
    table.say(SELECT)
    table.driven.agent(query("set search_path to other") + query(SELECT))
    assert table.driven.take_target() == query("set search_path to other")
    table.driven.target(table.server.feed(query("set search_path to other")))
    probe = table.driven.take_target()
    assert b"SHOW search_path" in probe
    table.driven.target(table.server.feed(probe))
    assert table.driven.take_target() == query(SELECT)
    assert table.driven.asked[-1].context.naming.setting == "other"  # type: ignore[attr-defined]  # opaque to the kernel


def test_temporary_relations_are_told_apart_in_one_run_of_rows() -> None:
    driven = ready(READ_ONLY_WORLD)
    driven.agent(query(SELECT))
    answers = [b"public", b"app", b"app", b"UTF8", b"on", b"first", b"orders"]
    found = b"".join(
        message("D", b"\0\1" + len(value).to_bytes(4, "big") + value) for value in answers
    )
    for byte in found + message("C", b"SELECT\0") + message("Z", b"I"):
        driven.target(bytes((byte,)))
    assert driven.asked[-1].context.naming.temp == {"first", "orders"}  # type: ignore[attr-defined]  # opaque to the kernel
    assert codes(messages(driven.take_agent())) == [DENIED]


def test_notices_about_the_gateways_own_question_stay_with_it(table: Table) -> None:
    table.driven.agent(query(SELECT))
    notice = message("N", b"SLOG\0VLOG\0C00000\0Mstatement: SHOW search_path\0\0")
    table.driven.target(notice)
    assert table.driven.take_agent() == b""
    assert shape(table.settle()) == ["T", "D", "C SELECT 1", "ZI"]


def test_a_setting_that_the_server_reports_makes_it_ask_again(table: Table) -> None:
    table.say(SELECT)
    table.driven.target(message("S", b"standard_conforming_strings\0off\0"))
    table.driven.agent(query(SELECT))
    assert b"SHOW search_path" in table.driven.take_target()


def test_an_answer_is_not_for_the_statement_behind_a_dropped_one() -> None:
    """The server fails the pipeline while policy still thinks about its next statement."""
    table = Table(later=True)
    table.driven.agent(query(SELECT))
    while table.settle() == [] and table.driven.pending:
        table.driven.answer()
    failing = parse("select 1/0") + bind() + execute()
    table.driven.agent(failing + parse("select 2") + SYNC + query("delete from orders"))
    table.driven.answer()
    sent = table.driven.take_target()
    assert table.driven.pending
    table.driven.target(table.server.feed(sent))
    table.driven.answer()
    while table.driven.pending:
        table.driven.answer()
        table.settle()
    table.settle()
    assert "delete from orders" not in table.server.executed


def test_a_decision_for_names_that_changed_meanwhile_is_asked_again() -> None:
    table = Table(later=True)
    table.driven.agent(query(SELECT))
    table.settle()
    table.driven.target(message("S", b"search_path\0other\0"))
    table.driven.answer()
    assert b"SHOW search_path" in table.driven.take_target()
    assert SELECT not in table.server.executed


def test_a_statement_over_the_limit_is_refused_even_where_its_beginning_is_known() -> None:
    table = Table(World(READ_ONLY, limit=100))
    table.say("select 1")
    size = 200
    start = b"Q" + size.to_bytes(4, "big") + b"select 1\0"
    table.driven.agent(start)
    table.driven.agent(b"x" * (size + 1 - len(start)))
    found = table.settle()
    assert codes(found) == [DENIED]
    assert table.server.executed.count("select 1") == 1
    assert table.driven.from_agent.endswith(start + b"x" * (size + 1 - len(start)))


def test_a_large_bind_is_streamed() -> None:
    table = Table(World())
    table.say(parse("select 1", "s") + SYNC)
    value = b"v" * 2_000_000
    sent = bind("", "s", value) + execute() + SYNC
    passed = 0
    for at in range(0, len(sent), 100_000):
        table.driven.agent(sent[at : at + 100_000])
        passed += len(table.driven.take_target())
        assert at + 100_000 - passed <= 300_000
    assert table.driven.from_agent.endswith(sent)


def test_held_decisions_keep_the_order() -> None:
    table = Table(World(), later=True)
    for number in range(5):
        table.driven.agent(query(f"select {number} from orders"))
    seen = table.settle()
    while table.driven.pending:
        assert len(table.driven.pending) == 1
        table.driven.answer()
        seen += table.settle()
    assert [value[0] for value in rows(seen)] == [
        f"select {number} from orders".encode() for number in range(5)
    ]


def test_what_waits_is_bounded() -> None:
    table = Table(World(), later=True)
    table.driven.agent(query(SELECT))
    table.settle()
    for _ in range(5):
        table.driven.agent(query("x" * 100_000))
    assert Side.DOWNSTREAM in table.driven.held
    while table.driven.pending:
        table.driven.answer()
        table.settle()
    assert Side.DOWNSTREAM not in table.driven.held


def test_a_known_statement_with_another_type_is_decided_again(table: Table) -> None:
    text = "select id from orders"
    assert codes(table.say(parse(text, "", 25) + bind() + execute() + SYNC)) == []
    assert codes(table.say(parse(text, "", 70000) + bind() + execute() + SYNC)) == [DENIED]
    assert codes(table.say(parse(text, "", 25) + bind() + execute() + SYNC)) == []


def test_sql_prepare_and_parse_share_their_names(table: Table) -> None:
    assert codes(table.say("prepare p as select 1")) == []
    assert codes(table.say(bind("", "p") + execute() + SYNC)) == []
    assert codes(table.say(parse(SELECT, "s") + SYNC)) == []
    assert codes(table.say("execute s")) == []
    assert codes(table.say("deallocate s")) == []
    assert codes(table.say("execute s")) == [DENIED]


def test_a_definition_that_the_server_refuses_is_taken_back(table: Table) -> None:
    table.say(parse(SELECT, "s") + SYNC)
    assert codes(table.say(parse("select 2", "s") + SYNC)) == ["42P05"]
    table.say(bind("", "s") + execute() + SYNC)
    assert table.server.executed[-1] == SELECT
    failing = parse("select 1/0") + bind() + execute()
    assert codes(table.say(failing + close("S", "s") + SYNC)) == ["22012"]
    assert codes(table.say(bind("", "s") + execute() + SYNC)) == []
    assert codes(table.say(failing + parse("select 3", "t") + SYNC)) == ["22012"]
    assert codes(table.say(bind("", "t") + execute() + SYNC)) == [DENIED]


def test_portals_end_with_their_transaction(table: Table) -> None:
    table.say("begin")
    table.say(parse(SELECT, "s") + bind("c", "s") + SYNC)
    assert codes(table.say(execute("c") + SYNC)) == []
    table.say("commit")
    assert codes(table.say(execute("c") + SYNC)) == [DENIED]


def test_a_failed_transaction_can_be_left_though_names_are_unknown(table: Table) -> None:
    table.say("begin")
    table.say("set search_path to other")
    table.driven.agent(query("select 1/0"))
    table.settle()
    table.driven.target(message("S", b"search_path\0public\0"))
    assert shape(table.say("rollback")) == ["C ROLLBACK", "ZI"]


@pytest.mark.parametrize("start", [query("copy orders from stdin"), None])
def test_a_sync_in_copy_has_no_answer(start: bytes | None) -> None:
    table = Table(World())
    table.say("select 1")
    extended = parse("copy orders from stdin") + bind() + execute()
    found = table.say((start or extended) + SYNC)
    found += table.say(copy_data(b"1\n") + SYNC)
    found += table.say(COPY_DONE + SYNC)
    found += table.say("select 1")
    expected = ["G", "C COPY 1", *(["ZI"] if start else []), "ZI", "T", "D", "C SELECT 1", "ZI"]
    assert [part for part in shape(found) if part not in "12"] == expected


def test_a_statement_in_the_middle_of_copy_data_ends_the_session() -> None:
    for later in (True, False):
        table = Table(World())
        table.say("select 1")
        if later:
            table.say("copy orders from stdin")
            table.say("select 2")
        else:
            table.say(query("copy orders from stdin") + query("select 2"))
        assert table.driven.closed
        assert "select 2" not in table.server.executed


def test_data_behind_a_refused_copy_is_recorded_and_swallowed(table: Table) -> None:
    sent = query("copy orders from stdin") + copy_data(b"1\n") + COPY_DONE
    assert codes(table.say(sent)) == [DENIED]
    assert table.driven.from_agent.endswith(sent)
    assert shape(table.say("select 1"))[-1] == "ZI"


def test_cancel_reaches_what_runs_and_holds_back_what_follows(table: Table) -> None:
    table.say("select 1")
    table.driven.agent(query("select 1"))
    table.driven.take_target()
    table.driven.handle(e.CancelRequested())
    dial = table.driven.commands[-1]
    assert isinstance(dial, c.DialCancel)
    assert dial.data == cancel_request(PID, KEY)
    table.driven.target(
        message("E", b"SERROR\0VERROR\0C57014\0Mcancelled\0\0") + message("Z", b"I")
    )
    table.driven.agent(query("select 2"))
    assert table.driven.take_target() == b""
    table.driven.handle(e.CancelDelivered())
    assert table.driven.take_target() == query("select 2")


def test_a_cancel_with_nothing_to_hit_is_noted(table: Table) -> None:
    before = len(table.driven.commands)
    table.driven.handle(e.CancelRequested())
    table.driven.agent(query("select 1"))  # the gateway's own question is in flight
    table.driven.handle(e.CancelRequested())
    sent = table.driven.commands[before:]
    assert not any(isinstance(command, c.DialCancel) for command in sent)
    assert [note["outcome"] for note in table.driven.notes] == ["nothing to cancel"] * 2


def test_the_servers_end_is_told_even_while_it_answers_the_gateway(table: Table) -> None:
    table.driven.agent(query("select 1"))
    table.driven.target(message("E", b"SFATAL\0VFATAL\0C57P01\0Mshutting down\0\0"))
    assert codes(messages(table.driven.take_agent())) == ["57P01"]
    table.driven.handle(e.UpstreamClosed())
    assert table.driven.closed == "the target closed the connection"


def test_kill_cancels_what_runs_and_tells_the_agent(table: Table) -> None:
    table.say("select 1")
    table.driven.agent(query("select 1"))
    table.driven.handle(e.Killed("the operator said so"))
    assert any(isinstance(command, c.DialCancel) for command in table.driven.commands)
    (error,) = [error_fields(p) for tag, p in messages(table.driven.take_agent()) if tag == "E"]
    assert error["C"] == "57P01"
    assert "the operator said so" in error["M"]


def test_terminate_is_passed_on(table: Table) -> None:
    table.say("select 1")
    table.driven.agent(TERMINATE)
    assert table.driven.take_target() == TERMINATE
    table.driven.handle(e.UpstreamClosed())
    assert table.driven.closed == "the agent ended the session"


@pytest.mark.parametrize("bad", [b"!!!!!!!!", b"Q\0\0\0\1", query("select 1\0x"), b"p\0\0\0\4"])
def test_what_a_violation_leaves_is_recorded(table: Table, bad: bytes) -> None:
    table.say("select 1")
    sent = query("select 2") + whole("delete from orders") + bad + query("select 3")
    before = table.driven.from_agent
    table.driven.agent(sent)
    assert codes(messages(table.driven.take_agent()))[-1] == "08P01"
    assert table.driven.closed
    assert table.driven.from_agent == before + sent


def test_what_the_agent_left_unfinished_is_recorded() -> None:
    table = Table(later=True)
    sent = query(SELECT) + query("select 2") + query("select 3")[:-3]
    table.driven.agent(sent)
    table.settle()
    table.driven.agent(b"\1")
    table.driven.handle(e.DownstreamClosed())
    assert table.driven.from_agent == sent + b"\1"


@pytest.mark.parametrize(
    "wrong",
    [message("1"), message("Z", b""), message("Z", b"II"), message("G", b""), b"~\0\0\0\4"],
)
def test_a_target_that_answers_what_was_not_asked_ends_the_session(
    table: Table, wrong: bytes
) -> None:
    table.say("select 1")
    table.driven.target(wrong)
    assert table.driven.closed
    assert codes(messages(table.driven.take_agent())) == ["08P01"]


def test_the_status_is_read_from_its_message_whatever_follows(table: Table) -> None:
    table.say("select 1")
    table.driven.agent(query("select 1"))
    answer = table.server.feed(table.driven.take_target())
    table.driven.target(answer + message("N", b"SNOTICE\0\0")[:6])
    assert shape(messages(table.driven.take_agent())) == ["T", "D", "C SELECT 1", "ZI"]
    table.driven.target(message("N", b"SNOTICE\0\0")[6:])
    # Nothing is open, so a refusal needs nothing of the server.
    table.driven.agent(query("delete from orders"))
    assert table.driven.take_target() == b""
    assert shape(messages(table.driven.take_agent())) == ["N", "E", "ZI"][1:]


def test_describe_and_close_come_before_names_are_known(table: Table) -> None:
    assert shape(table.say(close("S", "s") + parse(SELECT) + describe("S") + SYNC)) == [
        *("3", "1", "t", "T", "ZI")
    ]


def driven_records(driven: Driven) -> bytes:
    return b"".join(driven.recorded.values())


def test_a_credential_in_a_statement_is_not_recorded() -> None:
    table = Table(World())
    for text in ("alter role a password 'canary-77'", "alter role a password 'canary-77"):
        table.say(text)
        assert b"password" in driven_records(table.driven)
    error = b"SERROR\0VERROR\0C42601\0Mat or near 'canary-77'\0\0"
    table.driven.agent(query("alter role a password 'canary-77'"))
    table.driven.target(table.server.feed(table.driven.take_target()))  # what names mean
    table.driven.target(message("E", error) + message("Z", b"I"))
    assert b"canary-77" in table.driven.take_agent()
    assert b"canary-77" not in driven_records(table.driven)
