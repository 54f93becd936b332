"""A context that is too short: what is put before it, and how sure a forecast of it is."""

from __future__ import annotations

import numpy as np
import pytest
from support import MODEL, MODELS, StdioService, rows
from vinocast.forecast.manifest import open_forecaster
from vinocast.forecast.prepare import pad_front
from vinocast.forecast.quantiles import deviations, read_table


def test_the_mean_of_each_series_stands_before_it() -> None:
    window = np.array([[1, 3e38], [3, 3e38]], np.float32)
    padded = pad_front(window, 5)
    assert padded.dtype == np.float32
    assert padded.tolist() == [[2, window[0, 1]]] * 3 + window.tolist()


def test_quantiles_go_by_the_points_that_are_known() -> None:
    folder = open_forecaster(MODELS / MODEL)
    table = read_table(folder, folder.read())
    assert table is not None
    known = np.random.default_rng(0).standard_normal((40, 7)).astype(np.float32)
    wanted = {"short": "pad", "quantile_levels": [0.1, 0.9]}
    with StdioService() as service:
        whole = service.ask(rows(pad_front(known, 512)))
        window = service.ask(rows(known, **wanted))
        few = service.ask(rows(known, targets=[5, 2], **wanted))
        # A whole one beside it, whose own deviation counts.
        long = np.tile(known[:, 0], 20)
        series = [{"target": known[:, 0].tolist()}, {"target": long.tolist()}]
        inputs = service.ask({"inputs": series, "model": MODEL, **wanted})
    assert window["padded"] == 472
    points = np.array(window["predictions"], np.float32)
    assert np.allclose(points, whole["predictions"], atol=1e-5)
    expected = table.quantiles([0.1, 0.9], points, deviations(known.T), range(7))
    assert np.allclose(list(window["quantiles"].values()), expected, atol=1e-5)
    assert np.allclose(list(few["quantiles"].values()), expected[..., [5, 2]], atol=1e-5)
    for output, context in zip(inputs["outputs"], (known[:, 0], long[-512:]), strict=True):
        points = np.array(output["predictions"], np.float32)[:, None]
        expected = table.quantiles([0.1, 0.9], points, deviations(context[None]), None)[..., 0]
        assert np.allclose(list(output["quantiles"].values()), expected, atol=1e-5)
    assert [output.get("padded", 0) for output in inputs["outputs"]] == [472, 0]


@pytest.mark.parametrize("short", [1, 511])
def test_a_stream_that_holds_fewer_rows_is_padded(short: int) -> None:
    values = np.random.default_rng(1).standard_normal((short, 7)).astype(np.float32)
    with StdioService("--stream-residuals", "100") as service:
        assert service.ask({"op": "observe", "stream": "s", "values": values.tolist()})["success"]
        reply = service.ask({"stream": "s", "short": "pad", "quantile_levels": [0.5]})
        same = service.ask(rows(values, short="pad", quantile_levels=[0.5]))
    assert reply["padded"] == 512 - short
    assert reply["quantiles"] == same["quantiles"]
