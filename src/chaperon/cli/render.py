"""A recording's events as lines for a person or as JSON: shared by replay, tail and show.

Pure: events in, lines out; nothing is printed here. Recorded text is outside text: every control
character in it is spelt out, so that a replay cannot drive the terminal that shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from textwrap import dedent
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size

from chaperon.cli.output import Style, brief_size, safe_lines
from chaperon.recording.frame import Frame, Json
from chaperon.recording.transcript import (
    Began,
    Columns,
    Copied,
    Decoder,
    Ended,
    Failure,
    Finished,
    Note,
    Outcome,
    Parameter,
    ResultEnded,
    Rows,
    Sent,
    Statement,
    TranscriptEvent,
    Value,
)

WIDEST = 60
"""Terminal cells of one column of a result."""
_TEXT_LINES = 40
_INDENT = "      "


class Span(NamedTuple):
    """A piece of a line in one style."""

    text: str
    style: Style = Style.PLAIN


Line = tuple[Span, ...]


class Paced(NamedTuple):
    """An event, and how many seconds to wait before it is shown."""

    wait: float
    event: TranscriptEvent


def paced(
    frames: Iterable[Frame],
    decoder: Decoder,
    *,
    speed: float | None = None,
    start_ns: int | None = None,
) -> Iterator[Paced]:
    """The events of a recording with the time between them divided by `speed`; None is at once.

    What happened before `start_ns` (wall clock) is left out, but for how the session began.
    Raises what `frames` raises.
    """
    last: int | None = None
    for frame in frames:
        events = decoder.feed(frame)
        if start_ns is not None and frame.wall_ns < start_ns:
            yield from (Paced(0.0, event) for event in events if isinstance(event, Began))
            continue
        wait = 0.0
        if speed is not None and events:
            wait = max(0, frame.mono_ns - last) / 1e9 / speed if last is not None else 0.0
        if events:
            last = frame.mono_ns
        for event in events:
            yield Paced(wait, event)
            wait = 0.0
    for event in decoder.finish():
        yield Paced(0.0, event)


class Lines:
    """Turns events into lines. `width` in terminal cells cuts rows; None leaves them whole."""

    def __init__(self, width: int | None = None, *, settings: bool = False) -> None:
        """`settings`: tell of ParameterStatus and the like too."""
        self._width = width
        self._settings = settings
        self._current: int | None = None
        self._columns: Columns | None = None
        self._widths: list[int] = []
        self._head_shown = False
        self._shown: set[int] = set()

    def of(self, event: TranscriptEvent) -> list[Line]:
        """The lines of the next event."""
        match event:
            case Began():
                return self._began(event)
            case Sent(statement):
                return self._sent(statement)
            case Columns():
                self._columns, self._head_shown, self._widths = event, False, []
                return self._about(event.ordinal)
            case Rows():
                return self._about(event.ordinal) + self._rows(event)
            case Copied():
                return self._about(event.ordinal) + self._copied(event)
            case ResultEnded():
                return self._about(event.ordinal) + self._result_ended(event)
            case Ended():
                return self._ended(event)
            case Note():
                return self._note(event)
            case Finished():
                when = Span(_clock(event.wall_ns) + "  ", Style.DIM)
                return [(), (when, Span(f"session ended: {visible(event.reason)}", Style.BOLD))]

    def _began(self, event: Began) -> list[Line]:
        meta = event.meta
        day = datetime.fromtimestamp(event.wall_ns / 1e9).astimezone()
        who = f"{_meta(meta, 'principal')} on {_meta(meta, 'resource')}"
        where = (
            f"  {_meta(meta, 'protocol')} from {_meta(meta, 'peer')}, {day:%Y-%m-%d %H:%M:%S %z}"
        )
        return [(Span(who, Style.BOLD), Span(where, Style.DIM))]

    def _sent(self, statement: Statement) -> list[Line]:
        self._current = statement.ordinal
        self._shown.add(statement.ordinal)
        head = f"{_clock(statement.started_ns)}  #{statement.ordinal}  "
        style = Style.RED if statement.verdict.denied else Style.BOLD
        text = statement.text or _without_text(statement)
        parts = safe_lines(dedent(text.strip("\r\n").rstrip())).split("\n")
        lines: list[Line] = [(), (Span(head, Style.DIM), Span(parts[0], style))]
        lines += [(Span(_INDENT + part, style),) for part in parts[1:_TEXT_LINES]]
        if len(parts) > _TEXT_LINES:
            lines.append((Span(f"{_INDENT}… {len(parts) - _TEXT_LINES} more lines", Style.DIM),))
        if statement.cut:
            size = brief_size(statement.text_bytes)
            lines.append((Span(f"{_INDENT}… the statement has {size}", Style.DIM),))
        lines += [
            (Span(f"{_INDENT}${number} = ", Style.DIM), _parameter(parameter))
            for number, parameter in enumerate(statement.parameters, 1)
        ]
        if statement.verdict.denied:
            policy = visible(statement.verdict.policy)
            message = visible(statement.verdict.message)
            lines.append((Span(f"{_INDENT}DENIED by {policy}: {message}", Style.RED),))
        return lines

    def _about(self, ordinal: int) -> list[Line]:
        """Says which statement the following is about, where that is not plain."""
        if self._current == ordinal:
            return []
        self._current = ordinal
        return [(Span(f"{_INDENT}#{ordinal}:", Style.DIM),)]

    def _rows(self, event: Rows) -> list[Line]:
        lines: list[Line] = []
        if not self._head_shown:
            lines += self._head(event.rows)
        for row in event.rows:
            spans = [Span(_INDENT)]
            for index, value in enumerate(row):
                text = "NULL" if value.text is None else shown(value)
                style = Style.DIM if value.text is None else Style.PLAIN
                spans.append(Span(self._cell(index, text), style))
            lines.append(self._cut(spans))
        return lines

    def _head(self, rows: tuple[tuple[Value, ...], ...]) -> list[Line]:
        self._head_shown = True
        named = self._columns.columns if self._columns is not None else ()
        names = [visible(column.name) for column in named]
        count = max([len(names), *(len(row) for row in rows)])
        names += [f"column{number}" for number in range(len(names) + 1, count + 1)]
        self._widths = [cell_len(name) for name in names]
        for row in rows:
            for index, value in enumerate(row):
                wide = 4 if value.text is None else cell_len(shown(value))
                self._widths[index] = max(self._widths[index], wide)
        self._widths = [min(width, WIDEST) for width in self._widths]
        titles = [Span(_INDENT)]
        titles += [Span(self._cell(i, name), Style.DIM) for i, name in enumerate(names)]
        rule = "  ".join("-" * width for width in self._widths)
        return [self._cut(titles), self._cut([Span(_INDENT), Span(rule, Style.DIM)])]

    def _cell(self, index: int, text: str) -> str:
        width = self._widths[index] if index < len(self._widths) else WIDEST
        if cell_len(text) > WIDEST:
            text = set_cell_size(text, WIDEST - 1) + "…"
        columns = self._columns.columns if self._columns is not None else ()
        padding = " " * max(0, width - cell_len(text))
        right = index < len(columns) and columns[index].right_aligned
        cell = padding + text if right else text + padding
        return cell + "  "

    def _cut(self, spans: list[Span]) -> Line:
        """Cut to the terminal's width, the end marked."""
        if self._width is None:
            return tuple(spans)
        left = self._width
        kept: list[Span] = []
        for span in spans:
            wide = cell_len(span.text)
            if wide > left and cell_len(span.text.rstrip()) > left:
                kept.append(Span(set_cell_size(span.text, max(0, left - 1)) + "…", span.style))
                break
            kept.append(span)
            left -= wide
            if left <= 0:
                break
        return tuple(kept)

    def _copied(self, event: Copied) -> list[Line]:
        arrow = ">" if event.from_agent else "<"
        if not event.data:
            return []
        lines = event.data.decode("utf-8", "replace").rstrip("\n").split("\n")
        return [
            self._cut([Span(f"{_INDENT}{arrow} ", Style.DIM), Span(visible(line))])
            for line in lines
        ]

    def _result_ended(self, event: ResultEnded) -> list[Line]:
        lines: list[Line] = []
        if self._columns is not None and not self._head_shown and not event.rows:
            lines += self._head(())
        self._columns = None
        rows = f"({event.rows} row{'s' if event.rows != 1 else ''})"
        text = visible(event.tag)
        if event.rows or text.startswith("SELECT"):
            text = rows if not text or text.startswith("SELECT") else f"{text} {rows}"
        if text:
            lines.append((Span(_INDENT + text, Style.GREEN),))
        return lines

    def _ended(self, event: Ended) -> list[Line]:
        ordinal = event.statement.ordinal
        lines = self._about(ordinal) if ordinal in self._shown else self._sent(event.statement)
        self._shown.discard(ordinal)
        ending = event.ending
        took = "" if ending.total_ms is None else f"{ending.total_ms:.1f} ms"
        match ending.outcome:
            case Outcome.FAILED | Outcome.DENIED:
                style = Style.RED if ending.outcome is Outcome.DENIED else Style.YELLOW
                told = event.statement.verdict.message if style is Style.RED else None
                lines += _failure(ending.failure, style, told)
            case Outcome.SKIPPED:
                text = "skipped: an earlier statement of its pipeline failed"
                lines.append((Span(_INDENT + text, Style.YELLOW),))
            case Outcome.UNFINISHED:
                text = "unfinished: the session ended first"
                lines.append((Span(_INDENT + text, Style.YELLOW),))
            case Outcome.SUSPENDED:
                took = f"{took}, suspended at its row limit"
            case Outcome.COMPLETED:
                pass
        if ending.size:
            took = f"{took}, {brief_size(ending.size)}"
        if took:
            lines.append((Span(_INDENT + took, Style.DIM),))
        self._current = None
        return lines

    def _note(self, event: Note) -> list[Line]:
        if event.kind == "setting" and not self._settings:
            return []
        style = {"error": Style.YELLOW, "gap": Style.RED, "damage": Style.RED}.get(
            event.kind, Style.DIM
        )
        detail = ""
        if event.kind != "notice" and event.detail:
            detail = "  " + ", ".join(
                f"{visible(key)}={visible(str(value))}" for key, value in event.detail.items()
            )
        head = Span(f"{_clock(event.wall_ns)}  ", Style.DIM)
        return [
            (head, Span(f"{event.kind}: {visible(event.text)}", style), Span(detail, Style.DIM))
        ]


