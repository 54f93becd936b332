"""What a source has met, told at its end: counts, and what is missing in the bars that are held."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from vinocast.errors import ServiceUnreachableError
from vinocast.sources.telling import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vinocast.markets import HeldBars
    from vinocast.sources.outcomes import Score
    from vinocast.sources.session import Session
    from vinocast.sources.telling import Lines

# Of a stream, in a report for people.
MOST_HOLES = 10


@dataclass(frozen=True)
class StreamReport:
    """One stream as the service holds it.

    Attributes:
        stream: its name.
        states: how many bars there are of each.
        holes: spans of bars that are missing or incomplete, [start, end) in unix seconds.
        counts: since the stream began.
    """

    stream: str
    states: Mapping[str, int]
    holes: list[tuple[int, int]]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Report:
    """All that was met.

    Attributes:
        source: counts of where the messages came from.
        counts: of all messages and candles, as the service has them.
        forecasts: how many there were.
        refused: by code, the bars without one.
        streams: each stream.
    """

    source: Mapping[str, int]
    counts: Mapping[str, int]
    forecasts: int
    refused: Mapping[str, int]
    streams: list[StreamReport] = field(default_factory=list)


async def report(
    session: Session, lines: Lines, streams: Iterable[str], seconds: int, source: Mapping[str, int]
) -> Report:
    """Gather what there is to tell; of a service that is gone, nothing of its streams."""
    held: list[HeldBars] = []
    with suppress(ServiceUnreachableError):
        held = [bars for stream in sorted(streams) if (bars := await session.bars(stream)) is not None]
    counts = {name: count for name, count in session.counts.items() if count}
    there = {name: count for name, count in source.items() if count}
    return Report(there, counts, lines.forecasts, lines.refused, [_of(bars, seconds) for bars in held])


def to_json(told: Report, scores: Sequence[Score] = ()) -> bytes:
    """Return one object, a line."""
    line: dict[str, Any] = {"report": asdict(told)}
    if scores:
        line["scores"] = [asdict(score) for score in scores]
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def to_text(told: Report, scores: Sequence[Score] = ()) -> str:
    """Return lines for people."""
    refused = sum(told.refused.values())
    lines = [
        f"source: {_counts(told.source)}",
        f"messages: {_counts(told.counts)}",
        f"forecasts: {told.forecasts}"
        + (f", and {refused} bars without one: {_counts(told.refused)}" if refused else ""),
    ]
    for stream in told.streams:
        lines.append(f"{stream.stream}: {_counts(stream.states)} of the bars that are held; {_counts(stream.counts)}")
        lines += [
            f"  {moment(start)} to {moment(end)}: missing or incomplete" for start, end in stream.holes[-MOST_HOLES:]
        ]
        if (more := len(stream.holes) - MOST_HOLES) > 0:
            lines.append(f"  and {more} spans before")
    lines += [_score(score) for score in scores]
    return "\n".join(lines)


def _score(score: Score) -> str:
    text = (
        f"{score.stream} {score.target}, the next bar {score.count} times: mean absolute error {score.error:.5g}, "
        f"of the last value {score.last:.5g}"
    )
    if score.held is not None:
        text += f"; {score.held:.1%} were within {score.band[0]:g} to {score.band[1]:g}"
    return text


def _of(held: HeldBars, seconds: int) -> StreamReport:
    holes: list[tuple[int, int]] = []
    for bar in held.bars:
        if bar.state in ("missing", "incomplete"):
            first = holes.pop()[0] if holes and holes[-1][1] == bar.start else bar.start
            holes.append((first, bar.start + seconds))
    return StreamReport(held.stream, dict(Counter(bar.state for bar in held.bars)), holes, held.counts)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items() if count) or "nothing"
