"""The tables of the grammar, held against libpg_query's own description of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from postgast import pg_query_pb2
from tests.unit.facts.facts_world import asked

from chaperon.facts import parser
from chaperon.facts.ask import ACTIONS
from chaperon.facts.grammar import INLINE
from chaperon.facts.reader import HANDLERS, Reader
from chaperon.facts.sql import read_statement
from chaperon.facts.statements import STATEMENTS

NODES = {
    field.message_type.name: field.message_type for field in pg_query_pb2.Node.DESCRIPTOR.fields
}


def test_every_statement_of_the_grammar_is_mapped() -> None:
    statements = {name for name in NODES if name.endswith("Stmt")}
    assert len(statements) > 110
    assert statements - set(STATEMENTS) == set()
    assert set(STATEMENTS) - statements == set()


def test_inline_fields_are_those_of_the_grammar() -> None:
    # Query and FuncExpr exist after analysis only: a raw tree never has them.
    for name, inline in INLINE.items():
        described = {
            field.json_name: field.message_type.name
            for field in NODES[name].fields
            if field.message_type is not None
            and field.message_type.name not in ("Node", "Query", "FuncExpr")
        }
        assert inline == described, name


def test_every_inline_child_can_be_read() -> None:
    children = {child for inline in INLINE.values() for child in inline.values()}
    assert children - set(INLINE) - set(HANDLERS) == set()


def test_a_node_that_only_analysis_makes_is_unknown() -> None:
    reader = Reader()
    reader.visit("FuncExpr", {"funcid": 2626})
    assert reader.reasons == ["The statement has a part of a kind not known here (FuncExpr)."]


def test_a_field_of_an_unknown_form_is_unknown() -> None:
    reader = Reader()
    reader.visit("ResTarget", {"surprise": {"funcname": "x"}})
    assert reader.reasons


def test_token_numbers_are_those_of_the_scanner() -> None:
    expected = {pg_query_pb2.Token.Value("SCONST"), pg_query_pb2.Token.Value("USCONST")}
    assert expected == parser.STRING_KINDS


def test_scanning_gives_byte_ranges() -> None:
    text = "select 'ä', $$x$$ , E'\\'' -- 'c'".encode()
    strings = [text[t.start : t.end] for t in parser.scan(text) if t.kind in parser.STRING_KINDS]
    assert strings == ["'ä'".encode(), b"$$x$$", b"E'\\''"]


def test_a_syntax_error_has_the_servers_message() -> None:
    with pytest.raises(parser.SyntaxProblem, match='syntax error at or near "selec"'):
        parser.parse_json(b"selec 1")
    facts = read_statement("selec 1")
    assert facts.kinds == {"invalid"}
    assert facts.reasons == ('The statement does not parse: syntax error at or near "selec".',)


def test_every_action_asked_is_declared() -> None:

    lines = Path(__file__).with_name("statements.txt").read_text().splitlines()[1:]
    used = {
        f"sql.{word.split()[0]}" for line in lines for word in asked(line.rpartition(" => ")[0])
    }
    assert used == set(ACTIONS)
