"""Fuzz PostgreSQL sessions: real conversations, mutated on both sides, cut anywhere.

`python tests/fuzz/fuzz_session.py --seconds N --seed S`. Held: no exception but ProtocolViolation
(which the driver of the tests takes as the runtime's does); the recording has every byte that the
agent sent, no credential aside; what waits stays bounded; every mark points into the recording.
A failure prints the seed of its round, which `--seed S --rounds 1` plays again; exit code 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.gateway import PERMIT_ALL, READ_ONLY
from tests.support.pg_model import ModelServer
from tests.support.pg_session import GREETING, TOKEN, Driven, World, ready
from tests.support.pg_wire import (
    COPY_DONE,
    FLUSH,
    GSS_REQUEST,
    SSL_REQUEST,
    SYNC,
    TERMINATE,
    bind,
    call,
    cancel_request,
    close,
    copy_data,
    copy_fail,
    describe,
    execute,
    message,
    parse,
    query,
    startup,
    whole,
)

from chaperon.wire import events as e
from chaperon.wire.errors import Side

LARGEST_WAITING = 256 * 1024 + 128 * 1024
_TEXTS = (
    *("select 1", "select id from orders", "delete from orders", "select 1/0", "begin", "commit"),
    *("rollback", "set search_path to x", "set client_encoding to latin1", "prepare p as select 1"),
    *("execute p", "deallocate all", "copy orders from stdin", "copy orders to stdout", "no sql"),
    *("declare c cursor for select 1", "fetch c", "savepoint a", "rollback to a", "", ";;"),
    *("alter role a password 'x'", "select '", "select $1", "do $$ begin end $$", "listen x"),
)
_INTERESTING = (b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\0\0\0\4", b"\0\0\0\0", b"\xff\xff\xff\xff")


def part(dice: random.Random) -> bytes:
    """One thing that an agent might send."""
    text, name = dice.choice(_TEXTS), dice.choice(("", "s", "p", "c", "n" * 70))
    return dice.choice(
        (
            lambda: query(text),
            lambda: whole(text, name=name),
            lambda: parse(text, name, *dice.choices((0, 23, 25, 70000), k=dice.randrange(3))),
            lambda: bind(name, name, *dice.choices((None, b"1", b"x" * 999), k=dice.randrange(3))),
            lambda: execute(name, dice.randrange(3)),
            lambda: describe(dice.choice("SP"), name),
            lambda: close(dice.choice("SP"), name),
            lambda: SYNC,
            lambda: FLUSH,
            lambda: copy_data(b"1\n" * dice.randrange(9)),
            lambda: COPY_DONE,
            copy_fail,
            lambda: call(dice.randrange(99999), b"x"),
            lambda: TERMINATE,
            lambda: message(dice.choice("QPBEDCHSXFdcfp"), dice.randbytes(dice.randrange(30))),
        )
    )()


def mutated(dice: random.Random, data: bytes) -> bytes:
    """`data` with a few bytes changed, cut out, doubled or put in."""
    for _ in range(dice.choice((0, 0, 0, 1, 1, 2, 5))):
        at = dice.randrange(len(data) + 1)
        size = dice.choice((1, 1, 2, 4, 20))
        change = dice.randrange(4)
        if change == 0:
            data = data[:at] + dice.choice(_INTERESTING) + data[at + size :]
        elif change == 1:
            data = data[:at] + data[at + size :]
        elif change == 2:
            data = data[:at] + data[at : at + size] + data[at:]
        else:
            data = data[:at] + dice.randbytes(size) + data[at:]
    return data


def play(seed: int) -> None:
    """One session. Raises AssertionError, or whatever escapes."""
    dice = random.Random(seed)
    world = World(dice.choice((PERMIT_ALL, READ_ONLY)), limit=dice.choice((300, 16 * 1024 * 1024)))
    if dice.random() < 0.2:
        _handshake(dice, world)
        return
    driven = ready(world, later=dice.random() < 0.5)
    server = ModelServer()
    agent_left = mutated(dice, b"".join(part(dice) for _ in range(dice.randrange(1, 14))))
    mean_server = dice.random() < 0.3
    server_left, sent = b"", b""
    for _ in range(300):
        if driven.closed is not None:
            break
        answer = _answers(dice, server, driven.take_target())
        server_left += mutated(dice, answer) if mean_server else answer
        choice = dice.random()
        if choice < 0.45 and agent_left and Side.DOWNSTREAM not in driven.held:
            size = dice.choice((1, 5, 30, len(agent_left)))
            driven.agent(agent_left[:size])
            sent, agent_left = sent + agent_left[:size], agent_left[size:]
        elif choice < 0.85 and server_left:
            size = dice.choice((1, 5, 30, len(server_left)))
            driven.target(server_left[:size])
            server_left = server_left[size:]
        elif choice < 0.95 and driven.pending:
            driven.answer()
        elif choice > 0.99:
            driven.handle(dice.choice((e.CancelRequested(), e.CancelDelivered())))
        _bounded(driven)
    driven.handle(dice.choice((e.DownstreamClosed(), e.UpstreamClosed(), e.Killed("fuzzed"))))
    recorded = driven.from_agent
    assert len(recorded) == len(sent), f"{len(sent)} bytes sent, {len(recorded)} recorded"
    if b"pass" not in sent.lower():  # what may be a credential is struck out
        assert recorded == sent
    assert all(0 <= mark.position <= len(recorded) for mark in driven.marks)


def _answers(dice: random.Random, server: ModelServer, data: bytes) -> bytes:
    """The model's answers; for what it cannot read, those of a server that gives up."""
    try:
        return server.feed(data)
    except (ValueError, IndexError):
        server.ended = True
        return dice.choice((b"", message("E", b"SFATAL\0VFATAL\0C08P01\0\0"), message("Z", b"I")))


