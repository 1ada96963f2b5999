"""Hot reload: a good set takes over, a broken, empty or vanished one never does."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from tests.support.policies import NAMES, NO_UNBOUNDED, READ_ORDERS, SCHEMA, question

from chaperon.policy.reload import Policies
from chaperon.wire.errors import ConfigError
from chaperon.wire.permit import Denial, Permit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "policies"
    path.mkdir()
    (path / "a.cedar").write_text(READ_ORDERS)
    return path


def tick(policies: Policies, times: int = 3) -> bool:
    """What `times` ticks say, each after the last one's work is done."""
    changed = False
    for _ in range(times):
        changed |= policies.tick()
        deadline = time.monotonic() + 20
        while policies._worker is not None and policies._worker.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.005)
    return changed


def test_a_good_change_comes_into_force(folder: Path) -> None:
    policies = Policies(folder, SCHEMA, NAMES)
    first = policies.current
    assert not tick(policies)
    assert policies.current is first
    (folder / "b.cedar").write_text('@id("no") forbid (principal, action, resource);')
    assert tick(policies)
    assert isinstance(policies.current.decide(question("sql.read")), Denial)
    assert isinstance(first.decide(question("sql.read")), Permit)
    assert policies.status.policies == 2
    assert policies.status.hash == policies.current.hash != first.hash
    assert not tick(policies)


def test_a_broken_file_replaces_nothing_and_is_reported(folder: Path) -> None:
    policies = Policies(folder, SCHEMA, NAMES)
    first = policies.current
    (folder / "a.cedar").write_text(READ_ORDERS + "\nforbid (")
    assert not tick(policies)
    assert policies.current is first
    assert policies.status.hash == first.hash
    assert policies.status.error is not None
    assert f"{folder}/a.cedar:9" in policies.status.error
    reported = policies.status.error_ns
    assert not tick(policies)
    assert policies.status.error_ns == reported
    (folder / "a.cedar").write_text(READ_ORDERS + NO_UNBOUNDED)
    assert tick(policies)
    assert policies.status.error is None


def test_going_back_to_the_old_text_clears_the_error(folder: Path) -> None:
    policies = Policies(folder, SCHEMA, NAMES)
    (folder / "a.cedar").write_text("nonsense")
    assert not tick(policies)
    (folder / "a.cedar").write_text(READ_ORDERS)
    assert not tick(policies)  # the same policies: nobody has to forget anything
    assert policies.status.error is None


def test_an_empty_or_vanished_folder_replaces_nothing(folder: Path) -> None:
    policies = Policies(folder, SCHEMA, NAMES)
    first = policies.current
    aside = folder.with_name("aside")
    folder.rename(aside)
    assert not tick(policies)
    assert "cannot be read" in str(policies.status.error)
    aside.rename(folder)
    assert not tick(policies)
    assert policies.status.error is None
    os.unlink(folder / "a.cedar")
    assert not tick(policies)
    assert "everything would be denied" in str(policies.status.error)
    assert policies.current is first


def test_a_file_that_is_still_being_written_is_not_read(folder: Path) -> None:
    policies = Policies(folder, SCHEMA, NAMES)
    forbid = '@id("no") forbid (principal, action, resource);'
    changing = folder / "a.cedar"
    for length in (len(READ_ORDERS) + 1, len(READ_ORDERS) + 2):  # another look each tick
        changing.write_text((READ_ORDERS + "  " + forbid)[:length])
        assert not policies.tick()
        assert policies._worker is None
    changing.write_text(READ_ORDERS + "  " + forbid)
    assert tick(policies)
    assert len(policies.current.policies) == 2


def test_text_that_crashes_cedar_leaves_the_gateway_up(folder: Path) -> None:
    policies = Policies(folder, SCHEMA, NAMES)
    deep = "(" * 5000 + "true" + ")" * 5000
    (folder / "b.cedar").write_text(
        f'@id("deep") permit (principal, action, resource) when {{ {deep} }};'
    )
    assert not tick(policies)
    assert "crashes Cedar" in str(policies.status.error)
    assert isinstance(policies.current.decide(question("sql.read")), Permit)


def test_swap_by_symlink_is_seen(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    policies = Policies(link, SCHEMA, NAMES)
    second = tmp_path / "second"
    shutil.copytree(folder, second)
    (second / "b.cedar").write_text(NO_UNBOUNDED)
    fresh = tmp_path / "fresh"
    fresh.symlink_to(second)
    fresh.replace(link)
    assert tick(policies)
    assert len(policies.current.policies) == 2


def test_a_broken_folder_at_the_start_is_an_error(folder: Path) -> None:
    (folder / "a.cedar").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"a\.cedar:1"):
        Policies(folder, SCHEMA, NAMES)
