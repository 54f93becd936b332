"""The lane: first come, first served, each job answered once, bounded in rows, deadlines kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vinocast.engine.lane import Job, Lane
from vinocast.errors import DeadlineExceededError, OverloadedError, RequestError

MOST_TOGETHER = 7


@dataclass
class Work:
    """A job that writes down what becomes of it."""

    name: str
    diary: list[tuple[str, str]]
    rows: int = 1
    deadline: float | None = None
    loaded: bool = True
    group: str | None = None

    def joins(self, first: Job, rows: int) -> bool:
        return (
            isinstance(first, Work) and self.group is not None and first.group == self.group and rows <= MOST_TOGETHER
        )

    def runnable(self) -> bool:
        return self.loaded

    def run(self, together: Sequence[Job]) -> None:
        for job in together:
            assert isinstance(job, Work)
            self.diary.append((job.name, "run" if job is self else f"with {self.name}"))

    def fail(self, error: RequestError) -> None:
        self.diary.append((self.name, error.code))


def drain(lane: Lane) -> None:
    while lane.step():
        pass


def test_jobs_run_in_the_order_they_came() -> None:
    lane, diary = Lane(100), list[tuple[str, str]]()
    for name in "abc":
        lane.submit(Work(name, diary))
    drain(lane)
    assert diary == [("a", "run"), ("b", "run"), ("c", "run")]


def test_a_step_takes_one_job_and_says_whether_it_did() -> None:
    lane, diary = Lane(100), list[tuple[str, str]]()
    lane.submit(Work("a", diary, rows=7))
    lane.submit(Work("b", diary, rows=2))
    assert (len(lane), lane.rows) == (2, 9)
    assert lane.step()
    assert (len(lane), lane.rows, len(diary)) == (1, 2, 1)
    assert lane.step()
    assert not lane.step()
    assert (len(lane), lane.rows, len(diary)) == (0, 0, 2)


def test_what_does_not_fit_is_refused_as_overloaded_and_the_rest_still_runs() -> None:
    lane, diary = Lane(10), list[tuple[str, str]]()
    lane.submit(Work("a", diary, rows=6))
    lane.submit(Work("b", diary, rows=4))
    with pytest.raises(OverloadedError):
        lane.submit(Work("c", diary, rows=1))
    assert lane.rows == 10
    assert lane.step()
    lane.submit(Work("d", diary, rows=6))
    drain(lane)
    assert diary == [("a", "run"), ("b", "run"), ("d", "run")]


def test_a_job_of_more_rows_than_the_bound_fits_an_empty_lane_only() -> None:
    lane, diary = Lane(3), list[tuple[str, str]]()
    lane.submit(Work("a", diary, rows=7))
    with pytest.raises(OverloadedError):
        lane.submit(Work("b", diary, rows=7))
    drain(lane)
    lane.submit(Work("c", diary, rows=7))
    drain(lane)
    assert diary == [("a", "run"), ("c", "run")]


def test_a_job_past_its_deadline_fails_when_its_turn_comes_and_is_not_run() -> None:
    lane, diary = Lane(100), list[tuple[str, str]]()
    now = time.monotonic()
    lane.submit(Work("late", diary, deadline=now - 1))
    lane.submit(Work("in time", diary, deadline=now + 3600))
    assert diary == []
    drain(lane)
    assert diary == [("late", DeadlineExceededError.code), ("in time", "run")]


def test_a_job_whose_model_loads_does_not_hold_up_the_others_and_keeps_its_place() -> None:
    lane, diary = Lane(100), list[tuple[str, str]]()
    waiting = [Work("slow 1", diary, loaded=False), Work("slow 2", diary, loaded=False)]
    lane.submit(waiting[0])
    lane.submit(Work("quick", diary))
    lane.submit(waiting[1])
    drain(lane)
    assert diary == [("quick", "run")]
    assert (len(lane), lane.rows) == (2, 2)
    for job in waiting:
        job.loaded = True
    lane.submit(Work("last", diary))
    drain(lane)
    assert diary == [("quick", "run"), ("slow 1", "run"), ("slow 2", "run"), ("last", "run")]


@given(st.lists(st.tuples(st.integers(1, 7), st.booleans(), st.sampled_from([None, -1.0, 3600.0]))), st.integers(1, 30))
def test_every_job_is_answered_exactly_once_and_the_bound_holds(
    jobs: list[tuple[int, bool, float | None]], bound: int
) -> None:
    lane, diary, refused = Lane(bound), list[tuple[str, str]](), 0
    now, accepted = time.monotonic(), list[Work]()
    for position, (rows, loaded, margin) in enumerate(jobs):
        work = Work(str(position), diary, rows, None if margin is None else now + margin, loaded)
        try:
            lane.submit(work)
        except OverloadedError:
            refused += 1
        else:
            accepted.append(work)
        assert lane.rows <= bound or len(lane) == 1
        if position % 2:
            lane.step()
    for work in accepted:
        work.loaded = True
    drain(lane)
    assert sorted(name for name, _ in diary) == sorted(work.name for work in accepted)
    assert len(diary) + refused == len(jobs)
    outcomes = dict(diary)
    for work in accepted:
        late = work.deadline is not None and work.deadline < now
        assert outcomes[work.name] == (DeadlineExceededError.code if late else "run")
    assert lane.rows == 0


def test_what_waits_together_runs_together_as_far_as_it_fits() -> None:
    lane, diary = Lane(100), list[tuple[str, str]]()
    for name, rows, group in (("a", 3, "x"), ("b", 4, "x"), ("c", 1, "x"), ("d", 1, "y"), ("e", 1, "x")):
        lane.submit(Work(name, diary, rows=rows, group=group))
    assert lane.step()
    assert (len(lane), lane.rows) == (3, 3)
    drain(lane)
    assert diary == [("a", "run"), ("b", "with a"), ("c", "run"), ("d", "run"), ("e", "run")]


def test_a_job_past_its_deadline_does_not_run_with_the_others() -> None:
    lane, diary = Lane(100), list[tuple[str, str]]()
    lane.submit(Work("a", diary, group="x"))
    lane.submit(Work("b", diary, group="x", deadline=time.monotonic() - 1))
    lane.submit(Work("c", diary, group="x"))
    drain(lane)
    assert diary == [("b", "deadline_exceeded"), ("a", "run"), ("c", "with a")]
    assert lane.rows == 0


def test_a_job_whose_model_loads_is_passed_by_a_group() -> None:
    lane, diary = Lane(100), list[tuple[str, str]]()
    lane.submit(Work("slow", diary, loaded=False, group="y"))
    lane.submit(Work("a", diary, group="x"))
    lane.submit(Work("b", diary, group="x"))
    drain(lane)
    assert diary == [("a", "run"), ("b", "with a")]
    assert len(lane) == 1


@dataclass
class LongWork:
    """A long job that writes down each of its parts."""

    name: str
    diary: list[tuple[str, str]]
    parts: int = 2
    rows: int = 8
    loaded: bool = True
    model: str = "some"
    ticket: object = None

    def runnable(self) -> bool:
        return self.loaded

    def run_part(self) -> bool:
        self.parts -= 1
        self.diary.append((self.name, "part" if self.parts else "end"))
        return not self.parts


def test_a_long_job_that_is_dropped_leaves_its_room_and_the_others_their_order() -> None:
    lane, diary = Lane(100), list[tuple[str, str]]()
    tickets = [object() for _ in range(3)]
    for name, model, ticket in zip("abc", ("some", "other", "some"), tickets, strict=True):
        lane.submit_long(LongWork(name, diary, model=model, ticket=ticket))
    assert lane.step()
    lane.drop(tickets[0])
    lane.drop(tickets[0])
    lane.drop(tickets[1])
    assert (len(lane), lane.rows) == (1, 8)
    drain(lane)
    assert diary == [("a", "part"), ("c", "part"), ("c", "end")]
    assert (len(lane), lane.rows) == (0, 0)


def test_jobs_go_between_the_parts_of_a_long_one() -> None:
    lane, diary = Lane(100), list[tuple[str, str]]()
    lane.submit_long(LongWork("long", diary, parts=3))
    assert lane.step()
    lane.submit(Work("a", diary))
    lane.submit(Work("b", diary))
    assert (len(lane), lane.rows) == (3, 10)
    drain(lane)
    assert diary == [("long", "part"), ("a", "run"), ("b", "run"), ("long", "part"), ("long", "end")]
    assert (len(lane), lane.rows) == (0, 0)


def test_long_jobs_end_in_the_order_they_came_and_after_the_jobs_that_were_there() -> None:
    lane, diary = Lane(100), list[tuple[str, str]]()
    lane.submit(Work("a", diary))
    lane.submit_long(LongWork("one", diary))
    lane.submit_long(LongWork("two", diary))
    drain(lane)
    assert diary == [("a", "run"), ("one", "part"), ("one", "end"), ("two", "part"), ("two", "end")]


def test_clients_that_always_wait_do_not_keep_a_long_job_from_its_end() -> None:
    lane, diary = Lane(1000), list[tuple[str, str]]()
    lane.submit_long(LongWork("long", diary, parts=20))
    for turn in range(60):
        while len(lane) < 3 and ("long", "end") not in diary:
            lane.submit(Work(str(turn), diary))
        lane.step()
    assert ("long", "end") in diary


def test_a_job_waits_for_one_part_at_most() -> None:
    lane, diary = Lane(1000), list[tuple[str, str]]()
    lane.submit_long(LongWork("one", diary, parts=20))
    lane.submit_long(LongWork("two", diary, parts=20))
    for turn in range(10):
        lane.step()
        lane.submit(Work(str(turn), diary))
        lane.step()
        assert diary[-2][1] == "part"
        assert diary[-1] == (str(turn), "run")
    assert lane.only_parts


def test_a_long_job_counts_as_its_rows_until_its_end_and_leaves_the_others_their_room() -> None:
    lane, diary = Lane(10), list[tuple[str, str]]()
    lane.submit_long(LongWork("long", diary, rows=8))
    lane.step()
    with pytest.raises(OverloadedError):
        lane.submit_long(LongWork("b", diary, rows=3))
    lane.submit(Work("c", diary, rows=10))
    with pytest.raises(OverloadedError):
        lane.submit(Work("a", diary, rows=1))
    assert lane.rows == 18
    drain(lane)
    lane.submit_long(LongWork("b", diary, rows=3))
    drain(lane)
    assert lane.rows == 0


def test_a_long_job_whose_model_still_loads_is_passed_over() -> None:
    lane, diary = Lane(100), list[tuple[str, str]]()
    loading = LongWork("loading", diary, parts=1, loaded=False, model="other")
    lane.submit_long(loading)
    lane.submit_long(LongWork("here", diary, parts=1))
    lane.submit(Work("a", diary))
    drain(lane)
    assert diary == [("a", "run"), ("here", "end")]
    loading.loaded = True
    drain(lane)
    assert diary[-1] == ("loading", "end")


def test_long_jobs_of_several_models_take_turns_and_each_model_has_a_room_of_its_own() -> None:
    lane, diary = Lane(10), list[tuple[str, str]]()
    lane.submit_long(LongWork("batch", diary, parts=4))
    with pytest.raises(OverloadedError):
        lane.submit_long(LongWork("more", diary))
    for model in ("second", "third"):
        lane.submit_long(LongWork(model, diary, model=model))
    assert (len(lane), lane.rows) == (3, 24)
    drain(lane)
    assert [name for name, _ in diary] == ["batch", "second", "third", "batch", "second", "third", "batch", "batch"]
    assert (len(lane), lane.rows) == (0, 0)
