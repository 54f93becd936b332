"""What a service took for large requests goes back to the system when they are done."""

from __future__ import annotations

import http.client

import httpx
import numpy as np
import orjson
import pytest
from support import PATIENCE, HttpService, all_shapes, in_threads, wait_until

pytestmark = pytest.mark.slow

CLIENTS, ROUNDS = 12, 2
CHANNELS = 800
WIDE = orjson.dumps(
    {
        "past_values": np.random.default_rng(0).standard_normal((512, CHANNELS)).round(4).tolist(),
        "channels": [str(channel) for channel in range(CHANNELS)],
    }
)
JUNK = b'{"targets":[' + b"null," * 900_000 + b"null]}"


def test_behind_crowds_of_large_requests_a_service_takes_little_more_than_before() -> None:
    def ask(body: bytes) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)
        connection.request("POST", "/forecast", body, {"Content-Type": "application/json"})
        with connection.getresponse() as response:
            response.read()
        connection.close()
        return response.status

    with HttpService() as service:
        wait_until(lambda: all_shapes(httpx.get(f"{service.url}/readyz").json()["models"]), "loaded")
        before = service.resident_mb
        for _ in range(ROUNDS):
            assert set(in_threads(lambda _: ask(JUNK), CLIENTS)) == {422}
            assert set(in_threads(lambda _: ask(WIDE), CLIENTS)) <= {200, 429}
        # Seen are 16; where glibc decides by itself what goes back, 71.
        assert service.resident_mb - before < 45
