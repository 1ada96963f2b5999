"""The store: rows back as they went in, filters, pages, tokens, and databases that are not ours."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from chaperon.store import (
    Position,
    SessionFilter,
    SessionRow,
    StatementFilter,
    StatementRow,
    Store,
    StoredToken,
)
from chaperon.wire.errors import ConfigError

TOKEN = StoredToken("abcdefghij", "ci-bot", b"h", b"salt", 4096, b"stored", b"server", 10, 20)


def session(number: int, **changes: object) -> SessionRow:
    row = SessionRow(
        id=f"s{number:03d}",
        protocol="postgres",
        principal="ci-bot",
        resource="orders",
        peer="127.0.0.1:1",
        started_ns=1000 * number,
        meta={"groups": ["a", "b"], "principal": "ci-bot"},
    )
    return replace(row, **changes)  # type: ignore[arg-type] # any field, by name


def statement(of: str, ordinal: int, **changes: object) -> StatementRow:
    row = StatementRow(
        session=of,
        ordinal=ordinal,
        verb="query",
        text="SELECT 1",
        text_bytes=8,
        values=[{"value": "x", "type": "text", "size": 1}, {"value": None, "type": "", "size": 0}],
        verdict="allow",
        policy="readers",
        message="",
        facts={"kinds": ["select"], "reads": [["public", "t"]]},
        outcome="completed",
        started_ns=100 + ordinal,
        first_row_ms=0.5,
        total_ms=1.25,
        rows=1,
        affected=None,
        size=10,
        error_code="",
        error_message="",
        tag="SELECT 1",
    )
    return replace(row, **changes)  # type: ignore[arg-type] # any field, by name


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path)


def ids(rows: list[SessionRow]) -> list[str]:
    return [row.id for row in rows]


def test_rows_come_back_as_they_went_in(store: Store) -> None:
    rows = [statement("s001", n, text=f"SELECT '{n}' -- ä\0\U0001f600") for n in range(2500)]
    store.write_index([session(1)], rows)
    assert store.session("s001") == session(1)
    assert store.session("s002") is None
    assert store.statements("s001", limit=3000) == rows
    assert store.statements("s001", after=2497) == rows[2498:]


def test_writing_again_replaces(store: Store) -> None:
    store.write_index([session(1)], [statement("s001", 0), statement("s001", 1)])
    changed = session(1, ended_ns=5, reason="over", complete=True)
    store.write_index([changed], [statement("s001", 1, tag="SELECT 2")])
    assert store.session("s001") == changed
    assert [row.tag for row in store.statements("s001")] == ["SELECT 1", "SELECT 2"]
    assert store.complete_sessions() == {"s001"}


def test_session_filters(store: Store) -> None:
    store.write_index(
        [
            session(1, ended_ns=1500),
            session(2, principal="ana"),
            session(3, resource="stock", ended_ns=3100),
        ],
        [
            statement("s001", 0, verdict="deny", text="DROP TABLE Cards"),
            statement("s001", 1, text="SELECT 100%_done"),
            statement("s002", 0, text="select * from cards"),
        ],
    )

    def found(**wanted: object) -> list[str]:
        return ids(store.sessions(SessionFilter(**wanted)))  # type: ignore[arg-type] # by name

    assert found() == ["s003", "s002", "s001"]
    assert found(principal="ana") == ["s002"]
    assert found(resource="orders") == ["s002", "s001"]
    assert found(since_ns=1600) == ["s003", "s002"]
    assert found(until_ns=2000) == ["s001"]
    assert found(verdict="deny") == ["s001"]
    assert found(text="CARDS") == ["s002", "s001"]
    assert found(text="%_d") == ["s001"]
    assert found(text="_%") == []
    assert found(text="cards", verdict="allow") == ["s002"]
    assert found(principal="nobody") == []


def test_pages_of_sessions_miss_and_repeat_nothing(store: Store) -> None:
    store.write_index([session(n, started_ns=1000 * (n // 3)) for n in range(20)], [])
    seen: list[str] = []
    behind: Position | None = None
    while page := store.sessions(limit=3, behind=behind):
        seen += ids(page)
        behind = Position(page[-1].started_ns, page[-1].id)
        store.write_index([session(100 + len(seen), started_ns=10**9)], [])
    assert seen == [f"s{n:03d}" for n in range(19, -1, -1)]


def test_searching_statements(store: Store) -> None:
    store.write_index(
        [session(1), session(2, principal="ana")],
        [statement("s001", n, verdict="deny" if n % 2 else "allow") for n in range(10)]
        + [statement("s002", 0, started_ns=500, outcome="failed")],
    )
    assert [r.session for r in store.search(StatementFilter(), limit=2)] == ["s002", "s001"]
    assert [r.ordinal for r in store.search(StatementFilter(session="s001", verdict="deny"))] == [
        9,
        7,
        5,
        3,
        1,
    ]
    assert len(store.search(StatementFilter(principal="ana"))) == 1
    assert len(store.search(StatementFilter(resource="orders"))) == 11
    assert len(store.search(StatementFilter(outcome="failed"))) == 1
    assert len(store.search(StatementFilter(since_ns=105, until_ns=108))) == 3
    page = store.search(StatementFilter(), limit=4)
    last = page[-1]
    following = store.search(
        StatementFilter(), limit=1, behind=Position(last.started_ns, last.session, last.ordinal)
    )
    assert following[0].ordinal == last.ordinal - 1


def test_ids_by_their_beginning(store: Store) -> None:
    store.write_index([session(10), session(11), session(20)], [])
    assert ids(store.sessions_like("s01")) == ["s010", "s011"]
    assert ids(store.sessions_like("%")) == []


def test_clearing_the_index_keeps_tokens(store: Store) -> None:
    store.add_token(TOKEN)
    store.write_index([session(1)], [statement("s001", 0)])
    store.clear_index()
    assert store.sessions() == []
    assert store.statements("s001") == []
    assert store.find_token(TOKEN.token_id) == TOKEN


def test_tokens(store: Store) -> None:
    store.add_token(TOKEN)
    with pytest.raises(ValueError, match="exists"):
        store.add_token(TOKEN)
    later = replace(TOKEN, token_id="bbbbbbbbbb", principal="ana", issued_ns=11)
    store.add_token(later)
    assert store.tokens() == [later, TOKEN]
    assert store.tokens("ana") == [later]
    assert store.find_token("nope") is None
    assert store.revoke_token(TOKEN.token_id, 15)
    assert not store.revoke_token(TOKEN.token_id, 16)
    assert not store.revoke_token("nope", 16)
    assert store.find_token(TOKEN.token_id) == replace(TOKEN, revoked_ns=15)
    assert "stored" not in repr(TOKEN)


def test_its_files_are_private(store: Store, tmp_path: Path) -> None:
    store.add_token(TOKEN)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes
    assert set(modes.values()) == {0o600}
    assert "chaperon.db" in modes


def test_two_openers_at_once_share_it(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            store = Store.open(tmp_path)
            for n in range(5):
                store.write_index([session(10 * number + n)], [])
            store.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(Store.open(tmp_path).sessions()) == 20


def test_a_newer_schema_is_refused_and_untouched(store: Store, tmp_path: Path) -> None:
    store.close()
    path = tmp_path / "chaperon.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '99'")
    with pytest.raises(ConfigError, match=r"version 99.*newer Chaperon.*Install"):
        Store.open(tmp_path)


def test_what_is_no_database_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chaperon.db"
    path.write_bytes(b"this is not a database, by far not one at all" * 100)
    with pytest.raises(ConfigError, match="index rebuild"):
        Store.open(tmp_path)
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (x)")
    with pytest.raises(ConfigError, match="no schema version"):
        Store.open(tmp_path)
    with pytest.raises(ConfigError, match="cannot be opened"):
        Store.open(tmp_path / "missing")
