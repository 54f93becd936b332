"""What tools are told of the service and of its models: states, versions, the tensors that they take and answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vinocast import __version__
from vinocast.dataplane import Op, Route
from vinocast.engine.lifecycle import ModelState
from vinocast.errors import InvalidRequestError, NotReadyError, OverloadedError
from vinocast.handlers.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from vinocast.dataplane import DataPlane, Ticket
    from vinocast.engine.changes import Change
    from vinocast.engine.manifest import TensorSpec

SERVER: Final = {"name": "vinocast", "version": __version__, "extensions": ["binary_tensor_data", "model_repository"]}
PLATFORM = "openvino"
NOT_READY = "models are still loading, or the service is shutting down"
INDEX_ROUTE: Final = Route("POST", "/v2/repository/index", "Every model and its state", may_lack_body=True)
LOAD_ROUTE: Final = Route(
    "POST", "/v2/repository/models/{model}/load", "Serve a model as its folder has it now", may_lack_body=True
)
UNLOAD_ROUTE: Final = Route(
    "POST", "/v2/repository/models/{model}/unload", "Serve a model no longer", may_lack_body=True
)
# More changes of models than these are not asked for by clients at once: each waits for those before it.
MOST_CHANGES = 16
# What the index of the Open Inference Protocol calls the states of a model.
STATES: Final = {
    ModelState.REGISTERED: "UNAVAILABLE",
    ModelState.LOADING: "LOADING",
    ModelState.READY: "READY",
    ModelState.DEGRADED: "READY",
    ModelState.REFUSED: "UNAVAILABLE",
    ModelState.UNLOADING: "UNLOADING",
    ModelState.UNLOADED: "UNAVAILABLE",
}


def server_ready(plane: DataPlane) -> None:
    """Raise NotReadyError where a model that is to answer does not yet, or the service is shutting down."""
    if not plane.warm:
        raise NotReadyError(NOT_READY)


def metadata(plane: DataPlane, name: str, version: str | None) -> dict[str, Any]:
    """Return what a tool must know to ask a model with tensors; raises UnknownModelError."""
    model = plane.repository.named(name, version)
    inputs, outputs = model.manifest.tensors()
    return {
        "name": model.name,
        "versions": [each.folder.version for each in plane.repository.versions(name) if each.refused is None][::-1],
        "platform": PLATFORM,
        "inputs": list(map(_tensor, inputs)),
        "outputs": list(map(_tensor, outputs)),
    }


def model_ready(plane: DataPlane, name: str, version: str | None) -> None:
    """Raise NotReadyError, UnknownModelError or ShuttingDownError where a model does not answer."""
    model = plane.repository.named(name, version)
    if not model.settled:
        raise NotReadyError(f"model {model.label} is still loading")
    model.loaded()


def index(plane: DataPlane, *, ready: bool = False) -> list[dict[str, str]]:
    """Return every version of every model with its state, and the reason where it is not served.

    With ``ready`` those alone that are.
    """
    reasons = plane.repository.reasons
    models = [
        {
            "name": model.name,
            "version": model.folder.version,
            "state": STATES[model.lifecycle.state],
            "reason": reasons.pop(model.label, model.reason if model.is_unloaded else ""),
        }
        for model in plane.repository.models
    ]
    # Of those that are left not even the manifest can be read.
    for label, why in reasons.items():
        name, _, version = label.partition("/")
        models.append({"name": name, "version": version, "state": "UNAVAILABLE", "reason": why})
    return [model for model in models if model["state"] == "READY"] if ready else models


def repository_load(plane: DataPlane, name: str, ticket: Ticket) -> None:
    """Have a model served as its folder has it now, and answer once it is, or why it stays as it was."""
    _check_change(plane, "send SIGHUP to their parent")
    reload = plane.reload(name)

    def answer() -> dict[str, Any]:
        for label, error in reload.refused.items():
            raise InvalidRequestError(f"model: what the folder of {label} has now is refused: {error.reason}", "model")
        return {"changed": reload.changed}

    _answer_once_made(plane, reload, answer, ticket)


def repository_unload(plane: DataPlane, name: str, ticket: Ticket) -> None:
    """Have a model served no longer, and answer once its memory is given back."""
    _check_change(plane, "serve a folder without the model")
    _answer_once_made(plane, plane.unload(name), lambda: {"unloaded": name}, ticket)


def _check_change(plane: DataPlane, instead: str) -> None:
    """Raise InvalidRequestError where one worker of several would answer for itself alone.

    Raises OverloadedError where too many changes wait.
    """
    if plane.market is None:  # which several processes do not keep either
        raise InvalidRequestError(
            f"model: expected a service of one process: where several share a port, {instead}", "model"
        )
    if plane.loader.changes >= MOST_CHANGES:
        raise OverloadedError(f"model: expected at most {MOST_CHANGES} changes of models at once", "model")


def _answer_once_made(plane: DataPlane, change: Change, answer: Callable[[], dict[str, Any]], ticket: Ticket) -> None:
    """Have a request answered once a change has been made, or be refused by what has ended it."""

    def made() -> dict[str, Any]:
        if change.failed is not None:
            raise change.failed
        return answer()

    plane.lane.submit(Waiting(ticket, lambda: change.done, made))


LOAD: Final = Op(
    "repository_load",
    dict,
    dict,
    repository_load,
    waits=True,
    route=LOAD_ROUTE,
)
UNLOAD: Final = Op(
    "repository_unload",
    dict,
    dict,
    repository_unload,
    waits=True,
    route=UNLOAD_ROUTE,
)


def repository_index(plane: DataPlane, ready: bool, ticket: Ticket) -> None:
    """Answer the op of the same name."""
    ticket.succeed({"models": index(plane, ready=ready)})


INDEX: Final = Op(
    "repository_index",
    dict,
    dict,
    repository_index,
    route=INDEX_ROUTE,
)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
