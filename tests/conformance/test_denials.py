"""A denial behaves as the server's own error in the same place: tags, transaction states, data.

Each scenario runs twice against one real server: through the gateway, where policy refuses one of
its statements, and directly, where the statement in that place fails by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.gateway import AGENT, RESOURCE, Gateway, Token
from tests.support.pg_wire import (
    COPY_DONE,
    FLUSH,
    SYNC,
    Message,
    RawClient,
    bind,
    call,
    close,
    codes,
    copy_data,
    describe,
    error_fields,
    execute,
    parse,
    query,
    shape,
    whole,
)
from tests.support.servers import APP_PASSWORD, APP_USER, DATABASE, PostgresServer

pytestmark = [pytest.mark.server]

POLICY = f"""
@id("all") permit (principal, action, resource);
@id("locked") @message("Table locked is not to be changed.")
forbid (principal, action == Action::"sql.write", resource) when {{
  resource in [Table::"{RESOURCE}/public/locked", Table::"{RESOURCE}/two/turning"]
}};
@id("no-unknown") @message("Not understood.")
forbid (principal, action == Action::"sql.unknown", resource);
"""
SETUP = f"""
CREATE TABLE good (id int); CREATE TABLE locked (id int); INSERT INTO locked VALUES (1);
CREATE SCHEMA one AUTHORIZATION {APP_USER}; CREATE SCHEMA two AUTHORIZATION {APP_USER};
CREATE TABLE one.turning (id int); CREATE TABLE two.turning (id int);
GRANT ALL ON ALL TABLES IN SCHEMA public, one, two TO {APP_USER};
"""
RESET = """
TRUNCATE good, locked, one.turning, two.turning; INSERT INTO locked VALUES (1);
"""
IN = "INSERT INTO good VALUES (1)"
POSTGRES_18 = "pg18"


@dataclass(frozen=True, slots=True)
class Bad:
    """What fails: by policy at the gateway, by itself at the server."""

    write: str
    copy: str
    prepare: str


AT_GATEWAY = Bad(
    "DELETE FROM locked", "COPY locked FROM STDIN", "PREPARE bad AS DELETE FROM locked"
)
AT_SERVER = Bad("DELETE FROM nowhere", "COPY good FORM STDIN", "PREPARE bad AS DELETE FROM nowhere")

Scenario = Callable[[RawClient, Bad], list[Message]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(play: Scenario) -> Scenario:
    SCENARIOS[play.__name__] = play
    return play


def simply(client: RawClient, *texts: str) -> list[Message]:
    return [message for text in texts for message in client.ask(text)]


@scenario
def autocommit(client: RawClient, bad: Bad) -> list[Message]:
    return simply(client, IN, bad.write, IN)


@scenario
def transaction(client: RawClient, bad: Bad) -> list[Message]:
    return simply(client, "BEGIN", IN, bad.write, IN, bad.write, "COMMIT", IN)


@scenario
def first_in_transaction(client: RawClient, bad: Bad) -> list[Message]:
    return simply(client, "BEGIN", bad.write, "ROLLBACK", IN)


@scenario
def savepoint(client: RawClient, bad: Bad) -> list[Message]:
    back = ("ROLLBACK TO s", IN, "RELEASE s", "COMMIT")
    return simply(client, "BEGIN", IN, "SAVEPOINT s", bad.write, IN, *back)


@scenario
def several_in_one_query(client: RawClient, bad: Bad) -> list[Message]:
    # A text that does not parse is what the server refuses as a whole.
    denied = f"{IN}; {bad.write}" if bad is AT_GATEWAY else f"{IN}; DELETE FORM locked"
    return simply(client, denied, "BEGIN", denied, "ROLLBACK", IN)


@scenario
def pipeline_first(client: RawClient, bad: Bad) -> list[Message]:
    return client.ask(parse(bad.write) + bind() + execute() + whole(IN) + whole(IN), 2)


@scenario
def pipeline_middle(client: RawClient, bad: Bad) -> list[Message]:
    one = parse(IN) + bind() + describe() + execute()
    return client.ask(one + parse(bad.write) + bind() + execute() + one + SYNC + whole(IN), 2)


@scenario
def pipeline_last(client: RawClient, bad: Bad) -> list[Message]:
    one = parse(IN) + bind() + execute()
    return client.ask(one + one + parse(bad.write) + bind() + execute() + SYNC)


@scenario
def pipeline_of_syncs(client: RawClient, bad: Bad) -> list[Message]:
    return client.ask(whole(IN) + whole(bad.write) + whole(IN) + query(bad.write) + query(IN), 5)


@scenario
def pipeline_behind_an_error(client: RawClient, bad: Bad) -> list[Message]:
    broken = parse("SELECT 1/0") + bind() + execute()
    return client.ask(broken + parse(bad.write) + bind() + execute() + SYNC + query(IN), 2)


@scenario
def query_inside_a_pipeline(client: RawClient, bad: Bad) -> list[Message]:
    one = parse(IN) + bind() + execute()
    return client.ask(one + query(bad.write) + one + SYNC, 2)


@scenario
def pipeline_in_transaction(client: RawClient, bad: Bad) -> list[Message]:
    start = parse("BEGIN") + bind() + execute()
    failed = start + parse(bad.write) + bind() + execute() + SYNC
    return client.ask(failed) + simply(client, IN, "ROLLBACK", IN)


@scenario
def flush_before_sync(client: RawClient, bad: Bad) -> list[Message]:
    client.send(parse(IN) + bind() + execute() + FLUSH)
    found = client.until("C")
    client.send(parse(bad.write) + FLUSH)
    return found + client.until("E") + client.ask(bind() + execute() + SYNC)


@scenario
def named_statements_survive(client: RawClient, bad: Bad) -> list[Message]:
    found = client.ask(parse(IN, "kept") + parse(bad.write, "never") + close("S", "kept") + SYNC)
    found += client.ask(bind("", "kept") + execute() + SYNC)
    return found + client.ask(describe("S", "never") + SYNC)


@scenario
def bind_of_nothing(client: RawClient, bad: Bad) -> list[Message]:
    one = parse(IN) + bind() + execute()
    return client.ask(one + bind("", "unheard of") + execute() + SYNC + whole(IN), 2)


@scenario
def execute_of_nothing(client: RawClient, bad: Bad) -> list[Message]:
    one = parse(IN) + bind() + execute()
    return client.ask(one + execute("unheard of") + one + SYNC + whole(IN), 2)


@scenario
def bind_that_fails(client: RawClient, bad: Bad) -> list[Message]:
    text = "INSERT INTO turning VALUES ($1::int)"
    found = simply(client, "SET search_path = one, public")
    found += client.ask(parse(text, "s") + bind("", "s", b"1") + execute() + SYNC)
    found += simply(client, "SET search_path = two, public")
    value = b"2" if bad is AT_GATEWAY else b"no number"
    one = parse(IN) + bind() + execute()
    found += client.ask(one + bind("", "s", value) + execute() + one + SYNC)
    found += simply(client, "SET search_path = one, public")
    return found + client.ask(bind("", "s", b"3") + execute() + SYNC)


@scenario
def copy_in(client: RawClient, bad: Bad) -> list[Message]:
    data = copy_data(b"5\n") + COPY_DONE
    found = client.ask(query(bad.copy) + data + query(IN), 2)
    found += simply(client, "BEGIN", bad.copy, "ROLLBACK")
    client.send(query("COPY good FROM STDIN") + data)
    return found + client.until_ready()


@scenario
def copy_in_extended(client: RawClient, bad: Bad) -> list[Message]:
    data = copy_data(b"5\n") + COPY_DONE
    start = parse(bad.copy) + bind() + execute()
    found = client.ask(start + data + SYNC + whole(IN), 2)
    fine = parse("COPY good FROM STDIN") + bind() + execute()
    return found + client.ask(fine + SYNC + data + SYNC + whole(IN), 2)


@scenario
def copy_that_fails_by_itself(client: RawClient, bad: Bad) -> list[Message]:
    wrong = copy_data(b"no number\n") + copy_data(b"1\n") + COPY_DONE
    found = client.ask(query("COPY good FROM STDIN") + wrong + query(bad.write) + query(IN), 3)
    start = parse("COPY good FROM STDIN") + bind() + execute()
    return found + client.ask(start + wrong + SYNC + whole(bad.write) + whole(IN), 3)


@scenario
def sql_prepare(client: RawClient, bad: Bad) -> list[Message]:
    found = simply(client, f"PREPARE fine AS {IN}", bad.prepare, "EXECUTE fine", "EXECUTE bad")
    return found + simply(client, "BEGIN", "EXECUTE fine", "EXECUTE bad", "ROLLBACK")


@scenario
def function_call(client: RawClient, bad: Bad) -> list[Message]:
    found = client.ask(call(1)) + simply(client, "BEGIN")
    return found + client.ask(call(1)) + simply(client, IN, "ROLLBACK")


@dataclass(frozen=True, slots=True)
class Lane:
    """A server and its gateway."""

    server: PostgresServer
    gateway: Gateway
    token: Token

    def play(self, play: Scenario, bad: Bad) -> tuple[list[Message], str]:
        """What a client saw, and the tables' contents afterwards."""
        self.server.sql(RESET)
        if bad is AT_GATEWAY:
            client = RawClient.connect(self.gateway.port, AGENT, self.token.token, RESOURCE)
        else:
            client = RawClient.connect(self.server.port, APP_USER, APP_PASSWORD, DATABASE)
        found = play(client, bad)
        client.close()
        counts = "SELECT (SELECT count(*) FROM good), (SELECT count(*) FROM locked)"
        turning = "(SELECT count(*) FROM one.turning), (SELECT count(*) FROM two.turning)"
        return found, self.server.sql(f"{counts}, {turning}")


