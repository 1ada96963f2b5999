"""A `PostgresSession` driven by hand, with real policy: what it sends, says and records.

Stands in for the runtime's driver and does what that does: commands in order, `Authenticate` and
(unless `later`) `Decide` answered at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from chaperon.facts.catalog import Catalog, Relation
from chaperon.identity.claims import Accepted, PasswordClaim, Refused
from chaperon.policy.decision import PolicySet
from chaperon.protocols.postgres.operations import (
    connect_question,
    needs_catalog,
    raw_facts,
    statement_question,
)
from chaperon.protocols.postgres.session import PostgresSession
from chaperon.protocols.postgres.settings import Settings, Target
from chaperon.secrets import Secret
from chaperon.wire import commands as c
from chaperon.wire import events as e
from chaperon.wire.errors import ProtocolViolation, Side
from chaperon.wire.operation import Operation
from chaperon.wire.permit import Decision
from tests.support.gateway import PERMIT_ALL, READ_ONLY
from tests.support.pg_wire import message, startup
from tests.support.policies import CI_BOT, load

TOKEN = "chp_aaaaaaaaaa_secret"
PASSWORD = "upstream-canary-0815"
PID, KEY = b"\0\0\x12\x34", b"real"
GREETING = (
    message("R", b"\0\0\0\0")
    + message("S", b"client_encoding\0UTF8\0")
    + message("S", b"standard_conforming_strings\0on\0")
    + message("K", PID + KEY)
    + message("Z", b"I")
)
CATALOG = Catalog(
    epoch=1,
    schemas=frozenset({"public", "other", "pg_catalog", "information_schema"}),
    relations={
        "public": {"orders": Relation("r", ("id",)), "secrets": Relation("r", ("id",))},
        "other": {"orders": Relation("r", ("id",))},
        "pg_catalog": {"pg_class": Relation("r")},
    },
    type_oids={70000: ("Type public.evil runs public.evil_in.",)},
    usage={"app": frozenset({"public", "other", "pg_catalog", "information_schema"})},
)


@cache
def policies(text: str) -> PolicySet:
    """A validated set of one text, loaded once a process."""
    with tempfile.TemporaryDirectory() as folder:
        return load(Path(folder) / "policies", text)


@dataclass(slots=True)
class World:
    """What stands around a session. `limit` is the inspection limit in bytes."""

    policy: str = PERMIT_ALL
    catalog: Catalog = CATALOG
    limit: int = 16 * 1024 * 1024
    tls: str = "disable"
    password: str | None = PASSWORD
    certificate: bytes | None = None
    allow_cleartext: bool = False
    resource: str = "orders"

    def target(self, name: str) -> Target | None:
        if name != self.resource:
            return None
        secret = Secret(self.password) if self.password is not None else None
        return Target("app", "shop", secret, self.tls, self.limit)

    def session(self) -> PostgresSession:
        return PostgresSession(
            Settings(self.target, self.certificate, self.allow_cleartext, lambda n: b"g" * n)
        )

    def decide(self, operation: Operation) -> Decision:
        """What the running gateway decides, with this catalog."""
        if not needs_catalog(operation):
            question = connect_question(CI_BOT, self.resource, "postgres", operation)
        else:
            question = statement_question(
                CI_BOT,
                self.resource,
                operation,
                protocol="postgres",
                raw=raw_facts(operation),
                catalog=self.catalog,
            )
        return policies(self.policy).decide(question)


@dataclass(slots=True)
class Driven:
    """A session with its driver. `later` keeps decisions until `answer`."""

    world: World = field(default_factory=World)
    later: bool = False
    outcome: object = None
    session: PostgresSession = field(init=False)
    to_target: bytes = b""
    to_agent: bytes = b""
    commands: list[c.Command] = field(default_factory=list)
    recorded: dict[c.Direction, bytes] = field(default_factory=dict)
    marks: list[c.Mark] = field(default_factory=list)
    pending: list[c.Decide] = field(default_factory=list)
    asked: list[Operation] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    closed: str | None = None
    held: set[Side] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.session = self.world.session()

    def handle(self, event: e.Event) -> list[c.Command]:
        """Give the session an event; returns the commands that it led to."""
        before = len(self.commands)
        if self.closed is None:
            try:
                self._carry_out(self.session.handle(event))
            except ProtocolViolation as violation:
                self._carry_out(self.session.violation(violation))
                self.closed = self.closed or "violation"
        return self.commands[before:]

    def _carry_out(self, commands: Sequence[c.Command]) -> None:
        for command in commands:
            self.commands.append(command)
            match command:
                case c.Forward(_, data, marks, recorded, direction):
                    self.marks += marks
                    self._record(direction, data if recorded is None else recorded)
                    self.to_target += bytes(data)
                case c.Reply(data, recorded):
                    self._record(c.Direction.TO_AGENT, data if recorded is None else recorded)
                    self.to_agent += bytes(data)
                case c.Record(direction, data, marks):
                    self.marks += marks
                    self._record(direction, data)
                case c.Decide():
                    self.asked.append(command.operation)
                    if self.later and command.operation.verb != "connect":
                        self.pending.append(command)
                    else:
                        self._decided(command)
                case c.Authenticate(claim):
                    self.handle(e.Authenticated(self._identify(claim)))
                case c.Note(fields):
                    self.notes.append(fields)
                case c.Hold(side):
                    self.held.add(side)
                case c.Resume(side):
                    self.held.discard(side)
                case c.Close(reason):
                    self.closed = reason
                case _:
                    pass

    def _record(self, direction: c.Direction, data: bytes | memoryview) -> None:
        self.recorded[direction] = self.recorded.get(direction, b"") + bytes(data)

    def _identify(self, claim: object) -> object:
        if self.outcome is not None:
            return self.outcome
        if isinstance(claim, PasswordClaim) and claim.secret.reveal() == TOKEN:
            return Accepted(CI_BOT, "aaaaaaaaaa", 2**62)
        return Refused("wrong token", "The token is wrong.", "Make another.")

    def _decided(self, command: c.Decide) -> None:
        self.handle(e.Decided(command.ticket, self.world.decide(command.operation)))

    def answer(self) -> list[c.Command]:
        """Answer the oldest decision that is waited for."""
        before = len(self.commands)
        self._decided(self.pending.pop(0))
        return self.commands[before:]

    def agent(self, data: bytes) -> list[c.Command]:
        return self.handle(e.DownstreamData(data))

    def target(self, data: bytes) -> list[c.Command]:
        return self.handle(e.UpstreamData(data))

    def take_target(self) -> bytes:
        """What went upstream since the last time."""
        data, self.to_target = self.to_target, b""
        return data

    def take_agent(self) -> bytes:
        """What went to the agent since the last time."""
        data, self.to_agent = self.to_agent, b""
        return data

    @property
    def from_agent(self) -> bytes:
        """The recording of what the agent sent."""
        return self.recorded.get(c.Direction.FROM_AGENT, b"")


def ready(world: World | None = None, *, later: bool = False, minor: int = 0) -> Driven:
    """A session in which the agent and the target are logged in, nothing sent yet."""
    driven = Driven(world or World(), later)
    driven.handle(e.Connected("127.0.0.1:1", loopback=True))
    driven.agent(startup(minor, user="ci-bot", database="orders"))
    driven.agent(message("p", TOKEN.encode() + b"\0"))
    driven.handle(e.Dialled())
    driven.target(GREETING)
    driven.take_target()
    driven.take_agent()
    return driven


READ_ONLY_WORLD = World(READ_ONLY)
