"""Who waits in the lane for something that no model computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vinocast.engine.lane import Job
    from vinocast.engine.ticket import Ticket
    from vinocast.errors import RequestError


class Waiting:
    """A job that answers, once it is time to, with what is returned then, or raised.

    Args:
        ticket: who waits.
        ready: whether it is time to.
        answer: returns what is answered.
    """

    rows = 0
    deadline = None

    def __init__(self, ticket: Ticket, ready: Callable[[], bool], answer: Callable[[], Mapping[str, Any]]) -> None:
        self._ticket = ticket
        self._ready = ready
        self._answer = answer

    def runnable(self) -> bool:
        """Whether it is time to answer."""
        return self._ready()

    def joins(self, first: Job, rows: int) -> bool:  # noqa: ARG002 - the signature of a job
        """Return False: nothing is computed together."""
        return False

    def run(self, together: Sequence[Job]) -> None:  # noqa: ARG002 - the signature of a job
        """Answer."""
        try:
            answer = self._answer()
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            self._ticket.fail(error)
        else:
            self._ticket.succeed(answer)

    def fail(self, error: RequestError) -> None:
        """Answer with an error."""
        self._ticket.refuse(error)
