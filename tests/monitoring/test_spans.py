"""Spans for OpenTelemetry: what a collector gets of each request, and a collector that is away or never answers."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from support import MODEL, PATIENCE, HttpService, RunVinocast, StdioService, packed, random_windows, wait_until
from tensors_asked import grpc_port
from vinocast.protocols.open_inference.messages import SERVICE, message

(WINDOW,) = random_windows(1)
TRACE, PARENT = "1a" * 16, "2b" * 8


class Collector:
    """A collector on the loopback; what it has been sent."""

    def __init__(self) -> None:
        self._spans: list[tuple[dict[str, Any], Any]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                for each in sent.resource_spans:
                    resource = values(each.resource.attributes)
                    collector._spans += [(resource, span) for scope in each.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.env = told_to_export(self._server.server_port)

    def spans(self, **attributes: Any) -> list[tuple[dict[str, Any], Any]]:
        """Resource and span of each that has these attributes, by the ends of their names."""

        def has(span: Any) -> bool:
            there = {name.rpartition(".")[2]: value for name, value in values(span.attributes).items()}
            return attributes.items() <= there.items()

        return [(resource, span) for resource, span in list(self._spans) if has(span)]

    def span(self, **attributes: Any) -> Any:
        """The one span that has these attributes, once it has come."""
        wait_until(lambda: self.spans(**attributes), f"a span with {attributes}")
        ((_, span),) = self.spans(**attributes)
        return span

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def told_to_export(port: int, **variables: str) -> dict[str, str]:
    """The environment of a service that exports to a port, ten times a second."""
    return {
        "VINOCAST_OTEL": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        **variables,
    }


def values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def service(collector: Collector) -> Iterator[HttpService]:
    with HttpService("--grpc-port", "0", env=collector.env | {"OTEL_RESOURCE_ATTRIBUTES": "site=here"}) as service:
        yield service


def test_an_answer_is_a_span_below_that_of_its_client(service: HttpService, collector: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "http-answered"}
    reply = httpx.post(f"{service.url}/forecast", json=packed(WINDOW, request_id=17), headers=headers).json()
    span = collector.span(http_id="http-answered")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert (span.name, span.kind, span.status.code) == ("forecast", Span.SPAN_KIND_SERVER, Status.STATUS_CODE_UNSET)
    told = values(span.attributes)
    queue, inference = told.pop("vinocast.queue_seconds"), told.pop("vinocast.inference_seconds")
    assert told == {
        "vinocast.protocol": "http",
        "vinocast.op": "forecast",
        "vinocast.http_id": "http-answered",
        "vinocast.request_id": "17",
        "vinocast.model": MODEL,
        "http.route": "/forecast",
        "http.response.status_code": 200,
    }
    assert inference * 1e3 == pytest.approx(reply["inference_time_ms"], abs=1e-4)
    assert 0 < queue + inference <= (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    ((resource, _),) = collector.spans(http_id="http-answered")
    assert {**resource, "service.name": "vinocast", "process.pid": service.process.pid, "site": "here"} == resource


def test_a_refusal_is_a_span_with_its_code(service: HttpService, collector: Collector) -> None:
    for name, path in (("refused", "/forecast"), ("nowhere", "/nowhere")):
        httpx.post(f"{service.url}{path}", json={"past_values": [[1.0]]}, headers={"X-Request-ID": f"http-{name}"})
    span = collector.span(http_id="http-refused")
    assert (span.status.code, span.parent_span_id) == (Status.STATUS_CODE_ERROR, b"")
    assert span.status.message == "invalid_shape: past_values: expected 512 rows, got 1"
    told = values(span.attributes)
    assert (told["error.type"], told["http.response.status_code"]) == ("invalid_shape", 422)
    span = collector.span(http_id="http-nowhere")
    assert (span.name, values(span.attributes)["error.type"]) == ("request", "not_found")


def test_what_a_client_does_not_sample_is_no_span(service: HttpService, collector: Collector) -> None:
    for flags, name in (("00", "unsampled"), ("01", "sampled")):
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-{flags}", "X-Request-ID": f"http-{name}"}
        httpx.post(f"{service.url}/forecast", json={}, headers=headers)
    collector.span(http_id="http-sampled")
    assert collector.spans(http_id="http-unsampled") == []


def test_calls_of_grpc_are_spans_too(service: HttpService, collector: Collector) -> None:
    trace = "3c" * 16
    tensor = {"name": "past_values", "datatype": "FP32", "shape": [1, 512, 7]}
    asked = message("ModelInferRequest")(
        model_name=MODEL, id="by gRPC", inputs=[tensor], raw_input_contents=[WINDOW.tobytes()]
    )
    unknown = message("ModelReadyRequest")(name="none")
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port(service)}") as channel:
        for method, given in (("ModelInfer", asked), ("ModelReady", unknown)):
            call = channel.unary_unary(f"/{SERVICE}/{method}")
            metadata = [("traceparent", f"00-{trace}-{PARENT}-01")]
            try:
                call(given.SerializeToString(), timeout=PATIENCE, metadata=metadata)
                code = ""
            except grpc.RpcError:
                code = "unknown_model"
            span = collector.span(method=method)
            assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, PARENT)
            assert values(span.attributes).get("error.type", "") == code
    assert values(collector.span(method="ModelInfer").attributes)["vinocast.request_id"] == "by gRPC"


def test_lines_are_spans_and_the_last_of_them_are_exported_at_the_end(collector: Collector) -> None:
    with StdioService(
        env=collector.env | {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_SERVICE_NAME": "mine"}
    ) as service:
        assert service.ask(packed(WINDOW, request_id="line answered"))["success"]
        assert not service.ask({"request_id": "x" * 1000, "op": "none"})["success"]
        _, code = service.finish()
    assert code == 0
    ((resource, span),) = collector.spans(protocol="lines", request_id="line answered")
    assert (resource["service.name"], span.name, span.parent_span_id) == ("mine", "forecast", b"")
    ((_, span),) = collector.spans(protocol="lines", type="unknown_op")
    assert len(values(span.attributes)["vinocast.request_id"]) == 80


@pytest.mark.slow
def test_each_worker_exports(collector: Collector) -> None:
    with HttpService("--workers", "2", env=collector.env) as service:
        wait_until(lambda: "Vinocast is ready on" in service.log, "both workers are ready")
        for index in range(4):  # a connection each, which go to workers in turn
            httpx.post(f"{service.url}/forecast", json={}, headers={"X-Request-ID": f"worker-{index}"})
        for index in range(4):
            collector.span(http_id=f"worker-{index}")
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
    told = [resource for index in range(4) for resource, _ in collector.spans(http_id=f"worker-{index}")]
    assert len({resource["process.pid"] for resource in told}) == 2
    assert len({resource["service.instance.id"] for resource in told}) == 2


@pytest.mark.parametrize("form", ["hangs", "away"])
def test_a_collector_that_never_answers_keeps_no_request_and_not_the_end(form: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if form == "hangs":  # the kernel takes connections and what is sent on them
            silent.listen()
        few = {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_EXPORTER_OTLP_TIMEOUT": "3600"}
        with HttpService(env=told_to_export(silent.getsockname()[1], **few)) as service:
            with httpx.Client(base_url=service.url) as client:
                for _ in range(200):
                    assert client.post("/forecast", json=packed(WINDOW)).json()["success"]
            wait_until(lambda: "Queue full" in service.log, "what has no room is dropped, and the log says so")
            assert service.log.count("Queue full") < 100
            service.signal(signal.SIGTERM)
            assert service.wait() == 0
            assert "has not taken the last spans" in service.log


def test_what_the_variables_ask_for_and_is_not_spoken_is_refused(run_vinocast: RunVinocast) -> None:
    env = told_to_export(1, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    done = run_vinocast("serve", "--port", "0", env=env)
    assert done.returncode == 1
    assert "OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf, got grpc" in done.stderr


def test_without_the_option_nothing_is_exported_nor_loaded(collector: Collector) -> None:
    with HttpService(env=collector.env | {"VINOCAST_OTEL": ""}) as service:
        httpx.get(f"{service.url}/none", headers={"X-Request-ID": "untold"})
        assert "OTEL_EXPORTER_OTLP_ENDPOINT has no effect without --otel" in service.log
        assert "OtelBatch" not in service.log
    assert collector.spans(http_id="untold") == []
    loaded = "import vinocast.transports.http.server, sys; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0
