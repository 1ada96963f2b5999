"""Makes the checkout importable in its own .venv, and puts `chaperon` beside its Python."""

from __future__ import annotations

import stat
import sys
import sysconfig
from pathlib import Path

SCRIPT = """#!{python}
import sys

from chaperon.cli.main import main

sys.exit(main())
"""


def main() -> None:
    source = Path(__file__).resolve().parent.parent / "src"
    (Path(sysconfig.get_path("purelib")) / "chaperon-dev.pth").write_text(f"{source}\n")
    script = Path(sysconfig.get_path("scripts")) / "chaperon"
    script.write_text(SCRIPT.format(python=sys.executable))
    script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


main()
