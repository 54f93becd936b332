"""LitServe: a LitAPI over the fast queue, as its docs advise beyond 100 requests per second.

One worker, whose inference has both cores: one per core, its docs' advice for CPUs, is slower with two threads each.
"""

import os

import litserve as ls
import numpy as np

from benchmarks.peers.servers.stock import StockModel


class Forecaster(ls.LitAPI):
    """Annotations would have LitServe validate what they say, so there are none, as in its docs."""

    def setup(self, device):
        self.model = StockModel()

    def decode_request(self, request):
        return np.array(request["past_values"], np.float32)

    def predict(self, x):
        return self.model.predict(x)

    def encode_response(self, output):
        return {"predictions": output[0].tolist()}


if __name__ == "__main__":
    server = ls.LitServer(Forecaster(), accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run("127.0.0.1", int(os.environ["PEER_PORT"]), generate_client_file=False, log_level="warning")
