"""Bypasses of PEERS.md 1, 2, 3, 7, 8, 12 and 13 against the running gateway: none gets through.

The policy is a read-only one, the server real, and the gateway's own role may write everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chaperon.recording.frame import Kind
from chaperon.recording.reader import RecordingReader
from tests.bypass.world import Traps
from tests.support.gateway import READ_ONLY
from tests.support.pg_wire import (
    COPY_DONE,
    SYNC,
    RawClient,
    bind,
    call,
    close,
    codes,
    copy_data,
    execute,
    message,
    parse,
    query,
    rows,
    shape,
    whole,
)
from tests.support.servers import APP_PASSWORD, APP_USER, DATABASE

pytestmark = [pytest.mark.server]

DENIED = "42501"
MIB = 1024 * 1024


@pytest.fixture(scope="module", params=["pg18", "pg15_tls"])
def traps(request: pytest.FixtureRequest) -> Iterator[Traps]:
    found = Traps.set(request.getfixturevalue(request.param), READ_ONLY)
    yield found
    found.stop()
    found.server.fresh_database(DATABASE)


@pytest.fixture
def agent(traps: Traps) -> Iterator[RawClient]:
    """A session; afterwards nothing has been written and no forbidden code has run."""
    before = traps.state()
    client = traps.agent()
    yield client
    client.close()
    assert traps.state() == before


# 7. Statements that are not what they look like.
STATEMENTS = (
    "DO $$ BEGIN DELETE FROM orders; END $$",
    "CALL proceed()",
    "SELECT sing('x')",
    "SELECT hum('x')",
    "SELECT whistle('x')",
    "SELECT wrapped(id) FROM orders",
    "SELECT * FROM sing('x')",
    "SELECT * FROM orders, LATERAL sing(note)",
    "SELECT id FROM orders WHERE sing(note) IS NOT NULL",
    "SELECT id FROM orders ORDER BY sing(note)",
    "SELECT id FROM orders GROUP BY id, sing(note)",
    "SELECT count(*) FILTER (WHERE sing(note) IS NOT NULL) FROM orders",
    "SELECT id FROM orders LIMIT length(sing('x'))",
    "SELECT id FROM orders TABLESAMPLE BERNOULLI (length(sing('x')))",
    "SELECT CASE WHEN true THEN sing('x') END",
    "SELECT ARRAY(SELECT sing('x'))",
    "VALUES (sing('x'))",
    "WITH w AS MATERIALIZED (SELECT sing('x')) SELECT * FROM w",
    "SELECT choir(note) FROM orders",
    "SELECT rank() OVER (ORDER BY sing(note)) FROM orders",
    "SELECT o.of_row FROM orders o",
    "SELECT (o).of_row FROM orders o",
    "SELECT of_row(o) FROM orders o",
    "EXPLAIN ANALYZE DELETE FROM orders",
    "EXPLAIN (ANALYZE true) DELETE FROM orders",
    "EXPLAIN (ANALYZE 1, VERBOSE) DELETE FROM orders",
    "EXPLAIN (ANALYZE false, ANALYZE) DELETE FROM orders",
    "EXPLAIN SELECT whistle('x')",
    "EXPLAIN ANALYZE EXECUTE nothing",
    "WITH x AS (DELETE FROM orders RETURNING *) SELECT * FROM x",
    "SELECT 1; DELETE FROM orders",
    "SELECT 1;;/* */;DELETE FROM orders --",
    "DEL/**/ETE FROM orders",
    "DELETE/* SELECT */FROM/**/orders",
    "/* /* nested */ SELECT 1 */ DELETE FROM orders",
    "--\nDELETE FROM orders",
    "--\rDELETE FROM orders",
    'DELETE FROM U&"\\006frders"',
    "DELETE FROM U&\"o!0072ders\" UESCAPE '!'",
    'DELETE FROM "orders" WHERE true',
    "DELETE FROM orders WHERE 1 = 1 OR id > 0",
    "DELETE FROM public.orders WHERE id IN (SELECT id FROM orders)",
    "UPDATE orders SET note = 'x' WHERE true",
    "INSERT INTO orders SELECT 4, 'd'",
    "MERGE INTO orders o USING (SELECT 1 AS id) s ON o.id = s.id WHEN MATCHED THEN DELETE",
    "TRUNCATE orders",
    "SELECT * INTO stolen FROM orders",
    "CREATE TABLE stolen AS SELECT * FROM orders",
    "CREATE TEMP TABLE orders (id int)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "SELECT id FROM orders FOR UPDATE",
    "LOCK TABLE orders",
    "SELECT nextval('nothing')",
    "SELECT set_config('search_path', 'evil', false)",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_creat(1)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_advisory_lock(1)",
    "SELECT query_to_xml('DELETE FROM orders', true, true, '')",
    "SELECT ts_stat('SELECT sing(''x'')::tsvector')",
    "SELECT dblink('x', 'DELETE FROM orders')",
    "SELECT pg_sleep(0)",
    "SELECT (5).pg_sleep",
    "VACUUM orders",
    "ANALYZE orders",
    "REINDEX TABLE orders",
    "REFRESH MATERIALIZED VIEW v_stored",
    "CREATE ROLE mine",
    "ALTER ROLE CURRENT_USER SET search_path = evil",
    "GRANT ALL ON orders TO PUBLIC",
    "COMMENT ON TABLE orders IS 'x'",
    "SET ROLE app",
    "SET SESSION AUTHORIZATION app",
    "SET session_replication_role = replica",
    "SET constraint_exclusion = on",
    "RESET ROLE",
    "ALTER SYSTEM SET work_mem = '1MB'",
    "LOAD 'auto_explain'",
    # 3. COPY, also as writing and with programs.
    "COPY orders FROM STDIN",
    "COPY (DELETE FROM orders RETURNING *) TO STDOUT",
    "COPY (SELECT sing('x')) TO STDOUT",
    "COPY orders TO PROGRAM 'cat'",
    "COPY orders TO '/tmp/stolen'",
    "COPY v_sings TO STDOUT",
    # 8. Channels.
    "LISTEN channel",
    "NOTIFY channel, 'x'",
    "UNLISTEN *",
    "SELECT pg_notify('channel', 'x')",
    # 13. Code that runs elsewhere.
    "SELECT * FROM v_sings",
    "SELECT id FROM v_nested",
    "INSERT INTO v_rule VALUES (1)",
    "INSERT INTO triggered VALUES (1, 'x')",
    "DELETE FROM triggered",
    "SELECT note::box_of FROM orders",
    "SELECT CAST(note AS box_of) FROM orders",
    "SELECT box_of(note) FROM orders",
    "SELECT id FROM orders WHERE note === 'a'",
    "SELECT id FROM orders WHERE note OPERATOR(public.===) 'a'",
    "SELECT 'x'::checked",
    "SELECT checked 'x'",
    "SELECT CAST(note AS checked) FROM orders",
    "SELECT ARRAY['x']::checked[]",
    "SELECT * FROM json_populate_record(null::box_of, '{}')",
    "SELECT * FROM indexed WHERE id = 1",
    "SELECT * FROM guarded",
    "COPY guarded TO STDOUT",
    "WITH x AS (SELECT * FROM guarded) SELECT 1",
)


@pytest.mark.parametrize("text", STATEMENTS)
def test_7_a_statement_in_disguise_is_refused(agent: RawClient, text: str) -> None:
    assert codes(agent.ask(text))[:1] == [DENIED]
    assert codes(agent.ask(whole(text)))[:1] == [DENIED]
    assert codes(agent.ask(parse(text, "s") + SYNC))[:1] == [DENIED]
    assert codes(agent.ask(f"BEGIN; {text}"))[:1] == [DENIED]
    assert shape(agent.ask("SELECT 1"))[-2:] == ["C SELECT 1", "ZI"]


READS = (
    "SELECT * FROM orders",
    "SELECT id FROM v_plain WHERE id IN (1, 2) ORDER BY id",
    "COPY (SELECT id FROM orders) TO STDOUT",
    "COPY orders TO STDOUT",
    "EXPLAIN SELECT * FROM orders",
    "SELECT lower(note) FROM orders",
    "SHOW search_path",
)


@pytest.mark.parametrize("text", READS)
def test_what_only_reads_is_let_through(agent: RawClient, text: str) -> None:
    """Without this the tests of refusals would prove nothing."""
    assert codes(agent.ask(text)) == []
    assert codes(agent.ask(whole(text))) == []


@pytest.mark.parametrize("position", ["before", "behind"])
@pytest.mark.parametrize("form", ["query", "parse"])
def test_1_a_padded_statement_is_refused_whole(agent: RawClient, position: str, form: str) -> None:
    padding = "/*" + "x" * 17 * MIB + "*/"
    text = (
        f"{padding} DELETE FROM orders" if position == "before" else f"DELETE FROM orders {padding}"
    )
    found = agent.ask(query(text) if form == "query" else whole(text))
    assert codes(found) == [DENIED]
    assert shape(agent.ask("SELECT 1"))[-1] == "ZI"


def test_1_a_statement_whose_beginning_is_known_is_refused_when_padded(agent: RawClient) -> None:
    assert codes(agent.ask("SELECT 1")) == []
    agent.send(message("Q", b"SELECT 1\0" + b" " * 17 * MIB + b"\0"))
    assert codes(agent.until_ready()) == [DENIED]


def test_1_a_large_statement_is_still_read(agent: RawClient) -> None:
    padding = "/*" + "x" * 3 * MIB + "*/"
    assert codes(agent.ask(f"{padding} DELETE FROM orders")) == [DENIED]
    assert codes(agent.ask(f"{padding} SELECT 1; {padding} DELETE FROM orders")) == [DENIED]


def test_1_the_answer_on_a_dropped_statement_is_not_for_the_next(agent: RawClient) -> None:
    """A decision that takes long, on a statement that the server will skip meanwhile."""
    slow = "SELECT 1 /*" + "x" * MIB + "*/"
    failing = parse("SELECT 1/0") + bind() + execute()
    agent.send(failing + parse(slow) + bind() + execute() + SYNC + whole("DELETE FROM orders"))
    assert codes(agent.until_ready(2)) == ["22012", DENIED]


def test_2_each_execution_has_a_decision_of_its_own(traps: Traps, agent: RawClient) -> None:
    agent.ask(parse("SELECT note FROM orders WHERE id = $1", "s") + SYNC)
    before = _decisions(traps)
    for _ in range(5):
        assert codes(agent.ask(bind("", "s", b"1") + execute() + SYNC)) == []
    agent.ask("SELECT 1")
    assert _decisions(traps) == before + 6


def _newest(traps: Traps) -> Path:
    """The recording written to last. Others move away when their sessions have ended."""
    found: dict[Path, int] = {}
    for path in traps.gateway.recordings():
        with suppress(FileNotFoundError):
            found[path] = path.stat().st_mtime_ns
    return max(found, key=lambda path: found[path])


def _decisions(traps: Traps) -> int:
    """Decision frames in the newest recording."""
    with RecordingReader(_newest(traps), live=True) as reader:
        return sum(frame.kind == Kind.DECISION for frame in reader.read())


def test_3_copy_of_a_query_is_a_read_of_its_tables(agent: RawClient) -> None:
    assert codes(agent.ask("COPY (SELECT id FROM orders) TO STDOUT")) == []
    assert codes(agent.ask("COPY (SELECT id FROM nothing) TO STDOUT")) == [DENIED]
    assert codes(agent.ask("COPY (SELECT song FROM v_sings) TO STDOUT")) == [DENIED]


def test_3_data_behind_a_refused_copy_is_swallowed(agent: RawClient) -> None:
    data = copy_data(b"9\tx\n") + COPY_DONE
    assert codes(agent.ask(query("COPY orders FROM STDIN") + data + query("SELECT 1"), 2)) == [
        DENIED
    ]
    start = parse("COPY orders FROM STDIN") + bind() + execute()
    assert codes(agent.ask(start + data + SYNC + data + query("SELECT 1"), 2)) == [DENIED]


@pytest.mark.parametrize(
    "text", ["DELETE FROM orders", "SELECT sing('x')", "INSERT INTO orders VALUES (9)"]
)
def test_7_a_prepared_statement_hides_nothing(agent: RawClient, text: str) -> None:
    assert codes(agent.ask(f"PREPARE p AS {text}")) == [DENIED]
    assert codes(agent.ask("EXECUTE p")) == [DENIED]
    assert codes(agent.ask(bind("", "p") + execute() + SYNC)) == [DENIED]
    both = query(f"PREPARE p AS {text}; EXECUTE p")
    assert codes(agent.ask(both)) == [DENIED]


def test_7_execute_of_a_name_that_came_to_mean_something_else(agent: RawClient) -> None:
    assert codes(agent.ask("PREPARE p AS SELECT 1")) == []
    assert codes(agent.ask("EXECUTE p")) == []
    assert codes(agent.ask("DEALLOCATE p; PREPARE p AS DELETE FROM orders; EXECUTE p")) == [DENIED]
    assert codes(agent.ask("EXECUTE p")) == []
    agent.ask(close("S", "p") + SYNC)
    assert codes(agent.ask("EXECUTE p")) == [DENIED]


def test_7_long_names_are_one_name_to_the_server(agent: RawClient) -> None:
    long = "n" * 63
    assert codes(agent.ask(parse("SELECT 1", long + "x") + SYNC)) == []
    assert codes(agent.ask(bind("", long + "y") + execute() + SYNC)) == []
    assert codes(agent.ask(parse("DELETE FROM orders", long + "z") + SYNC)) == [DENIED]


def test_8_a_function_call_message_is_refused(traps: Traps, agent: RawClient) -> None:
    oid = traps.oid("regprocedure", "public.sing(text)")
    assert codes(agent.ask(call(oid, b"x"))) == [DENIED]
    agent.ask("BEGIN")
    assert shape(agent.ask(call(oid, b"x"))) == ["E", "ZE"]


@pytest.mark.parametrize("value", ["database", "true", "on", "1"])
def test_8_replication_is_refused(traps: Traps, value: str) -> None:
    with pytest.raises(ConnectionError, match=DENIED):
        traps.agent(replication=value)


def test_8_cursors_are_what_they_run(agent: RawClient) -> None:
    agent.ask("BEGIN")
    assert codes(agent.ask("DECLARE c CURSOR FOR SELECT sing('x')")) == [DENIED]
    agent.ask("ROLLBACK; BEGIN")
    assert codes(agent.ask("DECLARE c CURSOR FOR SELECT id FROM orders")) == []
    assert shape(agent.ask("FETCH 1 FROM c")) == ["T", "D", "C FETCH 1", "ZT"]
    assert codes(agent.ask(execute("c", 1) + SYNC)) == []
    assert codes(agent.ask("FETCH 1 FROM d")) == [DENIED]


@pytest.mark.parametrize("setting", ["standard_conforming_strings=off", "backslash_quote=on"])
def test_12_startup_options_do_not_change_how_text_is_read(traps: Traps, setting: str) -> None:
    before = traps.state()
    hidden = rf"-c application_name=x\\ -c{setting}"
    for options in (f"-c {setting}", f"--{setting}", f"-c{setting}", hidden):
        with pytest.raises(ConnectionError, match=DENIED):
            traps.agent(options=options)
    name, _, value = setting.partition("=")
    with pytest.raises(ConnectionError, match=DENIED):
        traps.agent(**{name.upper(): value})
    assert traps.state() == before


READ_TWICE = r"SELECT '\'' ; DELETE FROM orders; --'"
"""One SELECT to a parser with standard_conforming_strings on, two statements with it off."""


@pytest.mark.parametrize(
    "switch",
    [
        "SET standard_conforming_strings = off",
        "SET LOCAL standard_conforming_strings TO 'off'",
        "SELECT set_config('standard_conforming_strings', 'off', false)",
    ],
)
def test_12_text_that_is_read_in_two_ways_is_refused(agent: RawClient, switch: str) -> None:
    assert codes(agent.ask(READ_TWICE)) == []
    found = agent.ask(query("BEGIN") + query(switch) + query(READ_TWICE) + query("ROLLBACK"), 4)
    assert codes(found)[:1] == [DENIED]
    assert codes(agent.ask(READ_TWICE)) == []
    found = agent.ask(parse(switch) + bind() + execute() + parse(READ_TWICE) + SYNC)
    assert codes(found) == [DENIED]


@pytest.mark.parametrize("encoding", ["SJIS", "BIG5", "GBK", "LATIN1"])
def test_12_text_in_another_encoding_is_refused(traps: Traps, encoding: str) -> None:
    before = traps.state()
    text = b"SELECT '\x83\\'; DELETE FROM orders; --'"
    for client in (traps.agent(), traps.agent(client_encoding=encoding)):
        found = client.ask(query(f"SET client_encoding = {encoding}") + query(text), 2)
        assert codes(found) == [DENIED]
        assert codes(client.ask(query(text))) == [DENIED]
        assert codes(client.ask(whole("SELECT 'ä'"))) == [DENIED]
        assert codes(client.ask("SELECT id FROM orders")) == []
        client.close()
    assert traps.state() == before


def test_12_nul_and_broken_utf8_are_refused(traps: Traps) -> None:
    before = traps.state()
    client = traps.agent()
    assert codes(client.ask(query(b"SELECT '\xff'; DELETE FROM orders"))) == [DENIED]
    client.send(message("Q", b"SELECT 1\0; DELETE FROM orders\0"))
    with pytest.raises(ConnectionError):
        client.until("never")
    assert traps.state() == before


PATHS = (
    "SET search_path = evil, pg_catalog, public",
    "SET LOCAL search_path TO evil,pg_catalog,public",
)
SHADOWED = (
    "SELECT lower(note) FROM public.orders",
    "SELECT now()",
    "SELECT * FROM orders",
    "SELECT id FROM public.orders WHERE id = 1",
    "SELECT id FROM public.orders WHERE id IN (1, 2)",
    "SELECT NULLIF(id, 1) FROM public.orders",
    "SELECT CASE id WHEN 1 THEN 2 END FROM public.orders",
    "SELECT id FROM public.orders WHERE id BETWEEN 1 AND 2",
    "SELECT id IS DISTINCT FROM 1 FROM public.orders",
    "SELECT id FROM public.orders a JOIN public.orders b USING (id)",
    "SELECT id FROM public.orders a NATURAL JOIN public.orders b",
    "SELECT id FROM public.orders WHERE id = ANY (ARRAY[1])",
    "SELECT id FROM public.orders WHERE id IN (SELECT 1)",
    "SELECT id FROM public.orders WHERE (id, id) = (1, 1)",
    "SELECT id FROM public.orders WHERE (id, 1) < (2, 2)",
    "SELECT id FROM public.orders WHERE note LIKE 'a'",
    "SELECT id FROM public.orders ORDER BY id USING <",
    "SELECT 'x'::date",
    "SELECT date 'x'",
    "SELECT date('x')",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("text", SHADOWED)
def test_12_names_that_came_to_mean_something_else(agent: RawClient, path: str, text: str) -> None:
    agent.ask("BEGIN")
    assert codes(agent.ask(path)) == []
    assert codes(agent.ask(text)) == [DENIED]
    agent.ask("ROLLBACK")
    assert codes(agent.ask(f"{path}; {text}")) == [DENIED]
    agent.ask("ROLLBACK; BEGIN")
    # Before the server has answered.
    agent.send(query(path) + query(text) + query("ROLLBACK"))
    assert codes(agent.until_ready(3)) == [DENIED]
    one = parse(path) + bind() + execute()
    assert codes(agent.ask(one + parse(text) + bind() + execute() + SYNC)) == [DENIED]


@pytest.mark.parametrize("text", ["SELECT lower(note) FROM public.orders", "SELECT * FROM orders"])
def test_12_a_prepared_statement_is_decided_again_behind_another_path(
    agent: RawClient, text: str
) -> None:
    assert codes(agent.ask(parse(text, "s") + bind("", "s") + execute() + SYNC)) == []
    assert codes(agent.ask(f"PREPARE p AS {text}")) == []
    agent.ask(PATHS[0])
    assert codes(agent.ask(bind("", "s") + execute() + SYNC)) == [DENIED]
    assert codes(agent.ask(bind("", "p") + execute() + SYNC)) == [DENIED]
    assert codes(agent.ask("EXECUTE p")) == [DENIED]
    agent.ask("RESET search_path")
    assert codes(agent.ask(bind("", "s") + execute() + SYNC)) == []
    behind = parse(PATHS[0]) + bind() + execute() + bind("", "s") + execute() + SYNC
    assert codes(agent.ask(behind)) == [DENIED]


def test_12_execute_of_execute_is_decided_again_behind_another_path(agent: RawClient) -> None:
    assert codes(agent.ask("PREPARE p AS SELECT * FROM orders")) == []
    assert codes(agent.ask(parse("EXECUTE p", "s") + SYNC)) == []
    assert codes(agent.ask("EXECUTE s")) == []
    agent.ask(PATHS[0])
    assert codes(agent.ask("EXECUTE s")) == [DENIED]
    assert codes(agent.ask(bind("", "s") + execute() + SYNC)) == [DENIED]


def test_7_execute_in_a_parse_is_decided_for_what_its_name_holds_now(
    traps: Traps, agent: RawClient
) -> None:
    agent.ask("PREPARE p AS SELECT 1")
    agent.ask(parse("EXECUTE p", "s") + SYNC)
    agent.ask("DEALLOCATE p")
    agent.ask("PREPARE p AS SELECT * FROM orders")
    before = _reads(traps)
    assert codes(agent.ask(bind("", "s") + execute() + SYNC)) == []
    assert _reads(traps) == before + 1


def _reads(traps: Traps) -> int:
    """Decisions in the newest recording, in full, that are about reading the table."""
    with RecordingReader(_newest(traps), live=True) as reader:
        return sum(
            frame.kind == Kind.DECISION and b'"public.orders"' in frame.payload
            for frame in reader.read()
        )


def test_12_a_path_given_at_startup_counts(traps: Traps) -> None:
    before = traps.state()
    for startup in (
        {"options": "-c search_path=evil,pg_catalog"},
        {"search_path": "evil, pg_catalog"},
    ):
        client = traps.agent(**startup)
        assert codes(client.ask("SELECT lower(note) FROM public.orders")) == [DENIED]
        assert codes(client.ask("SELECT * FROM orders")) == [DENIED]
        client.close()
    assert traps.state() == before


def test_12_a_path_that_a_rollback_brings_back_counts(agent: RawClient) -> None:
    lower = "SELECT lower(note) FROM public.orders"
    agent.ask(PATHS[0])
    agent.ask("BEGIN")
    agent.ask("SET search_path = public")
    assert codes(agent.ask(lower)) == []
    agent.ask("ROLLBACK")
    assert codes(agent.ask(lower)) == [DENIED]
    agent.ask("BEGIN; SAVEPOINT a; SET search_path = public")
    assert codes(agent.ask(lower)) == []
    agent.ask("ROLLBACK TO a")
    assert codes(agent.ask(lower)) == [DENIED]
    agent.ask("ROLLBACK")
    agent.ask("BEGIN; SET LOCAL search_path = public")
    assert codes(agent.ask(lower)) == []
    agent.ask("COMMIT")
    assert codes(agent.ask(lower)) == [DENIED]


def test_12_a_failed_transaction_can_be_left(agent: RawClient) -> None:
    """Names are unknown in it, because the server cannot be asked."""
    for leave in ("ROLLBACK", "COMMIT", "ROLLBACK TO a"):
        agent.ask("BEGIN; SAVEPOINT a")
        assert codes(agent.ask("SET client_encoding = 'nonsense'")) == ["22023"]
        assert codes(agent.ask("SELECT 1"))[0] in ("25P02", DENIED)
        assert codes(agent.ask(leave)) == []
        agent.ask("ROLLBACK")


@pytest.mark.parametrize("name", ["checked", "evil.date", "checked[]"])
def test_13_a_parameter_of_a_type_that_runs_code(traps: Traps, agent: RawClient, name: str) -> None:
    oid = traps.oid("regtype", name)
    value = b"{x}" if name.endswith("[]") else b"x"
    ((none,),) = rows(agent.ask(whole("SELECT $1::text", b"x")))
    assert none == b"x"
    found = agent.ask(parse("SELECT $1::text", "", oid) + bind("", "", value) + execute() + SYNC)
    assert codes(found) == [DENIED]
    found = agent.ask(parse("SELECT $1", "s", oid) + bind("", "s", value) + execute() + SYNC)
    assert codes(found) == [DENIED]


SINGING = ("sing(", "hum(", "whistle", "wrapped", "proceed", "choir", "of_row", "v_sings", "v_rule")
SILENT = ("COPY v_sings", "SELECT box_of", "json_populate_record", "WITH x AS (SELECT")
OUT_OF_REACH = ("(id, id)", "(id, 1)", "USING <")  # the server refuses such operators by itself


def test_the_traps_are_real(traps: Traps) -> None:
    """Sent to the server directly, the statements above write, or run the code that does."""
    owner = RawClient.connect(traps.server.port, APP_USER, APP_PASSWORD, DATABASE)
    own = (*SINGING, "triggered", "::box_of", "===", "checked", "indexed", "guarded")
    plain = [("", s) for s in STATEMENTS if any(w in s for w in own)]
    shadowed = [(PATHS[0], s) for s in SHADOWED if not any(w in s for w in OUT_OF_REACH)]
    seen = "SELECT (SELECT count(*) FROM public.canary), (SELECT count(*) FROM public.orders)"
    for before, text in (*plain, *shadowed):
        if not any(text.startswith(word) or word in text for word in SILENT):
            owner.ask("BEGIN")
            owner.ask(before)
            assert codes(owner.ask(text)) == [], text
            assert rows(owner.ask(seen)) != [(b"0", b"3")], text
            owner.ask("ROLLBACK")
    owner.close()
