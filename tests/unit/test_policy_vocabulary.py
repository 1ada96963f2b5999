"""PostgreSQL's vocabulary covers what the facts of SQL can ask and say."""

from __future__ import annotations

import pytest
from tests.support.policies import SCHEMA, question

from chaperon.facts import ask
from chaperon.facts.model import SqlFacts
from chaperon.facts.sql import read_statement
from chaperon.policy.requests import Requests
from chaperon.protocols.postgres.vocabulary import KINDS, POSTGRES


def test_every_action_of_sql_is_there_with_its_group() -> None:
    groups = {action.name: action.groups for action in POSTGRES.actions}
    assert groups.keys() == ask.ACTIONS.keys()
    for name, group in ask.ACTIONS.items():
        assert group in groups[name]
    assert "write" not in groups[ask.TRANSACTION]


def test_facts_are_those_of_the_context() -> None:
    context = SqlFacts().context()
    assert context.keys() == {fact.name for fact in POSTGRES.facts}
    asked = question("sql.read", statement=dict(context))
    Requests(SCHEMA).build(asked, asked.asks)


@pytest.mark.parametrize(
    "text",
    [
        "select 1; insert into t values (1); update t set a = 1; delete from t",
        "merge into t using s on true when matched then do nothing; truncate t; lock t",
        "copy t to stdout; copy t from stdin; copy t to program 'x'; copy t from '/f'",
        "begin; savepoint a; release a; rollback to a; commit; rollback",
        "prepare transaction 'a'; commit prepared 'a'; rollback prepared 'a'",
        "set a = 1; reset a; reset all; show a; set role x; set session authorization x",
        "set transaction read only; set constraints all deferred; discard all",
        "prepare p as select 1; execute p; deallocate p; explain select 1",
        "declare c cursor for select 1; fetch c; move c; close c",
        "listen a; unlisten a; notify a; load 'x'; checkpoint; do 'x'; call f()",
        "create table t (a int); alter table t add b int; drop table t; comment on table t is 'x'",
        "create role r; alter role r superuser; drop role r; alter system set a = 1",
        "grant select on t to r; revoke select on t from r; security label on table t is 'x'",
        "vacuum t; analyze t; cluster t; reindex table t; refresh materialized view m",
        "not sql",
        "select 1; \0",
    ],
)
def test_kinds_are_known_to_policies(text: str) -> None:
    raw = read_statement(text)
    kinds = raw.kinds.union(*(statement.kinds for statement in raw.statements))
    assert kinds
    assert kinds <= KINDS
