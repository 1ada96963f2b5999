"""Decodes a recording of a PostgreSQL session: frames to statements with verdicts, results, times.

Pure: no clock, no I/O, bounded memory, and no exception on any frames. Bytes that are no messages
are told as damage once, and counted no further; the other direction goes on.
"""

from __future__ import annotations

from chaperon.protocols.postgres.transcript_codec import Stream, agent_stream, target_stream
from chaperon.protocols.postgres.transcript_model import Decisions, Moment
from chaperon.protocols.postgres.transcript_replies import Replies
from chaperon.protocols.postgres.transcript_requests import Requests
from chaperon.recording.frame import Frame, Json, Kind, read_json
from chaperon.recording.transcript import Began, Finished, Note, TranscriptEvent
from chaperon.wire.commands import Direction

_SHOWN = 2000
_SIDES = {
    Direction.FROM_AGENT: "from the agent",
    Direction.TO_AGENT: "to the agent",
    Direction.TO_TARGET: "from the gateway to the target",
    Direction.FROM_TARGET: "from the target, kept by the gateway",
}


class Transcript:
    """A decoder; see `chaperon.recording.transcript.Decoder`."""

    def __init__(self, *, rows: bool = False, verbose: bool = False) -> None:
        """`rows`: give rows and COPY data. `verbose`: tell of the gateway's own traffic."""
        self._decisions = Decisions()
        self._requests = Requests(self._decisions, rows)
        self._replies = Replies(self._requests)
        self._agent = agent_stream(rows)
        self._target = target_stream(rows)
        self._verbose = verbose
        self._finished = False

    def feed(self, frame: Frame) -> list[TranscriptEvent]:
        """What the next frame brings."""
        requests = self._requests
        requests.moment = Moment(frame.wall_ns, frame.mono_ns)
        out = requests.out = []
        if frame.kind == Kind.DATA:
            self._data(frame)
        else:
            self._other(frame)
        return out

    def finish(self) -> list[TranscriptEvent]:
        """Statements that had not ended where the recording does."""
        out = self._requests.out = []
        if not self._finished:
            self._finished = True
            self._replies.finish()
        return out

    def _data(self, frame: Frame) -> None:
        direction = frame.direction
        if direction == Direction.FROM_AGENT:
            self._requests.read(self._agent.feed(frame.payload))
            self._tell_broken(self._agent, Direction.FROM_AGENT)
        elif direction == Direction.TO_AGENT:
            self._replies.read(self._target.feed(frame.payload))
            self._tell_broken(self._target, Direction.TO_AGENT)
        elif self._verbose and direction in (Direction.TO_TARGET, Direction.FROM_TARGET):
            text = f"{len(frame.payload)} bytes {_SIDES[Direction(direction)]}"
            shown = frame.payload[:_SHOWN].decode("latin-1")
            self._note("gateway", text, {"data": shown})

    def _tell_broken(self, stream: Stream, direction: Direction) -> None:
        if stream.broken and not stream.told:
            stream.told = True
            self._note("damage", f"bytes {_SIDES[direction]} are no messages: {stream.broken}")

    def _other(self, frame: Frame) -> None:
        try:
            match frame.kind:
                case Kind.DECISION:
                    verdict = self._decisions.take(frame)
                    if verdict is not None:
                        detail: dict[str, Json] = {"policy": verdict.policy}
                        if verdict.message:
                            detail["message"] = verdict.message
                        self._note("decision", f"connect: {verdict.verdict}", detail)
                case Kind.META:
                    self._requests.out.append(Began(read_json(frame.payload), frame.wall_ns))
                case Kind.EVENT:
                    detail = read_json(frame.payload)
                    self._note("event", str(detail.pop("event", "")), detail)
                case Kind.GAP:
                    detail = read_json(frame.payload)
                    self._note("gap", str(detail.pop("reason", "")), detail)
                case Kind.CLOSE:
                    reason = str(read_json(frame.payload).get("reason", ""))
                    self._finished = True
                    self._replies.finish()
                    self._requests.out.append(Finished(reason, frame.wall_ns))
                case _:
                    pass
        except ValueError as error:
            self._note("damage", f"frame {frame.sequence} cannot be read: {error}")

    def _note(self, kind: str, text: str, detail: dict[str, Json] | None = None) -> None:
        wall_ns = self._requests.moment.wall_ns
        self._requests.out.append(Note(kind, text, wall_ns, detail or {}))
