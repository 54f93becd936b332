"""The published accuracy figures come out of the service itself: every window of the test split through its pipe."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from support import SHARED_DATA
from vinocast.data.etth1 import read_etth1
from vinocast.data.windows import windows

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
VINOCAST = str(Path(sys.executable).parent / "vinocast")
CONTEXT, HORIZON, WINDOWS = 512, 96, 2785


def forecast_test_split(models: Path, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return predictions and truth, [windows, horizon, channels]; the sender does not wait for replies."""
    pasts, futures = windows(read_etth1(SHARED_DATA / "ETTh1.csv").rows("test", CONTEXT), CONTEXT, HORIZON)
    command = [VINOCAST, "stdio", "--models", str(models), "--default-model", name, "--queue-rows", "100000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        pipe = service.stdin

        def send() -> None:
            with pipe:
                for i, past in enumerate(pasts):
                    rows = np.ascontiguousarray(past.T)
                    if i % 2:
                        window: dict[str, object] = {"past_values": rows}
                    else:
                        window = {"past_values_b64": base64.b64encode(rows.tobytes()).decode(), "shape": [CONTEXT, 7]}
                    pipe.write(orjson.dumps({"request_id": i, **window}, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")

        sender = threading.Thread(target=send)
        sender.start()
        replies = {reply["request_id"]: reply for reply in map(orjson.loads, service.stdout)}
        sender.join()
        assert service.wait(timeout=30) == 0
    assert len(replies) == len(pasts)
    assert all(reply["success"] for reply in replies.values())
    predictions = np.array([replies[i]["predictions"] for i in range(len(pasts))], np.float32)
    return predictions, futures.transpose(0, 2, 1)


@pytest.mark.shared_data
@pytest.mark.timeout(300)
def test_converted_granite_reaches_its_published_figures(tmp_path: Path) -> None:
    source = SHARED_DATA / "granite-timeseries-patchtst"
    subprocess.run([VINOCAST, "convert", str(source), "--output", str(tmp_path / "granite")], check=True)
    predictions, truth = forecast_test_split(tmp_path, "granite")
    assert len(predictions) == WINDOWS
    assert np.square(predictions - truth).mean(dtype=np.float64) == pytest.approx(0.38814, abs=1e-4)
    assert np.abs(predictions - truth).mean(dtype=np.float64) == pytest.approx(0.42235, abs=1e-4)


@pytest.mark.shared_data
@pytest.mark.timeout(300)
def test_the_bundled_model_is_as_accurate_as_its_manifest_says() -> None:
    models = ROOT / "models"
    predictions, truth = forecast_test_split(models, "patchtst-etth1")
    mse = float(np.square(predictions - truth).mean(dtype=np.float64))
    manifest = orjson.loads((models / "patchtst-etth1" / "manifest.json").read_bytes())
    (stated,) = (metric for metric in manifest["metrics"] if metric["split"] == "test")
    assert mse == pytest.approx(stated["mse"], abs=1e-4)
    assert mse < 0.380
