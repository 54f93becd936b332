"""What changes in the models of a service while they serve: a folder that is looked at again, a model unloaded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from vinocast.engine.folders import find_models
from vinocast.engine.lifecycle import ModelState
from vinocast.engine.repository import check_kind
from vinocast.errors import (
    InvalidRequestError,
    ModelRefusedError,
    SetupError,
    ShuttingDownError,
    UnknownModelError,
    in_one_line,
    quote,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from vinocast.engine.kinds import AnyServedModel
    from vinocast.engine.repository import Repository
    from vinocast.errors import RequestError

log = logging.getLogger(__name__)


class Change:
    """What is done by the thread that loads, and what comes of it.

    Changes are made in the order in which they are asked for: each looks at what there is once its turn has come.

    Attributes:
        let_go: what is not served any more, until its memory is given back.
        begun: whether its turn has come.
        failed: what has ended it before its end; None where nothing has.
        done: whether it has ended.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.let_go: list[AnyServedModel] = []
        self.begun = False
        self.failed: RequestError | None = None
        self.done = False

    def run(self, load: Callable[[AnyServedModel], None], closing: Callable[[], bool]) -> None:
        """Do it; ``load`` loads a model whole, and once ``closing`` says True no other is to be loaded.

        Raises RequestError where it cannot be done.
        """
        raise NotImplementedError

    def settle(self) -> None:
        """Do what remains once the memory of what was let go is given back."""


class Unload(Change):
    """A model that is no longer served, in any version, until it is loaded by name."""

    def __init__(self, repository: Repository, name: str) -> None:
        super().__init__(repository)
        self._name = name
        self._empty: Sequence[AnyServedModel] = ()

    def run(self, load: Callable[[AnyServedModel], None], closing: Callable[[], bool]) -> None:  # noqa: ARG002 - nothing is loaded
        """Have what comes from now on be refused.

        Raises UnknownModelError where there is none, InvalidRequestError where requests without a name need it.
        """
        repository, name = self._repository, self._name
        there = {model.name for model in repository.models}
        if name not in there:
            raise UnknownModelError(f"model: expected one of {', '.join(sorted(there))}, got {quote(name)}", "model")
        if name in (repository.default, repository.general):
            what = "requests that name none" if name == repository.default else "series and columns of any names"
            raise InvalidRequestError(f"model: expected another than {name}, which answers {what}", "model")
        self.let_go += [model for model in repository.versions(name) if not model.is_unloaded]
        self._empty = repository.unload(name)
        log.info("model %s is unloaded", name)

    def settle(self) -> None:
        """Say that it is gone."""
        for model in self._empty:
            model.lifecycle.become(ModelState.UNLOADED)


class Reload(Change):
    """What comes of looking at the folder of models again.

    Args:
        repository: of the folder.
        name: of the only model that is looked at, all versions of it; None for all but those that are unloaded.

    Attributes:
        changed: what is served as its folder has it now, and was not before, by NAME or NAME/VERSION.
        refused: what folders have now that cannot be served, the same way; what was served before still is.
    """

    def __init__(self, repository: Repository, name: str | None) -> None:
        super().__init__(repository)
        self._name = name
        self.changed: list[str] = []
        self.refused: dict[str, ModelRefusedError] = {}

    def run(self, load: Callable[[AnyServedModel], None], closing: Callable[[], bool]) -> None:
        """Have what has changed loaded whole by ``load``, one model after another until ``closing`` says True.

        Raises UnknownModelError for what is not in the folder, ShuttingDownError where not all could be looked at.
        """
        repository = self._repository
        for name, found in self._find().items():
            for label, path in found.items():
                if closing():
                    raise ShuttingDownError(f"the service is shutting down, and has not looked at {label}")
                try:
                    self._look(label, path, load)
                except ModelRefusedError as refused:
                    error = ModelRefusedError(str(refused), refused.reason)  # without frames, which hold the models
                    self.refused[label] = error
                    repository.set_fault(label, error)
                    log.error("what the folder of %s has now is refused, and what was served stays: %s", label, error)
                else:
                    repository.set_fault(label, None)
                repository.review(name)
            self._part(name, found)
        if not (self.changed or self.refused or self.let_go):
            log.info("no folder of a model has changed")

    def _find(self) -> dict[str, dict[str, Path]]:
        """Return the folders to look at, of each name those of its versions; raises UnknownModelError."""
        repository = self._repository
        try:
            there = find_models(repository.root)
        except SetupError as error:
            log.error("no models can be looked for: %s", error)
            raise UnknownModelError(f"model: {in_one_line(error)}", "model") from None
        found: dict[str, dict[str, Path]] = {}
        for label, path in there.items():
            found.setdefault(label.partition("/")[0], {})[label] = path
        for label in repository.faults:
            if label not in there:
                repository.set_fault(label, None)
                repository.review(label.partition("/")[0])
        if self._name is None:
            unloaded = {model.name for model in repository.models if model.is_unloaded}
            return {name: paths for name, paths in found.items() if name not in unloaded}
        if self._name not in found and repository.versions(self._name):
            raise UnknownModelError(f"model: {self._name} has no folder any more, and stays as it is", "model")
        if self._name not in found:
            raise UnknownModelError(f"model: expected one of {', '.join(found)}, got {quote(self._name)}", "model")
        return {self._name: found[self._name]}

    def _look(self, label: str, path: Path, load: Callable[[AnyServedModel], None]) -> None:
        """Have what a folder holds now take the place of what it held before, if that is another.

        Raises ModelRefusedError where that cannot be served.
        """
        versions = self._repository.versions(label.partition("/")[0])
        model = self._repository.open(path, label)
        check_kind(model, versions)
        old = next((each for each in versions if each.label == label), None)
        if old is not None and old.sound and old.manifest == model.manifest:
            return
        model.expect()
        load(model)
        if model.refused is not None:
            raise ModelRefusedError(model.refused, model.reason)
        self._repository.put(model)
        if old is not None:
            self.let_go.append(old)
        self.changed.append(label)
        log.info("model %s is served as its folder has it now, version %s", label, model.folder.version)

    def _part(self, name: str, found: dict[str, Path]) -> None:
        """Let go of what a model's folder has no longer, where what it has answers."""
        repository = self._repository
        gone = [model for model in repository.versions(name) if model.label not in found]
        if gone and any(model.engine is not None for model in repository.versions(name) if model not in gone):
            repository.let_go(gone)
            self.let_go += gone
            log.info("no longer served, as their folders are gone: %s", ", ".join(model.label for model in gone))
        repository.review(name)
