"""`make bench`: interleaved rounds on one database, ratios with their spread, results as JSON.

    python -m benchmarks.run [--quick] [--only chaperon-write,pgbouncer] [--skip-memory]

Every round visits every contestant in turn, so that a slow minute of the machine is everybody's;
a ratio is taken within its round, and reported as median with minimum and maximum.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.support.servers import DEBIAN_15

from benchmarks.contestants import MAKERS, Contestant, enter, server
from benchmarks.memory import measure

RESULTS = Path(__file__).parent / "results"
ROWS = 500_000
SELECT_ROWS = f"SELECT aid, bid, abalance, filler FROM pgbench_accounts WHERE aid <= {ROWS}"


@dataclass(frozen=True, slots=True)
class Load:
    """One thing to do. `run` gives how much was done, and at which rate a second."""

    name: str
    run: Callable[[Contestant, float], tuple[float, float]]
    per: str


def pgbench(mode: str, clients: int, *, tls: bool, script: str = "-S") -> Load:
    """Transactions a second."""

    def run(contestant: Contestant, seconds: float) -> tuple[float, float]:
        command: list[str | Path] = [
            *(DEBIAN_15 / "pgbench", "-n", "-M", mode, "-c", str(clients), "-j", "1"),
            *("-T", str(max(1, round(seconds))), *([script] if script else [])),
        ]
        variables = contestant.variables(tls=tls)
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        rate = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
        count = re.search(r"actually processed: (\d+)", done.stdout)
        if done.returncode != 0 or rate is None or count is None:
            raise RuntimeError(f"pgbench with {contestant.name}: {done.stdout}{done.stderr}")
        return float(count[1]), float(rate[1])

    kind = "select" if script == "-S" else "tpc-b"
    return Load(f"{kind} {mode} {clients}c{' tls' if tls else ''}", run, "tps")


def rows(*, tls: bool) -> Load:
    """Rows a second of one large SELECT, read by psql to nowhere."""

    def run(contestant: Contestant, seconds: float) -> tuple[float, float]:
        command: list[str | Path] = [
            DEBIAN_15 / "psql",
            "-XAtq",
            "-c",
            SELECT_ROWS,
            "-o",
            "/dev/null",
        ]
        started = time.monotonic()
        subprocess.run(command, env=contestant.variables(tls=tls), check=True, timeout=120)
        return ROWS, ROWS / (time.monotonic() - started)

    return Load(f"{ROWS} rows{' tls' if tls else ''}", run, "rows/s")


def loads() -> list[Load]:
    found = [
        pgbench(mode, clients, tls=tls)
        for tls in (False, True)
        for mode in ("simple", "extended", "prepared")
        for clients in (1, 8)
    ]
    found += [pgbench("simple", 8, tls=False, script=""), rows(tls=False), rows(tls=True)]
    return found


def compete(
    contestants: Sequence[Contestant], load: Load, rounds: int, seconds: float
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """The rate of each contestant in each round, and its own CPU time for each thing done, in µs.

    The second says something on a machine that is busy with other work, too.
    """
    rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    costs: dict[str, list[float]] = {contestant.name: [] for contestant in contestants[1:]}
    for number in range(rounds):
        # Who begins changes, so that nobody always follows the same neighbour's leftovers.
        turn = number % len(contestants)
        for contestant in (*contestants[turn:], *contestants[:turn]):
            before = spent(contestant)
            count, rate = load.run(contestant, seconds)
            rates[contestant.name].append(rate)
            if contestant.name in costs:
                costs[contestant.name].append((spent(contestant) - before) / count * 1e6)
    return rates, costs


def spent(contestant: Contestant) -> float:
    """CPU seconds of a contestant and its children, user and system."""
    process = psutil.Process(contestant.pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def ratios(rates: dict[str, list[float]], name: str, base: str) -> list[float]:
    """`name` against `base`, round by round, sorted."""
    return sorted(a / b for a, b in zip(rates[name], rates[base], strict=True))


def line(load: Load, rates: dict[str, list[float]], costs: dict[str, list[float]]) -> str:
    cells = [f"{load.name:26}"]
    for name, values in rates.items():
        cost = f", {statistics.median(costs[name]):.2f} µs CPU each" if name in costs else ""
        cells.append(f"{name} {statistics.median(values):,.0f} {load.per}{cost}")
    for name in rates:
        for base in ("pgbouncer", "direct"):
            if name in ("direct", base) or base not in rates:
                continue
            found = ratios(rates, name, base)
            middle = statistics.median(found)
            cells.append(f"{name}/{base} {middle:.2f} [{found[0]:.2f}–{found[-1]:.2f}]")
    return "\n    ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmarks of Chaperon against its peers.")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 2 s, scale 10")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--scale", type=int, default=None)
    parser.add_argument("--only", default="pgbouncer,chaperon-write,chaperon-fsync")
    parser.add_argument("--loads", default="", help="a regular expression of the loads to run")
    parser.add_argument("--skip-memory", action="store_true")
    chosen = parser.parse_args()
    rounds = chosen.rounds or (2 if chosen.quick else 5)
    seconds = chosen.seconds or (2.0 if chosen.quick else 4.0)
    scale = chosen.scale or (10 if chosen.quick else 50)
    names = [name for name in chosen.only.split(",") if name]
    if unknown := set(names) - MAKERS.keys():
        parser.error(f"no such contestant: {', '.join(sorted(unknown))}")
    results: dict[str, Any] = {
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "load": os.getloadavg(),
        },
        "settings": {"rounds": rounds, "seconds": seconds, "scale": scale},
        "rates": {},
        "cpu_microseconds": {},
    }
    print(f"PostgreSQL 15, scale {scale}; {rounds} rounds of {seconds:.0f} s each, interleaved")
    with ExitStack() as stack:
        target = server(scale)
        stack.callback(target.stop)
        contestants = enter(stack, target, names)
        for load in loads():
            if not re.search(chosen.loads, load.name):
                continue
            rates, costs = compete(contestants, load, rounds, seconds)
            results["rates"][load.name] = rates
            results["cpu_microseconds"][load.name] = costs
            print(line(load, rates, costs), flush=True)
        if not chosen.skip_memory:
            results["memory"] = {}
            for contestant in contestants[1:]:
                found = measure(contestant, idle=1000 if not chosen.quick else 200)
                results["memory"][contestant.name] = found
                print("memory", contestant.name, json.dumps(found), flush=True)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
