"""`chaperon doctor`: tries what the gateway will need, and for each thing amiss says what to do.

Changes nothing but for making the data folder. Exit code 1 where a finding is a failure.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chaperon._core import FRAME_HEADER, Spool, read_frame
from chaperon.api.address import socket_path
from chaperon.api.client import ControlClient
from chaperon.api.errors import ApiError, Code
from chaperon.api.values import Json
from chaperon.cli.deployment import configuration
from chaperon.cli.exits import Exit
from chaperon.cli.output import Style, brief_size, paint, print_json, safe, say
from chaperon.cli.policy_findings import examine
from chaperon.config import Config, ListenerConfig, open_data_folder
from chaperon.protocols.probe import Finding, Level
from chaperon.protocols.registry import REGISTRY
from chaperon.wire.errors import ConfigError

_STYLE = {Level.OK: Style.GREEN, Level.WARN: Style.YELLOW, Level.FAIL: Style.RED}
_PROBE_KIND, _PROBE_PAYLOAD = 1, b"chaperon doctor"


def run(given: Path | None, *, json: bool) -> None:
    """Print every finding as it comes. Raises SystemExit with the exit code."""
    found: list[Finding] = []
    for finding in _findings(given):
        found.append(finding)
        if not json:
            _print(finding)
    failed = sum(finding.level is Level.FAIL for finding in found)
    warned = sum(finding.level is Level.WARN for finding in found)
    if json:
        print_json({"ok": not failed, "findings": [_as_json(finding) for finding in found]})
    else:
        say()
        say(f"{failed} failed, {warned} to look at." if failed or warned else "All is well.")
    raise SystemExit(Exit.FAILED if failed else Exit.OK)


def _findings(given: Path | None) -> Iterator[Finding]:
    try:
        config = configuration(given)
    except ConfigError as error:
        yield _failed("configuration", error)
        return
    yield Finding(Level.OK, "configuration", str(config.path))
    yield from _data_folder(config)
    yield from examine(config)
    running = _gateway(config)
    yield running[0]
    for listener in config.listeners:
        yield _listener(listener, ours=running[1])
    if not config.resources:
        yield Finding(Level.WARN, "resources", "there are none", "Add one under `resources:`.")
    for name, resource in config.resources.items():
        yield from asyncio.run(_probed(name, config))
        if not any(item.protocol == resource.protocol for item in config.listeners):
            yield Finding(
                Level.WARN,
                name,
                f"no listener speaks {resource.protocol}",
                "Add one under `listeners:`.",
            )


async def _probed(name: str, config: Config) -> list[Finding]:
    resource = config.resources[name]
    return await REGISTRY[resource.protocol].target.probe(name, resource.upstream)


def _data_folder(config: Config) -> Iterator[Finding]:
    try:
        folder = open_data_folder(config.data)
        numbers = os.statvfs(folder)
    except ConfigError as error:
        yield _failed("data folder", error)
        return
    except OSError as error:
        yield Finding(Level.FAIL, "data folder", f"{config.data}: {error.strerror}", "Mount it.")
        return
    free, reserve = numbers.f_bavail * numbers.f_frsize, config.recording.reserve
    room = f"{folder}: {brief_size(free)} free, reserve {brief_size(reserve)}"
    if free <= reserve:
        remedy = "Make room, or lower recording.reserve: below it the gateway refuses sessions."
        yield Finding(Level.FAIL, "data folder", room, remedy)
    elif free < 2 * reserve:
        remedy = "Make room soon: at the reserve the gateway ends sessions."
        yield Finding(Level.WARN, "data folder", room, remedy)
    else:
        yield Finding(Level.OK, "data folder", room)
    yield _spool(folder)


def _spool(folder: Path) -> Finding:
    """Write a frame the way a recording is written, and read it back from the disk."""
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as scratch:
            path = Path(scratch) / "probe.rec"
            header = b"\x00" * FRAME_HEADER
            spool = Spool(str(path), header, 64 * 1024, 64 * 1024)
            spool.append(_PROBE_KIND, 0, _PROBE_PAYLOAD)
            spool.sync()
            spool.close()
            frame = read_frame(path.read_bytes(), len(header))
            payload = path.read_bytes()[frame[6] : frame[7]] if frame else b""
    except (OSError, ValueError) as error:
        text = f"a recording cannot be written in {folder}: {error}"
        return Finding(Level.FAIL, "spool", text, "Use a local file system with fallocate.")
    if payload != _PROBE_PAYLOAD:
        text = f"what is written in {folder} does not read back the same"
        return Finding(Level.FAIL, "spool", text, "Do not use this file system; check the disk.")
    return Finding(Level.OK, "spool", "written, synced, read back")


def _gateway(config: Config) -> tuple[Finding, frozenset[str]]:
    """Whether a gateway runs on the data folder, and the addresses that are then its own."""
    path = socket_path(config.data)
    try:
        with ControlClient(path) as client:
            status = client.call("status", {})
    except ApiError as error:
        if error.code is Code.NOT_RUNNING:
            return Finding(Level.OK, "gateway", "not running"), frozenset()
        return Finding(Level.FAIL, "gateway", error.message, error.remedy), frozenset()
    listeners = status.get("listeners") if isinstance(status, dict) else None
    own = frozenset(map(str, listeners)) if isinstance(listeners, list) else frozenset()
    version = status.get("version") if isinstance(status, dict) else "?"
    return Finding(Level.OK, "gateway", f"running, version {version}, answers on {path}"), own


def _listener(listener: ListenerConfig, *, ours: frozenset[str]) -> Finding:
    subject = f"listener {listener.address}"
    secured = "with TLS" if listener.tls else "without TLS"
    if listener.address in ours:
        return Finding(Level.OK, subject, f"{listener.protocol}, {secured}, the gateway's own")
    try:
        family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listener.host, listener.port))
    except OSError as error:
        remedy = "Stop what listens there, or choose another port." if error.errno == 98 else ""
        remedy = remedy or "Choose an address of this machine, and a port that you may use."
        text = f"cannot be bound: {error.strerror or error}"
        return Finding(Level.FAIL, subject, text, remedy)
    return Finding(Level.OK, subject, f"{listener.protocol}, {secured}, free")


def _failed(subject: str, error: ConfigError) -> Finding:
    what, _, remedy = str(error).partition("\n")
    return Finding(Level.FAIL, subject, what, remedy)


def _as_json(finding: Finding) -> Json:
    return {
        "level": finding.level.value,
        "subject": finding.subject,
        "text": finding.text,
        "remedy": finding.remedy,
    }


def _print(finding: Finding) -> None:
    level = paint(f"{finding.level.value:<4}", _STYLE[finding.level])
    say(f"{level}  {finding.subject}: {safe(finding.text)}")
    if finding.remedy:
        for line in finding.remedy.splitlines():
            say(f"      {safe(line)}")
