"""`chaperon init`: a first configuration that works. Overwrites nothing, keeps the password out.

The password goes into a file of mode 0600 that the configuration names; it is never printed.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import typer
from pydantic import ValidationError

from chaperon.cli import starter
from chaperon.cli.deployment import known_protocols
from chaperon.cli.exits import CommandFailed, Exit
from chaperon.cli.output import Style, note, paint, safe, say
from chaperon.config import ListenerConfig, load_config
from chaperon.protocols.probe import TargetAddress
from chaperon.protocols.registry import REGISTRY
from chaperon.secrets import Secret
from chaperon.wire.errors import ConfigError

CONFIG = "chaperon.yaml"
POLICY = "policies/10-read-only.cedar"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    text: str
    mode: int


def run(url: str | None, folder: Path, *, resource: str | None, agent: str, listen: str) -> None:
    """Write the files into `folder` and say what comes next. Raises CommandFailed, ConfigError."""
    config_file = folder / CONFIG
    if config_file.exists():
        raise CommandFailed(
            Exit.FAILED,
            f"{config_file} exists already, and nothing is overwritten.",
            "Write elsewhere with --dir DIR, or move it away.",
        )
    protocol, target = _target(url)
    _check_address(protocol, listen)
    name = _usable(resource or _as_name(target.name), "--resource")
    files = _files(
        folder,
        protocol=protocol,
        target=target,
        resource=name,
        agent=_usable(agent, "--agent"),
        listen=listen,
    )
    for remark in target.notes:
        note(f"{paint('note:', Style.YELLOW, sys.stderr)} {safe(remark)}")
    _write(files)
    config = load_config(config_file, known_protocols())
    say(f"Wrote {', '.join(str(file.path) for file in files)}")
    place = "" if folder == Path() else f" -c {config_file}"
    listener = config.listeners[0]
    say()
    say("Next:")
    say(f"  chaperon doctor{place}")
    say(f"  chaperon serve{place}")
    say(f"  chaperon token create {agent}{place}")
    say()
    say("An agent then connects with the token as its password:")
    say(f"  {protocol_address(protocol, agent, listener.address, name)}")


def protocol_address(protocol: str, agent: str, address: str, resource: str) -> str:
    """How a client addresses `resource`, with TOKEN where the token goes."""
    return f"{REGISTRY[protocol].target.schemes[0]}://{agent}:TOKEN@{address}/{resource}"


def _target(url: str | None) -> tuple[str, TargetAddress]:
    """The protocol that the URL's scheme names, and the target; asked for where not given."""
    interactive = sys.stdin.isatty() and sys.stderr.isatty()
    if url is None:
        if not interactive:
            raise CommandFailed(
                Exit.USAGE,
                "There is no database URL, and no terminal to ask for one.",
                "Give --database-url URL, as in postgresql://app@db.example.org:5432/shop",
            )
        url = _ask("Database URL")
    scheme = url.strip().partition("://")[0]
    protocol = next((name for name, p in REGISTRY.items() if scheme in p.target.schemes), None)
    if protocol is None:
        schemes = ", ".join(f"{s}://" for p in REGISTRY.values() for s in p.target.schemes)
        raise CommandFailed(
            Exit.USAGE,
            "The URL is not of a protocol that Chaperon knows.",
            f"It begins with one of: {schemes}",
        )
    try:
        target = REGISTRY[protocol].target.read_url(url)
    except ConfigError as error:
        what, _, remedy = str(error).partition("\n")
        raise CommandFailed(Exit.USAGE, what, remedy) from None
    if target.password is None and interactive:
        typed = _ask(f"Password of {target.upstream['user']} (empty for none)", hidden=True)
        if typed:
            target = TargetAddress(target.upstream, Secret(typed), target.name, target.notes)
    return protocol, target


def _ask(question: str, *, hidden: bool = False) -> str:
    """Ask on the terminal; where `hidden`, unseen, and empty will do."""
    default = "" if hidden else None
    try:
        return str(typer.prompt(question, default, hide_input=hidden, show_default=False, err=True))
    except typer.Abort:
        note("")
        raise CommandFailed(Exit.INTERRUPTED, "Interrupted.", "Nothing was written.") from None


def _files(
    folder: Path, *, protocol: str, target: TargetAddress, resource: str, agent: str, listen: str
) -> list[_File]:
    files = [_File(folder / POLICY, starter.policy_text(agent=agent, resource=resource), 0o644)]
    secret_file = None
    if target.password is not None:
        secret_file = f"secrets/{resource}.password"
        files.append(_File(folder / "secrets/.gitignore", "*\n", 0o644))
        files.append(_File(folder / secret_file, f"{target.password.reveal()}\n", 0o600))
    text = starter.config_text(
        protocol=protocol,
        listen=listen,
        agent=agent,
        resource=resource,
        upstream=_beside(folder, target.upstream),
        password_file=f"./{secret_file}" if secret_file else None,
    )
    files.append(_File(folder / CONFIG, text, 0o644))  # last: where it is, the rest is
    return files


def _beside(folder: Path, upstream: dict[str, str | int]) -> dict[str, str | int]:
    """Files that the URL names are relative to where the command runs, a configuration's not."""
    return {
        key: str(Path(str(value)).expanduser().absolute())
        if key in ("ca", "certificate", "key") and folder.absolute() != Path.cwd()
        else value
        for key, value in upstream.items()
    }


def _write(files: list[_File]) -> None:
    """Write all, or, where one cannot be written, take back those that were."""
    written: list[Path] = []
    try:
        for file in files:
            _make_folder(file.path.parent)
            descriptor = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
            written.append(file.path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(file.text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            what = f"{error.filename} exists already, and nothing is overwritten."
            raise CommandFailed(
                Exit.FAILED, what, "Write elsewhere with --dir DIR, or move it away."
            ) from None
        raise CommandFailed(
            Exit.FAILED,
            f"{error.filename} cannot be written: {error.strerror}.",
            "Give --dir a folder that you may write into. Nothing was left behind.",
        ) from None


def _make_folder(folder: Path) -> None:
    mode = 0o700 if folder.name == "secrets" else 0o755
    folder.mkdir(mode=mode, parents=True, exist_ok=True)


def _as_name(text: str) -> str:
    """A usable resource name near to `text`, which is the target's own."""
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", text).lstrip("._@-")[:63] or "database"


def _check_address(protocol: str, listen: str) -> None:
    try:
        ListenerConfig(protocol=protocol, address=listen)
    except ValidationError as error:
        why = error.errors()[0].get("ctx", {})
        raise CommandFailed(
            Exit.USAGE, f"--listen: {why.get('text', error)}", str(why.get("remedy", ""))
        ) from None


def _usable(name: str, option: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise CommandFailed(
            Exit.USAGE,
            f"{option}: {name!r} is not a usable name.",
            "Use letters, digits, . _ - and @, beginning with a letter or digit.",
        )
    return name
