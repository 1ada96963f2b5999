"""From an operation of this protocol to the question that policy is asked.

Invariant: a question names everything that running the operation may do, as far as it is known;
what is not known makes it ask for `sql.unknown`. Statements that EXECUTE, FETCH or bind others
count as what they run.
"""

from __future__ import annotations

import re
from dataclasses import replace

from chaperon.facts.ask import CONFIGURE, UNKNOWN
from chaperon.facts.catalog import Catalog
from chaperon.facts.credentials import whole
from chaperon.facts.model import Effect, RawFacts, SqlFacts
from chaperon.facts.names import Naming, resolve
from chaperon.facts.sql import read_statement, refused
from chaperon.policy.model import Question
from chaperon.protocols.postgres.catalog import effective_path
from chaperon.protocols.postgres.codec import HEADER
from chaperon.protocols.postgres.messages import int32
from chaperon.protocols.postgres.plan import Names, Plan, StatementContext
from chaperon.wire.ask import Ask
from chaperon.wire.operation import Operation
from chaperon.wire.principal import Principal

_CONNECT = "connect"
_HARMLESS = frozenset(
    (
        "application_name",
        "client_encoding",
        "client_min_messages",
        "datestyle",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "geqo",
        "idle_in_transaction_session_timeout",
        "intervalstyle",
        "jit",
        "lock_timeout",
        "search_path",
        "statement_timeout",
        "timezone",
    )
)
"""Settings that a startup packet may carry without more than `connect`. What they do to the meaning
of names is not taken from here but asked of the server."""

_OTHER_TEXT = "It was prepared while the server read text in another way than Chaperon."
_NOT_INSPECTED = "the text is not known to the gateway"


def raw_facts(operation: Operation) -> RawFacts:
    """What the operation's text or the statement it names does, names unresolved."""
    context = _context(operation)
    if context.plan is not None:
        return context.plan.raw
    if not context.known:
        return RawFacts(
            reasons=(f"{operation.verb}: {_NOT_INSPECTED}.",),
            secrets=whole(operation.text.encode("utf-8", "replace")),
        )
    if context.replication:
        return RawFacts(reasons=("a replication connection speaks another language than SQL.",))
    return read_statement(operation.text)


def needs_catalog(operation: Operation) -> bool:
    """Whether names have to be resolved for this."""
    return operation.verb != _CONNECT


def connect_question(
    principal: Principal, resource: str, protocol: str, operation: Operation
) -> Question:
    """May this principal open a session here, with these startup parameters?"""
    context = _context(operation)
    asks = [Ask("connect")]
    reasons: list[str] = []
    if context.replication:
        asks.append(Ask(UNKNOWN))
        reasons.append("the startup packet asks for replication.")
    for setting in filter(None, operation.text.split("\0")):
        name, _, value = setting.partition("=")
        for changed in _options(value) if name == "options" else (name.lower(),):
            if changed not in _HARMLESS and not (
                changed == "replication" and not context.replication
            ):
                asks.append(Ask(CONFIGURE))
                reasons.append(f"the startup packet sets {changed!r}.")
    return Question(
        principal=principal,
        resource=resource,
        protocol=protocol,
        asks=tuple(dict.fromkeys(asks)),
        statement=SqlFacts(kinds=frozenset(("set",))).context() if reasons else None,
        evidence={"reasons": reasons} if reasons else {},
    )


def statement_question(
    principal: Principal,
    resource: str,
    operation: Operation,
    *,
    protocol: str,
    raw: RawFacts,
    catalog: Catalog,
) -> Question:
    """What policy is asked about a statement."""
    context = _context(operation)
    naming = session_naming(operation, catalog)
    of_types = [reason for oid in context.types for reason in catalog.type_oids.get(oid, ())]
    if context.types and context.ddl_open:
        of_types.append("The types of its parameters may have changed in this transaction.")
    if of_types:
        raw = replace(raw, reasons=tuple(dict.fromkeys((*raw.reasons, *of_types))))
    plan = make_plan(raw, naming, context.names)
    facts = plan.facts
    return Question(
        principal=principal,
        resource=resource,
        protocol=protocol,
        asks=facts.asks(),
        statement=facts.context(),
        evidence={"reasons": list(facts.reasons)} if facts.reasons else {},
        statement_facts=plan,
    )


def session_naming(operation: Operation, catalog: Catalog) -> Naming:
    """The resolver's view of a session. Without the server's word no name resolves.

    A text that was read when it was prepared is not read again (`make_plan` keeps how it was).
    """
    context = _context(operation)
    names = context.naming
    alike = context.plan is not None or _reads_alike(operation.text)
    if names is None:
        return Naming(catalog, None, "", temp=None, faithful=alike, stale=context.ddl_open)
    path = effective_path(names.setting, names.role, catalog, names.temp != frozenset())
    return Naming(
        catalog,
        path,
        names.role,
        temp=names.temp,
        faithful=alike or names.faithful,
        stale=context.ddl_open,
    )


