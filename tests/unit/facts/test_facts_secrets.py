"""Credentials in SQL text are located, in every place where they may stand."""

from __future__ import annotations

import pytest

from chaperon.facts.sql import read_statement

CASES = [
    ("ALTER ROLE r PASSWORD 'canary'", ["'canary'"]),
    ("ALTER USER r WITH ENCRYPTED PASSWORD 'canary' VALID UNTIL '2030-01-01'", ["'canary'"]),
    ("CREATE ROLE r LOGIN PASSWORD E'can\\'ary'", ["E'can\\'ary'"]),
    ("CREATE USER r PASSWORD $x$canary$x$", ["$x$canary$x$"]),
    ("CREATE USER r PASSWORD U&'canary'", ["U&'canary'"]),
    ("CREATE USER r PASSWORD /* 'no' */ 'canary'", ["'canary'"]),
    ("CREATE USER r PASSWORD 'can'\n  'ary'", ["'can'\n  'ary'"]),
    ("SELECT 'ä'; ALTER ROLE r PASSWORD 'canary'; SELECT 'x'", ["'canary'"]),
    ("CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'me', password 'canary')", ["'canary'"]),
    ("ALTER USER MAPPING FOR u SERVER s OPTIONS (SET password 'canary')", ["'canary'"]),
    ("ALTER SERVER s OPTIONS (SET api_token 'canary')", ["'canary'"]),
    ("CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (\"sslpassword\" 'canary')", ["'canary'"]),
    (
        "CREATE SUBSCRIPTION s CONNECTION 'host=h password=canary' PUBLICATION p",
        ["'host=h password=canary'"],
    ),
    ("ALTER SUBSCRIPTION s CONNECTION 'canary'", ["'canary'"]),
    ("SELECT dblink('host=h password=canary', 'x')", ["'host=h password=canary'"]),
    ("SELECT dblink('postgresql://u:canary@h/d', 'x')", ["'postgresql://u:canary@h/d'"]),
    (
        "ALTER SYSTEM SET primary_conninfo = 'password = canary'",
        ["'password = canary'"],
    ),
    ("EXPLAIN SELECT dblink_connect('password=canary')", ["'password=canary'"]),
    (
        "DO $$ BEGIN ALTER ROLE r PASSWORD 'canary'; END $$",
        ["$$ BEGIN ALTER ROLE r PASSWORD 'canary'; END $$"],
    ),
    # Does not parse: every string.
    ("ALTER ROLE r PASSWORT 'canary', password 'x'", ["'canary'", "'x'"]),
    ("ALTER ROLE r PASSWORD 'canary", ["'canary"]),
    # Nothing to hide.
    ("ALTER ROLE r PASSWORD NULL", []),
    ("SELECT 'x' AS password", []),
    ("SELECT * FROM users WHERE note = 'password=hint'", []),
]


@pytest.mark.parametrize(("sql", "secrets"), CASES)
def test_where_credentials_stand(sql: str, secrets: list[str]) -> None:
    data = sql.encode()
    found = read_statement(sql).secrets
    assert [data[start:end].decode() for start, end in found] == secrets


def test_an_option_that_cannot_be_told_hides_every_string() -> None:
    sql = "CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'me', odd 'canary')"
    hidden = [sql[start:end] for start, end in read_statement(sql).secrets]
    assert "'canary'" in hidden


@pytest.mark.parametrize("sql", ["ALTER ROLE r PASSWORD 'canary'", "SELECT dblink('password=x')"])
def test_facts_with_credentials_are_not_for_a_template(sql: str) -> None:
    assert all(s.literal_dependent for s in read_statement(sql).statements)


def test_a_large_text_that_may_hold_one_is_hidden_whole() -> None:
    sql = "ALTER ROLE r PASSWORD '" + "x" * 20000 + "'"
    facts = read_statement(sql)
    assert facts.large
    assert facts.secrets == ((0, len(sql)),)
