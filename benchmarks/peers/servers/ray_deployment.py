"""Ray Serve: one deployment on a local Ray, throughput-optimized as its docs advise."""

from __future__ import annotations

import os
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.servers.stock import StockModel


@serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=16)
class Forecaster:
    def __init__(self) -> None:
        self.model = StockModel()

    async def __call__(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        return {"predictions": self.model.predict(body["past_values"])[0].tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PEER_PORT"])})
    serve.run(Forecaster.bind(), blocking=True)  # type: ignore[attr-defined]  # ray's decorator adds it, and ray is untyped
