"""Session-scoped real servers. No test is skipped for want of one: what lacks is an error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.servers import PostgresServer, start_15_tls, start_18


@pytest.fixture(scope="session")
def pg18() -> Iterator[PostgresServer]:
    """PostgreSQL 18 out of PyPI, no TLS."""
    server = start_18()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def pg15_tls() -> Iterator[PostgresServer]:
    """PostgreSQL 15 of Debian with TLS; `authority` made its certificates."""
    server = start_15_tls()
    yield server
    server.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was not run although nothing failed, whatever the verbosity."""
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.write_line(f"NOT RUN {report.nodeid}: {reason}", yellow=True)