def _reads_alike(text: str) -> bool:
    """Whether the server reads `text` as we do under any setting.

    Encodings that a client may have contain ASCII, and standard_conforming_strings and
    backslash_quote concern constants in single quotes only (manual, sections 4.1.2.1 and 23.3).
    """
    return text.isascii() and "'" not in text


def secrets_of(text: bytes) -> tuple[tuple[int, int], ...]:
    """Byte ranges of a statement that no recording may hold, decided or not."""
    try:
        return read_statement(text.decode()).secrets
    except UnicodeDecodeError:
        return whole(text)


_TOO_SHORT = 3
"""A string of fewer bytes stands in answers by chance, and in the headers of messages."""
_STRING = re.compile(rb"'([^']*)(?:'|$)|\$([^$]+)(?:\$|$)")


def quoted(literal: bytes) -> list[bytes]:
    """The strings in a part of a text that holds a credential, as an error would repeat them."""
    found = (one or two for one, two in _STRING.findall(literal))
    return sorted((text for text in found if len(text) > _TOO_SHORT), key=len, reverse=True)


def struck_out(data: bytes, texts: list[bytes]) -> bytes:
    """`data` with each of `texts` in it struck out, and as long as before."""
    for text in texts:
        data = data.replace(text, b"*" * len(text))
    return data


def concealed(data: bytes) -> bytes:
    """Messages that nobody has read, with what may be a credential struck out.

    Headers stay where `data` begins with one, so that what is recorded can still be framed.
    """
    if not whole(data):
        return data
    clean = bytearray(b"*" * len(data))
    at = 0
    while at + HEADER <= len(data):
        end = at + 1 + int32(data, at + 1)
        if end < at + HEADER:
            break
        clean[at : at + HEADER] = data[at : at + HEADER]
        if end <= len(data) and not whole(data[at + HEADER : end]):
            clean[at:end] = data[at:end]
        at = end
    return bytes(clean)


def make_plan(raw: RawFacts, naming: Naming, names: Names) -> Plan:
    """Resolve `raw`, and unite it with the statements that it runs by name."""
    facts = resolve(raw, naming)
    own = {p.name: make_plan(p.statement, naming, names) for p in facts.prepares}
    cursors = [(c.name, make_plan(c.query, naming, names), c.hold) for c in facts.declares]
    opened = {name: plan for name, plan, _ in cursors}
    indirect = bool(facts.executes or facts.fetches)
    executed: set[str] = set()
    fetched: set[str] = set()
    # What is executed may be EXECUTE or FETCH itself: Parse takes any statement, and names it.
    while not (executed.issuperset(facts.executes) and fetched.issuperset(facts.fetches)):
        for name in [name for name in facts.executes if name not in executed]:
            executed.add(name)
            facts = _united(facts, own.get(name) or names.statement(name), naming)
        for name in [name for name in facts.fetches if name not in fetched]:
            fetched.add(name)
            facts = _united(facts, opened.get(name) or names.cursor(name), naming)
    effects = facts.effects
    plain = not (effects or facts.prepares or facts.declares or facts.deallocates)
    return Plan(
        raw=raw if naming.faithful else replace(refused(_OTHER_TEXT), secrets=raw.secrets),
        facts=facts,
        plain=plain,
        cacheable=not indirect,
        by_template=not facts.literal_dependent,
        settings=bool(effects & Effect.SETTINGS),
        temp=bool(effects & Effect.TEMP),
        ddl=bool(effects & Effect.DDL),
        txn=bool(effects & Effect.TXN),
        defines=tuple(own.items()),
        drops=facts.deallocates,
        opens=tuple(cursors),
        secrets=facts.secrets,
    )


def _united(facts: SqlFacts, named: Plan | None, naming: Naming) -> SqlFacts:
    """`facts` with what `named` does now, which may be other than when it was prepared."""
    if named is None:
        reason = "it runs a prepared statement or cursor that this session did not see defined."
        reasons = (*facts.reasons, reason)
        return replace(facts, unknown=True, reasons=reasons, effects=~Effect.NONE)
    return facts.merged(replace(resolve(named.raw, naming), prepares=(), declares=()))


def _context(operation: Operation) -> StatementContext:
    if not isinstance(operation.context, StatementContext):
        raise TypeError("an operation of another protocol")
    return operation.context


def _options(value: str) -> list[str]:
    """Names that the startup parameter `options` sets; anything but `-c name=value` is named whole.

    Source: PostgreSQL 18 manual, "StartupMessage": command-line arguments, backslash escapes.
    """
    names: list[str] = []
    rest = iter(_words(value))
    for word in rest:
        if word == "-c":
            setting = next(rest, "")
        elif word.startswith(("-c", "--")):
            setting = word[2:]
        else:
            names.append(word)
            continue
        names.append(setting.partition("=")[0].lower().replace("-", "_"))
    return names


def _words(value: str) -> list[str]:
    """`value` split at the spaces that C knows; a backslash takes the next character as it is."""
    words: list[str] = []
    word: str | None = None
    characters = iter(value)
    for character in characters:
        if character in _SPACES:
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + (next(characters, "") if character == "\\" else character)
    return words if word is None else [*words, word]


_SPACES = " \t\n\v\f\r"
