"""How far something has come, a model or the service: one value with its reason, which changes in one place."""

from __future__ import annotations

import threading
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class ModelState(Enum):
    """The states of a model."""

    REGISTERED = "registered"  # it is there, and has not been asked for
    LOADING = "loading"
    READY = "ready"
    DEGRADED = "degraded"  # it answers, but not all is as was asked for
    REFUSED = "refused"
    UNLOADING = "unloading"  # what has waited for it is computed, and nothing else
    UNLOADED = "unloaded"  # until it is loaded anew


class ServiceState(Enum):
    """The states of a service."""

    STARTING = "starting"
    READY = "ready"  # the default model answers
    DRAINING = "draining"  # what was accepted is still answered
    STOPPED = "stopped"


State = TypeVar("State", bound=Enum)

MODEL_STEPS: Mapping[ModelState, frozenset[ModelState]] = {
    ModelState.REGISTERED: frozenset({ModelState.LOADING, ModelState.UNLOADING}),
    ModelState.LOADING: frozenset({ModelState.READY, ModelState.DEGRADED, ModelState.REFUSED}),
    ModelState.READY: frozenset({ModelState.DEGRADED}),
    ModelState.DEGRADED: frozenset({ModelState.READY, ModelState.DEGRADED}),
    ModelState.REFUSED: frozenset({ModelState.LOADING}),
    ModelState.UNLOADING: frozenset({ModelState.UNLOADED}),
    ModelState.UNLOADED: frozenset(),  # another one takes its place
}
SERVICE_STEPS: Mapping[ServiceState, frozenset[ServiceState]] = {
    ServiceState.STARTING: frozenset({ServiceState.READY, ServiceState.DRAINING}),
    ServiceState.READY: frozenset({ServiceState.DRAINING}),
    ServiceState.DRAINING: frozenset({ServiceState.STOPPED}),
    ServiceState.STOPPED: frozenset(),
}


class Lifecycle(Generic[State]):
    """A state and its reason. For any thread.

    Attributes:
        state: where it stands.
        reason: why, where that is not plain.
    """

    def __init__(self, start: State, steps: Mapping[State, frozenset[State]]) -> None:
        self.state = start
        self.reason: str | None = None
        self._steps = steps
        self._lock = threading.Lock()

    def become(self, state: State, reason: str | None = None) -> bool:
        """Take a step; returns False, and changes nothing, where none leads there from the state at hand."""
        with self._lock:
            if state not in self._steps[self.state]:
                return False
            self.state, self.reason = state, reason
            return True