@pytest.fixture(scope="module", params=[POSTGRES_18, "pg15_tls"])
def lane(request: pytest.FixtureRequest) -> Iterator[Lane]:
    server: PostgresServer = request.getfixturevalue(request.param)
    server.fresh_database(DATABASE)
    server.sql(SETUP)
    gateway = Gateway.start(server, policies=POLICY, upstream={"tls": "prefer"})
    yield Lane(server, gateway, gateway.token())
    gateway.stop()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_denial_is_as_the_servers_own_error(lane: Lane, name: str) -> None:
    play = SCENARIOS[name]
    expected, data = lane.play(play, AT_SERVER)
    found, afterwards = lane.play(play, AT_GATEWAY)
    assert shape(found) == shape(expected)
    assert afterwards == data
    assert ("42501" in codes(found)) == (name != "pipeline_behind_an_error")  # the server skips it


def test_a_denial_says_who_refused_and_why(lane: Lane) -> None:
    found, _ = lane.play(SCENARIOS["autocommit"], AT_GATEWAY)
    (error,) = [error_fields(payload) for tag, payload in found if tag == "E"]
    assert error["S"] == error["V"] == "ERROR"
    assert error["C"] == "42501"
    assert error["M"] == "Table locked is not to be changed."
    assert "locked" in error["D"]
