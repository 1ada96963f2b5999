"""Fills the store from the recordings: the process `python -m chaperon.runtime.indexer`.

Invariant: it only ever reads recordings, and what it writes can be made again from them. It may lag
behind the data path, and never the other way round. It ends when its parent does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource as limits
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy.exc import OperationalError

from chaperon.recording.place import (
    SUFFIX,
    all_recordings,
    day_folder,
    spool_folder,
)
from chaperon.recording.reader import DamagedRecording
from chaperon.runtime.indexed import STATEMENTS_AT_ONCE, Indexed
from chaperon.store import SessionRow, StatementRow, Store

log = logging.getLogger("chaperon.indexer")

POLL_SECONDS = 0.2
_LAST_SECONDS = 10.0
_RECENT_NS = 1_000_000_000
_TRIES = 20
_DAY_NS = 86_400_000_000_000


class Batch:
    """Rows on their way into the store, written some thousand at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sessions: dict[str, SessionRow] = {}
        self._statements: list[StatementRow] = []

    def add(self, session: SessionRow, statements: list[StatementRow]) -> None:
        """Take rows; the latest row of a session replaces an earlier one."""
        self._sessions[session.id] = session
        self._statements += statements
        if len(self._statements) >= STATEMENTS_AT_ONCE:
            self.write()

    def write(self) -> None:
        """Write what there is. Raises SQLAlchemyError after waiting long for another writer."""
        for attempt in range(_TRIES):
            try:
                if self._sessions:
                    self._store.write_index(list(self._sessions.values()), self._statements)
                break
            except OperationalError:
                if attempt == _TRIES - 1:
                    raise
                time.sleep(0.1 * attempt)
        self._sessions.clear()
        self._statements = []


class Indexer:
    """Follows every recording of a data folder that is not yet wholly in the store."""

    def __init__(self, data: Path, store: Store) -> None:
        self._data = data
        self._batch = Batch(store)
        self._done = store.complete_sessions()
        self._open: dict[str, Indexed] = {}
        self._seen: dict[Path, int] = {}
        self._unreadable: set[Path] = set()
        for path in all_recordings(data):
            self._discover(path)

    def step(self) -> bool:
        """One look at everything; whether there was something to do. Raises OSError."""
        self._look()
        worked = False
        for session, indexed in list(self._open.items()):
            if indexed.more():
                worked = True
                statements = indexed.advance()
                self._batch.add(indexed.row(), statements)
                if indexed.finished:
                    indexed.close()
                    del self._open[session]
                    self._done.add(session)
        self._batch.write()
        return worked

    def close(self) -> None:
        """Close every file."""
        for indexed in self._open.values():
            indexed.close()
        self._open.clear()

    def _look(self) -> None:
        """Find new recordings: live ones, and short ones that were finished between two looks."""
        now = time.time_ns()
        for folder in (
            spool_folder(self._data),
            day_folder(self._data, now),
            day_folder(self._data, now - _DAY_NS),
        ):
            try:
                changed = folder.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            # A folder's time is coarse: look again while a change may hide behind the last one.
            if self._seen.get(folder) == changed and now - changed > _RECENT_NS:
                continue
            self._seen[folder] = changed
            for entry in os.scandir(folder):
                if entry.name.endswith(SUFFIX):
                    self._discover(Path(entry.path))

    def _discover(self, path: Path) -> None:
        session = path.stem
        if session in self._done or session in self._open or path in self._unreadable:
            return
        try:
            self._open[session] = Indexed(self._data, path)
        except FileNotFoundError:
            return
        except (DamagedRecording, OSError) as error:
            # A spool that is being made has no header yet; any other is looked at only once.
            if path.parent != spool_folder(self._data):
                self._unreadable.add(path)
                log.error("not indexed: %s", error)


def rebuild(data: Path, store: Store, progress: Callable[[int, int], None] | None = None) -> int:
    """Make sessions and statements again from all recordings; returns the number of recordings.

    `progress(done, of)` in bytes. Tokens stay. Raises OSError, SQLAlchemyError; then what is in the
    index is right, but not all.
    """
    paths = list(all_recordings(data))
    sizes = [_size(path) for path in paths]
    total, done, count = sum(sizes), 0, 0
    store.clear_index()
    batch = Batch(store)
    seen: set[str] = set()
    for path, size in zip(paths, sizes, strict=True):
        if path.stem not in seen:
            seen.add(path.stem)
            for read in _index(data, path, batch):
                if progress is not None:
                    progress(min(done + read, total), total)
            count += 1
        done += size
    batch.write()
    if progress is not None:
        progress(total, total)
    return count


def _index(data: Path, path: Path, batch: Batch) -> Iterator[int]:
    """Read one recording to its end; yields the bytes read so far."""
    try:
        indexed = Indexed(data, path)
    except FileNotFoundError:
        return
    except DamagedRecording as error:
        log.error("not indexed: %s", error)
        return
    try:
        while indexed.more():
            statements = indexed.advance()
            batch.add(indexed.row(), statements)
            yield indexed.offset
    finally:
        indexed.close()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Pace:
    """Keeps the indexer to a share of one processor, after a burst that short sessions fit in.

    The lowest priority is not enough: what it uses of an idle processor is missed by those who
    wait for each other in turns, and on a shared host by the whole machine.
    """

    SHARE = 0.1
    BURST = 1.0
    LONGEST = 1.0

    def __init__(self) -> None:
        self._left = self.BURST
        self._clock = time.monotonic()
        self._used = time.process_time()

    def rest(self) -> float:
        """Seconds to sleep now."""
        clock, used = time.monotonic(), time.process_time()
        gained = (clock - self._clock) * self.SHARE
        self._left = min(self.BURST, self._left + gained - (used - self._used))
        self._clock, self._used = clock, used
        return min(max(-self._left / self.SHARE, 0.0), self.LONGEST)


def run(data: Path, parent: int) -> None:
    """Follow until the parent process goes, or SIGTERM, or the folder; then once more, and end.

    `parent` is the process id that the parent had when it started this one: it may have gone since.
    """
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _step_back()
    _, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    limits.setrlimit(limits.RLIMIT_NOFILE, (hard, hard))
    store = Store.open(data)
    indexer = Indexer(data, store)
    try:
        pace = Pace()
        while not stopping and os.getppid() == parent and data.exists():
            worked = indexer.step()
            time.sleep(max(pace.rest(), 0.0 if worked else POLL_SECONDS))
        deadline = time.monotonic() + _LAST_SECONDS
        while indexer.step() and time.monotonic() < deadline:
            pass
    finally:
        indexer.close()
        store.close()


def _step_back() -> None:
    """Run only where nothing else wants the processor.

    `nice` alone does nothing across sessions where the kernel groups processes by session
    (sched(7), "The autogroup feature"): the group has to step back as well.
    """
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


def main() -> int:
    """Entry of `python -m chaperon.runtime.indexer DATA PARENT`."""
    if len(sys.argv) != 3 or not sys.argv[2].isdigit():
        sys.stderr.write("usage: python -m chaperon.runtime.indexer DATA PARENT-PID\n")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    run(Path(sys.argv[1]), int(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
