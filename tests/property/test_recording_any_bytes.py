"""Any bytes give frames or `DamagedRecording`; any frames give events. Never another exception."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import recordings as r

from chaperon.protocols.postgres.transcript import Transcript
from chaperon.recording.frame import Frame, Kind
from chaperon.recording.reader import DamagedRecording, RecordingReader
from chaperon.recording.recovery import Outcome, recover
from chaperon.recording.transcript import Ended, Sent

_TAGS = st.sampled_from(list(b"QPBEDCSHFXdcf12345TDCZGHWsnItVNASKEZ\0\xff"))
_MESSAGES = st.one_of(
    st.builds(lambda tag, body: r.message(bytes([tag]), body), _TAGS, st.binary(max_size=60)),
    st.sampled_from(
        [
            r.query("SELECT 1"),
            r.parse("SELECT $1", "s"),
            r.parse("SELECT 2"),
            r.bind(b"v", None, name="s"),
            r.bind(),
            r.execute(),
            r.SYNC,
            r.PARSED,
            r.BOUND,
            r.described("a", "b"),
            r.row(b"1", None),
            r.complete("SELECT 1"),
            r.error("42601", "syntax"),
            r.ready(),
            r.message(b"G", b"\0\0\0"),
            r.message(b"d", b"data"),
            r.message(b"c"),
        ]
    ),
)
_FRAMES = st.lists(
    st.one_of(
        st.tuples(
            st.just(int(Kind.DATA)),
            st.integers(0, 3),
            st.lists(_MESSAGES, max_size=6).map(b"".join),
        ),
        st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=40)),
    ),
    max_size=20,
)


@settings(max_examples=150, deadline=None)
@given(parts=_FRAMES, rows=st.booleans())
def test_any_frames_give_events(parts: list[tuple[int, int, bytes]], rows: bool) -> None:
    frames = r.Frames()
    for kind, direction, payload in parts:
        frames.add(kind, payload, direction)
    decoder = Transcript(rows=rows, verbose=True)
    events = [event for frame in frames.list for event in decoder.feed(frame)]
    events += decoder.finish()
    sent = [e.statement.ordinal for e in events if isinstance(e, Sent)]
    ended = [e.statement.ordinal for e in events if isinstance(e, Ended)]
    assert sent == list(range(len(sent)))
    assert sorted(ended) == sent


@settings(max_examples=100, deadline=None)
@given(
    agent=st.lists(_MESSAGES, max_size=10).map(b"".join),
    target=st.lists(_MESSAGES, max_size=15).map(b"".join),
    size=st.integers(1, 40),
)
def test_the_cut_of_frames_changes_no_statement(agent: bytes, target: bytes, size: int) -> None:
    frames = r.Frames().agent(agent).target(target)

    def statements(some: list[Frame]) -> list[tuple[object, ...]]:
        decoder = Transcript(rows=True)
        events = [e for f in some for e in decoder.feed(f)] + decoder.finish()
        return [
            (e.statement, e.ending.outcome, e.ending.rows, e.ending.tag, e.ending.failure)
            for e in events
            if isinstance(e, Ended)
        ]

    assert statements(r.recut(frames.list, size)) == statements(frames.list)


_DAMAGES = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.integers(0, 2000), st.integers(0, 7)),
        st.tuples(st.just("cut"), st.integers(0, 2000), st.just(0)),
        st.tuples(st.just("zero"), st.integers(0, 2000), st.integers(1, 300)),
        st.tuples(st.just("add"), st.integers(0, 2000), st.integers(1, 50)),
    ),
    max_size=4,
)


def _damage(content: bytearray, damages: list[tuple[str, int, int]]) -> bytes:
    for how, wanted, much in damages:
        at = min(wanted, max(len(content) - 1, 0))
        if how == "flip" and content:
            content[at] ^= 1 << much
        elif how == "cut":
            del content[at:]
        elif how == "zero":
            content[at : at + much] = bytes(len(content[at : at + much]))
        else:
            content[at:at] = bytes([much]) * much
    return bytes(content)


@settings(max_examples=150, deadline=None)
@given(damages=_DAMAGES, live=st.booleans(), raw=st.none() | st.binary(max_size=200))
def test_any_file_gives_frames_or_damage(
    damages: list[tuple[str, int, int]], live: bool, raw: bytes | None
) -> None:
    built = r.Frames()
    for number in range(8):
        built.add(Kind.DATA, bytes([number]) * 60)
    content = raw if raw is not None else _damage(bytearray(built.close().bytes()), damages)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.rec"
        path.write_bytes(content)
        found: list[Frame] = []
        damaged_at = 0
        try:
            with RecordingReader(path, live=live) as reader:
                found.extend(reader.read())
        except DamagedRecording as error:
            damaged_at = error.offset
        assert 0 <= damaged_at <= len(content)
        for frame, expected in zip(found, built.list, strict=False):
            if frame != expected:
                # Bytes that were put in by this test may be a frame only if their CRC holds.
                assert any(how == "add" for how, *_ in damages)
                break


@settings(max_examples=60, deadline=None)
@given(damages=_DAMAGES)
def test_recovery_leaves_a_readable_recording_or_puts_it_aside(
    damages: list[tuple[str, int, int]],
) -> None:
    built = r.Frames()
    for number in range(8):
        built.add(Kind.DATA, bytes([number]) * 60)
    content = _damage(bytearray(built.bytes() + b"\0" * 500), damages)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        path = data / "spool" / f"{built.session}.rec"
        path.parent.mkdir()
        path.write_bytes(content)
        [recovered] = recover(data)
        if recovered.outcome in (Outcome.CLOSED, Outcome.CUT):
            with RecordingReader(recovered.path) as reader:
                found = list(reader.read())
                assert reader.closed
            assert [f.sequence for f in found] == list(range(len(found)))
        elif recovered.outcome is Outcome.CORRUPT:
            assert recovered.path.read_bytes() == content
        else:
            assert recovered.outcome is Outcome.EMPTY
            assert content.count(0) == len(content)
