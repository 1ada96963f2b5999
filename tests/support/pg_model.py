"""A small PostgreSQL in memory, which answers as the real one does in the order of messages.

Invariant: pure and deterministic, so that what an agent sees through a session can be compared with
what it would see directly. Source: PostgreSQL 18 manual, "Message Flow".
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.pg_wire import message, messages

_SETTINGS = {
    "search_path": '"$user", public',
    "role": "none",
    "session_authorization": "app",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
}
_NAME = 63


def _error(code: str) -> bytes:
    return message("E", f"SERROR\0VERROR\0C{code}\0Mno\0\0".encode())


def _row(value: str) -> bytes:
    raw = value.encode()
    return message("D", struct.pack("!Hi", 1, len(raw)) + raw)


def _complete(tag: str) -> bytes:
    return message("C", tag.encode() + b"\0")


_COLUMNS = message("T", struct.pack("!H", 1) + b"x\0" + struct.pack("!IHIhiH", 0, 0, 25, -1, -1, 0))


class Refused(Exception):
    """A statement fails; `code` is its SQLSTATE."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _nothing(_text: str) -> bool:
    return False


@dataclass(slots=True)
class ModelServer:
    """One session of the server. `denied` makes a statement fail, as a server's own rule would.

    `executed` is every statement that ran to its end, in order.
    """

    denied: Callable[[str], bool] = _nothing
    executed: list[str] = field(default_factory=list)
    status: str = "I"
    _statements: dict[str, str] = field(default_factory=dict)
    _portals: dict[str, str] = field(default_factory=dict)
    _settings: dict[str, str] = field(default_factory=lambda: dict(_SETTINGS))
    _skipping: bool = False
    _copy: str = ""
    _buffer: bytes = b""
    ended: bool = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes, give the answers to the messages that they complete."""
        self._buffer += data
        out = b""
        while not self.ended and len(self._buffer) >= 5:
            size = 1 + int.from_bytes(self._buffer[1:5], "big")
            if len(self._buffer) < size:
                break
            ((tag, payload),) = messages(self._buffer[:size])
            self._buffer = self._buffer[size:]
            out += self._one(tag, payload)
        return out

    def _one(self, tag: str, payload: bytes) -> bytes:
        if tag == "X":
            self.ended = True
            return b""
        if self._copy:
            return self._copying(tag)
        if self._skipping and tag != "S":
            return b""
        try:
            match tag:
                case "Q":
                    return self._simple(payload[:-1].decode())
                case "F":
                    raise Refused("42501")
                case "S":
                    self._skipping = False
                    return self._ready()
                case "P" | "B" | "E" | "D" | "C":
                    return self._extended(tag, payload)
                case _:
                    return b""  # Flush, and COPY data that comes too late
        except Refused as refused:
            if self.status == "T":
                self.status = "E"
            error = _error(refused.code)
            if tag in "QF":
                return error + self._ready()
            self._skipping = True
            return error

    def _ready(self) -> bytes:
        if self.status == "I":
            self._portals.clear()
        return message("Z", self.status.encode())

    def _simple(self, text: str) -> bytes:
        parts = [part.strip() for part in text.split(";") if part.strip()]
        if any(_broken(part) for part in parts):
            raise Refused("42601")
        if any(self.denied(part) for part in parts):
            raise Refused("42501")
        out = b"" if parts else message("I")
        for part in parts:
            try:
                answer = self._run(part, describe=True)
            except Refused as refused:
                if self.status == "T":
                    self.status = "E"
                return out + _error(refused.code) + self._ready()
            out += answer
            if self._copy:
                self._copy = "simple"
                return out
        return out + self._ready()

    def _extended(self, tag: str, payload: bytes) -> bytes:
        strings = payload.split(b"\0")
        if tag == "P":
            name, text = strings[0].decode()[:_NAME], strings[1].decode()
            if self.denied(text):
                raise Refused("42501")
            if _broken(text):
                raise Refused("42601")
            if self.status == "E" and not _exits(text):
                raise Refused("25P02")
            if name and name in self._statements:
                raise Refused("42P05")
            self._statements[name] = text
            return message("1")
        if tag == "B":
            portal, name = strings[0].decode()[:_NAME], strings[1].decode()[:_NAME]
            text = self._statements.get(name, "")
            if name not in self._statements:
                raise Refused("26000")
            if self.status == "E" and not _exits(text):
                raise Refused("25P02")
            if portal and portal in self._portals:
                raise Refused("42P03")
            self._portals[portal] = text
            return message("2")
        if tag == "E":
            portal = strings[0].decode()[:_NAME]
            if portal not in self._portals:
                raise Refused("34000")
            answer = self._run(self._portals[portal], describe=False)
            self._copy = "extended" if self._copy else ""
            return answer
        kind, name = chr(payload[0]), strings[0][1:].decode()[:_NAME]
        table = self._statements if kind == "S" else self._portals
        if tag == "C":
            table.pop(name, None)
            return message("3")
        if name not in table:
            raise Refused("26000" if kind == "S" else "34000")
        parameters = message("t", struct.pack("!H", 0)) if kind == "S" else b""
        rows = re.match(r"select|show|fetch", table[name], re.IGNORECASE)
        return parameters + (_COLUMNS if rows else message("n"))

    def _copying(self, tag: str) -> bytes:
        if tag in "dSH":
            return b""
        mode, self._copy = self._copy, ""
        if tag == "c":
            self.executed.append("copied")
            return _complete("COPY 1") + (self._ready() if mode == "simple" else b"")
        if self.status == "T":
            self.status = "E"
        if mode == "simple":
            return _error("57014") + self._ready()
        self._skipping = True
        return _error("57014")

    def _run(self, text: str, *, describe: bool) -> bytes:
        words = text.lower().split()
        if self.status == "E" and not _exits(text):
            raise Refused("25P02")
        if not words:
            return message("I")
        answer = self._statement(text, words, describe)
        self.executed.append(text)
        return answer

    def _statement(self, text: str, words: list[str], describe: bool) -> bytes:
        match words:
            case ["begin", *_]:
                self.status = "T"
                return _complete("BEGIN")
            case ["rollback", "to", *_]:
                if self.status == "I":
                    raise Refused("25P01")
                self.status = "T"
                return _complete("ROLLBACK")
            case ["commit" | "rollback" as word, *_]:
                failed = self.status == "E"
                self.status = "I"
                return _complete("ROLLBACK" if failed else word.upper())
            case ["savepoint", *_]:
                if self.status == "I":
                    raise Refused("25P01")
                return _complete("SAVEPOINT")
            case ["set", name, "=", value] | ["set", name, "to", value]:
                self._settings[name] = value
                reported = name in ("client_encoding", "standard_conforming_strings")
                status = message("S", f"{name}\0{value}\0".encode()) if reported else b""
                return _complete("SET") + status
            case ["show", name]:
                if name not in self._settings:
                    raise Refused("42704")
                value = _row(self._settings[name])
                return (_COLUMNS if describe else b"") + value + _complete("SHOW")
            case ["prepare", name, "as", *_]:
                if name in self._statements:
                    raise Refused("42P05")
                self._statements[name] = text.lower().split(" as ", 1)[1]
                return _complete("PREPARE")
            case ["execute", name]:
                if name not in self._statements:
                    raise Refused("26000")
                if self._statements[name].lower().startswith("execute"):
                    raise Refused("54001")
                return self._statement(
                    self._statements[name], self._statements[name].split(), describe
                )
            case ["deallocate", "all"]:
                self._statements.clear()
                return _complete("DEALLOCATE ALL")
            case ["deallocate", name]:
                if self._statements.pop(name, None) is None:
                    raise Refused("26000")
                return _complete("DEALLOCATE")
            case ["copy", _, "from", *_]:
                self._copy = "?"
                return message("G", b"\0\0\0")
            case ["copy", *_]:
                data = message("d", b"1\n") + message("d", b"2\n") + message("c")
                return message("H", b"\0\0\0") + data + _complete("COPY 2")
            case ["insert", *_]:
                return _complete("INSERT 0 1")
            case ["delete", *_]:
                return _complete("DELETE 1")
            case ["select", *_] if "1/0" in text:
                raise Refused("22012")
            case ["select", "c.relname", *_]:
                return (_COLUMNS if describe else b"") + _complete("SELECT 0")
            case ["select", *_]:
                return (_COLUMNS if describe else b"") + _row(text) + _complete("SELECT 1")
            case _:
                raise Refused("42601")


def _broken(text: str) -> bool:
    return text in ("no sql", "denied by chaperon")


def _exits(text: str) -> bool:
    return text.lower().split()[:1] in (["rollback"], ["commit"])
