"""Keeps the versions and checksums of Cargo.lock in a file that names no registry.

`save` writes rust/pins.lock: Cargo.lock without its `source` lines. `restore` writes Cargo.lock
from it, with the source that cargo itself gives on this machine, so that `cargo build --locked`
checks every version and checksum. Invariant: a package has a checksum in the pins exactly when it
comes from the registry.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

RUST = Path(__file__).resolve().parent.parent / "rust"


class PinsError(Exception):
    """The lock file, the pins or cargo's answer is not usable; the text says what to do."""


def strip(lock: str) -> str:
    """A Cargo.lock without its sources. Raises PinsError where a source has no checksum to it."""
    for package in lock.split("[[package]]")[1:]:
        fields = _fields(package)
        if ("source" in fields) != ("checksum" in fields):
            raise PinsError(
                f"package {fields.get('name')} comes from no registry (a git dependency?): "
                "only packages with a checksum can be pinned"
            )
    return "".join(line for line in lock.splitlines(keepends=True) if not _is_source(line))


def insert(pins: str, source: str) -> str:
    """The Cargo.lock of `pins`, with `source` for every package that has a checksum."""
    return "".join(
        f'source = "{source}"\n{line}' if line.startswith("checksum = ") else line
        for line in pins.splitlines(keepends=True)
    )


def source_of(lock: str) -> str:
    """The one source that the packages of `lock` come from."""
    found = {line.split('"')[1] for line in lock.splitlines() if _is_source(line)}
    if len(found) != 1:
        raise PinsError(
            f"cargo names {len(found)} sources for its packages, one is needed: "
            "is a registry configured that cargo can reach?"
        )
    return found.pop()


def _is_source(line: str) -> bool:
    return line.startswith('source = "')


def _fields(package: str) -> dict[str, str]:
    pairs = (line.split(" = ", 1) for line in package.splitlines() if " = " in line)
    return {name: value.strip('"') for name, value in pairs}


def _ask_cargo(rust: Path) -> str:
    """A Cargo.lock as cargo makes it here, in a copy, with whatever versions are newest."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "rust"
        ignored = shutil.ignore_patterns("target", "fuzz", "Cargo.lock")
        shutil.copytree(rust, copy, ignore=ignored)
        try:
            subprocess.run(
                ["cargo", "generate-lockfile", "--quiet"],
                cwd=copy,
                check=True,
                capture_output=True,
                text=True,
            )
        except FileNotFoundError as error:
            raise PinsError("cargo is not installed: install a Rust toolchain") from error
        except subprocess.CalledProcessError as error:
            raise PinsError(f"cargo generate-lockfile failed:\n{error.stderr.strip()}") from error
        return (copy / "Cargo.lock").read_text()


def save(rust: Path) -> None:
    """Write pins.lock from Cargo.lock."""
    lock = rust / "Cargo.lock"
    if not lock.exists():
        raise PinsError(f"{lock} is missing: build first, or run `cargo update` in {rust}")
    (rust / "pins.lock").write_text(strip(lock.read_text()))


def restore(rust: Path) -> None:
    """Write Cargo.lock from pins.lock; leaves one that holds the same versions alone."""
    pins = rust / "pins.lock"
    if not pins.exists():
        raise PinsError(f"{pins} is missing: it belongs to the repository")
    lock = rust / "Cargo.lock"
    text = pins.read_text()
    if lock.exists() and strip(lock.read_text()) == text:
        return
    lock.write_text(insert(text, source_of(_ask_cargo(rust))))


def main() -> int:
    """Entry: 0 done, 1 not possible."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("save", "restore"))
    action = {"save": save, "restore": restore}[parser.parse_args().action]
    try:
        action(RUST)
    except PinsError as error:
        print(f"cargo_pins: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
