"""Loading policies: what is refused, where, with which remedy; what crashes Cedar harms nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.policies import NAMES, NO_UNBOUNDED, READ_ORDERS, SCHEMA, load

from chaperon.policy.lint import Names
from chaperon.policy.load import load_policies, names_of
from chaperon.policy.schema import Action, Fact, Schema, Vocabulary, entity_id
from chaperon.protocols.postgres.vocabulary import POSTGRES
from chaperon.wire.errors import ConfigError

FORBID = '@id("x") forbid (principal, action in Action::"write", resource) when { %s };'


def refused(folder: Path, *texts: str, names: Names = NAMES) -> str:
    with pytest.raises(ConfigError) as error:
        load(folder, *texts, names=names)
    return str(error.value)


def test_policies_keep_id_place_and_message(tmp_path: Path) -> None:
    policies = load(tmp_path, "// first\n" + READ_ORDERS + NO_UNBOUNDED)
    read, unbounded = policies.policies
    assert (read.id, read.effect, read.message) == ("analysts-read-orders", "permit", None)
    assert read.where == f"{tmp_path}/00.cedar:3"
    assert (unbounded.id, unbounded.message) == ("no-unbounded-writes", "Add a WHERE clause.")


@pytest.mark.parametrize(
    ("text", "wrong", "remedy"),
    [
        ("permit (principal, action, resource);", "has no @id", "@id("),
        ('@id("") permit (principal, action, resource);', "has no @id", "@id("),
        ('@id("default-deny") permit (principal, action, resource);', "reserved", "another"),
        ('@id("a b") permit (principal, action, resource);', "not usable", "letters"),
        ('@id("x") @mesage("m") forbid (principal, action, resource);', "@mesage", "@message?"),
        ('@id("x") @message(" ") forbid (principal, action, resource);', "@message", "sentence"),
        ('@id("x") @message("a\\0b") forbid (principal, action, resource);', "@message", "sent"),
        ('@id("x") @review("dba") permit (principal, action, resource);', "@review", "forbid"),
        ('@id("x") @review("dbas") forbid (principal, action, resource);', "'dbas'", "dba?"),
        ('@id("x") @mode("observe") forbid (principal, action, resource);', "not avail", "Remove"),
        ('@id("x") forbid (principal in Group::"dbaa", action, resource);', "'dbaa'", "dba?"),
        ('@id("x") forbid (principal == Agent::"cibot", action, resource);', "cibot", "ci-bot?"),
        ('@id("x") forbid (principal, action, resource in Resource::"order");', "order", "orders?"),
        ('@id("x") forbid (principal, action in Action::"writes", resource);', "writes", "write?"),
        ('@id("x") forbid (principal, action == Action::"write", resource);', "group", "action in"),
        ('@id("x") forbid (principal == Group::"dba", action, resource);', "Group", "principal in"),
        ('@id("x") forbid (principal is Agnt, action, resource);', "Agnt", ""),
        ('@id("x") forbid (principal, action, resource == Table::"t");', "t", "RESOURCE/SCHEMA"),
        ('@id("x") forbid (principal, action, resource == Table::"orders/a/50%");', "%", "%25"),
        (
            '@id("x") forbid (principal, action, resource == Table::"order/a/b");',
            "order",
            "orders?",
        ),
        (FORBID % "false", "always false", "Remove"),
        (FORBID % "1 == 2 || !true", "always false", "Remove"),
        (FORBID % 'context.statement.kinds.contains("do") && false', "always false", "Remove"),
        (
            '@id("x") forbid (principal, action, resource) unless { principal == principal };',
            "always true",
            "Remove",
        ),
        (FORBID % 'context.statement.kinds.contains("DELETE")', "'DELETE'", "delete?"),
        (FORBID % 'context.statement.kinds.contains("delet")', "'delet'", "delete?"),
        (FORBID % 'context.statement.writes.containsAny(["t"])', "'t'", "schema"),
        (FORBID % 'principal in Group::"nobody"', "nobody", "analysts"),
        (FORBID % "context.statement.statements * 9223372036854775807 > 1", "overflow", "smaller"),
        (FORBID % "context.statement.unbound", "unbound", ""),
        (
            '@id("x") forbid (principal, action, resource) when { context.statement.unbounded };',
            "statement",
            "context has statement",
        ),
        ('@id("x") permit (principal == ?principal, action, resource);', "templates", ""),
        ('@id("x") permit (principal, action, resource)', "end of input", ""),
        ('@id("x") permit (principal, action, resorce);', "resorce", ""),
        (
            '@id("x") permit (principal, action, resource in [Resource::"orders"]);',
            "set of entity uids",
            "when { resource in",
        ),
        ('@id("x") @id("y") permit (principal, action, resource);', "duplicate", ""),
        ("/* c */ permit (principal, action, resource);", "unexpected token", ""),
        ("// nothing\n", "no policy", "first"),
    ],
)
def test_refused_with_line_and_remedy(tmp_path: Path, text: str, wrong: str, remedy: str) -> None:
    said = (
        refused(tmp_path, READ_ORDERS, text) if "nothing" not in text else refused(tmp_path, text)
    )
    assert wrong in said
    assert remedy in said
    assert "\n    " in said
    if "nothing" not in text:
        assert f"{tmp_path}/01.cedar:1: " in said


def test_every_problem_is_named_in_one_go(tmp_path: Path) -> None:
    said = refused(tmp_path, f"\n\n{FORBID % 'false'}\n{FORBID % 'false'}", "permit (")
    for place in ("00.cedar:3: `when`", "00.cedar:4: `when`", "00.cedar:4: @id('x') is taken by"):
        assert place in said
    assert "01.cedar:1: unexpected end" in said


@pytest.mark.parametrize(
    "condition",
    [
        "context.statement.statements + 9223372036854775807 > 0",
        "-9223372036854775808 - context.statement.statements < 0",
    ],
)
def test_sums_that_can_overflow_are_refused(tmp_path: Path, condition: str) -> None:
    assert "overflow" in refused(tmp_path, FORBID % condition)


def test_sums_that_cannot_overflow_pass(tmp_path: Path) -> None:
    assert load(tmp_path, FORBID % "context.statement.statements * 2 + 1 > 100")


@pytest.mark.parametrize("text", ["(" * 1000 + "true" + ")" * 1000, "[" * 5000 + "]" * 5000])
def test_text_that_crashes_cedar_is_refused_by_place(tmp_path: Path, text: str) -> None:
    said = refused(tmp_path, READ_ORDERS, f"{READ_ORDERS.replace('-read-', '-')}{FORBID % text}")
    assert "01.cedar:8: this crashes Cedar" in said


def test_long_chains_are_refused_not_met(tmp_path: Path) -> None:
    said = refused(tmp_path, FORBID % " && ".join(["context.statement.unbounded"] * 400))
    assert "nested deeper" in said


def test_chain_of_a_reasonable_length_passes(tmp_path: Path) -> None:
    assert load(tmp_path, FORBID % " && ".join(["context.statement.unbounded"] * 90))


@pytest.mark.parametrize(
    "text",
    [
        '// note\r@id("x") forbid (principal, action, resource);',  # Cedar ends comments at CR
        '@id("x") // ; forbid\nforbid (principal, action, resource);',
        '@id("x") @message("a; b // \\" c") forbid (principal, action, resource);',
        '\ufeff@id("x") forbid (principal, action, resource);',
        '@id("x")forbid(principal,action,resource)when{"//"=="//"};',
    ],
)
def test_no_policy_is_lost_in_cutting(tmp_path: Path, text: str) -> None:
    policies = load(tmp_path, READ_ORDERS + text if not text.startswith("\ufeff") else text)
    assert policies.policies[-1].id == "x"
    assert policies.policies[-1].effect == "forbid"


def test_only_visible_cedar_files_below_the_folder_count(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "more.cedar").write_text(NO_UNBOUNDED)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.cedar").write_text("nonsense")
    (tmp_path / ".#00.cedar").write_text("nonsense")
    (tmp_path / "00.cedar~").write_text("nonsense")
    (tmp_path / "README.md").write_text("nonsense")
    assert len(load(tmp_path, READ_ORDERS).policies) == 2


def test_no_folder_and_no_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        load_policies(tmp_path / "none", SCHEMA, NAMES)
    with pytest.raises(ConfigError, match="everything would be denied"):
        load_policies(tmp_path, SCHEMA, NAMES)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_bytes(b"// ok\n\xff\xfe")
    with pytest.raises(ConfigError, match=r"a.cedar:2: not UTF-8"):
        load_policies(tmp_path, SCHEMA, NAMES)


def test_hash_follows_texts_names_and_schema(tmp_path: Path) -> None:
    first = load(tmp_path / "a", READ_ORDERS).hash
    assert load(tmp_path / "b", READ_ORDERS).hash == first
    assert load(tmp_path / "c", READ_ORDERS + "\n").hash != first
    other = Schema({"postgres": POSTGRES, "more": Vocabulary("More", ("Thing",), (), ())})
    assert load_policies(tmp_path / "a", other, NAMES).hash != first


def test_facts_outside_the_key_forbid_caching(tmp_path: Path) -> None:
    vocabulary = Vocabulary(
        "Call",
        (),
        (Action("x.call", ("call",), "call"),),
        (Fact("name", "string"), Fact("values", "set", keyed=False)),
    )
    schema = Schema({"x": vocabulary})
    start = '@id("x") forbid (principal, action == Action::"x.call", resource)'
    folder = tmp_path / "p"
    folder.mkdir()
    for condition, cacheable in (
        ('context.statement.name == "a"', True),
        ("context has statement && context.statement has name", True),
        ('context.statement.values.contains("a")', False),
        ("context == context", False),
    ):
        (folder / "a.cedar").write_text(f"{start} when {{ {condition} }};")
        assert load_policies(folder, schema).cacheable is cacheable, condition


def test_schema_refuses_vocabularies_that_disagree() -> None:
    one = Vocabulary("One", ("Table",), (Action("a.b", ("read",), "read"),), (Fact("f", "bool"),))
    for other in (
        Vocabulary("Two", ("Inner", "Table"), (), ()),
        Vocabulary("Two", (), (Action("a.b", ("read",), "read"),), ()),
        Vocabulary("Two", (), (), (Fact("f", "long"),)),
        Vocabulary("Two", (), (Action("a.c", ("reading",), "read"),), ()),
        Vocabulary("no identifier", (), (), ()),
    ):
        with pytest.raises(ConfigError):
            Schema({"one": one, "two": other})
    assert Schema({"one": one, "also": one}).actions.keys() == {"a.b"}


def test_ids_of_things_are_injective() -> None:
    paths = [("a", "b"), ("a/b",), ("a%2Fb",), ("a", "b", ""), ("a%", "b"), ("a", "%b")]
    assert len({entity_id("r", path) for path in paths}) == len(paths)


def test_names_of_a_configuration(tmp_path: Path) -> None:
    from chaperon.config import load_config  # noqa: PLC0415  # configuration is this test's only

    (tmp_path / "c.yaml").write_text(
        "data: d\npolicies: p\nlisteners: [{protocol: x, address: '127.0.0.1:1'}]\n"
        "identity: {local: {agents: {bot: {groups: [a]}}, users: {ana: {groups: [b]}}}}\n"
        "resources: {r: {protocol: x, upstream: {host: h, database: d, user: u}}}\n"
    )
    known = names_of(load_config(tmp_path / "c.yaml", ["x"])).known
    assert known == {
        "Agent": {"bot"},
        "User": {"ana"},
        "Service": set(),
        "Group": {"a", "b"},
        "Resource": {"r"},
    }
