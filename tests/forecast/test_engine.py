"""Series dealt out to streams: the same forecasts, each in its place, however many are asked for together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from support import MODEL, MODELS, StdioService, Window, in_threads, packed, random_windows, raw_inference
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import CpuBudget, cpu_budget
from vinocast.engine.profiles import PROFILES
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import open_forecaster

EVERY = range(7)


def load(profile: str, budget: CpuBudget, *, rest: bool = True) -> ForecastEngine:
    compiler, forecaster = Compiler(PROFILES[profile], budget), ForecastEngine(open_forecaster(MODELS / MODEL))
    forecaster.load(compiler)
    if rest:
        forecaster.load_rest(compiler)
    return forecaster


@pytest.fixture(scope="module")
def native() -> ForecastEngine:
    return load("native", cpu_budget())


@pytest.fixture(scope="module")
def streams() -> ForecastEngine:
    return load("throughput", cpu_budget())


def near(answer: Window, expected: Window, window: Window, targets: Sequence[int]) -> bool:
    scale = window[:, list(targets)].std(axis=0)
    return answer.shape == (96, len(targets)) and bool((abs(answer - expected[:, list(targets)]) <= 2e-6 * scale).all())


@pytest.mark.parametrize(
    "wanted",
    [
        [EVERY],
        [[3]],
        [[6, 0]],
        [[2], [5]],
        [EVERY, EVERY],
        [[1], EVERY, [4]],
        [[5, 1, 3], [0, 2, 4, 6]],
        [[i] for i in EVERY],
    ],
)
def test_streams_answer_as_one_inference_does(
    native: ForecastEngine, streams: ForecastEngine, wanted: list[Sequence[int]]
) -> None:
    if sum(map(len, wanted)) > streams.most_series:
        pytest.skip("one core: requests of so many series are not taken together")
    windows = random_windows(len(wanted), seed=len(wanted))
    answers, seconds = streams.forecast_together(list(zip(windows, wanted, strict=True)))
    assert seconds > 0
    for answer, window, targets in zip(answers, windows, wanted, strict=True):
        assert near(answer, native.forecast(window, EVERY)[0], window, targets)


def test_there_is_a_stream_a_core_and_as_many_windows_go_together(
    native: ForecastEngine, streams: ForecastEngine
) -> None:
    cores = cpu_budget().cores
    assert streams.in_force["NUM_STREAMS"] == cores
    assert streams.most_series == 7 * cores
    assert native.most_series == 7


def test_before_the_small_shapes_are_there_the_large_one_serves(native: ForecastEngine) -> None:
    early = load("throughput", cpu_budget(), rest=False)
    assert early.compiled_counts == [7]
    (window,) = random_windows(1)
    for targets in ([4], [1, 2, 3], EVERY):
        assert near(early.forecast(window, targets)[0], native.forecast(window, EVERY)[0], window, targets)


@pytest.mark.slow
def test_a_crowd_is_answered_once_each_with_its_own_numbers() -> None:
    windows = random_windows(8, seed=3)
    expected = raw_inference(windows)
    wanted = [list(EVERY) if i % 3 else [i % 7] for i in range(60)]
    with StdioService("--profile", "throughput") as service:
        assert service.ask({"op": "ping"})["ready"]
        service.send(*(packed(windows[i % 8], request_id=i, targets=wanted[i]) for i in range(60)))
        replies, code = service.finish()
    assert code == 0
    assert sorted(reply["request_id"] for reply in replies) == list(range(60))
    for reply in replies:
        i = reply["request_id"]
        answer = np.array(reply["predictions"], np.float32)
        assert near(answer, expected[i % 8], windows[i % 8], wanted[i])


def test_a_forecast_stays_as_it_is_when_the_next_one_is_made(native: ForecastEngine) -> None:
    first, second = random_windows(2, seed=4)
    for targets in ([0], [2, 1], EVERY):
        forecast, _ = native.forecast(first, targets)
        before = forecast.copy()
        native.forecast(second, targets)
        assert np.array_equal(forecast, before)


@pytest.mark.parametrize("profile", ["native", "throughput"])
@pytest.mark.slow
def test_threads_get_their_own_answers_also_while_more_shapes_are_loaded(native: ForecastEngine, profile: str) -> None:
    windows = random_windows(8, seed=5)
    targets = [[index % 7] if index % 2 else list(EVERY) for index in range(8)]
    expected = [native.forecast(window, EVERY)[0] for window in windows]
    compiler = Compiler(PROFILES[profile], cpu_budget())
    forecaster = ForecastEngine(open_forecaster(MODELS / MODEL))
    forecaster.load(compiler)

    def work(index: int) -> list[Window]:
        if index == 8:
            forecaster.load_rest(compiler)
            return []
        # Kept until the end: an answer that is no copy would change.
        return [forecaster.forecast(windows[index], targets[index])[0] for _ in range(40)]

    for index, answers in enumerate(in_threads(work, 9)[:8]):
        assert all(near(answer, expected[index], windows[index], targets[index]) for answer in answers)
    assert forecaster.compiled_counts == list(range(1, 8))
