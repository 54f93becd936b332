"""Asking again where the service says that it may help, with jitter, within a request's deadline."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from vinocast.errors import RequestError, ServiceUnreachableError
from vinocast.extras import missing_extra

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState, Retrying

    from vinocast.client.calls import Call

# Seconds: what the first pause is at most, doubled with each, and what none is beyond.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


def retrying(call: Call[Any], retries: int, *, reconnects: bool) -> Retrying:
    """Return what runs a request again, at most so many times; raises SetupError where tenacity is not installed.

    Without ``reconnects`` not where the service has not been reached.
    """
    try:
        import tenacity  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise missing_extra("client", error) from error
    return tenacity.Retrying(**_rules(tenacity, call, retries, reconnects))


def retrying_async(call: Call[Any], retries: int) -> AsyncRetrying:
    """Return the same for a coroutine."""
    try:
        import tenacity  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise missing_extra("client", error) from error
    return tenacity.AsyncRetrying(**_rules(tenacity, call, retries, True))


def _rules(tenacity: Any, call: Call[Any], retries: int, reconnects: bool) -> dict[str, Any]:
    stop: Any = tenacity.stop_after_attempt(retries + 1)
    if call.deadline is not None:
        stop |= tenacity.stop_before_delay(call.deadline)

    def may_help(error: BaseException) -> bool:
        if isinstance(error, ServiceUnreachableError):
            return reconnects and (error.unsent or call.repeatable)
        return isinstance(error, RequestError) and error.retryable

    return {"stop": stop, "wait": _pause, "retry": tenacity.retry_if_exception(may_help), "reraise": True}


def _pause(state: RetryCallState) -> float:
    """Return what the service asks for, and a random time so that all who were refused do not come together."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, RequestError) else 0
    jitter = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (state.attempt_number - 1)))  # noqa: S311 - no secret
    return asked + jitter