def visible(text: str) -> str:
    """Outside text on one line; spaces stay, a line break is spelt out."""
    return safe_lines(text.replace("\r", "\\r").replace("\n", "\\n"))


def shown(value: Value) -> str:
    """A value that is not NULL."""
    text = visible(value.text or "")
    return f"{text}… ({brief_size(value.size)})" if value.cut else text


def event_json(event: TranscriptEvent) -> dict[str, Json]:
    """An event for a machine: its fields under their names, `event` says which one it is."""
    name = type(event).__name__
    kind = "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")
    plain: dict[str, Json] = {"event": kind}
    plain.update({key: _plain(value) for key, value in asdict(event).items()})
    return plain


def _plain(value: Any) -> Json:
    match value:
        case Value(text, size, cut):
            return {"value": text, "size": size, **({"cut": True} if cut else {})}
        case Enum():
            return _plain(value.value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _parameter(parameter: Parameter) -> Span:
    if parameter.value.text is None:
        return Span("NULL", Style.DIM)
    named = f"  ({parameter.type})" if parameter.type else ""
    return Span(shown(parameter.value) + named)


def _failure(failure: Failure | None, style: Style, told: str | None) -> list[Line]:
    """`told` is a message that has been shown before."""
    if failure is None:
        return []
    lines: list[Line] = []
    if failure.message != told:
        text = f"ERROR {visible(failure.code)}: {visible(failure.message)}"
        lines.append((Span(_INDENT + text, style),))
    for name, text in (("detail", failure.detail), ("hint", failure.hint)):
        if text:
            lines.append((Span(f"{_INDENT}{name}: {visible(text)}", Style.DIM),))
    return lines


def _without_text(statement: Statement) -> str:
    if statement.verb == "sync":
        return "(the end of an implicit transaction)"
    return f"(the prepared statement {statement.name!r}, made elsewhere)"


def _clock(wall_ns: int) -> str:
    moment = datetime.fromtimestamp(wall_ns // 1_000_000_000).astimezone()
    return f"{moment:%H:%M:%S}.{wall_ns // 1_000_000 % 1000:03d}"


def _meta(meta: Mapping[str, Json], key: str) -> str:
    return visible(str(meta.get(key, "")))
