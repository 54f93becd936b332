"""Moments are read and written in one form, and steps lead from one to the next as the calendar has them."""

from __future__ import annotations

import calendar
import itertools
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vinocast.data.times.frequency import Frequency, infer_frequency
from vinocast.data.times.moment import Moment, read_moment
from vinocast.data.times.steps import read_frequency

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OFFSETS = st.integers(-18 * 60, 18 * 60)
DATETIMES = st.datetimes(datetime(1678, 1, 1), datetime(2261, 12, 31))
FIXED = {"ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "D": 86400 * 10**9, "W": 7 * 86400 * 10**9}


def after(start: str, step: str, count: int, first: int = 0) -> list[str]:
    return read_moment(start).after(read_frequency(step), first, count)


def rewritten(moment: Moment) -> str:
    (text,) = moment.form.write(np.array([moment.local], "datetime64[ns]"))
    return text


@given(DATETIMES, OFFSETS, st.sampled_from(["T", " "]), st.sampled_from(["minutes", "seconds", "microseconds"]))
def test_a_moment_is_written_as_it_was_read(moment: datetime, offset: int, join: str, precision: str) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    if precision != "microseconds":
        zoned = zoned.replace(microsecond=0, second=0 if precision == "minutes" else moment.second)
    text = zoned.isoformat(join, precision)
    read = read_moment(text)
    assert rewritten(read) == text
    assert read.utc == (zoned - EPOCH) // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize(
    "text",
    ["2024", "2024-02", "2024-02-29", "2024-02-29T10:00Z", "2024-02-29 10:00:00+0100", "2024-02-29t10:00:00.123456789z",
     "2024-02-29 10:00:00 UTC", "2024-02-29T10:00-03", "2261-12-31T23:59:59.999999999"],
)  # fmt: skip
def test_every_part_of_a_form_is_kept(text: str) -> None:
    assert rewritten(read_moment(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a date"),
        ("2024-02-30", "there is no such date"),
        ("2023-02-29", "there is no such date"),
        ("2024-13-01", "there is no such date"),
        ("2024-01-01T24:00", "there is no such date"),
        ("2024-01-01T23:59:60Z", "there is no such date"),
        ("1677-12-31", "a year from 1678 to 2261"),
        ("2262-01-01", "a year from 1678 to 2261"),
        ("2024-01-01T00:00+19:00", "at most 18 hours"),
        ("01/02/2024", "expected a date"),
        ("2024-01-01T00:00:00.1234567890", "expected a date"),
        ("٢٠٢٤-01-01", "expected a date"),
        ("2" * 10_000, "expected a date"),
    ],
)
def test_what_is_no_moment_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        read_moment(text)
    assert len(str(caught.value)) < 200


@given(DATETIMES, st.sampled_from(sorted(FIXED)), st.integers(1, 60), st.integers(0, 600))
def test_fixed_steps_are_those_of_the_clock(moment: datetime, unit: str, count: int, steps: int) -> None:
    read = read_moment(moment.isoformat())
    frequency = read_frequency(f"{count}{unit}")
    expected = read.local + steps * count * FIXED[unit]
    if expected < read_moment("2261-12-31T23:59:59").local:
        (time,) = frequency.after(read.local, [steps])
        assert int(time.astype(np.int64)) == expected
        assert frequency.places(read.local, np.array([time])).tolist() == [steps]


@given(DATETIMES, st.integers(1, 30), st.integers(0, 40), st.sampled_from(["P{}M", "{}M", "{}ME", "{}MS"]))
def test_months_end_where_the_calendar_ends_them(moment: datetime, count: int, steps: int, word: str) -> None:
    read = read_moment(moment.isoformat())
    last = calendar.monthrange(moment.year, moment.month)[1]
    month = moment.year * 12 + moment.month - 1 + steps * count + (word == "{}MS" and moment.day > 1)
    year, month = divmod(month, 12)
    if year > 2261:
        return
    ends = calendar.monthrange(year, month + 1)[1]
    end = word == "{}ME" or (word == "{}M" and moment.day == last)
    day = ends if end else 1 if word == "{}MS" else min(moment.day, ends)
    (text,) = read.after(read_frequency(word.format(count)), steps, 1)
    assert text == moment.replace(year=year, month=month + 1, day=day).isoformat()


