"""What a measurement says: cells, their samples, and the figures derived from them. Times are milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast.measure.bench.load import Slice
    from vinocast.measure.bench.requests import Form, Transport

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
Quantiles = dict[str, float]
# The graph whose rate the floor of the others is derived from.
MATMUL = "matmul"


@dataclass(frozen=True)
class Cell:
    """One load: ``clients`` of a closed loop, or ``rate`` arrivals per second of an open one; the other is None."""

    transport: Transport
    form: Form
    targets: int
    clients: int | None = None
    rate: float | None = None


@dataclass
class Samples:
    """What a cell has given in all its slices."""

    latency_ms: list[float] = field(default_factory=list)
    inference_ms: list[float] = field(default_factory=list)
    queue_ms: list[float] = field(default_factory=list)
    missed_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0.0

    def add(self, part: Slice, *, refused: bool = False) -> None:
        """Take in a slice. A failed request is counted and its latency left out, unless all are to be ``refused``."""
        self.seconds += part.seconds
        self.missed_ms += [seconds * 1e3 for seconds in part.missed]
        self.late_ms += [seconds * 1e3 for seconds in part.late]
        for seconds, body in zip(part.latencies, part.replies, strict=True):
            reply = orjson.loads(body)
            if reply["success"] is refused:
                self.failed += 1
                continue
            self.latency_ms.append(seconds * 1e3)
            self.inference_ms.append(reply.get("inference_time_ms", 0.0))
            self.queue_ms.append(reply.get("queue_time_ms", 0.0))


@dataclass(frozen=True)
class Row:
    """The figures of a cell.

    Attributes:
        cell: the load.
        samples: requests behind the figures.
        failed: requests that were refused; no figure counts them.
        missed: arrivals of an open loop that could not be sent before it was given up; the quantiles count them with
            the time they had waited by then, which is less than they would have taken.
        latency_ms: quantiles of the round trip; of an open loop, from the scheduled arrival.
        requests_per_second: answers over the seconds the load lasted, the wait for the last answer included.
        inference_ms: median of the replies' ``inference_time_ms``.
        queue_ms: median of the replies' ``queue_time_ms``.
        overhead_ms: median of each round trip less its own ``inference_time_ms``; of a closed loop of one client,
            where nobody else is waited for.
        late_ms: median of how late the client itself wrote a request of an open loop, which its latency holds: the
            waking of a sleeping core, and the wait for a free connection.
    """

    cell: Cell
    samples: int
    failed: int
    missed: int
    latency_ms: Quantiles
    requests_per_second: float
    inference_ms: float
    queue_ms: float
    overhead_ms: float | None
    late_ms: float | None


@dataclass(frozen=True)
class Raw:
    """Inference without a service, and the floor of its arithmetic.

    Attributes:
        graph: whose and for how many series.
        samples: inferences measured.
        infer_ms: quantiles of the ``infer()`` call.
        multiply_adds: of one inference, counted from the graph's matrix products.
        floor_ms: two operations per multiply-add, over the rate of a matrix product under the same profile.
        share: floor over the median; 1 would be arithmetic and nothing else.
    """

    graph: str
    samples: int
    infer_ms: Quantiles
    multiply_adds: int
    floor_ms: float
    share: float


@dataclass(frozen=True)
class Split:
    """Where the time of a request goes, for one client, in the order of its way. See :func:`split` for each part."""

    transport: Transport
    form: Form
    targets: int
    wire_ms: float
    read_parse_ms: float
    queue_ms: float
    infer_ms: float
    encode_write_ms: float


def quantiles(values: Sequence[float]) -> Quantiles:
    """Return the quantiles of some values, interpolated linearly; of none, NaN, which JSON writes as null."""
    if not values:
        return dict.fromkeys(QUANTILES, float("nan"))
    found = np.quantile(np.asarray(values), list(QUANTILES.values()))
    return {name: round(float(value), 4) for name, value in zip(QUANTILES, found, strict=True)}


def median(values: Sequence[float]) -> float:
    """Return the median, to 0.1 us; of none, NaN."""
    return quantiles(values)["p50"]


def figures(cell: Cell, samples: Samples) -> Row:
    """Return the figures of a cell."""
    overheads = [whole - part for whole, part in zip(samples.latency_ms, samples.inference_ms, strict=True)]
    return Row(
        cell=cell,
        samples=len(samples.latency_ms),
        failed=samples.failed,
        missed=len(samples.missed_ms),
        latency_ms=quantiles(samples.latency_ms + samples.missed_ms),
        requests_per_second=round(len(samples.latency_ms) / samples.seconds, 1) if samples.seconds else 0.0,
        inference_ms=median(samples.inference_ms),
        queue_ms=median(samples.queue_ms),
        overhead_ms=median(overheads) if cell.clients == 1 else None,
        late_ms=None if cell.rate is None else median(samples.late_ms),
    )


def gflops(multiply_adds: int, times: Sequence[float]) -> float:
    """Return the rate in GFLOP/s at the median of some times in ms; a multiply-add is two operations."""
    return 2 * multiply_adds / median(times) / 1e6


def raw(graph: str, times: Sequence[float], multiply_adds: int, rate: float) -> Raw:
    """Return the figures of a graph from the ms of its inferences, and the floor from a rate in GFLOP/s."""
    floor = 2 * multiply_adds / rate / 1e6
    share = round(floor / median(times), 3)
    return Raw(graph, len(times), quantiles(times), multiply_adds, round(floor, 4), share)


def split(rows: Sequence[Row]) -> list[Split]:
    """Return where a request's time goes, from the rows of one client.

    A client cannot see inside the service, so what the replies do not tell is a difference of two medians:

    - wire: the round trip of a request that names no window and is refused: both ways through pipe or socket, the
      waking of both processes, and what a request costs whatever it holds.
    - read and parse: the overhead of this form less that of the ``stream`` form, both without their queue time: what
      shipping and parsing a window adds, less the copy of a stream's.
    - queue and infer: medians of the replies' ``queue_time_ms`` and ``inference_time_ms``.
    - encode and write: the overhead of the ``stream`` form less queue time and wire: the copy of the stream's window,
      the encoding of the forecast, and what its bytes add on their way to the client.
    """
    single = {(row.cell.transport, row.cell.form, row.cell.targets): row for row in rows if row.cell.clients == 1}
    # Neither queue nor inference is part of it.
    own = {key: (row.overhead_ms or 0.0) - row.queue_ms for key, row in single.items()}
    parts = []
    for (transport, form, targets), row in single.items():
        if form == "empty":
            continue
        wire, stream = own[transport, "empty", 0], own[transport, "stream", targets]
        parsing = own[transport, form, targets] - stream
        times = (wire, parsing, row.queue_ms, row.inference_ms, stream - wire)
        parts.append(Split(transport, form, targets, *(round(time, 4) for time in times)))
    return parts
