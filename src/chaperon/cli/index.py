"""`chaperon index rebuild`: the index over the recordings, made again from nothing but them."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from chaperon.api.address import socket_path
from chaperon.api.client import ControlClient
from chaperon.api.errors import ApiError, Code
from chaperon.cli.deployment import configuration
from chaperon.cli.exits import CommandFailed, Exit
from chaperon.cli.output import print_json, say
from chaperon.cli.progress import progress
from chaperon.config import Config, open_data_folder
from chaperon.runtime.indexer import rebuild as rebuild_index
from chaperon.store import Store


def rebuild(given: Path | None, *, json: bool) -> None:
    """Rebuild, and say how many recordings there were. Tokens are left as they are.

    Raises CommandFailed where a gateway runs, whose own indexer writes to the same rows.
    """
    config = configuration(given)
    _refuse_beside_gateway(config)
    open_data_folder(config.data)
    store = Store.open(config.data)
    try:
        with progress("reading recordings") as report:
            count = rebuild_index(config.data, store, report)
    except (OSError, SQLAlchemyError) as error:
        cause = getattr(error, "orig", None) or error
        raise CommandFailed(
            Exit.FAILED,
            f"The index is not complete: {cause}.",
            "Correct that and run the command again; the recordings are as they were.",
        ) from None
    finally:
        store.close()
    if json:
        print_json({"recordings": count})
    else:
        say(f"Indexed {count} recording{'' if count == 1 else 's'}.")


def _refuse_beside_gateway(config: Config) -> None:
    try:
        ControlClient(socket_path(config.data)).close()
    except ApiError as error:
        if error.code is Code.NOT_RUNNING:
            return
        raise
    raise CommandFailed(
        Exit.FAILED,
        f"A gateway runs on the data folder {config.data} and keeps the index itself.",
        "Stop it first; what it records is indexed when it starts again.",
    )
