"""What Prometheus is told: counts and times of requests as they end, and what a service holds when it is asked.

prometheus-client counts, and writes the text. Where several processes share a port, each counts in files of one folder,
of which whichever is asked adds up those of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from typing import TYPE_CHECKING, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import mark_process_dead

from vinocast.monitoring.summed import summed

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from vinocast.monitoring.ended import Ended

__all__ = ["CONTENT_TYPE_LATEST", "Metrics", "forget_process"]
# When each began doubles the text, and nobody here asks.
disable_created_metrics()  # type: ignore[no-untyped-call]  # as the package has it
# From 20 us by a constant factor to 21 s: an inference of one series takes some 200 us, a batch of glyphs seconds.
BUCKETS = [20e-6 * 2**power for power in range(21)]
# Of samples whose lines are written, some 7 us each.
SAMPLES_AT_ONCE = 50
Values: TypeAlias = "Mapping[tuple[str, str], Callable[[], float]]"


class Metrics:
    """The metrics of a service; is told of each request that has ended.

    Args:
        held: what the service holds at the moment that it is asked, by a name and what it is.
        counted: what the service has counted itself since its start, the same way.
        states: returns the states of its models by NAME, or by NAME/VERSION.
        coverage: returns how many outcomes were judged, and how many lay in their bands, by the names of models.
        shared: whether other processes of the service count as well, in the folder that PROMETHEUS_MULTIPROC_DIR names.
    """

    def __init__(
        self,
        held: Values,
        counted: Values,
        states: Callable[[], Mapping[str, str]],
        coverage: Callable[[], Mapping[str, tuple[int, int]]],
        *,
        shared: bool,
    ) -> None:
        self._shared = shared
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "vinocast_requests",
            "Requests that have ended; code is empty where they were answered.",
            ["op", "route", "model", "protocol", "code"],
            registry=registry,
        )
        self._seconds = self._histogram("request", "From a request's receipt to its reply.", "protocol")
        self._inference = self._histogram("inference", "The infer() calls of an answer alone.", "model")
        self._queue = self._histogram("queue", "From a decoded request to the start of its computation.", "model")
        self._held = [
            (Gauge(f"vinocast_{name}", text, registry=registry, multiprocess_mode="livesum"), value)
            for (name, text), value in held.items()
        ]
        self._counted = [
            (Counter(f"vinocast_{name}", text, registry=registry), value) for (name, text), value in counted.items()
        ]
        self._seen: dict[object, float] = {}
        self._states = states
        self._state = Gauge(
            "vinocast_model_state",
            "How many processes have a model in a state.",
            ["model", "state"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._coverage = coverage
        self._outcomes = [
            Counter(f"vinocast_outcomes_{name}", text, ["model"], registry=registry)
            for name, text in (
                ("judged", "Numbers that came behind a forecast of a stream whose band of 80 % was kept."),
                ("within_band", "Those of them that lay in the band."),
            )
        ]
        self._judged: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        if not self._shared:
            ProcessCollector(registry=registry)
        # To look for a child takes as long as to count.
        self._children: dict[tuple[str, ...], tuple[Counter, list[tuple[Histogram, str]]]] = {}

    def _histogram(self, name: str, text: str, label: str) -> Histogram:
        return Histogram(f"vinocast_{name}_seconds", text, ["op", label], buckets=BUCKETS, registry=self._registry)

    def __call__(self, ended: Ended) -> None:
        """Count a request."""
        origin, code = ended.origin, "" if ended.error is None else ended.error.code
        key = (ended.op, origin.route, ended.model, origin.protocol, code)
        found = self._children.get(key)
        if found is None:
            times = [(self._seconds.labels(ended.op, origin.protocol), "seconds")]
            if ended.model:
                times.append((self._inference.labels(ended.op, ended.model), "inference_seconds"))
                times.append((self._queue.labels(ended.op, ended.model), "queue_seconds"))
            found = self._children[key] = (self._requests.labels(*key), times)
        count, times = found
        count.inc()
        for histogram, name in times:
            histogram.observe(getattr(ended, name))

    def refresh(self) -> None:
        """Look at what the service holds now, and has counted."""
        for gauge, value in self._held:
            gauge.set(value())
        for counter, value in self._counted:
            self._catch_up(counter, value())
        for model, counts in self._coverage().items():
            self._judged.add(model)
            for counter, count in zip(self._outcomes, counts, strict=True):
                self._catch_up(counter.labels(model), count)
        states = set(self._states().items())
        for each in self._told | states:
            self._state.labels(*each).set(each in states)
        self._told |= states
        if not self._shared:  # in files of several processes a series stays
            self._forget_others({"", *(model for model, _ in states)})

    def _forget_others(self, models: Set[str]) -> None:
        """Keep no series of a version that is let go: with each new one there would be more of them."""
        for gone in {each for each in self._told if each[0] not in models}:
            self._state.remove(*gone)
            self._told.discard(gone)
        for model in self._judged - models:
            self._judged.discard(model)
            for counter in self._outcomes:
                del self._seen[counter.labels(model)]
                counter.remove(model)
        for key in [key for key in self._children if key[2] not in models]:
            op, _, model, _, _ = key
            del self._children[key]
            self._requests.remove(*key)
            for histogram in (self._inference, self._queue):
                histogram.remove(op, model)

    def _catch_up(self, counter: Counter, count: float) -> None:
        """Have a counter say what has been counted elsewhere."""
        counter.inc(count - self._seen.get(counter, 0))
        self._seen[counter] = count

    def pages(self) -> Iterator[bytes]:
        """Return the text for Prometheus in parts, some of them empty, of which each takes less than a millisecond."""
        self.refresh()
        for family in summed() if self._shared else self._registry.collect():
            yield b""
            if family is not None:
                yield from _written(family)


def forget_process(pid: int) -> None:
    """Have what a process that has ended held count no longer; what it has counted does."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]  # as the package has it


def _written(family: Metric) -> Iterator[bytes]:
    """Return the text of a family of metrics in parts."""
    samples = family.samples
    for start in range(0, max(1, len(samples)), SAMPLES_AT_ONCE):
        family.samples = samples[start : start + SAMPLES_AT_ONCE]
        text = generate_latest(_Alone(family))
        # What it is stands before the first alone, in two lines.
        yield text.split(b"\n", 2)[2] if start else text


class _Alone:
    """A family of metrics as a registry of its own."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> list[Metric]:
        return [self._family]