@pytest.mark.parametrize(
    ("start", "step", "expected"),
    [
        ("2024-02-28", "D", ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("2023-02-28", "D", ["2023-02-28", "2023-03-01", "2023-03-02"]),
        ("2024-03-31 01:00", "h", ["2024-03-31 01:00", "2024-03-31 02:00", "2024-03-31 03:00"]),
        ("2024-10-27T01:00+02:00", "H", [f"2024-10-27T0{hour}:00+02:00" for hour in (1, 2, 3)]),
        ("2024-01-31", "1h", ["2024-01-31T00:00:00", "2024-01-31T01:00:00", "2024-01-31T02:00:00"]),
        ("2024-01-31T00:00:00.000Z", "500ms", [f"2024-01-31T00:00:0{s}Z" for s in ("0.000", "0.500", "1.000")]),
        ("2024", "YS", ["2024", "2025", "2026"]),
        ("2024-01", "D", ["2024-01-01", "2024-01-02", "2024-01-03"]),
        ("2024-01-05", "B", ["2024-01-05", "2024-01-08", "2024-01-09"]),
        ("2024-01-06", "B", ["2024-01-08", "2024-01-09", "2024-01-10"]),
        ("2024-01-03", "W", ["2024-01-03", "2024-01-10", "2024-01-17"]),
        ("2024-01-03", "W-MON", ["2024-01-08", "2024-01-15", "2024-01-22"]),
        ("2024-01-03", "W-WED", ["2024-01-03", "2024-01-10", "2024-01-17"]),
        ("2024-01-15", "QE", ["2024-03-31", "2024-06-30", "2024-09-30"]),
        ("2024-01-15", "QE-NOV", ["2024-02-29", "2024-05-31", "2024-08-31"]),
        ("2024-01-15", "QS", ["2024-04-01", "2024-07-01", "2024-10-01"]),
        ("2024-01-15", "YS-FEB", ["2024-02-01", "2025-02-01", "2026-02-01"]),
        ("2024-02-29", "Y", ["2024-02-29", "2025-02-28", "2026-02-28"]),
        ("2024-02-29", "P1Y", ["2024-02-29", "2025-02-28", "2026-02-28"]),
        ("2024-01-01T00:00:00", "PT1H30M", ["2024-01-01T00:00:00", "2024-01-01T01:30:00", "2024-01-01T03:00:00"]),
        ("2024-01-01", "hourly", ["2024-01-01T00:00:00", "2024-01-01T01:00:00", "2024-01-01T02:00:00"]),
    ],
)
def test_steps_lead_where_they_should(start: str, step: str, expected: list[str]) -> None:
    assert after(start, step, 3) == expected
    assert after(start, step, 1, 2) == expected[2:]


def test_words_of_the_same_step_are_the_same() -> None:
    same = [("min", "T", "60s", "PT1M", "minute"), ("h", "H", "1h", "60min", "PT60M"), ("D", "24h", "P1D"),
            ("W", "7D", "P1W", "P7D"), ("QE", "QE-DEC", "QE-MAR", "Q-DEC"), ("1h30min", "90min", "1.5h")]  # fmt: skip
    for words in same:
        assert len({read_frequency(word) for word in words}) == 1, words
    assert [str(read_frequency(word)) for word in ("90min", "h", "QS", "2W", "B")] == [
        "90 minutes", "1 hour", "1 quarter", "2 weeks", "1 working day"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("m", "'min', or 'MS'"),
        ("5m", "'min', or 'MS'"),
        ("", "expected a step"),
        ("fortnight", "expected a step"),
        ("SM", "expected a step"),
        ("W-JAN", "expected a step"),
        ("D-MON", "expected a step"),
        ("-1h", "expected a step"),
        ("P", "expected a step"),
        ("PT", "expected a step"),
        ("1h ago", "expected a step"),
        ("0h", "longer than nothing"),
        ("P0D", "longer than nothing"),
        ("999999999Y", "below 583 years"),
        ("999999999999W", "below 583 years"),
        ("1.5M", "a whole number"),
        ("0.1ns", "a whole number"),
        ("P1M1D", "together are no step"),
        ("h" * 1000, "expected a step"),
    ],
)
def test_what_is_no_step_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        read_frequency(text)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=20) | st.from_regex(r"[0-9.]{0,3}[A-Za-z]{1,4}(-[A-Z]{3})?", fullmatch=True))
def test_any_text_is_a_step_or_refused(text: str) -> None:
    try:
        frequency = read_frequency(text)
    except ValueError as error:
        assert any(said in str(error) for said in ("expected a", "are no step", "'m' may be")), error  # noqa: PT017
    else:
        assert str(frequency)
        start = read_moment("1700-01-31").local
        times = frequency.after(start, [0, 1])
        assert times[0] < times[1]
        assert frequency.places(start, times).tolist() == [0, 1]


@pytest.mark.parametrize("step", ["s", "h", "B", "MS", "Y", "500Y", "W-MON"])
def test_times_beyond_what_can_be_told_are_refused(step: str) -> None:
    start = read_moment("2261-12-31T23:00").local
    for steps in ([2**40], [2**62], [-(2**62)], [2**31, 0]):
        with pytest.raises(ValueError, match="1678 to 2261"):
            read_frequency(step).after(start, steps)


@pytest.mark.parametrize("step", ["15min", "h", "D", "W", "B", "MS", "ME", "P1M", "QS", "QE", "YS", "7s"])
@pytest.mark.parametrize("start", ["2024-01-01", "2023-01-31T10:30:00"])
def test_a_step_is_found_in_times_with_gaps(step: str, start: str) -> None:
    first, frequency = read_moment(start).local, read_frequency(step)
    times = frequency.after(first, np.delete(np.arange(60), [7, 8, 30]))
    found = infer_frequency(times)
    places = found.places(int(times[0].astype(np.int64)), times)
    assert places.tolist() == np.delete(np.arange(60), [7, 8, 30]).tolist()
    last = int(places[-1]) + np.arange(1, 30)
    assert (found.after(times[0], last) == frequency.after(first, last)).all()


def test_times_beside_the_step_have_no_place() -> None:
    times = np.array(["2024-01-01T00", "2024-01-01T01", "2024-01-01T02", "2024-01-01T02:30"], "datetime64[ns]")
    found = infer_frequency(times)
    assert found == Frequency(3600 * 10**9)
    assert found.places(times[0], times).tolist() == [0, 1, 2, -1]
    assert found.places(times[1], times).tolist() == [-1, 0, 1, -1]
    with pytest.raises(ValueError, match="fewer than two"):
        infer_frequency(times[:1])


def test_days_without_weekends_are_working_days() -> None:
    days = np.array(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"])
    assert infer_frequency(days.astype("datetime64[ns]")) == read_frequency("B")
    assert infer_frequency(days[:5].astype("datetime64[ns]")) == read_frequency("D")


def test_hours_by_a_zone_are_a_step_apart_all_year() -> None:
    texts = read_moment("2024-03-30T00:00:00+01:00").after(read_frequency("h"), 0, 72)
    moments = [read_moment(text).utc for text in texts]
    assert {later - earlier for earlier, later in itertools.pairwise(moments)} == {3600 * 10**9}
