"""What Prometheus reads: counts by label, times in buckets, what is held, added up over workers."""

from __future__ import annotations

import itertools

import httpx
import numpy as np
import pytest
from market_wire import match
from prometheus_client.parser import text_string_to_metric_families
from support import HttpService, packed, random_windows, wait_until

(WINDOW,) = random_windows(1)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(client: httpx.Client) -> Samples:
    """The samples that Prometheus would read, by name and labels."""
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples of a name that have these labels."""
    return sum(value for (each, has), value in samples.items() if each == name and labels.items() <= dict(has).items())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_requests_are_counted_by_label_and_summed_over_workers(workers: int) -> None:
    with HttpService("--workers", str(workers)) as service:
        for _ in range(2 * workers):  # a connection each, which go to workers in turn
            with httpx.Client(base_url=service.url) as client:
                wait_until(lambda: client.get("/readyz").status_code == 200, "the worker is ready")
                assert client.post("/forecast", json=packed(WINDOW)).status_code == 200
                assert client.post("/forecast", json={"past_values": [[1.0]]}).status_code == 422
                assert client.post("/v1/timeseries/forecast", json={}).status_code == 422
        with httpx.Client(base_url=service.url) as client:

            def complete() -> bool:  # what a worker holds is told once a second
                return total(scrape(client), "vinocast_model_state", model="glyphs", state="ready") == workers

            wait_until(complete, "every worker has told of its models")
            samples = scrape(client)
    count = 2 * workers
    answered = {"op": "forecast", "route": "/forecast", "model": "patchtst-etth1", "protocol": "http", "code": ""}
    assert total(samples, "vinocast_requests_total", **answered) == count
    assert total(samples, "vinocast_requests_total", code="invalid_shape", route="/forecast", model="") == count
    assert total(samples, "vinocast_requests_total", protocol="kserve", route="/v1/timeseries/forecast") == count
    assert total(samples, "vinocast_request_seconds_count", op="forecast", protocol="http") == 2 * count
    for name in ("inference", "queue"):
        assert total(samples, f"vinocast_{name}_seconds_count", op="forecast", model="patchtst-etth1") == count
        assert total(samples, f"vinocast_{name}_seconds_bucket", le="+Inf") == count
    assert total(samples, "vinocast_inference_seconds_sum") > 0
    assert total(samples, "vinocast_connections") >= 1
    assert total(samples, "vinocast_queued_rows") == 0
    bounds = sorted(float(dict(labels)["le"]) for (name, labels) in samples if name == "vinocast_queue_seconds_bucket")
    finite = [bound for bound in dict.fromkeys(bounds) if bound < float("inf")]
    assert finite[0] == pytest.approx(20e-6)
    assert all(high == pytest.approx(2 * low) for low, high in itertools.pairwise(finite))


def test_outcomes_of_streams_are_counted_and_how_many_lay_in_their_bands() -> None:
    with (
        HttpService("--stream-residuals", "50") as service,
        httpx.Client(base_url=service.url) as client,
    ):
        for name in ("judged", "within_band"):
            assert total(scrape(client), f"vinocast_outcomes_{name}_total", model="patchtst-etth1") == 0
        rows = client.post("/streams/known/observations", json={"values": WINDOW.tolist()}).json()
        assert rows["missing"] == 0
        reply = client.post("/forecast", json={"stream": "known", "quantile_levels": [0.1, 0.9]}).json()
        assert reply["quantiles_from"] == "model"
        low, high = (np.array(reply["quantiles"][level], np.float32) for level in ("0.1", "0.9"))
        right, count = 0, 30
        for step in range(count):
            # Every third beyond the band, and of the others one channel.
            row = (low[step] + high[step]) / 2 if step % 3 else high[step] + 1
            row[0] = low[step, 0] - 1
            right += 6 * (step % 3 != 0)
            observed = client.post("/streams/known/observations", json={"values": [row.tolist()]}).json()
            assert observed["success"]
        client.post("/streams/known/observations", json={"values": [[0.0] * 7]})  # the last may still be replaced
        client.post("/feed", json={"message": match(1, 0, 7.0)})
        samples = scrape(client)
        assert total(samples, "vinocast_outcomes_judged_total", model="patchtst-etth1") == 7 * count
        assert total(samples, "vinocast_outcomes_within_band_total", model="patchtst-etth1") == right
        assert total(samples, "vinocast_streams") == 2
        assert "known" not in client.get("/metrics").text


def test_names_that_clients_make_up_make_no_series() -> None:
    with HttpService() as service, httpx.Client(base_url=service.url) as client:
        before = len(scrape(client))
        for index in range(50):
            client.post("/forecast", json={**packed(WINDOW), "model": f"made-up-{index}"})
            client.get(f"/made-up/{index}")
            client.request(f"MADE-UP-{index}", "/forecast")
            client.get(f"/v2/models/made-up-{index}")
            client.post(f"/v2/models/made-up-{index}/infer", json={"inputs": []})
            client.delete(f"/streams/made-up-{index}")
            client.get("/readyz", headers={"Host": f"made-up-{index}.example.com"})
        assert len(scrape(client)) - before < 150
        assert "made-up" not in client.get("/metrics").text
