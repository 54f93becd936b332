"""A request on its way: counted and answered once, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from vinocast.errors import InternalError, RequestError
from vinocast.requests import Computed, Result

if TYPE_CHECKING:
    from vinocast.engine.budget import Claim
    from vinocast.engine.statistics import Statistics

# Called once per request, in the thread that drives the lane, with its result or its error.
Done: TypeAlias = "Callable[[Result | Mapping[str, Any] | RequestError], None]"


class Ticket:
    """Who waits for an answer, and the statistics that count it.

    Attributes:
        op: the name of the op.
        patient: whether the request waits while its model loads.
        claim: what it takes of the budget until it is answered.
        lasting: whether it takes so long that somebody should look whether the client is still there.
    """

    __slots__ = ("_done", "_statistics", "claim", "lasting", "op", "patient")

    def __init__(self, op: str, done: Done, statistics: Statistics, claim: Claim, *, patient: bool) -> None:
        self.op = op
        self.patient = patient
        self.claim = claim
        self.lasting = False
        self._done = done
        self._statistics = statistics

    def succeed(self, result: Result | Mapping[str, Any]) -> None:
        """Answer with a result, or with an error of ours where the protocol cannot write it."""
        self.claim.release()
        try:
            self._done(result)
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            self.fail(error)
            return
        if isinstance(result, Computed):
            self._statistics.computed(self.op, result.inference_seconds, result.queue_seconds)
        else:
            self._statistics.success(self.op)

    def refuse(self, error: RequestError) -> None:
        """Answer with an error."""
        self.claim.release()
        self._statistics.failure(error.code)
        self._done(error.without_frames())

    def fail(self, error: Exception) -> None:
        """Answer with an error, which the log explains where it is none of a request."""
        self.refuse(error if isinstance(error, RequestError) else InternalError.logged(error))


class PushTicket(Ticket):
    """What nobody has asked for by a request of its own: counted apart, and patient."""

    __slots__ = ()

    def __init__(self, op: str, done: Done, statistics: Statistics, claim: Claim) -> None:
        super().__init__(op, done, statistics, claim, patient=True)

    def succeed(self, result: Result | Mapping[str, Any]) -> None:
        """Push a result."""
        self.claim.release()
        try:
            self._done(result)
        except Exception as error:  # noqa: BLE001 - one push must not end the service
            self.fail(error)
            return
        if isinstance(result, Computed):
            self._statistics.pushed(self.op, result.inference_seconds, result.queue_seconds)

    def refuse(self, error: RequestError) -> None:
        """Push an error."""
        self.claim.release()
        self._statistics.pushed_failure()
        self._done(error.without_frames())
