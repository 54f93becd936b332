"""What a stream learns of its forecasts from what comes after them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from support import MODEL, MODELS, StdioService, error_of
from vinocast.errors import InvalidValueError
from vinocast.forecast.manifest import open_forecaster
from vinocast.forecast.outcomes import ENOUGH, Outcomes
from vinocast.forecast.quantiles import deviations, read_table
from vinocast.forecast.stream import Expected, Stream

Floats = NDArray[np.float32]
ONE = np.ones(1, np.float32)


def column(*values: float) -> Floats:
    return np.array(values, np.float32)[:, None]


def kept(outcomes: Outcomes, step: int) -> list[float]:
    """The residuals of a step of the only channel, ascending."""
    residuals = np.sort(outcomes._residuals[step, 0])
    return [float(residual) for residual in residuals if not np.isnan(residual)]


def test_a_row_is_the_outcome_of_a_step_of_each_forecast_before_it() -> None:
    outcomes = Outcomes(10, 3, 1)
    nothing = np.empty((0, 1), np.float32)
    outcomes.remember(5, column(10, 20, 30), 2 * ONE, [0], nothing)
    outcomes.observe(5, column(14))  # step 1 of the first: (14 - 10) / 2
    outcomes.remember(6, column(0, 0, 0), ONE, [0], nothing)
    outcomes.observe(6, column(5, 7, 9))  # 5 - 20, 7 - 30 of the first; 5, 7, 9 of the second; 9 is beyond the first
    assert kept(outcomes, 0) == [2, 5]
    assert kept(outcomes, 1) == [-7.5, 7]
    assert kept(outcomes, 2) == [-11.5, 9]


def test_only_the_newest_are_kept() -> None:
    outcomes = Outcomes(3, 1, 1)
    for position in range(10):
        outcomes.remember(position, column(0), ONE, [0], np.empty((0, 1), np.float32))
        outcomes.observe(position, column(position))
    assert kept(outcomes, 0) == [7, 8, 9]


def test_of_one_row_each_channel_is_forecast_once() -> None:
    outcomes, nothing = Outcomes(10, 2, 2), np.empty((0, 2), np.float32)
    outcomes.remember(4, column(1, 1), ONE, [1], nothing)
    outcomes.remember(4, column(2, 2), ONE, [0], nothing)
    outcomes.remember(4, np.full((2, 2), 9, np.float32), np.ones(2, np.float32), [0, 1], nothing)
    outcomes.observe(4, np.zeros((2, 2), np.float32))
    residuals, _ = outcomes.quantiles([0.5], 2, [0, 1])
    # The third, of both, was the first of neither.
    assert residuals.tolist() == [[[-2, -1], [-2, -1]]]


def test_rows_that_came_while_a_forecast_was_computed_are_its_outcomes() -> None:
    outcomes = Outcomes(10, 3, 1)
    outcomes.remember(5, column(1, 2, 3), ONE, [0], column(1, 1))
    outcomes.observe(7, column(1))
    assert [kept(outcomes, step) for step in range(3)] == [[0], [-1], [-2]]
    # One that comes after a newer one in its place, or after all of its outcomes, is too late.
    outcomes.remember(8, column(1, 2, 3), ONE, [0], np.empty((0, 1), np.float32))
    outcomes.remember(5, column(7, 7, 7), ONE, [0], column(1, 1))
    outcomes.remember(6, column(7, 7, 7), ONE, [0], column(1, 1, 1))
    outcomes.observe(8, column(1))
    assert kept(outcomes, 0) == [0, 0]


def test_what_is_replaced_is_an_outcome_once() -> None:
    outcomes = Outcomes(10, 2, 1)
    outcomes.replace(column(1)[0])  # before there was any
    outcomes.remember(0, column(0, 0), ONE, [0], np.empty((0, 1), np.float32))
    outcomes.observe(0, column(100))
    outcomes.replace(column(3)[0])
    assert [kept(outcomes, step) for step in range(2)] == [[3], []]
    outcomes.observe(1, column(4))
    assert [kept(outcomes, step) for step in range(2)] == [[3], [4]]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_is_kept_as_a_list_of_all_would_be(seed: int) -> None:
    """Forecasts after each row or few, rows by one and by many, rows that are replaced, and jumps."""
    random, horizon = np.random.default_rng(seed), 4
    outcomes, position, newest = Outcomes(4000, horizon, 1), 0, False
    waiting: dict[int, Floats] = {}
    right: dict[tuple[int, int], float] = {}

    def write(at: int, row: np.float32) -> None:
        for made, points in waiting.items():
            if 0 <= at - made < horizon:
                right[made, at - made] = float(row - points[at - made, 0])

    for _ in range(300):
        match random.integers(8):
            case 0 | 1 | 2:
                made = random.standard_normal((horizon, 1)).astype(np.float32)
                if position not in waiting:
                    waiting[position] = made
                outcomes.remember(position, made, ONE, [0], np.empty((0, 1), np.float32))
            case 3 | 4 | 5:
                rows = random.standard_normal((random.choice([1, 1, 1, 2, horizon, horizon + 2]), 1)).astype(np.float32)
                outcomes.observe(position, rows)
                for at, row in enumerate(rows[:, 0], position):
                    write(at, row)
                position, newest = position + len(rows), True
            case 6 if newest:
                row = random.standard_normal(1).astype(np.float32)
                outcomes.replace(row)
                write(position - 1, row[0])
            case 7 if random.random() < 0.2:
                outcomes.skip(position)
                waiting, newest = {position: np.full((horizon, 1), np.nan, np.float32)}, False
                right = {key: value for key, value in right.items() if not np.isnan(value)}
        wanted = {key: value for key, value in right.items() if not np.isnan(value)}
        for step in range(horizon):
            assert kept(outcomes, step) == sorted(value for (_, each), value in wanted.items() if each == step)


def test_a_forecast_that_was_computed_while_time_jumped_waits_for_nothing() -> None:
    outcomes = Outcomes(10, 3, 1)
    outcomes.skip(5)
    outcomes.observe(5, column(1))
    outcomes.remember(5, column(0, 0, 0), ONE, [0], column(1))
    assert kept(outcomes, 0) == []
    outcomes.remember(6, column(0, 0, 0), ONE, [0], np.empty((0, 1), np.float32))
    outcomes.observe(6, column(2))
    assert kept(outcomes, 0) == [2]


def test_after_a_jump_the_forecasts_before_it_wait_no_longer() -> None:
    outcomes = Outcomes(10, 3, 1)
    outcomes.remember(0, column(0, 0, 0), ONE, [0], np.empty((0, 1), np.float32))
    outcomes.observe(0, column(1))
    outcomes.skip(1)
    outcomes.replace(column(5)[0])
    outcomes.observe(1, column(2, 3))
    assert [kept(outcomes, step) for step in range(3)] == [[1], [], []]


def test_what_no_float_holds_is_no_outcome() -> None:
    outcomes = Outcomes(10, 1, 1)
    outcomes.remember(0, column(-3e38), np.array([1e-3], np.float32), [0], np.empty((0, 1), np.float32))
    outcomes.observe(0, column(3e38))
    assert kept(outcomes, 0) == []
    assert not outcomes.quantiles([0.5], 1, [0])[1].any()


def test_a_rank_is_that_of_conformal_prediction() -> None:
    outcomes = Outcomes(99, 1, 1)
    for position in range(99):
        outcomes.remember(position, column(0), ONE, [0], np.empty((0, 1), np.float32))
        outcomes.observe(position, column(position))
    made, enough = outcomes.quantiles([0, 0.1, 0.105, 0.9, 1], 1, [0])
    # Of 99, the tenth is at 0.1.
    assert made[:, 0, 0] == pytest.approx([0, 9, 9.5, 89, 98])
    assert enough.all()


def fed(stream: Stream, values: Floats, *, first_ms: int | None = None, step_ms: int = 1000) -> None:
    """Forecast 0 from each row, and give the next."""
    for number, row in enumerate(values):
        expected = stream.expect("m", 4)
        assert expected is not None
        points = np.zeros((4, stream.channels), np.float32)
        expected.remember(points, np.ones(stream.channels, np.float32), range(stream.channels))
        stream.observe(row[None], None if first_ms is None else first_ms + number * step_ms)


def expected_of(stream: Stream) -> Expected:
    expected = stream.expect("m", 4)
    assert expected is not None
    return expected


def test_until_there_are_enough_of_a_step_the_models_quantiles_stay() -> None:
    stream = Stream(8, 1, 1000, residuals=500)
    points, scales = np.full((4, 1), 7, np.float32), np.array([2], np.float32)
    said = []
    for count in range(ENOUGH + 4):
        quantiles = np.full((2, 4, 1), -1, np.float32)
        said.append(expected_of(stream).improve(quantiles, [0.1, 0.9], points, scales, [0]))
        # Of each step further one outcome less has come.
        assert (quantiles[:, :, 0] != -1).sum(axis=1).tolist() == [max(0, min(4, count - ENOUGH + 1))] * 2
        fed(stream, column(3))
    assert (quantiles[:, 0] == 7 + 2 * 3).all()
    assert said == ["model"] * ENOUGH + ["both"] * 3 + ["stream"]


def test_a_few_are_enough_where_no_more_are_kept() -> None:
    stream = Stream(8, 1, 1000, residuals=5)
    fed(stream, np.ones((8, 1), np.float32))
    quantiles = np.zeros((1, 4, 1), np.float32)
    assert expected_of(stream).improve(quantiles, [0.5], column(0, 0, 0, 0), ONE, [0]) == "stream"
    assert (quantiles == 1).all()


def test_quantiles_of_a_stream_beyond_float32_are_refused() -> None:
    stream = Stream(8, 1, 1000, residuals=5)
    fed(stream, np.full((9, 1), 3e38, np.float32))
    with pytest.raises(InvalidValueError, match="too far"):
        expected_of(stream).improve(np.zeros((1, 4, 1), np.float32), [0.5], np.full((4, 1), 3e38, np.float32), ONE, [0])


def test_none_are_kept_unasked_and_those_of_one_model_alone() -> None:
    assert Stream(8, 1, 1000).expect("m", 4) is None
    stream = Stream(8, 1, 1000, residuals=5)
    assert stream.expect("m", 4) is not None
    assert stream.expect("other", 4) is None


def test_a_jump_of_the_time_and_a_replaced_row_are_seen_by_a_stream() -> None:
    stream = Stream(8, 1, 100_000, residuals=50)
    fed(stream, np.ones((6, 1), np.float32), first_ms=1000)
    outcomes = expected_of(stream).outcomes
    assert [len(kept(outcomes, step)) for step in range(4)] == [6, 5, 4, 3]
    stream.observe(column(9), 6000)  # in the place of the newest
    assert kept(outcomes, 0) == [1, 1, 1, 1, 1, 9]
    stream.observe(column(1), 16_000)  # ten steps on: of which step it is the outcome is not known
    assert [len(kept(outcomes, step)) for step in range(4)] == [6, 5, 4, 3]
    fed(stream, np.ones((2, 1), np.float32), first_ms=17_000)
    assert [len(kept(outcomes, step)) for step in range(4)] == [8, 6, 4, 3]


def test_rows_of_a_stream_since_a_position() -> None:
    stream = Stream(4, 1, 1000)
    for value in range(6):
        stream.observe(column(value), None)
    assert stream.since(6).tolist() == []
    assert stream.since(4).tolist() == [[4], [5]]
    assert stream.since(0).tolist() == [[2], [3], [4], [5]]  # all that is kept


def calm_then_wild(random: np.random.Generator) -> Iterator[Floats]:
    """A day of 24 rows, and from the 513th row on noise."""
    for number in itertools.count():
        day = np.sin(number * np.pi / 12) + 0.1 * random.standard_normal(7)
        yield (day if number < 512 else 2 * random.standard_normal(7)).astype(np.float32)


def regular(random: np.random.Generator) -> Iterator[Floats]:
    """Days of 24 rows with hardly any noise, of which a table of loads says too little."""
    for number in itertools.count():
        yield (np.sin(number * np.pi / 12) + 0.05 * random.standard_normal(7)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("world", "table_covers"), [(calm_then_wild, (20, 75)), (regular, (98, 100))])
def test_where_the_world_shifts_a_streams_own_quantiles_hold_and_the_tables_do_not(
    world: Callable[[np.random.Generator], Iterator[Floats]], table_covers: tuple[float, float]
) -> None:
    """Bands of 90 % of 12 steps and 7 channels, of 100 forecasts behind those that are learned from."""
    rows = world(np.random.default_rng(3))
    folder = open_forecaster(MODELS / MODEL)
    table = read_table(folder, folder.read())
    assert table is not None
    seen = [next(rows) for _ in range(512)]
    learned, measured, ahead = 111, 100, 12
    bands, said = [], []
    with StdioService("--stream-residuals", "120") as service:
        assert service.ask({"op": "observe", "stream": "s", "values": [row.tolist() for row in seen]})["success"]
        for _ in range(learned + measured):
            reply = service.ask({"stream": "s", "quantile_levels": [0.05, 0.95], "prediction_length": ahead})
            points, scales = np.array(reply["predictions"], np.float32), deviations(np.array(seen[-512:]).T)
            bands.append((list(reply["quantiles"].values()), table.quantiles([0.05, 0.95], points, scales, range(7))))
            said.append(reply["quantiles_from"])
            seen.append(next(rows))
            assert service.ask({"op": "observe", "stream": "s", "values": [seen[-1].tolist()]})["success"]
        assert service.ask({"op": "forget", "stream": "s"})["success"]
        assert error_of(service.ask({"stream": "s"})) == ("unknown_stream", "stream")
    assert said == ["model"] * ENOUGH + ["both"] * (ahead - 1) + ["stream"] * measured
    seen += [next(rows) for _ in range(ahead)]
    inside = []
    for number, pair in enumerate(bands[learned:], 512 + learned):
        actual = np.array(seen[number : number + ahead])
        inside.append([(low <= actual) & (actual <= high) for low, high in pair])
    own, tables = 100 * np.mean(inside, axis=(0, 2, 3))
    assert 84 <= own <= 98
    assert table_covers[0] <= tables <= table_covers[1]
