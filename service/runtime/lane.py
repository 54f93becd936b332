"""The lane: what waits for a model, in the order it came, one inference at a time.

A lane has no thread of its own. The transport's loop drives it: it submits what it has read and calls :meth:`Lane.step`
until nothing is left, reading and writing in between. An inference keeps every core of the budget busy, so a second
thread would only make it slower, and a request that finds the lane empty starts with no hand-over at all.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from service.errors import DeadlineExceededError, OverloadedError, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

TOO_LATE = "deadline_ms: the deadline passed before the request's turn came"


class Job(Protocol):
    """Work for the lane. Each job is answered once: by ``fail``, or by ``run`` of the first of those it goes with."""

    @property
    def rows(self) -> int:
        """Rows of model input the job stands for; what the lane's bound counts."""

    @property
    def deadline(self) -> float | None:
        """Moment of ``time.monotonic`` after which the job is not worth starting."""

    def runnable(self) -> bool:
        """Whether the job's model has finished loading, for better or worse."""

    def joins(self, first: Job, rows: int) -> bool:
        """Whether the job can be computed together with ``first``, ``rows`` in all."""

    def run(self, together: Sequence[Job]) -> None:
        """Do the work of the jobs, of which this is the first, and answer each."""

    def fail(self, error: RequestError) -> None:
        """Answer with an error instead."""


class Lane:
    """A first-in first-out queue of jobs, bounded in rows. For one thread."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._jobs: deque[Job] = deque()
        self._rows = 0

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def rows(self) -> int:
        """Rows waiting."""
        return self._rows

    def submit(self, job: Job) -> None:
        """Append a job; raises OverloadedError when its rows no longer fit. A job always fits an empty lane."""
        if self._jobs and self._rows + job.rows > self._max_rows:
            raise OverloadedError(f"the queue is full ({self._rows} of {self._max_rows} rows wait); try again later")
        self._jobs.append(job)
        self._rows += job.rows

    def step(self) -> bool:
        """Take the first job whose model is loaded, and those right behind it that join it, and run them.

        What is past its deadline is failed instead. Returns False when no job could be taken. Nothing is waited for:
        only jobs that are here already go together.
        """
        position = next((i for i, job in enumerate(self._jobs) if job.runnable()), None)
        if position is None:
            return False
        together: list[Job] = []
        rows = 0
        while position < len(self._jobs):
            job = self._jobs[position]
            if together and not job.joins(together[0], rows + job.rows):
                break
            del self._jobs[position]
            self._rows -= job.rows
            if job.deadline is not None and time.monotonic() > job.deadline:
                job.fail(DeadlineExceededError(TOO_LATE, "deadline_ms"))
                if not together:
                    return True
                continue
            together.append(job)
            rows += job.rows
        together[0].run(together)
        return True
