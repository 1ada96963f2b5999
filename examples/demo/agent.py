"""The demo's agent: what a CI job or an assistant does with a database, with stock clients only.

It is told an address with a token (DATABASE_URL), psql's place (PSQL), and where to write what
happened (REPORT, a JSON file). It knows nothing of the gateway and holds no other secret.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg

REPEATS = 200
COPIED = 250
_MARK = "--- end of step ---"
_INDENT = "      "
_ASKS = "program> "


@dataclass(slots=True)
class Step:
    """What came of one step. `sqlstate` and `policy` are empty where nothing was refused."""

    name: str
    output: str = ""
    sqlstate: str = ""
    policy: str = ""
    values: dict[str, int | str] = field(default_factory=dict)


class Report:
    """The steps taken, in order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def begin(self, name: str, why: str) -> Step:
        """Tell what comes now."""
        print(f"\n  {len(self.steps) + 1}. {why}")
        step = Step(name)
        self.steps.append(step)
        return step

    def write(self, path: Path) -> None:
        path.write_text(json.dumps([asdict(step) for step in self.steps]))


class Psql:
    """One psql, spoken to through its standard input, as a script or an assistant does."""

    def __init__(self, program: str, url: str) -> None:
        self._process = subprocess.Popen(
            [program, "-X", "-v", "VERBOSITY=verbose", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )

    def run(self, text: str) -> str:
        """Run one statement or psql command; what psql prints."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("psql has no pipes")
        try:
            self._process.stdin.write(f"{text}\n\\warn {_MARK}\n")
        except BrokenPipeError:
            return self._process.stdout.read()
        lines: list[str] = []
        for line in self._process.stdout:
            if line.rstrip("\n") == _MARK:
                break
            lines.append(line)
        return "".join(lines).rstrip()

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(30)


def by_psql(report: Report, program: str, url: str) -> None:
    """The first session: what a person or an assistant would type."""
    psql = Psql(program, url)

    def step(name: str, why: str, statement: str) -> None:
        taken = report.begin(name, why)
        shown(f"shop=> {statement}")
        taken.output = psql.run(statement)
        shown(taken.output)
        error = re.search(r"^ERROR:  (\w{5}):", taken.output, re.MULTILINE)
        taken.sqlstate = error[1] if error else ""
        taken.policy = policy_of(taken.output)

    step(
        "read",
        "It reads. This is allowed. (Masking of card numbers is for a later release.)",
        "SELECT name, email, card FROM customers ORDER BY id LIMIT 3;",
    )
    step("delete-all", "It forgets the WHERE clause. This is refused.", "DELETE FROM orders;")
    step(
        "delete-hidden",
        "It hides the same DELETE inside of a SELECT. This is refused, too.",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM gone;",
    )
    step(
        "delete-one",
        "It has read the error, and does better. This is allowed.",
        "DELETE FROM orders WHERE id = 3;",
    )
    step("drop", "It tries to drop a table. This is refused.", "DROP TABLE customers;")
    step(
        "salaries",
        "It looks into a table that is not its business. This is refused.",
        "SELECT employee, amount FROM salaries;",
    )
    step(
        "copy-out",
        "It exports with COPY. This is allowed.",
        r"\copy (SELECT id, item, amount FROM orders WHERE amount > 98) TO 'large.csv' CSV",
    )
    psql.close()


def by_driver(report: Report, url: str) -> None:
    """The second session: a program with a Python driver."""
    with psycopg.connect(url, autocommit=True) as db:
        copy_in(report, db)
        prepared(report, db)
        pipelined(report, db)
        in_transaction(report, db)


Db = psycopg.Connection[tuple[object, ...]]


def copy_in(report: Report, db: Db) -> None:
    step = report.begin("copy-in", f"It loads {COPIED} rows with COPY … FROM STDIN.")
    with db.cursor() as cursor:
        statement = "COPY orders (customer_id, item, amount, status) FROM STDIN"
        shown(f"{_ASKS}{statement}")
        with cursor.copy(statement) as copy:
            for number in range(COPIED):
                copy.write_row((1 + number % 6, "notebook", 4.5, "new"))
        step.values["rows"] = cursor.rowcount
    shown(f"{step.values['rows']} rows loaded")


def prepared(report: Report, db: Db) -> None:
    step = report.begin("prepared", f"It prepares a statement, and executes it {REPEATS} times.")
    statement = "SELECT count(*), sum(amount) FROM orders WHERE customer_id = %s AND id <= %s"
    shown(f"{_ASKS}{statement}")
    answered, last = 0, (0, 0)
    for number in range(REPEATS):
        row = db.execute(statement, (1 + number % 6, 500), prepare=True).fetchone()
        if row is not None:
            answered += 1
            last = (int(str(row[0])), int(float(str(row[1]))))
    step.values["answers"] = answered
    step.values["prepared"] = len(
        db.execute("SELECT name FROM pg_catalog.pg_prepared_statements").fetchall()
    )
    shown(f"{answered} answers, the last: {last[0]} orders worth {last[1]}")


def pipelined(report: Report, db: Db) -> None:
    step = report.begin("pipeline", "It sends three statements at once, without waiting between.")
    with db.pipeline():
        made = db.execute(
            "INSERT INTO orders (customer_id, item, amount, status) "
            "VALUES (%s, %s, %s, 'new') RETURNING id",
            (2, "stapler", 7.25),
        )
        paid = db.execute("UPDATE orders SET status = 'paid' WHERE item = %s", ("stapler",))
        seen = db.execute("SELECT item, amount, status FROM orders WHERE item = %s", ("stapler",))
    row, written = seen.fetchone(), made.fetchone()
    shown(f"{_ASKS}INSERT …; UPDATE …; SELECT …")
    shown(f"inserted {made.rowcount}, updated {paid.rowcount}, read {row}")
    step.values = {
        "inserted": made.rowcount,
        "updated": paid.rowcount,
        "status": str(row[2]) if row else "",
        "id": int(str(written[0])) if written else 0,
    }


def in_transaction(report: Report, db: Db) -> None:
    step = report.begin(
        "transaction",
        "In a transaction, a refusal is an error like the server's own: all of it is rolled back.",
    )

    def attempt(statement: str) -> str:
        shown(f"{_ASKS}{statement}")
        try:
            shown(db.execute(statement).statusmessage or "")
        except psycopg.Error as error:
            shown(f"{error.sqlstate}: {error.diag.message_primary}")
            if error.sqlstate == "42501":
                step.sqlstate = error.sqlstate
                step.policy = policy_of(error.diag.message_detail or "")
            return error.sqlstate or ""
        return ""

    attempt("BEGIN")
    attempt("UPDATE orders SET amount = 0 WHERE id = 1")
    attempt("DELETE FROM orders")
    step.values["after"] = attempt("SELECT 1")
    step.values["ended"] = db.execute("COMMIT").statusmessage or ""
    shown(f"{_ASKS}COMMIT\n{step.values['ended']}")


def policy_of(text: str) -> str:
    """The id of the policy that a refusal names; empty where it names none."""
    found = re.search(r"Refused by policy '([^']+)'", text)
    return found[1] if found else ""


def shown(text: str) -> None:
    for line in text.splitlines():
        print(f"{_INDENT}{line}", flush=True)


@contextmanager
def told(report: Report, path: Path) -> Iterator[None]:
    """Write the report however it ends."""
    try:
        yield
    finally:
        report.write(path)


def main(environment: Callable[[str], str]) -> int:
    report = Report()
    with told(report, Path(environment("REPORT"))):
        url = environment("DATABASE_URL")
        by_psql(report, environment("PSQL"), url)
        by_driver(report, url)
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ.__getitem__))
