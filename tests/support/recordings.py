"""Frames by hand: for tests that need a recording and no server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chaperon._core import FRAME_HEADER
from chaperon.recording.frame import (
    Frame,
    Json,
    Kind,
    encode_frame,
    file_header,
    full_decision,
    json_payload,
    new_session_id,
    repeated_decision,
)
from chaperon.wire.commands import Direction

WALL = 1_790_000_000_000_000_000
META: dict[str, Json] = {
    "protocol": "postgres",
    "principal": "ci-bot",
    "resource": "orders",
    "peer": "127.0.0.1:9",
    "policy_hash": "abc",
}


def message(tag: bytes, payload: bytes = b"") -> bytes:
    """A PostgreSQL message."""
    return tag + (len(payload) + 4).to_bytes(4, "big") + payload


def query(text: str) -> bytes:
    return message(b"Q", text.encode() + b"\0")


def parse(text: str, name: str = "") -> bytes:
    return message(b"P", name.encode() + b"\0" + text.encode() + b"\0\0\0")


def bind(*values: bytes | None, name: str = "", portal: str = "") -> bytes:
    body = portal.encode() + b"\0" + name.encode() + b"\0\0\0" + len(values).to_bytes(2, "big")
    for value in values:
        body += b"\xff" * 4 if value is None else len(value).to_bytes(4, "big") + value
    return message(b"B", body + b"\0\0")


def execute(portal: str = "", limit: int = 0) -> bytes:
    return message(b"E", portal.encode() + b"\0" + limit.to_bytes(4, "big"))


SYNC = message(b"S")
PARSED, BOUND, CLOSED, NO_DATA = (message(tag) for tag in (b"1", b"2", b"3", b"n"))


def row(*values: bytes | None) -> bytes:
    body = len(values).to_bytes(2, "big")
    for value in values:
        body += b"\xff" * 4 if value is None else len(value).to_bytes(4, "big") + value
    return message(b"D", body)


def described(*names: str, oid: int = 25, format_: int = 0) -> bytes:
    body = len(names).to_bytes(2, "big")
    for name in names:
        body += name.encode() + b"\0" + b"\0" * 6 + oid.to_bytes(4, "big") + b"\0\4"
        body += b"\xff" * 4 + format_.to_bytes(2, "big")
    return message(b"T", body)


def complete(tag: str) -> bytes:
    return message(b"C", tag.encode() + b"\0")


def ready(status: bytes = b"I") -> bytes:
    return message(b"Z", status)


def error(code: str, text: str, hint: str = "") -> bytes:
    body = b"SERROR\0C" + code.encode() + b"\0M" + text.encode() + b"\0"
    return message(b"E", body + (b"H" + hint.encode() + b"\0" if hint else b"") + b"\0")


class Frames:
    """Builds a recording frame by frame; every frame is a millisecond after the one before."""

    def __init__(self, meta: dict[str, Json] | None = None) -> None:
        self.session = new_session_id()
        self.list: list[Frame] = []
        self.position = 0
        self._offset = 32
        self.add(Kind.META, json_payload({"session": self.session, **(meta or META)}))

    def add(self, kind: int, payload: bytes, direction: int = 0) -> int:
        sequence = len(self.list)
        self.list.append(
            Frame(
                kind,
                direction,
                0,
                sequence,
                1_000_000 * sequence,
                WALL + 1_000_000 * sequence,
                payload,
                self._offset,
            )
        )
        self._offset += FRAME_HEADER + len(payload) + 4
        return sequence

    def agent(self, *messages: bytes) -> Frames:
        data = b"".join(messages)
        self.add(Kind.DATA, data, Direction.FROM_AGENT)
        self.position += len(data)
        return self

    def target(self, *messages: bytes) -> Frames:
        self.add(Kind.DATA, b"".join(messages), Direction.TO_AGENT)
        return self

    def decide(self, evidence: bytes, ahead: int = 0) -> int:
        """A decision on the message `ahead` bytes behind what the agent has sent so far."""
        return self.add(Kind.DECISION, full_decision(self.position + ahead, evidence))

    def again(self, sequence: int, ahead: int = 0) -> Frames:
        self.add(Kind.DECISION, repeated_decision(self.position + ahead, sequence))
        return self

    def close(self, reason: str = "done") -> Frames:
        self.add(Kind.CLOSE, json_payload({"reason": reason}))
        return self

    def bytes(self) -> bytes:
        return file_header(self.session) + b"".join(encoded(frame) for frame in self.list)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.session}.rec"
        path.write_bytes(self.bytes())
        return path


def encoded(frame: Frame) -> bytes:
    return encode_frame(
        frame.kind,
        frame.direction,
        frame.payload,
        sequence=frame.sequence,
        mono_ns=frame.mono_ns,
        wall_ns=frame.wall_ns,
    )


def recut(frames: Iterable[Frame], size: int) -> list[Frame]:
    """The same conversation with its DATA in pieces of `size` bytes."""
    cut: list[Frame] = []
    for frame in frames:
        if frame.kind != Kind.DATA or len(frame.payload) <= size:
            cut.append(frame)
            continue
        cut += [
            frame._replace(payload=frame.payload[at : at + size])
            for at in range(0, len(frame.payload), size)
        ]
    return cut
