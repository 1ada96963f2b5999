"""Install the Debian packages that tests and benchmarks need: as root; otherwise name what lacks.

    python tools/ci_install.py [--check]

Exit code 0 when everything is there, 1 when something lacks and could not be installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# What must exist, and the package that brings it.
NEEDED = {
    "/usr/lib/postgresql/15/bin/postgres": "postgresql-15",
    "/usr/lib/postgresql/15/bin/pgbench": "postgresql-15",
    "/usr/lib/postgresql/15/bin/pg_dump": "postgresql-client-15",
    "/usr/sbin/pgbouncer": "pgbouncer",
}
# Programs of toolchains: a newer one than Debian's may be there under the same name.
TOOLCHAINS = {
    "node": "nodejs",
    "npm": "npm",
    "java": "openjdk-17-jre-headless",
    "javac": "openjdk-17-jdk-headless",
    "mvn": "maven",
    "go": "golang-go",
}


def missing() -> dict[str, str]:
    """What is not there, with the package that would bring it."""
    files = {file: package for file, package in NEEDED.items() if not Path(file).exists()}
    programs = {name: package for name, package in TOOLCHAINS.items() if not shutil.which(name)}
    return files | programs


def install(packages: list[str]) -> None:
    """apt-get, without questions, and without the clusters and services that packages start."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    common = Path("/etc/postgresql-common/createcluster.d")
    common.mkdir(parents=True, exist_ok=True)
    (common / "chaperon.conf").write_text("create_main_cluster = false\n")
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
    ):
        subprocess.run(command, env=quiet, check=True)


def main(arguments: list[str]) -> int:
    lacking = missing()
    packages = sorted(set(lacking.values()))
    if lacking and "--check" not in arguments and os.geteuid() == 0 and shutil.which("apt-get"):
        install(packages)
        lacking = missing()
        packages = sorted(set(lacking.values()))
    if not lacking:
        return 0
    print(f"These tests need what is not there: {', '.join(sorted(lacking))}.", file=sys.stderr)
    print(f"  Run as root: apt-get install {' '.join(packages)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
