"""pgbench in its three modes and with pipelines: prints what was done, never how fast."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from transcript import say, section

PROGRAMS = Path(os.environ["PG_PROGRAMS"])
PIPELINE = """\\set a random(1, 100000)
\\startpipeline
begin;
select abalance from pgbench_accounts where aid = :a;
update pgbench_accounts set abalance = abalance + 1 where aid = :a;
end;
\\endpipeline
"""
ERRORS = """select 1;
select 1 / 0;
"""


def run(*arguments: str) -> str:
    done = subprocess.run(
        [PROGRAMS / "pgbench", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 2):
        sys.exit(f"pgbench gave {done.returncode}: {done.stderr}")
    return done.stdout + done.stderr


def facts(output: str) -> list[str]:
    """What was processed, and how many failed."""
    return re.findall(r"(?:transactions actually|failed transactions).*|ERROR:.*", output)


def main() -> None:
    section("initialise")
    run("-i", "-s", "1", "-q", "--foreign-keys")
    say("initialised")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pipeline").write_text(PIPELINE)
        (Path(folder) / "errors").write_text(ERRORS)
        for mode in "simple", "extended", "prepared":
            section(mode)
            common = ("-n", "-M", mode, "-c", "3", "-j", "1", "-t", "60")
            say("select", facts(run(*common, "-S")))
            say("tpc-b", facts(run(*common)))
            say("new connection each", facts(run(*common[:-1], "5", "-C", "-S")))
            say("errors", sorted(set(facts(run(*common, "-f", f"{folder}/errors")))))
            if mode != "simple":
                say("pipeline", facts(run(*common, "-f", f"{folder}/pipeline")))


if __name__ == "__main__":
    main()
