"""The policies in force: the folder is watched, a good set replaces the last, a broken one never.

A folder is read only when two looks in a row saw the same files, and again unchanged afterwards: a
file that is half written may be valid without its last `forbid`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from chaperon.policy import source
from chaperon.policy.decision import PolicySet
from chaperon.policy.lint import Names
from chaperon.policy.load import build
from chaperon.policy.schema import Schema
from chaperon.policy.source import Stamp
from chaperon.wire.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Status:
    """For `doctor` and the log. Times in ns since the epoch; `error` is the last try's, if any."""

    hash: str
    policies: int
    loaded_ns: int
    error: str | None = None
    error_ns: int | None = None


class Policies:
    """Holds the policy set in force. `tick` is for one thread, `current` and `status` for any."""

    def __init__(self, folder: Path, schema: Schema, names: Names) -> None:
        """Load the folder. Raises ConfigError: at the start there is nothing to fall back to."""
        self._folder = folder
        self._schema = schema
        self._names = names
        self._settled: Stamp = source.stamp(folder)  # what the last try has read
        self._glimpsed = self._settled
        self._result: PolicySet | Exception | None = None
        self._worker: threading.Thread | None = None
        self.current = self._load()
        self.status = self._known = _status(self.current)

    def tick(self) -> bool:
        """Look at the folder; to be called about once a second, costs some µs a file.

        Loading happens in a thread, so that sessions go on. True where, since the last tick,
        another set came into force: whoever remembers decisions forgets them then.
        """
        if self._worker is not None:
            if self._worker.is_alive():
                return False
            self._worker = None
            return self._adopt()
        try:
            seen = source.stamp(self._folder)
        except ConfigError as error:
            self.status = _failed(self.status, error)
            return False
        if seen == self._settled:
            self.status = self._known
        elif seen != self._glimpsed:
            self._glimpsed = seen
        else:
            self._worker = threading.Thread(target=self._try, args=(seen,), daemon=True)
            self._worker.start()
        return False

    def _try(self, seen: Stamp) -> None:
        result: PolicySet | Exception
        try:
            result = self._load()
            if source.stamp(self._folder) != seen:
                return  # changed while it was read: the next tick sees that
        except Exception as error:  # reported in the status; the good set stays
            result = error
        self._settled = seen
        self._result = result

    def _load(self) -> PolicySet:
        texts = source.read_folder(self._folder)
        return build(texts, self._folder, self._schema, self._names)

    def _adopt(self) -> bool:
        """Put what the thread has loaded in force, or its error into the status."""
        result, self._result = self._result, None
        if isinstance(result, Exception):
            self.status = self._known = _failed(self._known, result)
        elif result is not None:
            changed = result.hash != self.current.hash
            self.current = result
            self.status = self._known = _status(result)
            return changed
        return False


def _status(policies: PolicySet) -> Status:
    return Status(policies.hash, len(policies.policies), time.time_ns())


def _failed(status: Status, error: Exception) -> Status:
    text = str(error) or repr(error)
    if text == status.error:
        return status
    return replace(status, error=text, error_ns=time.time_ns())
