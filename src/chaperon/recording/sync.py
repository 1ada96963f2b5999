"""Makes recordings durable, in one thread beside the event loop.

Barrier `write`: every touched recorder is on the disk `DELAY` (and the time of an fdatasync) later.
Barrier `fsync`: who waits for an offset is told as soon as one fdatasync has covered it; those who
come while it runs share the next one. A failed fdatasync fails the recorder and is never retried.
The thread calls back from itself: the driver passes on with `loop.call_soon_threadsafe`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from chaperon.recording.recorder import Recorder
from chaperon.recording.space import check_space
from chaperon.recording.watermarks import Watermarks
from chaperon.wire.errors import RecordingFailed

log = logging.getLogger("chaperon.recording")

DELAY = 0.04
SPACE_INTERVAL = 1.0
"""Seconds between looks at the free space and the open recordings' files."""
MARK_INTERVAL_NS = 250_000_000

OnFailure = Callable[[str], None]
OnDurable = Callable[[RecordingFailed | None], None]


class _Held:
    __slots__ = ("marked_ns", "on_failure", "told")

    def __init__(self, on_failure: OnFailure) -> None:
        self.on_failure = on_failure
        self.marked_ns = 0
        self.told = False


class Syncer:
    """The thread and what it works on. All methods may be called from any thread."""

    def __init__(self, spool: Path, reserve: int, finished: Callable[[Recorder], None]) -> None:
        """`finished` puts a closed recording where it stays; it may raise OSError.

        Raises OSError.
        """
        self._spool = spool
        self._reserve = reserve
        self._finished = finished
        self._marks = Watermarks(spool)
        self._held: dict[Recorder, _Held] = {}
        self._dirty: deque[Recorder] = deque()
        self._waiting: deque[tuple[Recorder, int, OnDurable]] = deque()
        self._finishing: deque[Recorder] = deque()
        self._wake = threading.Event()
        self._armed = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="chaperon-sync", daemon=True)
        self.lag = 0.0
        """Seconds that the last round of fdatasyncs took."""
        self.doubtful = False
        """The disk refused something; whoever relies on it tests it first and takes this back."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish all that was asked, then end the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._marks.close()

    def add(self, recorder: Recorder, on_failure: OnFailure) -> None:
        """Watch `recorder`; `on_failure(reason)` is called once, when its session must end."""
        self._held[recorder] = _Held(on_failure)
        self._arm()

    def touched(self, recorder: Recorder) -> None:
        """See `recorder.Dirty`."""
        self._dirty.append(recorder)
        if not self._armed:
            self._arm()

    def await_durable(self, recorder: Recorder, offset: int, callback: OnDurable) -> None:
        """Call `callback(None)` once `offset` bytes are on the disk, or with the error."""
        self._waiting.append((recorder, offset, callback))
        self._wake.set()

    def finish(self, recorder: Recorder) -> None:
        """`recorder` is closed (or failed): sync it, close the file, put it where it stays."""
        self._finishing.append(recorder)
        self._wake.set()

    def _arm(self) -> None:
        self._armed = True
        self._wake.set()

    def _run(self) -> None:
        due: float | None = None
        space_due = 0.0
        while True:
            now = time.monotonic()
            if self._dirty and due is None:
                due = now + DELAY
            if self._held and now >= space_due:
                space_due = now + SPACE_INTERVAL
                self._check_space()
                self._check_files()
            self._serve_waiting()
            self._serve_finishing()
            if due is not None and (now >= due or self._stopping):
                due = None
                # Off before draining: who comes later arms again, who came before is drained.
                self._armed = False
                self._sync_dirty()
            if self._stopping and not (self._dirty or self._waiting or self._finishing):
                return
            limits = [t for t in (due, space_due if self._held else None) if t is not None]
            if self._dirty and due is None:
                continue
            self._wake.wait(max(0.0, min(limits) - time.monotonic()) if limits else None)
            self._wake.clear()

    def _sync_dirty(self) -> None:
        started = time.monotonic()
        for _ in range(len(self._dirty)):
            recorder = self._dirty.popleft()
            # Off before syncing, so that bytes written meanwhile touch it again.
            recorder.dirty = False
            if recorder.offset > recorder.synced:
                self._sync(recorder)
            if self._waiting:
                self._serve_waiting()
        self.lag = time.monotonic() - started

    def _sync(self, recorder: Recorder) -> RecordingFailed | None:
        held = self._held.get(recorder)
        if held is None:
            return None
        try:
            offset = recorder.sync()
            now = time.monotonic_ns()
            if now - held.marked_ns >= MARK_INTERVAL_NS:
                held.marked_ns = now
                self._marks.put(recorder.session, offset)
        except (RecordingFailed, OSError) as error:
            self.doubtful = True
            return self._fail(recorder, held, str(error))
        return None

    def _serve_waiting(self) -> None:
        """Everybody who waits now is covered by one fdatasync of each recorder concerned."""
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        failures: dict[Recorder, RecordingFailed | None] = {}
        for recorder, offset, callback in waiting:
            if recorder.synced < offset and recorder not in failures:
                failures[recorder] = self._sync(recorder)
            error = failures.get(recorder)
            if error is None and recorder.synced < offset:
                error = RecordingFailed(recorder.failure or "the recording is closed")
            callback(error)

    def _serve_finishing(self) -> None:
        while self._finishing:
            recorder = self._finishing.popleft()
            held = self._held.pop(recorder, None)
            try:
                recorder.release()
                if recorder.closed:
                    self._finished(recorder)
                    self._marks.drop(recorder.session)
                    continue
                reason = recorder.failure or "it has no CLOSE"
            except (RecordingFailed, OSError) as error:
                self.doubtful = True
                reason = str(error)
                if held is not None:
                    self._fail(recorder, held, reason)
            # Its watermark stays too: recovery takes both up at the next start.
            with contextlib.suppress(OSError):
                self._marks.put(recorder.session, recorder.synced)
            log.error("recording %s stays in the spool: %s", recorder.session, reason)

    def _check_space(self) -> None:
        try:
            space = check_space(self._spool, self._reserve)
            reason = f"the recording's disk is full: {space}" if space.low else None
        except OSError as error:
            reason = f"the recording's disk cannot be asked for its free space: {error.strerror}"
        if reason is not None:
            for recorder, held in list(self._held.items()):
                recorder.refuse(reason)
                self._tell(held, reason)

    def _check_files(self) -> None:
        """A file that somebody removed or cut would take frames that nobody can read again."""
        for recorder, held in list(self._held.items()):
            try:
                # The offset first: the file is always longer.
                offset = recorder.offset
                if os.stat(recorder.path).st_size >= offset:
                    continue
                reason = "the recording's file was cut by another program"
            except OSError as error:
                reason = f"the recording's file cannot be found any more: {error.strerror}"
            if recorder.failure is None:
                self._fail(recorder, held, reason)

    def _fail(self, recorder: Recorder, held: _Held, reason: str) -> RecordingFailed:
        recorder.fail(reason)
        self._tell(held, reason)
        return RecordingFailed(reason)

    @staticmethod
    def _tell(held: _Held, reason: str) -> None:
        if not held.told:
            held.told = True
            held.on_failure(reason)