def _bounded(driven: Driven) -> None:
    relay = driven.session._relay
    if relay is not None:
        waiting = sum(map(len, relay._inbox)) + relay._front.waiting
        assert waiting <= LARGEST_WAITING, f"{waiting} bytes wait"
        assert len(relay._names.statements) <= 100


def _handshake(dice: random.Random, world: World) -> None:
    world.certificate = dice.choice((None, b"der"))
    world.tls = dice.choice(("disable", "prefer"))
    driven = Driven(world)
    driven.handle(e.Connected("1", dice.random() < 0.8))
    hello = startup(dice.choice((0, 2, 7)), user="ci-bot", database="orders", **{"_pq_.x": "1"})
    first = dice.choice((b"", SSL_REQUEST, GSS_REQUEST, cancel_request(b"pid4", b"key4")))
    shown = message("p", TOKEN.encode() + b"\0")
    for data in (first, hello, shown, query("select 1")):
        left = mutated(dice, data) if dice.random() < 0.4 else data
        while left and driven.closed is None:
            size = dice.choice((1, 3, len(left)))
            driven.agent(left[:size])
            left = left[size:]
    driven.handle(dice.choice((e.Dialled(), e.DialFailed("no"))))
    if world.tls == "prefer":
        driven.target(dice.choice((b"N", b"S", b"E", b"SN")))
    asked = message("R", b"\0\0\0" + bytes((dice.choice((3, 5, 10, 11, 12)),)) + dice.randbytes(9))
    for data in (asked, GREETING):
        left = mutated(dice, data)
        while left and driven.closed is None:
            size = dice.choice((1, 9, len(left)))
            driven.target(left[:size])
            left = left[size:]
    driven.handle(e.DownstreamClosed())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=sys.maxsize)
    options = parser.parse_args(arguments)
    end = time.monotonic() + options.seconds
    rounds = 0
    while rounds < options.rounds and time.monotonic() < end:
        seed = options.seed + rounds
        try:
            play(seed)
        except Exception:
            traceback.print_exc()
            print(f"failed: --seed {seed} --rounds 1", file=sys.stderr)
            return 1
        rounds += 1
    print(f"{rounds} sessions, seeds {options.seed} to {options.seed + rounds - 1}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
