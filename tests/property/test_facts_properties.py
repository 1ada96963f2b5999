"""Any text gives facts; facts of a template do not hang on its literals unless they say so."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.facts.facts_world import facts_of

from chaperon.facts import codec
from chaperon.facts.sql import read_statement

SOME_WORDS = """
select insert into update delete from where set values with as recursive ( ) , ; . * = <> + - ||
and or not in is null true false exists union all join on using natural order by group having limit
orders customers public evil lower count ( ) 'x' 1 $1 $$y$$ :: int text bad case when then end
prepare execute declare cursor for copy to stdout program explain analyze create table view drop do
call lock truncate cascade returning conflict nothing merge matched begin commit rollback fetch
close [ ] array row cast over partition filter lateral only temp like between
"""
WORDS = SOME_WORDS.split()

literals = st.one_of(
    st.integers(-(10**12), 10**12).map(lambda n: str(n) if n >= 0 else f"({n})"),
    st.text(st.characters(codec="ascii", exclude_characters="\0'\\"), max_size=8).map(
        lambda s: f"'{s}'"
    ),
)

TEMPLATES = [
    "SELECT * FROM orders WHERE id = {0} AND note = {1}",
    "SELECT {0} = {1}",
    "UPDATE orders SET note = {0} WHERE id = {1}",
    "UPDATE orders SET note = {0} WHERE {1}",
    "DELETE FROM orders WHERE {0} = {1}",
    "DELETE FROM orders WHERE id = {0} OR id <> {1}",
    "DELETE FROM orders WHERE note LIKE {0} OR note = {1}",
    "DELETE FROM orders WHERE id IN ({0}, {1})",
    "DELETE FROM orders WHERE id BETWEEN {0} AND {1}",
    "DELETE FROM orders WHERE note LIKE {0} AND id = {1}",
    "INSERT INTO orders VALUES ({0}, {1}) ON CONFLICT DO NOTHING",
    "SELECT dblink({0}, {1})",
    "SELECT set_config({0}, {1}, false)",
    "SELECT nullif({0}, {1})::text LIMIT 5",
    "DELETE FROM orders WHERE CASE WHEN id = {0} THEN {1} END",
    "MERGE INTO orders o USING customers c ON {0} = {1} WHEN MATCHED THEN DELETE",
]


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_facts(text: str) -> None:
    facts = facts_of(text)
    assert facts.asks()
    assert facts.unknown == bool(facts.reasons)


@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
@settings(max_examples=400, deadline=None)
def test_any_words_give_facts_that_pass_the_pipe(text: str) -> None:
    raw = read_statement(text)
    assert codec.decode(codec.encode(raw)) == raw
    assert facts_of(text).asks()


@given(st.sampled_from(TEMPLATES), literals, literals, literals, literals)
@settings(max_examples=400, deadline=None)
def test_facts_that_do_not_hang_on_literals_are_those_of_the_template(
    template: str, a: str, b: str, c: str, d: str
) -> None:
    # A template keeps the kinds of its literals: strings stay strings.
    c = c if (c[0] == "'") == (a[0] == "'") else a
    d = d if (d[0] == "'") == (b[0] == "'") else b
    one, other = facts_of(template.format(a, b)), facts_of(template.format(c, d))
    if not one.literal_dependent:
        assert one == other
    else:
        assert other.literal_dependent
