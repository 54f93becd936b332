"""What OpenTelemetry is told: a span of each request that has ended, exported by a thread of the SDK's own.

The service makes no traces: a span is the child of what the client's ``traceparent`` names, or the first of its trace.
Where they go, how many may wait and which are sampled is said by the standard's own variables, ``OTEL_…``, which the
SDK reads.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from vinocast import __version__
from vinocast.errors import SetupError, shorten

if TYPE_CHECKING:
    from vinocast.monitoring.ended import Ended

# The variables of the standard that say what is spoken, and what is spoken here.
PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
# Spans of one export, which take 2.4 ms to encode. In that time the loop may have to wait for the interpreter; of the
# SDK's 512 it would be 21 ms.
SPANS_AT_ONCE = 64
BATCH_VARIABLE = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
log = logging.getLogger(__name__)


def destination() -> str:
    """Return where spans go, as the variables say it."""
    for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if os.environ.get(name):
            return os.environ[name]
    return "http://localhost:4318"


class Spans:
    """Exports a span of each request that it is told of.

    Raises SetupError where the variables ask for what cannot be done.
    """

    def __init__(self) -> None:
        spoken = next(filter(None, map(os.environ.get, PROTOCOL_VARIABLES)), PROTOCOL)
        if spoken != PROTOCOL:
            raise SetupError(f"{PROTOCOL_VARIABLES[1]}: expected {PROTOCOL}, got {spoken}: nothing else is spoken")
        # What it tries again is worth no line; what it gives up is.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
        ours: dict[str, Any] = {"service.name": "vinocast", "service.version": __version__, "process.pid": os.getpid()}
        try:
            given = OTELResourceDetector().detect().attributes
            self._provider = TracerProvider(resource=Resource.create({**ours, **given}), shutdown_on_exit=False)
            at_once = int(os.environ.get(BATCH_VARIABLE) or SPANS_AT_ONCE)
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), max_export_batch_size=at_once))
        except ValueError as error:
            raise SetupError(f"--otel: {error}; mend the variable OTEL_… that says so") from error
        self._tracer = self._provider.get_tracer("vinocast", __version__)
        log.info("a span of each request goes to %s", destination())

    def __call__(self, ended: Ended) -> None:
        """Have a span of a request exported."""
        end = time.time_ns()
        origin, error = ended.origin, ended.error
        attributes: dict[str, str | int | float] = {"vinocast.protocol": origin.protocol}
        if ended.op:
            attributes["vinocast.op"] = ended.op
        if origin.http_id:
            attributes["vinocast.http_id"] = origin.http_id
            attributes["http.response.status_code"] = 200 if error is None else error.status
        if origin.route:
            attributes["http.route" if origin.http_id else "rpc.method"] = origin.route
        if (called := ended.called()) is not None:
            attributes["vinocast.request_id"] = shorten(str(called))
        if ended.model:
            attributes["vinocast.model"] = ended.model
            attributes["vinocast.queue_seconds"] = ended.queue_seconds
            attributes["vinocast.inference_seconds"] = ended.inference_seconds
        if error is not None:
            attributes["error.type"] = error.code
        span = self._tracer.start_span(
            ended.op or origin.route or "request",
            _parent(origin.trace) if origin.trace else Context(),
            SpanKind.SERVER,
            attributes,
            start_time=end - int(ended.seconds * 1e9),
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, f"{error.code}: {error.message}"))
        span.end(end)

    def close(self, seconds: float) -> None:
        """Have what waits exported, within so many seconds; the rest is dropped."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(seconds)
        if closing.is_alive():
            log.warning("%s has not taken the last spans within %.1f s: they are dropped", destination(), seconds)


def _parent(trace: str) -> Context:
    """Return the context of what a ``traceparent`` names."""
    _, trace_id, span_id, flags = trace.split("-")
    parent = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(parent), Context())
