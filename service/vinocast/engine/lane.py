"""The lane: what waits for a model, in the order it came, one inference at a time.

A lane has no thread of its own. The transport's loop drives it: it submits what it has read and calls :meth:`Lane.step`
until nothing is left, reading and writing in between. An inference keeps every core of the budget busy, so a second
thread would only make it slower, and a request that finds the lane empty starts with no hand-over at all.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol

from vinocast.errors import DeadlineExceededError, OverloadedError, RequestError

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


class LongJob(Protocol):
    """Work that is done in parts, with other jobs between them.

    The lane gives it its turns and nothing else: a part that goes wrong or comes too late is the job's own to notice,
    and is its last.
    """

    @property
    def ticket(self) -> object:
        """Who waits for it, by which it can be dropped."""

    @property
    def model(self) -> object:
        """What computes it: the long jobs of a model go one after another, and share a bound of their own."""

    @property
    def rows(self) -> int:
        """Rows of model input the job stands for; what the lane's bound counts."""

    def runnable(self) -> bool:
        """Whether the job's model has finished loading, for better or worse."""

    def run_part(self) -> bool:
        """Do the next part and return whether it was the last, after which the job has answered all it is going to."""


class Lane:
    """A first-in first-out queue of jobs, bounded in rows, and beside it one of long jobs per model. For one thread.

    Between two parts of long jobs go the jobs that are there when the second could begin: a job waits for one part at
    most, and no sequence of jobs can keep a long one from its end. Models take turns, one part each.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._jobs: deque[Job] = deque()
        self._long_jobs: dict[object, deque[LongJob]] = {}  # the model whose turn it is comes first
        # Jobs that go before the next part; None until it is counted.
        self._before_next_part: int | None = None
        self._rows = 0
        self._long_rows: Counter[object] = Counter()

    def __len__(self) -> int:
        return len(self._jobs) + sum(map(len, self._long_jobs.values()))

    @property
    def computing(self) -> int:
        """How many of the jobs that wait are for a model to compute; others wait for one to load, or need none."""
        long_jobs = (job for jobs in self._long_jobs.values() for job in jobs)
        return sum(job.rows > 0 for job in self._jobs) + sum(job.rows > 0 for job in long_jobs)

    @property
    def only_parts(self) -> bool:
        """Whether nothing waits but parts of long jobs, which whatever is on its way should overtake."""
        return not self._jobs and bool(self._long_jobs)

    @property
    def rows(self) -> int:
        """Rows waiting; those of a long job until its end."""
        return self._rows + self._long_rows.total()

    def submit(self, job: Job) -> None:
        """Append a job; raises OverloadedError when its rows no longer fit. A job always fits an empty lane."""
        self._check_room(job.rows, self._rows)
        self._rows += job.rows
        self._jobs.append(job)

    def submit_long(self, job: LongJob) -> None:
        """Append a long job; raises OverloadedError like :meth:`submit`, for which those of each model count apart."""
        self._check_room(job.rows, self._long_rows[job.model])
        self._long_rows[job.model] += job.rows
        if not self._long_jobs:
            self._before_next_part = None
        self._long_jobs.setdefault(job.model, deque()).append(job)

    def drop(self, ticket: object) -> None:
        """Let the long job of a ticket go, with all that it holds, if it still waits: nobody wants the answer."""
        for model, jobs in self._long_jobs.items():
            for place, job in enumerate(jobs):
                if job.ticket is ticket:
                    self._subtract(model, job.rows)
                    del jobs[place]
                    if not jobs:
                        del self._long_jobs[model]
                    return

    def _subtract(self, model: object, rows: int) -> None:
        """Count rows of a long job no longer, and keep nothing of a model that none waits for: it may be let go."""
        self._long_rows[model] -= rows
        if not self._long_rows[model]:
            del self._long_rows[model]

    def _check_room(self, rows: int, waiting: int) -> None:
        if waiting and waiting + rows > self._max_rows:
            raise OverloadedError(f"the queue is full ({waiting} of {self._max_rows} rows wait); try again later")

    def step(self) -> bool:
        """Do one thing: a part of a long job whose turn it is, or a job and those right behind it that join it.

        Jobs whose model is still loading are passed over, and a job past its deadline is failed instead. Returns
        False when nothing could be done. Nothing is waited for: only jobs that are here already go together.
        """
        if self._before_next_part is None:
            self._before_next_part = len(self._jobs)
        if self._before_next_part <= 0 and self._run_part():
            return True
        return self._run_jobs() or self._run_part()

    def _run_part(self) -> bool:
        model, jobs = next(
            ((model, jobs) for model, jobs in self._long_jobs.items() if jobs[0].runnable()), (None, None)
        )
        if jobs is None:
            return False
        del self._long_jobs[model]
        if jobs[0].run_part():
            self._subtract(model, jobs.popleft().rows)
        if jobs:
            self._long_jobs[model] = jobs  # behind the others
        self._before_next_part = None
        return True

    def _run_jobs(self) -> bool:
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
            self._before_next_part = max(0, (self._before_next_part or 0) - 1)
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
