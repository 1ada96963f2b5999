"""Pins keep versions and checksums, name no registry, and come back as cargo's own lock file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.cargo_pins import PinsError, insert, restore, save, source_of, strip

_SOURCE = "registry+somewhere/index"
_LOCK = f"""version = 4

[[package]]
name = "ours"
version = "0.1.0"
dependencies = [
 "theirs",
]

[[package]]
name = "theirs"
version = "1.2.3"
source = "{_SOURCE}"
checksum = "00ff"
"""


def test_pins_and_lock_are_inverse() -> None:
    pins = strip(_LOCK)
    assert _SOURCE not in pins
    assert 'checksum = "00ff"' in pins
    assert insert(pins, source_of(_LOCK)) == _LOCK


def test_a_package_without_a_checksum_cannot_be_pinned() -> None:
    with pytest.raises(PinsError, match=r"theirs.*git"):
        strip(_LOCK.replace('checksum = "00ff"\n', ""))


@pytest.mark.parametrize("lock", ["version = 4\n", _LOCK + 'source = "another"\n'])
def test_cargo_must_name_one_source(lock: str) -> None:
    with pytest.raises(PinsError, match="one is needed"):
        source_of(lock)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(PinsError, match=r"Cargo\.lock is missing"):
        save(tmp_path)
    with pytest.raises(PinsError, match=r"pins\.lock is missing"):
        restore(tmp_path)
    (tmp_path / "pins.lock").write_text(strip(_LOCK))
    with pytest.raises(PinsError, match="generate-lockfile failed"):
        restore(tmp_path)


def test_a_lock_with_the_pinned_versions_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "Cargo.lock").write_text(_LOCK)
    save(tmp_path)
    restore(tmp_path)
    assert (tmp_path / "Cargo.lock").read_text() == _LOCK


def test_the_repository_s_pins_name_no_registry() -> None:
    pins = (Path(__file__).resolve().parents[2] / "rust" / "pins.lock").read_text()
    assert "source" not in pins
    assert "://" not in pins
    assert pins.count("checksum = ") > 10
