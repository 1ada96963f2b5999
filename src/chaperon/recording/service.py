"""The recordings of one data folder: the one place that opens, finishes and finds them.

Invariant: a session id is made here and never chosen by a client; a finished recording is read-only
and is never overwritten. One gateway at a time holds the folder.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from chaperon.recording.frame import Json, new_session_id
from chaperon.recording.place import finish, spool_folder
from chaperon.recording.recorder import Recorder
from chaperon.recording.recovery import Recovered, recover
from chaperon.recording.space import Space, check_space, self_test
from chaperon.recording.sync import OnDurable, OnFailure, Syncer
from chaperon.wire.errors import ConfigError, RecordingFailed


class RecordingService:
    """Start it before the first session, stop it after the last."""

    def __init__(self, data: Path, reserve: int) -> None:
        """`data` is the data folder, `reserve` the bytes that must stay free on its disk."""
        self._data = data
        self._spool = spool_folder(data)
        self._reserve = reserve
        self._lock: int | None = None
        self._syncer: Syncer | None = None

    def start(self, progress: Callable[[int, int], None] | None = None) -> list[Recovered]:
        """Lock the folder, recover what an earlier run left, test the disk, start the thread.

        `progress(done, of)` in bytes. Returns what was recovered. Raises ConfigError.
        """
        try:
            self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
        except OSError as error:
            raise ConfigError(
                f"{self._spool}: cannot be used: {error.strerror}. Give the data folder to the "
                "user that runs the gateway, with mode 0700."
            ) from error
        # Recovery first: it gives back the room that a killed gateway had preallocated.
        recovered = recover(self._data, progress)
        self_test(self._spool)
        try:
            self._syncer = Syncer(self._spool, self._reserve, self._finished)
        except OSError as error:
            raise ConfigError(f"{self._spool}: cannot be written: {error.strerror}.") from error
        self._syncer.start()
        return recovered

    def stop(self) -> None:
        """Make everything durable and put it where it stays."""
        if self._syncer is not None:
            self._syncer.stop()
            self._syncer = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def sync_lag(self) -> float:
        """Seconds that the last round of fdatasyncs took."""
        return self._running().lag

    def space(self) -> Space:
        """Free space and reserve. Raises OSError."""
        return check_space(self._data, self._reserve)

    def open(self, meta: Mapping[str, Json], on_failure: OnFailure) -> Recorder:
        """Begin the recording of a new session; its id is `recorder.session`.

        `meta` goes into META with the id added. `on_failure(reason)` is called at most once, from
        another thread, when the session must end. Raises RecordingFailed.
        """
        syncer = self._running()
        try:
            space = self.space()
        except OSError as error:
            raise RecordingFailed(f"the recording's disk cannot be read: {error}") from error
        if space.low:
            raise RecordingFailed(f"the recording's disk is full: {space}")
        if syncer.doubtful:
            try:
                self_test(self._spool)
            except ConfigError as error:
                raise RecordingFailed(str(error)) from error
            syncer.doubtful = False
        session = new_session_id()
        recorder = Recorder(self._spool / f"{session}.rec", session, syncer)
        syncer.add(recorder, on_failure)
        try:
            recorder.open({"session": session, **meta})
        except RecordingFailed:
            syncer.finish(recorder)
            raise
        return recorder

    def await_durable(self, recorder: Recorder, offset: int, callback: OnDurable) -> None:
        """Barrier `fsync`: `callback(None)` from another thread once `offset` is on the disk.

        Where it cannot be, the callback gets the `RecordingFailed` instead.
        """
        self._running().await_durable(recorder, offset, callback)

    def close(self, recorder: Recorder, reason: str) -> None:
        """End a recording. What cannot be written stays in the spool for the next start."""
        try:
            recorder.close(reason)
        except RecordingFailed:
            pass
        finally:
            self._running().finish(recorder)

    def _finished(self, recorder: Recorder) -> None:
        finish(self._data, recorder.path)

    def _running(self) -> Syncer:
        if self._syncer is None:
            raise RecordingFailed("the recording service is not running")
        return self._syncer

    def _take_lock(self) -> None:
        handle = os.open(self._spool / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise ConfigError(
                f"{self._spool / 'lock'}: another gateway runs on this data folder. Stop it, or "
                "set `data:` to another folder."
            ) from None
        self._lock = handle
